//! What a client says when the other end is not what it should be.

use std::{path::Path, time::Duration};

use oneiric_core::ErrorKind;
use oneiric_runtime::{Client, api::CallRequest};
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
