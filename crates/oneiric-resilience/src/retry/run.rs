//! Runs attempts until the decision is that nothing is next; asynchronously. One future, written by hand:
//! nothing in it is boxed or allocated, its timers share their place, and a first attempt
//! that succeeds, as nearly all do, touches nothing that only the others need. No clock is read unless time
//! is limited, and no timer is made before something has to wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Retry;
use super::course::{Course, Ended, Time};
use super::hook::RetryHook;
use super::sleep::Sleep;
use crate::{Classify, Clock, Error, Jitter, Outcome};

impl<C, H> Retry<C, H> {
    /// Makes the call, and again while it fails in a way that may pass; waits on tokio's timer.
    ///
    /// The result is that of the last attempt, whatever it was. Each attempt is a future of its own, made
    /// by `call`.
    ///
    /// The [`Deadline`](crate::Deadline) of a scope around it limits all attempts as the limit in the
    /// settings does; the earlier counts. Once it has passed no attempt is begun. What an attempt calls
    /// sees as its deadline when it is cut off.
    ///
    /// Cancel-safe as far as the attempt is: dropping this drops the attempt that runs or the wait, and a
    /// token taken for a retry that has not begun goes back to the budget.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`]; `resilience.timed_out` if that was cut off at the
    /// limit of one attempt; `resilience.deadline_exceeded` if at the limit of all.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime, or in one without timers.
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn run_async<T, E, F, Fut>(&self, call: F) -> impl Future<Output = Result<T, Error<E>>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let time = super::course::LazyClock(None);
        Run::new(self, time, super::sleep::TokioSleep, self.chance(), call)
    }

    /// The same with a clock, a timer and a jitter of the caller's: for other runtimes, and for tests.
    /// The timer must wait as the clock goes.
    ///
    /// Cancel-safe as [`run_async`](Self::run_async) is.
    ///
    /// # Errors
    /// As [`run_async`](Self::run_async).
    pub fn run_async_with<T, E, F, Fut>(
        &self,
        clock: impl Clock,
        sleep: impl Sleep,
        jitter: impl Jitter,
        call: F,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Run::new(self, clock, sleep, jitter, call)
    }
}

pin_project_lite::pin_project! {
    /// All attempts at one call. What is pinned lies apart, so that one part can be made or dropped
    /// without a look at the others.
    #[must_use = "futures do nothing unless polled"]
    struct Run<'a, C, H, K, S: Sleep, J, F, Fut> {
        course: Course<'a, C, H, K, S, J>,
        call: F,
        // Nothing between attempts.
        #[pin]
        attempt: Option<Fut>,
        // Of the attempt, once that has to wait; or of the wait between attempts.
        #[pin]
        timer: Option<S::Sleeping>,
    }
}

impl<'a, C, H, K, S: Sleep, J, F, Fut> Run<'a, C, H, K, S, J, F, Fut> {
    #[inline]
    const fn new(retry: &'a Retry<C, H>, time: K, sleep: S, jitter: J, call: F) -> Self {
        Self {
            course: Course::new(retry, time, sleep, jitter),
            call,
            attempt: None,
            timer: None,
        }
    }
}

impl<C, H, K, S, J, F, Fut, T, E> Future for Run<'_, C, H, K, S, J, F, Fut>
where
    C: Classify<T, E>,
    H: RetryHook<E>,
    K: Time,
    S: Sleep,
    J: Jitter,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let course = this.course;
        loop {
            let Some(attempt) = this.attempt.as_mut().as_pin_mut() else {
                if let Some(wait) = this.timer.as_mut().as_pin_mut() {
                    ready!(wait.poll(cx));
                    this.timer.set(None);
                }
                if course.begin().is_err() {
                    return Poll::Ready(course.too_late());
                }
                this.attempt.set(Some((this.call)()));
                continue;
            };
            let polled = {
                let _entered = course.enter();
                attempt.poll(cx)
            };
            let ended = match polled {
                Poll::Ready(result) => {
                    let outcome = course.retry.classify.classify(&result);
                    if outcome == Outcome::Success && course.is_at_first() {
                        // The way that nearly all calls go; there is nothing to decide or to tell.
                        this.attempt.set(None);
                        course.end();
                        course.retry.plan.deposit();
                        return Poll::Ready(result.map_err(Error::Inner));
                    }
                    Ended::by_itself(result, outcome)
                }
                Poll::Pending => ready!(course.cut_off(this.timer.as_mut(), cx)),
            };
            // The attempt is gone before anybody is told, and before the next one.
            this.attempt.set(None);
            this.timer.set(None);
            match course.settle(ended) {
                Err(result) => return Poll::Ready(result),
                Ok(Duration::ZERO) => {
                    // A timer would make a millisecond of it; but others must have their turn.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(wait) => this.timer.set(Some(course.sleep.sleep(wait))),
            }
        }
    }
}
