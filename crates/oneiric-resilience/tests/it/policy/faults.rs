//! What cannot work is told at once, by its path, with what is allowed.

use std::time::Duration;

use oneiric_resilience::{
    AimdConfig, BackoffConfig, Breaker, BreakerConfig, BreakerTransition, BreakerWindow, Bulkhead,
    BulkheadConfig, InvalidConfig, Policy, PolicyConfig, RetryBudget, RetryBudgetConfig,
    RetryConfig, Stage, TokenBucket, TokenBucketConfig,
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

/// A limit that another one always comes before is none, and what the other one cuts off is not counted.
#[test]
fn the_limit_of_an_attempt_is_less_than_those_of_the_call() {
    let told = |deadline, total, attempt| {
        let config = PolicyConfig {
            deadline,
            retry: Some(RetryConfig {
                total_limit: total,
                ..RetryConfig::default()
            }),
            attempt_limit: Some(ms(attempt)),
            ..nothing()
        };
        Policy::new(config).err().map(|invalid| invalid.to_string())
    };
    let said = |attempt, limit| {
        Some(format!(
            "these policy settings cannot work: `attempt_limit_ms` is {attempt} ms, allowed is less than {limit}: \
             that ends the call first, and an attempt that hangs is never a failure"
        ))
    };
    for attempt in [50, 51] {
        let deadline = told(Some(ms(50)), None, attempt);
        assert_eq!(deadline, said(attempt, "`deadline_ms` (50 ms)"));
        let total = told(Some(ms(60)), Some(ms(50)), attempt);
        assert_eq!(total, said(attempt, "`retry.total_limit_ms` (50 ms)"));
    }
    assert_eq!(told(Some(ms(50)), Some(ms(50)), 49), None);
    assert_eq!(told(None, None, 49), None);
}

#[test]
fn a_call_is_slow_before_it_is_cut_off() {
    let told = |slow, order: &[Stage]| {
        let config = PolicyConfig {
            deadline: Some(ms(500)),
            retry: Some(RetryConfig {
                total_limit: Some(ms(400)),
                ..RetryConfig::default()
            }),
            breaker: Some(BreakerConfig {
                slow_call: Some(ms(slow)),
                ..BreakerConfig::default()
            }),
            attempt_limit: order.contains(&Stage::Attempt).then_some(ms(50)),
            order: Some(order.to_vec()),
            ..nothing()
        };
        Policy::new(config).err().map(|invalid| invalid.to_string())
    };
    let said = |slow, limit| {
        Some(format!(
            "these policy settings cannot work: `breaker.slow_call_ms` is {slow} ms, \
             allowed is less than {limit}: nothing takes longer"
        ))
    };
    let inside = [
        Stage::Deadline,
        Stage::Retry,
        Stage::Breaker,
        Stage::Attempt,
    ];
    assert_eq!(told(49, &inside), None);
    assert_eq!(told(50, &inside), said(50, "`attempt_limit_ms` (50 ms)"));
    assert_eq!(told(399, &inside[..3]), None);
    assert_eq!(
        told(400, &inside[..3]),
        said(400, "`retry.total_limit_ms` (400 ms)")
    );
    // There it times the whole call.
    let outside = [
        Stage::Deadline,
        Stage::Breaker,
        Stage::Retry,
        Stage::Attempt,
    ];
    assert_eq!(told(499, &outside), None);
    assert_eq!(told(500, &outside), said(500, "`deadline_ms` (500 ms)"));
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
         `retry_rejected` is true, allowed is false without `retry`: remove it, or add `retry`; \
         `bucket_wait_ms` is 1 ms, allowed is 0 without `bucket`: remove it, or add `bucket`; \
         `bulkhead_wait_ms` is 1 ms, allowed is 0 without `bulkhead`: remove it, or add `bulkhead`; \
         `order[0]` is breaker, allowed is one of the stages that are set: none"
    );
}

/// Who has many is told which, and of what nobody wrote that nobody did.
#[test]
fn a_fault_names_the_policy_and_what_is_as_by_default() {
    let named = |name: &str, config| {
        let built = Policy::builder(config).name(name).build();
        built.unwrap_err().to_string()
    };
    let mut settings = PolicyConfig {
        retry: retry(2),
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Calls(10),
            ..BreakerConfig::default()
        }),
        bulkhead: Some(BulkheadConfig {
            adaptive: Some(AimdConfig {
                max: 10,
                ..AimdConfig::default()
            }),
            ..BulkheadConfig::default()
        }),
        ..nothing()
    };
    settings.retry.as_mut().unwrap().backoff = BackoffConfig {
        min: ms(40_000),
        ..BackoffConfig::default()
    };
    settings.breaker.as_mut().unwrap().open.min = ms(61_000);
    let faults = "\
        `retry.backoff.max_ms` is 30 s (the default), allowed is `min_ms` to 24 h; \
        `breaker.min_calls` is 20 (the default), allowed is 1 to `window.calls`; \
        `breaker.open.max_ms` is 60 s (the default), allowed is `min_ms` to 24 h; \
        `bulkhead.limit` is 25 (the default), allowed is 1 to 10, where `adaptive` has its bounds";
    let of = "these settings of policy `stock` cannot work";
    assert_eq!(named("stock", settings.clone()), format!("{of}: {faults}"));
    let of = "these policy settings cannot work";
    assert_eq!(named("", settings), format!("{of}: {faults}"));

    let asked = PolicyConfig {
        deadline: Some(ms(1)),
        ..nothing()
    };
    let policy = Policy::builder(asked).name("stock").build().unwrap();
    let blocking = policy.blocking().unwrap_err().to_string();
    let of = "these settings of blocking policy `stock` cannot work: `deadline_ms`";
    assert!(blocking.starts_with(of), "{blocking}");
    let breaker = Breaker::builder(breaker(0).unwrap()).name("stock");
    let breaker = breaker.build().unwrap_err().to_string();
    let of = "these settings of breaker `stock` cannot work: `window.consecutive`";
    assert!(breaker.starts_with(of), "{breaker}");
}

#[test]
fn a_part_that_is_handed_in_must_not_be_set_as_well() {
    let settings = PolicyConfig {
        retry: Some(RetryConfig::default()),
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
        ["breaker", "bucket", "bulkhead"],
        "a budget is there by default, so one that is handed in takes its place"
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
