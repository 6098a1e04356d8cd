//! `status`: one line a slot, or everything about one. What is out of the ordinary is said in
//! words below the table, so that it cannot be overlooked in a column.

use oneiric_runtime::api::slot::{Difference, SlotStatus};
use oneiric_runtime::api::{ProcessDoc, StatusDoc};

use crate::args::Status;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{self, Micros, since};

pub(super) async fn run(args: &Status, session: &mut Session) -> Result<Output, Failure> {
    let slot = args.slot.as_deref().map(name).transpose()?;
    let mut client = session.client().await?;
    let reply = client
        .status(slot.as_ref())
        .await
        .map_err(session::failure)?;
    let view = View {
        doc: &reply.doc,
        now: Session::now_unix_ms(),
        paint: session.paint,
    };
    let text = if slot.is_some() {
        view.in_full()
    } else {
        view.overview()
    };
    Ok(Output::new(text, reply.json))
}

struct View<'a> {
    doc: &'a StatusDoc,
    now: u64,
    paint: Paint,
}

impl View<'_> {
    fn overview(&self) -> String {
        let headings = [
            "slot",
            "state",
            "provider",
            "for",
            "calls",
            "failed",
            "in flight",
            "swaps",
            "health",
        ];
        let mut table = Table::new(&headings);
        for slot in &self.doc.slots {
            table.row(self.row(slot));
        }
        let mut text = format!("{}\n", self.process(&self.doc.process));
        if table.is_empty() {
            text.push_str("it has no slots\n");
        } else {
            text.push_str(&format!("\n{}", table.display(self.paint)));
        }
        let notes = self.notes();
        if !notes.is_empty() {
            text.push_str(&format!("\n{notes}"));
        }
        text
    }

    fn process(&self, process: &ProcessDoc) -> String {
        let settings = process.settings_file.as_deref().unwrap_or("none");
        harmless(&format!(
            "oneiric {}, pid {}, up {}, settings {settings}, state {}",
            process.version,
            process.pid,
            since(process.since_unix_ms, self.now),
            process.state_dir
        ))
    }

    fn row(&self, slot: &SlotStatus) -> [Cell; 9] {
        let health = slot
            .health
            .as_ref()
            .and_then(|report| report.health.as_deref());
        let failed = Cell::number(slot.calls.failed);
        [
            Cell::new(&slot.slot),
            Cell::new(state(slot)).style(state_style(slot)),
            Cell::maybe(slot.active.as_ref().map(|active| &active.provider)),
            Cell::maybe(slot.since_unix_ms.map(|then| since(then, self.now))),
            Cell::number(slot.calls.succeeded.saturating_add(slot.calls.failed)),
            if slot.calls.failed > 0 {
                failed.style(Style::Attention)
            } else {
                failed
            },
            Cell::number(slot.in_flight),
            Cell::number(slot.swaps.swapped),
            Cell::maybe(health).style(health.map_or(Style::Faint, health_style)),
        ]
    }

    /// What somebody should look at.
    fn notes(&self) -> String {
        let mut notes = String::new();
        let mut note = |line: String| {
            notes.push_str(&format!(
                "{}\n",
                self.paint.text(Style::Attention, harmless(&line))
            ));
        };
        for slot in &self.doc.slots {
            if let Some(differs) = &slot.differs {
                note(format!("{}: {}", slot.slot, difference(slot, differs)));
            }
            if let Some(forced) = slot
                .active
                .as_ref()
                .and_then(|active| active.forced.as_ref())
            {
                note(format!(
                    "{}: was forced past {}",
                    slot.slot,
                    words::failed(forced)
                ));
            }
            if let Some(error) = &slot.last_error {
                let ago = since(error.at_unix_ms, self.now);
                let failure = words::failed(&error.failure);
                note(format!(
                    "{}: {} failed {ago} ago at {failure}",
                    slot.slot, error.provider
                ));
            }
        }
        for unknown in &self.doc.unknown_selections {
            let (slot, layer, provider) = (&unknown.slot, &unknown.layer, &unknown.provider);
            note(format!(
                "{slot}: the {layer} selection {provider} names nobody who is registered"
            ));
        }
        notes
    }

    fn in_full(&self) -> String {
        let mut text = String::new();
        for slot in &self.doc.slots {
            text.push_str(&format!(
                "{}\n",
                self.paint.text(Style::Heading, &slot.slot)
            ));
            for (what, value) in self.facts(slot) {
                text.push_str(&format!(
                    "  {what:<10}  {}\n",
                    harmless(&value).replace('\n', " ")
                ));
            }
        }
        text
    }

    /// Everything about a slot; only what there is to say.
    fn facts(&self, slot: &SlotStatus) -> Vec<(&'static str, String)> {
        let ago = |then| format!("{} ago", since(then, self.now));
        let mut facts = vec![("state", state(slot))];
        let mut fact = |what, value: Option<String>| facts.extend(value.map(|value| (what, value)));
        fact(
            "for",
            slot.since_unix_ms
                .map(|then| since(then, self.now).to_string()),
        );
        fact(
            "serves",
            slot.active.as_ref().map(|active| {
                format!(
                    "{} (instance {}, from {})",
                    active.provider, active.instance, active.origin
                )
            }),
        );
        let forced = slot
            .active
            .as_ref()
            .and_then(|active| active.forced.as_ref());
        fact("forced", forced.map(words::failed));
        fact("wins", slot.winner.as_ref().map(ToString::to_string));
        fact(
            "differs",
            slot.differs
                .as_ref()
                .map(|differs| difference(slot, differs)),
        );
        let selection = self
            .doc
            .selections
            .iter()
            .find(|revision| revision.slot == slot.slot);
        fact(
            "selected",
            selection.and_then(|revision| {
                let provider = revision.provider.as_ref()?;
                let reason = revision.reason.as_ref().map(|reason| format!(": {reason}"));
                Some(format!(
                    "{provider}, revision {}, by {}, {}{}",
                    revision.revision,
                    revision.who,
                    ago(revision.at_unix_ms),
                    reason.unwrap_or_default()
                ))
            }),
        );
        let unknown = self
            .doc
            .unknown_selections
            .iter()
            .filter(|unknown| unknown.slot == slot.slot);
        for unknown in unknown {
            let (layer, provider) = (&unknown.layer, &unknown.provider);
            fact(
                "unknown",
                Some(format!("the {layer} selection {provider} names nobody")),
            );
        }
        let calls = slot.calls;
        fact(
            "calls",
            Some(format!(
                "{} succeeded, {} failed, {} in flight",
                calls.succeeded, calls.failed, slot.in_flight
            )),
        );
        for draining in &slot.draining {
            let (provider, instance) = (&draining.provider, draining.instance);
            let in_flight = draining.in_flight;
            fact(
                "draining",
                Some(format!(
                    "{provider} (instance {instance}), {in_flight} in flight"
                )),
            );
        }
        let swaps = slot.swaps;
        fact(
            "swaps",
            Some(format!(
                "{} activated, {} swapped, {} forced, {} rolled back, {} failed, {} retired",
                swaps.activated,
                swaps.swapped,
                swaps.forced,
                swaps.rolled_back,
                swaps.failed,
                swaps.retired
            )),
        );
        fact(
            "took",
            slot.swap_duration.map(|took| {
                let (p50, p99, max) = (
                    Micros(took.p50_us),
                    Micros(took.p99_us),
                    Micros(took.max_us),
                );
                format!("p50 {p50}, p99 {p99}, max {max} of the last {}", took.count)
            }),
        );
        fact(
            "health",
            slot.health.as_ref().map(|report| {
                let health = report.health.as_deref().unwrap_or("it has no probe");
                let message = report
                    .message
                    .as_ref()
                    .map(|message| format!(": {message}"));
                format!(
                    "{health}{}, {}",
                    message.unwrap_or_default(),
                    ago(report.at_unix_ms)
                )
            }),
        );
        let holders: Vec<&str> = slot.holders.iter().map(|holder| holder.as_str()).collect();
        fact(
            "needed by",
            (!holders.is_empty()).then(|| holders.join(", ")),
        );
        fact(
            "last error",
            slot.last_error.as_ref().map(|error| {
                let failure = words::failed(&error.failure);
                format!(
                    "{}, {}, at {failure}",
                    error.provider,
                    ago(error.at_unix_ms)
                )
            }),
        );
        facts
    }
}

/// The state, and the activity where it is not the usual one.
fn state(slot: &SlotStatus) -> String {
    if slot.activity.activity == "running" {
        return slot.state.clone();
    }
    let who = slot.activity.who.as_ref().map(|who| format!(" by {who}"));
    let note = slot.activity.note.as_ref().map(|note| format!(": {note}"));
    format!(
        "{}, {}{}{}",
        slot.state,
        slot.activity.activity,
        who.unwrap_or_default(),
        note.unwrap_or_default()
    )
}

fn state_style(slot: &SlotStatus) -> Style {
    match slot.state.as_str() {
        "active" if slot.activity.activity == "running" => Style::Good,
        "failed" => Style::Bad,
        _ => Style::Attention,
    }
}

fn health_style(health: &str) -> Style {
    match health {
        "ok" => Style::Good,
        "warn" | "temporarily_unavailable" => Style::Attention,
        _ => Style::Bad,
    }
}

/// Why the one who serves is not the one who wins.
fn difference(slot: &SlotStatus, differs: &Difference) -> String {
    let winner = slot
        .winner
        .as_ref()
        .map_or("nobody".to_owned(), ToString::to_string);
    let serving = slot
        .active
        .as_ref()
        .map(|active| active.provider.to_string());
    let serving = serving.unwrap_or_else(|| "nobody".to_owned());
    let why = match (differs.why.as_str(), &differs.failure, &differs.activity) {
        ("swap_failed", Some(failure), _) => {
            format!("the swap failed at {}", words::failed(failure))
        }
        ("held", _, Some(activity)) => format!("the slot is {activity}"),
        ("withdrawn", ..) => format!("{serving} is no longer registered"),
        ("not_applied", ..) => {
            format!(
                "nobody asked for the swap; `oneiric swap {}` does it",
                slot.slot
            )
        }
        (why, ..) => why.to_owned(),
    };
    format!("{winner} wins but {serving} serves: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slot() -> Value {
        json!({
            "slot": "adapter/cache", "state": "active", "since_unix_ms": 57_000, "winner": "memory",
            "active": {"provider": "memory", "origin": "settings", "sequence": 1, "instance": 1},
            "activity": {"activity": "running"}, "calls": {"succeeded": 7, "failed": 0},
            "swaps": {"activated": 1, "swapped": 2, "rolled_back": 1, "retired": 2},
        })
    }

    fn doc(slot: Value) -> StatusDoc {
        serde_json::from_value(json!({
            "schema": "oneiric.status/1",
            "process": {"pid": 42, "version": "0.1.0", "since_unix_ms": 0, "state_dir": ".oneiric",
                        "settings_file": "oneiric.toml"},
            "slots": [slot], "unknown_selections": [], "selections": [],
        }))
        .unwrap()
    }

    fn view(doc: &StatusDoc) -> View<'_> {
        View {
            doc,
            now: 60_000,
            paint: Paint::new(false),
        }
    }

    #[test]
    fn the_overview_is_a_line_for_each_slot() {
        let expected = "\
oneiric 0.1.0, pid 42, up 60 s, settings oneiric.toml, state .oneiric

slot           state   provider  for  calls  failed  in flight  swaps  health
adapter/cache  active  memory    3 s      7       0          0      2  -
";
        assert_eq!(view(&doc(slot())).overview(), expected);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_said_below_the_table() {
        let mut slot = slot();
        let failure =
            json!({"stage": "probe", "code": "lifecycle.probe_failed", "message": "critical: x"});
        slot["winner"] = json!("flaky");
        slot["differs"] = json!({"why": "swap_failed", "failure": failure});
        slot["active"]["forced"] = failure.clone();
        slot["last_error"] = failure;
        slot["last_error"]["provider"] = json!("flaky");
        slot["last_error"]["at_unix_ms"] = json!(58_000);
        let mut doc = doc(slot);
        doc.unknown_selections = serde_json::from_value(
            json!([{"slot": "adapter/cache", "provider": "redus", "layer": "settings"}]),
        )
        .unwrap();
        let text = view(&doc).overview();
        let notes: Vec<&str> = text.lines().skip(5).collect();
        assert_eq!(
            notes,
            [
                "adapter/cache: flaky wins but memory serves: the swap failed at probe: critical: x \
                 (lifecycle.probe_failed)",
                "adapter/cache: was forced past probe: critical: x (lifecycle.probe_failed)",
                "adapter/cache: flaky failed 2 s ago at probe: critical: x (lifecycle.probe_failed)",
                "adapter/cache: the settings selection redus names nobody who is registered",
            ]
        );
    }

    #[test]
    fn one_slot_is_told_in_full() {
        let mut slot = slot();
        slot["activity"] = json!({"activity": "paused", "note": "repairs", "who": "ann"});
        slot["swap_duration"] =
            json!({"count": 3, "p50_us": 900, "p90_us": 900, "p99_us": 2_000, "max_us": 2_000});
        slot["holders"] = json!(["service/x", "service/y"]);
        let mut doc = doc(slot);
        doc.selections = serde_json::from_value(json!([{
            "revision": 4, "slot": "adapter/cache", "provider": "memory", "who": "uid:1",
            "reason": "faster", "at_unix_ms": 55_000,
        }]))
        .unwrap();
        let expected = "\
adapter/cache
  state       active, paused by ann: repairs
  for         3 s
  serves      memory (instance 1, from settings)
  wins        memory
  selected    memory, revision 4, by uid:1, 5 s ago: faster
  calls       7 succeeded, 0 failed, 0 in flight
  swaps       1 activated, 2 swapped, 0 forced, 1 rolled back, 0 failed, 2 retired
  took        p50 900 us, p99 2 ms, max 2 ms of the last 3
  needed by   service/x, service/y
";
        assert_eq!(view(&doc).in_full(), expected);
    }

    #[test]
    fn every_difference_has_its_reason() {
        let slot: SlotStatus = serde_json::from_value(slot()).unwrap();
        let said = |differs: Value| difference(&slot, &serde_json::from_value(differs).unwrap());
        for (differs, expected) in [
            (
                json!({"why": "held", "activity": "paused"}),
                "the slot is paused",
            ),
            (
                json!({"why": "withdrawn"}),
                "memory is no longer registered",
            ),
            (
                json!({"why": "not_applied"}),
                "nobody asked for the swap; `oneiric swap adapter/cache` does it",
            ),
            (json!({"why": "from_the_future"}), "from_the_future"),
        ] {
            assert_eq!(
                said(differs),
                format!("memory wins but memory serves: {expected}")
            );
        }
    }
}
