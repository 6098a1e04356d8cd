//! A policy on a thread that waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, BreakerState, Error, ManualClock, Policy, PolicyConfig, Rejection, RetryConfig,
    Stage,
};

use super::{breaker, bucket, bulkhead, ms, nothing, retry};

/// Tries again without waiting.
fn at_once(attempts: u32) -> Option<RetryConfig> {
    Some(RetryConfig {
        backoff: BackoffConfig::constant(Duration::ZERO),
        ..retry(attempts).unwrap()
    })
}

#[test]
fn limits_that_do_not_hold_on_a_thread_are_refused_and_not_ignored() {
    let invalid = Policy::new(PolicyConfig {
        deadline: Some(ms(5)),
        bucket: bucket(1),
        bucket_wait: ms(2),
        bulkhead: bulkhead(1),
        bulkhead_wait: ms(3),
        attempt_limit: Some(ms(4)),
        ..nothing()
    })
    .unwrap()
    .blocking()
    .unwrap_err();
    assert_eq!(invalid.code(), "resilience.invalid_config");
    assert_eq!(
        invalid.to_string(),
        "these blocking policy settings cannot work: \
         `deadline_ms` is 5 ms, allowed is none, as a thread that runs cannot be told to stop; \
         `attempt_limit_ms` is 4 ms, allowed is none, as a thread that runs cannot be told to stop; \
         `bucket_wait_ms` is 2 ms, allowed is 0, as gates keep no thread waiting; \
         `bulkhead_wait_ms` is 3 ms, allowed is 0, as gates keep no thread waiting"
    );
}

#[test]
fn retry_breaker_rate_and_bulkhead_hold() {
    let clock = ManualClock::new();
    let policy = Policy::with_clock(
        PolicyConfig {
            retry: at_once(3),
            breaker: breaker(3),
            bucket: bucket(4),
            bulkhead: bulkhead(1),
            ..nothing()
        },
        clock.clone(),
    )
    .unwrap();
    let blocking = policy.clone().blocking().unwrap();
    let mut inside = Vec::new();
    let answer = blocking.call(|| {
        inside.push(policy.bulkhead().unwrap().in_flight());
        if inside.len() < 3 { Err("no") } else { Ok(7) }
    });
    assert_eq!(answer, Ok(7));
    assert_eq!(inside, [1, 1, 1]);
    assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
    assert_eq!(policy.bucket().unwrap().available(), 1);
    let refused = |answer: Result<i32, Error<&str>>| match answer {
        Err(Error::Rejected(rejected)) => rejected.rejection(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(blocking.call(|| Err("no"))), Rejection::RateLimited);
    clock.advance(Duration::from_secs(40));
    assert_eq!(refused(blocking.call(|| Err("no"))), Rejection::BreakerOpen);
    assert_eq!(
        blocking.policy().breaker().unwrap().state(),
        BreakerState::Open
    );
}

#[test]
fn a_gate_outside_of_the_retry_sees_the_call_and_not_its_attempts() {
    let policy = Policy::with_clock(
        PolicyConfig {
            retry: at_once(3),
            breaker: breaker(2),
            order: Some(vec![Stage::Breaker, Stage::Retry]),
            ..nothing()
        },
        ManualClock::new(),
    )
    .unwrap()
    .blocking()
    .unwrap();
    assert_eq!(policy.call(|| Err::<(), _>("no")), Err(Error::Inner("no")));
    let breaker = policy.policy().breaker().unwrap();
    assert_eq!(breaker.snapshot().failures, 1);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn the_total_limit_of_the_retry_decides_whether_there_is_another_attempt() {
    let clock = ManualClock::new();
    let policy = Policy::with_clock(
        PolicyConfig {
            retry: Some(RetryConfig {
                total_limit: Some(ms(1_000)),
                ..at_once(10).unwrap()
            }),
            ..nothing()
        },
        clock.clone(),
    )
    .unwrap()
    .blocking()
    .unwrap();
    let mut attempts = 0;
    let answer = policy.call(|| {
        attempts += 1;
        clock.advance(ms(400));
        Err::<(), _>("no")
    });
    assert_eq!(answer, Err(Error::Inner("no")));
    assert_eq!(attempts, 3);
}

#[test]
fn a_panic_is_a_failure_and_gives_everything_back() {
    let policy = Policy::new(PolicyConfig {
        breaker: breaker(1),
        bulkhead: bulkhead(1),
        ..nothing()
    })
    .unwrap()
    .blocking()
    .unwrap();
    let call = || policy.call(|| -> Result<(), ()> { panic!("in the call") });
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(
        policy.policy().breaker().unwrap().state(),
        BreakerState::Open
    );
    assert_eq!(policy.policy().bulkhead().unwrap().in_flight(), 0);
}
