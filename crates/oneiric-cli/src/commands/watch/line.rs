//! An event as a line: when, where, what, and then what belongs to it, in words where a name alone would puzzle
//! somebody who is woken by it. An event that this version does not know is shown with all its fields.

use std::fmt::Write as _;

use oneiric_runtime::api::EventDoc;
use oneiric_runtime::api::slot::Bake;
use serde_json::Value;

use crate::paint::{Paint, Style, harmless};
use crate::words::{self, Millis};

pub(super) fn missed_line(missed: Option<u64>, paint: Paint) -> String {
    let text = match missed {
        Some(missed) => format!("-- {missed} events were missed --"),
        None => "-- another process answers now; what it did before is not known --".to_owned(),
    };
    format!("{}\n", paint.text(Style::Attention, text))
}

/// `12:03:04Z adapter/cache published first -> second`, with what else belongs to it.
pub(super) fn line(event: &EventDoc, paint: Paint) -> String {
    let seconds = event.at_unix_ms / 1_000 % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let time = format!("{hours:02}:{minutes:02}:{:02}Z", seconds % 60);
    let slot = event.slot.as_ref().map_or("-", |slot| slot.as_str());
    let mut line = format!(
        "{} {slot} {}",
        paint.text(Style::Faint, time),
        paint.text(style(event), harmless(&event.event)),
    );
    let mut left = event.fields.clone();
    if let Some(text) = decided(event) {
        push(&mut line, text);
        left.remove("decision");
    }
    for field in ["from", "to", "provider", "secret"] {
        if let Some(text) = leading(field, event) {
            push(&mut line, &text);
        }
        left.remove(field);
    }
    if let Some(place) = place(event) {
        push(&mut line, &place);
        left.retain(|name, _| !["file", "line", "key"].contains(&name.as_str()));
    }
    for (name, value) in &left {
        if let Some(text) = said(name, value) {
            push(&mut line, &text);
        }
    }
    line.push('\n');
    line
}

fn style(event: &EventDoc) -> Style {
    let failed = || event.fields.get("outcome").and_then(Value::as_str) == Some("failed");
    let swung_back = || {
        let end = event.fields.get("bake").and_then(|bake| bake.get("ended"));
        end.and_then(Value::as_str) == Some("swung_back")
    };
    match event.event.as_str() {
        "published" | "handed_over" | "drained" | "settings_applied" | "change_applied"
        | "secret_recovered" => Style::Good,
        "rolled_back" | "activation_failed" | "settings_invalid" | "settings_refused"
        | "settings_restored" | "settings_broken" | "change_failed" | "secret_failed" => Style::Bad,
        "bake_ended" if swung_back() => Style::Bad,
        "secret_told" if failed() => Style::Bad,
        "warned" | "bake_began" | "draining" | "drain_abandoned" | "change_held"
        | "selection_changed" | "decided" => Style::Attention,
        _ => Style::Plain,
    }
}

/// What is said first and without its name.
fn leading(field: &str, event: &EventDoc) -> Option<String> {
    let text = |name: &str| event.fields.get(name).and_then(Value::as_str);
    match field {
        // One half of it is said with the other.
        "from" => match (text("from"), text("to")) {
            (Some(from), Some(to)) => Some(format!("{from} -> {to}")),
            (Some(from), None) => Some(format!("{from} -> (nobody selected)")),
            (None, Some(to)) => Some(to.to_owned()),
            (None, None) => None,
        },
        "to" => None,
        _ => text(field).map(str::to_owned),
    }
}

/// What was decided, and why, in words.
fn decided(event: &EventDoc) -> Option<&str> {
    event.fields.get("decision")?.get("text")?.as_str()
}

/// `oneiric.toml:3 run.grace`, of the first fault in settings.
fn place(event: &EventDoc) -> Option<String> {
    let file = event.fields.get("file")?.as_str()?;
    let line = event.fields.get("line").and_then(Value::as_u64);
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let key = event.fields.get("key").and_then(Value::as_str);
    let key = key.map(|key| format!(" {key}")).unwrap_or_default();
    Some(format!("{file}{line}{key}"))
}

/// One of the other fields; nothing of an empty list, which says nothing.
fn said(name: &str, value: &Value) -> Option<String> {
    Some(match (name, value) {
        ("failure", Value::Object(failure)) => {
            let part = |name: &str| failure.get(name).and_then(Value::as_str).unwrap_or("-");
            let (stage, message) = (part("stage"), part("message"));
            format!("{stage}: {message} ({})", part("code"))
        }
        ("bake", Value::Object(_)) => {
            let bake: Bake = serde_json::from_value(value.clone()).ok()?;
            words::baked(&bake, bake.since_unix_ms)
        }
        (_, Value::Array(items)) if items.is_empty() => return None,
        ("work", Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(work).collect();
            format!("work={}", items.join(","))
        }
        (name, Value::Array(items)) if items.iter().all(Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("{name}={}", items.join(","))
        }
        ("note" | "reason" | "message", Value::String(text)) => format!("{name}={text:?}"),
        (name, Value::String(text)) => format!("{name}={text}"),
        (name, value) => format!("{name}={value}"),
    })
}

/// `get(uid:7, 31 s)`: a call that is waited for, by whom, since when.
fn work(item: &Value) -> String {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let age = item.get("for_ms").and_then(Value::as_u64).unwrap_or(0);
    let who = text("who").map(|who| format!("{who}, "));
    let (operation, who) = (text("operation").unwrap_or("-"), who.unwrap_or_default());
    format!("{operation}({who}{})", Millis(age))
}

/// Appends text of others, on the same line.
fn push(line: &mut String, text: &str) {
    // Writing into a String cannot fail.
    let _infallible = write!(line, " {}", harmless(text).replace('\n', " "));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(event: &str, slot: Option<&str>, fields: Value) -> String {
        let mut document = fields;
        document["schema"] = "oneiric.event/1".into();
        document["id"] = "a-1".into();
        document["event"] = event.into();
        document["at_unix_ms"] = 3_723_000.into();
        document["slot"] = slot.into();
        line(
            &serde_json::from_value(document).unwrap(),
            Paint::new(false),
        )
    }

    #[test]
    fn each_event_reads_as_what_happened() {
        let cache = Some("adapter/cache");
        for (event, slot, fields, expected) in [
            (
                "published",
                cache,
                json!({"from": "first", "to": "second", "instance": 7}),
                "adapter/cache published first -> second instance=7",
            ),
            (
                "settings_applied",
                None,
                json!({"who": "uid:7", "keys": 1, "slots": ["adapter/cache", "task/mail"]}),
                "- settings_applied keys=1 slots=adapter/cache,task/mail who=uid:7",
            ),
            (
                "settings_applied",
                None,
                json!({"who": "file", "keys": 2, "slots": []}),
                "- settings_applied keys=2 who=file",
            ),
            (
                "settings_invalid",
                None,
                json!({"who": "file", "code": "a.b", "file": "oneiric.toml", "line": 3,
                       "key": "run.grace", "problem": "a.c", "faults": 2}),
                "- settings_invalid oneiric.toml:3 run.grace code=a.b faults=2 problem=a.c who=file",
            ),
            (
                "selection_changed",
                cache,
                json!({"revision": 2, "from": "file", "who": "uid:7", "reason": "a try"}),
                "adapter/cache selection_changed file -> (nobody selected) reason=\"a try\" revision=2 who=uid:7",
            ),
            (
                "secret_failed",
                None,
                json!({"secret": "secret://file/a", "code": "a.b", "stale": true}),
                "- secret_failed secret://file/a code=a.b stale=true",
            ),
            (
                "change_held",
                cache,
                json!({"action": "swap", "why": ["selection"], "activity": "paused"}),
                "adapter/cache change_held action=swap activity=paused why=selection",
            ),
            (
                "drain_abandoned",
                cache,
                json!({"provider": "file", "instance": 3, "in_flight": 3, "oldest_lease_ms": 31_000,
                       "work": [{"operation": "get", "who": "uid:7", "for_ms": 31_000},
                                {"operation": "put", "for_ms": 30_000}], "unknown": 1}),
                "adapter/cache drain_abandoned file in_flight=3 instance=3 oldest_lease_ms=31000 unknown=1 work=get(uid:7, 31 s),put(30 s)",
            ),
            (
                "decided",
                cache,
                json!({"decision": {"kind": "fail_over", "from": "redis", "to": "memory",
                       "text": "serving memory: redis failed 3 probes at 10:02:11, next in rank"}}),
                "adapter/cache decided serving memory: redis failed 3 probes at 10:02:11, next in rank",
            ),
            (
                "of_a_later_version",
                cache,
                json!({"provider": "x", "some": {"thing": 1}}),
                "adapter/cache of_a_later_version x some={\"thing\":1}",
            ),
        ] {
            assert_eq!(
                shown(event, slot, fields),
                format!("01:02:03Z {expected}\n")
            );
        }
    }

    #[test]
    fn an_event_is_one_line_and_no_terminal_obeys_it() {
        let fields = json!({
            "active": "first", "provider": "sec\u{1b}[2Jond", "note": "a\nb\u{9b}1m",
            "failure": {"stage": "probe", "code": "lifecycle.probe_failed", "message": "no\n\u{1b}[2Jdisk"},
            "slots": ["a\u{7}"], "ev\u{1b}il": {"\u{1b}": "\u{1b}"},
        });
        let line = shown("rolled\u{1b}_back", Some("adapter/cache"), fields);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        let bare = |letter: char| letter.is_control() && letter != '\n';
        assert!(!line.contains(bare), "{line:?}");
        assert!(line.contains("probe: no "), "{line:?}");
    }

    #[test]
    fn what_was_missed_is_a_line() {
        assert!(missed_line(Some(3), Paint::new(false)).contains("3 events"));
    }
}
