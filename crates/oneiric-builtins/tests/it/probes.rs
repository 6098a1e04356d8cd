//! Each component has a probe, and each probe does some of the real work: it says yes when that works
//! and no, with the reason, when it does not.

use std::sync::Arc;

use oneiric_builtins::{
    FILE_CACHE, FLAKY_CACHE, FileCacheSettings, MEMORY_CACHE, MemoryCache, MemoryCacheSettings,
    SYSTEM_CLOCK, SystemClock, SystemClockSettings,
};
use oneiric_core::Provider;
use oneiric_lifecycle::{Health, Lifecycle, Probe};
use serde_json::{Value, json};

use crate::support::{ManualClock, lifecycle, open, slot};

#[tokio::test]
async fn every_component_is_well_when_nothing_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    for (factory, settings) in [
        (MEMORY_CACHE, Value::Null),
        (FILE_CACHE, json!({"directory": directory.path()})),
        (SYSTEM_CLOCK, Value::Null),
        (FLAKY_CACHE, Value::Null),
    ] {
        let lifecycle: Lifecycle = lifecycle(&[("only", factory, settings)]).build();
        lifecycle.activate(&slot()).await.unwrap();
        let report = lifecycle.probe(&slot()).await.unwrap();
        assert_eq!(report.health, Some(Health::Ok), "{factory}");
    }
}

#[tokio::test]
async fn a_memory_cache_can_be_asked_directly() {
    assert_eq!(
        MemoryCache::new(&MemoryCacheSettings::default())
            .probe()
            .await,
        Health::Ok
    );
    let clock = SystemClock::new(&SystemClockSettings::default(), ManualClock::new());
    assert_eq!(clock.probe().await, Health::Ok);
}

async fn health_after(break_it: impl FnOnce(&std::path::Path)) -> Health {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let cache = open(&FileCacheSettings::new(&directory), &ManualClock::new());
    assert_eq!(cache.probe().await, Health::Ok);
    break_it(&directory);
    cache.probe().await
}

#[tokio::test]
async fn a_file_cache_whose_directory_is_gone_is_critical() {
    let health = health_after(|directory| std::fs::remove_dir_all(directory).unwrap()).await;
    let Health::Critical(reason) = &health else {
        panic!("{health}")
    };
    assert!(reason.message().contains("No such file"), "{reason}");
    assert!(
        reason.message().contains("cache"),
        "the operator is told which directory: {reason}"
    );
}

#[tokio::test]
async fn a_file_cache_whose_directory_became_a_file_is_critical() {
    let health = health_after(|directory| {
        std::fs::remove_dir_all(directory).unwrap();
        std::fs::File::create(directory).unwrap();
    });
    assert_eq!(health.await.name(), "critical");
}

/// Rights do not stop the superuser, so this one shows something only for everybody else.
#[cfg(unix)]
#[tokio::test]
async fn a_file_cache_whose_directory_is_read_only_is_critical() {
    use std::os::unix::fs::PermissionsExt;

    let mut may_write_all_the_same = false;
    let health = health_after(|directory| {
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o500)).unwrap();
        may_write_all_the_same = std::fs::File::create(directory.join("superuser")).is_ok();
    });
    let health = health.await;
    assert_eq!(
        health.name(),
        if may_write_all_the_same {
            "ok"
        } else {
            "critical"
        }
    );
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(
        &FileCacheSettings::new(directory.path()),
        &ManualClock::new(),
    );
    assert_eq!(cache.probe().await, Health::Ok);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_broken_directory_is_noticed_by_the_lifecycle_too() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cache");
    let lifecycle = lifecycle(&[("file", FILE_CACHE, json!({"directory": directory}))]).build();
    lifecycle.activate(&slot()).await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let report = lifecycle.probe(&slot()).await.unwrap();
    assert_eq!(report.provider, Provider::new("file").unwrap());
    assert_eq!(report.health.unwrap().name(), "critical");
    let _keeps_the_parent: Arc<_> = Arc::new(parent);
}
