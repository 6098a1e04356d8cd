//! What must not allocate, counted by an allocator that this program has for itself.

#![cfg(feature = "tokio")]

use std::future::ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use oneiric_resilience::{
    Breaker, BreakerConfig, BreakerState, BreakerWindow, Bulkhead, BulkheadConfig, KeyOverflow,
    KeyedBuckets, KeyedBucketsConfig, ManualClock, Policy, PolicyConfig, Retry, RetryBudgetConfig,
    RetryConfig, TokenBucket, TokenBucketConfig,
};

fn limited() -> RetryConfig {
    RetryConfig {
        total_limit: Some(Duration::from_secs(60)),
        attempt_limit: Some(Duration::from_secs(10)),
        budget: Some(RetryBudgetConfig::default()),
        ..RetryConfig::default()
    }
}

fn success(retry: &Retry) {
    let run = pin!(retry.run_async(|| ready(Ok::<_, ()>(7))));
    let polled = run.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Ok(7)));
    assert_eq!(retry.run(|| Ok::<_, ()>(7)), Ok(7));
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(Box::new(7))).count_total, 1);
}

#[test]
fn a_retry_that_succeeds_at_once_allocates_nothing() {
    let retry = Retry::new(RetryConfig::default()).unwrap();
    success(&retry);
    assert_eq!(measure(|| success(&retry)).count_total, 0);
}

#[test]
fn nor_does_it_with_all_its_limits() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let retry = Retry::new(limited()).unwrap();
    success(&retry);
    assert_eq!(measure(|| success(&retry)).count_total, 0);
}

#[test]
fn nor_does_a_retry_that_has_to_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let retry = Retry::new(limited()).unwrap();
    let run = || {
        let mut left = 2;
        let answer = retry.run_async(move || {
            left -= 1;
            ready(if left < 0 { Ok(()) } else { Err(()) })
        });
        assert_eq!(runtime.block_on(answer), Ok(()));
    };
    run();
    assert_eq!(measure(run).count_total, 0);
}

/// A policy with all stages that hold on a thread too.
fn gates() -> PolicyConfig {
    PolicyConfig {
        retry: Some(limited()).map(|retry| RetryConfig {
            attempt_limit: None,
            ..retry
        }),
        breaker: Some(BreakerConfig::default()),
        bucket: Some(TokenBucketConfig::default()),
        bulkhead: Some(BulkheadConfig::default()),
        ..PolicyConfig::default()
    }
}

#[test]
fn a_policy_that_succeeds_at_once_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let policy = Policy::new(PolicyConfig {
        deadline: Some(Duration::from_secs(60)),
        bucket_wait: Duration::from_secs(1),
        bulkhead_wait: Duration::from_secs(1),
        attempt_limit: Some(Duration::from_secs(10)),
        ..gates()
    })
    .unwrap();
    let call = || {
        let call = pin!(policy.call(|| ready(Ok::<_, ()>(7))));
        let polled = call.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(7)));
    };
    call();
    assert_eq!(measure(call).count_total, 0);
    assert_eq!(measure(|| drop(policy.clone())).count_total, 0);
}

#[test]
fn nor_does_one_on_a_thread() {
    let policy = Policy::new(gates()).unwrap().blocking().unwrap();
    let call = || assert_eq!(policy.call(|| Ok::<_, ()>(7)), Ok(7));
    call();
    assert_eq!(measure(call).count_total, 0);
}

#[test]
fn a_breaker_allocates_nothing_after_it_was_made() {
    let clock = ManualClock::new();
    let windows = [
        BreakerWindow::Calls(100),
        BreakerConfig::default().window,
        BreakerWindow::Consecutive(5),
    ];
    for window in windows {
        let config = BreakerConfig {
            window,
            ..BreakerConfig::default()
        };
        let breaker = Breaker::with_clock(config, clock.clone()).unwrap();
        let fall_and_rise = || {
            for _ in 0..50_000 {
                assert!(breaker.call(|| Ok::<_, ()>(())).is_ok());
            }
            while breaker.state() == BreakerState::Closed {
                assert!(breaker.call(|| Err::<(), _>(())).is_err());
            }
            assert!(breaker.permit().is_err());
            clock.advance(Duration::from_secs(60));
            while breaker.state() != BreakerState::Closed {
                assert!(breaker.call(|| Ok::<_, ()>(())).is_ok());
            }
        };
        assert_eq!(measure(fall_and_rise).count_total, 0, "{window:?}");
    }
}

#[test]
fn entering_a_bulkhead_and_being_refused_allocates_nothing() {
    let bulkhead = Bulkhead::new(BulkheadConfig {
        limit: 2,
        max_waiters: 0,
        ..BulkheadConfig::default()
    })
    .unwrap();
    let visit = || {
        let _guard = bulkhead.try_enter().unwrap();
        let mut enter = bulkhead.enter();
        let polled = pin!(&mut enter).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(permit)) = polled else {
            panic!("{polled:?}");
        };
        assert!(bulkhead.try_enter().is_err());
        drop(permit);
        drop(bulkhead.try_enter_owned().unwrap());
    };
    visit();
    assert_eq!(measure(visit).count_total, 0);
}

/// However many processors there are: a program may have a bucket for each of many.
#[test]
fn a_bucket_takes_little_more_than_a_kilobyte() {
    let mut buckets = Vec::with_capacity(2);
    let mut made =
        || measure(|| buckets.push(TokenBucket::new(TokenBucketConfig::default()).unwrap()));
    made();
    // The first one asks how many processors there are, which reads files.
    let second = made();
    assert!(second.bytes_total <= 1_300, "{second:?}");
}

#[test]
fn taking_from_a_bucket_and_being_refused_allocates_nothing() {
    let clock = ManualClock::new();
    let config = TokenBucketConfig {
        capacity: 2,
        refill_per_sec: 1.0,
        ..TokenBucketConfig::default()
    };
    let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
    let take = || {
        assert!(bucket.try_take(2).is_ok());
        assert!(bucket.try_take(1).is_err());
        assert!(bucket.try_take(3).is_err());
        let mut take = pin!(bucket.take(1));
        clock.advance(Duration::from_secs(1));
        let polled = take.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(())));
        clock.advance(Duration::from_secs(2));
        assert_eq!(bucket.snapshot().available, 2);
    };
    take();
    assert_eq!(measure(take).count_total, 0);
}

#[test]
fn buckets_by_key_allocate_nothing_after_they_were_made_nor_for_a_new_key() {
    for overflow in [KeyOverflow::Refuse, KeyOverflow::Share] {
        let clock = ManualClock::new();
        let config = KeyedBucketsConfig {
            capacity: 1,
            refill_per_sec: 1.0,
            max_keys: 100,
            overflow,
        };
        let buckets = KeyedBuckets::<u32, _>::with_clock(config, clock.clone()).unwrap();
        // Never the same keys, and more than there is place for.
        let mut first = 0;
        let mut come_and_go = || {
            let keys = first..first + 200;
            let taken = keys.clone().filter(|key| buckets.try_take(key, 1).is_ok());
            assert!((100..=101).contains(&taken.count()));
            assert_eq!(buckets.len(), 100);
            assert!(keys.clone().all(|key| buckets.try_take(&key, 1).is_err()));
            assert!(keys.clone().all(|key| buckets.try_take(&key, 2).is_err()));
            clock.advance(Duration::from_secs(1));
            assert_eq!(buckets.available(&first), 1);
            first = keys.end;
        };
        come_and_go();
        let counted = measure(&mut come_and_go).count_total;
        assert_eq!(counted, 0, "{overflow:?}");
        assert_eq!(measure(|| assert_eq!(buckets.sweep(), 100)).count_total, 0);
        assert!(buckets.is_empty());
    }
}

#[cfg(feature = "tower")]
mod layers {
    use std::future::{Ready, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use allocation_counter::measure;
    use oneiric_resilience::layers::{
        AsyncFallbackLayer, BreakerLayer, BucketLayer, BulkheadLayer, DeadlineLayer, FallbackLayer,
        InnerLayer, PolicyLayer, RetryLayer, TimeoutLayer,
    };
    use oneiric_resilience::{
        Breaker, BreakerConfig, Bulkhead, BulkheadConfig, Error, Fallback, Policy, PolicyConfig,
        Retry, TokenBucket, TokenBucketConfig,
    };
    use tower::{Layer, Service};

    type Inner = oneiric_resilience::layers::WithInner<Plain>;

    /// Answers at once.
    #[derive(Debug, Clone, Copy)]
    struct Plain;

    impl Service<u32> for Plain {
        type Response = u32;
        type Error = ();
        type Future = Ready<Result<u32, ()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: u32) -> Self::Future {
            ready(Ok(request))
        }
    }

    fn allocated<S: Service<u32, Response = u32, Error = Error<()>>>(mut service: S) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime can be made");
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = || {
            assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Ok(())));
            assert_eq!(
                pin!(service.call(7)).poll(&mut cx),
                Poll::Ready(Ok(7)),
                "at once"
            );
        };
        call();
        measure(call).count_total
    }

    fn lay<L: Layer<Inner>>(layer: &L) -> L::Service {
        layer.layer(InnerLayer.layer(Plain))
    }

    #[test]
    fn no_layer_allocates_for_a_call_that_goes_through() {
        let second = Duration::from_secs(1);
        let breaker = Breaker::new(BreakerConfig::default()).unwrap();
        assert_eq!(allocated(lay(&BreakerLayer::new(breaker))), 0);
        let bucket = TokenBucket::new(TokenBucketConfig::default()).unwrap();
        assert_eq!(allocated(lay(&BucketLayer::new(bucket))), 0);
        let bulkhead = Bulkhead::new(BulkheadConfig::default()).unwrap();
        assert_eq!(allocated(lay(&BulkheadLayer::new(bulkhead.clone()))), 0);
        assert_eq!(allocated(lay(&BulkheadLayer::new(bulkhead).shed())), 0);
        let retry = Retry::new(super::limited()).unwrap();
        assert_eq!(allocated(lay(&RetryLayer::new(retry))), 0);
        assert_eq!(allocated(lay(&TimeoutLayer::new(second))), 0);
        assert_eq!(allocated(lay(&DeadlineLayer::new(second))), 0);
        assert_eq!(allocated(lay(&FallbackLayer::new(Fallback::value(0)))), 0);
        let second = Fallback::new(|error: Error<()>| ready(Err(error)));
        assert_eq!(allocated(lay(&AsyncFallbackLayer::new(second))), 0);
    }

    #[test]
    fn nor_does_a_policy_with_every_stage() {
        let second = Duration::from_secs(1);
        let policy = Policy::new(PolicyConfig {
            deadline: Some(60 * second),
            retry: Some(oneiric_resilience::RetryConfig {
                attempt_limit: None,
                ..super::limited()
            }),
            breaker: Some(BreakerConfig::default()),
            bucket: Some(TokenBucketConfig::default()),
            bucket_wait: second,
            bulkhead: Some(BulkheadConfig::default()),
            bulkhead_wait: second,
            attempt_limit: Some(second),
            ..PolicyConfig::default()
        });
        let layer = PolicyLayer::new(policy.unwrap());
        assert_eq!(allocated(layer.layer(Plain)), 0);
    }
}
