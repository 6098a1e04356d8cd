//! `watch`: what happens, as it happens. It prints as it goes, so unlike other commands it writes itself; and it
//! outlives the process it looks at, because whoever watches a restart wants to see what comes after.

use std::fmt::Write as _;
use std::io::ErrorKind as IoKind;
use std::time::Duration;

use oneiric_core::{ErrorKind, Slot};
use oneiric_runtime::api::{EventDoc, MissedDoc};
use oneiric_runtime::{EventSource, Watched};
use serde_json::{Value, json};

use crate::args::Watch;
use crate::commands::name;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};

/// Between two attempts to reach a process that went away.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(
    args: &Watch,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let slot: Option<Slot> = args.slot.as_deref().map(name).transpose()?;
    // A slot that nobody has would be watched for ever.
    if slot.is_some() {
        let reply = session.client().await?.status(slot.as_ref()).await;
        reply.map_err(session::failure)?;
    }
    let limit = args.timeout.unwrap_or(Duration::MAX);
    let watching = follow(args, slot.as_ref(), io, session);
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => None,
        ended = tokio::time::timeout(limit, watching) => Some(ended),
    };
    match (ended, &args.until) {
        (None, _) | (Some(Err(_)), None) => Ok(nothing()),
        (Some(Ok(done)), _) => done.map(|()| nothing()),
        (Some(Err(_)), Some(event)) => {
            let message = format!("there was no event `{event}` in the time given");
            Err(Failure::new("cli.timed_out", ErrorKind::Timeout, message))
        }
    }
}

/// All was said as it happened.
const fn nothing() -> Output {
    Output::new(String::new(), Value::Null)
}

/// Prints events until there is the one that is waited for, or nobody reads any more.
async fn follow(
    args: &Watch,
    slot: Option<&Slot>,
    io: &mut Io<'_>,
    session: &Session,
) -> Result<(), Failure> {
    let mut last = None;
    let mut events = open(slot, None, session).await?;
    loop {
        match events.next().await {
            Ok(Some(item)) => {
                if let Watched::Event(event) = &item {
                    last = Some(event.id.clone());
                }
                if !say(&item, io, session.paint)? {
                    return Ok(());
                }
                if let (Watched::Event(event), Some(until)) = (&item, &args.until)
                    && event.event == *until
                {
                    return Ok(());
                }
                continue;
            }
            Ok(None) => note(io, "the process has ended; waiting for it to come back"),
            Err(error) => {
                let why = error.to_string();
                note(io, &format!("{}; trying again", harmless(&why)));
            }
        }
        events = loop {
            tokio::time::sleep(PAUSE).await;
            match open(slot, last.as_deref(), session).await {
                Ok(events) => break events,
                // It is away, or has no room for another reader yet; anything else does not pass by itself.
                Err(failure) if passes(failure.kind) => {}
                Err(failure) => return Err(failure),
            }
        };
        note(io, "the process is there again");
    }
}

/// Whether what keeps a stream from being opened again may be over in a moment.
const fn passes(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable | ErrorKind::Busy | ErrorKind::Timeout
    )
}

async fn open(
    slot: Option<&Slot>,
    after: Option<&str>,
    session: &Session,
) -> Result<EventSource, Failure> {
    let client = session.client().await?;
    let events = client.events(slot, after).await;
    events.map_err(session::failure)
}

/// Prints one item; `false` when nobody reads any more.
fn say(item: &Watched, io: &mut Io<'_>, paint: Paint) -> Result<bool, Failure> {
    let text = if io.for_programs {
        let document = match item {
            Watched::Event(event) => session::document(event),
            Watched::Missed(missed) => missed_document(*missed),
            _ => return Ok(true),
        };
        format!("{document}\n")
    } else {
        match item {
            Watched::Event(event) => line(event, paint),
            Watched::Missed(missed) => missed_line(*missed, paint),
            _ => return Ok(true),
        }
    };
    let written = io.stdout.write_all(text.as_bytes());
    match written.and_then(|()| io.stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == IoKind::BrokenPipe => Ok(false),
        Err(error) => {
            let message = format!("events cannot be written: {error}");
            let code = "cli.output_failed";
            Err(Failure::new(code, ErrorKind::Unavailable, message))
        }
    }
}

/// Says something besides. If stderr is gone there is nobody left to tell.
fn note(io: &mut Io<'_>, text: &str) {
    drop(writeln!(io.stderr, "{text}"));
}

fn missed_document(missed: Option<u64>) -> Value {
    let document = json!({"schema": "oneiric.missed/1", "missed": missed});
    let read = serde_json::from_value::<MissedDoc>(document);
    read.map_or(Value::Null, |document| session::document(&document))
}

fn missed_line(missed: Option<u64>, paint: Paint) -> String {
    let text = match missed {
        Some(missed) => format!("-- {missed} events were missed --"),
        None => "-- another process answers now; what it did before is not known --".to_owned(),
    };
    format!("{}\n", paint.text(Style::Attention, text))
}

/// `12:03:04 adapter/cache published first -> second`, with what else belongs to it.
fn line(event: &EventDoc, paint: Paint) -> String {
    let seconds = event.at_unix_ms / 1_000 % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let time = format!("{hours:02}:{minutes:02}:{:02}Z", seconds % 60);
    let style = match event.event.as_str() {
        "published" | "drained" => Style::Good,
        "rolled_back" | "activation_failed" => Style::Bad,
        "warned" | "drain_abandoned" => Style::Attention,
        _ => Style::Plain,
    };
    let slot = event.slot.as_ref().map_or("-", |slot| slot.as_str());
    let mut line = format!(
        "{} {slot} {}",
        paint.text(Style::Faint, time),
        paint.text(style, harmless(&event.event)),
    );
    let text = |name: &str| event.fields.get(name).and_then(Value::as_str);
    if let (Some(from), Some(to)) = (text("from"), text("to")) {
        push(&mut line, &format!(" {from} -> {to}"));
    } else if let Some(to) = text("to") {
        push(&mut line, &format!(" {to}"));
    }
    for (name, value) in &event.fields {
        match (name.as_str(), value) {
            ("from" | "to", _) => {}
            ("provider", Value::String(value)) => push(&mut line, &format!(" {value}")),
            ("failure", Value::Object(failure)) => {
                let said = |name: &str| failure.get(name).and_then(Value::as_str).unwrap_or("-");
                let (stage, message) = (said("stage"), said("message"));
                push(
                    &mut line,
                    &format!(" {stage}: {message} ({})", said("code")),
                );
            }
            (name, Value::String(value)) => push(&mut line, &format!(" {name}={value}")),
            (name, value) => push(&mut line, &format!(" {name}={value}")),
        }
    }
    line.push('\n');
    line
}

/// Appends text of others, on the same line.
fn push(line: &mut String, text: &str) {
    // Writing into a String cannot fail.
    let _infallible = write!(line, "{}", harmless(text).replace('\n', " "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: Value) -> EventDoc {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_event_is_one_line_and_no_terminal_obeys_it() {
        let published = event(json!({
            "schema": "oneiric.event/1", "id": "a-1", "event": "published", "at_unix_ms": 3_723_000,
            "slot": "adapter/cache", "from": "first", "to": "second", "instance": 7,
        }));
        assert_eq!(
            line(&published, Paint::new(false)),
            "01:02:03Z adapter/cache published first -> second instance=7\n"
        );
        let failed = event(json!({
            "schema": "oneiric.event/1", "id": "a-2", "event": "rolled_back", "at_unix_ms": 0,
            "slot": "adapter/cache", "active": "first", "provider": "second",
            "failure": {"stage": "probe", "code": "lifecycle.probe_failed", "message": "no\n\u{1b}[2Jdisk"},
        }));
        let line = line(&failed, Paint::new(false));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
        assert!(line.contains("probe: no "), "{line:?}");
    }

    #[test]
    fn what_was_missed_is_a_document_and_a_line() {
        assert_eq!(missed_document(Some(3))["missed"], 3);
        assert_eq!(missed_document(None), json!({"schema": "oneiric.missed/1"}));
        assert!(missed_line(Some(3), Paint::new(false)).contains("3 events"));
    }
}
