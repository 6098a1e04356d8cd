//! The token bucket from outside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use oneiric_resilience::{Clock, ManualClock, Moment, Rejection, TokenBucket, TokenBucketConfig};

fn config(capacity: u32, refill_per_sec: f64) -> TokenBucketConfig {
    TokenBucketConfig {
        capacity,
        refill_per_sec,
        ..TokenBucketConfig::default()
    }
}

fn manual(capacity: u32, refill_per_sec: f64) -> (ManualClock, TokenBucket<ManualClock>) {
    let clock = ManualClock::new();
    let bucket = TokenBucket::with_clock(config(capacity, refill_per_sec), clock.clone());
    (clock, bucket.unwrap())
}

#[test]
fn a_full_bucket_lets_its_capacity_go_and_then_its_rate() {
    let (clock, bucket) = manual(3, 2.0);
    bucket.try_take(3).unwrap();
    let rejected = bucket.try_take(1).unwrap_err();
    assert_eq!(rejected.code(), "resilience.rate_limited");
    assert_eq!(rejected.retry_after(), Some(Duration::from_millis(500)));
    clock.advance(Duration::from_millis(499));
    assert!(bucket.try_take(1).is_err());
    clock.advance(Duration::from_millis(1));
    bucket.try_take(1).unwrap();
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(bucket.available(), 3);
}

#[test]
fn more_than_it_can_ever_hold_is_never_granted() {
    let (_, bucket) = manual(3, 2.0);
    let rejected = bucket.try_take(4).unwrap_err();
    assert_eq!(rejected.code(), "resilience.over_capacity");
    assert_eq!(rejected.retry_after(), None);
    let rejected = bucket.reserve(4, Duration::MAX).unwrap_err();
    assert_eq!(rejected.rejection(), Rejection::OverCapacity);
    assert_eq!(bucket.available(), 3);
}

#[test]
fn taking_none_always_works() {
    let (_, bucket) = manual(1, 1.0);
    bucket.try_take(1).unwrap();
    let _booked = bucket.reserve(1, Duration::MAX).unwrap();
    assert_eq!(bucket.try_take(0), Ok(()));
}

#[test]
fn settings_that_cannot_work_are_refused_by_construction_and_by_change() {
    let invalid = TokenBucket::new(config(0, -1.0)).unwrap_err();
    assert_eq!(invalid.code(), "resilience.invalid_config");
    assert_eq!(invalid.faults().len(), 2);
    let (_, bucket) = manual(3, 2.0);
    assert_eq!(bucket.set_rate(5, f64::NAN).unwrap_err().faults().len(), 1);
    assert_eq!(bucket.snapshot().capacity, 3);
}

#[test]
fn a_change_keeps_what_the_bucket_holds_and_gives_nothing() {
    let (clock, bucket) = manual(10, 1.0);
    bucket.try_take(4).unwrap();
    bucket.set_rate(100, 10.0).unwrap();
    assert_eq!(bucket.available(), 6);
    clock.advance(Duration::from_secs(1));
    assert_eq!(bucket.available(), 16);
    bucket.set_rate(5, 1.0).unwrap();
    bucket.set_rate(100, 10.0).unwrap();
    assert_eq!(bucket.available(), 5, "what did not fit is gone");
}

/// Panics when it is read for the so-manieth time from now.
#[derive(Debug, Clone, Default)]
struct Faulty(Arc<AtomicU32>);

impl Clock for Faulty {
    fn now(&self) -> Moment {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        assert_ne!(left, 1, "in a clock, as planned");
        Moment::from_nanos(5)
    }
}

#[test]
fn a_clock_that_panics_in_a_change_leaves_the_bucket_as_it_was() {
    crate::foreign::ends(|| {
        for reading in 1..=2 {
            let clock = Faulty::default();
            let bucket = TokenBucket::with_clock(config(3, 1.0), clock.clone()).unwrap();
            bucket.try_take(1).unwrap();
            clock.0.store(reading, Ordering::SeqCst);
            let changed = catch_unwind(AssertUnwindSafe(|| bucket.set_rate(5, 5.0)));
            assert!(changed.is_err(), "at reading {reading}");
            let snapshot = bucket.snapshot();
            assert_eq!((snapshot.capacity, snapshot.available), (3, 2));
            assert_eq!(bucket.try_take(2), Ok(()));
            assert!(bucket.try_take(1).is_err());
            bucket.set_rate(5, 5.0).unwrap();
            assert_eq!(bucket.snapshot().capacity, 5);
        }
    });
}

/// A clock that may go back, though none should.
#[derive(Debug, Clone, Default)]
struct Unsteady(Arc<AtomicU64>);

impl Clock for Unsteady {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn a_clock_that_goes_back_by_years_ends_nothing_but_the_tokens() {
    let clock = Unsteady::default();
    let year = 365 * 86_400 * 1_000_000_000;
    clock.0.store(6 * year, Ordering::SeqCst);
    let bucket = TokenBucket::with_clock(config(2, 1.0), clock.clone()).unwrap();
    clock.0.store(12 * year, Ordering::SeqCst);
    bucket.try_take(1).unwrap();
    clock.0.store(6 * year, Ordering::SeqCst);
    let refused = bucket.try_take(1).unwrap_err();
    assert_eq!(refused.rejection(), Rejection::RateLimited);
    assert!(refused.retry_after() > Some(5 * Duration::from_nanos(year)));
    assert_eq!(bucket.available(), 0);
    assert!(bucket.reserve(1, Duration::MAX).is_err());
    clock.0.store(13 * year, Ordering::SeqCst);
    bucket.try_take(2).unwrap();
}

#[test]
fn reservations_come_one_after_the_other_and_move_up_when_one_is_dropped() {
    let (clock, bucket) = manual(2, 1.0);
    let now = bucket.reserve(2, Duration::ZERO).unwrap();
    assert_eq!(now.remaining(), Duration::ZERO);
    let first = bucket.reserve(1, Duration::from_secs(9)).unwrap();
    let second = bucket.reserve(2, Duration::from_secs(9)).unwrap();
    let third = bucket.reserve(1, Duration::from_secs(9)).unwrap();
    let secs = |secs| Duration::from_secs(secs);
    assert_eq!(
        [&first, &second, &third].map(|one| one.remaining()),
        [secs(1), secs(3), secs(4)]
    );
    drop(second);
    assert_eq!(
        [&first, &third].map(|one| one.remaining()),
        [secs(1), secs(2)]
    );
    drop(now);
    clock.advance(secs(1));
    drop(first);
    assert_eq!(
        third.remaining(),
        secs(1),
        "what is dropped after its time was used"
    );
    assert_eq!(third.ready_at(), clock.now().after(secs(1)));
    clock.advance(secs(1));
    assert!(bucket.try_take(1).is_err());
}

#[test]
fn a_reservation_that_would_come_too_late_is_refused_with_how_much_too_late() {
    let (_, bucket) = manual(1, 1.0);
    bucket.try_take(1).unwrap();
    let rejected = bucket.reserve(1, Duration::from_millis(300)).unwrap_err();
    assert_eq!(rejected.code(), "resilience.deadline_too_near");
    assert_eq!(rejected.retry_after(), Some(Duration::from_millis(700)));
    assert!(bucket.reserve(1, Duration::from_secs(1)).is_ok());
}

#[test]
fn reservations_are_bounded() {
    let clock = ManualClock::new();
    let bounded = TokenBucketConfig {
        max_waiters: 1,
        ..config(1, 1.0)
    };
    let bucket = TokenBucket::with_clock(bounded, clock).unwrap();
    bucket.try_take(1).unwrap();
    let _booked = bucket.reserve(1, Duration::MAX).unwrap();
    let rejected = bucket.reserve(1, Duration::MAX).unwrap_err();
    assert_eq!(rejected.code(), "resilience.queue_full");
    assert_eq!(rejected.retry_after(), Some(Duration::from_secs(1)));
}

#[cfg(feature = "serde")]
#[test]
fn settings_are_read_and_unknown_ones_refused() {
    let read: TokenBucketConfig = toml::from_str("capacity = 7").unwrap();
    assert_eq!(read, config(7, 100.0));
    assert!(toml::from_str::<TokenBucketConfig>("burst = 7").is_err());
}

#[cfg(feature = "tokio")]
mod waiting {
    use std::sync::atomic::AtomicU64;
    use std::task::{Context, Waker};

    use oneiric_resilience::{Deadline, Take, TokenBucketSnapshot, TokioClock};
    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::foreign::{bells, ends, owning, rang};

    type Bucket = TokenBucket<TokioClock>;

    fn tokio_bucket(capacity: u32, refill_per_sec: f64) -> Bucket {
        TokenBucket::with_clock(config(capacity, refill_per_sec), TokioClock::new()).unwrap()
    }

    /// A task that takes, once it stands in the line; answers with how long after `start` it had.
    async fn queued(bucket: &Bucket, tokens: u32, start: Instant) -> JoinHandle<Duration> {
        let take = bucket.take(tokens);
        let waiting = bucket.snapshot().waiting;
        let task = tokio::spawn(async move {
            take.await.unwrap();
            start.elapsed()
        });
        while bucket.snapshot().waiting == waiting {
            yield_now().await;
        }
        task
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_served_in_order_and_nobody_passes_them() {
        let bucket = tokio_bucket(4, 2.0);
        bucket.try_take(4).unwrap();
        let start = Instant::now();
        let large = queued(&bucket, 4, start).await;
        let small = queued(&bucket, 1, start).await;
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        assert_eq!(bucket.available(), 3);
        let rejected = bucket.try_take(1).unwrap_err();
        assert_eq!(rejected.rejection(), Rejection::RateLimited);
        // For the four, the one and this one: 6 tokens, of which 3.2 are there.
        assert_eq!(rejected.retry_after(), Some(Duration::from_millis(1_400)));
        let rejected = bucket.reserve(1, Duration::MAX).unwrap_err();
        assert_eq!(rejected.rejection(), Rejection::RateLimited);
        assert_eq!(large.await.unwrap(), Duration::from_secs(2));
        assert_eq!(small.await.unwrap(), Duration::from_millis(2_500));
        assert_eq!(bucket.try_take(0), Ok(()));
        assert_eq!(bucket.snapshot().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_stands_in_line_for_a_turn_after_the_deadline_around() {
        const LONG: Duration = Duration::from_secs(10);
        let bucket = tokio_bucket(4, 0.5);
        bucket.try_take(4).unwrap();
        let start = Instant::now();
        let by = Deadline::within(Duration::from_secs(1));
        for take in [
            bucket.take(1),
            bucket.take_within(1, LONG),
            bucket.take_before(1, Deadline::within(LONG)),
        ] {
            let rejected = by.scope(take).await.unwrap().unwrap_err();
            assert_eq!(rejected.rejection(), Rejection::DeadlineTooNear);
            assert_eq!(rejected.retry_after(), Some(Duration::from_secs(1)));
            assert_eq!(
                (start.elapsed(), bucket.snapshot().waiting),
                (Duration::ZERO, 0)
            );
        }
        // The earlier of both counts, and a turn before it is waited for.
        let by = Deadline::within(Duration::from_secs(3));
        let take = bucket.take_within(1, Duration::from_secs(1));
        let rejected = by.scope(take).await.unwrap().unwrap_err();
        assert_eq!(rejected.rejection(), Rejection::DeadlineTooNear);
        by.scope(bucket.take_within(1, LONG))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn p57_a_waiter_that_goes_away_leaks_nothing_and_the_next_moves_up() {
        let bucket = tokio_bucket(4, 2.0);
        bucket.try_take(4).unwrap();
        let start = Instant::now();
        let first = queued(&bucket, 4, start).await;
        let second = queued(&bucket, 1, start).await;
        let third = queued(&bucket, 2, start).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(second.await.unwrap(), Duration::from_millis(500));
        assert_eq!(third.await.unwrap(), Duration::from_millis(1_500));
    }

    #[tokio::test(start_paused = true)]
    async fn p57_any_cancellations_leave_the_bucket_as_it_was() {
        for seed in 0..20 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut draw = |below: u32| chance.u32(..below);
            let bucket = tokio_bucket(5, 1_000.0);
            let taken = Arc::new(AtomicU64::new(0));
            let start = Instant::now();
            let mut tasks = Vec::new();
            for _ in 0..100 {
                let (take, taken) = (bucket.take(1 + draw(5)), Arc::clone(&taken));
                let patience = Duration::from_millis(u64::from(draw(200)));
                tasks.push(tokio::spawn(async move {
                    match timeout(patience, take).await {
                        Ok(done) => {
                            done.unwrap();
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_elapsed) => {}
                    }
                }));
                if draw(3) == 0 {
                    tokio::time::sleep(Duration::from_millis(u64::from(draw(4)))).await;
                }
                if draw(4) == 0 {
                    let which = draw(u32::try_from(tasks.len()).unwrap());
                    tasks[which as usize].abort();
                }
            }
            for task in tasks {
                drop(task.await);
            }
            let most = 5 + start.elapsed().as_millis();
            assert!(
                u128::from(taken.load(Ordering::Relaxed)) <= most,
                "seed {seed}"
            );
            assert!(taken.load(Ordering::Relaxed) > 0, "seed {seed}");
            let TokenBucketSnapshot {
                waiting, reserved, ..
            } = bucket.snapshot();
            assert_eq!((waiting, reserved), (0, 0), "seed {seed}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(bucket.try_take(5), Ok(()), "seed {seed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p55_those_who_wait_never_come_in_a_larger_burst_than_the_bucket_holds() {
        // Four tokens a millisecond, of which a timer sees nothing; two at once are all there may be.
        let bucket = tokio_bucket(2, 4_000.0);
        let clock = TokioClock::new();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (take, clock) = (bucket.take(1), clock.clone());
                tokio::spawn(async move {
                    take.await.unwrap();
                    clock.now()
                })
            })
            .collect();
        let mut moments = Vec::new();
        for task in tasks {
            moments.push(task.await.unwrap());
        }
        assert!(moments.is_sorted());
        for (at, from) in moments.iter().enumerate() {
            for (more, to) in moments[at..].iter().enumerate() {
                let came = to.since(*from).as_secs_f64() * 4_000.0;
                assert!((more + 1) as f64 <= 2.0 + came + 1e-6, "{from:?} to {to:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded() {
        let bounded = TokenBucketConfig {
            max_waiters: 1,
            ..config(1, 1.0)
        };
        let bucket = TokenBucket::with_clock(bounded, TokioClock::new()).unwrap();
        bucket.take(1).await.unwrap();
        let waiting = queued(&bucket, 1, Instant::now()).await;
        let rejected = bucket.take(1).await.unwrap_err();
        assert_eq!(rejected.code(), "resilience.queue_full");
        assert_eq!(rejected.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(
            bucket.take(2).await.unwrap_err().code(),
            "resilience.over_capacity"
        );
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_too_little_time_is_refused_at_once() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.take(1).await.unwrap();
        let start = Instant::now();
        let _first = queued(&bucket, 1, start).await;
        let rejected = bucket.take_within(1, Duration::from_millis(1_500)).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let rejected = rejected.unwrap_err();
        assert_eq!(rejected.code(), "resilience.deadline_too_near");
        assert_eq!(rejected.retry_after(), Some(Duration::from_millis(500)));
        let deadline = Deadline::within(Duration::from_secs(2));
        bucket.take_before(1, deadline).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_runs_out_of_time_in_the_line_is_told_so() {
        let bucket = tokio_bucket(2, 1.0);
        bucket.take(2).await.unwrap();
        let start = Instant::now();
        let first = queued(&bucket, 1, start).await;
        let late = bucket.take_within(1, Duration::from_secs(3));
        let slower = async {
            yield_now().await;
            bucket.set_rate(2, 0.5).unwrap();
        };
        let (late, ()) = tokio::join!(late, slower);
        assert_eq!(late.unwrap_err().rejection(), Rejection::DeadlineTooNear);
        assert_eq!(start.elapsed(), Duration::ZERO, "the change told it");
        assert_eq!(first.await.unwrap(), Duration::from_secs(2));
    }

    /// Has been polled once, and then never again.
    fn abandoned(bucket: &Bucket, max_wait: Duration) -> Take<TokioClock> {
        let mut take = bucket.take_within(1, max_wait);
        assert!(poll_once(&mut take, Waker::noop()));
        take
    }

    /// Whether it has to wait.
    fn poll_once(future: &mut (impl Future + Unpin), waker: &Waker) -> bool {
        let mut context = Context::from_waker(waker);
        std::pin::Pin::new(future).poll(&mut context).is_pending()
    }

    const SECOND: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn who_is_kept_but_not_polled_loses_its_place_when_its_time_is_over() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let kept = abandoned(&bucket, 2 * SECOND);
        tokio::time::advance(2 * SECOND + LATE).await;
        assert!(bucket.try_take(1).is_err(), "it may still come");
        assert_eq!(bucket.snapshot().waiting, 1);
        tokio::time::advance(Duration::from_nanos(1)).await;
        assert_eq!(bucket.try_take(1), Ok(()));
        assert_eq!(bucket.snapshot().waiting, 0);
        let lost = kept.await.unwrap_err();
        assert_eq!(lost.rejection(), Rejection::DeadlineTooNear);
        assert_eq!(lost.retry_after(), Some(SECOND));

        for look in [0, 1, 2] {
            tokio::time::advance(SECOND).await;
            bucket.try_take(1).unwrap();
            let kept = abandoned(&bucket, 2 * SECOND);
            tokio::time::advance(1_000 * SECOND).await;
            match look {
                0 => drop(bucket.reserve(1, Duration::ZERO).unwrap()),
                1 => bucket.take(1).await.unwrap(),
                _ => assert_eq!(bucket.snapshot().waiting, 0),
            }
            drop(kept);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_behind_one_who_lost_its_place_move_up_by_themselves() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let start = Instant::now();
        let kept = [2, 3, 4].map(|secs| abandoned(&bucket, secs * SECOND));
        let behind = queued(&bucket, 1, start).await;
        let last = queued(&bucket, 1, start).await;
        // When its own turn should have come, two had lost their places; now the third has.
        assert_eq!(behind.await.unwrap(), 5 * SECOND);
        assert_eq!(last.await.unwrap(), 6 * SECOND);
        drop(kept);
    }

    #[tokio::test(start_paused = true)]
    async fn those_behind_one_whose_deadline_came_later_know_of_it() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let start = Instant::now();
        let mut kept = bucket.take(1);
        assert!(poll_once(&mut kept, Waker::noop()));
        let gone = queued(&bucket, 1, start).await;
        let behind = queued(&bucket, 1, start).await;
        let hurried = Deadline::within(3 * SECOND).scope(std::future::poll_fn(|_| {
            assert!(poll_once(&mut kept, Waker::noop()));
            std::task::Poll::Ready(())
        }));
        hurried.await.unwrap();
        yield_now().await;
        gone.abort();
        let limit = timeout(1_000 * SECOND, behind).await;
        assert!(limit.expect("nobody else looks").unwrap() < 4 * SECOND);
        drop(kept);
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_are_lost_are_free_for_others() {
        let config = TokenBucketConfig {
            max_waiters: 2,
            ..config(1, 1.0)
        };
        let bucket = TokenBucket::with_clock(config, TokioClock::new()).unwrap();
        bucket.try_take(1).unwrap();
        let start = Instant::now();
        let large = queued(&bucket, 1, start).await;
        let _kept = abandoned(&bucket, 2 * SECOND);
        let full = bucket.take(1).await.unwrap_err();
        assert_eq!(full.rejection(), Rejection::QueueFull);
        // The first is served; the other one waits in vain.
        assert_eq!(large.await.unwrap(), SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(bucket.take(1).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_but_before_all_others_is_served() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let kept = abandoned(&bucket, 2 * SECOND);
        tokio::time::advance(1_000 * SECOND).await;
        assert_eq!(kept.await, Ok(()));
    }

    #[test]
    fn wakers_may_use_the_bucket_when_they_are_dropped() {
        ends(|| {
            let runtime = crate::shield::runtime();
            let _entered = runtime.enter();
            let bucket = tokio_bucket(1, 0.001);
            bucket.try_take(1).unwrap();
            let waiting = |waker: &Waker| {
                let mut take = bucket.take(1);
                assert!(poll_once(&mut take, waker));
                take
            };
            let _first = waiting(Waker::noop());
            // When its waker goes, its place is given up, or the waker is exchanged for another.
            let take = waiting(&owning(waiting(Waker::noop())));
            drop(take);
            let mut again = waiting(&owning(waiting(Waker::noop())));
            assert!(poll_once(&mut again, Waker::noop()));
            drop(again);
            assert_eq!(bucket.snapshot().waiting, 1);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_waker_that_panics_leaves_no_other_asleep() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let reserve = || bucket.reserve(1, Duration::MAX).unwrap().wait();
        let mut waiting = [(); 3].map(|()| reserve());
        let bells = bells::<3>();
        for (waiting, bell) in waiting.iter_mut().zip(&bells) {
            assert!(poll_once(waiting, &Arc::clone(bell).into()));
        }
        let changed = catch_unwind(AssertUnwindSafe(|| bucket.set_rate(1, 1_000.0)));
        assert!(changed.is_err(), "the panic goes on");
        assert_eq!(rang(&bells), [1; 3]);
        assert!(bucket.set_rate(1, 1.0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_moves_those_who_wait_and_refuses_who_wants_too_much() {
        let bucket = tokio_bucket(4, 1.0);
        bucket.take(4).await.unwrap();
        let start = Instant::now();
        let reserved = bucket.reserve(2, Duration::MAX).unwrap();
        let reserved = tokio::spawn(async move {
            reserved.wait().await;
            start.elapsed()
        });
        let small = queued(&bucket, 2, start).await;
        let large = tokio::spawn(bucket.take(4));
        while bucket.snapshot().waiting < 2 {
            yield_now().await;
        }
        bucket.set_rate(3, 10.0).unwrap();
        assert_eq!(reserved.await.unwrap(), Duration::from_millis(200));
        assert_eq!(small.await.unwrap(), Duration::from_millis(400));
        let rejected = large.await.unwrap().unwrap_err();
        assert_eq!(rejected.rejection(), Rejection::OverCapacity);
    }

    #[tokio::test(start_paused = true)]
    async fn reservations_are_waited_for_and_given_back_when_the_wait_is_dropped() {
        let bucket = tokio_bucket(1, 1.0);
        bucket.take(1).await.unwrap();
        let start = Instant::now();
        let first = bucket.reserve(1, Duration::MAX).unwrap().wait();
        let second = tokio::spawn(bucket.reserve(1, Duration::MAX).unwrap().wait());
        let behind = queued(&bucket, 1, start).await;
        timeout(Duration::from_millis(10), first).await.unwrap_err();
        second.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(behind.await.unwrap(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn futures_are_named_owned_and_unpin() {
        fn check<F: Future + Send + Sync + Unpin + 'static>(future: F) -> F {
            future
        }
        let bucket = tokio_bucket(1, 1.0);
        let take: Take<TokioClock> = check(bucket.take(1));
        drop(bucket.clone());
        take.await.unwrap();
        check(bucket.reserve(1, Duration::MAX).unwrap().wait()).await;
    }
}
