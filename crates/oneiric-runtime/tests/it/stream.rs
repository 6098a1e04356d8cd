//! The stream of events: as bytes, through the client, when it lags, when it is cut, and at the end.

use oneiric_runtime::{Client, Watched, api::SwapRequestDoc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::support::{CAST, Scene, slot, soon};

async fn swap(client: &mut Client, provider: &str) {
    let to = SwapRequestDoc::to_provider(slot("adapter/cache"), provider.parse().unwrap());
    soon(client.swap(&to)).await.unwrap();
}

async fn open(scene: &Scene, query: &str) -> UnixStream {
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
    let request = format!("GET /v1/events{query} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read_until(stream: &mut UnixStream, text: &str) -> String {
    let mut read = String::new();
    let mut bytes = [0; 4096];
    while !read.contains(text) {
        let count = soon(stream.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "ended before {text:?}: {read}");
        read.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    read
}

#[tokio::test]
async fn a_swap_is_told_as_it_happens() {
    let scene = Scene::start(CAST).await;
    let mut stream = open(&scene, "?slot=adapter/cache").await;
    let head = read_until(&mut stream, ": alive").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        head.contains("content-type: text/event-stream\r\n"),
        "{head}"
    );
    let mut client = scene.client().await;
    swap(&mut client, "second").await;
    let told = read_until(&mut stream, "event: published").await;
    assert!(told.contains("event: building"), "{told}");
    let data = read_until(&mut stream, "\n\n").await;
    let all = format!("{told}{data}");
    let line = all
        .lines()
        .find(|line| line.starts_with("data: ") && line.contains("\"published\""));
    let event: serde_json::Value =
        serde_json::from_str(line.unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(event["schema"], "oneiric.event/1");
    assert_eq!(
        (&event["from"], &event["to"]),
        (&"first".into(), &"second".into())
    );
    assert!(all.contains(&format!("id: {}\n", event["id"].as_str().unwrap())));
    scene.stop().await;
}

#[tokio::test]
async fn the_client_follows_and_comes_back_to_where_it_was() {
    let scene = Scene::start(CAST).await;
    let mut client = scene.client().await;
    let mut events = soon(client.events(None, None)).await.unwrap();
    swap(&mut client, "second").await;
    let Some(Watched::Event(first)) = soon(events.next()).await.unwrap() else {
        panic!("nothing")
    };
    assert_eq!(
        (first.event.as_str(), first.slot),
        ("building", Some(slot("adapter/cache")))
    );
    drop(events);
    let mut back = soon(client.events(None, Some(&first.id))).await.unwrap();
    let Some(Watched::Event(second)) = soon(back.next()).await.unwrap() else {
        panic!("nothing")
    };
    assert_eq!(second.event, "probed");
    let mut lost = soon(client.events(None, Some("00000000-7"))).await.unwrap();
    assert_eq!(
        soon(lost.next()).await.unwrap(),
        Some(Watched::Missed(None))
    );
    scene.stop().await;
}

#[tokio::test]
async fn whoever_does_not_read_holds_up_nobody_and_is_told_how_much_they_missed() {
    let scene = Scene::start(CAST).await;
    let mut deaf = open(&scene, "").await;
    read_until(&mut deaf, ": alive").await;
    let mut client = scene.client().await;
    let mut events = soon(client.events(None, None)).await.unwrap();
    swap(&mut client, "second").await;
    let Some(Watched::Event(first)) = soon(events.next()).await.unwrap() else {
        panic!("nothing")
    };
    // More than are kept: each swap is four events.
    for _ in 0..130 {
        swap(&mut client, "first").await;
        swap(&mut client, "second").await;
    }
    let mut late = soon(client.events(None, Some(&first.id))).await.unwrap();
    let missed = soon(late.next()).await.unwrap();
    assert!(
        matches!(missed, Some(Watched::Missed(Some(1..)))),
        "{missed:?}"
    );
    assert!(matches!(
        soon(late.next()).await.unwrap(),
        Some(Watched::Event(_))
    ));
    drop(deaf);
    scene.stop().await;
}

#[tokio::test]
async fn streams_have_a_bound_and_give_their_place_back() {
    let scene = Scene::start(CAST).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = open(&scene, "").await;
        read_until(&mut stream, ": alive").await;
        streams.push(stream);
    }
    let refused = scene.get("/v1/events").await;
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused}");
    assert!(
        refused.contains("\"runtime.streams_exhausted\""),
        "{refused}"
    );
    // None of them holds a place of those who ask something short.
    let counted = scene.get("/metrics").await;
    assert!(
        counted.contains("oneiric_admin_in_use{what=\"streams\"} 16\n"),
        "{counted}"
    );
    assert!(
        counted.contains("oneiric_admin_in_use{what=\"socket_connections\"} 1\n"),
        "{counted}"
    );
    drop(streams);
    // That somebody has gone is noticed by writing, and there is something to write now.
    let mut client = scene.client().await;
    loop {
        swap(&mut client, "second").await;
        swap(&mut client, "first").await;
        let counted = scene.get("/metrics").await;
        if counted.contains("oneiric_admin_in_use{what=\"streams\"} 0") {
            break;
        }
    }
    scene.stop().await;
}

#[tokio::test]
async fn a_shutdown_is_told_to_the_end_and_ends_every_stream() {
    let mut scene = Scene::start(CAST).await;
    let client = scene.client().await;
    let mut events = soon(client.events(None, None)).await.unwrap();
    scene.tell_to_stop();
    let mut seen = Vec::new();
    while let Some(item) = soon(events.next()).await.unwrap() {
        if let Watched::Event(event) = item {
            seen.push(event.event);
        }
    }
    assert_eq!(seen, ["retired"]);
    scene.stop().await;
}

#[tokio::test]
async fn a_process_that_is_gone_without_a_word_is_a_broken_stream() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        // The client's own connection, then that of the stream.
        let (_first, _) = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::with_capacity(1_000);
        stream.read_buf(&mut asked).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n: alive\n\nx\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let client = soon(Client::connect(&socket)).await.unwrap();
    let mut events = soon(client.events(None, None)).await.unwrap();
    let error = soon(events.next()).await.unwrap_err();
    assert_eq!(error.code(), "runtime.connection_broken");
}
