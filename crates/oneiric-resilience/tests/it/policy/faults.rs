//! What cannot work is told at once, by its path, with what is allowed.

use std::time::Duration;

use oneiric_resilience::{
    Breaker, BreakerTransition, Bulkhead, BulkheadConfig, InvalidConfig, Policy, PolicyConfig,
    RetryBudget, RetryBudgetConfig, RetryConfig, Stage, TokenBucket, TokenBucketConfig,
};

use super::{breaker, bucket, bulkhead, ms, nothing, retry};

fn paths(invalid: &InvalidConfig) -> Vec<String> {
    let faults = invalid.faults().iter();
    faults.map(|fault| fault.field.to_string()).collect()
}

#[test]
fn everything_that_is_wrong_is_told_at_once_by_its_path() {
    let mut wrong = PolicyConfig {
        deadline: Some(Duration::ZERO),
        retry: Some(RetryConfig {
            attempts: 0,
            attempt_limit: Some(ms(1)),
            budget: Some(RetryBudgetConfig {
                ratio: f64::NAN,
                ..RetryBudgetConfig::default()
            }),
            ..retry(1).unwrap()
        }),
        breaker: breaker(0),
        bucket: bucket(0),
        bucket_wait: Duration::from_secs(86_401),
        bulkhead: Some(BulkheadConfig {
            limit: 0,
            max_waiters: 0,
            ..BulkheadConfig::default()
        }),
        bulkhead_wait: ms(1),
        attempt_limit: Some(Duration::MAX),
        ..nothing()
    };
    wrong.retry.as_mut().unwrap().backoff.factor = -1.0;
    let invalid = Policy::new(wrong).unwrap_err();
    assert_eq!(invalid.code(), "resilience.invalid_config");
    assert_eq!(
        paths(&invalid),
        [
            "deadline_ms",
            "retry.attempts",
            "retry.backoff.factor",
            "retry.budget.ratio",
            "retry.attempt_limit_ms",
            "breaker.window.consecutive",
            "bucket.capacity",
            "bucket_wait_ms",
            "bulkhead.limit",
            "bulkhead_wait_ms",
            "attempt_limit_ms",
        ]
    );
    assert!(
        invalid
            .to_string()
            .starts_with("these policy settings cannot work: `deadline_ms` is 0")
    );
}

#[test]
fn what_belongs_to_a_stage_that_is_not_there_is_a_fault() {
    let invalid = Policy::new(PolicyConfig {
        retry_rejected: true,
        bucket_wait: ms(1),
        bulkhead_wait: ms(1),
        order: Some(vec![Stage::Breaker]),
        ..nothing()
    })
    .unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "these policy settings cannot work: \
         `retry_rejected` is true, allowed is false where there is no `retry`; \
         `bucket_wait_ms` is 1 ms, allowed is 0 where there is no `bucket`; \
         `bulkhead_wait_ms` is 1 ms, allowed is 0 where there is no `bulkhead`; \
         `order[0]` is breaker, allowed is one of the stages that are set: none"
    );
}

#[test]
fn a_part_that_is_handed_in_must_not_be_set_as_well() {
    let settings = PolicyConfig {
        retry: Some(RetryConfig {
            budget: Some(RetryBudgetConfig::default()),
            ..RetryConfig::default()
        }),
        breaker: breaker(1),
        bucket: bucket(1),
        bulkhead: bulkhead(1),
        ..nothing()
    };
    let budget = RetryBudget::new(RetryBudgetConfig::default()).unwrap();
    let invalid = Policy::builder(settings)
        .breaker(&Breaker::new(breaker(1).unwrap()).unwrap())
        .bucket(&TokenBucket::new(TokenBucketConfig::default()).unwrap())
        .bulkhead(&Bulkhead::new(BulkheadConfig::default()).unwrap())
        .budget(&budget)
        .build()
        .unwrap_err();
    assert_eq!(
        paths(&invalid),
        ["breaker", "bucket", "bulkhead", "retry.budget"]
    );

    let invalid = Policy::builder(nothing())
        .budget(&budget)
        .build()
        .unwrap_err();
    assert_eq!(paths(&invalid), ["retry.budget"]);
}

#[test]
fn parts_that_are_handed_in_are_shared_and_count_as_set() {
    let shared = Breaker::new(breaker(1).unwrap()).unwrap();
    let bucket = TokenBucket::new(TokenBucketConfig::default()).unwrap();
    let rooms = Bulkhead::new(BulkheadConfig::default()).unwrap();
    let policy = Policy::builder(PolicyConfig {
        bucket_wait: ms(1),
        bulkhead_wait: ms(1),
        order: Some(vec![Stage::Bulkhead, Stage::Bucket, Stage::Breaker]),
        ..nothing()
    })
    .name("payments")
    .breaker(&shared)
    .bucket(&bucket)
    .bulkhead(&rooms)
    .build()
    .unwrap();
    assert_eq!(policy.name(), "payments");
    assert_eq!(
        policy.order(),
        [Stage::Bulkhead, Stage::Bucket, Stage::Breaker]
    );
    shared.control().force_open();
    assert_eq!(policy.breaker().unwrap().state(), shared.state());
    bucket.try_take(30).unwrap();
    assert_eq!(policy.bucket().unwrap().snapshot().capacity, 100);
    assert!(policy.bucket().unwrap().available() < 100);
    let _inside = rooms.try_enter().unwrap();
    assert_eq!(policy.bulkhead().unwrap().in_flight(), 1);
    assert!(policy.retry().is_none());
}

#[test]
fn an_observer_is_not_taken_for_a_breaker_that_would_not_tell_it() {
    let shared = Breaker::new(breaker(1).unwrap()).unwrap();
    let invalid = Policy::builder(nothing())
        .breaker(&shared)
        .breaker_observer(|_: &BreakerTransition| {})
        .build()
        .unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "these policy settings cannot work: `breaker_observer` is registered, \
         allowed is none where the breaker is handed in: it has its own"
    );
    // Settings may leave the breaker out.
    let policy = Policy::builder(nothing())
        .breaker_observer(|_: &BreakerTransition| {})
        .build();
    assert!(policy.is_ok());
}
