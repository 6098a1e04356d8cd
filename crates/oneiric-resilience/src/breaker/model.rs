//! The breaker in every schedule of two threads. Where nothing else is said, with at most three
//! preemptions, which is where the faults of such code are found and keeps each model below some seconds.

use std::time::Duration;

use loom::thread;

use crate::clock::nanos;
use crate::{
    BackoffConfig, Breaker, BreakerConfig, BreakerPermit, BreakerState, BreakerWindow, Clock,
    Moment, Outcome, Rejection,
};

const SECOND: Duration = Duration::from_secs(1);

/// Goes on by so much with each reading, if at all. Reading it is no step of the model.
#[derive(Debug)]
struct Ticks {
    now: std::sync::atomic::AtomicU64,
    step: u64,
}

impl Clock for Ticks {
    fn now(&self) -> Moment {
        let now = self
            .now
            .fetch_add(self.step, std::sync::atomic::Ordering::Relaxed);
        Moment::from_nanos(now)
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn breaker(window: BreakerWindow, open: Duration) -> Breaker<Ticks> {
    ticking(window, open, Duration::ZERO)
}

fn ticking(window: BreakerWindow, open: Duration, step: Duration) -> Breaker<Ticks> {
    let clock = Ticks {
        now: 5_000_000_000.into(),
        step: nanos(step),
    };
    let config = BreakerConfig {
        window,
        failure_percent: 100.0,
        min_calls: 2,
        open: BackoffConfig::constant(open),
        probes: 1,
        ..BreakerConfig::default()
    };
    Breaker::with_clock(config, clock).unwrap()
}

/// Makes two threads do something, and waits for both.
fn both(one: impl FnOnce() + 'static, other: impl FnOnce() + 'static) {
    let one = thread::spawn(one);
    other();
    one.join().unwrap();
}

fn failing(permit: BreakerPermit<Ticks>) -> impl FnOnce() {
    move || permit.record(Outcome::Failure)
}

fn two_failures_at_once_open_it(window: BreakerWindow, step: Duration) {
    check(move || {
        let breaker = ticking(window, SECOND, step);
        let permits = [breaker.permit().unwrap(), breaker.permit().unwrap()];
        let [one, other] = permits.map(failing);
        both(one, other);
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, BreakerState::Open);
        assert_eq!((snapshot.opened, snapshot.generation), (1, 1));
    });
}

#[test]
fn two_failures_at_once_open_it_by_count() {
    two_failures_at_once_open_it(BreakerWindow::Calls(2), Duration::ZERO);
}

#[test]
fn two_failures_at_once_open_it_by_time() {
    let window = BreakerWindow::Time {
        length: SECOND,
        buckets: 4,
    };
    two_failures_at_once_open_it(window, Duration::ZERO);
    // Each into a bucket of its own.
    two_failures_at_once_open_it(window, SECOND / 4);
}

#[test]
fn two_failures_at_once_open_it_in_a_row() {
    two_failures_at_once_open_it(BreakerWindow::Consecutive(2), Duration::ZERO);
}

/// A call ends while the breaker is taken away from under it and comes back as new.
fn a_late_call_leaves_no_trace(window: BreakerWindow, outcome: Outcome) {
    check(move || {
        let breaker = breaker(window, SECOND);
        let control = breaker.control();
        let late = breaker.permit().unwrap();
        both(
            move || late.record(outcome),
            move || {
                control.force_open();
                control.release();
            },
        );
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, BreakerState::Closed);
        assert_eq!((snapshot.calls, snapshot.failures), (0, 0));
    });
}

#[test]
fn a_late_success_leaves_no_trace_by_count() {
    a_late_call_leaves_no_trace(BreakerWindow::Calls(2), Outcome::Success);
}

#[test]
fn a_late_failure_leaves_no_trace_by_count() {
    a_late_call_leaves_no_trace(BreakerWindow::Calls(2), Outcome::Failure);
}

/// The same, and the new one has calls of its own before the late one has ended.
#[test]
fn a_late_failure_is_none_of_those_that_came_after_by_count() {
    check(|| {
        let breaker = breaker(BreakerWindow::Calls(2), SECOND);
        let control = breaker.control();
        let late = breaker.permit().unwrap();
        let next = breaker.clone();
        both(failing(late), move || {
            control.disable();
            control.release();
            next.permit().unwrap().record(Outcome::Success);
        });
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, BreakerState::Closed);
        assert_eq!((snapshot.calls, snapshot.failures), (1, 0));
    });
}

#[test]
fn a_late_success_leaves_no_trace_by_time() {
    let window = BreakerWindow::Time {
        length: SECOND,
        buckets: 1,
    };
    a_late_call_leaves_no_trace(window, Outcome::Success);
}

#[test]
fn a_late_failure_leaves_no_trace_by_time() {
    let window = BreakerWindow::Time {
        length: SECOND,
        buckets: 1,
    };
    a_late_call_leaves_no_trace(window, Outcome::Failure);
}

#[test]
fn a_late_failure_leaves_no_trace_in_a_row() {
    a_late_call_leaves_no_trace(BreakerWindow::Consecutive(2), Outcome::Failure);
}

/// Who sees that the breaker is back sees all that came with it.
fn a_call_that_comes_after_is_counted(window: BreakerWindow, outcome: Outcome) {
    check(move || {
        let breaker = breaker(window, SECOND);
        let control = breaker.control();
        let calling = breaker.clone();
        let calls = thread::spawn(move || {
            // It was refused in between, so what is let through then came after.
            let refused = calling.permit().is_err();
            let after = refused.then(|| calling.permit().ok()).flatten();
            after.map_or(0, |permit| {
                permit.record(outcome);
                1
            })
        });
        control.force_open();
        control.release();
        let calls = calls.join().unwrap();
        assert_eq!(breaker.snapshot().calls, calls);
    });
}

#[test]
fn a_call_that_comes_after_is_counted_by_count() {
    for outcome in [Outcome::Success, Outcome::Failure] {
        a_call_that_comes_after_is_counted(BreakerWindow::Calls(2), outcome);
    }
}

#[test]
fn a_call_that_comes_after_is_counted_by_time() {
    let window = BreakerWindow::Time {
        length: SECOND,
        buckets: 1,
    };
    for outcome in [Outcome::Success, Outcome::Failure] {
        a_call_that_comes_after_is_counted(window, outcome);
    }
}

/// Open, and its time is over.
fn about_to_be_half_open() -> Breaker<Ticks> {
    let breaker = breaker(BreakerWindow::Consecutive(1), Duration::ZERO);
    breaker.permit().unwrap().record(Outcome::Failure);
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[test]
fn of_two_who_ask_at_once_one_gets_the_probe() {
    check(|| {
        let breaker = about_to_be_half_open();
        let asking = breaker.clone();
        let one = thread::spawn(move || asking.permit());
        let other = breaker.permit();
        let one = one.join().unwrap();
        assert!(one.is_ok() != other.is_ok());
        let rejected = one.as_ref().err().or(other.as_ref().err()).unwrap();
        assert_eq!(rejected.rejection(), Rejection::BreakerOpen);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    });
}

#[test]
fn a_slot_that_is_given_back_is_never_lost_nor_given_twice() {
    check(|| {
        let breaker = about_to_be_half_open();
        let probe = breaker.permit().unwrap();
        let asking = breaker.clone();
        let asked = thread::spawn(move || asking.permit());
        drop(probe);
        let asked = asked.join().unwrap();
        let again = breaker.permit();
        assert!(asked.is_ok() != again.is_ok());
    });
}

#[test]
fn a_probe_that_ends_late_leaves_no_trace() {
    check(|| {
        let breaker = about_to_be_half_open();
        let control = breaker.control();
        let probe = breaker.permit().unwrap();
        both(failing(probe), move || {
            control.force_open();
            control.release();
        });
        assert_eq!(breaker.state(), BreakerState::Closed);
    });
}

#[test]
fn a_rejected_call_is_told_the_time_of_a_state_that_can_be_seen() {
    check(|| {
        let breaker = breaker(BreakerWindow::Consecutive(1), SECOND);
        let control = breaker.control();
        breaker.permit().unwrap().record(Outcome::Failure);
        let asking = breaker.clone();
        let asked = thread::spawn(move || (asking.permit(), asking.state()));
        control.disable();
        control.release();
        let retry_after = 3 * SECOND;
        let overloaded = Outcome::Overloaded { retry_after };
        breaker.permit().unwrap().record(overloaded);
        let (asked, then) = asked.join().unwrap();
        match asked.map_err(|rejected| rejected.retry_after()) {
            Ok(_) | Err(Some(SECOND)) => {}
            Err(wait) => {
                assert_eq!(wait, Some(retry_after));
                assert_eq!(then, BreakerState::Open, "the second time");
            }
        }
    });
}
