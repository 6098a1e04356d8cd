//! A live reference as the facet itself: it follows swaps, counts calls and keeps panics in.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use oneiric_core::{Coded, Slot};
use oneiric_domains::{Cache, cache_instance, cache_proxy, proxies};
use oneiric_lifecycle::{ActivityRule, Instance, Lifecycle, Limits, Outcome, SwapRequest};

use crate::support::{Map, Sandboxed, Wrong, lifecycle};

fn slot() -> Slot {
    "adapter/cache".parse().unwrap()
}

fn map() -> Instance {
    cache_instance(Arc::new(Map::default()))
}

fn sandboxed() -> Instance {
    Instance::new(Arc::new(Sandboxed::new()))
}

async fn swap(lifecycle: &Lifecycle, provider: &str) -> Outcome {
    let request = SwapRequest::to_provider(slot(), provider.parse().unwrap());
    lifecycle.swap(request).await.unwrap().outcome
}

fn live(lifecycle: &Lifecycle) -> Arc<dyn Cache> {
    Arc::new(lifecycle.live::<dyn Cache>(&slot()))
}

#[tokio::test]
async fn a_consumer_follows_a_swap_to_a_component_that_only_knows_names() {
    let native: crate::support::Make = map;
    let lifecycle = lifecycle(&[
        ("adapter/cache", "native", native),
        ("adapter/cache", "sandboxed", sandboxed),
    ]);
    let lifecycle = lifecycle.proxy(cache_proxy()).build();
    let cache = live(&lifecycle);
    cache
        .put("a", Bytes::from_static(b"native"), None)
        .await
        .unwrap();
    assert!(matches!(
        swap(&lifecycle, "sandboxed").await,
        Outcome::Swapped
    ));
    assert_eq!(cache.get("a").await.unwrap(), None);
    let bytes = Bytes::from_static(&[0, 0xff, 0xfe]);
    cache.put("a", bytes.clone(), None).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(bytes));
    assert!(cache.delete("a").await.unwrap());
}

#[tokio::test]
async fn without_the_proxy_such_a_swap_is_rolled_back_for_those_who_hold_the_facet() {
    let native: crate::support::Make = map;
    let lifecycle = lifecycle(&[
        ("adapter/cache", "native", native),
        ("adapter/cache", "sandboxed", sandboxed),
    ])
    .build();
    let cache = live(&lifecycle);
    cache
        .put("a", Bytes::from_static(b"1"), None)
        .await
        .unwrap();
    assert!(matches!(
        swap(&lifecycle, "sandboxed").await,
        Outcome::RolledBack { .. }
    ));
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn what_went_wrong_is_counted_and_a_panic_is_one_calls_error() {
    for (make, code) in [
        (
            (|| cache_instance(Arc::new(Wrong::Failing))) as crate::support::Make,
            "lifecycle.call_failed",
        ),
        (
            || cache_instance(Arc::new(Wrong::Panicking)),
            "lifecycle.panicked",
        ),
    ] {
        let lifecycle = lifecycle(&[("adapter/cache", "wrong", make)]).build();
        let cache = live(&lifecycle);
        assert_eq!(cache.get("a").await.unwrap_err().code(), code);
        assert_eq!(cache.delete("a").await.unwrap_err().code(), code);
        let status = serde_json::to_value(lifecycle.status(&slot()).unwrap()).unwrap();
        assert_eq!(status["calls"]["failed"], 2, "{status}");
    }
}

#[tokio::test]
async fn a_slot_that_cannot_be_called_says_why_with_its_code() {
    let native: crate::support::Make = map;
    let lifecycle = lifecycle(&[("adapter/cache", "native", native)]).build();
    let cache = live(&lifecycle);
    lifecycle
        .set_activity(
            ActivityRule::pause(slot())
                .note("upgrade")
                .since(UNIX_EPOCH),
        )
        .unwrap();
    let error = cache.get("a").await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.busy");
    assert!(
        error
            .to_string()
            .contains("adapter/cache is paused since 1970-01-01T00:00:00Z: upgrade"),
        "{error}"
    );

    lifecycle
        .set_activity(ActivityRule::resume(slot()))
        .unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);

    let nobodys: Arc<dyn Cache> =
        Arc::new(lifecycle.live::<dyn Cache>(&"adapter/nobody".parse().unwrap()));
    let error = nobodys.get("a").await.unwrap_err();
    assert_eq!(error.code(), "core.no_candidate");
}

#[tokio::test]
async fn a_callers_own_mistake_is_not_held_against_the_component() {
    let refusing: crate::support::Make = || cache_instance(Arc::new(Wrong::Refusing));
    let lifecycle = lifecycle(&[("adapter/cache", "refusing", refusing)]).build();
    let error = live(&lifecycle).get("").await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.invalid_payload");
    let status = serde_json::to_value(lifecycle.status(&slot()).unwrap()).unwrap();
    assert_eq!(status["calls"]["failed"], 0, "{status}");
}

#[tokio::test]
async fn a_call_that_hangs_is_freed_when_its_instance_is_retired() {
    let hanging: crate::support::Make = || cache_instance(Arc::new(Wrong::Hanging));
    let mut limits = Limits::default();
    limits.drain = Duration::from_millis(1);
    let lifecycle = lifecycle(&[
        ("adapter/cache", "hanging", hanging),
        ("adapter/cache", "native", map),
    ]);
    let lifecycle = lifecycle.limits(limits).build();
    lifecycle.activate(&slot()).await.unwrap();
    let cache = live(&lifecycle);
    let (freed, swapped) = tokio::join!(cache.get("a"), swap(&lifecycle, "native"));
    assert_eq!(freed.unwrap_err().code(), "lifecycle.retired");
    assert!(matches!(swapped, Outcome::Swapped), "{swapped:?}");
    assert_eq!(cache.get("a").await.unwrap(), None);
}

#[test]
fn there_is_a_proxy_for_every_facet() {
    let all = format!("{:?}", proxies());
    for facet in ["dyn Cache", "dyn Clock"] {
        assert!(all.contains(facet), "{all}");
    }
}
