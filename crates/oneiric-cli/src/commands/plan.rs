//! `plan`: what changes of several slots would come to, as text that a person can decide on.

mod wanted;

use oneiric_core::Slot;
use oneiric_runtime::Reply;
use oneiric_runtime::api::{ChangePlanDoc, PlanStepDoc, PlannedAction, PlannedDoc};

use crate::args::Plan;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words::Millis;

pub(super) use wanted::{Wanted, wanted};

pub(super) async fn run(args: &Plan, session: &mut Session) -> Result<Output, Failure> {
    let request = match wanted(&args.changes)? {
        Wanted::Changes(request) => request,
        Wanted::Plan(_) => return Err(wanted::usage("that is a plan already; apply it")),
    };
    let mut client = session.client().await?;
    let reply = client.plan(&request).await.map_err(session::failure)?;
    Ok(answer(reply, session.paint))
}

/// The plan, with the exit code that says whether there is anything to do.
pub(super) fn answer(reply: Reply<ChangePlanDoc>, paint: Paint) -> Output {
    let mut text = shown(&reply.doc, paint);
    if reply.doc.changes {
        text.push_str("nothing was changed\n");
    }
    let exit = if reply.doc.changes {
        Exit::CHECK_FAILED
    } else {
        Exit::DONE
    };
    Output::new(text, reply.json).exits(exit)
}

/// Everything about a plan, slot by slot, and what is done in which order.
pub(super) fn shown(plan: &ChangePlanDoc, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(undone) = plan.undoes {
        let which = if undone.first == undone.last {
            format!("revision {}", undone.last)
        } else {
            format!("revisions {} to {}", undone.first, undone.last)
        };
        text.push_str(&format!("takes back {which}\n\n"));
    }
    if plan.slots.is_empty() {
        return "there is nothing to take back\n".to_owned();
    }
    for slot in &plan.slots {
        text.push_str(&of_slot(slot, paint));
    }
    if !plan.changes {
        text.push_str("there is nothing to do\n");
        return text;
    }
    let steps: Vec<String> = plan.steps.iter().map(step).collect();
    text.push_str(&format!("in this order, on revision {}:\n", plan.base));
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", number + 1));
    }
    text
}

fn of_slot(planned: &PlannedDoc, paint: Paint) -> String {
    let PlannedDoc { slot, to, .. } = planned;
    let what = |what| paint.text(Style::Heading, what);
    let head = match (planned.action, &planned.from) {
        (PlannedAction::Nothing, _) => return format!("{slot}: {to} serves already\n\n"),
        (PlannedAction::Select, _) => format!("{slot}: {} {to} serves already", what("select,")),
        (PlannedAction::Activate, _) => format!("{slot}: {} {to}", what("activate")),
        (_, Some(from)) => format!("{slot}: {} {from} -> {to}", what("swap")),
        (_, None) => format!("{slot}: {} {to}", what("swap")),
    };
    let name = |provider: &Option<_>| {
        provider
            .as_ref()
            .map_or("nobody".to_owned(), ToString::to_string)
    };
    let selects = (planned.selection_before != planned.selection_after).then(|| {
        format!(
            "{}, was {}",
            name(&planned.selection_after),
            name(&planned.selection_before)
        )
    });
    let affected: Vec<String> = planned.affected.iter().map(|level| list(level)).collect();
    let mut text = format!("{head}\n");
    for (what, value) in [
        ("why", why(&planned.text)),
        ("builds", planned.build.clone()),
        ("retires", planned.retire.as_ref().map(ToString::to_string)),
        ("selects", selects),
        (
            "affects",
            (!affected.is_empty()).then(|| affected.join("; then ")),
        ),
        ("policy", Some(policy(planned))),
        ("if it dies", Some(planned.if_it_dies.text.clone())),
    ] {
        if let Some(value) = value {
            let value = harmless(&value).replace('\n', " ");
            text.push_str(&format!("  {what:<11} {value}\n"));
        }
    }
    text.push('\n');
    text
}

/// What decided, of all that the explanation says.
fn why(explanation: &str) -> Option<String> {
    let mut head = explanation.lines().take_while(|line| !line.is_empty());
    head.next()?;
    let lines: Vec<&str> = head.map(str::trim).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn policy(planned: &PlannedDoc) -> String {
    let policy = &planned.policy;
    let trial = match policy.bake_ms {
        0 => "no trial".to_owned(),
        ms => format!("on trial for {}", Millis(ms)),
    };
    let handover = match policy.handover.as_str() {
        "off" => "state is not handed over".to_owned(),
        mode => format!("state is handed over ({mode})"),
    };
    format!("{trial}; {handover}; on failure: {}", policy.on_failure)
}

fn step(step: &PlanStepDoc) -> String {
    let slots = list(&step.slots);
    match step.step.as_str() {
        "bring_up" => format!("bring up what others of these need: {slots}"),
        "build" => format!("build and probe: {slots}"),
        "record" => format!("write down as one revision: {slots}"),
        "publish" => format!("put in service, all or none: {slots}"),
        "retire" => format!("retire what served: {slots}"),
        other => format!("{other}: {slots}"),
    }
}

fn list(slots: &[Slot]) -> String {
    let names: Vec<&str> = slots.iter().map(Slot::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slot(slot: &str, action: &str, more: Value) -> Value {
        let mut slot = json!({
            "slot": slot, "action": action, "from": "memory", "to": "file", "affected": [],
            "policy": {"bake_ms": 0, "handover": "off", "on_failure": "report"},
            "if_it_dies": {"next": "memory", "takes_over": false, "text": "that is reported"},
            "text": "adapter/cache -> file\n  won by selection\n\n  # provider\n",
        });
        for (name, value) in more.as_object().unwrap() {
            slot[name] = value.clone();
        }
        slot
    }

    fn answered(json: Value) -> (String, u8) {
        let doc = serde_json::from_value(json.clone()).unwrap();
        let output = answer(Reply { doc, json }, Paint::new(false));
        (output.shown(false), output.exit().number())
    }

    #[test]
    fn a_plan_says_slot_by_slot_what_is_done_and_then_in_which_order() {
        let cache = slot(
            "adapter/cache",
            "swap",
            json!({"build": "a:b", "retire": "memory", "selection_after": "file",
                   "affected": [["service/web"], ["service/api", "service/b"]],
                   "policy": {"bake_ms": 30_000, "handover": "empty", "on_failure": "fail_over"}}),
        );
        let (text, exit) = answered(json!({
            "schema": "oneiric.plan/1", "base": 4, "changes": true,
            "undoes": {"first": 3, "last": 4},
            "slots": [cache, slot("service/clock", "nothing", json!({}))],
            "steps": [{"step": "build", "slots": ["adapter/cache"]},
                      {"step": "retire", "slots": ["adapter/cache"]}],
        }));
        assert_eq!(
            text,
            "takes back revisions 3 to 4\n\n\
             adapter/cache: swap memory -> file\n  \
             why         won by selection\n  \
             builds      a:b\n  \
             retires     memory\n  \
             selects     file, was nobody\n  \
             affects     service/web; then service/api, service/b\n  \
             policy      on trial for 30 s; state is handed over (empty); on failure: fail_over\n  \
             if it dies  that is reported\n\n\
             service/clock: file serves already\n\n\
             in this order, on revision 4:\n  \
             1. build and probe: adapter/cache\n  \
             2. retire what served: adapter/cache\n\
             nothing was changed\n"
        );
        assert_eq!(exit, 1);
    }

    #[test]
    fn where_there_is_nothing_to_do_that_is_said_and_the_exit_code_is_0() {
        let plan = |slots: Vec<Value>| {
            json!({"schema": "oneiric.plan/1", "base": 4, "changes": false, "slots": slots,
                   "steps": []})
        };
        let done = slot("adapter/cache", "nothing", json!({}));
        let expected = "adapter/cache: file serves already\n\nthere is nothing to do\n";
        assert_eq!(answered(plan(vec![done])), (expected.to_owned(), 0));
        let none = "there is nothing to take back\n";
        assert_eq!(answered(plan(Vec::new())), (none.to_owned(), 0));
    }
}
