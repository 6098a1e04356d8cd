//! The attempts of one call, one after the other.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::bounded::Bounded;
use super::gates::judge;
use super::next::Next;
use super::retry::{CopyRequest, Rule};
use crate::limited::Over;
use crate::retry::Attempts;
use crate::{
    Classify, Clock as _, Deadline, Error, Moment, Outcome, RetryHook, RetryStep, TokioClock,
};

pin_project_lite::pin_project! {
    /// The response of a [`WithRetry`](super::WithRetry) service. Dropped, it drops the attempt
    /// that runs, and gives the token of one that has not begun back to the budget.
    #[must_use = "futures do nothing unless polled"]
    pub struct RetryFuture<S, R, K, H, D>
    where
        S: Service<R>,
    {
        #[pin]
        all: Bounded<Run<S, R, K, H, D>>,
    }
}

impl<S: Service<R>, R, K, H, D> RetryFuture<S, R, K, H, D> {
    /// The first attempt is this call, which is made now.
    pub(super) fn new(
        call: impl FnOnce() -> S::Future,
        next: Next<S, R>,
        rule: Arc<Rule<K, H, D>>,
    ) -> Self {
        let (by, until) = limits(&rule);
        let call = Bounded::until(until, call());
        let run = Run {
            step: Step::Calling { call },
            next,
            attempts: rule.retry.attempts(Moment::ORIGIN),
            time: Time::Unknown,
            rule,
        };
        Self {
            all: Bounded::until(by, run),
        }
    }
}

impl<S, R, K, H, D, E> Future for RetryFuture<S, R, K, H, D>
where
    S: Service<R, Error = Error<E>> + Clone,
    K: Classify<S::Response, E>,
    H: RetryHook<E>,
    D: CopyRequest<R>,
{
    type Output = Result<S::Response, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.project().all.poll(cx));
        Poll::Ready(ended.unwrap_or(Err(Error::DeadlineExceeded)))
    }
}

impl<S: Service<R>, R, K, H, D> fmt::Debug for RetryFuture<S, R, K, H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}

pin_project_lite::pin_project! {
    struct Run<S, R, K, H, D>
    where
        S: Service<R>,
    {
        #[pin]
        step: Step<S::Future>,
        next: Next<S, R>,
        attempts: Attempts<'static>,
        time: Time,
        rule: Arc<Rule<K, H, D>>,
    }
}

pin_project_lite::pin_project! {
    #[project = StepNow]
    enum Step<F> {
        Calling {
            #[pin]
            call: Bounded<F>,
        },
        Waiting {
            #[pin]
            timer: Sleep,
        },
        // A timer would make a millisecond of no wait at all; but others must have their turn.
        Yielding,
        // For the service to be ready again.
        Readying,
        Ended,
    }
}

/// Told only where time is limited.
enum Time {
    Unknown,
    Unlimited,
    Limited(Deadline, TokioClock),
}

impl Time {
    /// Looks for the deadline around the call, when it is first polled.
    fn begin(&mut self, attempts: &mut Attempts<'_>) {
        if let Self::Unknown = self {
            *self = match Deadline::current() {
                None => Self::Unlimited,
                Some(deadline) => {
                    attempts.end_by(Moment::ORIGIN.after(deadline.remaining()));
                    Self::Limited(deadline, TokioClock::new())
                }
            };
        }
    }

    fn now(&self) -> Moment {
        match self {
            Self::Limited(_, clock) => clock.now(),
            _ => Moment::ORIGIN,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Limited(deadline, _) if deadline.has_passed())
    }
}

impl<S, R, K, H, D, E> Future for Run<S, R, K, H, D>
where
    S: Service<R, Error = Error<E>> + Clone,
    K: Classify<S::Response, E>,
    H: RetryHook<E>,
    D: CopyRequest<R>,
{
    type Output = Result<S::Response, Error<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        this.time.begin(this.attempts);
        let polled = self.as_mut().advance(cx);
        if polled.is_pending() && self.time.is_over() {
            // Whoever is told of attempts is told of this one too, before it is cut off from outside.
            return match self.ended(Err(Error::DeadlineExceeded)) {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            };
        }
        polled
    }
}

impl<S, R, K, H, D, E> Run<S, R, K, H, D>
where
    S: Service<R, Error = Error<E>> + Clone,
    K: Classify<S::Response, E>,
    H: RetryHook<E>,
    D: CopyRequest<R>,
{
    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, Error<E>>> {
        loop {
            let mut this = self.as_mut().project();
            match this.step.as_mut().project() {
                StepNow::Calling { call } => {
                    let result = match ready!(call.poll(cx)) {
                        Ok(result) => result,
                        Err(over) => Err(cut_off(over, this.rule)),
                    };
                    if let Some(result) = self.as_mut().ended(result) {
                        return Poll::Ready(result);
                    }
                }
                StepNow::Waiting { timer } => {
                    ready!(timer.poll(cx));
                    this.step.set(Step::Readying);
                }
                StepNow::Yielding => {
                    this.step.set(Step::Readying);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                StepNow::Readying => {
                    if let Err(broke) = ready!(this.next.poll_ready(cx)) {
                        return Poll::Ready(self.broke(broke));
                    }
                    self.as_mut().begin();
                }
                StepNow::Ended => unreachable!("not polled again after it has answered"),
            }
        }
    }

    /// An attempt has ended. Gives its result back, if there is no other attempt to wait for.
    fn ended(
        self: Pin<&mut Self>,
        result: Result<S::Response, Error<E>>,
    ) -> Option<Result<S::Response, Error<E>>> {
        let mut this = self.project();
        // The attempt is gone before anybody is told.
        this.step.set(Step::Ended);
        let Rule {
            retry,
            rejected_too,
            ..
        } = &**this.rule;
        let (mut outcome, result) = judge(retry.classifier(), result);
        if let Err(error @ Error::Rejected(_)) = &result
            && *rejected_too
        {
            outcome = error.retry_outcome(|_| Outcome::Ignored);
        }
        this.attempts.note(&result);
        let step = if let Err(Error::DeadlineExceeded) = result {
            this.attempts.cut_off()
        } else {
            if !this.next.is_some() {
                this.attempts.not_repeatable();
            }
            this.attempts
                .ended(this.time.now(), outcome, &mut retry.chance())
        };
        retry.tell(this.attempts, outcome, &result, step);
        let RetryStep::Wait(wait) = step else {
            return Some(this.attempts.told(result));
        };
        if this.attempts.ended_attempts() > 1 {
            this.next.lay_down();
        }
        this.step.set(match wait.is_zero() {
            true => Step::Yielding,
            false => Step::Waiting { timer: sleep(wait) },
        });
        None
    }

    /// The service is of no use any more: there is no other attempt, and whoever was told of a wait for
    /// it is told so.
    fn broke(self: Pin<&mut Self>, error: Error<E>) -> Result<S::Response, Error<E>> {
        let mut this = self.project();
        this.step.set(Step::Ended);
        let (outcome, result) = (Outcome::Ignored, Err(error));
        let step = this.attempts.never_begun();
        this.rule.retry.tell(this.attempts, outcome, &result, step);
        result
    }

    /// The next attempt, by a service that is ready.
    fn begin(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.attempts.begin();
        let limit = this.rule.retry.config().attempt_limit;
        let until = limit.map(Deadline::within);
        let attempts = this.attempts.ended_attempts() + 1;
        let call = this.next.call(|request| this.rule.copy(request, attempts));
        let call = Bounded::until(until, call);
        this.step.set(Step::Calling { call });
    }
}

/// When the time for all attempts is over, and that of the first: both begin now.
fn limits<K, H, D>(rule: &Rule<K, H, D>) -> (Option<Deadline>, Option<Deadline>) {
    let config = rule.retry.config();
    if config.total_limit.is_none() && config.attempt_limit.is_none() {
        return (None, None);
    }
    let now = Instant::now();
    let after = |limit| Deadline::after(now, limit);
    (
        config.total_limit.map(after),
        config.attempt_limit.map(after),
    )
}

/// Whose time was over when an attempt was given up.
fn cut_off<K, H, D, E>(over: Over, rule: &Rule<K, H, D>) -> Error<E> {
    match (over, rule.retry.config().attempt_limit) {
        (Over::Own, Some(limit)) => Error::TimedOut { limit },
        _ => Error::DeadlineExceeded,
    }
}
