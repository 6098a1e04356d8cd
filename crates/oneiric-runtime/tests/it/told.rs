//! What a process tells of itself in its stream of events: reloads, changes that wait, secrets, selections
//! (docs/spec/admin-api.md, "Events").

use std::{
    fs,
    sync::{Arc, Mutex},
};

use oneiric_core::BoxFuture;
use oneiric_domains::{Secret, SecretError, SecretProvider};
use oneiric_lifecycle::{Activity, ActivityRule};
use oneiric_runtime::{
    EventStream, RuntimeBuilder, Settings, Sources, Watched,
    api::{EventDoc, RotateRequest, SwapRequestDoc},
};
use serde_json::{Value, json};

use crate::support::{CAST, Scene, Stage, slot, soon};

/// The next event whose name begins so; others in between are somebody else's matter.
async fn next(events: &mut EventStream, start: &str) -> EventDoc {
    loop {
        match soon(events.next()).await {
            Some(Watched::Event(event)) if event.event.starts_with(start) => return event,
            Some(Watched::Event(_)) => {}
            other => panic!("{other:?} in place of {start}"),
        }
    }
}

/// An event as name, slot and fields.
fn told(event: &EventDoc) -> (String, Option<String>, Value) {
    let slot = event.slot.as_ref().map(ToString::to_string);
    let fields = Value::Object(event.fields.clone());
    (event.event.clone(), slot, fields)
}

fn of_process(name: &str, fields: Value) -> (String, Option<String>, Value) {
    (name.to_owned(), None, fields)
}

fn of_cache(name: &str, fields: Value) -> (String, Option<String>, Value) {
    (name.to_owned(), Some("adapter/cache".to_owned()), fields)
}

/// The cast and something besides, for the state directory of `scene`.
fn cast(scene: &Scene, more: &str) -> Settings {
    let mut settings = Settings::parse(&format!("{CAST}\n{more}"), "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    settings
}

const TO_SECOND: &str = "[selections]\n'adapter/cache' = 'second'";

#[tokio::test]
async fn every_end_of_a_reload_is_told_with_who_and_what_was_changed() {
    let scene = Scene::start(CAST).await;
    let mut events = scene.runtime.events(None, None);
    let reload = async |settings| drop(soon(scene.runtime.reload_to(settings, "uid:7")).await);
    reload(cast(&scene, &format!("{TO_SECOND}\n[run]\ngrace_ms = 7"))).await;
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process(
            "settings_applied",
            json!({"who": "uid:7", "keys": 1, "slots": ["adapter/cache"]})
        )
    );
    reload(cast(&scene, &format!("{TO_SECOND}\n[run]\ngrace_ms = 7"))).await;
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process("settings_unchanged", json!({"who": "uid:7"}))
    );
    reload(cast(&scene, "[admin]\nsocket = '/elsewhere'")).await;
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process(
            "settings_refused",
            json!({"who": "uid:7", "code": "runtime.reload_refused", "keys": ["admin.socket"]})
        )
    );
    reload(cast(&scene, "[selections]\n'adapter/cache' = 'broken'")).await;
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process(
            "settings_restored",
            json!({
                "who": "uid:7", "code": "runtime.reload_restored",
                "problem": "lifecycle.build_failed", "failed_slot": "adapter/cache",
            })
        )
    );
    let wrong = CAST.replace("oneiric.test:actor", "oneiric.test:nobody");
    reload(Settings::parse(&wrong, "oneiric.toml").unwrap()).await;
    let invalid = next(&mut events, "settings_").await;
    assert_eq!(
        told(&invalid),
        of_process(
            "settings_invalid",
            json!({
                "who": "uid:7", "code": "runtime.settings_invalid", "file": "oneiric.toml",
                "line": 5, "key": "candidates[0].factory",
                "problem": "lifecycle.factory_unknown", "faults": 4,
            })
        )
    );
    scene.stop().await;
}

#[tokio::test]
async fn a_file_that_stays_bad_is_told_once_and_to_whoever_asks_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("oneiric.toml");
    let write = |text: &str| {
        let state = format!("state_dir = '{}'\n", dir.path().join("state").display());
        fs::File::create(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, (state + text).as_bytes()))
            .unwrap();
    };
    write("");
    let sources = Sources::new().file(&file);
    let runtime = RuntimeBuilder::new(sources.load().unwrap())
        .sources(sources)
        .build()
        .unwrap();
    let mut events = runtime.events(None, None);
    write("[run]\ngrace = 7\n");
    for who in ["file", "file", "signal"] {
        drop(soon(runtime.reload(who)).await);
    }
    let path = file.display().to_string();
    for who in ["file", "signal"] {
        let event = next(&mut events, "settings_").await;
        assert_eq!(
            told(&event),
            of_process(
                "settings_invalid",
                json!({
                    "who": who, "code": "runtime.settings_invalid", "file": path, "line": 3,
                    "key": "run.grace", "problem": "runtime.settings_invalid", "faults": 1,
                })
            )
        );
    }
    fs::remove_file(&file).unwrap();
    drop(soon(runtime.reload("file")).await);
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process(
            "settings_invalid",
            json!({
                "who": "file", "code": "runtime.settings_not_found", "file": path, "faults": 0,
            })
        )
    );
    write("");
    drop(soon(runtime.reload("file")).await);
    assert_eq!(
        told(&next(&mut events, "settings_").await),
        of_process("settings_unchanged", json!({"who": "file"}))
    );
}

#[tokio::test]
async fn what_waits_for_a_slot_is_told_and_how_that_ended() {
    let scene = Scene::start(CAST).await;
    let mut events = scene.runtime.events(Some(&slot("adapter/cache")), None);
    let reload = async |more: &str| {
        let settings = cast(&scene, more);
        drop(soon(scene.runtime.reload_to(settings, "test")).await);
    };
    let set = |activity| {
        let rule = ActivityRule::new(slot("adapter/cache"), activity);
        scene.runtime.lifecycle().set_activity(rule).unwrap();
    };
    let held = of_cache(
        "change_held",
        json!({"action": "swap", "why": ["selection"], "activity": "paused"}),
    );
    set(Activity::Paused);
    reload(TO_SECOND).await;
    assert_eq!(told(&next(&mut events, "change_").await), held);
    // It is the same change that waits, and then there is none.
    reload(&format!("{TO_SECOND}\n[run]\ngrace_ms = 7")).await;
    reload("").await;
    assert_eq!(
        told(&next(&mut events, "change_").await),
        of_cache("change_dropped", json!({}))
    );
    reload(TO_SECOND).await;
    assert_eq!(told(&next(&mut events, "change_").await), held);
    scene.stage.fail_from_now_on();
    set(Activity::Running);
    assert_eq!(
        told(&next(&mut events, "change_").await),
        of_cache(
            "change_failed",
            json!({"action": "swap", "code": "lifecycle.build_failed"})
        )
    );
    scene.stop().await;
}

#[tokio::test]
async fn what_waited_is_told_when_it_is_done() {
    let scene = Scene::start(CAST).await;
    let mut events = scene.runtime.events(None, None);
    let set = |activity| {
        let rule = ActivityRule::new(slot("adapter/cache"), activity);
        scene.runtime.lifecycle().set_activity(rule).unwrap();
    };
    set(Activity::Draining);
    let settings = cast(&scene, TO_SECOND);
    soon(scene.runtime.reload_to(settings, "test"))
        .await
        .unwrap();
    // Waiting is not done: no slot was changed yet.
    next(&mut events, "change_held").await;
    let applied = next(&mut events, "settings_applied").await;
    assert_eq!(applied.fields["slots"], json!([]));
    set(Activity::Running);
    assert_eq!(
        told(&next(&mut events, "change_").await),
        of_cache(
            "change_applied",
            json!({"action": "swap", "why": ["selection"]})
        )
    );
    scene.stop().await;
}

#[tokio::test]
async fn an_operators_selection_is_told_before_who_serves_because_of_it() {
    let scene = Scene::start(CAST).await;
    let mut events = scene.runtime.events(None, None);
    let mut swap = SwapRequestDoc::to_provider(slot("adapter/cache"), "second".parse().unwrap());
    swap.reason = Some("a try".to_owned());
    soon(scene.runtime.swap(swap, "uid:7")).await.unwrap();
    assert_eq!(
        told(&next(&mut events, "selection_").await),
        of_cache(
            "selection_changed",
            json!({"revision": 1, "to": "second", "who": "uid:7", "reason": "a try"})
        )
    );
    next(&mut events, "published").await;
    let clear = SwapRequestDoc {
        clear: true,
        ..SwapRequestDoc::to_winner(slot("adapter/cache"))
    };
    soon(scene.runtime.swap(clear, "uid:7")).await.unwrap();
    assert_eq!(
        told(&next(&mut events, "selection_").await),
        of_cache(
            "selection_changed",
            json!({"revision": 2, "from": "second", "who": "uid:7"})
        )
    );
    scene.stop().await;
}

/// A keeper of one secret, or of none.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<Option<String>>>);

impl Vault {
    fn set(&self, value: Option<&str>) {
        *self.0.lock().unwrap() = value.map(str::to_owned);
    }
}

impl SecretProvider for Vault {
    fn name(&self) -> &str {
        "vault"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let value = self.0.lock().unwrap().clone();
        let message = "hunter2 is not the password".to_owned();
        let name = name.to_owned();
        let answer = value
            .map(Secret::new)
            .ok_or(SecretError::Unavailable { name, message });
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test]
async fn what_becomes_of_secrets_is_told_by_name_and_never_by_value() {
    let (stage, dir, vault) = (Stage::new(), tempfile::tempdir().unwrap(), Vault::default());
    vault.set(Some("hunter2-first"));
    let text = CAST.replace("name = \"first\"", "name = \"secret://vault/token\"");
    let mut settings = Settings::parse(&text, "oneiric.toml").unwrap();
    settings.state_dir = dir.path().join("state");
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .secret_provider(vault.clone())
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    let mut events = scene.runtime.events(None, None);
    let rotate = async |reason: Option<&str>| {
        let request = RotateRequest {
            reason: reason.map(str::to_owned),
            ..RotateRequest::default()
        };
        drop(soon(scene.runtime.rotate_secrets(request, "uid:7")).await);
    };
    let mut seen = Vec::new();
    vault.set(Some("hunter2-second"));
    rotate(Some("it leaked")).await;
    seen.push(next(&mut events, "secret").await);
    assert_eq!(
        told(&seen[0]),
        of_process("secret_changed", json!({"secret": "secret://vault/token"}))
    );
    seen.push(next(&mut events, "secret").await);
    assert_eq!(
        told(&seen[1]),
        of_cache(
            "secret_told",
            json!({"provider": "first", "outcome": "exchanged"})
        )
    );
    seen.push(next(&mut events, "secret").await);
    assert_eq!(
        told(&seen[2]),
        of_process(
            "secrets_rotated",
            json!({
                "who": "uid:7", "reason": "it leaked", "secrets": ["secret://vault/token"],
                "changed": 1, "failed": 0, "slots": ["adapter/cache"],
            })
        )
    );
    vault.set(None);
    rotate(None).await;
    seen.push(next(&mut events, "secret_").await);
    assert_eq!(
        told(&seen[3]),
        of_process(
            "secret_failed",
            json!({
                "secret": "secret://vault/token", "code": "domains.secret_unavailable",
                "stale": true,
            })
        )
    );
    // Once for each reason: the second time it is no news that it fails.
    rotate(None).await;
    vault.set(Some("hunter2-second"));
    rotate(None).await;
    seen.push(next(&mut events, "secret_").await);
    assert_eq!(
        told(&seen[4]),
        of_process(
            "secret_recovered",
            json!({"secret": "secret://vault/token"})
        )
    );
    let text = serde_json::to_string(&seen).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    scene.stop().await;
}

/// What the specification says, beside what there is.
#[cfg(feature = "schema")]
mod documented {
    use std::collections::{BTreeMap, BTreeSet};

    /// The rows of the table in the specification: name and fields.
    fn rows() -> BTreeMap<String, BTreeSet<String>> {
        let page = include_str!("../../../../docs/spec/admin-api.md");
        let names = |cell: &str| {
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect::<BTreeSet<String>>()
        };
        let lines = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows = lines.filter_map(|(name, rest)| {
            let (_, fields) = rest.strip_suffix(" |")?.split_once(" | ")?;
            Some((name.to_owned(), names(fields)))
        });
        rows.collect()
    }

    #[test]
    fn every_event_and_each_of_its_fields_is_documented() {
        let document = oneiric_runtime::openapi();
        let variants = document["components"]["schemas"]["ProcessEvent"]["oneOf"].as_array();
        let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for variant in variants.unwrap() {
            let fields = variant["properties"].as_object().unwrap();
            let name = fields["event"]["const"].as_str().unwrap().to_owned();
            let fields = fields.keys().filter(|name| *name != "event");
            there.insert(name, fields.cloned().collect());
        }
        assert!(there.len() > 15, "{there:?}");
        let of_the_lifecycle = [
            "building",
            "probed",
            "published",
            "draining",
            "drain_abandoned",
            "retired",
            "rolled_back",
            "activation_failed",
            "warned",
            "reconfigured",
            "activity_changed",
            "drained",
            "decided",
            "instance_paused",
            "instance_resumed",
            "handed_over",
        ];
        let mut documented = rows();
        for name in of_the_lifecycle {
            assert!(documented.remove(name).is_some(), "{name}");
        }
        assert_eq!(documented, there);
    }
}
