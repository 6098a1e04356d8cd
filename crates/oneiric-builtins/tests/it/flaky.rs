//! The flaky cache misbehaves exactly as told.

use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{FLAKY_CACHE, FlakyCache, FlakyCacheSettings};
use oneiric_core::Coded;
use oneiric_domains::Cache;
use oneiric_lifecycle::{Health, Limits, Payload, Probe, Retire};
use serde_json::{Value, json};

use crate::support::{lifecycle, slot};

async fn flaky(settings: Value) -> FlakyCache {
    let settings: FlakyCacheSettings = serde_json::from_value(settings).unwrap();
    FlakyCache::build(settings).await.unwrap()
}

#[tokio::test]
async fn with_no_settings_it_is_a_cache() {
    let cache = flaky(json!({})).await;
    cache
        .put("a", Bytes::from_static(b"1"), None)
        .await
        .unwrap();
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "1");
    assert!(cache.delete("a").await.unwrap());
    assert_eq!(cache.probe().await, Health::Ok);
    cache.retire().await.unwrap();
}

#[tokio::test]
async fn told_to_fail_it_fails_every_call() {
    let cache = flaky(json!({"call": "fail"})).await;
    for _ in 0..3 {
        assert_eq!(
            cache.get("a").await.unwrap_err().code(),
            "lifecycle.call_failed"
        );
    }
    assert!(cache.put("a", Bytes::new(), None).await.is_err());
    assert!(cache.delete("a").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn told_to_be_slow_it_takes_its_delay_and_then_answers() {
    let cache = flaky(json!({"call": "slow", "delay_ms": 250})).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert_eq!(begun.elapsed(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn told_to_hang_it_never_answers() {
    let cache = flaky(json!({"call": "hang", "probe": "hang", "retire": "hang"})).await;
    let patience = Duration::from_secs(86_400);
    assert!(
        tokio::time::timeout(patience, cache.get("a"))
            .await
            .is_err()
    );
    assert!(tokio::time::timeout(patience, cache.probe()).await.is_err());
    assert!(
        tokio::time::timeout(patience, cache.retire())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn it_answers_probes_as_told() {
    for (answer, name) in [("ok", "ok"), ("warn", "warn"), ("critical", "critical")] {
        assert_eq!(
            flaky(json!({"probe": answer})).await.probe().await.name(),
            name
        );
    }
}

#[tokio::test]
async fn a_panic_in_a_call_is_that_calls_error() {
    let lifecycle = lifecycle(&[("flaky", FLAKY_CACHE, json!({"call": "panic"}))]).build();
    let lease = lifecycle.lease(&slot()).await.unwrap();
    let error = lease
        .invoke("get", Payload::json(&"a").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.panicked");
    assert!(
        error.to_string().contains("told to fail by its settings"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_told_to_fail_at_start_never_serves() {
    for (settings, code) in [
        (json!({"build": "fail"}), "lifecycle.build_failed"),
        (json!({"build": "panic"}), "lifecycle.panicked"),
        (json!({"probe": "critical"}), "lifecycle.probe_failed"),
        (json!({"probe": "panic"}), "lifecycle.probe_error"),
    ] {
        let lifecycle = lifecycle(&[("flaky", FLAKY_CACHE, settings.clone())]).build();
        let error = lifecycle.activate(&slot()).await.unwrap_err();
        assert_eq!(error.code(), code, "{settings}");
    }
}

#[tokio::test]
async fn a_build_that_hangs_is_given_up() {
    let mut limits = Limits::default();
    limits.activation = Duration::from_millis(1);
    let hanging = lifecycle(&[("flaky", FLAKY_CACHE, json!({"build": "hang"}))]);
    let error = hanging
        .limits(limits)
        .build()
        .activate(&slot())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.timed_out");
}
