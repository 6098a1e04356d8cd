//! Futures that are kept and not polled; and wakers.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{
    Bulkhead, BulkheadConfig, Clock, Deadline, DeadlineExceeded, EnterBefore, ManualClock, Moment,
    Rejection, TokioClock,
};
use tokio::time::{Instant, advance};

use super::{Caller, assert_whole};
use crate::foreign::{bells, rang};

const SECOND: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(10);

fn bulkhead(limit: u32, max_waiters: u32) -> Bulkhead<TokioClock> {
    let config = BulkheadConfig {
        limit,
        max_waiters,
        ..BulkheadConfig::default()
    };
    Bulkhead::with_clock(config, TokioClock::new()).unwrap()
}

/// Has been polled once, and then never again.
fn abandoned(
    bulkhead: &Bulkhead<TokioClock>,
    limit: Duration,
) -> Pin<Box<EnterBefore<TokioClock>>> {
    let mut enter = Box::pin(bulkhead.enter_within(limit));
    let mut context = Context::from_waker(Waker::noop());
    assert!(enter.as_mut().poll(&mut context).is_pending());
    enter
}

#[tokio::test(start_paused = true)]
async fn no_permit_goes_to_one_whose_time_is_over() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let kept = abandoned(&bulkhead, SECOND);
    let later = abandoned(&bulkhead, 2 * SECOND);
    let mut last = Caller::new(&bulkhead);
    assert!(last.poll().is_pending());
    advance(1_000 * SECOND).await;
    drop(held);
    drop(last.permit());
    let lost = kept.await.unwrap_err();
    assert_eq!(lost.rejection(), Rejection::DeadlineTooNear);
    drop(later);
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_not_fetched_in_time_goes_to_others() {
    let bulkhead = bulkhead(1, 10);
    for waits in [false, true] {
        let held = bulkhead.try_enter_owned().unwrap();
        let kept = abandoned(&bulkhead, SECOND);
        drop(held);
        advance(SECOND + LATE).await;
        assert!(bulkhead.try_enter().is_err(), "it may still come");
        advance(Duration::from_nanos(1)).await;
        if waits {
            drop(Caller::new(&bulkhead).permit());
        } else {
            drop(bulkhead.try_enter().unwrap());
        }
        let lost = kept.await.unwrap_err();
        assert_eq!(lost.rejection(), Rejection::DeadlineTooNear);
        assert_whole(&bulkhead);
    }
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_the_first_who_waits() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let kept = abandoned(&bulkhead, SECOND);
    let mut first = Caller::new(&bulkhead);
    assert!(first.poll().is_pending());
    drop(held);
    advance(2 * SECOND).await;
    assert!(bulkhead.try_enter().is_err());
    let permit = first.permit();
    drop(kept);
    assert_eq!(bulkhead.in_flight(), 1);
    drop(permit);
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn those_behind_one_who_did_not_come_look_by_themselves() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let kept = [abandoned(&bulkhead, SECOND), abandoned(&bulkhead, SECOND)];
    let began = Instant::now();
    let behind = tokio::spawn(bulkhead.enter_within(10 * SECOND));
    tokio::task::yield_now().await;
    drop(held);
    drop(behind.await.unwrap().unwrap());
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    drop(kept);
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_limit_is_served_behind_one_who_did_not_come_when_it_is_polled() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let kept = abandoned(&bulkhead, SECOND);
    let mut behind = Caller::new(&bulkhead);
    assert!(behind.poll().is_pending());
    drop(held);
    advance(SECOND + LATE).await;
    assert!(behind.poll().is_pending(), "it may still come");
    advance(Duration::from_nanos(1)).await;
    drop(behind.permit());
    drop(kept);
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_at_a_deadline_around_it_keeps_no_permit_from_others() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let mut kept = bulkhead.enter();
    let given_up = Deadline::within(SECOND).scope(&mut kept).await;
    assert_eq!(given_up.map(drop), Err(DeadlineExceeded));
    drop(held);
    advance(LATE).await;
    assert!(bulkhead.try_enter().is_err(), "it may still come");
    advance(Duration::from_nanos(1)).await;
    drop(bulkhead.try_enter().unwrap());
    drop(kept);
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_came_later_counts_and_so_does_the_next_one() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let began = Instant::now();
    let mut first = bulkhead.enter();
    let mut behind = None;
    for limit in [Duration::MAX, SECOND] {
        let hurried = Deadline::within(limit).scope(poll_fn(|context| {
            assert!(Pin::new(&mut first).poll(context).is_pending());
            Poll::Ready(())
        }));
        hurried.await.unwrap();
        behind.get_or_insert_with(|| tokio::spawn(bulkhead.enter_within(100 * SECOND)));
        tokio::task::yield_now().await;
    }
    // And again: its first second is none of the next look's.
    advance(SECOND).await;
    let again = Deadline::within(2 * SECOND).scope(&mut first).await;
    assert_eq!(again.map(drop), Err(DeadlineExceeded));
    drop(held);
    drop(behind.unwrap().await.unwrap().unwrap());
    assert!(began.elapsed() < 4 * SECOND, "{:?}", began.elapsed());
    drop(first);
    assert_whole(&bulkhead);
}

/// A clock that panics when it is told to.
#[derive(Debug, Clone, Default)]
struct Faulty {
    clock: ManualClock,
    panics: Arc<AtomicBool>,
}

impl Clock for Faulty {
    fn now(&self) -> Moment {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "a clock's own");
        self.clock.now()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_keeps_no_permit() {
    for shed in [false, true] {
        let config = BulkheadConfig {
            limit: 1,
            shed,
            ..BulkheadConfig::default()
        };
        let clock = Faulty::default();
        let bulkhead = Bulkhead::with_clock(config, clock.clone()).unwrap();
        let held = bulkhead.try_enter_owned().unwrap();
        let mut waits = Box::pin(bulkhead.enter_within(SECOND));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        clock.panics.store(true, Ordering::SeqCst);
        let left = catch_unwind(AssertUnwindSafe(|| drop(held)));
        assert!(left.is_err(), "the panic goes on");
        drop(waits.await.unwrap());
        assert_whole(&bulkhead);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_on_the_way_in_keeps_no_permit() {
    let config = BulkheadConfig {
        limit: 1,
        shed: true,
        ..BulkheadConfig::default()
    };
    let clock = Faulty::default();
    let bulkhead = Bulkhead::with_clock(config, clock.clone()).unwrap();
    let panics = |enter: &dyn Fn()| {
        clock.panics.store(true, Ordering::SeqCst);
        let entered = catch_unwind(AssertUnwindSafe(enter));
        assert!(entered.is_err(), "the panic goes on");
        assert_whole(&bulkhead);
    };
    panics(&|| drop(bulkhead.try_enter()));
    panics(&|| drop(bulkhead.try_enter_owned()));
    // Out of the queue, with another one behind.
    let held = bulkhead.try_enter_owned().unwrap();
    let mut first = Box::pin(bulkhead.enter());
    let mut second = Box::pin(bulkhead.enter());
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(held);
    clock.panics.store(true, Ordering::SeqCst);
    let entered = catch_unwind(AssertUnwindSafe(|| {
        first.as_mut().poll(&mut context).is_ready()
    }));
    assert!(entered.is_err(), "the panic goes on");
    drop(second.await.unwrap());
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_but_before_all_others_has_its_permit() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_enter_owned().unwrap();
    let kept = abandoned(&bulkhead, SECOND);
    drop(held);
    advance(1_000 * SECOND).await;
    assert!(kept.await.is_ok());
    assert_whole(&bulkhead);
}

#[tokio::test(start_paused = true)]
async fn places_that_are_lost_are_free_for_others() {
    let bulkhead = bulkhead(1, 1);
    let held = bulkhead.try_enter_owned().unwrap();
    let _kept = abandoned(&bulkhead, SECOND);
    assert_eq!(
        Caller::new(&bulkhead).poll().map(|entered| entered.is_ok()),
        Poll::Ready(false)
    );
    advance(2 * SECOND).await;
    let mut caller = Caller::new(&bulkhead);
    assert!(caller.poll().is_pending());
    drop(held);
    drop(caller.permit());
}

#[test]
fn a_waker_that_panics_leaves_no_other_asleep() {
    let bulkhead = super::bulkhead(1, 10);
    let held = bulkhead.try_enter().unwrap();
    let bells = bells::<3>();
    let mut waiting = [(); 3].map(|()| bulkhead.enter());
    for (enter, bell) in waiting.iter_mut().zip(&bells) {
        let waker = Arc::clone(bell).into();
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(enter).poll(&mut context).is_pending());
    }
    let raised = catch_unwind(AssertUnwindSafe(|| bulkhead.set_limit(4)));
    assert!(raised.is_err(), "the panic goes on");
    assert_eq!(rang(&bells), [1; 3]);
    drop((waiting, held));
    assert_whole(&bulkhead);
}
