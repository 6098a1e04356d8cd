//! How calls are made and what each of them counts as.

use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, BackoffJitter, Breaker, BreakerConfig, BreakerPermit, BreakerState,
    BreakerWindow, Error, ManualClock, Outcome, Rejection,
};

use super::{SECOND, after_failures_in_a_row, call, with_clock};

fn is_send_and_static<T: Send + Sync + 'static>(_: &T) {}

#[test]
fn breaker_and_permit_can_go_anywhere() {
    let breaker = Breaker::new(BreakerConfig::default()).unwrap();
    is_send_and_static(&breaker);
    let permit: BreakerPermit = breaker.permit().unwrap();
    is_send_and_static(&permit);
    drop(breaker);
    thread::spawn(move || permit.record(Outcome::Failure))
        .join()
        .unwrap();
}

#[test]
fn clones_are_the_same_breaker() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    call(&breaker.clone(), Outcome::Failure);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_classifier_decides_about_values_and_errors() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let by_status = |status: &Result<u16, ()>| match status {
        Ok(500..) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(()) => Outcome::Ignored,
    };
    assert_eq!(
        breaker.call_with(&by_status, || Err(())),
        Err(Error::Inner(()))
    );
    assert_eq!(breaker.state(), BreakerState::Closed, "an ignored error");
    assert_eq!(breaker.call_with(&by_status, || Ok(503)), Ok(503));
    assert_eq!(
        breaker.state(),
        BreakerState::Open,
        "a value that is a failure"
    );
}

#[test]
fn a_panic_counts_as_failure() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let call = || breaker.call(|| -> Result<(), ()> { panic_any("as planned") });
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_permit_that_goes_in_a_panic_counts_as_failure() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let permit = breaker.permit().unwrap();
    let work = move || {
        let _permit = permit;
        panic_any("as planned");
    };
    assert!(thread::spawn(work).join().is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_permit_that_is_dropped_counts_nothing() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    drop(breaker.permit().unwrap());
    assert_eq!(breaker.snapshot().calls, 0);
}

#[test]
fn an_awaited_call_is_answered_as_any_other() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    assert_eq!(now(breaker.call_async(ready(Ok::<_, ()>(7)))), Ok(7));
    let failed = now(breaker.call_async(ready(Err::<(), _>("no"))));
    assert_eq!(failed, Err(Error::Inner("no")));
    let rejected = now(breaker.call_async(ready(Ok::<_, ()>(7)))).unwrap_err();
    assert_eq!(rejected.code(), Some("resilience.breaker_open"));
    clock.advance(SECOND);
    let ignoring = |_: &Result<(), ()>| Outcome::Ignored;
    let given_up = now(breaker.call_async_with(&ignoring, ready(Ok(()))));
    assert_eq!(given_up, Ok(()));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn leave_is_asked_when_the_call_is_first_polled() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let late = breaker.call_async(ready(Ok::<_, ()>(())));
    call(&breaker, Outcome::Failure);
    assert!(matches!(now(late), Err(Error::Rejected(_))));
}

#[test]
fn an_awaited_call_that_is_given_up_gives_its_slot_back() {
    let (breaker, clock) = with_clock(after_failures_in_a_row(1));
    call(&breaker, Outcome::Failure);
    clock.advance(SECOND);
    for _ in 0..100 {
        let mut probe = Box::pin(breaker.call_async(pending::<Result<(), ()>>()));
        assert!(poll(probe.as_mut()).is_pending());
        assert!(breaker.permit().is_err(), "the slot is taken");
        drop(probe);
    }
    assert!(call(&breaker, Outcome::Success));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn an_awaited_call_that_panics_is_a_failure_and_one_that_goes_with_a_panic_is_not() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    let elsewhere = || {
        let mut waiting = Box::pin(breaker.call_async(pending::<Result<(), ()>>()));
        assert!(poll(waiting.as_mut()).is_pending());
        panic_any("somewhere else");
    };
    assert!(catch_unwind(AssertUnwindSafe(elsewhere)).is_err());
    assert_eq!(breaker.state(), BreakerState::Closed);

    let here = || now(breaker.call_async(async { panic_any("here") as Result<(), ()> }));
    assert!(catch_unwind(AssertUnwindSafe(here)).is_err());
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn who_is_overloaded_is_left_alone_for_as_long_as_it_asks() {
    let (breaker, clock) = with_clock(BreakerConfig {
        max_retry_after: 60 * SECOND,
        ..after_failures_in_a_row(100)
    });
    for (asked, left_alone) in [(5, 5), (3_600, 60), (0, 1)] {
        let retry_after = asked * SECOND;
        // The one at first closed, the others at half open.
        assert!(call(&breaker, Outcome::Overloaded { retry_after }));
        assert_eq!(breaker.state(), BreakerState::Open);
        let until = breaker.snapshot().open_until.unwrap();
        let since = breaker.snapshot().since;
        assert_eq!(until.since(since), left_alone * SECOND);
        clock.advance(left_alone * SECOND);
    }
    assert!(call(&breaker, Outcome::Success));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// However little it asks for, and however often.
#[test]
fn asking_for_less_shortens_no_open_time() {
    let (breaker, clock) = with_clock(BreakerConfig {
        open: BackoffConfig {
            jitter: BackoffJitter::None,
            ..BackoffConfig::exponential(SECOND, 8 * SECOND)
        },
        ..after_failures_in_a_row(100)
    });
    let retry_after = Duration::ZERO;
    for left_alone in [1, 2, 4, 8, 8] {
        assert!(call(&breaker, Outcome::Overloaded { retry_after }));
        let wait = breaker.permit().unwrap_err().retry_after().unwrap();
        assert_eq!(wait, left_alone * SECOND);
        clock.advance(wait);
    }
}

fn slow_calls(window: BreakerWindow) -> BreakerConfig {
    BreakerConfig {
        window,
        min_calls: 4,
        slow_call: Some(SECOND),
        slow_percent: 50.0,
        ..BreakerConfig::default()
    }
}

#[test]
fn slow_calls_open_it_even_if_they_succeed() {
    let by_time = BreakerWindow::Time {
        length: 60 * SECOND,
        buckets: 6,
    };
    for window in [BreakerWindow::Calls(4), by_time] {
        let (breaker, clock) = with_clock(slow_calls(window));
        for passed in [1, 1, 2] {
            let permit = breaker.permit().unwrap();
            clock.advance(passed * SECOND);
            permit.record(Outcome::Success);
        }
        assert_eq!(breaker.snapshot().slow, 1, "as long as allowed is not slow");
        let permit = breaker.permit().unwrap();
        permit.record_timed(Outcome::Success, 2 * SECOND);
        assert_eq!(breaker.state(), BreakerState::Open, "{window:?}");
    }
}

#[test]
fn a_slow_probe_keeps_it_open() {
    let (breaker, clock) = with_clock(BreakerConfig {
        probes: 1,
        ..slow_calls(BreakerWindow::Calls(4))
    });
    for _ in 0..4 {
        call(&breaker, Outcome::Failure);
    }
    clock.advance(60 * SECOND);
    let probe = breaker.permit().unwrap();
    probe.record_timed(Outcome::Success, 2 * SECOND);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn probes_close_it_as_soon_as_they_cannot_fail_any_more() {
    let (breaker, clock) = with_clock(BreakerConfig {
        probes: 5,
        ..slow_calls(BreakerWindow::Calls(4))
    });
    for (outcomes, state) in [
        (
            [Outcome::Failure, Outcome::Success, Outcome::Success],
            BreakerState::HalfOpen,
        ),
        ([Outcome::Failure; 3], BreakerState::Open),
        ([Outcome::Success; 3], BreakerState::Closed),
    ] {
        breaker.control().force_open();
        breaker.control().release();
        for _ in 0..4 {
            call(&breaker, Outcome::Failure);
        }
        clock.advance(60 * SECOND);
        assert_eq!(breaker.state(), BreakerState::Open);
        for outcome in outcomes {
            assert!(call(&breaker, outcome));
        }
        assert_eq!(breaker.state(), state, "{outcomes:?}");
    }
}

#[test]
fn forced_open_has_a_code_of_its_own() {
    let (breaker, _) = with_clock(after_failures_in_a_row(1));
    breaker.control().force_open();
    let rejected = breaker.permit().unwrap_err();
    assert_eq!(rejected.rejection(), Rejection::BreakerForcedOpen);
    assert_eq!(rejected.code(), "resilience.breaker_forced_open");
    assert_eq!(rejected.retry_after(), None);
}

#[test]
fn many_threads_lose_no_call() {
    const CALLS: u64 = 5_000;
    let windows = [
        BreakerWindow::Calls(1_000_000),
        BreakerWindow::Time {
            length: 10 * SECOND,
            buckets: 10,
        },
    ];
    for window in windows {
        let (breaker, _) = with_clock(BreakerConfig {
            window,
            ..BreakerConfig::default()
        });
        breaker.control().metrics_only();
        thread::scope(|scope| {
            for thread in 0..8 {
                let breaker = &breaker;
                scope.spawn(move || some_calls(breaker, CALLS, thread));
            }
        });
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.calls, snapshot.failures), (8 * CALLS, 4 * CALLS));
        assert_eq!(snapshot.failure_percent, Some(50.0));
    }
}

fn some_calls(breaker: &Breaker<ManualClock>, calls: u64, thread: u64) {
    for at in 0..calls {
        let fails = (at + thread).is_multiple_of(2);
        call(
            breaker,
            if fails {
                Outcome::Failure
            } else {
                Outcome::Success
            },
        );
    }
}

fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The answer of a future that has it at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("does not wait"),
    }
}
