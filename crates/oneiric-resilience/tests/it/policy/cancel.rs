//! Calls that are given up, wherever they are just then.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oneiric_resilience::{
    BreakerConfig, BreakerState, BreakerWindow, Policy, PolicyConfig, RetryBudget,
    RetryBudgetConfig, Stage, TokenBucketConfig, TokioClock,
};
use tokio::time::{advance, sleep, timeout};

use super::{breaker, bulkhead, ms, nothing, policy, retry};

const ORDERS: [[Stage; 4]; 4] = [
    [Stage::Retry, Stage::Breaker, Stage::Bucket, Stage::Bulkhead],
    [Stage::Breaker, Stage::Bucket, Stage::Bulkhead, Stage::Retry],
    [Stage::Bulkhead, Stage::Retry, Stage::Bucket, Stage::Breaker],
    [Stage::Bucket, Stage::Breaker, Stage::Retry, Stage::Bulkhead],
];

/// Waits at each gate, in the call, and between attempts: at each millisecond of it a call is given up.
#[tokio::test(start_paused = true)]
async fn p57_a_call_that_is_given_up_at_any_await_leaves_nothing_behind_and_counts_for_nobody() {
    for order in ORDERS {
        for given_up in (5..1_050).step_by(10) {
            let budget = RetryBudget::new(RetryBudgetConfig {
                capacity: 10,
                ratio: 0.0,
                min_per_sec: 0.0,
            })
            .unwrap();
            let config = PolicyConfig {
                retry: retry(2),
                breaker: Some(BreakerConfig {
                    window: BreakerWindow::Calls(100),
                    min_calls: 100,
                    ..BreakerConfig::default()
                }),
                bucket: Some(TokenBucketConfig {
                    capacity: 1,
                    refill_per_sec: 2.5,
                    max_waiters: 10,
                }),
                bucket_wait: Duration::from_secs(5),
                bulkhead: bulkhead(1),
                bulkhead_wait: Duration::from_secs(5),
                order: Some(order.to_vec()),
                ..nothing()
            };
            let policy = Policy::builder_with_clock(config, TokioClock::new())
                .budget(&budget)
                .build()
                .unwrap();
            policy.bucket().unwrap().try_take(1).unwrap();
            let full = policy.bulkhead().unwrap().try_enter_owned().unwrap();
            tokio::spawn(async move {
                sleep(ms(300)).await;
                drop(full);
            });
            let (begun, ended) = (std::cell::Cell::new(0_u32), std::cell::Cell::new(0));
            let call = policy.call(|| {
                begun.set(begun.get() + 1);
                async {
                    sleep(ms(100)).await;
                    ended.set(ended.get() + 1);
                    Err::<(), _>("no")
                }
            });
            // In some orders it is done before the last of these.
            let done = timeout(ms(given_up), call).await.is_ok();
            sleep(ms(400)).await;

            let bulkhead = policy.bulkhead().unwrap();
            assert_eq!(
                (bulkhead.in_flight(), bulkhead.waiting()),
                (0, 0),
                "{given_up}"
            );
            let bucket = policy.bucket().unwrap().snapshot();
            assert_eq!((bucket.waiting, bucket.reserved), (0, 0), "{given_up}");
            let breaker_inside = order.iter().position(|stage| *stage == Stage::Breaker)
                > order.iter().position(|stage| *stage == Stage::Retry);
            let counted = if breaker_inside {
                ended.get()
            } else {
                u64::from(done)
            };
            assert_eq!(
                policy.breaker().unwrap().snapshot().calls,
                counted,
                "{given_up}"
            );
            // A token is spent on a second attempt that began, and on nothing else.
            let spent = begun.get().saturating_sub(1);
            assert_eq!(budget.available(), 10 - spent, "{given_up}, {order:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_frees_its_slot() {
    let policy = policy(PolicyConfig {
        breaker: breaker(1),
        ..nothing()
    });
    let failed = policy.call(|| async { Err::<(), _>("no") }).await;
    assert!(failed.is_err());
    advance(ms(1_000)).await;
    let probe = policy.call(std::future::pending::<Result<(), ()>>);
    assert!(timeout(ms(10), probe).await.is_err());
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::HalfOpen);
    assert_eq!(policy.call(|| async { Ok::<_, ()>(()) }).await, Ok(()));
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_polled_has_done_nothing() {
    let policy = policy(PolicyConfig {
        breaker: breaker(1),
        bulkhead: bulkhead(1),
        ..nothing()
    });
    let call = policy.call(|| async { Ok::<_, ()>(()) });
    assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
    drop(call);
    assert_eq!(policy.breaker().unwrap().snapshot().calls, 0);
}

/// Polls a call once, and drops it because what it shares a task with panics.
async fn dropped_by_a_panic(call: impl Future) {
    let mut polls = 0;
    let mut task = Box::pin(async {
        let mut call = pin!(call);
        poll_fn(|cx| {
            polls += 1;
            assert_eq!(polls, 1, "elsewhere");
            call.as_mut().poll(cx).map(drop)
        })
        .await;
    });
    let mut poll = |cx: &mut Context<'_>| {
        let poll = AssertUnwindSafe(|| task.as_mut().poll(cx).is_ready());
        catch_unwind(poll)
    };
    let first = poll_fn(|cx| Poll::Ready(poll(cx))).await;
    assert_eq!(first.ok(), Some(false), "it waits");
    let panicked = poll_fn(|cx| Poll::Ready(poll(cx).is_err()));
    assert!(panicked.await);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_because_something_else_panics_counts_for_nobody() {
    for order in ORDERS {
        let policy = policy(PolicyConfig {
            retry: retry(2),
            breaker: breaker(1),
            bucket: super::bucket(10),
            bulkhead: bulkhead(1),
            order: Some(order.to_vec()),
            ..nothing()
        });
        dropped_by_a_panic(policy.call(std::future::pending::<Result<(), ()>>)).await;
        let breaker = policy.breaker().unwrap().snapshot();
        let counted = (breaker.state, breaker.calls);
        assert_eq!(counted, (BreakerState::Closed, 0), "{order:?}");
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0, "{order:?}");
    }
    // Between attempts, in what is outside of the retry.
    let policy = policy(PolicyConfig {
        retry: retry(2),
        breaker: breaker(1),
        order: Some(vec![Stage::Breaker, Stage::Retry]),
        ..nothing()
    });
    dropped_by_a_panic(policy.call(|| async { Err::<(), _>("no") })).await;
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
}
