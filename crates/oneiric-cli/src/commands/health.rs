//! `health`: what the components say of themselves. A check, so its exit code answers it.

use std::time::Duration;

use oneiric_core::{ErrorKind, Slot};
use oneiric_runtime::Reply;
use oneiric_runtime::api::{HealthDoc, SlotHealth, Verdict};

use crate::args::Health;
use crate::commands::name;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style};
use crate::progress::Progress;
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{Micros, since};

/// Between two questions while waiting.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(
    args: &Health,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let slot = args.slot.as_deref().map(name).transpose()?;
    let reply = if args.waiting.wait {
        wait(args, slot.as_ref(), io, session).await
    } else {
        ask(args, slot.as_ref(), session).await
    }?;
    let exit = if reply.doc.healthy {
        Exit::DONE
    } else {
        Exit::CHECK_FAILED
    };
    let text = shown(&reply.doc, Session::now_unix_ms(), session.paint);
    Ok(Output::new(text, reply.json).exits(exit))
}

async fn ask(
    args: &Health,
    slot: Option<&Slot>,
    session: &Session,
) -> Result<Reply<HealthDoc>, Failure> {
    let mut client = session.client().await?;
    let reply = if args.probe {
        client.probe(slot).await
    } else {
        client.health(slot).await
    };
    reply.map_err(session::failure)
}

/// Asks again until all is well or the time is up; then the last answer is the answer.
async fn wait(
    args: &Health,
    slot: Option<&Slot>,
    io: &mut Io<'_>,
    session: &Session,
) -> Result<Reply<HealthDoc>, Failure> {
    let mut progress = Progress::new(io);
    let mut last = None;
    let well = async {
        loop {
            let answer = ask(args, slot, session).await;
            match &answer {
                Ok(reply) if is_well(&reply.doc) => return answer,
                Ok(reply) => progress.say(&missing(&reply.doc)),
                // It may be about to start; any other failure is not cured by waiting.
                Err(failure) if failure.code == "runtime.not_running" => {
                    progress.say(&format!("waiting: {}", failure.message));
                }
                Err(_) => return answer,
            }
            last = Some(answer);
            tokio::time::sleep(PAUSE).await;
        }
    };
    let limit = args.waiting.timeout.unwrap_or(Duration::MAX);
    let answer = tokio::time::timeout(limit, well).await;
    progress.end();
    match (answer, last) {
        (Ok(answer), _) | (Err(_), Some(answer)) => answer,
        (Err(_), None) => Err(Failure::new(
            "cli.timed_out",
            ErrorKind::Timeout,
            "no answer came before --timeout",
        )),
    }
}

/// Nothing is bad, and nothing is still to be activated.
fn is_well(doc: &HealthDoc) -> bool {
    doc.healthy && doc.slots.iter().all(|slot| slot.state != "activating")
}

fn missing(doc: &HealthDoc) -> String {
    let missing: Vec<String> = doc
        .slots
        .iter()
        .filter(|slot| slot.verdict == Verdict::Bad || slot.state == "activating")
        .map(|slot| format!("{} ({})", slot.slot, slot.state))
        .collect();
    format!("waiting for {}", missing.join(", "))
}

fn shown(doc: &HealthDoc, now_unix_ms: u64, paint: Paint) -> String {
    if doc.slots.is_empty() {
        return "no slot has anything to be asked\n".to_owned();
    }
    let mut table = Table::new(&[
        "slot", "provider", "health", "judged", "asked", "took", "says",
    ]);
    for slot in &doc.slots {
        table.row(row(slot, now_unix_ms));
    }
    table.display(paint).to_string()
}

fn row(slot: &SlotHealth, now_unix_ms: u64) -> [Cell; 7] {
    let (verdict, style) = match slot.verdict {
        Verdict::Good => ("good", Style::Good),
        Verdict::Warn => ("warn", Style::Attention),
        Verdict::Unknown => ("unknown", Style::Attention),
        Verdict::Inactive => ("inactive", Style::Faint),
        Verdict::Bad => ("bad", Style::Bad),
    };
    let report = slot.report.as_ref();
    let says = match report {
        Some(report) => match (&report.health, &report.message) {
            (Some(health), Some(message)) => format!("{health}: {message}"),
            (Some(health), None) => health.clone(),
            (None, _) => "it has no probe".to_owned(),
        },
        None if slot.state == "failed" => format!("failed: see `oneiric status {}`", slot.slot),
        None => slot.state.clone(),
    };
    [
        Cell::new(&slot.slot),
        Cell::maybe(slot.provider.as_ref()),
        Cell::new(verdict).style(style),
        Cell::maybe(slot.judged.as_ref()),
        Cell::maybe(report.map(|report| format!("{} ago", since(report.at_unix_ms, now_unix_ms)))),
        Cell::maybe(report.map(|report| Micros(report.took_us))),
        Cell::new(says),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_still_being_activated_is_waited_for() {
        let doc = |state: &str, verdict: &str| -> HealthDoc {
            serde_json::from_value(json!({
                "schema": "oneiric.health/1", "probed": false, "healthy": verdict != "bad",
                "slots": [{"slot": "a/b", "state": state, "verdict": verdict}],
            }))
            .unwrap()
        };
        assert!(is_well(&doc("active", "unknown")) && is_well(&doc("inactive", "inactive")));
        assert!(!is_well(&doc("activating", "inactive")) && !is_well(&doc("failed", "bad")));
        assert_eq!(missing(&doc("failed", "bad")), "waiting for a/b (failed)");
    }

    #[test]
    fn each_slot_says_how_it_is() {
        let report = |health: &str, message| {
            json!({
                "slot": "adapter/cache", "provider": "file", "instance": 1, "health": health,
                "message": message, "took_us": 1_500, "at_unix_ms": 1_000,
            })
        };
        let doc = serde_json::from_value(json!({
            "schema": "oneiric.health/1", "probed": true, "healthy": false,
            "slots": [
                {"slot": "adapter/cache", "state": "active", "provider": "file", "verdict": "bad",
                 "judged": "unhealthy",
                 "report": report("critical", Some("disk full"))},
                {"slot": "a/b", "state": "active", "provider": "x", "verdict": "good",
                 "report": report("ok", None)},
                {"slot": "a/c", "state": "inactive", "verdict": "inactive"},
                {"slot": "a/d", "state": "failed", "verdict": "bad"},
            ],
        }))
        .unwrap();
        let expected = "\
slot           provider  health    judged     asked    took  says
adapter/cache  file      bad       unhealthy  3 s ago  2 ms  critical: disk full
a/b            x         good      -          3 s ago  2 ms  ok
a/c            -         inactive  -          -        -     inactive
a/d            -         bad       -          -        -     failed: see `oneiric status a/d`
";
        assert_eq!(shown(&doc, 4_000, Paint::new(false)), expected);
    }
}
