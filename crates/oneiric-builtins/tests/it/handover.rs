//! Caches that hand their entries over when they are exchanged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_builtins::{FILE_CACHE, MEMORY_CACHE};
use oneiric_domains::{Adapters, Cache};
use oneiric_lifecycle::{
    HandoverMode, Lifecycle, Outcome, PolicyEntry, PolicyScope, SlotPolicies, SwapReport,
    SwapRequest,
};
use serde_json::{Value, json};

use crate::support::{lifecycle, slot};

/// Two of each kind; the files of one of them lie where those of `file` do.
fn caches(directory: &Path) -> (Lifecycle, Arc<dyn Cache>) {
    let (here, there) = (directory.join("here"), directory.join("there"));
    let lifecycle = lifecycle(&[
        ("memory", MEMORY_CACHE, Value::Null),
        (
            "small",
            MEMORY_CACHE,
            json!({"max_entries": 2, "max_bytes": 40}),
        ),
        ("file", FILE_CACHE, json!({"directory": &here})),
        ("again", FILE_CACHE, json!({"directory": here})),
        ("there", FILE_CACHE, json!({"directory": there})),
    ])
    .build();
    let mut entry = PolicyEntry::default();
    entry.handover = Some(HandoverMode::Abort);
    // Far beyond any disk's slowness.
    entry.handover_block_ms = Some(60_000);
    let policies = SlotPolicies::new().with(PolicyScope::All, entry);
    lifecycle.set_slot_policies(policies);
    let adapters = Adapters::new(lifecycle.clone());
    let cache = Arc::new(adapters.live::<dyn Cache>(slot().key()));
    (lifecycle, cache)
}

async fn swap(lifecycle: &Lifecycle, to: &str) -> SwapReport {
    let request = SwapRequest::to_provider(slot(), to.parse().unwrap());
    let report = lifecycle.swap(request).await.unwrap();
    assert!(
        matches!(report.outcome, Outcome::Swapped),
        "{to}: {report:?}"
    );
    assert!(
        report.handover.as_ref().unwrap().handed_over,
        "{to}: {report:?}"
    );
    report
}

async fn put(cache: &dyn Cache, key: &str, value: &str, ttl: Option<Duration>) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    cache.put(key, value, ttl).await.unwrap();
}

async fn got(cache: &dyn Cache, key: &str) -> Option<String> {
    let value = cache.get(key).await.unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test]
async fn entries_go_wherever_their_cache_goes() {
    let directory = tempfile::tempdir().unwrap();
    let (lifecycle, cache) = caches(directory.path());
    lifecycle.activate(&slot()).await.unwrap();
    let hour = Some(Duration::from_secs(3_600));
    put(&*cache, "kept", "value", None).await;
    put(&*cache, "for an hour", "value", hour).await;
    put(&*cache, "empty", "", None).await;
    put(&*cache, "gone", "value", Some(Duration::ZERO)).await;
    let large = "x".repeat(1 << 20);
    put(&*cache, "large", &large, None).await;
    put(&*cache, "was", "deleted", None).await;
    cache.delete("was").await.unwrap();
    // What was deleted since it was handed over for the first time must not come back from a directory.
    for to in ["file", "there", "memory", "file", "again", "memory"] {
        swap(&lifecycle, to).await;
        for key in ["kept", "for an hour"] {
            assert_eq!(
                got(&*cache, key).await.as_deref(),
                Some("value"),
                "{key} in {to}"
            );
        }
        assert_eq!(got(&*cache, "empty").await.as_deref(), Some(""), "{to}");
        assert_eq!(
            got(&*cache, "large").await.as_deref(),
            Some(&*large),
            "{to}"
        );
        assert_eq!(got(&*cache, "gone").await, None, "{to}");
        assert_eq!(got(&*cache, "was").await, None, "{to}");
        if to == "there" {
            put(&*cache, "was", "there", None).await;
            cache.delete("was").await.unwrap();
        }
        if to == "file" {
            put(&*cache, "in files only", to, None).await;
        }
        if to == "memory" {
            assert!(cache.delete("in files only").await.unwrap());
        }
        if to == "there" {
            assert_eq!(got(&*cache, "in files only").await.as_deref(), Some("file"));
        }
    }
}

#[tokio::test]
async fn over_the_same_directory_nothing_travels() {
    let directory = tempfile::tempdir().unwrap();
    let (lifecycle, cache) = caches(directory.path());
    swap_first(&lifecycle, "file").await;
    put(&*cache, "key", "value", None).await;
    let report = swap(&lifecycle, "again").await;
    let handover = report.handover.unwrap();
    assert_eq!(handover.bytes, Some(0));
    assert!(
        handover
            .format
            .unwrap()
            .starts_with("oneiric.cache-directory/1:")
    );
    assert_eq!(got(&*cache, "key").await.as_deref(), Some("value"));
}

async fn swap_first(lifecycle: &Lifecycle, to: &str) {
    let request = SwapRequest::to_provider(slot(), to.parse().unwrap());
    lifecycle.swap(request).await.unwrap();
}

#[tokio::test]
async fn what_a_smaller_cache_has_no_place_for_goes_used_longest_ago_first() {
    let directory = tempfile::tempdir().unwrap();
    let (lifecycle, cache) = caches(directory.path());
    swap_first(&lifecycle, "memory").await;
    put(&*cache, "huge", &"x".repeat(100), None).await;
    for key in ["a", "b", "c"] {
        put(&*cache, key, "value", None).await;
    }
    assert!(got(&*cache, "a").await.is_some());
    swap(&lifecycle, "small").await;
    assert_eq!(got(&*cache, "huge").await, None);
    assert_eq!(got(&*cache, "b").await, None);
    for key in ["a", "c"] {
        assert_eq!(got(&*cache, key).await.as_deref(), Some("value"), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (lifecycle, cache) = caches(directory.path());
    swap_first(&lifecycle, "memory").await;
    put(&*cache, "key", "value", Some(Duration::from_secs(60))).await;
    tokio::time::advance(Duration::from_secs(40)).await;
    swap(&lifecycle, "small").await;
    tokio::time::advance(Duration::from_secs(19)).await;
    assert!(got(&*cache, "key").await.is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(got(&*cache, "key").await, None);
}
