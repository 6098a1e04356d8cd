//! How slots are looked after, as settings say it: what is refused, who said what holds, and what a reload does with it.

use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{Difference, OnFailure, Rebind, SlotPolicy};
use oneiric_runtime::{
    Settings, SettingsSource, Sources,
    api::{ConfigExplainDoc, ReloadOutcome, SwapRequestDoc},
};
use serde_json::{Value, json};

use crate::support::{CAST, Scene, slot, soon};

#[test]
fn every_fault_of_a_policy_is_told_at_once_with_its_line_and_key() {
    let text = "\
[slots.\"adapter/cache\"]
health_bad = 0
bake_error_percent = 101
bake_ms = -1
on_failure = 'fail_ovr'
rebind = true
handover_max_bytes = 1099511627776
helth_good = 1
[slots.adapter]
health_bad = 2
[slots.\"adapter/cache:redis\"]
[slots]
\"service/*\" = 'x'
";
    let error = Settings::parse(text, "o.toml").unwrap_err();
    assert_eq!(error.code(), "runtime.settings_invalid");
    let said = error.to_string();
    for fault in [
        "o.toml:2:14: slots.\"adapter/cache\".health_bad: expected 1 to 1000, found 0",
        "o.toml:3:22: slots.\"adapter/cache\".bake_error_percent: expected 0 to 100 percent, found 101",
        "o.toml:4:11: slots.\"adapter/cache\".bake_ms: expected 0 to 86400000 milliseconds, found -1",
        "o.toml:5:14: slots.\"adapter/cache\".on_failure: expected one of 'report', 'restart', 'fail_over', \
         'restart_then_fail_over', found 'fail_ovr'; did you mean 'fail_over'?",
        "o.toml:6:10: slots.\"adapter/cache\".rebind: expected a string, found a boolean",
        "o.toml:7:22: slots.\"adapter/cache\".handover_max_bytes: expected 1 to 1073741824 bytes, found 1099511627776",
        "o.toml:8:1: slots.\"adapter/cache\".helth_good: unknown key; did you mean 'health_good'?",
        "o.toml:9:8: slots.adapter: invalid scope \"adapter\": expected a slot",
        "o.toml:11:8: slots.\"adapter/cache:redis\": invalid scope \"adapter/cache:redis\": expected a slot",
        "o.toml:13:15: slots.\"service/*\": expected a table, found a string",
    ] {
        assert!(said.contains(fault), "{fault}\n{said}");
    }
    assert_eq!(error.faults().len(), 10, "{said}");
}

/// A machine's file, one beside the program, a variable and an option.
fn layered() -> Settings {
    Sources::new()
        .text(
            "below.toml",
            "[slots.'*']\nhealth_bad = 5\nbake_ms = 1000\n[slots.'adapter/cache']\nhealth_bad = 4\n",
        )
        .text(
            "above.toml",
            "[slots]\n'adapter/*' = { bake_ms = 2000, on_failure = 'fail_over' }\n'adapter/cache' = { health_good = 1 }",
        )
        .variables([("ONEIRIC_SLOTS__ADAPTER__CACHE__HEALTH_BAD", "3")])
        .flag("slots.*.rebind=greedy")
        .load()
        .unwrap()
}

/// A value, who says it, and under which key if it is another one.
type Layer<'d> = (Value, String, Option<&'d str>);

/// The value that holds, and everybody who says one.
fn told(doc: &ConfigExplainDoc) -> (Value, Vec<Layer<'_>>) {
    let layers = doc.layers.iter().map(|layer| {
        let by = layer.set_by.name.as_deref();
        let by = by.unwrap_or(&layer.set_by.layer);
        let file = by.rsplit('/').next().unwrap_or(by);
        (layer.value.clone(), file.to_owned(), layer.key.as_deref())
    });
    (doc.value.clone().unwrap_or_default(), layers.collect())
}

#[test]
fn layers_merge_key_by_key_and_explain_says_for_which_scope_what_holds_was_said() {
    let settings = layered();
    let cache = settings.slot_policies.of(&slot("adapter/cache"));
    assert_eq!((cache.health.bad.get(), cache.health.good.get()), (3, 1));
    assert_eq!(cache.bake.time, Duration::from_secs(2));
    assert_eq!(cache.failure.action, OnFailure::FailOver);
    assert_eq!(cache.rebind.when, Rebind::Greedy);
    let web = settings.slot_policies.of(&slot("service/web"));
    assert_eq!(
        (web.health.bad.get(), web.failure.action),
        (5, OnFailure::Report)
    );

    let explain = |key: &str| settings.explain(key).unwrap();
    let doc = explain("slots.adapter/cache.health_bad");
    assert_eq!(
        doc.variable.as_deref(),
        Some("ONEIRIC_SLOTS__ADAPTER__CACHE__HEALTH_BAD")
    );
    let all = Some("slots.\"*\".health_bad");
    assert_eq!(
        told(&doc),
        (
            json!(3),
            vec![
                (
                    json!(3),
                    "ONEIRIC_SLOTS__ADAPTER__CACHE__HEALTH_BAD".into(),
                    None
                ),
                (json!(4), "below.toml".into(), None),
                (json!(5), "below.toml".into(), all),
                (json!(3), "default".into(), None),
            ]
        )
    );
    let doc = explain("slots.\"adapter/other\".bake_ms");
    assert_eq!(
        (doc.unit.as_deref(), doc.default.as_str()),
        (Some("milliseconds"), "0")
    );
    let domain = Some("slots.\"adapter/*\".bake_ms");
    let (holds, layers) = told(&doc);
    assert_eq!((holds, layers.len()), (json!(2000), 3));
    assert_eq!(layers[0], (json!(2000), "above.toml".into(), domain));
    assert!(doc.reload);
    // What nobody says is what the lifecycle does by itself.
    let doc = explain("slots.*.handover");
    let (holds, layers) = told(&doc);
    assert_eq!((holds, layers.len()), (json!("off"), 1));
}

#[test]
fn a_policy_that_the_program_states_is_said_to_be_the_programs() {
    let mut settings = layered();
    settings.slot_policies = Settings::parse("[slots.'*']\nhealth_bad = 9", "x.toml")
        .unwrap()
        .slot_policies;
    let doc = settings.explain("slots.adapter/cache.health_bad").unwrap();
    let (holds, layers) = told(&doc);
    assert_eq!(holds, json!(9));
    let said: Vec<&str> = layers.iter().map(|(_, by, _)| by.as_str()).collect();
    assert_eq!(said, ["program", "below.toml", "default"]);
}

#[test]
fn a_scope_that_is_none_is_no_key_and_one_that_nobody_serves_is_a_warning() {
    let error = Settings::default()
        .explain("slots.adapter.health_bad")
        .unwrap_err();
    assert_eq!(error.code(), "runtime.settings_key_unknown");
    assert!(
        error.help().unwrap().contains("invalid scope \"adapter\""),
        "{error:?}"
    );
    let error = Settings::default()
        .explain("slots.adapter/cache.helth_bad")
        .unwrap_err();
    assert!(error.help().unwrap().contains("health_bad"), "{error:?}");

    let text =
        format!("{CAST}\n[slots.'adapter/cahce']\nhealth_bad = 2\n[slots.'queue/*']\n[slots.'*']");
    let warnings = Settings::parse(&text, "o.toml").unwrap().warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].key, "slots.\"adapter/cahce\"");
    assert!(
        warnings[0].to_string().contains("adapter/cache"),
        "{}",
        warnings[0]
    );
}

#[test]
fn text_gets_the_type_of_the_key() {
    let sources = Sources::new()
        .variables([("ONEIRIC_SLOTS__ADAPTER__CACHE__FAIL_BACK", "true")])
        .value(
            SettingsSource::Flag("--set".into()),
            "slots.adapter/*.fail_back_after_ms",
            "5",
        );
    let policies = sources.load().unwrap().slot_policies;
    let cache = policies.of(&slot("adapter/cache")).failure.fail_back_after;
    assert_eq!(cache, Some(Duration::from_millis(5)));
    let refused = Sources::new().variables([("ONEIRIC_SLOTS__ADAPTER__CACHE__HEALTH_BAD", "two")]);
    let said = refused.load().unwrap_err().to_string();
    assert!(
        said.contains("expected a whole number, found \"two\""),
        "{said}"
    );
}

/// The cast with something besides.
fn cast(scene: &Scene, more: &str) -> Settings {
    let mut settings = Settings::parse(&format!("{CAST}\n{more}"), "oneiric.toml").unwrap();
    settings.state_dir = scene.runtime.settings().state_dir.clone();
    settings
}

#[tokio::test]
async fn a_reload_of_policies_puts_them_in_force_and_exchanges_nothing() {
    let scene = Scene::start(CAST).await;
    let lifecycle = scene.runtime.lifecycle().clone();
    let cache = slot("adapter/cache");
    assert_eq!(lifecycle.slot_policy(&cache), SlotPolicy::default());
    let more = "[slots.'adapter/*']\non_failure = 'fail_over'\nhealth_bad = 2\n[lifecycle]\nprobes_at_once = 9";
    let doc = soon(scene.runtime.reload_to(cast(&scene, more), "test"))
        .await
        .unwrap();
    assert_eq!(
        (&doc.outcome, doc.slots.len()),
        (&ReloadOutcome::Applied, 0)
    );
    let keys: Vec<_> = doc
        .keys
        .iter()
        .map(|change| {
            (
                change.key.as_str(),
                change.before.as_str(),
                change.after.as_str(),
            )
        })
        .collect();
    assert_eq!(
        keys,
        [
            ("lifecycle.probes_at_once", "4", "9"),
            ("slots.\"adapter/*\".health_bad", "not set", "2"),
            ("slots.\"adapter/*\".on_failure", "not set", "fail_over"),
        ]
    );
    assert!(
        doc.keys[1]
            .after_at
            .as_ref()
            .unwrap()
            .starts_with("oneiric.toml:"),
        "{doc:?}"
    );
    assert!(doc.keys.iter().all(|change| change.reloadable));
    let policy = lifecycle.slot_policy(&cache);
    assert_eq!(
        (policy.failure.action, policy.health.bad.get()),
        (OnFailure::FailOver, 2)
    );
    assert_eq!(lifecycle.probes_at_once().get(), 9);
    assert_eq!(scene.stage.events(), ["built first"]);

    // A reload that is undone takes its policies with it.
    scene.stage.fail_from_now_on();
    let worse = more.replace("= 2", "= 7") + "\n[selections]\n'adapter/cache' = 'second'";
    let doc = soon(scene.runtime.reload_to(cast(&scene, &worse), "test"))
        .await
        .unwrap();
    assert!(
        matches!(doc.outcome, ReloadOutcome::Restored { .. }),
        "{doc:?}"
    );
    assert_eq!(lifecycle.slot_policy(&cache).health.bad.get(), 2);
    scene.stop().await;
}

#[tokio::test]
async fn a_manual_slot_is_taken_over_by_nobody_but_an_operator() {
    let scene = Scene::start(CAST).await;
    let cache = slot("adapter/cache");
    let more =
        "[slots.'adapter/cache']\nrebind = 'manual'\n[selections]\n'adapter/cache' = 'second'";
    let doc = soon(scene.runtime.reload_to(cast(&scene, more), "test"))
        .await
        .unwrap();
    assert_eq!(
        (&doc.outcome, doc.slots.len()),
        (&ReloadOutcome::Applied, 0)
    );
    let status = scene.runtime.status(Some(&cache)).unwrap();
    assert_eq!(status.slots[0].differs, Some(Difference::NotApplied));
    let swap = SwapRequestDoc::to_winner(cache.clone());
    soon(scene.runtime.swap(swap, "test")).await.unwrap();
    let serving = scene.runtime.lifecycle().serving(&cache).unwrap();
    assert_eq!(serving.provider().as_str(), "second");
    scene.stop().await;
}
