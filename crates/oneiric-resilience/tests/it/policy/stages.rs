//! Each stage alone.

use std::future::pending;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_resilience::{
    BreakerState, Deadline, Error, Fallback, GiveUp, OnlyRejected, Outcome, Policy, PolicyConfig,
    PolicyEvent, Rejection, RetryBudget, RetryBudgetConfig, RetryConfig, Stage,
};
use tokio::time::{Instant, sleep};

use crate::foreign::Bomb;

use super::{Called, answers, breaker, bucket, bulkhead, ms, nothing, policy, retry};

#[tokio::test(start_paused = true)]
async fn a_policy_of_no_stages_makes_the_call_and_is_all_transparent() {
    let policy = policy(nothing());
    let called = Called::default();
    assert_eq!(policy.call(answers(&[Ok(7)], &called)).await, Ok(7));
    let failed = policy.call(answers(&[Err("no")], &Called::default())).await;
    assert_eq!(failed, Err(Error::Inner("no")));
    assert_eq!(called.0.get(), 1);
    assert_eq!(policy.order(), []);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_call_that_hangs_at_its_very_instant() {
    let policy = policy(PolicyConfig {
        deadline: Some(ms(2_000)),
        ..nothing()
    });
    let start = Instant::now();
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn what_is_called_sees_the_deadline() {
    for (attempt_limit, sees) in [(None, 2_000), (Some(ms(1_900)), 1_900)] {
        let policy = policy(PolicyConfig {
            deadline: Some(ms(2_000)),
            attempt_limit,
            ..nothing()
        });
        let left = || async { Ok::<_, ()>(Deadline::current().map(Deadline::remaining)) };
        assert_eq!(policy.call(left).await, Ok(Some(ms(sees))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_makes_as_many_attempts_as_it_may_and_waits_between_them() {
    let policy = policy(PolicyConfig {
        retry: retry(3),
        ..nothing()
    });
    let start = Instant::now();
    let called = Called::default();
    let answer = policy
        .call(answers(&[Err("one"), Err("two"), Ok(3)], &called))
        .await;
    assert_eq!(answer, Ok(3));
    assert_eq!(start.elapsed(), ms(200));
    let answer = policy.call(answers(&[Err("no")], &Called::default())).await;
    assert_eq!(answer, Err(Error::Inner("no")));
}

#[tokio::test(start_paused = true)]
async fn the_classifier_decides_what_is_tried_again_and_after_how_long() {
    let by_text = |result: &Result<u32, &'static str>| match result {
        Err("gone") => Outcome::Permanent,
        Err("busy") => Outcome::Overloaded {
            retry_after: ms(5_000),
        },
        Err(_) => Outcome::Failure,
        Ok(_) => Outcome::Success,
    };
    let policy = policy(PolicyConfig {
        retry: retry(3),
        ..nothing()
    })
    .classify(by_text);
    let called = Called::default();
    let answer = policy.call(answers(&[Err("gone"), Ok(2)], &called)).await;
    assert_eq!(answer, Err(Error::Inner("gone")));
    assert_eq!(called.0.get(), 1);

    let start = Instant::now();
    let answer = policy
        .call(answers(&[Err("busy"), Ok(2)], &Called::default()))
        .await;
    assert_eq!(answer, Ok(2));
    assert_eq!(start.elapsed(), ms(5_100));
}

#[tokio::test(start_paused = true)]
async fn the_retry_has_a_time_for_all_attempts() {
    let policy = policy(PolicyConfig {
        retry: Some(RetryConfig {
            total_limit: Some(ms(1_000)),
            ..retry(10).unwrap()
        }),
        ..nothing()
    });
    let start = Instant::now();
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(1_000));
    // An attempt each 400 ms: the third would begin at 800, the fourth at 1,200.
    let called = Called::default();
    let slow = || {
        called.again();
        async {
            sleep(ms(300)).await;
            Err::<(), _>("no")
        }
    };
    assert_eq!(policy.call(slow).await, Err(Error::DeadlineExceeded));
    assert_eq!(called.0.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_with_the_error_that_trips_it_and_rejects_from_then_on() {
    let policy = policy(PolicyConfig {
        breaker: breaker(2),
        ..nothing()
    });
    let called = Called::default();
    for error in ["one", "two"] {
        let answer = policy.call(answers(&[Err(error)], &called)).await;
        assert_eq!(answer, Err(Error::Inner(error)));
    }
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
    let Err(Error::Rejected(rejected)) = policy.call(answers(&[Ok(1)], &called)).await else {
        panic!("let through");
    };
    assert_eq!(rejected.rejection(), Rejection::BreakerOpen);
    assert_eq!(rejected.retry_after(), Some(ms(1_000)));
    assert_eq!(called.0.get(), 2);
    sleep(ms(1_000)).await;
    assert_eq!(policy.call(answers(&[Ok(1)], &called)).await, Ok(1));
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_rate_refuses_at_once_or_after_the_wait_that_was_allowed() {
    let config = PolicyConfig {
        bucket: bucket(1),
        ..nothing()
    };
    let at_once = policy(config.clone());
    let called = Called::default();
    assert_eq!(at_once.call(answers(&[Ok(1)], &called)).await, Ok(1));
    let Err(Error::Rejected(rejected)) = at_once.call(answers(&[Ok(1)], &called)).await else {
        panic!("let through");
    };
    assert_eq!(rejected.rejection(), Rejection::RateLimited);
    assert_eq!(called.0.get(), 1);

    let waits = policy(PolicyConfig {
        bucket_wait: ms(12_000),
        ..config
    });
    let start = Instant::now();
    assert_eq!(waits.call(answers(&[Ok(1)], &called)).await, Ok(1));
    assert_eq!(waits.call(answers(&[Ok(2)], &called)).await, Ok(2));
    assert_eq!(start.elapsed().as_secs(), 10);
    let first = waits.clone();
    let first = tokio::spawn(async move { first.call(|| async { Ok::<_, ()>(()) }).await });
    tokio::task::yield_now().await;
    let Err(Error::Rejected(rejected)) = waits.call(answers(&[Ok(1)], &called)).await else {
        panic!("its turn comes in 20 seconds");
    };
    assert_eq!(rejected.rejection(), Rejection::DeadlineTooNear);
    assert_eq!(first.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_bulkhead_refuses_at_once_or_after_the_wait_that_was_allowed() {
    let config = PolicyConfig {
        bulkhead: bulkhead(1),
        ..nothing()
    };
    for (wait, expected) in [
        (0, Err(Rejection::BulkheadFull)),
        (200, Err(Rejection::DeadlineTooNear)),
        (400, Ok(())),
    ] {
        let policy = policy(PolicyConfig {
            bulkhead_wait: ms(wait),
            ..config.clone()
        });
        let inside = policy.clone();
        let inside = tokio::spawn(async move {
            let slow = || async {
                sleep(ms(300)).await;
                Ok::<_, ()>(())
            };
            inside.call(slow).await
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        let answer = policy.call(|| async { Ok::<_, ()>(()) }).await;
        let answer = answer.map_err(|error| match error {
            Error::Rejected(rejected) => rejected.rejection(),
            other => panic!("{other:?}"),
        });
        assert_eq!(answer, expected, "{wait}");
        assert_eq!(start.elapsed(), ms(wait.min(300)));
        assert_eq!(inside.await.unwrap(), Ok(()));
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_attempt_cuts_it_off() {
    let policy = policy(PolicyConfig {
        attempt_limit: Some(ms(500)),
        ..nothing()
    });
    let start = Instant::now();
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::TimedOut { limit: ms(500) }));
    assert_eq!(start.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn the_fallback_answers_for_what_it_was_chosen_for() {
    let breaking = policy(PolicyConfig {
        breaker: breaker(1),
        ..nothing()
    });
    let guarded = breaking
        .clone()
        .with_fallback(Fallback::value(0).when(OnlyRejected));
    let order: Vec<Stage> = guarded.order().collect();
    assert_eq!(order, [Stage::Fallback, Stage::Breaker]);
    let answer = guarded
        .call(answers(&[Err("no")], &Called::default()))
        .await;
    assert_eq!(answer, Err(Error::Inner("no")));
    let answer = guarded.call(answers(&[Ok(7)], &Called::default())).await;
    assert_eq!(answer, Ok(0));

    let second = |error: Error<&'static str>| async move {
        sleep(ms(10)).await;
        assert!(matches!(error, Error::Rejected(_)));
        Ok(5)
    };
    let guarded = breaking.with_fallback(Fallback::new(second));
    let answer = guarded
        .call_with_async_substitute(answers(&[Ok(7)], &Called::default()))
        .await;
    assert_eq!(answer, Ok(5));
    assert_eq!(
        guarded.policy().breaker().unwrap().state(),
        BreakerState::Open
    );
}

/// Where each attempt needs a permit, and there is none, all of them are refused; and nothing is sent.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_costs_no_token() {
    let budget = || {
        RetryBudget::new(RetryBudgetConfig {
            capacity: 10,
            ratio: 0.0,
            min_per_sec: 0.0,
        })
        .unwrap()
    };
    let refusing = |budget: &RetryBudget| {
        let policy = Policy::builder(PolicyConfig {
            retry: retry(3),
            retry_rejected: true,
            bulkhead: bulkhead(1),
            ..nothing()
        });
        policy.budget(budget).build().unwrap()
    };
    let (awaited, blocking) = (budget(), budget());
    let policy = refusing(&awaited);
    let held = policy.bulkhead().unwrap().try_enter_owned().unwrap();
    let refused = policy.call(|| ready(Ok::<(), ()>(()))).await;
    assert!(matches!(refused, Err(Error::Rejected(_))));
    assert_eq!(awaited.available(), 10);
    drop(held);
    let failed = policy.call(|| ready(Err::<(), _>("no"))).await;
    assert_eq!((failed, awaited.available()), (Err(Error::Inner("no")), 8));

    let policy = refusing(&blocking);
    let held = policy.bulkhead().unwrap().try_enter_owned().unwrap();
    let waits = std::cell::Cell::new(0);
    let wait = |_| waits.set(waits.get() + 1);
    let on_thread = policy.clone().blocking().unwrap();
    let refused = on_thread.call_with(wait, || Ok::<(), ()>(()));
    assert!(matches!(refused, Err(Error::Rejected(_))));
    assert_eq!((waits.get(), blocking.available()), (2, 10));
    drop(held);
    let failed = on_thread.call_with(wait, || Err::<(), _>("no"));
    assert_eq!((failed, blocking.available()), (Err(Error::Inner("no")), 8));
}

#[test]
fn a_panic_between_attempts_is_not_the_calls() {
    let config = PolicyConfig {
        retry: retry(2),
        breaker: breaker(1),
        order: Some(vec![Stage::Breaker, Stage::Retry]),
        ..nothing()
    };
    let policy = policy(config);
    let breaker = policy.breaker().unwrap().clone();
    let blocking = policy.blocking().unwrap();
    let calling = |wait: &dyn Fn(Duration), call: &dyn Fn() -> Result<(), ()>| {
        catch_unwind(AssertUnwindSafe(|| blocking.call_with(wait, call))).is_err()
    };
    assert!(calling(&|_| panic!("of the wait"), &|| Err(())));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert!(calling(&|_| {}, &|| panic!("of the call")));
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// Whoever sends an order elsewhere because it was refused must know that it was not made.
#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_many_attempts_were_made_before_it() {
    let guarded = |failures, stages: [Stage; 2]| {
        policy(PolicyConfig {
            retry: retry(3),
            breaker: breaker(failures),
            order: Some(stages.to_vec()),
            ..nothing()
        })
    };
    let made = |answer: Result<u32, Error<&'static str>>| match answer {
        Err(Error::Rejected(rejected)) => Some(rejected.attempts_made()),
        _ => None,
    };
    let inside = [Stage::Retry, Stage::Breaker];
    for failures in [1, 2] {
        let guarded = guarded(failures, inside);
        let fallback = guarded
            .clone()
            .with_fallback(Fallback::value(0).when(OnlyRejected));
        let failing = || || ready(Err("lost"));
        assert_eq!(made(fallback.call(failing()).await), Some(failures));
        assert_eq!(made(guarded.call(failing()).await), Some(0));
        assert_eq!(fallback.call(failing()).await, Ok(0), "not made at all");
    }
    let blocking = guarded(1, inside).blocking().unwrap();
    assert_eq!(made(blocking.call(|| Err("lost"))), Some(1));
    assert_eq!(made(blocking.call(|| Err("lost"))), Some(0));
    let outside = guarded(1, [Stage::Breaker, Stage::Retry]);
    let failing = || ready(Err::<u32, _>("lost"));
    assert_eq!(outside.call(failing).await, Err(Error::Inner("lost")));
    assert_eq!(made(outside.call(|| async { Ok(7) }).await), Some(0));
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_are_told_of_everything_but_success_and_cannot_break_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let policy = Policy::builder(PolicyConfig {
        deadline: Some(ms(1_000)),
        retry: retry(2),
        bucket: bucket(3),
        attempt_limit: Some(ms(300)),
        ..nothing()
    })
    .observer(|_: &PolicyEvent| panic!("in an observer"))
    .observer(|_: &PolicyEvent| std::panic::panic_any(Bomb))
    .observer(move |event: &PolicyEvent| tell.lock().unwrap().push(*event))
    .build()
    .unwrap();
    let take = || std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(
        policy.call(answers(&[Ok(1)], &Called::default())).await,
        Ok(1)
    );
    assert_eq!(take(), []);
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::TimedOut { limit: ms(300) }));
    assert_eq!(
        take(),
        [
            PolicyEvent::TimedOut { limit: ms(300) },
            PolicyEvent::Retrying {
                attempt: 1,
                wait: ms(100)
            },
            PolicyEvent::TimedOut { limit: ms(300) },
            PolicyEvent::GaveUp {
                attempts: 2,
                why: GiveUp::Attempts
            },
        ]
    );
    let answer = policy.call(answers(&[Ok(1)], &Called::default())).await;
    assert!(matches!(answer, Err(Error::Rejected(_))));
    let events = take();
    let [PolicyEvent::Rejected { stage, rejected }] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(stage, Stage::Bucket);
    assert_eq!(rejected.code(), "resilience.rate_limited");
}

#[tokio::test(start_paused = true)]
async fn a_call_can_be_sent_to_another_task() {
    fn is_send(_: &impl Send) {}
    let policy = policy(PolicyConfig {
        deadline: Some(Duration::from_secs(1)),
        retry: retry(2),
        breaker: breaker(1),
        bucket: bucket(1),
        bucket_wait: ms(1),
        bulkhead: bulkhead(1),
        bulkhead_wait: ms(1),
        attempt_limit: Some(ms(100)),
        ..nothing()
    });
    let call = policy.call(|| async { Ok::<_, ()>(()) });
    is_send(&call);
    assert_eq!(call.await, Ok(()));
}
