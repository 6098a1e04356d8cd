//! The log, read back as its readers get it.

use std::{
    sync::{Condvar, Mutex},
    time::SystemTime,
};

use oneiric_domains::Secret;
use serde_json::Value;
use tracing::{Level, error_span, field::Empty};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

struct Midnight;

impl WallClock for Midnight {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// What the other end of a log has read so far, and whether it reads at all.
#[derive(Clone, Default)]
struct Reader(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Reader {
    fn text(&self) -> String {
        String::from_utf8(self.0.state.lock().unwrap().0.clone()).unwrap()
    }

    fn block(&self, blocked: bool) {
        self.0.state.lock().unwrap().1 = blocked;
        self.0.changed.notify_all();
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Pipe { state, changed } = &*self.0;
        let mut state = changed
            .wait_while(state.lock().unwrap(), |(_, blocked)| *blocked)
            .unwrap();
        state.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(filter: Option<&str>, format: LogFormat) -> LogSettings {
    LogSettings {
        filter: filter.map(str::to_owned),
        format,
    }
}

fn begin(
    settings: &LogSettings,
    pinned: Option<&str>,
) -> (Reader, Log, tracing::subscriber::DefaultGuard) {
    let reader = Reader::default();
    let (subscriber, log) = begin_to(reader.clone(), settings, pinned, Redactor::new()).unwrap();
    let guard = tracing::subscriber::set_default(subscriber);
    (reader, log, guard)
}

fn begin_to(
    to: impl Write + Send + 'static,
    settings: &LogSettings,
    pinned: Option<&str>,
    redactor: Redactor,
) -> io::Result<(impl Subscriber + Send + Sync, Log)> {
    Log::begin(to, settings, pinned, false, redactor, Arc::new(Midnight))
}

fn read(log: &Log, reader: &Reader) -> String {
    assert!(log.flush(PATIENCE));
    reader.text()
}

#[test]
fn p86_a_json_line_has_message_fields_and_those_of_the_spans_around_it() {
    let (reader, log, _guard) = begin(&settings(Some("info"), LogFormat::Json), None);
    let outer = error_span!("admin_request", request_id = "r-1", slot = "outer");
    let _outer = outer.enter();
    let inner = error_span!("swap", slot = %"adapter/cache", provider = Empty);
    inner.record("provider", "file");
    let _inner = inner.enter();
    let source = io::Error::other("disk full");
    let error: &(dyn std::error::Error + 'static) = &source;
    tracing::warn!(
        error,
        count = 3,
        fits = true,
        code = "a.b",
        "went {}",
        "wrong"
    );
    let text = read(&log, &reader);
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    let expected = serde_json::json!({
        "timestamp": "1970-01-01T00:00:00.000Z",
        "level": "warn",
        "target": "oneiric_runtime::log::tests",
        "message": "went wrong",
        "fields": {
            "error": "disk full", "count": 3, "fits": true, "code": "a.b",
            "slot": "adapter/cache", "provider": "file", "request_id": "r-1",
        },
        "spans": ["admin_request", "swap"],
    });
    assert_eq!(line, expected);
}

#[test]
fn p86_a_line_for_people_has_them_too_and_stays_one_line() {
    let (reader, log, _guard) = begin(&settings(None, LogFormat::Human), None);
    let span = error_span!("swap", slot = %"a/b\nforged");
    let _span = span.enter();
    tracing::error!(reason = "x\n\u{1b}[2J", n = 7, "lost\nforged");
    let expected = "1970-01-01T00:00:00.000Z ERROR oneiric_runtime::log::tests: lost\\nforged \
                    reason=\"x\\n\\u{1b}[2J\" n=7 slot=\"a/b\\nforged\"\n";
    assert_eq!(read(&log, &reader), expected);
}

#[test]
fn p86_secrets_are_hidden_before_anything_is_encoded() {
    let (reader, redactor) = (Reader::default(), Redactor::new());
    redactor.protect("it", vec![Secret::new("se\"cret".to_owned())]);
    let json = settings(None, LogFormat::Json);
    let (subscriber, log) = begin_to(reader.clone(), &json, None, redactor).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    let span = error_span!("call", token = "se\"cret");
    let _span = span.enter();
    tracing::error!(reason = "it was se\"cret", "said se\"cret");
    log.apply(&settings(None, LogFormat::Human));
    tracing::error!(reason = %"it was se\"cret", "said se\"cret");
    let text = read(&log, &reader);
    assert_eq!(text.matches("[redacted]").count(), 6, "{text}");
    assert!(!text.contains("cret\""), "{text}");
}

#[test]
fn p86_what_is_said_besides_events_is_covered_too() {
    let redactor = Redactor::new();
    redactor.protect("it", vec![Secret::new("hunter2-said".to_owned())]);
    let reader = Reader::default();
    let settings = settings(None, LogFormat::Human);
    let (_, log) = begin_to(reader.clone(), &settings, None, redactor).unwrap();
    log.say("oneiric is running: adapter/x (hunter2-said)");
    let said = read(&log, &reader);
    assert_eq!(said, "oneiric is running: adapter/x ([redacted])\n");
}

#[test]
fn p86_of_a_secret_across_the_place_where_a_text_is_cut_nothing_is_left() {
    let (reader, redactor) = (Reader::default(), Redactor::new());
    redactor.protect("it", vec![Secret::new("hunter2-hunter2".to_owned())]);
    let json = settings(None, LogFormat::Json);
    let (subscriber, log) = begin_to(reader.clone(), &json, None, redactor).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    for before in (8 << 10) - 14..(8 << 10) {
        let text = format!("{}hunter2-hunter2{}", "x".repeat(before), "y".repeat(99));
        let source = io::Error::other(text.clone());
        let error: &(dyn std::error::Error + 'static) = &source;
        let span = error_span!("call", text);
        let _span = span.enter();
        tracing::error!(error, shown = %text, debugged = ?text, "{text}");
        let text = read(&log, &reader);
        let line = text.lines().last().unwrap();
        assert!(!line.contains("hunter"), "at {before}");
        // The mark may be cut, or begin where the text ends.
        let ends = line.matches("x[").count() + line.matches("x... (").count();
        assert_eq!(ends, 5, "at {before}");
    }
}

#[test]
fn settings_change_filter_and_form_while_it_is_written() {
    let (reader, log, _guard) = begin(&settings(None, LogFormat::Human), None);
    tracing::debug!("unheard");
    let loud = settings(Some("debug"), LogFormat::Json);
    assert_eq!(log.check(&loud), Ok(()));
    log.apply(&loud);
    tracing::debug!("heard");
    log.apply(&settings(None, LogFormat::Human));
    tracing::debug!("unheard");
    let text = read(&log, &reader);
    assert!(
        text.starts_with("{\"") && text.contains("\"heard\""),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_wrong_filter_is_refused_and_the_old_one_stays() {
    let (reader, log, _guard) = begin(&settings(None, LogFormat::Human), None);
    let wrong = settings(Some("a=b=c"), LogFormat::Human);
    assert!(log.check(&wrong).is_err());
    log.apply(&wrong);
    tracing::warn!("heard");
    let text = read(&log, &reader);
    assert!(
        text.contains("stays as it was") && text.contains("heard"),
        "{text}"
    );
    let begun = begin_to(io::sink(), &wrong, None, Redactor::new());
    assert_eq!(
        begun.err().map(|error| error.kind()),
        Some(io::ErrorKind::InvalidInput)
    );
}

#[test]
fn a_pinned_filter_wins_over_settings() {
    let (reader, log, _guard) = begin(&settings(Some("trace"), LogFormat::Human), Some("error"));
    tracing::info!("unheard");
    log.apply(&settings(Some("trace"), LogFormat::Human));
    tracing::info!("unheard");
    tracing::error!("heard");
    assert_eq!(read(&log, &reader).lines().count(), 1);
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_nothing_else() {
    let (reader, log, _guard) = begin(&settings(None, LogFormat::Human), None);
    reader.block(true);
    let long = "x".repeat(4_000);
    for _ in 0..1_000 {
        tracing::warn!(long, "line");
    }
    assert!(!log.flush(Duration::ZERO));
    let dropped = log.dropped();
    assert!(dropped > 100, "{dropped}");
    reader.block(false);
    let text = read(&log, &reader);
    assert!(text.contains("log lines were dropped here"), "{text}");
    let kept = u64::try_from(text.matches(": line ").count()).unwrap();
    assert_eq!(kept + dropped, 1_000);
}

#[test]
fn a_log_that_cannot_be_written_costs_lines_and_nothing_else() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (subscriber, log) = begin_to(Gone, &LogSettings::default(), None, Redactor::new()).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    for _ in 0..2 {
        tracing::warn!("line");
        assert!(log.flush(PATIENCE));
    }
    log.say("more");
    assert!(log.flush(PATIENCE));
    assert_eq!(log.dropped(), 3);
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let (reader, log, _guard) = begin(&settings(None, LogFormat::Human), None);
    tracing::event!(Level::ERROR, long = "ä".repeat(10_000), "line");
    let text = read(&log, &reader);
    assert!(
        text.len() < 9_000 && text.contains("... (20000 bytes)"),
        "{}",
        text.len()
    );
}
