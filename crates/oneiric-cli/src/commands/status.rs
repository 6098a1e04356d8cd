//! `status`: one line a slot, or everything about one (`full`). What is out of the ordinary is said in
//! words below the table, so that it cannot be overlooked in a column.

mod full;
mod held;

use oneiric_core::ErrorKind;
use oneiric_runtime::api::slot::{Difference, SlotStatus};
use oneiric_runtime::api::{ProcessDoc, ScopeDoc, StatusDoc};

use self::held::Rule;
use crate::args::{History, Status};
use crate::commands::{history, name};
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{self, since};

pub(super) async fn run(args: &Status, session: &mut Session) -> Result<Output, Failure> {
    if args.history {
        let of = History {
            slot: args.slot.clone(),
            limit: None,
        };
        return history::run(&of, session).await;
    }
    let slot = args.slot.as_deref().map(name).transpose()?;
    if args.offline {
        let message = "status is what a process is doing, and without one there is none";
        return Err(Failure::new("cli.usage", ErrorKind::Usage, message).hint(WITHOUT));
    }
    let mut client = session.client().await.map_err(or_without)?;
    let reply = client
        .status(slot.as_ref())
        .await
        .map_err(session::failure)?;
    let held = |slot: &SlotStatus| slot.activity.activity != "running";
    // Only to say more: where it is not told, what holds is in the status.
    let rules = match reply.doc.slots.iter().any(held) {
        true => client.activity(None).await.map(|reply| reply.doc.scopes),
        false => Ok(Vec::new()),
    };
    let view = View {
        doc: &reply.doc,
        rules: &rules.unwrap_or_default(),
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

/// What answers without a process come near to a status.
const WITHOUT: &str = "`oneiric list --offline` shows whom a process started here would have, `oneiric doctor` what \
                       would keep it from starting";

/// Says what can be asked without the process that does not run.
fn or_without(failure: Failure) -> Failure {
    if failure.code != "runtime.not_running" {
        return failure;
    }
    let known = failure.best_hint().unwrap_or_default().to_owned();
    failure.hint(format!("{known}; {WITHOUT}"))
}

struct View<'a> {
    doc: &'a StatusDoc,
    /// What is paused or draining.
    rules: &'a [ScopeDoc],
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
            for rule in Rule::of(slot, self.rules) {
                note(format!("{}: {}", slot.slot, rule.said(self.now)));
            }
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
        let settings = &self.doc.process.settings;
        if let Some(refused) = &settings.refused {
            let good = since(settings.good_since_unix_ms, self.now);
            note(format!(
                "settings: those of {good} ago are in force, the files as they are now are refused: {} ({})",
                refused.message, refused.code
            ));
        }
        for held in &settings.held {
            let slot = &held.slot;
            note(match &held.failed {
                None => format!("{slot}: new settings wait until it is resumed"),
                Some(failed) => format!(
                    "{slot}: new settings were tried when it was resumed, and failed: {} ({})",
                    failed.message, failed.code
                ),
            });
        }
        for unknown in &self.doc.unknown_selections {
            let (slot, layer, provider) = (&unknown.slot, &unknown.layer, &unknown.provider);
            note(format!(
                "{slot}: the {layer} selection {provider} names nobody who is registered"
            ));
        }
        notes
    }
}

/// The state, and the activity where it is not the usual one; why is said below.
fn state(slot: &SlotStatus) -> String {
    match slot.activity.activity.as_str() {
        "running" => slot.state.clone(),
        activity => format!("{}, {activity}", slot.state),
    }
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
pub(super) fn difference(slot: &SlotStatus, differs: &Difference) -> String {
    let winner = slot
        .winner
        .as_ref()
        .map_or("nobody".to_owned(), ToString::to_string);
    let serving = slot
        .active
        .as_ref()
        .map(|active| active.provider.to_string());
    let serving = serving.unwrap_or_else(|| "nobody".to_owned());
    if let Some(reason) = &differs.reason {
        // Says who serves, and why.
        return format!("{winner} wins; {reason}");
    }
    let why = match (differs.why.as_str(), &differs.failure, &differs.activity) {
        ("swap_failed", Some(failure), _) => {
            format!("the swap failed at {}", words::failed(failure))
        }
        ("swung_back", Some(failure), _) => {
            format!("it was swung back at {}", words::failed(failure))
        }
        ("held", _, Some(activity)) => format!("the slot is {activity}"),
        ("withdrawn", ..) => format!("{serving} is no longer registered"),
        ("not_applied", ..) if slot.state == "swapping" || !slot.draining.is_empty() => {
            "a swap is under way".to_owned()
        }
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

    pub(super) fn slot() -> Value {
        json!({
            "slot": "adapter/cache", "state": "active", "since_unix_ms": 57_000, "winner": "memory",
            "active": {"provider": "memory", "origin": "settings", "sequence": 1, "instance": 1},
            "activity": {"activity": "running"}, "calls": {"succeeded": 7, "failed": 0},
            "swaps": {"activated": 1, "swapped": 2, "rolled_back": 1, "retired": 2},
        })
    }

    pub(super) fn doc(slot: Value) -> StatusDoc {
        serde_json::from_value(json!({
            "schema": "oneiric.status/1",
            "process": {"pid": 42, "version": "0.1.0", "since_unix_ms": 0, "state_dir": ".oneiric",
                        "settings_file": "oneiric.toml"},
            "slots": [slot], "unknown_selections": [], "selections": [],
        }))
        .unwrap()
    }

    pub(super) fn view(doc: &StatusDoc) -> View<'_> {
        View {
            doc,
            rules: &[],
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
    fn who_paused_and_why_is_said_below_the_table_for_each_scope_that_holds() {
        let mut slot = slot();
        let note = "a long story ".repeat(40);
        slot["activity"] = json!({"activity": "draining", "scope": "adapter/*", "who": "bob"});
        let rule = |scope: &str, activity: &str, slots: Value, more: Value| {
            let mut rule =
                json!({"scope": scope, "activity": activity, "slots": slots, "in_flight": 0});
            rule.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value(rule).unwrap()
        };
        let here = json!(["adapter/cache"]);
        let rules: Vec<ScopeDoc> = vec![
            rule(
                "adapter/*",
                "draining",
                here.clone(),
                json!({"who": "bob", "since_unix_ms": 57_000}),
            ),
            rule(
                "adapter/cache",
                "paused",
                here.clone(),
                json!({"who": "ann", "note": note, "since_unix_ms": 55_000, "until_unix_ms": 660_000}),
            ),
            // These hold back nobody here: another provider, and another slot.
            rule("adapter/cache:file", "paused", here, json!({})),
            rule(
                "service/clock",
                "paused",
                json!(["service/clock"]),
                json!({}),
            ),
        ];
        let doc = doc(slot);
        let text = View {
            rules: &rules,
            ..view(&doc)
        }
        .overview();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[3].starts_with("adapter/cache  active, draining  memory"),
            "{text}"
        );
        assert_eq!(
            lines[5..],
            [
                "adapter/cache: adapter/* is draining by bob 3 s ago".to_owned(),
                format!("adapter/cache: paused by ann 5 s ago; resumes in 10 min: {note}"),
            ]
        );
        // An older process, or one that does not answer any more.
        assert!(
            view(&doc)
                .overview()
                .contains("\nadapter/cache: adapter/* is draining by bob\n")
        );
    }

    #[test]
    fn a_swap_under_way_is_not_called_one_that_nobody_asked_for() {
        let differs = serde_json::from_value(json!({"why": "not_applied"})).unwrap();
        let draining = json!([{"provider": "file", "instance": 1, "in_flight": 2}]);
        for (field, value) in [("state", json!("swapping")), ("draining", draining)] {
            let mut slot = slot();
            slot[field] = value;
            let slot = serde_json::from_value(slot).unwrap();
            assert_eq!(
                difference(&slot, &differs),
                "memory wins but memory serves: a swap is under way"
            );
        }
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
