//! `health`: what the components say of themselves. A check, so its exit code answers it.

use oneiric_runtime::api::{HealthDoc, SlotHealth, Verdict};

use crate::args::Health;
use crate::commands::name;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style};
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{Micros, since};

pub(super) async fn run(args: &Health, session: &mut Session) -> Result<Output, Failure> {
    let slot = args.slot.as_deref().map(name).transpose()?;
    let mut client = session.client().await?;
    let reply = if args.probe {
        client.probe(slot.as_ref()).await
    } else {
        client.health(slot.as_ref()).await
    };
    let reply = reply.map_err(session::failure)?;
    let exit = if reply.doc.healthy {
        Exit::DONE
    } else {
        Exit::CHECK_FAILED
    };
    let text = shown(&reply.doc, Session::now_unix_ms(), session.paint);
    Ok(Output::new(text, reply.json).exits(exit))
}

fn shown(doc: &HealthDoc, now_unix_ms: u64, paint: Paint) -> String {
    if doc.slots.is_empty() {
        return "no slot has anything to be asked\n".to_owned();
    }
    let mut table = Table::new(&["slot", "provider", "health", "asked", "took", "says"]);
    for slot in &doc.slots {
        table.row(row(slot, now_unix_ms));
    }
    table.display(paint).to_string()
}

fn row(slot: &SlotHealth, now_unix_ms: u64) -> [Cell; 6] {
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
                 "report": report("critical", Some("disk full"))},
                {"slot": "a/b", "state": "active", "provider": "x", "verdict": "good",
                 "report": report("ok", None)},
                {"slot": "a/c", "state": "inactive", "verdict": "inactive"},
                {"slot": "a/d", "state": "failed", "verdict": "bad"},
            ],
        }))
        .unwrap();
        let expected = "\
slot           provider  health    asked    took  says
adapter/cache  file      bad       3 s ago  1 ms  critical: disk full
a/b            x         good      3 s ago  1 ms  ok
a/c            -         inactive  -        -     inactive
a/d            -         bad       -        -     failed: see `oneiric status a/d`
";
        assert_eq!(shown(&doc, 4_000, Paint::new(false)), expected);
    }
}
