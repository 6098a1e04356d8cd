//! What a client says when the other end is not what it should be.

use std::{path::Path, time::Duration};

use oneiric_core::ErrorKind;
use oneiric_runtime::{Client, ClientBuilder, ClientError, api::CallRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use crate::support::{CAST, Scene, slot, soon};

/// Serves one connection with these bytes, whatever is asked.
fn impostor(socket: &Path, answer: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .read_buf(&mut Vec::with_capacity(1_000))
            .await
            .unwrap();
        stream.write_all(answer).await.unwrap();
    });
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    impostor(&socket, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
    let mut client = Client::connect(&socket).await.unwrap();
    let error = soon(client.alive()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.connection_broken", ErrorKind::Unavailable)
    );
}

#[tokio::test]
async fn an_answer_that_is_no_document_of_ours_is_unreadable() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 502 Bad\r\ncontent-length: 2\r\n\r\nno",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        impostor(&socket, answer);
        let mut client = Client::connect(&socket).await.unwrap();
        let error = soon(client.alive()).await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            ("runtime.answer_unreadable", ErrorKind::Internal)
        );
    }
}

#[tokio::test]
async fn a_client_waits_no_longer_than_it_was_told() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await.timeout(Duration::from_millis(50));
    let wait = CallRequest {
        slot: slot("adapter/cache"),
        operation: "wait".into(),
        input: serde_json::Value::Null,
    };
    let error = soon(client.call(&wait)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.answer_late", ErrorKind::Timeout)
    );
    // The same client goes on with another connection.
    assert!(soon(client.alive()).await.unwrap().doc.alive);
    scene.stop().await;
}

#[tokio::test]
async fn a_path_that_nobody_can_serve_is_not_called_nothing_running() {
    let long = Path::new("/tmp").join("x".repeat(120));
    let error = Client::connect(&long).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("runtime.socket_path_too_long", ErrorKind::Config)
    );
}

/// Reads what is asked and then does nothing but send these bytes, again and again.
fn endless(socket: &Path, bytes: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = Vec::with_capacity(1_000);
                while stream.read_buf(&mut asked).await.unwrap_or(0) > 0 {
                    while stream.write_all(bytes).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn what_changes_nothing_is_given_up_whatever_the_other_end_does_meanwhile() {
    for bytes in [&b""[..], b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        endless(&socket, bytes);
        let builder = ClientBuilder::socket(&socket).read_timeout(Duration::from_millis(50));
        let mut client = soon(builder.clone().connect()).await.unwrap();
        let late = |error: ClientError| assert_eq!(error.code(), "runtime.answer_late");
        late(soon(client.status(None)).await.unwrap_err());
        late(soon(client.events(None, None)).await.unwrap_err());
        // A backup and a change take as long as they take, or as long as any answer may.
        let builder = builder.timeout(Duration::from_millis(50));
        let mut client = soon(builder.connect()).await.unwrap();
        late(soon(client.backup(&mut Vec::new())).await.unwrap_err());
    }
}

#[tokio::test]
async fn a_change_is_waited_for_longer_than_a_question() {
    let scene = Scene::start(CAST).await;
    let builder = ClientBuilder::socket(&scene.socket).read_timeout(Duration::from_millis(50));
    let mut client = soon(builder.connect()).await.unwrap();
    let wait = CallRequest {
        slot: slot("adapter/cache"),
        operation: "wait".into(),
        input: serde_json::Value::Null,
    };
    let on = async {
        soon(scene.stage.begun.acquire()).await.unwrap().forget();
        tokio::time::sleep(Duration::from_millis(100)).await;
        scene.stage.gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(soon(client.call(&wait)), on);
    answer.unwrap();
    scene.stop().await;
}

#[tokio::test]
async fn a_backup_that_stops_coming_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::with_capacity(1_000);
        stream.read_buf(&mut asked).await.unwrap();
        let begins = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nSQLite";
        stream.write_all(begins).await.unwrap();
        // Held open until the client has left.
        while stream.read_buf(&mut asked).await.unwrap_or(0) > 0 {}
    });
    let client = soon(Client::connect(&socket)).await.unwrap();
    let mut client = client.timeout(Duration::from_millis(50));
    let mut into = Vec::new();
    let error = soon(client.backup(&mut into)).await.unwrap_err();
    assert_eq!(error.code(), "runtime.answer_late");
    assert_eq!(into, b"SQLite");
    drop(client);
    soon(serving).await.unwrap();
}
