//! What one client, or all of them together, can take from the others: time, places, memory. The process must stay
//! operable whatever they do.

use oneiric_runtime::api::SwapRequestDoc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::{CAST, Scene, soon};

const WAIT: &str = r#"{"slot": "adapter/cache", "operation": "wait"}"#;

#[tokio::test(start_paused = true)]
async fn clients_that_ask_and_never_read_give_their_places_back() {
    let scene = Scene::start(CAST).await;
    let request = b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2_000);
    let mut deaf = Vec::new();
    for _ in 0..64 {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        soon(stream.write_all(&request)).await.unwrap();
        deaf.push(stream);
    }
    scene.still_serves().await;
    drop(deaf);
    scene.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_document() {
    let scene = Scene::start(CAST).await;
    let answer = scene.raw(b"\x16\x03\x01 hello tls\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.contains("\"oneiric.error/1\""), "{answer:?}");
    assert!(
        answer.contains("\"runtime.request_unreadable\""),
        "{answer:?}"
    );
    // After an answer of the API on the same connection, too.
    let two = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n";
    let answer = scene.raw(two).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert!(
        answer.contains("\"runtime.request_unreadable\""),
        "{answer:?}"
    );
    let mut long = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-big: ".to_vec();
    long.resize(1 << 20, b'a');
    let answer = scene.raw(&long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    assert!(
        answer.contains("\"runtime.header_too_large\""),
        "{answer:?}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn calls_that_hang_leave_room_for_the_swap_that_cures_them() {
    let scene = Scene::start(CAST).await;
    let head = format!(
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{WAIT}",
        WAIT.len()
    );
    let mut hanging = Vec::new();
    for _ in 0..48 {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        soon(stream.write_all(head.as_bytes())).await.unwrap();
        hanging.push(stream);
    }
    soon(scene.stage.begun.acquire_many(48))
        .await
        .unwrap()
        .forget();
    let refused = scene.post("/v1/call", WAIT).await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused:?}");
    assert!(
        refused.contains("\"runtime.calls_exhausted\""),
        "{refused:?}"
    );
    assert!(refused.contains("\"hint\""), "{refused:?}");
    let status = scene.get("/v1/status").await;
    assert!(status.starts_with("HTTP/1.1 200 "), "{status:?}");
    // A client that leaves gives the place of its call back.
    hanging.pop();
    let mut next;
    loop {
        next = UnixStream::connect(&scene.socket).await.unwrap();
        soon(next.write_all(head.as_bytes())).await.unwrap();
        tokio::select! {
            begun = scene.stage.begun.acquire() => {
                begun.unwrap().forget();
                break;
            }
            ready = next.readable() => ready.unwrap(),
        }
    }
    scene.stage.gate.add_permits(48);
    drop((hanging, next));
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn reasons_and_operations_that_are_too_long_are_refused() {
    let scene = Scene::start(CAST).await;
    let swap = |length| {
        let reason = "r".repeat(length);
        format!(r#"{{"slot": "adapter/cache", "provider": "second", "reason": "{reason}"}}"#)
    };
    let refused = scene.post("/v1/swap", &swap(1_025)).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused:?}");
    assert!(
        refused.contains("\"runtime.request_invalid\""),
        "{refused:?}"
    );
    assert!(scene.runtime.revisions().is_empty());
    let done = scene.post("/v1/swap", &swap(1_024)).await;
    assert!(done.starts_with("HTTP/1.1 200 "), "{done:?}");
    let call = |length| {
        let operation = "o".repeat(length);
        format!(r#"{{"slot": "adapter/cache", "operation": "{operation}"}}"#)
    };
    let refused = scene.post("/v1/call", &call(129)).await;
    assert!(
        refused.contains("\"runtime.request_invalid\""),
        "{refused:?}"
    );
    let unknown = scene.post("/v1/call", &call(128)).await;
    assert!(
        unknown.contains("\"lifecycle.unknown_operation\""),
        "{unknown:?}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn what_a_client_sent_is_not_sent_back_in_full() {
    let scene = Scene::start(CAST).await;
    let name = "n".repeat(500_000);
    for body in [
        format!(r#"{{"slot": "adapter/{name}", "operation": "who"}}"#),
        format!(r#"{{"slot": "adapter/cache", "operation": "who", "{name}": 1}}"#),
    ] {
        let refused = scene.post("/v1/call", &body).await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused:?}");
        assert!(refused.len() < 4_096, "{} bytes", refused.len());
    }
    scene.stop().await;
}

/// A connection on which something is asked and the answer is left where it is.
async fn unread(scene: &Scene, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    soon(stream.write_all(asked.as_bytes())).await.unwrap();
    soon(stream.readable()).await.unwrap();
    stream
}

#[tokio::test]
async fn backups_that_nobody_reads_hold_no_place_and_are_few() {
    let scene = Scene::start(CAST).await;
    // More than the system takes for a reader who does not read.
    let mut client = scene.client().await;
    let mut swap = SwapRequestDoc::to_provider(
        crate::support::slot("adapter/cache"),
        "first".parse().unwrap(),
    );
    swap.reason = Some("r".repeat(1 << 10));
    for number in 0..800 {
        let provider = if number % 2 == 0 { "second" } else { "first" };
        swap.provider = Some(provider.parse().unwrap());
        soon(client.swap(&swap)).await.unwrap();
    }
    drop(client);
    let mut held = vec![
        unread(&scene, "/v1/state/backup").await,
        unread(&scene, "/v1/state/backup").await,
    ];
    let refused = scene.get("/v1/state/backup").await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused:.200}");
    let code = "\"runtime.copies_exhausted\"";
    assert!(refused.contains(code), "{refused}");
    // Of the places there are, one is taken by this question.
    let places = "oneiric_admin_in_use{what=\"socket_connections\"} 1\n";
    while !scene.get("/metrics").await.contains(places) {}
    // Another is made as soon as one of those is gone.
    held.pop();
    let mut third = unread(&scene, "/v1/state/backup").await;
    let mut begins = [0; 12];
    soon(third.read_exact(&mut begins)).await.unwrap();
    while begins != *b"HTTP/1.1 200" {
        third = unread(&scene, "/v1/state/backup").await;
        soon(third.read_exact(&mut begins)).await.unwrap();
    }
    drop(held);
    scene.stop().await;
}

#[tokio::test]
async fn nobody_has_a_copy_made_for_the_head_of_an_answer() {
    let scene = Scene::start(CAST).await;
    let asked = b"HEAD /v1/state/backup HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let refused = scene.raw(asked).await;
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    assert!(refused.contains("allow: GET\r\n"), "{refused}");
    scene.stop().await;
}

/// Another slot, one of whose two providers is built only when it is let on.
const SLOW: &str = r#"
[[candidates]]
slot = "task/mail"
provider = "smtp"
factory = "oneiric.test:actor"
priority = 1

[[candidates]]
slot = "task/mail"
provider = "slow"
factory = "oneiric.test:actor"

[providers."task/mail"]
smtp = { name = "smtp" }
slow = { name = "slow", build = "wait" }
"#;

#[tokio::test]
async fn changes_that_hang_are_bounded_for_each_slot_and_in_all() {
    // Of three places: two changes at one time, and one swap of a slot.
    let cast = CAST.replace(
        "second = { name = \"second\" }",
        "second = { name = \"second\", build = \"wait\" }",
    );
    let scene = Scene::start(&format!("[admin]\nmax_connections = 3\n{cast}{SLOW}")).await;
    let begins = async |slot: &str, provider: &str| {
        let body = format!(r#"{{"slot": "{slot}", "provider": "{provider}"}}"#);
        let length = body.len();
        let text =
            format!("POST /v1/swap HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        soon(stream.write_all(text.as_bytes())).await.unwrap();
        soon(scene.stage.begun.acquire()).await.unwrap().forget();
        stream
    };
    let one = begins("adapter/cache", "second").await;
    let other = r#"{"slot": "adapter/cache", "provider": "first"}"#;
    let refused = scene.post("/v1/swap", other).await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused:?}");
    assert!(
        refused.contains("so many swaps of adapter/cache wait already"),
        "{refused:?}"
    );
    // There is room for something else until that hangs, too.
    let resume = r#"{"scope": "adapter/cache", "activity": "running"}"#;
    let done = scene.post("/v1/activity", resume).await;
    assert!(done.starts_with("HTTP/1.1 200 "), "{done:?}");
    let two = begins("task/mail", "slow").await;
    let refused = scene.post("/v1/activity", resume).await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused:?}");
    assert!(
        refused.contains("\"runtime.writes_exhausted\"")
            && refused.contains("2 changes are under way"),
        "{refused:?}"
    );
    // Whoever looks is answered all the time.
    let status = scene.get("/v1/status").await;
    assert!(status.starts_with("HTTP/1.1 200 "), "{status:?}");
    scene.stage.gate.add_permits(2);
    drop((one, two));
    scene.stop().await;
}

/// A client that keeps its connection for the next request has to know whether there is going to be one.
#[tokio::test]
async fn a_connection_goes_on_after_a_refusal_or_says_that_it_does_not() {
    let scene = Scene::start(CAST).await;
    // The body comes after the refusal, as from clients that send it by itself.
    for head in ["POST /v1/none", "DELETE /v1/swap", "GET /v1/list"] {
        let head = format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n");
        let answer = scene.raw(head.as_bytes()).await;
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let refused = "POST /v1/reload?nonsense=1 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
    soon(stream.write_all(refused.as_bytes())).await.unwrap();
    let next = b"{}GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    soon(stream.write_all(next)).await.unwrap();
    let mut answers = String::new();
    soon(stream.read_to_string(&mut answers)).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 400 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 "), "{answers}");
    scene.stop().await;
}
