//! `watch`: what happens, as it happens. It prints as it goes, so unlike other commands it writes itself; and it
//! outlives the process it looks at, because whoever watches a restart wants to see what comes after.

mod line;

use std::io::ErrorKind as IoKind;
use std::time::Duration;

use oneiric_core::{ErrorKind, Slot};
use oneiric_runtime::api::MissedDoc;
use oneiric_runtime::{EventSource, Watched, nearest};
use serde_json::{Value, json};

use self::line::{line, missed_line};

use crate::args::{EVENTS, Watch};
use crate::commands::name;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{Output, plain_json};
use crate::paint::{Paint, harmless};
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
    if let Some(until) = args.until.as_deref()
        && !io.for_programs
        && !EVENTS.contains(&until)
    {
        let meant = nearest(until, EVENTS).map(|meant| format!("; {meant}"));
        let meant = meant.unwrap_or_default();
        let until = harmless(until);
        note(
            io,
            &format!("warning: no event that this version knows is called {until}{meant}"),
        );
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
        format!("{}\n", plain_json(&document.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_a_document() {
        assert_eq!(missed_document(Some(3))["missed"], 3);
        assert_eq!(missed_document(None), json!({"schema": "oneiric.missed/1"}));
    }
}
