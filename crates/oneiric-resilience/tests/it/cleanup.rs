//! `timeout_with_cleanup` from outside: on every way out but the good one, once.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::{pending, poll_fn, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{
    CleanedUp, Cleanup, CleanupError, Deadline, Error, Shields, timeout_with_cleanup,
};
use tokio::time::{Instant, sleep};

use crate::held::{Gone, Held, OnDrop, until};
use crate::shield::runtime;

const SECOND: Duration = Duration::from_secs(1);

/// How often it was cleaned up.
#[derive(Debug, Clone, Default)]
struct Cleaned(Arc<AtomicU32>);

impl Cleaned {
    /// A clean-up of two seconds, which checks that the call is gone when it begins.
    fn after(
        &self,
        gone: Gone,
    ) -> Cleanup<impl FnOnce() -> BoxFuture<Result<(), Infallible>> + use<>, Infallible> {
        let cleaned = Arc::clone(&self.0);
        Cleanup::within(5 * SECOND, move || {
            Box::pin(async move {
                assert!(gone.is_gone(), "the call is still there");
                sleep(2 * SECOND).await;
                cleaned.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }) as BoxFuture<_>
        })
    }

    fn times(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

async fn holding<T>(held: Held, call: impl Future<Output = T>) -> T {
    let _held = held;
    call.await
}

#[tokio::test(start_paused = true)]
async fn a_call_that_succeeds_is_not_undone() {
    let (cleaned, (held, gone)) = (Cleaned::default(), Held::new());
    let shields = Shields::new();
    let call = holding(held, ready(Ok::<_, ()>(7)));
    let cleanup = cleaned.after(gone).counted_by(&shields);
    assert_eq!(timeout_with_cleanup(SECOND, call, cleanup).await, Ok(7));
    assert!(shields.is_empty());
    sleep(60 * SECOND).await;
    assert_eq!(cleaned.times(), 0);
}

/// Whether the call still runs when the time is over outside, or is being undone already; and whether
/// anybody waits for how that ends.
#[tokio::test(start_paused = true)]
async fn what_was_done_last_is_undone_first() {
    for (inner_limit, is_dropped) in [(60, false), (1, false), (60, true), (1, true)] {
        let log = Arc::<Mutex<Vec<_>>>::default();
        let undo = |name: &'static str| {
            let log = Arc::clone(&log);
            Cleanup::within(9 * SECOND, move || async move {
                log.lock().unwrap().push((name, "begins"));
                sleep(3 * SECOND).await;
                log.lock().unwrap().push((name, "ends"));
                Ok::<_, Infallible>(())
            })
        };
        let call = async |limit: u32| {
            let inmost =
                timeout_with_cleanup(60 * SECOND, pending::<Result<(), ()>>(), undo("inmost"));
            let inner = async { inmost.await.map_err(drop) };
            timeout_with_cleanup(limit * SECOND, inner, undo("inner"))
                .await
                .map_err(drop)
        };
        let mut outer = Box::pin(timeout_with_cleanup(
            2 * SECOND,
            call(inner_limit),
            undo("outer"),
        ));
        if is_dropped {
            let cut = tokio::time::timeout(SECOND + SECOND / 2, outer.as_mut()).await;
            assert!(cut.is_err());
            drop(outer);
        } else {
            outer.await.unwrap_err();
        }
        sleep(60 * SECOND).await;
        let both = |name| [(name, "begins"), (name, "ends")];
        let expected = ["inmost", "inner", "outer"].map(both).concat();
        assert_eq!(*log.lock().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_a_time_out_and_a_deadline_are_undone_before_they_are_told() {
    let cleaned = Cleaned::default();
    let undone = |told: CleanedUp<_, _>| {
        assert_eq!(told.cleanup, Ok(()));
        told.error
    };
    let began = Instant::now();

    let (held, gone) = Held::new();
    let call = holding(held, ready(Err::<(), _>("no")));
    let told = timeout_with_cleanup(SECOND, call, cleaned.after(gone)).await;
    assert_eq!(told.map_err(undone), Err(Error::Inner("no")));
    assert_eq!((cleaned.times(), began.elapsed()), (1, 2 * SECOND));

    let (held, gone) = Held::new();
    let call = holding(held, pending::<Result<(), &str>>());
    let told = timeout_with_cleanup(SECOND, call, cleaned.after(gone)).await;
    let limit = SECOND;
    assert_eq!(told.map_err(undone), Err(Error::TimedOut { limit }));
    assert_eq!((cleaned.times(), began.elapsed()), (2, 5 * SECOND));

    // Its deadline ends the caller as well, and the clean-up runs all the same.
    let (held, gone) = Held::new();
    let call = holding(held, pending::<Result<(), &str>>());
    let told = timeout_with_cleanup(9 * SECOND, call, cleaned.after(gone));
    let told = Deadline::within(SECOND).scope(told).await;
    assert!(told.is_err());
    assert_eq!((cleaned.times(), began.elapsed()), (2, 6 * SECOND));
    sleep(60 * SECOND).await;
    assert_eq!(cleaned.times(), 3);
}

#[tokio::test(start_paused = true)]
async fn p57_a_call_that_is_dropped_is_undone_once() {
    let (cleaned, (held, gone)) = (Cleaned::default(), Held::new());
    let shields = Shields::new();
    let cleanup = cleaned.after(gone).counted_by(&shields);
    let call = holding(held, pending::<Result<(), ()>>());
    let mut dropped = Box::pin(timeout_with_cleanup(SECOND, call, cleanup));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    drop(dropped);
    assert_eq!(shields.wait(60 * SECOND).await, 0);
    assert_eq!(cleaned.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_begun_is_not_undone() {
    let (cleaned, (held, gone)) = (Cleaned::default(), Held::new());
    let call = holding(held, pending::<Result<(), ()>>());
    drop(timeout_with_cleanup(SECOND, call, cleaned.after(gone)));
    sleep(60 * SECOND).await;
    assert_eq!(cleaned.times(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_during_the_clean_up_neither_stops_nor_repeats_it() {
    let (cleaned, (held, gone)) = (Cleaned::default(), Held::new());
    let call = holding(held, ready(Err::<(), _>("no")));
    let told = timeout_with_cleanup(SECOND, call, cleaned.after(gone));
    let told = tokio::time::timeout(SECOND, told).await;
    assert!(told.is_err());
    assert_eq!(cleaned.times(), 0);
    sleep(60 * SECOND).await;
    assert_eq!(cleaned.times(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_undone_behind_its_panic() {
    let (cleaned, (held, gone)) = (Cleaned::default(), Held::new());
    let cleanup = cleaned.after(gone);
    let call = holding(
        held,
        poll_fn(|_| -> Poll<Result<(), ()>> { panic!("inside") }),
    );
    let told = tokio::spawn(timeout_with_cleanup(SECOND, call, cleanup)).await;
    let panic = told.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"inside"));
    sleep(60 * SECOND).await;
    assert_eq!(cleaned.times(), 1);
}

#[test]
fn a_call_that_is_dropped_outside_of_its_runtime_is_undone_inside() {
    let runtime = runtime();
    let (cleaned, (held, gone)) = (Arc::new(AtomicU32::new(0)), Held::new());
    let count = Arc::clone(&cleaned);
    let cleanup = Cleanup::within(SECOND, async move || {
        assert!(gone.is_gone());
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<(), ()>(())
    });
    let call = holding(held, pending::<Result<(), ()>>());
    let mut dropped = Box::pin(timeout_with_cleanup(SECOND, call, cleanup));
    runtime.block_on(poll_fn(|cx| {
        assert!(dropped.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    drop(dropped);
    runtime.block_on(until(|| cleaned.load(Ordering::SeqCst) == 1));
}

/// All that is told about a call that failed with "no", and all that was reported.
async fn told<G>(
    limit: Duration,
    undo: impl FnOnce() -> G + Send + 'static,
) -> (CleanedUp<std::fmt::Error, &'static str>, Option<String>)
where
    G: Future<Output = Result<(), &'static str>> + Send + 'static,
{
    let reported = Arc::new(Mutex::new(None));
    let report = Arc::clone(&reported);
    let cleanup = Cleanup::within(limit, undo)
        .report(move |error| *report.lock().expect("not poisoned") = Some(error.to_string()));
    let call = ready(Err::<(), _>(std::fmt::Error));
    let told = timeout_with_cleanup(SECOND, call, cleanup).await;
    let reported = reported.lock().expect("not poisoned").take();
    (told.expect_err("the call fails"), reported)
}

#[tokio::test(start_paused = true)]
async fn how_the_clean_up_failed_never_hides_how_the_call_did() {
    type Failed = CleanupError<&'static str>;
    fn check(
        told: (CleanedUp<std::fmt::Error, &'static str>, Option<String>),
        failed: Failed,
        code: Option<&'static str>,
        words: &str,
    ) {
        let (told, reported) = told;
        assert_eq!(told.error, Error::Inner(std::fmt::Error));
        assert_eq!(told.code(), None);
        assert!(told.source().unwrap().is::<std::fmt::Error>());
        assert_eq!(failed.code(), code);
        assert_eq!(reported, Some(failed.to_string()));
        assert_eq!(told.to_string(), format!("the call failed; {words}"));
        assert_eq!(told.cleanup, Err(failed));
    }
    let limit = SECOND;
    check(
        told(limit, async || Err("nor this")).await,
        CleanupError::Failed("nor this"),
        None,
        "its clean-up failed too: nor this",
    );
    check(
        told(limit, async || panic!("nor {}", "that")).await,
        CleanupError::Panicked {
            message: "nor that".into(),
        },
        Some("resilience.cleanup_panicked"),
        "the clean-up panicked: nor that",
    );
    check(
        told(limit, pending).await,
        CleanupError::TimedOut { limit },
        Some("resilience.timed_out"),
        "the clean-up took longer than 1s",
    );
    let (fine, reported) = told(limit, async || Ok(())).await;
    assert_eq!((fine.cleanup, reported), (Ok(()), None));
    assert_eq!(fine.error.to_string(), "the call failed");
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_nobody_awaits_reports_its_failure() {
    let reported = Arc::new(Mutex::new(None));
    let report = Arc::clone(&reported);
    let cleanup = Cleanup::within(SECOND, async || Err("no"))
        .report(move |error| *report.lock().unwrap() = Some(error.to_string()));
    let dropped = timeout_with_cleanup(60 * SECOND, pending::<Result<(), ()>>(), cleanup);
    assert!(tokio::time::timeout(SECOND, dropped).await.is_err());
    until(|| reported.lock().unwrap().is_some()).await;
    assert_eq!(
        reported.lock().unwrap().as_deref(),
        Some("the clean-up failed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_whoever_hears_the_report_hides_neither_error() {
    let cleanup = Cleanup::within(SECOND, async || Err("no")).report(|_| panic!("report"));
    let call = ready(Err::<(), _>("call"));
    let told = timeout_with_cleanup(SECOND, call, cleanup).await;
    let CleanedUp { error, cleanup, .. } = told.unwrap_err();
    assert_eq!(error, Error::Inner("call"));
    assert_eq!(cleanup, Err(CleanupError::Failed("no")));
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_panics_as_it_is_dropped_hides_no_error() {
    for limit in [SECOND, 60 * SECOND] {
        let cleanup = Cleanup::within(limit, async || {
            let _bomb = OnDrop(|| panic!("dropped"));
            sleep(2 * SECOND).await;
            Ok::<_, &str>(())
        });
        let call = ready(Err::<(), _>("call"));
        let told = timeout_with_cleanup(SECOND, call, cleanup).await;
        let CleanedUp { error, cleanup, .. } = told.unwrap_err();
        assert_eq!(error, Error::Inner("call"));
        let message = "dropped".into();
        assert_eq!(cleanup, Err(CleanupError::Panicked { message }));
    }
}

#[test]
fn the_runtimes_end_takes_a_clean_up_along_and_is_told() {
    let (first, second) = (runtime(), runtime());
    let cleanup = Cleanup::within(SECOND, pending::<Result<(), ()>>);
    let call = ready(Err::<(), _>("no"));
    let mut told = Box::pin(timeout_with_cleanup(SECOND, call, cleanup));
    first.block_on(poll_fn(|cx| {
        assert!(told.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    drop(first);
    let told = second.block_on(told).unwrap_err();
    assert_eq!(told.error, Error::Inner("no"));
    assert_eq!(told.cleanup, Err(CleanupError::ShutDown));
    let shut_down = CleanupError::<()>::ShutDown;
    assert_eq!(shut_down.code(), Some("resilience.shut_down"));
}
