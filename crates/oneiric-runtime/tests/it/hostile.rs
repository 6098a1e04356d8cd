//! What comes over the socket from programs that are broken or mean harm. Each case must have a clear end, and the
//! process must serve afterwards.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::{CAST, Scene, soon};

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let scene = Scene::start(CAST).await;
    let zeros = [0u8; 10_000];
    for garbage in [
        &b"\x16\x03\x01\x02\x00 hello tls"[..],
        b"\r\n\r\n\r\n\r\nX\r\n\r\n",
        b"GET",
        &zeros,
    ] {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        drop(soon(stream.write_all(garbage)).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
            "{garbage:?}"
        );
        scene.still_serves().await;
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_header_of_ten_megabytes_is_refused_with_431() {
    let scene = Scene::start(CAST).await;
    let mut request = b"GET /v1/list HTTP/1.1\r\nhost: x\r\nx-big: ".to_vec();
    request.resize(10 << 20, b'a');
    let answer = scene.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_413() {
    let scene = Scene::start(CAST).await;
    let body = format!("\"{}\"", "a".repeat(2 << 20));
    let answer = scene.post("/v1/call", &body).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("runtime.body_too_large"),
        "{answer:?}"
    );
    // One that only announces a large body is refused without having to send it.
    let announced = b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    let answer = scene.raw(announced).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    // One that announces nothing is refused when it has become too long.
    let mut endless =
        b"POST /v1/call HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        endless.extend_from_slice(b"10000\r\n");
        endless.resize(endless.len() + 0x10000, b' ');
        endless.extend_from_slice(b"\r\n");
    }
    let answer = scene.raw(&endless).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
    scene.still_serves().await;
    scene.stop().await;
}

/// The clock stands still except when nobody has anything to do: ten seconds pass at once.
#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_end_is_cut_off() {
    let scene = Scene::start(CAST).await;
    let mut slow = UnixStream::connect(&scene.socket).await.unwrap();
    slow.write_all(b"GET /v1/list HTTP/1.1\r\nhost")
        .await
        .unwrap();
    let mut answer = Vec::new();
    drop(soon(slow.read_to_end(&mut answer)).await);
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_refused_with_408() {
    let scene = Scene::start(CAST).await;
    let answer = scene
        .raw(b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("runtime.body_late"),
        "{answer:?}"
    );
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test(start_paused = true)]
async fn silent_connections_give_their_places_back() {
    let scene = Scene::start(CAST).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(UnixStream::connect(&scene.socket).await.unwrap());
    }
    scene.still_serves().await;
    drop(silent);
    scene.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_with_504() {
    let scene = Scene::start(&format!("[admin]\nrequest_timeout_ms = 500\n{CAST}")).await;
    let answer = scene
        .post(
            "/v1/call",
            r#"{"slot": "adapter/cache", "operation": "wait"}"#,
        )
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("runtime.request_late"),
        "{answer:?}"
    );
    scene.still_serves().await;
    scene.stop().await;
}
