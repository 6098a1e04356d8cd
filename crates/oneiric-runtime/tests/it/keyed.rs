//! Instances by key in a running process, where nothing else serves their slot: new settings and secrets reach them, and
//! operators see them for what they are (docs/spec/keyed.md).

use oneiric_lifecycle::{Keyed, KeyedLimits, Payload};
use oneiric_runtime::{
    Settings,
    api::{ReloadDoc, ReloadOutcome, RotateRequest},
};
use serde_json::{Value, json};

use crate::support::{CAST, Scene, slot, soon};

const CACHE: &str = "adapter/cache";

/// What serves nothing before somebody uses it.
fn on_use(more: &str) -> String {
    format!("[run]\nactivate = 'on_use'\n{CAST}{more}")
}

fn keyed(scene: &Scene) -> Keyed {
    let limits = KeyedLimits::default();
    scene.runtime.lifecycle().keyed(&slot(CACHE), limits)
}

async fn says(keyed: &Keyed, key: &str, operation: &str) -> Value {
    let lease = soon(keyed.lease(key)).await.unwrap();
    match lease.invoke(operation, Payload::empty()).await.unwrap() {
        Payload::Json(said) => said,
        other => panic!("not words: {other:?}"),
    }
}

async fn number(keyed: &Keyed, key: &str) -> u64 {
    soon(keyed.lease(key)).await.unwrap().instance()
}

fn settings(scene: &Scene, text: &str) -> Settings {
    let mut settings = Settings::parse(text, "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    settings
}

async fn reload(scene: &Scene, text: &str) -> ReloadDoc {
    let settings = settings(scene, text);
    soon(scene.runtime.reload_to(settings, "test"))
        .await
        .unwrap()
}

fn renamed(text: &str) -> String {
    let (from, to) = (
        "first = { name = \"first\" }",
        "first = { name = \"renamed\" }",
    );
    assert!(text.contains(from));
    text.replace(from, to)
}

fn nothing_serves(scene: &Scene) {
    let status = scene.runtime.lifecycle().status(&slot(CACHE)).unwrap();
    assert!(status.active.is_none());
}

#[tokio::test]
async fn a_reload_reaches_keys_although_nothing_serves_their_slot() {
    let scene = Scene::start(&on_use("")).await;
    let keyed = keyed(&scene);
    let held = soon(keyed.lease("held")).await.unwrap();
    assert_eq!(says(&keyed, "one", "who").await, "first");
    let doc = reload(&scene, &renamed(&on_use(""))).await;
    assert_eq!(doc.outcome, ReloadOutcome::Applied);
    for key in ["one", "held"] {
        assert_eq!(says(&keyed, key, "who").await, "renamed");
    }
    drop(held);
    nothing_serves(&scene);
    // What concerns others leaves them alone.
    let one = number(&keyed, "one").await;
    reload(
        &scene,
        &format!("{}\n[log]\nfilter = 'debug'\n", renamed(&on_use(""))),
    )
    .await;
    assert_eq!(number(&keyed, "one").await, one);
    scene.stop().await;
}

fn mail(part: &str) -> String {
    format!(
        "
[[candidates]]
slot = 'task/mail'
provider = 'smtp'
factory = 'oneiric.test:actor'
[providers.'task/mail']
smtp = {{ name = 'smtp'{part} }}
"
    )
}

#[tokio::test]
async fn a_reload_that_is_taken_back_takes_back_what_keys_were_given_meanwhile() {
    let scene = Scene::start(&on_use(&mail(""))).await;
    let keyed = keyed(&scene);
    assert_eq!(says(&keyed, "one", "who").await, "first");
    scene
        .runtime
        .lifecycle()
        .activate(&slot("task/mail"))
        .await
        .unwrap();
    // It waits when it is built, and then it is not well.
    let text = renamed(&on_use(&mail(", build = 'wait', probe = 'critical'")));
    let new = settings(&scene, &text);
    let runtime = scene.runtime.clone();
    let reloading = tokio::spawn(async move { runtime.reload_to(new, "test").await.unwrap() });
    soon(scene.stage.begun.acquire()).await.unwrap().forget();
    for key in ["one", "two"] {
        assert_eq!(says(&keyed, key, "who").await, "renamed");
    }
    scene.stage.gate.add_permits(1);
    let doc = soon(reloading).await.unwrap();
    assert!(
        matches!(doc.outcome, ReloadOutcome::Restored { .. }),
        "{doc:?}"
    );
    for key in ["one", "two"] {
        assert_eq!(says(&keyed, key, "who").await, "first");
    }
    nothing_serves(&scene);
    scene.stop().await;
}

#[tokio::test]
async fn a_secret_that_changes_reaches_keys_although_nothing_serves_their_slot() {
    let with_token = on_use("").replace(
        "first = { name = \"first\" }",
        "first = { name = \"first\", token = \"secret://safe/token\" }",
    );
    let (stage, dir) = (crate::support::Stage::new(), tempfile::tempdir().unwrap());
    stage.safe.set("token", "hunter2-old");
    let runtime = crate::support::build(&stage, &with_token, dir.path());
    let scene = Scene::run(stage, runtime, dir).await;
    let keyed = keyed(&scene);
    let rotate = async || {
        let rotated = scene
            .runtime
            .rotate_secrets(RotateRequest::default(), "test");
        soon(rotated).await.unwrap()
    };
    for key in ["one", "two"] {
        assert_eq!(says(&keyed, key, "token").await, "hunter2-old");
    }
    let one = number(&keyed, "one").await;
    assert_eq!(rotate().await.secrets[0].outcome, "unchanged");
    assert_eq!(number(&keyed, "one").await, one);
    for new in ["hunter2-new", "hunter2-newer"] {
        scene.stage.safe.set("token", new);
        assert_eq!(rotate().await.secrets[0].outcome, "changed");
        for key in ["one", "two"] {
            assert_eq!(says(&keyed, key, "token").await, new);
        }
        // Once, and not whenever somebody looks.
        let one = number(&keyed, "one").await;
        rotate().await;
        assert_eq!(number(&keyed, "one").await, one);
    }
    nothing_serves(&scene);
    scene.stop().await;
}

#[tokio::test]
async fn what_keys_need_can_be_withdrawn_together_with_their_slot() {
    let clock = "
[[candidates]]
slot = 'service/clock'
provider = 'clock'
factory = 'oneiric.test:actor'
[providers.'service/clock']
clock = { name = 'clock' }
";
    let needs = "
[[candidates]]
slot = 'adapter/cache'
provider = 'needs'
factory = 'oneiric.test:actor'
priority = 20
requires = ['service/clock']
[providers.'adapter/cache'.needs]
name = 'needs'
";
    let before = format!("[run]\nactivate = 'on_use'\n{clock}{needs}{CAST}");
    for after in [
        // They go over to somebody who needs nothing.
        format!("[run]\nactivate = 'on_use'\n{CAST}"),
        // They are gone, and what they need with them.
        "[run]\nactivate = 'on_use'\n".to_owned(),
    ] {
        let scene = Scene::start(&before).await;
        let keyed = keyed(&scene);
        assert_eq!(says(&keyed, "one", "who").await, "needs");
        let doc = reload(&scene, &after).await;
        assert_eq!(doc.outcome, ReloadOutcome::Applied, "{doc:?}");
        let events = scene.stage.events();
        let place = |what: &str| events.iter().position(|one| one == what).unwrap();
        assert!(
            place("retired needs") < place("retired clock"),
            "{events:?}"
        );
        scene.stop().await;
    }
}

#[tokio::test]
async fn operators_see_keys_and_do_not_take_them_for_what_serves() {
    let scene = Scene::start(&on_use("")).await;
    let keyed = keyed(&scene);
    for key in ["one", "two"] {
        assert_eq!(says(&keyed, key, "who").await, "first");
    }
    let held = soon(keyed.lease("one")).await.unwrap();
    let doc = scene.runtime.status(Some(&slot(CACHE))).unwrap();
    let doc = serde_json::to_value(doc).unwrap();
    let of_slot = &doc["slots"][0];
    let expected = json!({"instances": 2, "limit": 64, "in_flight": 1, "keys": ["one", "two"]});
    assert_eq!(of_slot["keyed"], expected);
    assert_eq!(
        (&of_slot["swaps"]["activated"], &of_slot["in_flight"]),
        (&json!(0), &json!(0))
    );
    let client_reads: oneiric_runtime::api::StatusDoc = serde_json::from_value(doc).unwrap();
    assert_eq!(client_reads.slots[0].keyed.as_ref().unwrap().instances, 2);
    let metrics = scene.runtime.metrics();
    for line in [
        "oneiric_slot_keyed_instances{slot=\"adapter/cache\"} 2",
        "oneiric_probes_total{slot=\"adapter/cache\",result=\"ok\"} 0",
        "oneiric_slot_active{slot=\"adapter/cache\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let history = scene.runtime.history(Some(&slot(CACHE))).await.unwrap();
    assert!(
        history.slots.iter().all(|one| one.entries.is_empty()),
        "{history:?}"
    );
    drop(held);
    scene.stop().await;
}
