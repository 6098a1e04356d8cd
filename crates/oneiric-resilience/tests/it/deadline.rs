//! Deadlines and time limits from outside.

use std::convert::Infallible;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{Deadline, DeadlineExceeded, Elapsed, Error, timeout};
use tokio::time::{Instant, advance, sleep};

use crate::held::Held;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_deadline_reaches_through_nested_calls_and_ends_with_its_scope() {
    async fn inner() -> Option<Duration> {
        sleep(SECOND).await;
        Deadline::current().map(Deadline::remaining)
    }
    async fn middle() -> Option<Duration> {
        inner().await
    }
    assert_eq!(Deadline::current(), None);
    let seen = Deadline::within(3 * SECOND).scope(middle()).await;
    assert_eq!(seen, Ok(Some(2 * SECOND)));
    assert_eq!(Deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn of_nested_scopes_the_earlier_counts() {
    let (early, late) = (
        Deadline::within(SECOND),
        Deadline::within(Duration::from_secs(9)),
    );
    let current = async || Deadline::current();
    assert_eq!(
        early.scope(late.scope(current())).await,
        Ok(Ok(Some(early)))
    );
    assert_eq!(
        late.scope(early.scope(current())).await,
        Ok(Ok(Some(early)))
    );
    let after_inner = late.scope(async {
        early.scope(ready(())).await.unwrap();
        Deadline::current()
    });
    assert_eq!(after_inner.await, Ok(Some(late)));
    let told = late.scope(async { (early.or_earlier(), late.or_earlier()) });
    assert_eq!(told.await, Ok((early, late)));
    assert_eq!(early.scope(async { late.or_earlier() }).await, Ok(early));

    // The outer one ends the inner one, which hears of it first and may still answer.
    let began = Instant::now();
    let heard = early.scope(async { late.scope(pending::<()>()).await.unwrap_err() });
    assert_eq!(heard.await, Ok(DeadlineExceeded));
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_the_time_was_over_for_is_gone_before_that_is_told() {
    let (held, gone) = Held::new();
    let mut scope = Box::pin(Deadline::within(SECOND).scope(async move {
        let _held = held;
        pending::<()>().await;
    }));
    assert_eq!(scope.as_mut().await, Err(DeadlineExceeded));
    assert!(gone.is_gone());

    let (held, gone) = Held::new();
    let mut limited = Box::pin(timeout(SECOND, async move {
        let _held = held;
        pending::<()>().await;
    }));
    assert_eq!(
        limited.as_mut().await,
        Err(Elapsed::TimedOut { limit: SECOND })
    );
    assert!(gone.is_gone());
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_nothing_is_begun() {
    let past = Deadline::at(Instant::now());
    assert!(past.has_passed());
    assert_eq!(past.remaining(), Duration::ZERO);
    let begun = AtomicBool::new(false);
    let begin = async || begun.store(true, Ordering::SeqCst);
    assert_eq!(past.scope(begin()).await, Err(DeadlineExceeded));
    assert_eq!(
        timeout(Duration::ZERO, begin()).await,
        Err(Elapsed::TimedOut {
            limit: Duration::ZERO
        })
    );
    let late = Deadline::within(SECOND).scope(async {
        advance(SECOND).await;
        timeout(SECOND, begin()).await
    });
    assert_eq!(late.await, Ok(Err(Elapsed::DeadlineExceeded)));
    assert!(!begun.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_and_a_deadline_are_told_apart() {
    let limit = 2 * SECOND;
    assert_eq!(
        timeout(limit, pending::<()>()).await,
        Err(Elapsed::TimedOut { limit })
    );
    let around = Deadline::within(SECOND).scope(timeout(limit, pending::<()>()));
    assert_eq!(around.await, Ok(Err(Elapsed::DeadlineExceeded)));
    // Both at once: there was no time left to be slow in.
    let both = Deadline::within(limit).scope(timeout(limit, pending::<()>()));
    assert_eq!(both.await, Ok(Err(Elapsed::DeadlineExceeded)));

    let seen = timeout(limit, async {
        Deadline::current().map(Deadline::remaining)
    });
    assert_eq!(seen.await, Ok(Some(limit)));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_there_when_time_is_over_is_given() {
    let on_time = timeout(SECOND, async {
        sleep(SECOND).await;
        7
    });
    assert_eq!(on_time.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_runs_from_the_first_poll() {
    let limited = timeout(SECOND, async { sleep(SECOND / 2).await });
    advance(5 * SECOND).await;
    assert_eq!(limited.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_is_bound_only_if_it_is_told() {
    let deadline = Deadline::within(SECOND);
    let tasks = deadline.scope(async {
        let free = tokio::spawn(async { Deadline::current() });
        let bound = tokio::spawn(deadline.scope(async { Deadline::current() }));
        (free.await.unwrap(), bound.await.unwrap())
    });
    assert_eq!(tasks.await, Ok((None, Ok(Some(deadline)))));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_never_rests_cannot_outrun_its_deadline() {
    // It uses up what tokio lets a task do at a time, at every poll.
    let busy = poll_fn(|cx| {
        while let Poll::Ready(()) = std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx) {}
        Poll::<()>::Pending
    });
    let gave_up = async {
        tokio::join!(timeout(SECOND, busy), async {
            advance(2 * SECOND).await;
        })
    };
    let (ended, ()) = gave_up.await;
    assert_eq!(ended, Err(Elapsed::TimedOut { limit: SECOND }));
}

#[tokio::test(start_paused = true)]
async fn the_longest_limits_there_are_do_not_overflow() {
    let for_ever = Deadline::within(Duration::MAX);
    assert!(for_ever.remaining() > Duration::from_secs(86_400 * 365 * 29));
    assert_eq!(timeout(Duration::MAX, sleep(SECOND)).await, Ok(()));
    assert_eq!(for_ever.scope(sleep(SECOND)).await, Ok(()));
}

#[tokio::test]
async fn a_panic_inside_leaves_the_deadline_of_the_thread_as_it_was() {
    let deadline = Deadline::within(3_600 * SECOND);
    let mut scope = Box::pin(deadline.scope(async { panic!("inside") }));
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| scope.as_mut().poll(&mut cx).is_ready());
    assert!(catch_unwind(poll).is_err());
    assert_eq!(Deadline::current(), None);
}

#[test]
fn each_has_its_code_and_becomes_the_error_of_a_call() {
    let limit = SECOND;
    let cases: [(Error<Infallible>, &str); 3] = [
        (DeadlineExceeded.into(), "resilience.deadline_exceeded"),
        (
            Elapsed::DeadlineExceeded.into(),
            "resilience.deadline_exceeded",
        ),
        (Elapsed::TimedOut { limit }.into(), "resilience.timed_out"),
    ];
    for (error, code) in cases {
        assert_eq!(error.code(), Some(code));
    }
    assert_eq!(DeadlineExceeded.code(), "resilience.deadline_exceeded");
    assert_eq!(Elapsed::from(DeadlineExceeded), Elapsed::DeadlineExceeded);
    assert_eq!(Elapsed::TimedOut { limit }.code(), "resilience.timed_out");
    assert_eq!(
        Elapsed::TimedOut { limit }.to_string(),
        "the call took longer than 1s"
    );
    assert_eq!(
        Elapsed::DeadlineExceeded.to_string(),
        DeadlineExceeded.to_string()
    );
}
