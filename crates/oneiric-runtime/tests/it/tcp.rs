//! The admin API over TCP: who is let in, as what, and who is not.

use std::fs;

use oneiric_core::{Coded, ErrorKind};
use oneiric_runtime::{
    ClientError, RuntimeError,
    api::{RotateRequest, SwapRequestDoc},
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
