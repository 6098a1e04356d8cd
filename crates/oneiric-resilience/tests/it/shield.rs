//! Shielded work and clean-ups from outside.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use oneiric_resilience::{Deadline, Shields, Unfinished, shield, timeout};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::held::{Held, until};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

#[tokio::test(start_paused = true)]
async fn p57_what_is_shielded_goes_on_although_the_caller_is_gone() {
    let (done, finished) = oneshot::channel();
    let began = Instant::now();
    let caller = timeout(SECOND, async {
        let work = shield(9 * SECOND, async move {
            sleep(3 * SECOND).await;
            done.send(Deadline::current().unwrap().remaining()).unwrap();
        });
        work.await
    });
    assert!(caller.await.is_err());
    assert_eq!(began.elapsed(), SECOND);
    // Nor did the caller's deadline bind it: it saw its own limit.
    assert_eq!(finished.await, Ok(6 * SECOND));
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn it_begins_at_once_and_its_value_can_be_had_later() {
    let shields = Shields::new();
    let mut work = shields.shield(SECOND, async { 7 });
    until(|| shields.is_empty()).await;
    // Giving up to wait for it loses nothing.
    assert_eq!((&mut work).await, Ok(7));
    drop(shields.shield(SECOND, async { 7 }));
    assert_eq!(shields.len(), 1);
    assert_eq!(shields.wait(SECOND).await, 0);
}

#[tokio::test(start_paused = true)]
async fn its_own_limit_holds_and_zero_is_zero() {
    let (held, gone) = Held::new();
    let slow = shield(SECOND, async move {
        let _held = held;
        pending::<()>().await;
    });
    let limit = SECOND;
    assert_eq!(slow.await, Err(Unfinished::TimedOut { limit }));
    assert!(gone.is_gone());
    let limit = Duration::ZERO;
    let begun = Arc::new(AtomicBool::new(false));
    let begin = Arc::clone(&begun);
    let never = shield(limit, async move { begin.store(true, Ordering::SeqCst) });
    assert_eq!(never.await, Err(Unfinished::TimedOut { limit }));
    assert!(!begun.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_panic_goes_on_in_whoever_awaits() {
    let awaits = tokio::spawn(async {
        let work = shield(SECOND, async { panic!("inside") });
        work.await
    });
    let panic = awaits.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"inside"));
    let shields = Shields::new();
    drop(shields.shield(SECOND, async { panic!("alone") }));
    until(|| shields.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_deadline_of_the_thread_that_polls_it_does_not_bind_it() {
    let around = Deadline::within(3_600 * SECOND);
    let within = around.scope(async {
        // A runtime inside a poll polls its tasks there too.
        tokio::task::block_in_place(|| {
            runtime().block_on(async {
                let limit = 7_200 * SECOND;
                shield(limit, async { Deadline::current() }).await
            })
        })
    });
    let seen = within.await.unwrap().unwrap().unwrap();
    assert!(seen > around, "{seen:?} {around:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_all_that_is_counted_and_no_longer_than_its_grace() {
    let shields = Shields::new();
    for seconds in [1, 2, 30] {
        drop(shields.shield(60 * SECOND, sleep(seconds * SECOND)));
    }
    let began = Instant::now();
    assert_eq!(shields.clone().wait(5 * SECOND).await, 1);
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(shields.wait(Duration::ZERO).await, 1);
    let deadline = Deadline::within(SECOND);
    assert_eq!(deadline.scope(shields.wait(60 * SECOND)).await, Ok(1));
    assert_eq!(shields.wait(60 * SECOND).await, 0);
    assert_eq!(began.elapsed(), 30 * SECOND);
}

#[test]
fn the_runtimes_end_takes_it_along_and_is_told() {
    let (first, second) = (runtime(), runtime());
    let (held, gone) = Held::new();
    let shields = Shields::new();
    let entered = first.enter();
    let mut work = shields.shield(SECOND, async move {
        let _held = held;
        pending::<()>().await;
    });
    drop(entered);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Future::poll(std::pin::Pin::new(&mut work), &mut cx).is_pending());
    drop(first);
    assert!(gone.is_gone());
    assert_eq!(shields.len(), 0);
    let told = second.block_on(work);
    assert_eq!(told, Err(Unfinished::ShutDown));
    assert_eq!(Unfinished::ShutDown.code(), "resilience.shut_down");
    let limit = SECOND;
    let timed_out = Unfinished::TimedOut { limit };
    assert_eq!(timed_out.code(), "resilience.timed_out");
    assert_eq!(
        timed_out.to_string(),
        "the shielded work took longer than 1s"
    );
}
