//! Changes that wait for a slot to be resumed, and what may happen to the slot until then (docs/spec/reload.md).

use oneiric_lifecycle::{Activity, ActivityRule};
use oneiric_runtime::{
    Settings,
    api::{CallRequest, ReloadDoc, ReloadOutcome, RotateDoc, RotateRequest, SwapRequestDoc},
};

use crate::support::{Scene, Stage, build, slot, soon};

/// One slot with two candidates, both with a secret; `second` is told of new settings.
fn text(name: &str, selected: &str) -> String {
    format!(
        "[selections]
'adapter/a' = '{selected}'
[[candidates]]
slot = 'adapter/a'
provider = 'first'
factory = 'oneiric.test:actor'
[[candidates]]
slot = 'adapter/a'
provider = 'second'
factory = 'oneiric.test:actor'
[providers.'adapter/a']
first = {{ name = '{name}', token = 'secret://safe/a' }}
second = {{ name = 'second', token = 'secret://safe/a', told = true }}
"
    )
}

async fn start(text: &str) -> Scene {
    let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
    stage.safe.set("a", "value 1");
    let runtime = build(&stage, text, dir.path());
    Scene::run(stage, runtime, dir).await
}

async fn reload(scene: &Scene, text: &str) -> ReloadDoc {
    let mut settings = Settings::parse(text, "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    soon(scene.runtime.reload_to(settings, "test"))
        .await
        .unwrap()
}

async fn rotate(scene: &Scene) -> RotateDoc {
    let all = RotateRequest::default();
    soon(scene.runtime.rotate_secrets(all, "test"))
        .await
        .unwrap()
}

async fn says(scene: &Scene, operation: &str) -> String {
    let request = CallRequest {
        slot: slot("adapter/a"),
        operation: operation.into(),
        input: serde_json::Value::Null,
    };
    let answer = soon(scene.runtime.call(request)).await.unwrap();
    answer.output.as_str().unwrap().to_owned()
}

fn set(scene: &Scene, activity: Activity) {
    let rule = ActivityRule::new(slot("adapter/a"), activity);
    scene.runtime.lifecycle().set_activity(rule).unwrap();
}

fn held(scene: &Scene) -> usize {
    scene.runtime.settings_state().held.len()
}

async fn nothing_is_held(scene: &Scene) {
    soon(async {
        while held(scene) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn p82_a_rotation_of_a_paused_slot_leaves_what_waits_for_it() {
    let scene = start(&text("first", "first")).await;
    set(&scene, Activity::Paused);
    let doc = reload(&scene, &text("first", "second")).await;
    assert_eq!(doc.slots[0].held.as_deref(), Some("paused"));
    for round in 2..4 {
        scene.stage.safe.set("a", &format!("value {round}"));
        let doc = rotate(&scene).await;
        assert_eq!(doc.slots[0].outcome, "exchanged", "{doc:?}");
        assert_eq!(doc.slots[0].provider.as_str(), "first");
        assert_eq!(held(&scene), 1);
    }
    set(&scene, Activity::Running);
    nothing_is_held(&scene).await;
    assert_eq!(says(&scene, "who").await, "second");
    assert_eq!(says(&scene, "token").await, "value 3");
    scene.stop().await;
}

#[tokio::test]
async fn settings_that_a_rotation_brought_along_are_not_brought_twice() {
    let scene = start(&text("first", "first")).await;
    set(&scene, Activity::Draining);
    reload(&scene, &text("renamed", "first")).await;
    scene.stage.safe.set("a", "value 2");
    rotate(&scene).await;
    set(&scene, Activity::Running);
    nothing_is_held(&scene).await;
    assert_eq!(says(&scene, "who").await, "renamed");
    let events = scene.stage.events();
    assert_eq!(events, ["built first", "built renamed", "retired first"]);
    scene.stop().await;
}

#[tokio::test]
async fn a_selection_that_is_taken_back_after_a_rotation_is_no_change() {
    let scene = start(&text("first", "first")).await;
    set(&scene, Activity::Paused);
    reload(&scene, &text("first", "second")).await;
    scene.stage.safe.set("a", "value 2");
    rotate(&scene).await;
    let doc = reload(&scene, &text("first", "first")).await;
    assert_eq!((doc.outcome, doc.slots.len()), (ReloadOutcome::Applied, 0));
    assert_eq!(held(&scene), 0);
    set(&scene, Activity::Running);
    assert_eq!(says(&scene, "who").await, "first");
    scene.stop().await;
}

#[tokio::test]
async fn an_operators_swap_after_a_rotation_ends_what_waits() {
    let scene = start(&text("first", "first")).await;
    set(&scene, Activity::Paused);
    reload(&scene, &text("renamed", "second")).await;
    scene.stage.safe.set("a", "value 2");
    rotate(&scene).await;
    assert_eq!(held(&scene), 1);
    let swap = SwapRequestDoc::to_provider(slot("adapter/a"), "second".parse().unwrap());
    soon(scene.runtime.swap(swap, "test")).await.unwrap();
    assert_eq!(held(&scene), 0);
    scene.stop().await;
}

#[tokio::test]
async fn a_secret_that_its_settings_do_not_name_any_more_is_not_brought_to_a_paused_slot() {
    let scene = start(&text("first", "first")).await;
    scene.stage.safe.set("b", "value b");
    set(&scene, Activity::Paused);
    let first_has_b = text("first", "first").replacen("safe/a", "safe/b", 1);
    reload(&scene, &first_has_b).await;
    scene.stage.safe.set("a", "value 2");
    let doc = rotate(&scene).await;
    assert_eq!((doc.complete, doc.slots.len()), (true, 0), "{doc:?}");
    assert_eq!(held(&scene), 1);
    set(&scene, Activity::Running);
    nothing_is_held(&scene).await;
    assert_eq!(says(&scene, "token").await, "value b");
    scene.stop().await;
}

#[tokio::test]
async fn a_rotation_during_a_reload_hands_out_nothing_that_the_reload_takes_back() {
    let two = |name: &str, metadata: u8, build: &str| {
        format!(
            "[[candidates]]
slot = 'adapter/a'
provider = 'told'
factory = 'oneiric.test:actor'
requires = ['adapter/z']
[providers.'adapter/a'.told]
name = '{name}'
token = 'secret://safe/a'
told = true
[[candidates]]
slot = 'adapter/z'
provider = 'first'
factory = 'oneiric.test:actor'
metadata = {{ m = {metadata} }}
[providers.'adapter/z'.first]
name = 'z'
build = '{build}'
"
        )
    };
    let scene = start(&two("before", 0, "")).await;
    let mut settings = Settings::parse(&two("after", 1, "wait"), "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    let runtime = scene.runtime.clone();
    let reloading = tokio::spawn(async move { runtime.reload_to(settings, "test").await.unwrap() });
    // What is needed comes first; while it is built the new settings are in force.
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    scene.stage.safe.set("a", "value 2");
    let runtime = scene.runtime.clone();
    let rotating = tokio::spawn(async move {
        let all = RotateRequest::default();
        runtime.rotate_secrets(all, "test").await.unwrap()
    });
    let reference = "secret://safe/a".parse().unwrap();
    soon(async {
        while scene.runtime.secret(&reference).await.unwrap().expose() != "value 2" {
            tokio::task::yield_now().await;
        }
        // Whoever is told without waiting for the reload is told by now.
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!rotating.is_finished());
    scene.stage.fail_from_now_on();
    scene.stage.gate.add_permits(1);
    let doc = soon(reloading).await.unwrap();
    assert!(
        matches!(doc.outcome, ReloadOutcome::Restored { .. }),
        "{doc:?}"
    );
    let doc = soon(rotating).await.unwrap();
    assert_eq!(doc.slots[0].outcome, "told", "{doc:?}");
    assert_eq!(says(&scene, "who").await, "before");
    assert_eq!(says(&scene, "token").await, "value 2");
    scene.stop().await;
}
