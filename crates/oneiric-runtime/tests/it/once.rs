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
    format!(
        "POST /v1/swap HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
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
