//! The admin API over TCP: who is let in, as what, and who is not.

use std::{fs, net::Ipv4Addr};

use oneiric_core::{Coded, ErrorKind};
use oneiric_runtime::{
    ClientError, RuntimeError, Watched,
    api::{RotateRequest, SwapRequestDoc},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::{
    support::{CAST, Stage, slot, soon},
    tls::{Authority, OPERATE, READ, Tcp, private, tcp_settings, with_secrets},
};

fn swap() -> SwapRequestDoc {
    SwapRequestDoc::to_provider(slot("adapter/cache"), "second".parse().unwrap())
}

fn code(error: &ClientError) -> (&str, ErrorKind) {
    (error.code(), error.kind())
}

#[tokio::test]
async fn p84_a_token_is_a_role_and_stands_in_what_it_did() {
    let tcp = Tcp::start(CAST).await;
    let mut operator = tcp.client().await;
    let mut viewer = tcp.with_token(READ).await.unwrap();
    soon(viewer.status(None)).await.unwrap();
    let denied = soon(viewer.swap(&swap())).await.unwrap_err();
    assert_eq!(code(&denied), ("runtime.role_denied", ErrorKind::Denied));
    assert!(matches!(denied, ClientError::Refused { status: 403, .. }));
    assert!(tcp.scene.runtime.revisions().is_empty());
    let done = soon(operator.swap(&swap())).await.unwrap();
    assert_eq!(done.doc.revision.unwrap().who, "token:operator");
    tcp.scene.stop().await;
}

/// Whatever the document says changes something, asked for by somebody who may only look.
#[tokio::test]
async fn p84_a_reader_changes_nothing_by_any_route() {
    let tcp = Tcp::start(CAST).await;
    let reader = format!("authorization: Bearer {READ}\r\n");
    let document = tcp.ask("GET /v1/openapi.json", &reader, "").await;
    let document = document.split("\r\n\r\n").nth(1).unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let writes: Vec<_> = paths
        .iter()
        .filter(|(_, methods)| methods.get("post").is_some())
        .map(|(path, _)| path)
        .collect();
    assert!(writes.len() >= 6, "{writes:?}");
    for path in writes {
        // Refused for who asks, before anybody looks at what is asked.
        for body in ["{}", "no document"] {
            let answer = tcp.ask(&format!("POST {path}"), &reader, body).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{path} {answer}");
            assert!(answer.contains("\"runtime.role_denied\""), "{answer}");
        }
    }
    let runtime = &tcp.scene.runtime;
    assert!(runtime.revisions().is_empty());
    assert_eq!(tcp.scene.stage.events(), ["built first"]);
    let mut operator = tcp.client().await;
    soon(operator.status(None)).await.unwrap();
    tcp.scene.stop().await;
}

/// Two clients that happen to choose the same key.
#[tokio::test]
async fn a_key_is_its_clients_own() {
    let tcp = Tcp::start(CAST).await;
    let asks = async |who: &str, provider: &str| {
        let head = format!("authorization: Bearer {who}\r\nidempotency-key: k\r\n");
        let body = format!(r#"{{"slot": "adapter/cache", "provider": "{provider}"}}"#);
        tcp.ask("POST /v1/swap", &head, &body).await
    };
    let first = asks(OPERATE, "second").await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    // Another peer under the same key: neither told the other's answer nor refused for it.
    let socket = r#"{"slot": "adapter/cache", "provider": "first"}"#;
    let length = socket.len();
    let other = format!(
        "POST /v1/swap HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: k\r\ncontent-length: {length}\r\n\r\n{socket}"
    );
    let other = tcp.scene.raw(other.as_bytes()).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    assert!(!other.contains("idempotency-replayed"), "{other}");
    let again = asks(OPERATE, "second").await;
    assert!(again.contains("idempotency-replayed: true"), "{again}");
    // On another route the key is another one.
    let head = format!("authorization: Bearer {OPERATE}\r\nidempotency-key: k\r\n");
    let body = r#"{"slot": "adapter/cache", "operation": "who"}"#;
    let call = tcp.ask("POST /v1/call", &head, body).await;
    assert!(call.starts_with("HTTP/1.1 200 "), "{call}");
    assert_eq!(tcp.scene.runtime.revisions().len(), 2);
    tcp.scene.stop().await;
}

#[tokio::test]
async fn p84_without_a_token_or_with_a_wrong_one_there_is_one_answer_that_says_nothing() {
    let tcp = Tcp::start(CAST).await;
    let mut operator = tcp.client().await;
    let mut answers = Vec::new();
    for head in [
        String::new(),
        "authorization: Bearer wrong\r\n".to_owned(),
        format!("authorization: Bearer {OPERATE}x\r\n"),
        format!("authorization: Basic {OPERATE}\r\n"),
        // Known to the settings, and too short to be let in.
        "authorization: Bearer short\r\n".to_owned(),
        format!("authorization: Bearer {OPERATE}\r\nauthorization: Bearer {OPERATE}\r\n"),
    ] {
        for (line, body) in [
            ("GET /v1/status", ""),
            ("POST /v1/swap", "{}"),
            ("GET /none", ""),
        ] {
            let answer = tcp.ask(line, &head, body).await;
            assert!(
                answer.starts_with("HTTP/1.1 401 "),
                "{head} {line} {answer}"
            );
            assert!(answer.contains("www-authenticate: Bearer "), "{answer}");
            assert!(answer.contains("\"runtime.unauthenticated\""), "{answer}");
            let body = answer.split("\r\n\r\n").nth(1).unwrap();
            let said: serde_json::Value = serde_json::from_str(body).unwrap();
            answers.push(said["message"].clone());
            // Whoever is right ends the row of failures, which would make each answer slower than the last.
            soon(operator.status(None)).await.unwrap();
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // That it is there may be known; nothing else.
    assert!(
        tcp.ask("GET /healthz", "", "")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    for path in ["/readyz", "/metrics", "/v1/openapi.json"] {
        let answer = tcp.ask(&format!("GET {path}"), "", "").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path} {answer}");
    }
    let counted = tcp.scene.runtime.metrics();
    assert!(
        counted.contains("oneiric_admin_refusals_total{reason=\"runtime.unauthenticated\"} 21"),
        "{counted}"
    );
    tcp.scene.stop().await;
}

/// Thirty wrong tokens in a row take longer to be refused than anybody waits here.
#[tokio::test]
async fn whoever_is_right_ends_the_row_of_refusals() {
    let tcp = Tcp::start(CAST).await;
    let wrong = "authorization: Bearer wrong-0123456789abcdef\r\n";
    let mut operator = tcp.client().await;
    soon(async {
        for _ in 0..30 {
            let answer = tcp.ask("GET /v1/status", wrong, "").await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            operator.status(None).await.unwrap();
        }
    })
    .await;
    tcp.scene.stop().await;
}

#[tokio::test]
async fn a_rotated_token_holds_at_once_and_the_old_one_no_more() {
    let tcp = Tcp::start(CAST).await;
    let mut operator = tcp.client().await;
    soon(operator.status(None)).await.unwrap();
    let secrets = tcp.scene.dir.path().join("state/secrets");
    private(&secrets.join("operate"), "rotated-0123456789abcdef");
    let rotated = tcp
        .scene
        .runtime
        .rotate_secrets(RotateRequest::default(), "test");
    soon(rotated).await.unwrap();
    let refused = soon(operator.status(None)).await.unwrap_err();
    assert_eq!(code(&refused).0, "runtime.unauthenticated");
    let mut rotated = tcp.with_token("rotated-0123456789abcdef").await.unwrap();
    soon(rotated.status(None)).await.unwrap();
    tcp.scene.stop().await;
}

#[tokio::test]
async fn p84_a_client_certificate_is_a_role_by_its_name() {
    let tcp = Tcp::start(CAST).await;
    let connect = |signed: crate::tls::Signed| {
        let builder = tcp.builder().identity(signed.certificate, signed.key);
        soon(builder.connect())
    };
    let mut deploy = connect(tcp.authority.sign("deploy")).await.unwrap();
    let done = soon(deploy.swap(&swap())).await.unwrap();
    assert_eq!(done.doc.revision.unwrap().who, "cert:deploy");
    let mut monitor = connect(tcp.authority.sign("monitor")).await.unwrap();
    soon(monitor.status(None)).await.unwrap();
    let denied = soon(monitor.swap(&swap())).await.unwrap_err();
    assert_eq!(code(&denied).0, "runtime.role_denied");
    // Of the right authority, and nobody that the settings know.
    let mut nobody = connect(tcp.authority.sign("nobody")).await.unwrap();
    let refused = soon(nobody.status(None)).await.unwrap_err();
    assert_eq!(code(&refused).0, "runtime.unauthenticated");
    // Of another authority: no handshake, whatever its name. With TLS 1.3 the client learns it when it asks.
    let refused = match connect(Authority::new().sign("deploy")).await {
        Err(error) => error,
        Ok(mut forged) => soon(forged.status(None)).await.unwrap_err(),
    };
    assert!(
        ["runtime.connection_broken", "runtime.tls_failed"].contains(&refused.code()),
        "{refused}"
    );
    tcp.scene.stop().await;
}

#[tokio::test]
async fn a_client_trusts_the_authorities_it_was_given_and_the_name_it_asked_for() {
    let tcp = Tcp::start(CAST).await;
    let url = format!("https://{}", tcp.address);
    let stranger = oneiric_runtime::ClientBuilder::url(&url).authorities(Authority::new().pem());
    let error = soon(stranger.connect()).await.unwrap_err();
    assert_eq!(code(&error), ("runtime.tls_failed", ErrorKind::Denied));
    let none = oneiric_runtime::ClientBuilder::url(&url);
    let error = soon(none.connect()).await.unwrap_err();
    assert_eq!(
        code(&error),
        ("runtime.client_misconfigured", ErrorKind::Config)
    );
    let other = tcp.authority.sign("other");
    let address = tcp.address;
    let socket = tcp.scene.stop().await;
    drop(socket);
    let gone = oneiric_runtime::ClientBuilder::url(format!("https://{address}"))
        .authorities(other.certificate);
    let error = soon(gone.connect()).await.unwrap_err();
    assert_eq!(
        code(&error),
        ("runtime.unreachable", ErrorKind::Unavailable)
    );
}

async fn refused(settings: &str, change: impl FnOnce(&std::path::Path)) -> RuntimeError {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let all = tcp_settings(dir.path(), &authority);
    change(dir.path());
    let text = settings
        .replace("ALL", &all)
        .replace("DIR", &dir.path().display().to_string());
    let runtime = with_secrets(&Stage::new(), &format!("{text}\n{CAST}"), dir.path());
    soon(runtime.run(std::future::pending())).await.unwrap_err()
}

#[tokio::test]
async fn p84_tcp_without_anybody_who_could_come_in_is_refused_at_start() {
    const BARE: &str = r#"
[admin.tcp]
listen = "127.0.0.1:0"
certificate = "DIR/server.pem"
key = "DIR/server.key"
"#;
    let token = |name: &str| {
        format!(
            "[[admin.tokens]]\nname = \"a\"\nrole = \"read\"\ntoken = \"secret://file/{name}\"\n"
        )
    };
    // No token; one that is too short; one that is not there; an authority whose certificates have no role.
    for text in [
        BARE.to_owned(),
        format!("{BARE}{}", token("short")),
        format!("{BARE}{}", token("none")),
        format!("{BARE}client_ca = \"DIR/clients.pem\"\n"),
    ] {
        let error = refused(&text, |_| {}).await;
        assert_eq!(error.code(), "runtime.tcp_unguarded", "{text}: {error}");
        assert!(error.hint().unwrap().contains("admin.tokens"));
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_or_a_certificate_that_is_none_is_refused_at_start() {
    use std::os::unix::fs::PermissionsExt;
    let open = |dir: &std::path::Path| {
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(dir.join("server.key"), mode).unwrap();
    };
    let error = refused("ALL", open).await;
    assert_eq!(error.code(), "runtime.tls_unusable");
    assert!(error.to_string().contains("mode 640"), "{error}");
    let broken: [fn(&std::path::Path); 4] = [
        |dir| private(&dir.join("server.pem"), "no certificate"),
        |dir| private(&dir.join("server.key"), "no key"),
        |dir| fs::remove_file(dir.join("clients.pem")).unwrap(),
        |dir| private(&dir.join("server.key"), &Authority::new().sign("x").key),
    ];
    for change in broken {
        let error = refused("ALL", change).await;
        assert_eq!(error.code(), "runtime.tls_unusable", "{error}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = tcp_settings(dir.path(), &Authority::new());
    let text = text.replace("127.0.0.1:0", &address.to_string());
    let runtime = with_secrets(&Stage::new(), &format!("{text}\n{CAST}"), dir.path());
    let error = soon(runtime.run(std::future::pending())).await.unwrap_err();
    assert_eq!(error.code(), "runtime.listen_failed");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn wrong_tokens_from_one_address_keep_the_right_one_of_another_from_nothing() {
    // So few places that wrong tokens which held theirs until they are refused would keep them all for minutes.
    let tcp = Tcp::start_with("admin.max_connections = 4", CAST).await;
    let wrong = "GET /v1/status HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\n\r\n";
    let mut refusals = JoinSet::new();
    for _ in 0..200 {
        let mut stream = tcp.stream_from(Ipv4Addr::new(127, 0, 0, 9)).await;
        soon(stream.write_all(wrong.as_bytes())).await.unwrap();
        refusals.spawn(async move {
            let mut answer = Vec::new();
            drop(soon(stream.read_to_end(&mut answer)).await);
            String::from_utf8_lossy(&answer).into_owned()
        });
    }
    let mut operator = tcp.client().await;
    soon(operator.status(None)).await.unwrap();
    // Each was refused, and its connection ended with that.
    let mut refused = 0;
    while let Some(answer) = soon(refusals.join_next()).await {
        let answer = answer.unwrap();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 401 "),
            "{answer}"
        );
        assert!(
            answer.is_empty() || answer.contains("connection: close"),
            "{answer}"
        );
        refused += usize::from(!answer.is_empty());
    }
    assert!(refused > 0);
    tcp.scene.stop().await;
}

#[tokio::test]
async fn p84_a_role_that_is_taken_away_holds_no_more_on_connections_that_are_open() {
    let tcp = Tcp::start(CAST).await;
    let signed = tcp.authority.sign("deploy");
    let builder = tcp.builder().identity(signed.certificate, signed.key);
    let mut deploy = soon(builder.connect()).await.unwrap();
    soon(deploy.swap(&swap())).await.unwrap();
    let mut events = soon(deploy.events(None, None)).await.unwrap();
    tcp.reload("deploy = \"operate\"", "deploy = \"read\"")
        .await;
    let denied = soon(deploy.swap(&swap())).await.unwrap_err();
    assert_eq!(code(&denied).0, "runtime.role_denied");
    tcp.reload("deploy = \"operate\"\n", "").await;
    let refused = soon(deploy.status(None)).await.unwrap_err();
    assert_eq!(code(&refused).0, "runtime.unauthenticated");
    // Its stream ends before the next event, and says nothing of an end of the process.
    let mut operator = tcp.client().await;
    let back = SwapRequestDoc::to_provider(slot("adapter/cache"), "first".parse().unwrap());
    soon(operator.swap(&back)).await.unwrap();
    let error = loop {
        match soon(events.next()).await {
            Ok(Some(Watched::Event(event))) => assert_ne!(event.event, "published"),
            Ok(other) => assert!(other.is_some(), "an end was told"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "runtime.connection_broken");
    tcp.scene.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with() {
    let tcp = Tcp::start(CAST).await;
    let viewer = tcp.with_token(READ).await.unwrap();
    let mut events = soon(viewer.events(None, None)).await.unwrap();
    let secrets = tcp.scene.dir.path().join("state/secrets");
    private(&secrets.join("read"), "rotated-0123456789abcdef");
    let rotate = RotateRequest::default();
    soon(tcp.scene.runtime.rotate_secrets(rotate, "test"))
        .await
        .unwrap();
    let mut operator = tcp.client().await;
    soon(operator.swap(&swap())).await.unwrap();
    let error = loop {
        match soon(events.next()).await {
            Ok(Some(Watched::Event(event))) => assert_ne!(event.event, "published"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "runtime.connection_broken");
    tcp.scene.stop().await;
}

#[tokio::test]
async fn whoever_reads_over_tcp_takes_no_stream_from_the_socket_nor_all_of_the_others() {
    let tcp = Tcp::start(CAST).await;
    let viewer = tcp.with_token(READ).await.unwrap();
    let mut held = Vec::new();
    // Sixteen at one time, half of them for one.
    for _ in 0..8 {
        held.push(soon(viewer.events(None, None)).await.unwrap());
    }
    let error = soon(viewer.events(None, None)).await.unwrap_err();
    assert_eq!(code(&error), ("runtime.streams_exhausted", ErrorKind::Busy));
    let operator = tcp.client().await;
    for _ in 0..8 {
        held.push(soon(operator.events(None, None)).await.unwrap());
    }
    let socket = tcp.scene.client().await;
    for _ in 0..16 {
        held.push(soon(socket.events(None, None)).await.unwrap());
    }
    let error = soon(socket.events(None, None)).await.unwrap_err();
    assert_eq!(code(&error), ("runtime.streams_exhausted", ErrorKind::Busy));
    drop(held);
    tcp.scene.stop().await;
}

#[tokio::test]
async fn what_a_page_in_a_browser_sends_is_refused() {
    let tcp = Tcp::start(CAST).await;
    let token = format!("authorization: Bearer {OPERATE}\r\n");
    let json = format!("{token}content-type: application/json\r\n");
    let body = r#"{"slot": "adapter/cache", "provider": "second"}"#;
    for page in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        let head = format!("{json}{page}");
        let answer = tcp.ask_plainly("POST /v1/swap", &head, body).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{page} {answer}");
        assert!(answer.contains("\"runtime.cross_site\""), "{answer}");
    }
    for kind in ["", "content-type: text/plain;charset=UTF-8\r\n"] {
        let head = format!("{token}{kind}");
        let answer = tcp.ask_plainly("POST /v1/swap", &head, body).await;
        assert!(answer.starts_with("HTTP/1.1 415 "), "{kind} {answer}");
        assert!(answer.contains("\"runtime.body_not_json\""), "{answer}");
    }
    assert!(tcp.scene.runtime.revisions().is_empty());
    // A program says what it sends, and need not where nothing is sent.
    let answer = tcp.ask_plainly("POST /v1/swap", &json, body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = tcp.ask_plainly("GET /v1/status", &token, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    tcp.scene.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_cut_at_the_end_of_a_message_is_covered_all_the_same() {
    let tcp = Tcp::start(CAST).await;
    let mut operator = tcp.client().await;
    soon(operator.status(None)).await.unwrap();
    let head = format!("authorization: Bearer {OPERATE}\r\n");
    let (begins, _) = OPERATE.split_at(8);
    for padding in (1_900..2_060).step_by(4) {
        let body = format!(r#"{{"{}{OPERATE}": 1}}"#, "x".repeat(padding));
        let answer = tcp.ask("POST /v1/call", &head, &body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(!answer.contains(begins), "{padding}: {answer}");
    }
    tcp.scene.stop().await;
}
