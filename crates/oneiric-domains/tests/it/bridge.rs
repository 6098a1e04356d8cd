//! The bridges: one domain each, and nothing of the others.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use oneiric_core::{Coded, Key};
use oneiric_domains::{Adapters, Cache, Clock, Services, cache_instance, clock_instance};
use oneiric_lifecycle::{ActivityRule, Instance, Lifecycle, Payload};

use crate::support::{Make, Map, Standing, lifecycle};

fn map() -> Instance {
    cache_instance(Arc::new(Map::default()))
}

fn standing() -> Instance {
    clock_instance(Arc::new(Standing(SystemTime::UNIX_EPOCH)))
}

fn program() -> Lifecycle {
    let map: Make = map;
    lifecycle(&[
        ("adapter/cache", "map", map),
        ("adapter/sessions", "map", map),
        ("service/clock", "standing", standing),
        ("service/cache", "map", map),
    ])
    .build()
}

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_lease_is_typed_and_activates_what_it_leases() {
    let adapters = Adapters::new(program());
    let cache = adapters.lease::<dyn Cache>(&key("cache")).await.unwrap();
    cache
        .put("a", Bytes::from_static(b"1"), None)
        .await
        .unwrap();
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "1");
    let error = adapters
        .lease::<dyn Clock>(&key("cache"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.facet_missing");
}

#[tokio::test]
async fn one_key_in_two_domains_is_two_slots() {
    let lifecycle = program();
    let (adapters, services) = (Adapters::new(lifecycle.clone()), Services::new(lifecycle));
    let cache = key("cache");
    let put = serde_json::json!({"key": "a", "value": "adapter's"});
    adapters.invoke(&cache, "put", put.into()).await.unwrap();
    let found = services
        .invoke(&cache, "get", Payload::json(&"a").unwrap())
        .await
        .unwrap();
    assert_eq!(found, Payload::empty());
    assert_eq!(services.slot(&cache).slot().as_str(), "service/cache");
}

#[tokio::test]
async fn a_list_has_the_domains_slots_and_no_others() {
    let lifecycle = program();
    let names = |statuses: Vec<oneiric_lifecycle::SlotStatus>| {
        let mut names: Vec<_> = statuses
            .iter()
            .map(|status| status.slot.to_string())
            .collect();
        names.sort();
        names
    };
    let adapters = Adapters::new(lifecycle.clone());
    assert_eq!(
        names(adapters.list()),
        ["adapter/cache", "adapter/sessions"]
    );
    assert_eq!(
        names(Services::new(lifecycle).list()),
        ["service/cache", "service/clock"]
    );
}

#[tokio::test]
async fn the_gate_is_the_slots_activity() {
    let lifecycle = program();
    let services = Services::new(lifecycle.clone());
    let clock = key("clock");
    let live = services.live::<dyn Clock>(&clock);
    assert!(Clock::now(&live).await.is_ok());
    lifecycle
        .set_activity(ActivityRule::drain(live.slot()))
        .unwrap();
    let lease = services.lease::<dyn Clock>(&clock).await;
    assert_eq!(lease.unwrap_err().code(), "lifecycle.busy");
    let call = services.invoke(&clock, "now", Payload::empty()).await;
    assert_eq!(call.unwrap_err().code(), "lifecycle.busy");
}

#[tokio::test]
async fn a_name_nobody_registered_is_not_found_and_leaves_nothing_behind() {
    let lifecycle = program();
    let adapters = Adapters::new(lifecycle.clone());
    let call = adapters
        .invoke(&key("nobody"), "get", Payload::empty())
        .await;
    assert_eq!(call.unwrap_err().code(), "core.no_candidate");
    assert_eq!(lifecycle.statuses().len(), 4);
}
