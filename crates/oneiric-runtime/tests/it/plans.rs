//! Plans: what they say, what carrying them out leaves behind, and taking it back (docs/spec/change-sets.md).

use oneiric_core::{Coded, Slot};
use oneiric_runtime::{
    ClientError, Runtime,
    api::{
        ApplyDoc, ApplyRequestDoc, Became, ChangeDoc, ChangePlanDoc, PlanRequestDoc, PlannedAction,
        SwapRequestDoc, UndoDoc, UndoRequestDoc,
    },
};
use serde_json::json;

use crate::support::{Scene, Stage, build, slot, soon};

/// Slots `adapter/a` to `adapter/c`, each with `one`, which ranks best, `two`, and `sick`, whose probe fails. `b` of
/// `two` needs `c`.
fn cast() -> String {
    let mut text = String::new();
    for key in ["a", "b", "c"] {
        for (provider, priority) in [("one", 9), ("two", 5), ("sick", 1)] {
            let requires = match (key, provider) {
                ("b", "two") => "requires = [\"adapter/c\"]\n",
                _ => "",
            };
            text.push_str(&format!(
                "[[candidates]]\nslot = \"adapter/{key}\"\nprovider = \"{provider}\"\n\
                 factory = \"oneiric.test:actor\"\npriority = {priority}\n{requires}\n"
            ));
            let probe = if provider == "sick" { "critical" } else { "" };
            text.push_str(&format!(
                "[providers.\"adapter/{key}\".{provider}]\nname = \"{key} {provider}\"\nprobe = \"{probe}\"\n\n"
            ));
        }
    }
    text
}

fn changes(changes: &[(&str, &str)]) -> PlanRequestDoc {
    let change = |(key, provider): &(&str, &str)| ChangeDoc {
        slot: slot(&format!("adapter/{key}")),
        provider: (!provider.is_empty()).then(|| provider.parse().unwrap()),
    };
    PlanRequestDoc {
        changes: changes.iter().map(change).collect(),
        undo: None,
    }
}

fn plan(runtime: &Runtime, wanted: &[(&str, &str)]) -> ChangePlanDoc {
    runtime.plan(&changes(wanted)).unwrap()
}

fn refusal(runtime: &Runtime, wanted: &[(&str, &str)]) -> &'static str {
    runtime.plan(&changes(wanted)).unwrap_err().code()
}

async fn apply(scene: &Scene, plan: ChangePlanDoc) -> ApplyDoc {
    let request = ApplyRequestDoc { plan, reason: None };
    soon(scene.client().await.apply(&request))
        .await
        .unwrap()
        .doc
}

async fn undo(scene: &Scene, to: Option<u64>) -> Result<ApplyDoc, ClientError> {
    let request = UndoRequestDoc {
        to,
        ..UndoRequestDoc::default()
    };
    let reply = soon(scene.client().await.undo(&request)).await;
    reply.map(|reply| reply.doc)
}

/// Who serves each slot, and who is selected for it.
fn state(runtime: &Runtime) -> String {
    let snapshot = runtime.registry().snapshot();
    let one = |key: &str| {
        let of: Slot = slot(&format!("adapter/{key}"));
        let serving = runtime.lifecycle().serving(&of).unwrap();
        let selected = snapshot.selection(&of).map(|one| one.provider.to_string());
        format!(
            "{key} {} {}",
            serving.provider(),
            selected.unwrap_or_default()
        )
    };
    ["a", "b", "c"]
        .map(one)
        .map(|text| text.trim_end().to_owned())
        .join(", ")
}

#[tokio::test]
async fn a_slot_of_a_plan_that_is_swung_back_takes_its_selection_back_alone() {
    let bakes = "[slots.\"adapter/*\"]\nbake_ms = 3600000\n";
    let scene = Scene::start(&format!("{}{bakes}", cast())).await;
    let planned = plan(&scene.runtime, &[("a", "two"), ("c", "two")]);
    assert_eq!(apply(&scene, planned).await.revision, Some(1));
    assert_eq!(state(&scene.runtime), "a two two, b one, c two two");
    let baking = scene.runtime.lifecycle().baking(&slot("adapter/a"));
    let baking = baking.unwrap();
    baking.swing_back("as told");
    soon(baking.ended()).await;
    assert_eq!(state(&scene.runtime), "a one, b one, c two two");
    let history = scene.runtime.revisions();
    let lines: Vec<_> = history
        .iter()
        .map(|line| (line.revision, line.slot.as_str(), line.became))
        .collect();
    let expected = [
        (1, "adapter/a", Some(Became::Undone)),
        (1, "adapter/c", Some(Became::InForce)),
        (2, "adapter/a", Some(Became::InForce)),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_plan_says_what_is_done_and_does_nothing() {
    let scene = Scene::start(&cast()).await;
    let wanted = [("c", "two"), ("b", "two"), ("a", "one")];
    let planned = plan(&scene.runtime, &wanted);
    let actions: Vec<_> = planned.slots.iter().map(|one| one.action).collect();
    let expected = [
        PlannedAction::Select,
        PlannedAction::Swap,
        PlannedAction::Swap,
    ];
    assert_eq!(
        (actions, planned.base, planned.changes),
        (expected.into(), 0, true)
    );
    let b = &planned.slots[1];
    assert_eq!(b.build.as_deref(), Some("oneiric.test:actor"));
    assert_eq!(b.retire.as_ref().unwrap().as_str(), "one");
    assert_eq!(b.if_it_dies.next.as_ref().unwrap().as_str(), "one");
    assert!(!b.if_it_dies.takes_over, "{:?}", b.if_it_dies);
    assert!(b.text.contains("two"), "{}", b.text);
    let steps: Vec<_> = planned
        .steps
        .iter()
        .map(|step| (step.step.as_str(), step.slots.len()))
        .collect();
    assert_eq!(
        steps,
        [("build", 2), ("record", 3), ("publish", 2), ("retire", 2)]
    );
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    assert_eq!(scene.runtime.revisions(), []);

    let nothing = plan(&scene.runtime, &[("a", "")]);
    assert!(!nothing.changes);
    assert_eq!(nothing.slots[0].action, PlannedAction::Nothing);
    let runtime = &scene.runtime;
    assert_eq!(refusal(runtime, &[]), "runtime.request_invalid");
    assert_eq!(
        refusal(runtime, &[("a", "one"), ("a", "two")]),
        "runtime.request_invalid"
    );
    assert_eq!(
        refusal(runtime, &[("a", "nobody")]),
        "runtime.provider_unknown"
    );
    assert_eq!(refusal(runtime, &[("x", "one")]), "core.no_candidate");
    let both = PlanRequestDoc {
        undo: Some(UndoDoc::default()),
        ..changes(&[("a", "one")])
    };
    assert_eq!(
        runtime.plan(&both).unwrap_err().code(),
        "runtime.request_invalid"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_carried_out_is_one_revision_and_says_who_is_affected_then() {
    let scene = Scene::start(&cast()).await;
    let planned = plan(&scene.runtime, &[("a", "two"), ("b", "two"), ("c", "one")]);
    let request = ApplyRequestDoc {
        plan: planned,
        reason: Some("a try".to_owned()),
    };
    let reply = soon(scene.client().await.apply(&request)).await.unwrap();
    let done = reply.doc;
    assert_eq!((done.outcome.as_str(), done.revision), ("applied", Some(1)));
    let outcomes: Vec<_> = done.slots.iter().map(|one| one.outcome.as_str()).collect();
    assert_eq!(outcomes, ["swapped", "swapped", "unchanged"]);
    assert_eq!(state(&scene.runtime), "a two two, b two two, c one one");
    let lines = scene.runtime.revisions();
    assert_eq!(lines.len(), 3);
    assert!(
        lines
            .iter()
            .all(|line| line.revision == 1 && line.reason.as_deref() == Some("a try"))
    );
    assert!(lines[0].who.starts_with("uid:"), "{}", lines[0].who);
    assert_eq!(lines[0].became, Some(Became::InForce));

    let affected = &plan(&scene.runtime, &[("c", "two")]).slots[0].affected;
    assert_eq!(*affected, [vec![slot("adapter/b")]]);
    // Selections alone are a change too; and taking all back is one.
    let cleared = plan(&scene.runtime, &[("a", ""), ("b", ""), ("c", "")]);
    let actions: Vec<_> = cleared.slots.iter().map(|one| one.action).collect();
    assert_eq!(
        actions,
        [
            PlannedAction::Swap,
            PlannedAction::Swap,
            PlannedAction::Select
        ]
    );
    assert_eq!(apply(&scene, cleared).await.revision, Some(2));
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    let nothing = plan(&scene.runtime, &[("a", "")]);
    let done = apply(&scene, nothing).await;
    assert_eq!((done.outcome.as_str(), done.revision), ("unchanged", None));
    scene.stop().await;
}

#[tokio::test]
async fn a_plan_that_fails_leaves_neither_instances_nor_a_revision() {
    let scene = Scene::start(&cast()).await;
    let planned = plan(&scene.runtime, &[("a", "two"), ("b", "sick"), ("c", "two")]);
    let answer = apply(&scene, planned).await;
    assert_eq!(answer.outcome, "rolled_back");
    let error = answer.error.unwrap();
    assert_eq!(
        (&*error.code, &*error.kind),
        ("lifecycle.probe_failed", "rolled_back")
    );
    assert!(
        error.message.contains("adapter/b failed at probe"),
        "{}",
        error.message
    );
    let outcomes: Vec<_> = answer
        .slots
        .iter()
        .map(|one| one.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["taken_back", "failed", "taken_back"]);
    assert_eq!(answer.slots[0].reached.as_deref(), Some("before_swap"));
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    assert_eq!(scene.runtime.revisions(), []);
    let retired = scene.stage.events();
    for instance in ["a two", "b sick", "c two"] {
        let times = |what: &str| {
            let event = format!("{what} {instance}");
            retired.iter().filter(|one| **one == event).count()
        };
        assert_eq!((times("built"), times("retired")), (1, 1), "{retired:?}");
    }
    scene.stop().await;
}

#[tokio::test]
async fn of_two_plans_made_on_one_revision_the_second_is_refused_with_what_changed() {
    let scene = Scene::start(&cast()).await;
    let first = plan(&scene.runtime, &[("a", "two"), ("b", "two")]);
    let second = plan(&scene.runtime, &[("c", "two")]);
    assert_eq!(apply(&scene, first).await.outcome, "applied");
    let answer = apply(&scene, second).await;
    assert_eq!(answer.outcome, "outdated");
    let error = answer.error.unwrap();
    assert_eq!(
        (&*error.code, &*error.kind),
        ("runtime.plan_outdated", "rolled_back")
    );
    for part in [
        "made on revision 0",
        "1 adapter/a nobody -> two by uid:",
        "1 adapter/b nobody",
    ] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    let since: Vec<_> = answer.since.iter().map(|line| line.slot.as_str()).collect();
    assert_eq!(since, ["adapter/a", "adapter/b"]);
    assert_eq!(state(&scene.runtime), "a two two, b two two, c one");
    scene.stop().await;
}

/// What was planned on is what it is recorded on: also if something is selected while the new instances are built.
#[tokio::test]
async fn a_plan_is_refused_if_another_slot_is_selected_while_it_is_carried_out() {
    let slow = cast().replace("name = \"a two\"\n", "name = \"a two\"\nbuild = \"wait\"\n");
    let scene = Scene::start(&slow).await;
    let planned = plan(&scene.runtime, &[("a", "two"), ("b", "two")]);
    let request = ApplyRequestDoc {
        plan: planned.clone(),
        reason: None,
    };
    let runtime = scene.runtime.clone();
    let applied = tokio::spawn(async move { runtime.apply(request, "test").await.map(drop) });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    // Of another slot: it is not held up.
    let other = plan(&scene.runtime, &[("c", "two")]).slots[0].slot.clone();
    let swap = SwapRequestDoc::to_provider(other, "two".parse().unwrap());
    soon(scene.runtime.swap(swap, "somebody")).await.unwrap();
    scene.stage.gate.add_permits(1);
    let refused = soon(applied).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "runtime.plan_outdated");
    let said = refused.to_string();
    assert!(
        said.contains("1 adapter/c nobody -> two by somebody"),
        "{said}"
    );
    assert_eq!(state(&scene.runtime), "a one, b one, c two two");
    assert_eq!(scene.runtime.revisions().len(), 1);
    let events = scene.stage.events();
    for instance in ["a two", "b two"] {
        let times = |what: &str| {
            let event = format!("{what} {instance}");
            events.iter().filter(|one| **one == event).count()
        };
        assert_eq!((times("built"), times("retired")), (1, 1), "{events:?}");
    }
    // Nor is it kept from being made anew.
    scene.stage.gate.add_permits(1);
    let again = plan(&scene.runtime, &[("a", "two"), ("b", "two")]);
    assert_eq!(apply(&scene, again).await.outcome, "applied");
    scene.stop().await;
}

/// Whoever wrote it: what `plan` would not make is not carried out.
#[tokio::test]
async fn a_forged_plan_has_no_more_slots_than_any_other_and_a_base_if_it_has_none() {
    let scene = Scene::start(&cast()).await;
    let carry_out = async |plan: ChangePlanDoc| {
        let request = ApplyRequestDoc { plan, reason: None };
        scene.runtime.apply(request, "test").await
    };
    let planned = plan(&scene.runtime, &[("a", "two")]);
    let mut many = planned.clone();
    many.slots = (0..101)
        .map(|number| {
            let mut one = planned.slots[0].clone();
            one.slot = slot(&format!("adapter/a{number:03}"));
            one
        })
        .collect();
    let refused = carry_out(many).await.unwrap_err();
    assert_eq!(refused.code(), "runtime.request_invalid");
    assert!(refused.to_string().contains("at most 100"), "{refused}");
    let mut empty = planned.clone();
    empty.slots.clear();
    let done = carry_out(empty.clone()).await.unwrap();
    assert_eq!(done.outcome, "unchanged");
    apply(&scene, planned).await;
    let refused = carry_out(empty).await.unwrap_err();
    assert_eq!(refused.code(), "runtime.plan_outdated");
    scene.stop().await;
}

/// However they come, one of them is carried out.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn of_plans_that_are_carried_out_at_one_time_all_but_one_are_refused() {
    let scene = Scene::start(&cast()).await;
    let keys = ["a", "b", "c", "a", "b", "c"];
    let plans = keys.map(|key| plan(&scene.runtime, &[(key, "two")]));
    let applied = plans.map(|plan| {
        let runtime = scene.runtime.clone();
        tokio::spawn(async move {
            let request = ApplyRequestDoc { plan, reason: None };
            runtime.apply(request, "test").await.map(drop)
        })
    });
    let mut outcomes = Vec::new();
    for one in applied {
        let outcome = soon(one).await.unwrap();
        outcomes.push(outcome.map_err(|error| error.code()));
    }
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(done, 1, "{outcomes:?}");
    let refused = outcomes
        .iter()
        .filter(|one| **one == Err("runtime.plan_outdated"));
    assert_eq!((refused.count(), scene.runtime.revisions().len()), (5, 1));
    scene.stop().await;
}

#[tokio::test]
async fn a_plan_that_would_come_to_something_else_by_now_is_refused() {
    let scene = Scene::start(&cast()).await;
    apply(&scene, plan(&scene.runtime, &[("a", "two")])).await;
    let mut planned = plan(&scene.runtime, &[("a", "")]);
    // As if somebody else had ranked best then.
    planned.slots[0].to = "sick".parse().unwrap();
    let answer = apply(&scene, planned.clone()).await;
    let message = answer.error.unwrap().message;
    assert_eq!(answer.outcome, "outdated");
    assert!(
        message.contains("adapter/a would go to one and not to sick"),
        "{message}"
    );

    planned.slots.push(planned.slots[0].clone());
    let request = ApplyRequestDoc {
        plan: planned.clone(),
        reason: None,
    };
    let refused = scene.runtime.apply(request, "test").await.unwrap_err();
    assert_eq!(refused.code(), "runtime.request_invalid");
    planned.schema = "oneiric.swap/1".to_owned();
    let request = ApplyRequestDoc {
        plan: planned,
        reason: None,
    };
    let refused = scene.runtime.apply(request, "test").await.unwrap_err();
    assert_eq!(refused.code(), "runtime.request_invalid");
    scene.stop().await;
}

#[tokio::test]
async fn undo_takes_back_the_last_revision_and_an_undo_and_all_after_one() {
    let scene = Scene::start(&cast()).await;
    apply(&scene, plan(&scene.runtime, &[("a", "two"), ("b", "two")])).await;
    apply(&scene, plan(&scene.runtime, &[("b", "one"), ("c", "two")])).await;
    assert_eq!(state(&scene.runtime), "a two two, b one one, c two two");
    let done = undo(&scene, None).await.unwrap();
    assert_eq!(done.revision, Some(3));
    assert_eq!(state(&scene.runtime), "a two two, b two two, c one");
    undo(&scene, None).await.unwrap();
    assert_eq!(state(&scene.runtime), "a two two, b one one, c two two");
    let done = undo(&scene, Some(0)).await.unwrap();
    assert_eq!(done.revision, Some(5));
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    undo(&scene, Some(1)).await.unwrap();
    assert_eq!(state(&scene.runtime), "a two two, b two two, c one");
    let undoes: Vec<_> = scene
        .runtime
        .revisions()
        .iter()
        .map(|line| {
            (
                line.revision,
                line.undoes.map(|undone| (undone.first, undone.last)),
            )
        })
        .collect();
    let mut undoes = undoes;
    undoes.dedup();
    let expected = [
        (1, None),
        (2, None),
        (3, Some((2, 2))),
        (4, Some((3, 3))),
        (5, Some((1, 4))),
        (6, Some((2, 5))),
    ];
    assert_eq!(undoes, expected);
    // To where we are there is nothing to do.
    let done = undo(&scene, Some(6)).await.unwrap();
    assert_eq!((done.outcome.as_str(), done.revision), ("unchanged", None));
    let refused = undo(&scene, Some(7)).await.unwrap_err();
    assert_eq!(refused.code(), "runtime.revision_unknown");
    let request = UndoRequestDoc {
        base: Some(5),
        ..UndoRequestDoc::default()
    };
    let answer = soon(scene.client().await.undo(&request)).await.unwrap().doc;
    assert_eq!(answer.outcome, "outdated");
    scene.stop().await;
}

#[tokio::test]
async fn undo_is_refused_where_nobody_is_left_to_go_back_to() {
    let scene = Scene::start(&cast()).await;
    apply(&scene, plan(&scene.runtime, &[("a", "two")])).await;
    apply(&scene, plan(&scene.runtime, &[("a", "one")])).await;
    let two = scene.runtime.registry().snapshot();
    let two = two.resolve_all(&oneiric_core::Query::new(slot("adapter/a")));
    let two = two
        .iter()
        .find(|one| one.provider().as_str() == "two")
        .unwrap()
        .id();
    drop(scene.runtime.registry().unregister(two));
    let refused = undo(&scene, None).await.unwrap_err();
    assert_eq!(refused.code(), "runtime.provider_unknown");
    assert!(
        refused
            .to_string()
            .contains("adapter/a has no candidate of 'two'"),
        "{refused}"
    );
    assert_eq!(scene.runtime.revisions().len(), 2);
    scene.stop().await;
}

#[tokio::test]
async fn a_saved_plan_to_undo_must_be_what_taking_back_comes_to() {
    let scene = Scene::start(&cast()).await;
    apply(&scene, plan(&scene.runtime, &[("a", "two"), ("b", "two")])).await;
    let request = PlanRequestDoc {
        undo: Some(UndoDoc::default()),
        ..PlanRequestDoc::default()
    };
    let planned = scene.runtime.plan(&request).unwrap();
    let mut forged = planned.clone();
    forged.slots.pop();
    let request = ApplyRequestDoc {
        plan: forged,
        reason: None,
    };
    let refused = scene.runtime.apply(request, "test").await.unwrap_err();
    assert_eq!(refused.code(), "runtime.request_invalid");
    // As it came from a file.
    let text = serde_json::to_string(&planned).unwrap();
    let saved: ChangePlanDoc = serde_json::from_str(&text).unwrap();
    assert_eq!(apply(&scene, saved).await.revision, Some(2));
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    scene.stop().await;
}

#[tokio::test]
async fn under_one_key_a_plan_is_carried_out_once() {
    let scene = Scene::start(&cast()).await;
    let planned = plan(&scene.runtime, &[("a", "two"), ("b", "two")]);
    let body = json!({"plan": planned}).to_string();
    let request = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: k\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let first = scene.raw(request.as_bytes()).await;
    let second = scene.raw(request.as_bytes()).await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(second.contains("idempotency-replayed: true"), "{second}");
    let built = scene.stage.events();
    let built = built.iter().filter(|event| *event == "built a two").count();
    assert_eq!((built, scene.runtime.revisions().len()), (1, 2));
    scene.stop().await;
}

#[tokio::test]
async fn a_revision_of_several_slots_is_there_after_a_restart_and_can_be_undone() {
    let scene = Scene::start(&cast()).await;
    apply(&scene, plan(&scene.runtime, &[("a", "two"), ("c", "two")])).await;
    let before = scene.runtime.revisions();
    let dir = scene.stop_in_place().await;
    let stage = Stage::new();
    let runtime = build(&stage, &cast(), dir.path());
    let scene = Scene::run(stage, runtime, dir).await;
    assert_eq!(scene.runtime.revisions(), before);
    assert_eq!(state(&scene.runtime), "a two two, b one, c two two");
    undo(&scene, None).await.unwrap();
    assert_eq!(state(&scene.runtime), "a one, b one, c one");
    scene.stop().await;
}
