//! `swap`: exchanges who serves. One that was rolled back is an error with an exit code of its own,
//! because a script that goes on as if it had worked would be wrong.

mod draining;
mod trial;

use oneiric_core::ErrorKind;
use oneiric_runtime::Reply;
use oneiric_runtime::api::slot::{Handover, SwapReport};
use oneiric_runtime::api::{PlanDoc, SwapDoc, SwapRequestDoc, kind};

use crate::args::Swap;
use crate::commands::name;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words::{self, Micros, millis};

pub(super) async fn run(
    args: &Swap,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    if args.force && !args.dry_run {
        let effect = format!(
            "with --force {} gets its new instance even if that says it is not well",
            args.slot
        );
        confirm(&effect, args.assent.yes, io)?;
    }
    let request = SwapRequestDoc {
        slot: name(&args.slot)?,
        provider: args.provider.as_deref().map(name).transpose()?,
        force: args.force,
        bake_ms: args.bake.map(millis),
        dry_run: args.dry_run,
        clear: args.clear,
        reason: args.reason.clone(),
    };
    let mut client = session.client().await?;
    let swap = client.swap(&request);
    let reply = draining::told(&request.slot, swap, io, session).await;
    let reply = reply.map_err(session::failure)?;
    let reply = trial::follow(reply, &mut client, io).await?;
    answer(reply, session.paint)
}

fn answer(reply: Reply<SwapDoc>, paint: Paint) -> Result<Output, Failure> {
    let Reply { doc, json } = reply;
    if let Some(error) = &doc.error {
        let mut failure = Failure::new(&error.code, kind::parse(&error.kind), &error.message);
        failure.request_id = Some(error.request_id.as_str().into());
        failure.hint.clone_from(&error.hint);
        failure.details = Some(Box::new(json));
        return Err(failure);
    }
    let text = match (&doc.report, &doc.plan) {
        (Some(report), _) => done(&doc, report, paint),
        (None, Some(plan)) => planned(&doc, plan, paint),
        (None, None) => {
            let message = "the answer says neither what was done nor what would be";
            return Err(Failure::new(
                "cli.answer_incomplete",
                ErrorKind::Internal,
                message,
            ));
        }
    };
    Ok(Output::new(text, json))
}

fn done(doc: &SwapDoc, report: &SwapReport, paint: Paint) -> String {
    let SwapReport { slot, to, .. } = report;
    let mut text = match (report.outcome.as_str(), &report.from) {
        ("unchanged", _) => format!("{slot}: {to} serves already"),
        (_, Some(from)) => format!("{slot}: {from} -> {to} ({})", Micros(report.took_us)),
        (_, None) => format!("{slot}: {to} activated ({})", Micros(report.took_us)),
    };
    if let Some(revision) = &doc.revision {
        let what = if revision.provider.is_some() {
            "selection"
        } else {
            "selection taken back,"
        };
        text.push_str(&format!(", {what} revision {}", revision.revision));
    }
    text.push('\n');
    if let Some(handover) = &report.handover {
        text.push_str(&state(handover, paint));
    }
    if let Some(bake) = &report.bake {
        let end = bake.ended.as_deref().unwrap_or("goes on");
        text.push_str(&format!("trial {end}: {}\n", words::calls(bake.calls)));
    }
    if let Some(failure) = &report.failure {
        let warning = paint.text(Style::Attention, "forced past:");
        text.push_str(&format!(
            "{warning} {}\n",
            harmless(&words::failed(failure))
        ));
    }
    for failure in &report.warnings {
        let warning = paint.text(Style::Attention, "warning:");
        text.push_str(&format!(
            "{warning} {}\n",
            harmless(&words::failed(failure))
        ));
    }
    text
}

/// What came of handing over state, in a line.
pub(super) fn state(handover: &Handover, paint: Paint) -> String {
    if handover.handed_over {
        let (bytes, waited) = (handover.bytes.unwrap_or(0), Micros(handover.blocked_us));
        return format!("state handed over: {bytes} bytes, calls waited {waited} at most\n");
    }
    let why = handover
        .failure
        .as_ref()
        .map(words::failed)
        .unwrap_or_default();
    let warning = paint.text(Style::Attention, "without its state:");
    format!("{warning} {}\n", harmless(&why))
}

fn planned(doc: &SwapDoc, plan: &PlanDoc, paint: Paint) -> String {
    let heading = paint.text(Style::Heading, "would swap");
    let mut text = match &plan.from {
        Some(from) if *from == plan.to => format!("{}: {from} serves already\n", doc.slot),
        Some(from) => format!("{}: {heading} {from} -> {}\n", doc.slot, plan.to),
        None => format!("{}: would activate {}\n", doc.slot, plan.to),
    };
    let holders: Vec<&str> = plan.holders.iter().map(|slot| slot.as_str()).collect();
    let selection = (plan.selection_before != plan.selection_after).then(|| {
        let name = |provider: &Option<_>| {
            provider
                .as_ref()
                .map_or("nobody".to_owned(), ToString::to_string)
        };
        format!(
            "{}, was {}",
            name(&plan.selection_after),
            name(&plan.selection_before)
        )
    });
    for (what, value) in [
        ("builds", plan.build.clone()),
        ("retires", plan.retire.as_ref().map(ToString::to_string)),
        ("selects", selection),
        (
            "followed by",
            (!holders.is_empty()).then(|| holders.join(", ")),
        ),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("  {what:<11} {value}\n"));
        }
    }
    text.push_str("nothing was changed; it would rank like this:\n\n");
    text.push_str(&format!("{}\n", harmless(plan.text.trim_end())));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(fields: Value) -> Result<Output, Failure> {
        let mut json = json!({"schema": "oneiric.swap/1", "slot": "adapter/cache"});
        for (name, value) in fields.as_object().unwrap() {
            json[name] = value.clone();
        }
        let doc = serde_json::from_value(json.clone()).unwrap();
        answer(Reply { doc, json }, Paint::new(false))
    }

    fn report(outcome: &str) -> Value {
        json!({
            "slot": "adapter/cache", "outcome": outcome, "from": "memory", "to": "file",
            "took_us": 12_345,
        })
    }

    fn revision(provider: Option<&str>) -> Value {
        json!({
            "revision": 3, "slot": "adapter/cache", "provider": provider, "who": "uid:1",
            "at_unix_ms": 1,
        })
    }

    #[test]
    fn a_swap_is_one_line() {
        let text = |fields| answered(fields).unwrap().shown(false);
        assert_eq!(
            text(json!({"report": report("swapped"), "revision": revision(Some("file"))})),
            "adapter/cache: memory -> file (12 ms), selection revision 3\n"
        );
        assert_eq!(
            text(json!({"report": report("swapped"), "revision": revision(None)})),
            "adapter/cache: memory -> file (12 ms), selection taken back, revision 3\n"
        );
        assert_eq!(
            text(json!({"report": report("unchanged")})),
            "adapter/cache: file serves already\n"
        );
    }

    #[test]
    fn what_went_wrong_on_the_way_is_not_hidden() {
        let mut forced = report("forced");
        forced["failure"] =
            json!({"stage": "probe", "code": "lifecycle.probe_failed", "message": "critical: x"});
        forced["warnings"] =
            json!([{"stage": "retire", "code": "lifecycle.timed_out", "message": "late"}]);
        let text = answered(json!({"report": forced})).unwrap().shown(false);
        assert_eq!(
            text,
            "adapter/cache: memory -> file (12 ms)\n\
             forced past: probe: critical: x (lifecycle.probe_failed)\n\
             warning: retire: late (lifecycle.timed_out)\n"
        );
    }

    #[test]
    fn what_became_of_the_state_is_a_line() {
        let told = |handover| {
            let mut report = report("swapped");
            report["handover"] = handover;
            answered(json!({"report": report})).unwrap().shown(false)
        };
        assert_eq!(
            told(
                json!({"handed_over": true, "format": "oneiric.cache/1", "bytes": 2_048, "blocked_us": 3_000})
            ),
            "adapter/cache: memory -> file (12 ms)\n\
             state handed over: 2048 bytes, calls waited 3 ms at most\n"
        );
        let failure =
            json!({"stage": "export", "code": "lifecycle.export_failed", "message": "no"});
        assert_eq!(
            told(json!({"handed_over": false, "blocked_us": 0, "failure": failure})),
            "adapter/cache: memory -> file (12 ms)\n\
             without its state: export: no (lifecycle.export_failed)\n"
        );
    }

    #[test]
    fn a_roll_back_is_an_error_that_says_who_serves() {
        let failure = answered(json!({
            "report": report("rolled_back"), "code": "lifecycle.probe_failed",
            "kind": "rolled_back", "message": "no", "request_id": "r1",
            "hint": "memory still serves adapter/cache",
        }))
        .unwrap_err();
        assert_eq!(failure.exit().number(), 7);
        assert_eq!(
            failure.hint.as_deref(),
            Some("memory still serves adapter/cache")
        );
        assert_eq!(failure.details.unwrap()["schema"], "oneiric.swap/1");
    }

    #[test]
    fn a_dry_run_says_what_would_be_done() {
        let plan = json!({
            "from": "memory", "to": "file", "build": "a:b", "retire": "memory",
            "selection_after": "file", "holders": ["service/x"], "text": "ranking\n",
        });
        let text = answered(json!({"plan": plan})).unwrap().shown(false);
        assert_eq!(
            text,
            "adapter/cache: would swap memory -> file\n  builds      a:b\n  retires     memory\n  \
             selects     file, was nobody\n  followed by service/x\n\
             nothing was changed; it would rank like this:\n\nranking\n"
        );
    }

    #[test]
    fn an_answer_without_content_is_our_defect() {
        let failure = answered(json!({})).unwrap_err();
        assert_eq!(failure.code, "cli.answer_incomplete");
    }
}
