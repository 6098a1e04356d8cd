//! Reloads: what is put in force, what is refused, and what is undone (docs/spec/reload.md).

use std::time::Duration;

use oneiric_core::{Coded, Provider};
use oneiric_lifecycle::{Activity, ActivityRule, BakeEnd, Difference, SwapRequest};
use oneiric_runtime::{
    ReloadEvent, RuntimeBuilder, Settings, Sources, Watched,
    api::{CallRequest, ReloadDoc, ReloadOutcome, SlotAction, SwapRequestDoc},
};

use crate::support::{CAST, Scene, Stage, slot, soon};

/// The cast, with the state directory of a scene, and something besides.
fn cast(scene: &Scene, changes: &[(&str, &str)], more: &str) -> Settings {
    let mut text = CAST.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let mut settings = Settings::parse(&format!("{text}\n{more}"), "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    settings
}

async fn reload(scene: &Scene, settings: Settings) -> ReloadDoc {
    soon(scene.runtime.reload_to(settings, "test"))
        .await
        .unwrap()
}

async fn who(scene: &Scene, of: &str) -> String {
    let request = CallRequest {
        slot: slot(of),
        operation: "who".into(),
        input: serde_json::Value::Null,
    };
    let answer = soon(scene.runtime.call(request)).await.unwrap();
    answer.output.as_str().unwrap().to_owned()
}

fn pause(scene: &Scene, of: &str, activity: Activity) {
    let rule = ActivityRule::new(slot(of), activity);
    scene.runtime.lifecycle().set_activity(rule).unwrap();
}

#[tokio::test]
async fn what_is_gone_is_gone_from_the_metrics_too() {
    let scene = Scene::start(CAST).await;
    let of_mail = |text: &str| {
        text.lines()
            .filter(|line| line.contains("task/mail"))
            .count()
    };
    let doc = reload(&scene, cast(&scene, &[], TASK)).await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    assert!(of_mail(&scene.runtime.metrics()) > 5);
    let doc = reload(&scene, cast(&scene, &[], "")).await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    let text = scene.runtime.metrics();
    assert_eq!(of_mail(&text), 0, "{text}");
    assert!(text.contains("oneiric_slot_active{slot=\"adapter/cache\"} 1"));
    scene.stop().await;
}

const TASK: &str = "
[[candidates]]
slot = 'task/mail'
provider = 'smtp'
factory = 'oneiric.test:actor'
[providers.'task/mail'.smtp]
name = 'smtp'
";

#[tokio::test]
async fn settings_that_say_the_same_change_nothing() {
    let scene = Scene::start(CAST).await;
    let doc = reload(&scene, cast(&scene, &[], "# a remark")).await;
    assert_eq!(
        (doc.outcome, doc.slots.len()),
        (ReloadOutcome::Unchanged, 0)
    );
    assert_eq!(scene.stage.events(), ["built first"]);
    scene.stop().await;
}

#[tokio::test]
async fn a_selection_swaps_and_a_ranking_does_not() {
    let scene = Scene::start(CAST).await;
    let doc = reload(
        &scene,
        cast(&scene, &[("priority = 5", "priority = 50")], ""),
    )
    .await;
    assert_eq!((doc.outcome, doc.slots.len()), (ReloadOutcome::Applied, 0));
    let status = scene.runtime.status(None).unwrap();
    assert_eq!(status.slots[0].differs, Some(Difference::NotApplied));
    assert_eq!(who(&scene, "adapter/cache").await, "first");

    let doc = reload(
        &scene,
        cast(&scene, &[], "[selections]\n'adapter/cache' = 'second'"),
    )
    .await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    let step = &doc.slots[0];
    assert_eq!(
        (step.action, step.why.as_slice()),
        (SlotAction::Swap, &["selection".to_owned()][..])
    );
    assert_eq!(step.to.as_ref().map(Provider::as_str), Some("second"));
    assert_eq!(who(&scene, "adapter/cache").await, "second");
    scene.stop().await;
}

#[tokio::test]
async fn an_operators_selection_stands_above_the_reloaded_one() {
    let scene = Scene::start(CAST).await;
    let to_first = SwapRequestDoc::to_provider(slot("adapter/cache"), "first".parse().unwrap());
    scene.runtime.swap(to_first, "test").await.unwrap();
    let doc = reload(
        &scene,
        cast(&scene, &[], "[selections]\n'adapter/cache' = 'second'"),
    )
    .await;
    assert_eq!((doc.outcome, doc.slots.len()), (ReloadOutcome::Applied, 0));
    assert_eq!(who(&scene, "adapter/cache").await, "first");
    let clear = SwapRequestDoc {
        clear: true,
        ..SwapRequestDoc::to_winner(slot("adapter/cache"))
    };
    soon(scene.runtime.swap(clear, "test")).await.unwrap();
    assert_eq!(who(&scene, "adapter/cache").await, "second");
    scene.stop().await;
}

#[tokio::test]
async fn changed_candidates_and_settings_get_a_new_instance_and_others_are_left_alone() {
    let scene = Scene::start(&format!("{CAST}{TASK}")).await;
    let renamed = [(
        "first = { name = \"first\" }",
        "first = { name = \"renamed\" }",
    )];
    let doc = reload(&scene, cast(&scene, &renamed, TASK)).await;
    assert_eq!(doc.slots.len(), 1);
    assert_eq!(
        (doc.slots[0].action, doc.slots[0].why.join(" ")),
        (SlotAction::Reconfigure, "settings".into())
    );
    assert_eq!(who(&scene, "adapter/cache").await, "renamed");

    let metadata = TASK.replace(
        "'oneiric.test:actor'",
        "'oneiric.test:actor'\nmetadata = { x = 1 }",
    );
    let doc = reload(&scene, cast(&scene, &renamed, &metadata)).await;
    assert_eq!(doc.slots.len(), 1, "{doc:?}");
    assert_eq!(
        (doc.slots[0].action, doc.slots[0].why.join(" ")),
        (SlotAction::Swap, "candidate".into())
    );
    let events = scene.stage.events();
    assert_eq!(
        events[2..],
        [
            "built renamed",
            "retired first",
            "built smtp",
            "retired smtp"
        ]
    );
    scene.stop().await;
}

#[tokio::test]
async fn new_slots_come_up_and_removed_ones_go_and_what_vanished_is_replaced() {
    let scene = Scene::start(CAST).await;
    let doc = reload(&scene, cast(&scene, &[], TASK)).await;
    assert_eq!(
        (doc.slots[0].action, doc.slots[0].slot.as_str()),
        (SlotAction::Activate, "task/mail")
    );
    assert_eq!(who(&scene, "task/mail").await, "smtp");

    let gone = [
        ("provider = \"first\"", "provider = \"third\""),
        (
            "first = { name = \"first\" }",
            "third = { name = \"third\" }",
        ),
    ];
    let doc = reload(&scene, cast(&scene, &gone, "")).await;
    let acts: Vec<_> = doc
        .slots
        .iter()
        .map(|step| (step.slot.as_str(), step.action))
        .collect();
    assert_eq!(
        acts,
        [
            ("adapter/cache", SlotAction::Swap),
            ("task/mail", SlotAction::Retire)
        ]
    );
    assert_eq!(who(&scene, "adapter/cache").await, "third");
    let status = scene.runtime.status(None).unwrap();
    assert_eq!(
        status.slots.len(),
        1,
        "a slot of which nothing is left is not shown"
    );
    assert!(scene.runtime.ready().ready);
    scene.stop().await;
}

#[tokio::test]
async fn what_is_removed_goes_dependents_first_and_waits_for_those_that_are_paused() {
    // `adapter/log` is the first by name and needed by the second.
    let log = TASK.replace("task/mail", "adapter/log");
    let web = TASK.replace("task/mail", "service/web").replace(
        "'smtp'\nfactory",
        "'smtp'\nrequires = ['adapter/log']\nfactory",
    );
    let both = format!("{log}{web}");
    let scene = Scene::start(&format!("{CAST}{both}")).await;
    pause(&scene, "service/web", Activity::Paused);
    let doc = reload(&scene, cast(&scene, &[], "")).await;
    let held: Vec<_> = doc
        .slots
        .iter()
        .map(|step| (step.slot.as_str(), step.held.as_deref()))
        .collect();
    assert_eq!(
        held,
        [
            ("service/web", Some("paused")),
            ("adapter/log", Some("paused"))
        ]
    );
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    reload(&scene, cast(&scene, &[], &both)).await;
    assert!(scene.runtime.settings_state().held.is_empty());

    pause(&scene, "service/web", Activity::Running);
    let doc = reload(&scene, cast(&scene, &[], "")).await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied, "{doc:?}");
    assert_eq!(scene.runtime.status(None).unwrap().slots.len(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn what_cannot_be_reloaded_is_refused_by_name_and_nothing_is_applied() {
    let scene = Scene::start(CAST).await;
    let mut settings = cast(
        &scene,
        &[],
        "[run]\ngrace_ms = 7\n[selections]\n'adapter/cache' = 'second'",
    );
    settings.state_dir = "elsewhere".into();
    let doc = reload(&scene, settings).await;
    assert_eq!(doc.outcome, ReloadOutcome::Refused);
    let error = doc.error.unwrap();
    assert_eq!(error.code, "runtime.reload_refused");
    assert!(error.message.contains("state_dir: "), "{}", error.message);
    assert!(error.message.contains("-> elsewhere"), "{}", error.message);
    assert_eq!(who(&scene, "adapter/cache").await, "first");
    assert_ne!(scene.runtime.settings().grace.as_millis(), 7);
    let refused = scene.runtime.settings_state().refused.unwrap();
    assert_eq!(refused.code, "runtime.reload_refused");

    let doc = reload(&scene, cast(&scene, &[], "[run]\ngrace_ms = 7")).await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    assert_eq!(scene.runtime.settings().grace.as_millis(), 7);
    assert_eq!(scene.runtime.settings_state().refused, None);
    scene.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_done() {
    let scene = Scene::start(CAST).await;
    let unknown = cast(
        &scene,
        &[(
            "provider = \"second\"\nfactory = \"oneiric.test:actor\"",
            "provider = \"second\"\nfactory = \"oneiric.test:nobody\"",
        )],
        "",
    );
    let error = soon(scene.runtime.reload_to(unknown, "test"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "runtime.settings_invalid");
    assert_eq!(who(&scene, "adapter/cache").await, "first");
    assert_eq!(
        scene.runtime.settings_state().refused.unwrap().code,
        "runtime.settings_invalid"
    );
    let error = soon(scene.runtime.reload("test")).await.unwrap_err();
    assert_eq!(error.code(), "runtime.reload_unavailable");
    scene.stop().await;
}

#[tokio::test]
async fn a_reload_that_fails_half_way_is_undone() {
    let three = |build: [&str; 3]| {
        let mut text = String::new();
        for (name, build) in ["a", "b", "c"].into_iter().zip(build) {
            text.push_str(&format!(
                "
[[candidates]]
slot = 'service/{name}'
provider = 'one'
factory = 'oneiric.test:actor'
[[candidates]]
slot = 'service/{name}'
provider = 'two'
factory = 'oneiric.test:actor'
priority = -1
[providers.'service/{name}']
one = {{ name = '{name}1' }}
two = {{ name = '{name}2', build = '{build}' }}
"
            ));
        }
        text
    };
    let selected = "[selections]\n'service/a' = 'two'\n'service/b' = 'two'\n'service/c' = 'two'\n";
    for failing in 0..3 {
        let scene = Scene::start(&three(["", "", ""])).await;
        let mut build = [""; 3];
        build[failing] = "fail";
        let text = format!("{selected}[run]\ngrace_ms = 7\n{}{TASK}", three(build));
        let mut settings = Settings::parse(&text, "oneiric.toml").unwrap();
        settings.state_dir = scene.runtime.settings().state_dir.clone();
        let list = serde_json::to_value(scene.runtime.list(None)).unwrap();
        let doc = reload(&scene, settings).await;
        let ReloadOutcome::Restored { failed } = &doc.outcome else {
            panic!("{doc:?}");
        };
        let name = ["a", "b", "c"][failing];
        assert_eq!(
            failed.slot.as_ref().unwrap().as_str(),
            format!("service/{name}")
        );
        assert_eq!(failed.code, "lifecycle.build_failed");
        assert_eq!(doc.error.unwrap().code, "runtime.reload_restored");
        for name in ["a", "b", "c"] {
            assert_eq!(
                who(&scene, &format!("service/{name}")).await,
                format!("{name}1")
            );
        }
        assert_ne!(scene.runtime.settings().grace.as_millis(), 7);
        assert_eq!(
            serde_json::to_value(scene.runtime.list(None)).unwrap(),
            list
        );
        assert!(scene.runtime.status(Some(&slot("task/mail"))).is_err());
        scene.stop().await;
    }
}

/// A reload whose first step concerns `adapter/cache` and whose second fails, when nothing can be built any more.
async fn fails_with_nothing_to_build(scene: &Scene, cache: (&str, &str)) -> ReloadDoc {
    let waiting = TASK
        .replace("name = 'smtp'", "name = 'smtp2', build = 'wait'")
        .replace(
            "[providers.'task/mail'.smtp]\n",
            "[providers.'task/mail']\nsmtp = { ",
        )
        .replace("'wait'", "'wait' }");
    let settings = cast(scene, &[cache], &waiting);
    let runtime = scene.runtime.clone();
    let reloading = tokio::spawn(async move { runtime.reload_to(settings, "test").await.unwrap() });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    scene.stage.fail_from_now_on();
    scene.stage.refuse_from_now_on();
    scene.stage.gate.add_permits(1);
    soon(reloading).await.unwrap()
}

#[tokio::test]
async fn what_was_exchanged_serves_again_although_nothing_can_be_built_any_more() {
    let scene = Scene::start(&format!("{CAST}{TASK}")).await;
    let instance = |scene: &Scene| {
        let status = scene.runtime.lifecycle().status(&slot("adapter/cache"));
        status.unwrap().active.unwrap().instance
    };
    let before = instance(&scene);
    let renamed = (
        "first = { name = \"first\" }",
        "first = { name = \"renamed\" }",
    );
    let doc = fails_with_nothing_to_build(&scene, renamed).await;
    let ReloadOutcome::Restored { failed } = &doc.outcome else {
        panic!("{doc:?}");
    };
    assert_eq!(failed.slot, Some(slot("task/mail")));
    assert_eq!(who(&scene, "adapter/cache").await, "first");
    assert_eq!(instance(&scene), before, "it was kept, not built again");
    let status = scene
        .runtime
        .lifecycle()
        .status(&slot("adapter/cache"))
        .unwrap();
    assert!(
        status.differs.is_none() && status.last_error.is_none(),
        "{status:?}"
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_way_back_that_fails_is_said_to_be_broken_and_where() {
    let told = CAST.replace(
        "first = { name = \"first\" }",
        "first = { name = \"first\", told = true }",
    );
    let scene = Scene::start(&format!("{told}{TASK}")).await;
    let mut events = scene.runtime.events(None, None);
    // The first step succeeds, the second fails, and by then what was told takes nothing back.
    let renamed = (
        "first = { name = \"first\" }",
        "first = { name = \"renamed\", told = true }",
    );
    let doc = fails_with_nothing_to_build(&scene, renamed).await;
    let ReloadOutcome::Broken { failed, left } = &doc.outcome else {
        panic!("{doc:?}");
    };
    assert_eq!(failed.slot, Some(slot("task/mail")));
    assert_eq!(
        (left.len(), &left[0].slot),
        (1, &Some(slot("adapter/cache")))
    );
    assert_eq!(doc.error.unwrap().code, "runtime.reload_broken");
    assert_eq!(
        who(&scene, "adapter/cache").await,
        "renamed",
        "it is still served"
    );
    let broken = loop {
        match soon(events.next()).await {
            Some(Watched::Event(event)) if event.event == "settings_broken" => break event,
            Some(_) => {}
            None => panic!("it was not told"),
        }
    };
    assert_eq!(broken.fields["failed_slot"], "task/mail");
    assert_eq!(broken.fields["left"], serde_json::json!(["adapter/cache"]));
    scene.stop().await;
}

#[tokio::test]
async fn p82_held_swap_is_applied_on_resume() {
    let scene = Scene::start(CAST).await;
    let mut events = scene.runtime.lifecycle().events();
    pause(&scene, "adapter/cache", Activity::Paused);
    let renamed = [(
        "first = { name = \"first\" }",
        "first = { name = \"renamed\" }",
    )];
    let doc = reload(&scene, cast(&scene, &renamed, "")).await;
    assert_eq!(
        (doc.outcome, doc.slots[0].held.as_deref()),
        (ReloadOutcome::Applied, Some("paused"))
    );
    let status = scene.runtime.status(None).unwrap();
    assert_eq!(
        status.slots[0].differs,
        Some(Difference::Held { activity: "paused" })
    );
    assert_eq!(status.process.settings.held[0].slot, slot("adapter/cache"));

    // It survives a reload of something else.
    let doc = reload(&scene, cast(&scene, &renamed, TASK)).await;
    assert_eq!(doc.slots.len(), 2, "{doc:?}");
    assert_eq!(scene.runtime.settings_state().held.len(), 1);
    assert!(!scene.stage.events().contains(&"built renamed".to_owned()));

    pause(&scene, "adapter/cache", Activity::Running);
    soon(async {
        while !scene.stage.events().contains(&"retired first".to_owned()) {
            events.next().await.unwrap();
        }
    })
    .await;
    assert_eq!(who(&scene, "adapter/cache").await, "renamed");
    soon(async {
        while !scene.runtime.settings_state().held.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.stop().await;
}

#[tokio::test]
async fn a_held_change_that_is_taken_back_is_none_and_an_operators_swap_ends_it() {
    let scene = Scene::start(CAST).await;
    pause(&scene, "adapter/cache", Activity::Draining);
    let renamed = [(
        "first = { name = \"first\" }",
        "first = { name = \"renamed\" }",
    )];
    reload(&scene, cast(&scene, &renamed, "")).await;
    assert_eq!(scene.runtime.settings_state().held.len(), 1);
    let doc = reload(&scene, cast(&scene, &[], "")).await;
    assert_eq!((doc.outcome, doc.slots.len()), (ReloadOutcome::Applied, 0));
    assert!(scene.runtime.settings_state().held.is_empty());

    reload(&scene, cast(&scene, &renamed, "")).await;
    let to_second = SwapRequestDoc::to_provider(slot("adapter/cache"), "second".parse().unwrap());
    soon(scene.runtime.swap(to_second, "test")).await.unwrap();
    assert!(scene.runtime.settings_state().held.is_empty());
    pause(&scene, "adapter/cache", Activity::Running);
    assert_eq!(who(&scene, "adapter/cache").await, "second");
    assert_eq!(
        scene.stage.events(),
        ["built first", "built second", "retired first"]
    );
    scene.stop().await;
}

#[tokio::test]
async fn observers_are_told_and_one_that_panics_stops_nothing() {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    let mut settings = Settings::parse(CAST, "oneiric.toml").unwrap();
    settings.state_dir = dir.path().join("state");
    let (told, was_told) = std::sync::mpsc::channel();
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .reload_observer(|_: &ReloadEvent<'_>| panic!("told to panic"))
        .reload_observer(move |event: &ReloadEvent<'_>| {
            let text = match event {
                ReloadEvent::Begun { who } => format!("begun {who}"),
                ReloadEvent::Ended { outcome, .. } => {
                    format!("ended {}", outcome.map_or("none", ReloadOutcome::name))
                }
                _ => "something else".to_owned(),
            };
            told.send(text).unwrap();
        })
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    reload(
        &scene,
        cast(&scene, &[("priority = 5", "priority = 6")], ""),
    )
    .await;
    let told: Vec<String> = was_told.try_iter().collect();
    assert_eq!(told, ["begun test", "ended applied"]);
    scene.stop().await;
}

#[tokio::test]
async fn a_ring_that_new_settings_would_close_is_known_before_anything_is_exchanged() {
    let text = |first: &str, a: &str| {
        format!(
            "
[[candidates]]
slot = 'adapter/first'
provider = 'one'
factory = 'oneiric.test:actor'
metadata = {{ is = '{first}' }}
[[candidates]]
slot = 'service/a'
provider = 'one'
factory = 'oneiric.test:actor'
{a}
[[candidates]]
slot = 'service/b'
provider = 'one'
factory = 'oneiric.test:actor'
requires = ['service/a']
[providers]
'adapter/first' = {{ one = {{ name = 'first' }} }}
'service/a' = {{ one = {{ name = 'a' }} }}
'service/b' = {{ one = {{ name = 'b' }} }}
"
        )
    };
    let scene = Scene::start(&text("old", "")).await;
    let instances = || {
        let slots = scene.runtime.status(None).unwrap().slots.into_iter();
        let number = |active: oneiric_lifecycle::ActiveStatus| active.instance;
        slots
            .map(|slot| slot.active.map(number))
            .collect::<Vec<_>>()
    };
    let before = instances();
    let settings = |a: &str| {
        let mut settings = Settings::parse(&text("new", a), "oneiric.toml").unwrap();
        settings.state_dir = scene.runtime.settings().state_dir.clone();
        settings
    };
    let doc = reload(&scene, settings("requires = ['service/b']")).await;
    let ReloadOutcome::Restored { failed } = &doc.outcome else {
        panic!("{doc:?}");
    };
    assert_eq!(failed.code, "lifecycle.dependency_cycle");
    let path = "requires itself: service/a -> service/b -> service/a";
    assert_eq!(failed.message, path);
    assert_eq!(instances(), before);
    // One that can do without is no ring.
    let doc = reload(&scene, settings("optional_requires = ['service/b']")).await;
    assert!(matches!(doc.outcome, ReloadOutcome::Applied), "{doc:?}");
    assert_ne!(instances(), before);
    scene.stop().await;
}

#[tokio::test]
async fn what_only_the_warm_one_of_a_trial_needs_goes_when_the_trial_is_over() {
    let text = |clock: bool| {
        let clock = match clock {
            true => {
                "[[candidates]]\nslot = 'service/clock'\nprovider = 'one'\nfactory = 'oneiric.test:actor'\n"
            }
            false => "",
        };
        format!(
            "{clock}
[[candidates]]
slot = 'adapter/a'
provider = 'old'
priority = 2
factory = 'oneiric.test:actor'
optional_requires = ['service/clock']
[[candidates]]
slot = 'adapter/a'
provider = 'new'
factory = 'oneiric.test:actor'
[providers]
'service/clock' = {{ one = {{ name = 'clock' }} }}
'adapter/a' = {{ old = {{ name = 'old' }}, new = {{ name = 'new' }} }}
"
        )
    };
    let scene = Scene::start(&text(true)).await;
    let lifecycle = scene.runtime.lifecycle();
    let (a, clock) = (slot("adapter/a"), slot("service/clock"));
    assert_eq!(lifecycle.holders(&clock), std::slice::from_ref(&a));
    let trial = SwapRequest::to_provider(a.clone(), "new".parse().unwrap());
    let trial = trial.bake(Duration::from_secs(3_600));
    let report = lifecycle.begin_swap(trial).await.unwrap();
    let baking = report.baking().unwrap().clone();

    let mut settings = Settings::parse(&text(false), "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    let doc = reload(&scene, settings).await;
    assert!(matches!(doc.outcome, ReloadOutcome::Applied), "{doc:?}");
    assert_eq!(doc.slots[0].held.as_deref(), Some("baking"), "{doc:?}");
    assert!(lifecycle.baking(&a).is_some(), "the trial goes on");
    assert!(lifecycle.serving(&clock).is_some());
    baking.let_go();
    let ended = soon(baking.ended()).await.bake.unwrap().ended;
    assert_eq!(ended, Some(BakeEnd::Passed));
    soon(async {
        while lifecycle.serving(&clock).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(async {
        while !scene.runtime.settings_state().held.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_which_ring_new_settings_would_close() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("oneiric.toml");
    let write = |requires: &str| {
        let text = format!(
            "state_dir = '{}'
[[candidates]]
slot = 'service/a'
provider = 'one'
factory = 'oneiric.test:actor'
{requires}
[[candidates]]
slot = 'service/b'
provider = 'one'
factory = 'oneiric.test:actor'
requires = ['service/a']
[providers]
'service/a' = {{ one = {{ name = 'a' }} }}
'service/b' = {{ one = {{ name = 'b' }} }}
",
            dir.path().join("state").display()
        );
        crate::watch::write(&file, text).unwrap();
    };
    write("");
    let sources = Sources::new().file(&file);
    let runtime = RuntimeBuilder::new(sources.load().unwrap())
        .sources(sources)
        .factories(Stage::new().factories())
        .build()
        .unwrap();
    write("requires = ['service/b']");
    let doc = soon(runtime.plan_reload()).await.unwrap();
    let ReloadOutcome::Restored { failed } = &doc.outcome else {
        panic!("{doc:?}");
    };
    assert_eq!(failed.code, "lifecycle.dependency_cycle");
    assert!(
        failed
            .message
            .contains("service/a -> service/b -> service/a"),
        "{failed:?}"
    );
    write("optional_requires = ['service/b']");
    let doc = soon(runtime.plan_reload()).await.unwrap();
    assert_eq!(doc.outcome, ReloadOutcome::Planned);
}

#[tokio::test]
async fn what_can_never_come_up_is_said_as_long_as_it_is_so() {
    let ring = "
[[candidates]]
slot = 'service/a'
provider = 'one'
factory = 'oneiric.test:actor'
requires = ['service/a', 'service/nobody']
[providers.'service/a'.one]
name = 'a'
";
    let scene = Scene::start(ring).await;
    let faults = || {
        scene
            .runtime
            .status(None)
            .unwrap()
            .process
            .dependency_faults
    };
    let expected = serde_json::json!([
        {
            "fault": "no_candidate", "slots": ["service/a", "service/nobody"], "provider": "one",
            "text": "service/a: one needs service/nobody, which nobody provides",
        },
        {
            "fault": "cycle", "slots": ["service/a", "service/a"],
            "text": "service/a -> service/a need each other in a circle",
        },
    ]);
    assert_eq!(serde_json::to_value(faults()).unwrap(), expected);
    let listed = scene
        .runtime
        .list(None)
        .slots
        .remove(0)
        .candidates
        .remove(0);
    assert_eq!(listed.requires, [slot("service/a"), slot("service/nobody")]);
    let mut settings = Settings::parse("", "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    reload(&scene, settings).await;
    assert!(faults().is_empty());
    scene.stop().await;
}
