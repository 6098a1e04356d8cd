//! One call through a policy: its attempts, one after the other. As in [`Policy::call`], each step is
//! bounded by itself, so that what is held when time is over is still there to be told whose fault
//! that was.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::bounded::Bounded;
use super::next::{NEXT, Next, Ready};
use super::policy::Rule;
use super::retry::{CloneRequest, CopyRequest};
use crate::limited::Over;
use crate::policy::cut::{Cut, Ended, first};
use crate::policy::gates::{Entering, Held, Refused};
use crate::{
    Attempts, Classify, Clock, Deadline, ErrIsFailure, Error, Moment, Outcome, SystemClock,
    TokioClock,
};

pin_project_lite::pin_project! {
    /// The response of a [`WithPolicy`](super::WithPolicy) service. Dropped, it drops the attempt
    /// that runs or leaves the queue it waits in, and gives back what it holds; nobody counts it.
    #[must_use = "futures do nothing unless polled"]
    pub struct PolicyFuture<S, R, K = ErrIsFailure, C: Clock = SystemClock, D = CloneRequest>
    where
        S: Service<R>,
    {
        #[pin]
        step: Step<S::Future, S, R, C>,
        outer: Held<C>,
        next: Next<S, R>,
        // Where there is a retry, from the first poll on.
        attempts: Option<Attempts<'static>>,
        // Until when all must be over.
        by: Option<Deadline>,
        clock: Option<TokioClock>,
        rule: Arc<Rule<K, C, D>>,
    }
}

/// The first attempt: made, or not let through.
pub(super) enum First<F, C: Clock> {
    Made(F, Held<C>),
    Refused(Refused),
}

pin_project_lite::pin_project! {
    #[project = StepNow]
    enum Step<F, S, R, C: Clock> {
        // Not let through: the whole call, or an attempt.
        RefusedCall { refused: Refused },
        RefusedAttempt { refused: Refused },
        // Its time was over before it began.
        TooLate { cut: Cut },
        Calling {
            // Goes before what it holds.
            #[pin]
            call: Bounded<F>,
            cut: Option<Cut>,
            held: Held<C>,
            began: Option<Moment>,
        },
        Waiting {
            #[pin]
            timer: Sleep,
        },
        // A timer would make a millisecond of no wait at all; but others must have their turn.
        Yielding,
        // For the turns of the next attempt.
        Entering {
            #[pin]
            entering: Entering<C>,
        },
        // And then for its service, as permits are had from the outside in, in all calls.
        Readying {
            #[pin]
            ready: Bounded<Ready<S, R>>,
            held: Held<C>,
        },
        Ended,
    }
}

impl<S, R, K, C, D> PolicyFuture<S, R, K, C, D>
where
    S: Service<R>,
    C: Clock,
{
    /// A call that was not let through.
    pub(super) fn refused(refused: Refused, rule: Arc<Rule<K, C, D>>) -> Self {
        Self {
            step: Step::RefusedCall { refused },
            outer: Held::at_rest(),
            next: Next::none(),
            attempts: None,
            by: None,
            clock: None,
            rule,
        }
    }

    /// A call that was let through, and its first attempt.
    pub(super) fn new(
        made: First<S::Future, C>,
        outer: Held<C>,
        next: Next<S, R>,
        rule: Arc<Rule<K, C, D>>,
    ) -> Self {
        let (parts, _) = rule.policy.stages();
        let total = parts
            .retry
            .as_ref()
            .and_then(|retry| retry.config().total_limit);
        let by = parts.deadline.into_iter().chain(total).min();
        let by = by.map(Deadline::within);
        Self {
            step: match made {
                First::Refused(refused) => Step::RefusedAttempt { refused },
                First::Made(call, held) => rule.begin(|| call, held, by),
            },
            outer: outer.laid_down(),
            next,
            attempts: parts
                .retry
                .as_ref()
                .map(|retry| retry.attempts(Moment::ORIGIN)),
            by,
            clock: None,
            rule,
        }
    }
}

impl<K, C: Clock, D> Rule<K, C, D> {
    /// An attempt that was let through, if it is not too late.
    fn begin<F, S, R>(
        &self,
        call: impl FnOnce() -> F,
        held: Held<C>,
        by: Option<Deadline>,
    ) -> Step<F, S, R, C> {
        let (parts, _) = self.policy.stages();
        let (until, cut) = match first(parts.attempt_limit, by) {
            Ok(limit) => limit.unzip(),
            Err(cut) => return Step::TooLate { cut },
        };
        let call = Bounded::until(until, call());
        Step::Calling {
            call,
            cut,
            held: held.laid_down(),
            began: parts.time_attempts.then(|| parts.clock.now()),
        }
    }
}

impl<S, R, K, C, D> Future for PolicyFuture<S, R, K, C, D>
where
    S: Service<R> + Clone,
    K: Classify<S::Response, S::Error>,
    C: Clock,
    D: CopyRequest<R>,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, outcome) = ready!(self.as_mut().advance(cx));
        self.project().outer.take_up().record(outcome, None);
        Poll::Ready(result)
    }
}

impl<S, R, K, C, D> PolicyFuture<S, R, K, C, D>
where
    S: Service<R> + Clone,
    K: Classify<S::Response, S::Error>,
    C: Clock,
    D: CopyRequest<R>,
{
    /// Goes on until the call has ended.
    fn advance(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<S::Response, S::Error>> {
        loop {
            let mut this = self.as_mut().project();
            let (parts, classify) = this.rule.policy.stages();
            let (result, outcome) = match this.step.as_mut().project() {
                StepNow::RefusedCall { refused } => {
                    let error = parts.refused(*refused);
                    this.step.set(Step::Ended);
                    return Poll::Ready((Err(error), Outcome::Ignored));
                }
                StepNow::RefusedAttempt { refused } => {
                    (Err(parts.refused(*refused)), Outcome::Ignored)
                }
                StepNow::TooLate { cut } => cut.told(parts),
                StepNow::Calling {
                    call,
                    cut,
                    held,
                    began,
                } => {
                    // Here if the call panics, so that it is seen as one.
                    let (outer, holding) = (this.outer.take_up(), held.take_up());
                    let Poll::Ready(ended) = call.poll(cx) else {
                        *this.outer = outer.laid_down();
                        *held = holding.laid_down();
                        return Poll::Pending;
                    };
                    let began = began.take();
                    let ended: Ended<_, _> = match (ended, cut.take()) {
                        (Ok(result), _) => {
                            let outcome = classify.classify(&result);
                            (result.map_err(Error::Inner), outcome)
                        }
                        (Err(Over::Own), Some(cut)) => cut.told(parts),
                        (Err(_), _) => Cut::Around.told(parts),
                    };
                    // The attempt is gone before its permits are free again.
                    this.step.set(Step::Yielding);
                    let took = began.map(|began| parts.clock.now().since(began));
                    holding.record(ended.1, took);
                    *this.outer = outer.laid_down();
                    ended
                }
                StepNow::Waiting { timer } => {
                    ready!(timer.poll(cx));
                    self.as_mut().awaken();
                    continue;
                }
                StepNow::Yielding => {
                    self.as_mut().awaken();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                StepNow::Entering { entering } => {
                    match ready!(entering.poll_enter(&parts.inner, cx)) {
                        Ok(held) => {
                            let ready = Bounded::until(*this.by, this.next.ready());
                            this.step.set(Step::Readying { ready, held });
                            continue;
                        }
                        Err(refused) => (Err(parts.refused(refused)), Outcome::Ignored),
                    }
                }
                StepNow::Readying { ready, held } => {
                    // Here if it panics, so that it is seen as one.
                    let (outer, holding) = (this.outer.take_up(), held.take_up());
                    let readied = ready.poll(cx);
                    *this.outer = outer.laid_down();
                    let Poll::Ready(readied) = readied else {
                        *held = holding.laid_down();
                        return Poll::Pending;
                    };
                    match readied {
                        Ok(Ok(service)) => {
                            this.next.readied(service);
                            self.as_mut().again(holding);
                            continue;
                        }
                        // Of no use any more; but nobody was called.
                        Ok(Err(broken)) => (Err(Error::Inner(broken)), Outcome::Ignored),
                        Err(Over::Own) => Cut::TooLate.told(parts),
                        Err(Over::Around) => Cut::Around.told(parts),
                    }
                }
                StepNow::Ended => unreachable!("not polled again after it has answered"),
            };
            if let Some(result) = self.as_mut().ended(result, outcome) {
                return Poll::Ready((result, outcome));
            }
        }
    }

    /// An attempt has ended. Gives its result back, if there is no other attempt to wait for.
    fn ended(
        self: Pin<&mut Self>,
        result: Result<S::Response, Error<S::Error>>,
        outcome: Outcome,
    ) -> Option<Result<S::Response, Error<S::Error>>> {
        let mut this = self.project();
        let (parts, _) = this.rule.policy.stages();
        let wait = this.attempts.as_mut().and_then(|attempts| {
            let end = this.by.iter().copied().chain(Deadline::current()).min();
            if let (None, Some(end)) = (&this.clock, end) {
                let clock = this.clock.insert(TokioClock::new());
                attempts.end_by(clock.now().after(end.remaining()));
            }
            let now = this.clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
            let told = parts.to_retry(attempts, &result, outcome);
            if !this.next.is_some() {
                attempts.not_repeatable();
            }
            parts.next(attempts, now, told)
        });
        let Some(wait) = wait else {
            this.step.set(Step::Ended);
            return Some(match this.attempts {
                Some(attempts) => attempts.told(result),
                None => result,
            });
        };
        if this
            .attempts
            .as_ref()
            .is_some_and(|attempts| attempts.ended_attempts() > 1)
        {
            this.next.lay_down();
        }
        this.step.set(match wait.is_zero() {
            true => Step::Yielding,
            false => Step::Waiting { timer: sleep(wait) },
        });
        None
    }

    /// The wait between attempts is over.
    fn awaken(self: Pin<&mut Self>) {
        let mut this = self.project();
        let entering = Entering::new(*this.by);
        this.step.set(Step::Entering { entering });
    }

    /// The next attempt, by a service that is ready.
    fn again(self: Pin<&mut Self>, held: Held<C>) {
        let mut this = self.project();
        // Here if it panics, so that it is seen as one.
        let outer = this.outer.take_up();
        let (attempts, next) = (this.attempts.as_mut().expect(NEXT), this.next);
        let rule = &**this.rule;
        let call = || {
            attempts.begin();
            let begun = attempts.ended_attempts() + 1;
            next.call(|request| rule.copy(request, begun))
        };
        let step = rule.begin(call, held, *this.by);
        *this.outer = outer.laid_down();
        this.step.set(step);
    }
}

impl<S, R, K, C, D> fmt::Debug for PolicyFuture<S, R, K, C, D>
where
    S: Service<R>,
    C: Clock,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFuture").finish_non_exhaustive()
    }
}
