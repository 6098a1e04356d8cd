//! What a bucket and a bulkhead say of how often they refused: each asking that ended so, once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use oneiric_resilience::{
    Bulkhead, BulkheadConfig, KeyOverflow, KeyedBuckets, KeyedBucketsConfig, ManualClock,
    TokenBucket, TokenBucketConfig,
};

use super::policy::ms;

fn bucket(capacity: u32, max_waiters: u32) -> TokenBucket<ManualClock> {
    let config = TokenBucketConfig {
        capacity,
        refill_per_sec: 1.0,
        max_waiters,
    };
    TokenBucket::with_clock(config, ManualClock::new()).unwrap()
}

fn bulkhead(limit: u32, max_waiters: u32) -> Bulkhead<ManualClock> {
    let config = BulkheadConfig {
        limit,
        max_waiters,
        ..BulkheadConfig::default()
    };
    Bulkhead::with_clock(config, ManualClock::new()).unwrap()
}

fn keyed(overflow: KeyOverflow) -> KeyedBuckets<u64, ManualClock> {
    let config = KeyedBucketsConfig {
        capacity: 2,
        refill_per_sec: 1.0,
        max_keys: 2,
        overflow,
    };
    KeyedBuckets::with_clock(config, ManualClock::new()).unwrap()
}

#[test]
fn a_bucket_counts_the_takes_and_the_reservations_that_it_refused() {
    let bucket = bucket(2, 1);
    bucket.try_take(2).unwrap();
    bucket.try_take(0).unwrap();
    assert_eq!(bucket.snapshot().rejected, 0);
    bucket.try_take(1).unwrap_err();
    bucket.clone().try_take(3).unwrap_err();
    assert_eq!(bucket.snapshot().rejected, 2);
    bucket.reserve(1, ms(10)).unwrap_err();
    let reserved = bucket.reserve(1, ms(1_000)).unwrap();
    bucket.reserve(1, ms(2_000)).unwrap_err();
    drop(reserved);
    bucket.set_rate(0, 0.0).unwrap_err();
    assert_eq!(bucket.snapshot().rejected, 4);
}

#[test]
fn keyed_buckets_count_the_takes_that_they_refused_whichever_the_key() {
    let refusing = keyed(KeyOverflow::Refuse);
    for key in [1, 2] {
        refusing.try_take(&key, 2).unwrap();
        assert_eq!(refusing.rejected(), key - 1);
        refusing.try_take(&key, 1).unwrap_err();
    }
    refusing.try_take(&3, 1).unwrap_err();
    refusing.try_take(&1, 3).unwrap_err();
    refusing.try_take(&3, 0).unwrap();
    assert_eq!(refusing.clone().rejected(), 4);

    let sharing = keyed(KeyOverflow::Share);
    for key in [1, 2, 3] {
        sharing.try_take(&key, 2).unwrap();
    }
    sharing.try_take(&4, 1).unwrap_err();
    assert_eq!(sharing.rejected(), 1);
}

#[test]
fn a_bulkhead_counts_the_callers_that_it_refused_at_once() {
    let bulkhead = bulkhead(1, 0);
    let inside = bulkhead.try_enter().unwrap();
    assert_eq!(bulkhead.snapshot().rejected, 0);
    bulkhead.try_enter().unwrap_err();
    bulkhead.clone().try_enter_owned().unwrap_err();
    bulkhead.call(|| Ok::<_, ()>(())).unwrap_err();
    assert_eq!(bulkhead.snapshot().rejected, 3);
    drop(inside);
    bulkhead.call(|| Err::<(), _>(())).unwrap_err();
    bulkhead.set_limit(0).unwrap_err();
    assert_eq!(bulkhead.snapshot().rejected, 3);
}

/// Many threads ask; `ask` says whether it was granted. Answers with how often it was, and how often
/// they asked.
fn among_threads(ask: impl Fn(u64) -> bool + Sync) -> (u64, u64) {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 20_000;
    let granted = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ask, granted) = (&ask, &granted);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    if ask(round * THREADS + thread) {
                        granted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (granted.into_inner(), THREADS * ROUNDS)
}

#[test]
fn among_threads_what_is_not_granted_is_refused_and_all_of_it_counted() {
    let clock = ManualClock::new();
    let config = TokenBucketConfig {
        capacity: 50,
        refill_per_sec: 1_000.0,
        ..TokenBucketConfig::default()
    };
    let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
    let (granted, asked) = among_threads(|round| {
        if round % 8 == 0 {
            clock.advance(ms(1));
        }
        bucket.try_take(1).is_ok()
    });
    assert!(granted > 0 && granted < asked);
    assert_eq!(granted + bucket.snapshot().rejected, asked);

    let keyed = keyed(KeyOverflow::Refuse);
    let (granted, asked) = among_threads(|round| keyed.try_take(&(round % 3), 1).is_ok());
    assert_eq!(granted, 4, "two keys, two tokens each");
    assert_eq!(granted + keyed.rejected(), asked);

    let bulkhead = bulkhead(2, 0);
    let _inside = bulkhead.try_enter().unwrap();
    let (granted, asked) = among_threads(|round| match round % 2 {
        0 => bulkhead.try_enter().is_ok(),
        _ => bulkhead.try_enter_owned().is_ok(),
    });
    assert_eq!(granted + bulkhead.snapshot().rejected, asked);
    let _full = bulkhead.try_enter_owned().unwrap();
    let before = bulkhead.snapshot().rejected;
    let (granted, asked) = among_threads(|_| bulkhead.try_enter().is_ok());
    assert_eq!((granted, bulkhead.snapshot().rejected - before), (0, asked));
}

#[cfg(feature = "tokio")]
mod waits {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use oneiric_resilience::{
        Bulkhead, BulkheadConfig, Deadline, Error, Policy, PolicyConfig, Rejection, Stage,
        TokenBucket, TokenBucketConfig, TokioClock,
    };
    use tokio::time::{advance, timeout};

    use crate::policy::{Called, answers, ms, nothing};

    /// One token a second, and one there.
    fn bucket(max_waiters: u32) -> TokenBucket<TokioClock> {
        let config = TokenBucketConfig {
            capacity: 1,
            refill_per_sec: 1.0,
            max_waiters,
        };
        TokenBucket::with_clock(config, TokioClock::new()).unwrap()
    }

    fn bulkhead(max_waiters: u32) -> Bulkhead<TokioClock> {
        let config = BulkheadConfig {
            limit: 1,
            max_waiters,
            ..BulkheadConfig::default()
        };
        Bulkhead::with_clock(config, TokioClock::new()).unwrap()
    }

    /// Polls once, and finds nothing.
    async fn waits(future: &mut (impl Future + Unpin)) {
        let poll =
            poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()));
        assert!(poll.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_tokens_that_ends_without_them_counts_once_and_one_that_is_dropped_not() {
        let bucket = bucket(1);
        let rejected = || bucket.snapshot().rejected;
        bucket.try_take(1).unwrap();
        bucket.take(1).await.unwrap();
        timeout(ms(100), bucket.take(1)).await.unwrap_err();
        assert_eq!(rejected(), 0);

        bucket.take_within(1, ms(100)).await.unwrap_err();
        assert_eq!(rejected(), 1);
        let mut first = bucket.take(1);
        waits(&mut first).await;
        bucket.take(1).await.unwrap_err();
        assert_eq!(rejected(), 2, "the line is full");
        bucket.try_take(1).unwrap_err();
        assert_eq!(rejected(), 3, "nobody passes who waits");
        bucket.set_rate(1, 0.001).unwrap();
        drop(first);
        assert_eq!(rejected(), 3);

        bucket.set_rate(1, 1.0).unwrap();
        let mut wait = bucket.take_within(1, ms(1_000));
        waits(&mut wait).await;
        bucket.set_rate(1, 0.001).unwrap();
        let rejection = wait.await.unwrap_err().rejection();
        assert_eq!((rejection, rejected()), (Rejection::DeadlineTooNear, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_turn_that_ends_without_one_counts_once_and_one_that_is_dropped_not() {
        let bulkhead = bulkhead(1);
        let rejected = || bulkhead.snapshot().rejected;
        let inside = bulkhead.enter_within(ms(100)).await.unwrap();
        timeout(ms(100), bulkhead.enter()).await.unwrap_err();
        timeout(ms(100), bulkhead.enter_within(ms(200)))
            .await
            .unwrap_err();
        assert_eq!(rejected(), 0);

        bulkhead.enter_within(ms(100)).await.unwrap_err();
        assert_eq!(rejected(), 1);
        let deadline = Deadline::within(ms(100));
        bulkhead.enter_before(deadline).await.unwrap_err();
        assert_eq!(rejected(), 2);
        bulkhead.enter_before(deadline).await.unwrap_err();
        assert_eq!(rejected(), 3, "too late before it was polled");

        let mut first = pin!(bulkhead.enter_within(ms(100)));
        waits(&mut first).await;
        bulkhead.enter().await.unwrap_err();
        bulkhead.enter_within(ms(100)).await.unwrap_err();
        let refused = bulkhead.call_async(async { Ok::<_, ()>(()) }).await;
        assert!(matches!(refused, Err(Error::Rejected(_))));
        assert_eq!(rejected(), 6, "the queue is full");

        // Its place is lost before it looks again.
        advance(ms(200)).await;
        bulkhead.try_enter().unwrap_err();
        let rejection = first.await.unwrap_err().rejection();
        assert_eq!((rejection, rejected()), (Rejection::DeadlineTooNear, 8));
        drop(inside);
    }

    /// What a call through the policy is refused by, and what bucket and bulkhead have counted by then.
    async fn refused(
        policy: &Policy<oneiric_resilience::ErrIsFailure, TokioClock>,
    ) -> (Option<Stage>, u64, u64) {
        let called = Called::default();
        let stage = match policy.call(answers(&[Ok(1)], &called)).await {
            Ok(_) => None,
            Err(Error::Rejected(rejected)) => match rejected.rejection() {
                Rejection::BulkheadFull | Rejection::QueueFull => Some(Stage::Bulkhead),
                Rejection::RateLimited => Some(Stage::Bucket),
                // Both wait in these tests, and one is free when the other is not.
                _ if policy.bucket().unwrap().available() == 0 => Some(Stage::Bucket),
                _ => Some(Stage::Bulkhead),
            },
            Err(other) => panic!("{other:?}"),
        };
        let bucket = policy.bucket().unwrap().snapshot().rejected;
        (
            stage,
            bucket,
            policy.bulkhead().unwrap().snapshot().rejected,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_through_a_policy_that_waits_is_counted_when_it_has_waited() {
        for outside in [false, true] {
            let config = PolicyConfig {
                bucket_wait: ms(1_000),
                bulkhead_wait: ms(500),
                retry: crate::policy::retry(1),
                order: outside.then(|| vec![Stage::Bucket, Stage::Bulkhead, Stage::Retry]),
                ..nothing()
            };
            let builder = Policy::builder_with_clock(config, TokioClock::new());
            let builder = builder.bucket(&bucket(1)).bulkhead(&bulkhead(1));
            let policy = builder.build().unwrap();
            assert_eq!(refused(&policy).await, (None, 0, 0));
            assert_eq!(refused(&policy).await, (None, 0, 0), "after a second");
            // Nothing comes back any more.
            policy.bucket().unwrap().set_rate(1, 0.001).unwrap();
            assert_eq!(refused(&policy).await, (Some(Stage::Bucket), 1, 0));
            policy.bucket().unwrap().set_rate(10, 1_000.0).unwrap();
            advance(ms(100)).await;
            let inside = policy.bulkhead().unwrap().try_enter().unwrap();
            assert_eq!(refused(&policy).await, (Some(Stage::Bulkhead), 1, 1));
            drop(inside);
            assert_eq!(refused(&policy).await, (None, 1, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_through_a_policy_that_does_not_wait_is_counted_at_once() {
        let builder = Policy::builder_with_clock(nothing(), TokioClock::new());
        let builder = builder.bucket(&bucket(1)).bulkhead(&bulkhead(1));
        let policy = builder.build().unwrap();
        assert_eq!(refused(&policy).await, (None, 0, 0));
        assert_eq!(refused(&policy).await, (Some(Stage::Bucket), 1, 0));
        policy.bucket().unwrap().set_rate(10, 1_000.0).unwrap();
        advance(ms(100)).await;
        let inside = policy.bulkhead().unwrap().try_enter().unwrap();
        assert_eq!(refused(&policy).await, (Some(Stage::Bulkhead), 1, 1));
        let blocking = policy.clone().blocking().unwrap();
        blocking.call(|| Ok::<_, ()>(1)).unwrap_err();
        assert_eq!(policy.bulkhead().unwrap().snapshot().rejected, 2);
        drop(inside);
    }
}
