//! A call through a policy, asynchronously. Each step is bounded by itself instead of all of it at once
//! from outside: so what is held when time is over is still there to be told whose fault that was.
//! Nothing is boxed and nothing allocated; no clock is read unless time is limited.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::Policy;
use super::event::PolicyEvent;
use super::gates::{Entering, Gates, Held, Refused};
use super::parts::Parts;
use crate::limited::{Limit, Limited, Over};
use crate::{Classify, Clock, Deadline, Error, Moment, Outcome, TokioClock};

/// The end of an attempt: what the caller is told, and what it says of the called one.
pub(crate) type Ended<T, E> = (Result<T, Error<E>>, Outcome);

impl<K, C: Clock> Policy<K, C> {
    /// Makes a call, as the policy says. Each attempt is a future of its own, made by `call`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use oneiric_resilience::{Error, Policy, PolicyConfig, RetryConfig};
    /// use std::time::Duration;
    ///
    /// let policy = Policy::new(PolicyConfig {
    ///     retry: Some(RetryConfig { attempts: 2, ..RetryConfig::default() }),
    ///     attempt_limit: Some(Duration::from_millis(500)),
    ///     ..PolicyConfig::default()
    /// })?;
    /// let mut attempts = 0;
    /// let answer = policy.call(|| {
    ///     attempts += 1;
    ///     let hangs = attempts == 1;
    ///     async move {
    ///         if hangs {
    ///             std::future::pending::<()>().await;
    ///         }
    ///         Ok::<_, std::io::Error>(7)
    ///     }
    /// });
    /// assert_eq!(answer.await?, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel-safe as far as the call is: dropped at any time, it drops the attempt that runs, leaves the
    /// queue it waits in, and gives back what it holds; nobody counts it. Needs a tokio runtime with
    /// timers, if it ever has to wait or time is limited.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`]; `resilience.timed_out` if that was cut off;
    /// the code of the [`Rejection`](crate::Rejection), if a gate did not let the call or its last attempt
    /// through; `resilience.deadline_exceeded` if the time for all was over.
    pub async fn call<T, E, F, Fut>(&self, mut call: F) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let parts = &*self.parts;
        let by = parts.deadline.map(Deadline::within);
        let outer = match enter(&parts.outer, by).await {
            Ok(held) => held,
            Err(refused) => return Err(parts.refused(refused)),
        };
        let (result, outcome) = self.attempts(&mut call, by).await;
        outer.record(outcome, None);
        result
    }

    async fn attempts<T, E, F, Fut>(&self, call: &mut F, by: Option<Deadline>) -> Ended<T, E>
    where
        K: Classify<T, E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let parts = &*self.parts;
        let Some(retry) = &parts.retry else {
            return self.attempt(call, by).await;
        };
        let total = retry.config().total_limit.map(Deadline::within);
        let by = by.into_iter().chain(total).min();
        // A deadline around the caller cuts this off by itself; but no wait should begin in vain.
        let end = by.into_iter().chain(Deadline::current()).min();
        let clock = end.map(|_| TokioClock::new());
        let now = || clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
        let mut attempts = retry.attempts_lent(now());
        if let Some(end) = end {
            attempts.end_by(now().after(end.remaining()));
        }
        loop {
            let (result, outcome) = self.attempt(call, by).await;
            let told = parts.to_retry(&result, outcome);
            let Some(wait) = parts.next(&mut attempts, now(), told) else {
                return (result, outcome);
            };
            drop(result);
            pause(wait).await;
            attempts.begin();
        }
    }

    async fn attempt<T, E, F, Fut>(&self, call: &mut F, by: Option<Deadline>) -> Ended<T, E>
    where
        K: Classify<T, E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let parts = &*self.parts;
        let held = match enter(&parts.inner, by).await {
            Ok(held) => held,
            Err(refused) => return (Err(parts.refused(refused)), Outcome::Ignored),
        };
        let began = parts.time_attempts.then(|| parts.clock.now());
        let (result, outcome) = match self.limited(call, by).await {
            Ok(result) => {
                let outcome = self.classify.classify(&result);
                (result.map_err(Error::Inner), outcome)
            }
            Err(cut) => cut.told(parts),
        };
        held.record(outcome, began.map(|began| parts.clock.now().since(began)));
        (result, outcome)
    }

    /// The call itself, and no longer than it may take.
    async fn limited<T, E, F, Fut>(
        &self,
        call: &mut F,
        by: Option<Deadline>,
    ) -> Result<Result<T, E>, Cut>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some((until, cut)) = first(self.parts.attempt_limit, by)? else {
            return Ok(call().await);
        };
        let ended = Limited::new(call(), Limit::Until(until)).await;
        ended.map_err(|over| match over {
            Over::Own => cut,
            Over::Around => Cut::Around,
        })
    }
}

/// Why an attempt was cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// It took longer than one may.
    Attempt(Duration),
    /// The policy's time was over while it ran.
    Policy,
    /// The policy's time was over before it began.
    TooLate,
    /// The time of a caller was over.
    Around,
}

impl Cut {
    /// What the caller is told, and what it says of the called one.
    ///
    /// Not in time is a failure where the time was the called one's. The time of an attempt is. That of
    /// the whole policy is only where attempts have none of their own: else nothing would ever tell that
    /// the called one hangs. A caller's own deadline says nothing of anybody else.
    #[cold]
    pub(crate) fn told<T, E, C: Clock>(self, parts: &Parts<C>) -> Ended<T, E> {
        let (event, error, outcome) = match self {
            Self::Attempt(limit) => (
                PolicyEvent::TimedOut { limit },
                Error::TimedOut { limit },
                Outcome::Failure,
            ),
            Self::Policy if parts.attempt_limit.is_none() => (
                PolicyEvent::DeadlineExceeded,
                Error::DeadlineExceeded,
                Outcome::Failure,
            ),
            Self::Policy | Self::TooLate | Self::Around => (
                PolicyEvent::DeadlineExceeded,
                Error::DeadlineExceeded,
                Outcome::Ignored,
            ),
        };
        parts.observers.tell(event);
        (Err(error), outcome)
    }
}

/// Which of the limits of an attempt that begins now is over first, if there is any.
pub(crate) fn first(
    limit: Option<Duration>,
    by: Option<Deadline>,
) -> Result<Option<(Deadline, Cut)>, Cut> {
    if limit.is_none() && by.is_none() {
        return Ok(None);
    }
    let now = Instant::now();
    if by.is_some_and(|by| by.instant() <= now) {
        return Err(Cut::TooLate);
    }
    let own = limit.map(|limit| (Deadline::after(now, limit), Cut::Attempt(limit)));
    Ok(match (own, by) {
        (Some((until, _)), Some(by)) if by <= until => Some((by, Cut::Policy)),
        (Some(own), _) => Some(own),
        (None, by) => by.map(|by| (by, Cut::Policy)),
    })
}

/// Passes the gates, waiting where that was allowed, but not longer than until `by`.
async fn enter<C: Clock>(gates: &Gates<C>, by: Option<Deadline>) -> Result<Held<C>, Refused> {
    let mut entering = pin!(Entering::new(by));
    poll_fn(|cx| entering.as_mut().poll_enter(gates, cx)).await
}

/// Waits between two attempts.
async fn pause(wait: Duration) {
    if wait.is_zero() {
        // A timer would make a millisecond of it; but others must have their turn.
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(wait).await;
    }
}
