//! A call through a policy, asynchronously. Each step is bounded by itself instead of all of it at once
//! from outside: so what is held when time is over is still there to be told whose fault that was.
//! Nothing is boxed and nothing allocated; no clock is read unless time is limited.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Policy;
use super::cut::first;
use super::gates::{Gate, Gates, Lent, LentPass, Refused, Stopped, Turn};
use super::parts::Parts;
use crate::limited::Limited;
use crate::{Attempts, Classify, Clock, Deadline, Error, Moment, Outcome};

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
    /// queue it waits in, and gives back what it holds; nobody counts it.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`]; `resilience.timed_out` if that was cut off;
    /// the code of the [`Rejection`](crate::Rejection), if a stage did not let the call or its last attempt
    /// through; `resilience.deadline_exceeded` if the time for all was over.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime, or in one without timers.
    pub async fn call<T, E, F, Fut>(&self, mut call: F) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let parts = &*self.parts;
        let by = parts.deadline.map(Deadline::within);
        let mut outer = Lent::at_rest();
        if let Err(stopped) = parts.outer.pass(&mut outer, 0) {
            let waited = wait(&parts.outer, &mut outer, stopped, by).await;
            waited.map_err(|refused| parts.refused(refused))?;
        }
        let mut retrying = Retrying::new(parts, by);
        let by = retrying.by;
        let (result, outcome) = loop {
            let (result, outcome) = 'attempt: {
                let mut inner = Lent::at_rest();
                if let Err(stopped) = parts.inner.pass(&mut inner, 0) {
                    let waited = wait(&parts.inner, &mut inner, stopped, by).await;
                    if let Err(refused) = waited {
                        break 'attempt (Err(parts.refused(refused)), Outcome::Ignored);
                    }
                }
                let began = parts.time_attempts.then(|| parts.clock.now());
                outer.runs(true);
                inner.runs(true);
                let limit = first(parts.attempt_limit, by);
                if limit.is_ok() {
                    retrying.begin();
                }
                let ended = match limit {
                    Ok(None) => Ok(Running::new(call(), &mut outer, &mut inner).await),
                    Ok(Some((until, cut))) => {
                        let call = Limited::begun(call(), until);
                        let ended = Running::new(call, &mut outer, &mut inner).await;
                        ended.map_err(|over| cut.by(over))
                    }
                    Err(cut) => Err(cut),
                };
                let (result, outcome) = match ended {
                    Ok(result) => {
                        let outcome = self.classify.classify(&result);
                        (result.map_err(Error::Inner), outcome)
                    }
                    Err(cut) => cut.told(parts),
                };
                inner.record(outcome, began.map(|began| parts.clock.now().since(began)));
                outer.runs(false);
                (result, outcome)
            };
            let Some(wait) = retrying.next(&result, outcome) else {
                break (result, outcome);
            };
            drop(result);
            pause(wait).await;
        };
        outer.record(outcome, None);
        retrying.told(result)
    }
}

pin_project_lite::pin_project! {
    /// An attempt. While it is suspended, what is held for it knows that.
    struct Running<'h, 'a, F, C: Clock> {
        #[pin]
        call: F,
        outer: &'h mut Lent<'a, C>,
        inner: &'h mut Lent<'a, C>,
    }
}

impl<'h, 'a, F, C: Clock> Running<'h, 'a, F, C> {
    #[inline]
    const fn new(call: F, outer: &'h mut Lent<'a, C>, inner: &'h mut Lent<'a, C>) -> Self {
        Self { call, outer, inner }
    }
}

impl<F: Future, C: Clock> Future for Running<'_, '_, F, C> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.outer.runs(true);
        this.inner.runs(true);
        let poll = this.call.poll(cx);
        if poll.is_pending() {
            this.outer.runs(false);
            this.inner.runs(false);
        }
        poll
    }
}

/// The attempts of one call, if its policy tries again.
struct Retrying<'a, C: Clock> {
    parts: &'a Parts<C>,
    attempts: Option<Attempts<'a>>,
    /// When the policy's time for attempts is over.
    by: Option<Deadline>,
    /// When nobody needs another one: the caller's time may be over before.
    end: Option<Deadline>,
}

/// Decisions are made as if each was made at the beginning, with the time that is left then: so no clock
/// is read for a call that goes well.
const NOW: Moment = Moment::ORIGIN;

impl<'a, C: Clock> Retrying<'a, C> {
    #[inline]
    fn new(parts: &'a Parts<C>, by: Option<Deadline>) -> Self {
        let total = parts
            .retry
            .as_ref()
            .and_then(|retry| retry.config().total_limit);
        let by = by.into_iter().chain(total.map(Deadline::within)).min();
        Self {
            parts,
            attempts: parts.retry.as_ref().map(|retry| retry.attempts_lent(NOW)),
            by,
            end: by.into_iter().chain(Deadline::current()).min(),
        }
    }

    /// Decides what is next after an attempt: another one after this wait, or nothing.
    #[inline]
    fn next<T, E>(&mut self, result: &Result<T, Error<E>>, outcome: Outcome) -> Option<Duration> {
        let attempts = self.attempts.as_mut()?;
        let told = self.parts.to_retry(attempts, result, outcome);
        if let Some(end) = self.end.filter(|_| told.may_retry()) {
            attempts.end_by(NOW.after(end.remaining()));
        }
        self.parts.next(attempts, NOW, told)
    }

    /// What the caller is told.
    #[inline]
    fn told<T, E>(&self, result: Result<T, Error<E>>) -> Result<T, Error<E>> {
        match &self.attempts {
            Some(attempts) => attempts.told(result),
            None => result,
        }
    }

    /// The next attempt begins.
    fn begin(&mut self) {
        if let Some(attempts) = &mut self.attempts {
            attempts.begin();
        }
    }
}

/// Passes the gates from the one that stopped the call, waiting where that was allowed, but not longer than
/// until `by`.
#[cold]
async fn wait<'a, C: Clock>(
    gates: &'a Gates<C>,
    held: &mut Lent<'a, C>,
    mut stopped: Stopped<'a, C>,
    by: Option<Deadline>,
) -> Result<(), Refused> {
    loop {
        let Stopped { gate, at, rejected } = stopped;
        if gate.wait().is_zero() {
            return Err(gate.refused(rejected));
        }
        let until = gate.until(by);
        let passed = match gate {
            Gate::Breaker(_) => Err(rejected),
            Gate::Bucket(bucket, _) => bucket
                .take_before(1, until)
                .await
                .map(|()| LentPass::Bucket),
            Gate::Bulkhead(bulkhead, _) => {
                let entered = bulkhead.enter_before(until).await;
                entered.map(|permit| LentPass::Bulkhead(Turn::Own(permit)))
            }
        };
        held.push(passed.map_err(|rejected| gate.refused(rejected))?);
        match gates.pass(held, at + 1) {
            Ok(()) => return Ok(()),
            Err(further_in) => stopped = further_in,
        }
    }
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
