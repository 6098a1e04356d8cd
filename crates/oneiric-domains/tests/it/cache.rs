//! The cache facet through its operations, and back through its proxy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::Coded;
use oneiric_domains::{Cache, CacheInvoke, CacheProxy};
use oneiric_lifecycle::{Invoke, Payload};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Map, Wrong};

async fn call(cache: &CacheInvoke<Map>, operation: &str, input: Value) -> Result<Value, String> {
    match cache.invoke(operation, input.into()).await {
        Ok(Payload::Json(value)) => Ok(value),
        Ok(other) => panic!("{other:?} is no JSON"),
        Err(error) => Err(format!("{}: {error}", error.code())),
    }
}

#[tokio::test]
async fn what_a_person_types_works() {
    let map = Arc::new(Map::default());
    let cache = CacheInvoke::new(Arc::clone(&map));
    let steps = [
        ("get", json!("a"), json!(null)),
        (
            "put",
            json!({"key": "a", "value": "1", "ttl_ms": 1000}),
            json!(null),
        ),
        ("get", json!("a"), json!("1")),
        ("get", json!({"key": "a"}), json!("1")),
        (
            "put",
            json!({"key": "b", "value": {"base64": "/wA="}}),
            json!(null),
        ),
        ("get", json!("b"), json!({"base64": "/wA="})),
        ("delete", json!("a"), json!(true)),
        ("delete", json!({"key": "a"}), json!(false)),
    ];
    for (operation, input, answer) in steps {
        assert_eq!(
            call(&cache, operation, input.clone()).await,
            Ok(answer),
            "{operation} {input}"
        );
    }
}

#[tokio::test]
async fn every_summarys_example_is_one_that_works() {
    let cache = CacheInvoke::new(Arc::new(Map::default()));
    for operation in cache.operations() {
        let example = operation.summary.split(" -> ").next().unwrap();
        let input: Value = serde_json::from_str(example).unwrap();
        call(&cache, &operation.name, input).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_input_says_what_is_wrong_and_changes_nothing() {
    let map = Arc::new(Map::default());
    let cache = CacheInvoke::new(Arc::clone(&map));
    for (operation, input, reason) in [
        ("get", json!(null), "expected a key"),
        ("put", json!({"key": "a"}), "missing field `value`"),
        (
            "put",
            json!({"key": "a", "value": 1}),
            "expected a text, or",
        ),
        (
            "put",
            json!({"key": "a", "value": "1", "ttl": 5}),
            "unknown field `ttl`",
        ),
        (
            "put",
            json!({"key": "a", "value": "1", "ttl_ms": -5}),
            "whole number of milliseconds",
        ),
        ("put", json!("a"), "struct PutInput"),
        ("delete", json!(["a"]), "expected a key"),
    ] {
        let error = call(&cache, operation, input).await.unwrap_err();
        assert!(error.starts_with("lifecycle.invalid_payload: "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let error = call(&cache, "clear", json!(null)).await.unwrap_err();
    assert_eq!(
        error,
        "lifecycle.unknown_operation: no operation named 'clear'; it answers get, put, delete"
    );
    assert!(map.entries.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_time_to_live_arrives_behind_the_proxy_rounded_up() {
    let map = Arc::new(Map::default());
    let proxy = CacheProxy::new(Arc::new(CacheInvoke::new(Arc::clone(&map))));
    for (given, kept) in [
        (None, None),
        (Some(Duration::ZERO), Some(Duration::ZERO)),
        (
            Some(Duration::from_micros(1_500)),
            Some(Duration::from_millis(2)),
        ),
        (Some(Duration::MAX), Some(Duration::from_millis(u64::MAX))),
    ] {
        proxy.put("k", Bytes::new(), given).await.unwrap();
        assert_eq!(map.entries.lock().unwrap()["k"].1, kept);
    }
}

#[tokio::test]
async fn a_proxy_hands_on_the_components_error() {
    let proxy = CacheProxy::new(Arc::new(CacheInvoke::new(Arc::new(Wrong::Failing))));
    let error = proxy.get("a").await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("lifecycle.call_failed", "it broke")
    );
}

#[derive(Debug, Clone)]
enum Step {
    Get(String),
    Put(String, Vec<u8>),
    Delete(String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop_oneof!["[ab]", ".{0,6}"];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        ".{0,20}".prop_map(String::into_bytes),
        Just(br#"{"base64": "AA=="}"#.to_vec()),
        Just(b"null".to_vec()),
    ];
    let step = prop_oneof![
        key().prop_map(Step::Get),
        (key(), value).prop_map(|(key, value)| Step::Put(key, value)),
        key().prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 0..30)
}

proptest! {
    /// Facet -> operations -> proxy -> facet: nothing is lost on the way, whatever the bytes.
    #[test]
    fn a_proxy_is_the_cache_behind_it(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = CacheProxy::new(Arc::new(CacheInvoke::new(Arc::new(Map::default()))));
            let mut model: HashMap<String, Vec<u8>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Get(key) => {
                        let found = cache.get(&key).await.unwrap();
                        prop_assert_eq!(found.as_deref(), model.get(&key).map(Vec::as_slice));
                    }
                    Step::Put(key, value) => {
                        cache.put(&key, value.clone().into(), None).await.unwrap();
                        model.insert(key, value);
                    }
                    Step::Delete(key) => {
                        let deleted = cache.delete(&key).await.unwrap();
                        prop_assert_eq!(deleted, model.remove(&key).is_some());
                    }
                }
            }
            Ok(())
        })?;
    }
}
