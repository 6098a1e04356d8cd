//! What is promised of the breaker, P50 to P54.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, BackoffJitter, Breaker, BreakerConfig, BreakerState, BreakerWindow, Clock,
    Error, Moment, Outcome,
};

use super::{SECOND, after_failures_in_a_row, call, with_clock};

#[test]
fn p50_after_a_million_successes_one_window_of_failures_opens_it() {
    let (breaker, _) = with_clock(BreakerConfig {
        window: BreakerWindow::Calls(100),
        ..BreakerConfig::default()
    });
    for _ in 0..1_000_000 {
        breaker.call(|| Ok::<_, ()>(())).unwrap();
    }
    let failures = (1..=100).find(|_| {
        breaker.call(|| Err::<(), _>(())).unwrap_err();
        breaker.state() == BreakerState::Open
    });
    assert_eq!(failures, Some(50), "half of a window of 100");
}

#[test]
fn p50_the_same_by_time_once_the_successes_are_too_long_ago() {
    let (breaker, clock) = with_clock(BreakerConfig::default());
    for _ in 0..1_000_000 {
        breaker.call(|| Ok::<_, ()>(())).unwrap();
    }
    clock.advance(10 * SECOND);
    let failures = (1..=100).find(|_| {
        call(&breaker, Outcome::Failure);
        breaker.state() == BreakerState::Open
    });
    // Fewer than 32 of the successes may be taken for younger than they are: they waited for a bucket.
    assert!((1..=20).contains(&failures.unwrap()), "{failures:?}");
}

#[test]
fn p51_of_64_threads_no_more_get_through_than_there_are_probes() {
    const THREADS: usize = 64;
    for probes in [1, 3, 10] {
        let (breaker, clock) = with_clock(BreakerConfig {
            probes,
            half_open_max: 60 * SECOND,
            ..after_failures_in_a_row(1)
        });
        call(&breaker, Outcome::Failure);
        clock.advance(SECOND);
        let (start, end) = (Barrier::new(THREADS), Barrier::new(THREADS));
        let let_through = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let permit = breaker.permit();
                    if permit.is_ok() {
                        let_through.fetch_add(1, Ordering::Relaxed);
                    }
                    end.wait();
                    if let Ok(permit) = permit {
                        permit.record(Outcome::Success);
                    }
                });
            }
        });
        assert_eq!(let_through.into_inner(), probes as usize);
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.snapshot().rejected, 64 - u64::from(probes));
    }
}

#[test]
fn p51_a_dropped_probe_gives_its_slot_to_the_next() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    call(&breaker, Outcome::Failure);
    clock.advance(SECOND);
    for _ in 0..1_000 {
        let permit = breaker.permit().unwrap();
        assert!(breaker.permit().is_err(), "there is one slot");
        drop(permit);
    }
    assert!(call(&breaker, Outcome::Success));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn p51_a_probe_that_hangs_does_not_keep_it_half_open() {
    let (breaker, clock) = with_clock(BreakerConfig {
        half_open_max: 5 * SECOND,
        ..after_failures_in_a_row(1)
    });
    call(&breaker, Outcome::Failure);
    clock.advance(SECOND);
    let hung = breaker.permit().unwrap();
    clock.advance(5 * SECOND);
    let rejected = breaker.permit().unwrap_err();
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(rejected.retry_after(), Some(SECOND));
    clock.advance(SECOND);
    let probe = breaker.permit().unwrap();
    // What hung comes back, to a half-open time that is not its own.
    hung.record(Outcome::Failure);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.record(Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// Fewer calls than one in `half_open_max` are no probes that hang.
#[test]
fn p51_few_calls_close_it_as_well_as_many() {
    let (breaker, clock) = with_clock(BreakerConfig {
        probes: 3,
        half_open_max: 30 * SECOND,
        ..after_failures_in_a_row(1)
    });
    call(&breaker, Outcome::Failure);
    for _ in 0..2 {
        clock.advance(31 * SECOND);
        assert!(call(&breaker, Outcome::Success));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    // The time of the last one begins when it does.
    clock.advance(31 * SECOND);
    let last = breaker.permit().unwrap();
    clock.advance(30 * SECOND - Duration::from_nanos(1));
    assert!(breaker.permit().is_err(), "it is under way");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    last.record(Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn p52_rejected_calls_do_not_lengthen_the_open_time() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    call(&breaker, Outcome::Failure);
    for left in (1..=10).rev() {
        let rejected = breaker.permit().unwrap_err();
        assert_eq!(rejected.code(), "resilience.breaker_open");
        assert_eq!(rejected.retry_after(), Some(left * SECOND / 10));
        clock.advance(SECOND / 10);
    }
    assert!(call(&breaker, Outcome::Success));
}

#[test]
fn p52_the_open_time_grows_with_failed_probes_and_is_reset_by_recovery() {
    let (breaker, clock) = with_clock(BreakerConfig {
        open: BackoffConfig {
            jitter: BackoffJitter::None,
            ..BackoffConfig::exponential(SECOND, 5 * SECOND)
        },
        ..after_failures_in_a_row(1)
    });
    for _ in 0..3 {
        call(&breaker, Outcome::Failure);
        for seconds in [1, 2, 4, 5, 5] {
            let wait = breaker.permit().unwrap_err().retry_after().unwrap();
            assert_eq!(wait, seconds * SECOND);
            clock.advance(wait);
            assert!(call(&breaker, Outcome::Failure), "the probe");
        }
        clock.advance(5 * SECOND);
        assert!(call(&breaker, Outcome::Success));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn p52_the_error_that_trips_it_is_returned_as_itself() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    let tripping = breaker.call(|| Err::<(), _>("disk on fire"));
    assert_eq!(tripping, Err(Error::Inner("disk on fire")));
    clock.advance(SECOND);
    let probe = breaker.call(|| Err::<(), _>("still on fire"));
    assert_eq!(probe, Err(Error::Inner("still on fire")));
    let rejected = breaker.call(|| Err::<(), _>("not called"));
    assert!(matches!(rejected, Err(Error::Rejected(_))), "{rejected:?}");
}

/// What can be counted of it; the time itself is in the benchmarks, what it allocates in `no_alloc`.
#[test]
fn p53_calls_read_the_clock_as_often_with_50_000_in_the_window_as_with_none() {
    let readings = Arc::new(AtomicUsize::new(0));
    let clock = Counted(Arc::clone(&readings));
    let breaker = Breaker::with_clock(BreakerConfig::default(), clock).unwrap();
    let cost = || {
        let before = readings.load(Ordering::Relaxed);
        for _ in 0..100 {
            for _ in 0..320 {
                breaker.call(|| Ok::<_, ()>(())).unwrap();
            }
            breaker.call(|| Err::<(), _>(())).unwrap_err();
        }
        readings.load(Ordering::Relaxed) - before
    };
    // The first calls of all are dated one by one.
    cost();
    breaker.control().metrics_only();
    breaker.control().release();
    let empty = cost();
    for _ in 0..50_000 {
        breaker.call(|| Ok::<_, ()>(())).unwrap();
    }
    assert!(breaker.snapshot().calls > 80_000);
    let full = cost();
    assert!(full <= empty, "{full} readings instead of {empty}");
    assert!(full <= 100 * (320 / 32 + 2), "{full} readings");
}

#[test]
fn p53_a_full_time_window_forgets_all_of_it_at_once() {
    let (breaker, clock) = with_clock(BreakerConfig::default());
    for _ in 0..50_000 {
        call(&breaker, Outcome::Success);
    }
    assert_eq!(breaker.snapshot().calls, 50_000);
    call(&breaker, Outcome::Failure);
    assert_eq!(breaker.snapshot().calls, 50_001);
    clock.advance(10 * SECOND);
    assert_eq!(breaker.snapshot().calls, 0);
}

/// Stands still, and counts who looks.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Clock for Counted {
    fn now(&self) -> Moment {
        self.0.fetch_add(1, Ordering::Relaxed);
        Moment::ORIGIN
    }
}

/// After 584 years there is no later moment to wait for.
#[test]
fn at_the_end_of_its_clock_it_answers() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    clock.advance(Duration::MAX);
    for _ in 0..3 {
        call(&breaker, Outcome::Failure);
        let _probe = breaker.permit();
        let _answer = breaker.permit();
    }
}

/// There is no wall clock in it: after centuries of its own clock it does as it did at first.
#[test]
fn p54_it_goes_by_its_clock_alone() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let (breaker, clock) = with_clock(BreakerConfig {
        min_calls: 2,
        open: BackoffConfig::constant(SECOND),
        probes: 1,
        ..BreakerConfig::default()
    });
    for _ in 0..5 {
        assert!(call(&breaker, Outcome::Failure));
        clock.advance(century);
        assert!(
            call(&breaker, Outcome::Failure),
            "the one before is forgotten"
        );
        assert!(call(&breaker, Outcome::Failure));
        assert_eq!(breaker.state(), BreakerState::Open);
        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(!call(&breaker, Outcome::Success));
        clock.advance(Duration::from_nanos(1));
        assert!(call(&breaker, Outcome::Success));
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
