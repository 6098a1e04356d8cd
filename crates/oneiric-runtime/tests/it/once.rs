//! Changes that are asked for more than once under one `Idempotency-Key`.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::support::{CAST, Scene, slot, soon};

const SWAP: &str = r#"{"slot": "adapter/cache", "provider": "slow"}"#;
/// One whose building waits until it is let on.
const SLOW: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "slow"
factory = "oneiric.test:actor"

[providers."adapter/cache".slow]
name = "slow"
build = "wait"
"#;

fn head(key: &str, body: &str) -> String {
    post("/v1/swap", key, body)
}

fn post(path: &str, key: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn a_swap_whose_connection_breaks_after_it_was_sent_is_done_once() {
    let scene = Scene::start(&format!("{CAST}{SLOW}")).await;
    let mut first = UnixStream::connect(&scene.socket).await.unwrap();
    first.write_all(head("k", SWAP).as_bytes()).await.unwrap();
    // It has begun, and whoever asked is gone.
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    drop(first);
    let asked = head("k", SWAP);
    let again = scene.raw(asked.as_bytes());
    let third = scene.raw(asked.as_bytes());
    let on = async {
        scene.stage.gate.add_permits(1);
    };
    let (again, third, ()) = tokio::join!(again, third, on);
    for answer in [&again, &third] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("idempotency-replayed: true"), "{answer}");
        assert_eq!(body(answer)["report"]["outcome"], "swapped", "{answer}");
    }
    let later = scene.raw(asked.as_bytes()).await;
    assert_eq!(body(&later), body(&again));
    let built = scene.stage.events();
    let built = built.iter().filter(|event| *event == "built slow").count();
    assert_eq!((built, scene.runtime.revisions().len()), (1, 1));
    scene.stop().await;
}

#[tokio::test]
async fn something_else_under_the_same_key_is_refused_and_another_key_is_another_change() {
    let scene = Scene::start(CAST).await;
    let to = |provider: &str| format!(r#"{{"slot": "adapter/cache", "provider": "{provider}"}}"#);
    let first = scene.raw(head("k", &to("second")).as_bytes()).await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(!first.contains("idempotency-replayed"), "{first}");
    let other = scene.raw(head("k", &to("first")).as_bytes()).await;
    assert!(other.starts_with("HTTP/1.1 422 "), "{other}");
    assert!(
        other.contains("\"runtime.idempotency_mismatch\""),
        "{other}"
    );
    let other = scene.raw(head("l", &to("first")).as_bytes()).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    // What failed is told again as well, and not tried again.
    let rolled_back = head("m", &to("sick"));
    for replayed in [false, true] {
        let answer = scene.raw(rolled_back.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
        assert_eq!(answer.contains("idempotency-replayed: true"), replayed);
    }
    for wrong in ["", "a b", &"k".repeat(65), "ä"] {
        let answer = scene.raw(head(wrong, &to("first")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{wrong:?}: {answer}");
    }
    assert_eq!(scene.runtime.revisions().len(), 2);
    scene.stop().await;
}

/// Hands everything through to a process, but hangs up on the first answer.
fn cuts_the_first_answer(scene: &Scene) -> std::path::PathBuf {
    let path = scene.dir.path().join("between");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = scene.socket.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move {
                if number > 0 {
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                    return;
                }
                let mut bytes = vec![0; 64 << 10];
                let asked = near.read(&mut bytes).await.unwrap();
                far.write_all(&bytes[..asked]).await.unwrap();
                // The process has done it and says so; nobody hears.
                assert!(far.read(&mut bytes).await.unwrap() > 0);
            });
        }
    });
    path
}

#[tokio::test]
async fn the_client_asks_again_when_its_connection_breaks_and_one_swap_is_made() {
    let scene = Scene::start(CAST).await;
    let between = cuts_the_first_answer(&scene);
    let mut client = soon(oneiric_runtime::Client::connect(&between))
        .await
        .unwrap();
    let request = oneiric_runtime::api::SwapRequestDoc::to_provider(
        slot("adapter/cache"),
        "second".parse().unwrap(),
    );
    let reply = soon(client.swap(&request)).await.unwrap();
    assert_eq!(reply.doc.report.unwrap().outcome, "swapped");
    let built = scene.stage.events();
    let built = built
        .iter()
        .filter(|event| *event == "built second")
        .count();
    assert_eq!((built, scene.runtime.revisions().len()), (1, 1));
    // Each change has a key of its own.
    let back = oneiric_runtime::api::SwapRequestDoc::to_provider(
        slot("adapter/cache"),
        "first".parse().unwrap(),
    );
    soon(client.swap(&back)).await.unwrap();
    soon(client.swap(&request)).await.unwrap();
    assert_eq!(scene.runtime.revisions().len(), 3);
    scene.stop().await;
}

#[tokio::test]
async fn work_that_failed_was_done_and_is_not_done_again() {
    let scene = Scene::start(CAST).await;
    let boom = r#"{"slot": "adapter/cache", "operation": "boom"}"#;
    for replayed in [false, true, true] {
        let answer = scene.raw(post("/v1/call", "k", boom).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(
            answer.contains("idempotency-replayed: true"),
            replayed,
            "{answer}"
        );
    }
    let counted = scene.get("/metrics").await;
    let calls = "oneiric_calls_total{slot=\"adapter/cache\"";
    let calls = counted.lines().filter(|line| line.starts_with(calls));
    let failed: Vec<_> = calls.filter(|line| !line.ends_with(" 0")).collect();
    assert!(
        matches!(failed[..], [one] if one.ends_with(" 1")),
        "{failed:?}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn what_was_refused_before_it_began_may_be_asked_for_again() {
    let scene = Scene::start(CAST).await;
    let activity =
        |activity: &str| format!(r#"{{"scope": "adapter/cache", "activity": "{activity}"}}"#);
    scene.post("/v1/activity", &activity("paused")).await;
    let who = post(
        "/v1/call",
        "k",
        r#"{"slot": "adapter/cache", "operation": "who"}"#,
    );
    let refused = scene.raw(who.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused}");
    scene.post("/v1/activity", &activity("running")).await;
    let answer = scene.raw(who.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("idempotency-replayed"), "{answer}");
    scene.stop().await;
}

#[tokio::test]
async fn a_change_that_was_late_is_told_as_it_ended() {
    let text = format!("admin.request_timeout_ms = 200\n{CAST}{SLOW}");
    let scene = Scene::start(&text).await;
    let asked = head("k", SWAP);
    let late = scene.raw(asked.as_bytes()).await;
    assert!(late.starts_with("HTTP/1.1 504 "), "{late}");
    assert!(late.contains("may still go on"), "{late}");
    scene.stage.gate.add_permits(1);
    // It ends some time after that; until then whoever asks may be told again that it is late.
    let answer = soon(async {
        loop {
            let answer = scene.raw(asked.as_bytes()).await;
            if !answer.starts_with("HTTP/1.1 504 ") {
                break answer;
            }
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("idempotency-replayed: true"), "{answer}");
    assert_eq!(body(&answer)["report"]["outcome"], "swapped", "{answer}");
    assert_eq!(scene.runtime.revisions().len(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn a_call_that_hangs_ends_when_it_is_late_and_is_not_begun_again() {
    let scene = Scene::start(&format!("admin.request_timeout_ms = 200\n{CAST}")).await;
    let wait = r#"{"slot": "adapter/cache", "operation": "wait"}"#;
    let asked = post("/v1/call", "k", wait);
    for _ in 0..2 {
        let late = scene.raw(asked.as_bytes()).await;
        assert!(late.starts_with("HTTP/1.1 504 "), "{late}");
    }
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    assert_eq!(scene.stage.begun.available_permits(), 0);
    // Nothing holds its share any more.
    let none = "oneiric_admin_in_use{what=\"calls\"} 0";
    soon(async { while !scene.get("/metrics").await.contains(none) {} }).await;
    scene.stop().await;
}
