//! Who is told what: over TCP no place on this machine is named, whatever is asked and whoever words it; the owner gets
//! the full words. The folder of the whole runtime is the canary, and each source of messages names it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oneiric_core::BoxFuture;
use oneiric_domains::{Secret, SecretError, SecretProvider};
use oneiric_runtime::{RuntimeBuilder, Sources};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::{
    support::{Scene, Stage, soon},
    tls::{Authority, Files, OPERATE, READ, Tcp, private, tcp_settings},
};

const CANARY: &str = "canary";

/// A provider whose every error names the folder.
struct Telling(PathBuf);

impl SecretProvider for Telling {
    fn name(&self) -> &str {
        "telling"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let error = SecretError::Unavailable {
            name: name.to_owned(),
            message: format!("cannot open {}/vault", self.0.display()),
        };
        Box::pin(std::future::ready(Err(error)))
    }
}

/// Components that name `dir` when they are built, probed and called.
fn settings(dir: &Path, authority: &Authority, mode: &str) -> String {
    let tcp = tcp_settings(dir, authority);
    let dir = dir.display();
    let mut text = format!(
        "state_dir = '{dir}/state'\n[run]\nerror_mode = '{mode}'\n{tcp}\n[providers.'adapter/cache']\n"
    );
    let cast = [
        ("adapter/cache", "first", 10),
        ("adapter/cache", "broken", 5),
        ("adapter/cache", "sick", 1),
        ("adapter/cache", "secretive", 1),
        ("adapter/dead", "broken", 1),
    ];
    text.push_str(&format!(
        "first = {{ name = '{dir}/data', fails_with = 'cannot write {dir}/data/7' }}
broken = {{ name = 'b', build = 'fail', fails_with = 'cannot use {dir}/entries' }}
sick = {{ name = 's', probe = 'critical', fails_with = '\"{dir}/health\" is gone' }}
secretive = {{ name = 'secret://telling/x' }}
[providers.'adapter/dead']
broken = {{ name = 'b', build = 'fail', fails_with = 'cannot use {dir}/entries' }}
"
    ));
    for (slot, provider, priority) in cast {
        text.push_str(&format!(
            "[[candidates]]\nslot = '{slot}'\nprovider = '{provider}'\npriority = {priority}\n\
             factory = 'oneiric.test:actor'\n"
        ));
    }
    text
}

async fn start(mode: &str) -> (Tcp, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join(CANARY);
    fs::create_dir(&home).unwrap();
    let authority = Authority::new();
    let file = home.join("config.toml");
    private(&file, &settings(&home, &authority, mode));
    let sources = Sources::new().file(&file);
    let stage = Stage::new();
    let runtime = RuntimeBuilder::new(sources.load().unwrap())
        .sources(sources)
        .factories(stage.factories())
        .secret_provider(Files(home.join("state/secrets")))
        .secret_provider(Telling(home.clone()))
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    let address = scene.address.unwrap();
    let tcp = Tcp {
        scene,
        authority,
        address,
        text: String::new(),
    };
    (tcp, file)
}

/// What is asked to change, each of which fails, or leaves words behind; and what stands below the settings meanwhile.
fn changes() -> Vec<(&'static str, Value, &'static str)> {
    let slot = "adapter/cache";
    let swap = |to: &str, force: bool| json!({"slot": slot, "provider": to, "force": force, "reason": format!("see /{CANARY}/ticket")});
    let note = format!("until /{CANARY}/disk is mended");
    let other = "\n[selections]\n'adapter/cache' = 'broken'\n";
    vec![
        ("/v1/swap", swap("broken", false), ""),
        ("/v1/swap", swap("sick", false), ""),
        ("/v1/swap", swap("secretive", false), ""),
        ("/v1/swap", json!({"slot": format!("/{CANARY}/x")}), ""),
        ("/v1/call", json!({"slot": slot, "operation": "fail"}), ""),
        (
            "/v1/call",
            json!({"slot": slot, "operation": format!("/{CANARY}/none")}),
            "",
        ),
        (
            "/v1/call",
            json!({"slot": "adapter/dead", "operation": "who"}),
            "",
        ),
        ("/v1/secrets/rotate", json!({}), ""),
        ("/v1/reload", json!({}), other),
        ("/v1/reload", json!({"dry_run": true}), "\nnothing = [\n"),
        ("/v1/reload", json!({}), "\nnothing = [\n"),
        ("/v1/swap", swap("sick", true), ""),
        ("/v1/health", json!({}), ""),
        (
            "/v1/activity",
            json!({"scope": slot, "activity": "paused", "note": note}),
            "",
        ),
    ]
}

/// Every route that is read, with the parameters that it needs, as the API's own document has them.
fn routes() -> Vec<String> {
    let page = include_str!("../../../../docs/reference/openapi.json");
    let page: Value = serde_json::from_str(page).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in page["paths"].as_object().unwrap() {
        // Streams are read beside; a copy of the database holds what is remembered, word for word, and is for operators.
        if methods.get("get").is_none() || ["/v1/events", "/v1/state/backup"].contains(&&**path) {
            continue;
        }
        for query in [
            "",
            "?slot=adapter/cache",
            "?slot=adapter/dead",
            "?key=state_dir",
            "?key=admin.tcp.key",
        ] {
            routes.push(format!("{path}{query}"));
        }
    }
    assert!(routes.len() > 60, "{routes:?}");
    routes
}

/// Asks for everything and gives all that was said: over TCP with this token, or over the socket.
async fn everything(tcp: &Tcp, file: &Path, token: Option<&str>) -> Vec<(String, String)> {
    let good = fs::read_to_string(file).unwrap();
    let head = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let ask = async |line: &str, body: &str| match &head {
        Some(head) => tcp.ask(line, head, body).await,
        None => {
            let length = body.len();
            let head = "host: x\r\nconnection: close";
            let text =
                format!("{line} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
            tcp.scene.raw(text.as_bytes()).await
        }
    };
    let mut told = Vec::new();
    for (path, body, below) in changes() {
        private(file, &format!("{good}{below}"));
        let line = format!("POST {path}");
        let answer = ask(&line, &body.to_string()).await;
        told.push((format!("{line} {body}"), answer));
    }
    for route in routes() {
        told.push((route.clone(), ask(&format!("GET {route}"), "").await));
    }
    private(file, &good);
    ask(
        "POST /v1/swap",
        r#"{"slot": "adapter/cache", "clear": true}"#,
    )
    .await;
    ask(
        "POST /v1/activity",
        r#"{"scope": "adapter/cache", "activity": "running"}"#,
    )
    .await;
    told
}

/// The head of a request for all events.
const EVENTS: &str = "GET /v1/events HTTP/1.1\r\nhost: x\r\n";

async fn to_the_end(mut stream: impl AsyncRead + Unpin) -> String {
    let mut told = Vec::new();
    soon(stream.read_to_end(&mut told)).await.unwrap();
    String::from_utf8(told).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p85_over_tcp_no_document_names_a_place_and_the_owner_gets_the_full_words() {
    let (mut tcp, file) = start("production").await;
    let mut by_tcp = tcp.stream().await;
    let head = format!("{EVENTS}authorization: Bearer {READ}\r\n\r\n");
    by_tcp.write_all(head.as_bytes()).await.unwrap();
    let mut by_socket = UnixStream::connect(&tcp.scene.socket).await.unwrap();
    let head = format!("{EVENTS}\r\n");
    by_socket.write_all(head.as_bytes()).await.unwrap();
    while !tcp
        .scene
        .get("/metrics")
        .await
        .contains("{what=\"streams\"} 2")
    {
        tokio::task::yield_now().await;
    }

    let full = everything(&tcp, &file, None).await;
    let named = full.iter().filter(|(_, told)| told.contains(CANARY));
    let named: Vec<_> = named.map(|(asked, _)| asked.as_str()).collect();
    // The sources of messages that there are; else what follows would show nothing.
    for asked in [
        "\"broken\"",
        "\"sick\"",
        "\"secretive\"",
        "\"fail\"",
        "adapter/dead",
        "POST /v1/health",
        "rotate",
        "paused",
        "POST /v1/reload {}",
        "dry_run",
        "/v1/activity",
        "/v1/config",
        "/v1/config/explain?key=state_dir",
        "/v1/health",
        "/v1/history",
        "/v1/secrets",
        "/v1/state",
        "/v1/status",
    ] {
        let all = named.iter().any(|one| one.contains(asked));
        assert!(all, "{asked} is not among {named:#?} of {full:#?}");
    }
    for token in [OPERATE, READ] {
        for (asked, told) in everything(&tcp, &file, Some(token)).await {
            assert!(!told.contains(CANARY), "{asked} told {told}");
            let is_cause = told.contains("\"detail\":");
            assert!(
                !is_cause || asked.starts_with("/v1/openapi"),
                "{asked} told {told}"
            );
        }
    }
    tcp.scene.tell_to_stop();
    for (told, names) in [
        (to_the_end(by_tcp).await, false),
        (to_the_end(by_socket).await, true),
    ] {
        assert!(told.contains("event: rolled_back"), "{told}");
        assert_eq!(told.contains(CANARY), names, "{told}");
    }
    tcp.scene.stop().await;
}

#[tokio::test]
async fn p85_in_development_clients_are_told_everything_too() {
    let (tcp, file) = start("development").await;
    let told = everything(&tcp, &file, Some(READ)).await;
    let status = told.iter().find(|(asked, _)| asked == "/v1/state").unwrap();
    assert!(status.1.contains(CANARY), "{status:?}");
    tcp.scene.stop().await;
}

#[tokio::test]
async fn what_a_component_answers_is_not_changed() {
    let (tcp, _) = start("production").await;
    let head = format!("authorization: Bearer {OPERATE}\r\n");
    let body = r#"{"slot": "adapter/cache", "operation": "who"}"#;
    let told = tcp.ask("POST /v1/call", &head, body).await;
    assert!(told.contains("/canary/data\""), "{told}");
    tcp.scene.stop().await;
}
