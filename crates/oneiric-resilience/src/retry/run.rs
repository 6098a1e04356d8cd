//! Runs attempts until the decision is that nothing is next; asynchronously. Nothing is boxed and
//! nothing is allocated: future, timer and attempts lie in the one future that the caller polls. No
//! clock is read unless time is limited.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Retry;
use super::attempts::{Attempts, RetryStep};
use super::hook::RetryHook;
use super::sleep::Sleep;
use crate::{Classify, Clock, Error, Jitter, Moment, Outcome};

impl<C, H> Retry<C, H> {
    /// Makes the call, and again while it fails in a way that may pass; waits on tokio's timer.
    ///
    /// The result is that of the last attempt, whatever it was. Each attempt is a future of its own, made
    /// by `call`. Needs a tokio runtime with a timer, if it ever waits or time is limited.
    ///
    /// The [`Deadline`](crate::Deadline) of a scope around it limits all attempts as the limit in the
    /// settings does; the earlier counts. Once it has passed no attempt is begun.
    ///
    /// Cancel-safe as far as the attempt is: dropping this drops the attempt that runs or the wait, and a
    /// token taken for a retry that has not begun goes back to the budget.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`]; `resilience.timed_out` if that was cut off at the
    /// limit of one attempt; `resilience.deadline_exceeded` if at the limit of all.
    #[cfg(feature = "tokio")]
    pub fn run<T, E, F, Fut>(&self, call: F) -> impl Future<Output = Result<T, Error<E>>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.drive(
            crate::TokioClock::new,
            super::sleep::TokioSleep,
            crate::ThreadJitter,
            call,
        )
    }

    /// The same with a clock, a timer and a jitter of the caller's: for other runtimes, and for tests.
    /// The timer must wait as the clock goes.
    ///
    /// Cancel-safe as [`run`](Self::run) is.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T, E, F, Fut>(
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
        self.drive(|| clock, sleep, jitter, call)
    }

    async fn drive<T, E, K, F, Fut>(
        &self,
        clock: impl FnOnce() -> K,
        sleep: impl Sleep,
        mut jitter: impl Jitter,
        mut call: F,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
        K: Clock,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let config = &self.plan.config;
        let around = around();
        let timed = config.total_limit.is_some() || around.is_some();
        let clock = timed.then(clock);
        let now = || clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
        let mut attempts = Attempts::lent(&self.plan, now());
        if let Some(left) = around {
            attempts.end_by(now().after(left));
        }
        loop {
            let left = attempts.left(now());
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::DeadlineExceeded);
            }
            let limit = Limit::earlier(config.attempt_limit, left);
            let ended = {
                let mut attempt = pin!(call());
                let mut timer = pin!(limit.map(|limit| sleep.sleep(limit.after)));
                poll_fn(|cx| {
                    if let Poll::Ready(result) = attempt.as_mut().poll(cx) {
                        return Poll::Ready(Ok(result));
                    }
                    match (limit, timer.as_mut().as_pin_mut()) {
                        (Some(limit), Some(timer)) => timer.poll(cx).map(|()| Err(limit)),
                        _ => Poll::Pending,
                    }
                })
                .await
            };
            let (outcome, step, result) = match ended {
                Ok(result) => {
                    let outcome = self.classify.classify(&result);
                    let step = attempts.ended(now(), outcome, &mut jitter);
                    (outcome, step, result.map_err(Error::Inner))
                }
                Err(limit) => {
                    let outcome = Outcome::Failure;
                    let step = if limit.of_all {
                        attempts.cut_off()
                    } else {
                        attempts.ended(now(), outcome, &mut jitter)
                    };
                    (outcome, step, Err(limit.error()))
                }
            };
            self.tell(&attempts, outcome, &result, step);
            let RetryStep::Wait(wait) = step else {
                return result;
            };
            drop(result);
            if wait.is_zero() {
                // A timer would make a millisecond of it; but others must have their turn.
                yield_once().await;
            } else {
                sleep.sleep(wait).await;
            }
            attempts.begin();
        }
    }
}

/// When a running attempt is cut off.
#[derive(Clone, Copy)]
struct Limit {
    after: Duration,
    /// Because the time for all attempts is over, not that of one.
    of_all: bool,
}

impl Limit {
    #[inline]
    fn earlier(attempt: Option<Duration>, left: Option<Duration>) -> Option<Self> {
        match (attempt, left) {
            (None, None) => None,
            (Some(after), None) => Some(Self {
                after,
                of_all: false,
            }),
            (None, Some(after)) => Some(Self {
                after,
                of_all: true,
            }),
            (Some(attempt), Some(left)) => Some(Self {
                after: attempt.min(left),
                of_all: left <= attempt,
            }),
        }
    }

    fn error<E>(self) -> Error<E> {
        if self.of_all {
            Error::DeadlineExceeded
        } else {
            Error::TimedOut { limit: self.after }
        }
    }
}

/// What is left until the deadline of the scope around this.
#[cfg(feature = "tokio")]
#[inline]
fn around() -> Option<Duration> {
    crate::Deadline::current().map(crate::Deadline::remaining)
}

#[cfg(not(feature = "tokio"))]
const fn around() -> Option<Duration> {
    None
}

/// Lets whoever else is ready go first.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
