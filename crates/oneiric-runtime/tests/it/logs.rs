//! The log as an operator reads it: each thing that went wrong once, with what is needed to find it, and no line that
//! somebody else wrote.

use std::{
    io,
    sync::{Arc, Mutex},
};

use oneiric_runtime::DEFAULT_FILTER;
use tracing::{level_filters::LevelFilter, subscriber::DefaultGuard};

use crate::support::{CAST, Scene};

/// What is logged in this thread, which is all that a test on a runtime of one thread does.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn keep() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// As a process logs that was told nothing about it.
    fn by_default() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter(DEFAULT_FILTER)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that contain `text`.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    fn only(&self, text: &str) -> String {
        let [line] = <[String; 1]>::try_from(self.lines(text)).unwrap();
        line
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_that_clients_or_components_say_begins_a_line() {
    let (log, _kept) = Log::keep();
    let scene = Scene::start(CAST).await;
    let forged = r"\n2026-01-01T00:00:00Z ERROR forged\u001b[31m";
    for (path, body) in [
        (
            "/v1/call",
            format!(r#"{{"slot": "adapter/cache", "operation": "x{forged}"}}"#),
        ),
        ("/v1/call", format!(r#"{{"slot": "a/b", "x{forged}": 1}}"#)),
        (
            "/v1/call",
            r#"{"slot": "adapter/cache", "operation": "forge"}"#.to_owned(),
        ),
        (
            "/v1/swap",
            format!(r#"{{"slot": "adapter/cache", "provider": "second", "reason": "{forged}"}}"#),
        ),
    ] {
        scene.post(path, &body).await;
    }
    scene.stop().await;
    let lines = log.lines("forged");
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[tokio::test]
async fn mistakes_of_clients_are_no_warnings_and_logged_once() {
    let (log, _kept) = Log::keep();
    let scene = Scene::start(CAST).await;
    scene.get("/v1/nothing").await;
    scene.post("/v1/call", "nonsense").await;
    scene.raw(b"\x16\x03\x01\r\n\r\n").await;
    scene.stop().await;
    for code in [
        "runtime.route_unknown",
        "runtime.request_invalid",
        "runtime.request_unreadable",
    ] {
        let line = log.only(code);
        assert!(line.contains("request_id="), "{line}");
    }
    assert_eq!(log.lines(" WARN "), [""; 0]);
}

#[tokio::test]
async fn a_call_that_failed_says_whose_it_was() {
    let (log, _kept) = Log::keep();
    let scene = Scene::start(CAST).await;
    scene
        .post(
            "/v1/call",
            r#"{"slot": "adapter/cache", "operation": "boom"}"#,
        )
        .await;
    scene.stop().await;
    let line = log.only("lifecycle.panicked");
    assert!(line.contains(" WARN "), "{line}");
    for field in [
        "slot=\"adapter/cache\"",
        "provider=\"first\"",
        "operation=\"boom\"",
    ] {
        assert!(line.contains(field), "{line}");
    }
}

#[tokio::test]
async fn what_goes_wrong_in_a_swap_is_logged_once() {
    let (log, _kept) = Log::keep();
    let scene = Scene::start(CAST).await;
    scene
        .post(
            "/v1/swap",
            r#"{"slot": "adapter/cache", "provider": "sick"}"#,
        )
        .await;
    scene.stop().await;
    let warning = log.only(" WARN ");
    for field in [
        "slot=\"adapter/cache\"",
        "from=\"first\"",
        "to=\"sick\"",
        "stage=\"probe\"",
        "code=\"lifecycle.probe_failed\"",
    ] {
        assert!(warning.contains(field), "{warning}");
    }
}

#[tokio::test]
async fn a_slot_that_cannot_be_activated_is_logged_once() {
    let (log, _kept) = Log::keep();
    let selected = format!("[selections]\n\"adapter/cache\" = \"broken\"\n{CAST}");
    Scene::start(&selected).await.stop().await;
    let warning = log.only("lifecycle.build_failed");
    assert!(
        warning.contains(" WARN ") && warning.contains("provider=\"broken\""),
        "{warning}"
    );
    assert_eq!(log.lines(" ERROR "), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn work_that_is_given_up_in_a_swap_is_logged_once() {
    let (log, _kept) = Log::keep();
    let scene = Scene::start(CAST).await;
    let slot = crate::support::slot("adapter/cache");
    let lease = scene.runtime.lifecycle().lease(&slot).await.unwrap();
    scene
        .post(
            "/v1/swap",
            r#"{"slot": "adapter/cache", "provider": "second"}"#,
        )
        .await;
    let warning = log.only(" WARN ");
    assert!(
        warning.contains("lifecycle.drain_abandoned") && warning.contains("in_flight=1"),
        "{warning}"
    );
    drop(lease);
    scene.stop().await;
}

#[tokio::test]
async fn by_default_the_log_says_who_changed_what_and_nothing_of_who_calls_or_looks() {
    let (log, _kept) = Log::by_default();
    let scene = Scene::start(CAST).await;
    for _ in 0..50 {
        let call = r#"{"slot": "adapter/cache", "operation": "who"}"#;
        scene.post("/v1/call", call).await;
        scene.get("/v1/status").await;
        scene.get("/v1/nothing").await;
    }
    let before = log.lines("request_id");
    assert_eq!(before, [""; 0]);
    for (path, body) in [
        (
            "/v1/swap",
            r#"{"slot": "adapter/cache", "provider": "second", "reason": "why not"}"#,
        ),
        (
            "/v1/activity",
            r#"{"scope": "adapter/cache", "activity": "paused"}"#,
        ),
        ("/v1/secrets/rotate", "{}"),
        ("/v1/reload", "{}"),
    ] {
        scene.post(path, body).await;
        let line = log.only(&format!("route=\"{path}\""));
        assert!(
            line.contains(" INFO ") && line.contains("who=\"uid:"),
            "{line}"
        );
    }
    // A component that fails is said, and not as often as it is called.
    for _ in 0..30 {
        let call = r#"{"slot": "adapter/cache", "operation": "boom"}"#;
        scene
            .post(
                "/v1/activity",
                r#"{"scope": "adapter/cache", "activity": "running"}"#,
            )
            .await;
        scene.post("/v1/call", call).await;
    }
    assert_eq!(log.lines("lifecycle.panicked").len(), 10);
    scene.stop().await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn by_default_the_log_says_who_was_refused_and_not_more_often_than_can_be_read() {
    use crate::tls::{READ, Tcp};

    let (log, _kept) = Log::by_default();
    let tcp = Tcp::start(CAST).await;
    let denied = tcp
        .ask(
            "POST /v1/swap",
            &format!("authorization: Bearer {READ}\r\n"),
            "{}",
        )
        .await;
    let id = denied.split("x-request-id: ").nth(1).unwrap();
    let id = id.split("\r\n").next().unwrap();
    let line = log.only(&format!("request_id=\"{id}\""));
    for part in [" WARN ", "runtime.role_denied", "who=\"token:viewer\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for _ in 0..15 {
        tcp.ask("GET /v1/status", "", "").await;
    }
    let lines = log.lines("runtime.unauthenticated");
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains(" WARN ") && line.contains("who=\"address:127.0.0.1\"")),
        "{lines:?}"
    );
    tcp.scene.stop().await;
}
