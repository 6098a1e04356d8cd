//! Ten thousand connections that mean harm, over the socket and over TCP: whoever asks something is served meanwhile,
//! and afterwards nothing is left of them.
#![expect(
    clippy::print_stderr,
    reason = "what was measured is of use to whoever runs this"
)]

use std::{
    fs,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oneiric_runtime::{Client, Runtime};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
};

use crate::{
    support::{CAST, Scene, soon},
    tls::Tcp,
};

const ALL: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// What a connection sends before it falls silent.
const BEGINNINGS: [&[u8]; 6] = [
    b"",
    b"GET /v1/status HTTP/1.1\r\nhost",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00\xff\x00\xff garbage \r\n\r\n",
    b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    b"BREW /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
];

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Whether this process runs no other test, so that what is open and how much memory is used is this one's. If not,
/// the test is run in a process of its own, here and now.
async fn alone(test: &str) -> bool {
    const ALONE: &str = "ONEIRIC_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("flood::{test}"), "--nocapture"]);
    let status = child.env(ALONE, "1").kill_on_drop(true).status();
    let status = tokio::time::timeout(Duration::from_secs(300), status).await;
    assert!(status.unwrap().unwrap().success(), "{test}");
    false
}

/// As many as the system allows, which is enough nearly everywhere.
fn at_once() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Where it may not be raised, fewer connections are opened.
    let _as_it_was = setrlimit(Resource::Nofile, raised);
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    // Both ends of each are in this process.
    let fits = usize::try_from(open.saturating_sub(500) / 3).unwrap_or(usize::MAX);
    if fits < AT_ONCE {
        eprintln!("only {fits} connections at once: the limit of open files is {open}");
    }
    fits.min(AT_ONCE)
}

async fn begin(
    mut stream: impl AsyncWrite + Unpin + Send + 'static,
    number: usize,
) -> Box<dyn Send> {
    // The process may have hung up already, which is its good right.
    drop(
        stream
            .write_all(BEGINNINGS[number % BEGINNINGS.len()])
            .await,
    );
    Box::new(stream)
}

/// Asks all the time until it is told to stop; gives how often it was answered.
async fn asks(mut client: Client, stop: Arc<AtomicBool>) -> usize {
    let who = serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "who"}"#).unwrap();
    let mut answered = 0;
    while !stop.load(Ordering::Acquire) {
        soon(client.call(&who)).await.unwrap();
        soon(client.status(None)).await.unwrap();
        answered += 2;
    }
    answered
}

fn metric(runtime: &Runtime, name: &str) -> usize {
    let all = runtime.metrics();
    let line = all.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until no more is open than before. Closing is seen by nobody but the system, so it is asked.
async fn settles(base: usize) {
    let closed = async {
        while descriptors() > base {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await;
    assert!(closed.is_ok(), "{} open, {base} before", descriptors());
}

async fn flood<C, F>(runtime: &Runtime, client: Client, connect: C)
where
    C: Fn(usize) -> F,
    F: Future<Output = Box<dyn Send>>,
{
    let at_once = at_once();
    let (base, memory) = (descriptors(), resident_kib());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(asks(client, Arc::clone(&stop)));
    let mut opened = 0;
    while opened < ALL {
        let mut held = Vec::new();
        for number in opened..(opened + at_once).min(ALL) {
            held.push(connect(number).await);
        }
        if opened == 0 {
            soon(is_crowded(runtime)).await;
        }
        opened += held.len();
        assert!(!asking.is_finished(), "the good client was let down");
        drop(held);
    }
    stop.store(true, Ordering::Release);
    let answered = soon(asking).await.unwrap();
    assert!(answered > 0);
    settles(base).await;
    let grown = resident_kib().saturating_sub(memory);
    eprintln!("{opened} connections, {answered} answers meanwhile, {grown} KiB more resident");
    assert!(grown < 64 << 10, "{grown} KiB");
}

/// Waits until somebody had to make room, as one must while more are connected than there are places. On a quick
/// machine a whole batch could come and go before.
async fn is_crowded(runtime: &Runtime) {
    let made_room = "oneiric_admin_refusals_total{reason=\"place_taken\"}";
    while metric(runtime, made_room) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_over_the_socket_cost_nobody_anything() {
    if !alone("ten_thousand_connections_over_the_socket_cost_nobody_anything").await {
        return;
    }
    let scene = Scene::start(CAST).await;
    let client = scene.client().await;
    flood(&scene.runtime, client, |number| {
        let socket = scene.socket.clone();
        async move {
            let stream = loop {
                match UnixStream::connect(&socket).await {
                    Ok(stream) => break stream,
                    // So many wait to be accepted that the system takes no more for the moment.
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            begin(stream, number).await
        }
    })
    .await;
    for reason in ["runtime.request_unreadable", "runtime.method_not_allowed"] {
        let name = format!("oneiric_admin_refusals_total{{reason=\"{reason}\"}}");
        assert!(metric(&scene.runtime, &name) > 0, "{reason}");
    }
    scene.still_serves().await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_over_tcp_cost_nobody_anything() {
    if !alone("ten_thousand_connections_over_tcp_cost_nobody_anything").await {
        return;
    }
    let tcp = Tcp::start(CAST).await;
    let client = tcp.client().await;
    let address = tcp.address;
    flood(&tcp.scene.runtime, client, |number| async move {
        let socket = TcpSocket::new_v4().unwrap();
        // From an address of their own, as strangers come; each takes a port of its own.
        let from = Ipv4Addr::new(127, 0, 0, 2);
        socket.set_reuseaddr(true).unwrap();
        socket.bind((from, 0).into()).unwrap();
        begin(soon(socket.connect(address)).await.unwrap(), number).await
    })
    .await;
    let failed = "oneiric_admin_refusals_total{reason=\"handshake_failed\"}";
    assert!(metric(&tcp.scene.runtime, failed) > 0);
    tcp.scene.still_serves().await;
    tcp.scene.stop().await;
}

/// In real time, for a clock that stands still runs ahead of what a network has still to bring.
#[tokio::test]
async fn over_tcp_whatever_is_slow_has_an_end() {
    let tcp = Tcp::start(CAST).await;
    let token = format!(
        "authorization: Bearer {}\r\ncontent-type: application/json\r\n",
        crate::tls::OPERATE
    );
    let endless =
        format!("POST /v1/call HTTP/1.1\r\nhost: x\r\n{token}content-length: 9\r\n\r\n{{");
    let half = async {
        let mut half = TcpStream::connect(tcp.address).await.unwrap();
        half.write_all(BEGINNINGS[2]).await.unwrap();
        let mut nothing = Vec::new();
        drop(soon(half.read_to_end(&mut nothing)).await);
    };
    let (slow, late, ()) = tokio::join!(
        tcp.raw(b"GET /v1/list HTTP/1.1\r\nhost"),
        tcp.raw(endless.as_bytes()),
        half
    );
    assert!(!slow.contains(" 200 "), "{slow}");
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    for reason in ["handshake_late", "header_late", "runtime.body_late"] {
        let name = format!("oneiric_admin_refusals_total{{reason=\"{reason}\"}}");
        assert_eq!(metric(&tcp.scene.runtime, &name), 1, "{reason}");
    }
    let mut client = tcp.client().await;
    soon(client.status(None)).await.unwrap();
    tcp.scene.stop().await;
}

#[tokio::test]
async fn over_tcp_whatever_is_too_much_is_refused() {
    let tcp = Tcp::start(CAST).await;
    let token = format!("authorization: Bearer {}\r\n", crate::tls::OPERATE);
    let json = "content-type: application/json\r\n";
    let head = format!("POST /v1/call HTTP/1.1\r\nhost: x\r\n{token}{json}");
    let announced = format!("{head}content-length: 99999999\r\n\r\n");
    let large = tcp.raw(announced.as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    // Whoever is not let in need not even be heard out.
    let stranger = b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n";
    let refused = tcp.raw(stranger).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let many = "x-h: v\r\n".repeat(200);
    let many = format!("{token}{many}");
    let bomb = tcp.ask("GET /v1/list", &many, "").await;
    assert!(bomb.starts_with("HTTP/1.1 431 "), "{bomb}");
    let long = format!("x-big: {}\r\n", "a".repeat(1 << 20));
    let bomb = tcp.ask("GET /v1/list", &long, "").await;
    assert!(
        bomb.is_empty() || bomb.starts_with("HTTP/1.1 431 "),
        "{bomb}"
    );
    let method = tcp.ask("DELETE /v1/list", &token, "").await;
    assert!(method.starts_with("HTTP/1.1 405 "), "{method}");
    let mut client = tcp.client().await;
    soon(client.status(None)).await.unwrap();
    tcp.scene.stop().await;
}
