//! Whatever cannot work is told under the key that it has in a settings file, so that who reads it finds it there.
//! Each number of each kind of settings is set to what cannot be, so a new setting is tried by itself.

use std::time::Duration;

use oneiric_resilience::{
    AimdConfig, Backoff, BackoffConfig, Breaker, BreakerConfig, BreakerWindow, Bulkhead,
    BulkheadConfig, Fault, InvalidConfig, KeyOverflow, KeyedBuckets, KeyedBucketsConfig, Policy,
    PolicyConfig, Retry, RetryBudget, RetryBudgetConfig, RetryConfig, Stage, TokenBucket,
    TokenBucketConfig,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn retry() -> RetryConfig {
    RetryConfig {
        attempts: 3,
        backoff: BackoffConfig::default(),
        total_limit: Some(SECOND),
        attempt_limit: Some(SECOND / 2),
        max_retry_after: SECOND,
        budget: Some(RetryBudgetConfig::default()),
    }
}

fn breaker(window: BreakerWindow) -> BreakerConfig {
    let consecutive = matches!(window, BreakerWindow::Consecutive(_));
    BreakerConfig {
        window,
        slow_call: (!consecutive).then_some(SECOND / 4),
        ..BreakerConfig::default()
    }
}

fn bulkhead() -> BulkheadConfig {
    BulkheadConfig {
        limit: 10,
        max_waiters: 10,
        adaptive: Some(AimdConfig {
            latency_above: Some(SECOND),
            ..AimdConfig::default()
        }),
        shed: true,
    }
}

pub(crate) fn policy(window: BreakerWindow) -> PolicyConfig {
    PolicyConfig {
        deadline: Some(SECOND),
        retry: Some(RetryConfig {
            attempt_limit: None,
            ..retry()
        }),
        retry_rejected: true,
        breaker: Some(breaker(window)),
        bucket: Some(TokenBucketConfig::default()),
        bucket_wait: SECOND,
        bulkhead: Some(bulkhead()),
        bulkhead_wait: SECOND,
        attempt_limit: Some(SECOND / 2),
        order: Some(Stage::ALL[1..].to_vec()),
    }
}

fn windows() -> [BreakerWindow; 3] {
    let time = BreakerWindow::Time {
        length: SECOND,
        buckets: 10,
    };
    [
        BreakerWindow::Calls(50),
        time,
        BreakerWindow::Consecutive(5),
    ]
}

#[test]
fn every_kind_of_settings_names_its_keys() {
    walk(&BackoffConfig::default(), Backoff::new, "");
    walk(&RetryBudgetConfig::default(), RetryBudget::new, "");
    walk(&retry(), Retry::new, "");
    walk(&TokenBucketConfig::default(), TokenBucket::new, "");
    let keyed = KeyedBucketsConfig {
        overflow: KeyOverflow::Share,
        ..KeyedBucketsConfig::default()
    };
    walk(&keyed, KeyedBuckets::<str>::new, "");
    walk(&bulkhead(), Bulkhead::new, "");
    for window in windows() {
        let any = match window {
            BreakerWindow::Consecutive(_) => "min_calls",
            BreakerWindow::Calls(_) | BreakerWindow::Time { .. } => "",
        };
        walk(&breaker(window), Breaker::new, any);
        walk(&policy(window), Policy::new, any);
    }
}

#[test]
fn all_of_it_is_named_at_once() {
    for window in windows() {
        let mut wrong = json!(policy(window));
        let paths = numbers(&wrong);
        for path in &paths {
            // The longest waits and counts are all over their bounds, but for these.
            let value = match path.rsplit('.').next() {
                Some("attempts") => json!(0),
                Some(key) if key.ends_with("_ms") => json!(u64::MAX),
                _ => json!(u32::MAX),
            };
            *at(&mut wrong, path).unwrap() = value;
        }
        let config: PolicyConfig = serde_json::from_value(wrong.clone()).unwrap();
        let invalid = Policy::new(config).unwrap_err();
        assert_named(&wrong, &invalid);
        assert!(invalid.faults().len() > 15, "{invalid}");
    }
}

#[test]
fn what_cannot_be_on_a_blocking_thread_is_named_alike() {
    let config = policy(BreakerWindow::Calls(50));
    let written = json!(config);
    let invalid = Policy::new(config).unwrap().blocking().unwrap_err();
    assert_named(&written, &invalid);
    let fields: Vec<&str> = invalid.faults().iter().map(|fault| &*fault.field).collect();
    assert_eq!(
        fields,
        [
            "deadline_ms",
            "attempt_limit_ms",
            "bucket_wait_ms",
            "bulkhead_wait_ms"
        ]
    );
}

/// Sets each number of settings that work to what cannot be. One key may have `any` value.
#[track_caller]
fn walk<C: Serialize + DeserializeOwned, T>(
    works: &C,
    make: impl Fn(C) -> Result<T, InvalidConfig>,
    any: &str,
) {
    let written = serde_json::to_value(works).unwrap();
    let again = serde_json::from_value(written.clone()).unwrap();
    make(again).unwrap_or_else(|invalid| panic!("{invalid}"));
    let paths = numbers(&written);
    assert!(!paths.is_empty());
    for path in paths {
        let mut named = false;
        for wrong in [json!(0), json!(u32::MAX), json!(u64::MAX), json!(-1.0)] {
            let mut changed = written.clone();
            *at(&mut changed, &path).unwrap() = wrong;
            // Not even a number of this kind: it is the reader who names it.
            let Ok(config) = serde_json::from_value(changed) else {
                continue;
            };
            if let Err(invalid) = make(config) {
                assert_named(&written, &invalid);
                // One thing is wrong, so one is told, and not what follows from it.
                assert_eq!(invalid.faults().len(), 1, "{invalid}");
                named |= invalid.faults().iter().any(|fault| fault.field == path);
            }
        }
        let free = path.rsplit('.').next() == Some(any);
        assert!(named != free, "`{path}`: told under its name {named}");
    }
}

/// Each fault is about a key that there is; and so is what it says in words, beside it or from the top.
#[track_caller]
fn assert_named(written: &Value, invalid: &InvalidConfig) {
    for fault @ Fault { field, allowed, .. } in invalid.faults() {
        let mut written = written.clone();
        assert!(at(&mut written, field).is_some(), "{fault}");
        let beside = field.rsplit_once('.').map_or("", |(parent, _)| parent);
        for word in allowed.split('`').skip(1).step_by(2) {
            let near = format!("{beside}.{word}");
            let there = [near.trim_start_matches('.'), word]
                .iter()
                .any(|path| at(&mut written, path).is_some());
            assert!(there, "`{word}` is no key: {fault}");
        }
    }
}

/// The paths of all numbers.
fn numbers(value: &Value) -> Vec<String> {
    match value {
        Value::Number(_) => vec![String::new()],
        Value::Object(keys) => keys
            .iter()
            .flat_map(|(key, value)| {
                let deeper = numbers(value).into_iter();
                deeper.map(move |path| match path.as_str() {
                    "" => key.clone(),
                    path => format!("{key}.{path}"),
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The value with this path: `a.b[0]`.
pub(crate) fn at<'v>(value: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    let pointer = path.replace(['.', '['], "/").replace(']', "");
    value.pointer_mut(&format!("/{pointer}"))
}
