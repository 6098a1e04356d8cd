//! `join_all_or_cancel` from outside.

use std::future::{Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{Deadline, DeadlineExceeded, join_all_or_cancel};
use tokio::time::{Instant, sleep};

use crate::held::{Held, OnDrop};

#[tokio::test(start_paused = true)]
async fn values_come_in_the_order_of_the_futures_however_they_end() {
    let began = Instant::now();
    let calls = [3, 1, 2].map(async |seconds| {
        sleep(Duration::from_secs(seconds)).await;
        Ok::<_, ()>(seconds)
    });
    assert_eq!(join_all_or_cancel(calls).await, Ok(vec![3, 1, 2]));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let none: [Ready<Result<u8, ()>>; 0] = [];
    assert_eq!(join_all_or_cancel(none).await, Ok(vec![]));
    let many = (0..1_000).map(|place| ready(Ok::<_, ()>(place)));
    assert_eq!(join_all_or_cancel(many).await, Ok((0..1_000).collect()));
}

#[tokio::test(start_paused = true)]
async fn the_first_error_is_told_when_all_others_are_gone() {
    let ((first, first_gone), (third, third_gone)) = (Held::new(), Held::new());
    let call = async |held: Option<Held>, seconds| {
        sleep(Duration::from_secs(seconds)).await;
        drop(held);
        Err::<(), _>(seconds)
    };
    let calls = [call(Some(first), 9), call(None, 1), call(Some(third), 5)];
    let mut joined = Box::pin(join_all_or_cancel(calls));
    assert_eq!(joined.as_mut().await, Err(1));
    assert!(first_gone.is_gone() && third_gone.is_gone());
}

#[tokio::test]
async fn dropping_it_drops_them_all() {
    let (held, gone) = Held::new();
    let waits = async move {
        let _held = held;
        pending::<Result<(), ()>>().await
    };
    let mut joined = Box::pin(join_all_or_cancel([waits]));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(joined.as_mut().poll(&mut cx).is_pending());
    assert!(!gone.is_gone());
    drop(joined);
    assert!(gone.is_gone());
}

#[tokio::test]
async fn a_panic_goes_on_when_all_others_are_gone() {
    let (held, gone) = Held::new();
    let call = async |held: Option<Held>| match held {
        Some(_held) => pending::<Result<(), ()>>().await,
        None => panic!("inside"),
    };
    let mut joined = Box::pin(join_all_or_cancel([call(Some(held)), call(None)]));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| joined.as_mut().poll(&mut cx).is_ready());
    let panic = catch_unwind(poll).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"inside"));
    assert!(gone.is_gone());
}

#[tokio::test]
async fn a_panic_of_one_that_is_dropped_goes_on_when_all_others_are_gone() {
    let ((first, first_gone), (last, last_gone)) = (Held::new(), Held::new());
    let call = async |held: Option<Held>| {
        let _held = held;
        pending::<Result<(), ()>>().await
    };
    let panics = async |held: Option<Held>| {
        let _bomb = OnDrop(|| panic!("dropped"));
        call(held).await
    };
    type Boxed<'a> = Pin<Box<dyn Future<Output = Result<(), ()>> + 'a>>;
    let calls: [Boxed<'_>; 4] = [
        Box::pin(call(Some(first))),
        Box::pin(panics(None)),
        Box::pin(panics(None)),
        Box::pin(call(Some(last))),
    ];
    let mut joined = Box::pin(join_all_or_cancel(calls));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(joined.as_mut().poll(&mut cx).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(joined))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"dropped"));
    assert!(first_gone.is_gone() && last_gone.is_gone());
}

#[tokio::test]
async fn one_that_panics_again_when_it_is_dropped_ends_no_process() {
    struct Twice;
    impl Future for Twice {
        type Output = Result<(), ()>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            panic!("polled")
        }
    }
    impl Drop for Twice {
        fn drop(&mut self) {
            panic!("dropped")
        }
    }
    let mut joined = Box::pin(join_all_or_cancel([Twice]));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| joined.as_mut().poll(&mut cx).is_ready());
    let panic = catch_unwind(poll).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"polled"));
}

#[tokio::test(start_paused = true)]
async fn they_may_borrow_and_see_the_callers_deadline() {
    let word = String::from("borrowed");
    let deadline = Deadline::within(Duration::from_secs(1));
    let borrow = async || {
        assert_eq!(Deadline::current(), Some(deadline));
        Ok::<_, ()>(word.as_str())
    };
    let joined = deadline.scope(join_all_or_cancel([borrow(), borrow()]));
    assert_eq!(joined.await, Ok(Ok(vec!["borrowed"; 2])));
    let late = deadline.scope(join_all_or_cancel([pending::<Result<(), ()>>()]));
    assert_eq!(late.await, Err(DeadlineExceeded));
}

#[tokio::test]
async fn it_can_be_spawned() {
    let joined = join_all_or_cancel((0..3).map(async |place| {
        tokio::task::yield_now().await;
        Ok::<_, ()>(place)
    }));
    assert_eq!(tokio::spawn(joined).await.unwrap(), Ok(vec![0, 1, 2]));
    let mut joined = pin!(join_all_or_cancel([ready(Err::<(), _>(7))]));
    assert_eq!(joined.as_mut().await, Err(7));
}
