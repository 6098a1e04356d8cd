//! `reload`: has the running process read its settings again. Settings that were refused or undone are an error with an
//! exit code of its own, because a script that goes on as if they held would be wrong.

use oneiric_runtime::Reply;
use oneiric_runtime::api::{
    ReloadDoc, ReloadFailure, ReloadOutcome, ReloadRequest, SlotAction, SlotChange, kind,
};

use crate::args::Reload;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words::Micros;

/// The code of a settings file that is not there.
const GONE: &str = "runtime.settings_not_found";

pub(super) async fn run(args: &Reload, session: &mut Session) -> Result<Output, Failure> {
    let request = ReloadRequest {
        dry_run: args.dry_run,
    };
    let mut client = session.client().await?;
    let reply = client.reload(&request).await.map_err(|error| {
        let failure = session::failure(error);
        match failure.code.as_str() {
            GONE => failure
                .hint("put the file back; the settings in force stay until it is there again"),
            _ => failure,
        }
    })?;
    answer(reply, args.dry_run, session.paint)
}

fn answer(reply: Reply<ReloadDoc>, dry_run: bool, paint: Paint) -> Result<Output, Failure> {
    let Reply { doc, json } = reply;
    // What a dry run finds out is what was asked for.
    if let Some(error) = doc.error.as_ref().filter(|_| !dry_run) {
        let mut failure = Failure::new(&error.code, kind::parse(&error.kind), &error.message);
        failure.request_id = Some(error.request_id.as_str().into());
        failure.hint.clone_from(&error.hint);
        failure.details = Some(Box::new(json));
        return Err(failure);
    }
    let mut text = match &doc.outcome {
        ReloadOutcome::Unchanged => "the settings say what they said before\n".to_owned(),
        ReloadOutcome::Planned => paint.text(Style::Heading, "would reload").to_string() + "\n",
        ReloadOutcome::Refused => {
            paint.text(Style::Attention, "would be refused").to_string() + "\n"
        }
        ReloadOutcome::Applied => format!("settings reloaded ({})\n", Micros(doc.took_us)),
        ReloadOutcome::Restored { failed } if dry_run => {
            let undone = paint.text(Style::Attention, "would fail and be undone:");
            format!("{undone} {}", said(failed))
        }
        // These carry an error.
        ReloadOutcome::Restored { failed } | ReloadOutcome::Broken { failed, .. } => said(failed),
    };
    for key in &doc.keys {
        let note = if key.reloadable {
            ""
        } else {
            ": only a new process can take it"
        };
        text.push_str(&format!("  {}{note}\n", harmless(&key.to_string())));
    }
    for step in &doc.slots {
        text.push_str(&format!("  {}\n", harmless(&line(step))));
    }
    if dry_run {
        text.push_str("nothing was changed\n");
    }
    Ok(Output::new(text, json))
}

fn said(failed: &ReloadFailure) -> String {
    format!("{}\n", harmless(&failed.message))
}

fn line(step: &SlotChange) -> String {
    let SlotChange { slot, .. } = step;
    let name = |provider: &Option<_>| {
        provider
            .as_ref()
            .map_or_else(|| "nobody".to_owned(), ToString::to_string)
    };
    let what = match step.action {
        SlotAction::Swap => format!("{slot}: {} -> {}", name(&step.from), name(&step.to)),
        SlotAction::Reconfigure => format!("{slot}: {} gets new settings", name(&step.to)),
        SlotAction::Activate => format!("{slot}: {} is activated", name(&step.to)),
        SlotAction::Retire => format!("{slot}: {} is retired", name(&step.from)),
    };
    let why = step.why.join(", ");
    match &step.held {
        None => format!("{what} ({why})"),
        Some(word) if word == "baking" => {
            format!("{what} ({why}), when the trial of what needs it is over")
        }
        Some(activity) => format!("{what} ({why}), when it is resumed: it is {activity}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(fields: Value, dry_run: bool) -> Result<String, Failure> {
        let mut json = json!({
            "schema": "oneiric.reload/1", "keys": [], "slots": [], "took_us": 12_345,
        });
        for (name, value) in fields.as_object().unwrap() {
            json[name] = value.clone();
        }
        let doc = serde_json::from_value(json.clone()).unwrap();
        let output = answer(Reply { doc, json }, dry_run, Paint::new(false))?;
        Ok(output.shown(false))
    }

    fn step(action: &str, held: Option<&str>) -> Value {
        json!({
            "slot": "adapter/cache", "action": action, "why": ["settings"], "from": "memory",
            "to": "file", "held": held,
        })
    }

    #[test]
    fn what_was_done_is_a_line_each() {
        let keys = json!([{
            "key": "run.grace_ms", "reloadable": true, "before": "1", "before_at": "o.toml:2:1",
            "after": "2", "after_at": "o.toml:2:1",
        }]);
        let steps = ["swap", "reconfigure", "activate", "retire"].map(|action| step(action, None));
        let text = answered(
            json!({"outcome": "applied", "keys": keys, "slots": steps}),
            false,
        );
        assert_eq!(
            text.unwrap(),
            "settings reloaded (12 ms)\n  run.grace_ms: 1 (o.toml:2:1) -> 2 (o.toml:2:1)\n  \
             adapter/cache: memory -> file (settings)\n  \
             adapter/cache: file gets new settings (settings)\n  \
             adapter/cache: file is activated (settings)\n  \
             adapter/cache: memory is retired (settings)\n"
        );
        assert_eq!(
            answered(json!({"outcome": "unchanged"}), false).unwrap(),
            "the settings say what they said before\n"
        );
    }

    #[test]
    fn what_waits_says_for_what() {
        let text = answered(
            json!({"outcome": "planned", "slots": [step("swap", Some("paused"))]}),
            true,
        );
        assert_eq!(
            text.unwrap(),
            "would reload\n  adapter/cache: memory -> file (settings), when it is resumed: it is \
             paused\nnothing was changed\n"
        );
    }

    #[test]
    fn settings_that_were_undone_are_an_error_and_a_dry_run_only_says_so() {
        let error = json!({
            "outcome": "restored", "failed": {"code": "a.b", "message": "no"},
            "code": "runtime.reload_restored", "kind": "rolled_back", "message": "no",
            "request_id": "r1", "hint": "correct it",
        });
        assert_eq!(
            answered(error.clone(), true).unwrap(),
            "would fail and be undone: no\nnothing was changed\n"
        );
        let failure = answered(error, false).unwrap_err();
        assert_eq!(
            (failure.exit().number(), failure.hint.as_deref()),
            (7, Some("correct it"))
        );
        let refused = json!({
            "outcome": "refused", "code": "runtime.reload_refused", "kind": "config",
            "message": "no", "request_id": "r1",
            "keys": [{"key": "state_dir", "reloadable": false, "before": "a", "after": "b"}],
        });
        assert_eq!(
            answered(refused.clone(), false)
                .unwrap_err()
                .exit()
                .number(),
            3
        );
        assert_eq!(
            answered(refused, true).unwrap(),
            "would be refused\n  state_dir: a -> b: only a new process can take it\n\
             nothing was changed\n"
        );
    }
}
