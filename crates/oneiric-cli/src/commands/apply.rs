//! `apply` and `undo`: carry out plans. What is not a plan yet is planned and shown first, and somebody has to agree.

mod follow;

use oneiric_core::ErrorKind;
use oneiric_runtime::api::slot::SlotChange;
use oneiric_runtime::api::{
    ApplyDoc, ApplyRequestDoc, ChangePlanDoc, PlanRequestDoc, UndoDoc, UndoRequestDoc, kind,
};
use oneiric_runtime::{Client, Reply};

use crate::args::{Apply, Undo};
use crate::commands::plan::{self, Wanted};
use crate::commands::swap;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words::{self, Micros};

pub(super) async fn run(
    args: &Apply,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let (plan, client) = match plan::wanted(&args.changes)? {
        Wanted::Plan(plan) => (*plan, session.client().await?),
        Wanted::Changes(request) => {
            let mut client = session.client().await?;
            let reply = client.plan(&request).await.map_err(session::failure)?;
            (reply.doc, client)
        }
    };
    if !plan.slots.is_empty() {
        show(&plan, args.assent.yes, io, session)?;
    }
    let request = ApplyRequestDoc {
        plan,
        reason: args.reason.clone(),
    };
    let reply = follow::progress(&request.plan, client, io, async |client: &mut Client| {
        client.apply(&request).await
    });
    answer(reply.await.map_err(session::failure)?, session.paint)
}

pub(super) async fn undo(
    args: &Undo,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let mut client = session.client().await?;
    let undo = Some(UndoDoc { to: args.to });
    let changes = Vec::new();
    let planned = client.plan(&PlanRequestDoc { changes, undo }).await;
    let planned = planned.map_err(session::failure)?;
    if args.dry_run {
        return Ok(plan::answer(planned, session.paint));
    }
    let plan = planned.doc;
    if !plan.slots.is_empty() {
        show(&plan, args.assent.yes, io, session)?;
    }
    let request = UndoRequestDoc {
        to: args.to,
        base: Some(plan.base),
        reason: args.reason.clone(),
    };
    let reply = follow::progress(&plan, client, io, async |client: &mut Client| {
        client.undo(&request).await
    });
    answer(reply.await.map_err(session::failure)?, session.paint)
}

/// Shows the plan to whoever is asked for consent. Whoever has given it beforehand reads what came of it.
fn show(
    plan: &ChangePlanDoc,
    yes: bool,
    io: &mut Io<'_>,
    session: &Session,
) -> Result<(), Failure> {
    if yes || !plan.changes {
        return Ok(());
    }
    let swaps = plan.slots.iter().filter(|one| one.action.builds()).count();
    let effect = format!(
        "{}this changes {swaps} of {} slots",
        plan::shown(plan, session.paint),
        plan.slots.len()
    );
    confirm(&effect, false, io)
}

fn answer(reply: Reply<ApplyDoc>, paint: Paint) -> Result<Output, Failure> {
    let Reply { doc, json } = reply;
    if let Some(error) = &doc.error {
        let mut message = error.message.clone();
        for change in &doc.slots {
            message.push_str(&format!("\n{}", ended(change)));
        }
        let mut failure = Failure::new(&error.code, kind::parse(&error.kind), message);
        failure.request_id = Some(error.request_id.as_str().into());
        failure.hint.clone_from(&error.hint);
        failure.details = Some(Box::new(json));
        return Err(failure);
    }
    if !["applied", "unchanged"].contains(&doc.outcome.as_str()) {
        let message = "the answer says neither what was done nor why it was not";
        return Err(Failure::new(
            "cli.answer_incomplete",
            ErrorKind::Internal,
            message,
        ));
    }
    Ok(Output::new(done(&doc, paint), json))
}

fn done(doc: &ApplyDoc, paint: Paint) -> String {
    let mut text = String::new();
    for change in &doc.slots {
        text.push_str(&format!("{}\n", ended(change)));
        if let Some(handover) = &change.handover {
            text.push_str(&swap::state(handover, paint));
        }
        for failure in &change.warnings {
            let warning = paint.text(Style::Attention, "warning:");
            let failure = harmless(&words::failed(failure));
            text.push_str(&format!("{warning} {failure}\n"));
        }
    }
    match doc.revision {
        Some(revision) => text.push_str(&format!(
            "selection revision {revision}, in {}\n",
            Micros(doc.took_us)
        )),
        None if doc.outcome == "unchanged" => text.push_str("there was nothing to do\n"),
        None => {}
    }
    text
}

/// What became of one slot, as a line.
fn ended(change: &SlotChange) -> String {
    let SlotChange { slot, to, .. } = change;
    match (change.outcome.as_str(), &change.failure, &change.from) {
        ("unchanged", ..) => format!("{slot}: {to} serves already"),
        ("failed", Some(failure), _) => {
            format!("{slot}: {to} failed at {}", words::failed(failure))
        }
        ("taken_back", ..) if change.reached.as_deref() == Some("publish") => format!(
            "{slot}: {to} served for a while, because another one of the plan needs it, and is retired"
        ),
        ("taken_back", ..) => {
            let reached = change.reached.as_deref().unwrap_or("-");
            format!("{slot}: {to} was ready ({reached}) and is retired")
        }
        ("left_serving", ..) => {
            let holders: Vec<&str> = change.holders.iter().map(|slot| slot.as_str()).collect();
            format!(
                "{slot}: {to} serves on, for {} needs it",
                holders.join(", ")
            )
        }
        ("swapped", _, Some(from)) => {
            format!("{slot}: {from} -> {to} ({})", Micros(change.took_us))
        }
        ("swapped", _, None) => format!("{slot}: {to} activated ({})", Micros(change.took_us)),
        (other, ..) => format!("{slot}: {to} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(fields: Value) -> Result<Output, Failure> {
        let mut json = json!({"schema": "oneiric.apply/1", "took_us": 12_345, "slots": []});
        for (name, value) in fields.as_object().unwrap() {
            json[name] = value.clone();
        }
        let doc = serde_json::from_value(json.clone()).unwrap();
        answer(Reply { doc, json }, Paint::new(false))
    }

    fn change(slot: &str, outcome: &str, more: Value) -> Value {
        let mut change = json!({"slot": slot, "outcome": outcome, "from": "a", "to": "b",
            "took_us": 1_000});
        for (name, value) in more.as_object().unwrap() {
            change[name] = value.clone();
        }
        change
    }

    #[test]
    fn what_was_done_is_a_line_for_each_slot_and_the_revision() {
        let warnings =
            json!([{"stage": "retire", "code": "lifecycle.timed_out", "message": "late"}]);
        let slots = [
            change("a/x", "swapped", json!({"warnings": warnings})),
            change("a/y", "unchanged", json!({})),
            change(
                "a/z",
                "swapped",
                json!({"handover": {"handed_over": true, "bytes": 7, "blocked_us": 3_000}}),
            ),
        ];
        let output = answered(json!({"outcome": "applied", "slots": slots, "revision": 4}));
        assert_eq!(
            output.unwrap().shown(false),
            "a/x: a -> b (1 ms)\nwarning: retire: late (lifecycle.timed_out)\n\
             a/y: b serves already\na/z: a -> b (1 ms)\n\
             state handed over: 7 bytes, calls waited 3 ms at most\nselection revision 4, in 12 ms\n"
        );
        let output = answered(json!({"outcome": "unchanged"})).unwrap();
        assert_eq!(output.shown(false), "there was nothing to do\n");
    }

    #[test]
    fn a_roll_back_is_an_error_that_says_how_far_each_slot_came() {
        let failure = json!({"stage": "probe", "code": "lifecycle.probe_failed", "message": "no"});
        let slots = [
            change("a/x", "taken_back", json!({"reached": "before_swap"})),
            change("a/y", "failed", json!({"failure": failure})),
            change("a/z", "left_serving", json!({"holders": ["b/c"]})),
            change("b/a", "taken_back", json!({"reached": "publish"})),
        ];
        let failure = answered(json!({
            "outcome": "rolled_back", "slots": slots, "code": "lifecycle.probe_failed",
            "kind": "rolled_back", "message": "nothing was changed", "request_id": "r1",
        }))
        .unwrap_err();
        assert_eq!(failure.exit().number(), 7);
        assert_eq!(
            failure.message,
            "nothing was changed\na/x: b was ready (before_swap) and is retired\n\
             a/y: b failed at probe: no (lifecycle.probe_failed)\n\
             a/z: b serves on, for b/c needs it\n\
             b/a: b served for a while, because another one of the plan needs it, and is retired"
        );
        assert_eq!(failure.details.unwrap()["schema"], "oneiric.apply/1");
    }

    #[test]
    fn an_answer_without_content_is_our_defect() {
        let failure = answered(json!({"outcome": "outdated"})).unwrap_err();
        assert_eq!(failure.code, "cli.answer_incomplete");
    }
}
