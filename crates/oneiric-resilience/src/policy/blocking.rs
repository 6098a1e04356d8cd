//! A call through a policy on a thread that waits. A thread cannot be told to stop, so no time limit
//! holds there; a policy that has one is refused instead of being taken at half its word.

use std::time::Duration;

use super::Policy;
use super::gates::Lent;
use crate::invalid::{Checks, Shown as _};
use crate::{
    Attempts, Classify, Clock, ErrIsFailure, Error, InvalidConfig, Moment, Outcome, SystemClock,
};

/// A [`Policy`] for calls on a blocking thread. From [`Policy::blocking`].
///
/// Retry, breaker, bucket and bulkhead hold as they do otherwise; between attempts the thread sleeps, or
/// waits as [`call_with`](Self::call_with) is told. The retry's own `total_limit` decides whether there is
/// another attempt, but cuts none off.
#[derive(Debug, Clone)]
pub struct BlockingPolicy<K = ErrIsFailure, C: Clock = SystemClock> {
    policy: Policy<K, C>,
}

impl<K, C: Clock> Policy<K, C> {
    /// This policy for calls on a blocking thread.
    ///
    /// # Errors
    /// `resilience.invalid_config` with everything that does not hold there: `deadline_ms`, `attempt_limit_ms`,
    /// `bucket_wait_ms` and `bulkhead_wait_ms`.
    pub fn blocking(self) -> Result<BlockingPolicy<K, C>, InvalidConfig> {
        let parts = &*self.parts;
        let mut checks = Checks::of("blocking policy");
        let none = "none, as a thread that runs cannot be told to stop";
        for (field, limit) in [
            ("deadline_ms", parts.deadline),
            ("attempt_limit_ms", parts.attempt_limit),
        ] {
            if let Some(limit) = limit {
                checks.that(false, field, limit.shown(), none);
            }
        }
        for gate in parts.outer.iter().chain(parts.inner.iter()) {
            let wait = gate.wait();
            let field = format!("{}_wait_ms", gate.stage());
            let allowed = "0, as gates keep no thread waiting";
            checks.that(wait.is_zero(), field, wait.shown(), allowed);
        }
        checks
            .done()
            .map_err(|invalid| invalid.named(&parts.name))?;
        Ok(BlockingPolicy { policy: self })
    }
}

impl<K, C: Clock> BlockingPolicy<K, C> {
    /// Makes a call, as the policy says; the thread waits for it.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`]; the code of the [`Rejection`](crate::Rejection),
    /// if a stage did not let the call or its last attempt through.
    ///
    /// # Panics
    /// If the call panics; to the breaker that is a failure.
    pub fn call<T, E>(&self, call: impl FnMut() -> Result<T, E>) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
    {
        self.call_with(std::thread::sleep, call)
    }

    /// The same with a way to wait of the caller's, which must wait as the policy's clock goes. Is not told to
    /// wait for no time at all.
    ///
    /// ```
    /// use oneiric_resilience::{BackoffConfig, ManualClock, Policy, PolicyConfig, RetryConfig};
    /// use std::time::Duration;
    ///
    /// let clock = ManualClock::new();
    /// let minute = Duration::from_secs(60);
    /// let config = PolicyConfig {
    ///     retry: Some(RetryConfig {
    ///         attempts: 10,
    ///         backoff: BackoffConfig::constant(minute),
    ///         total_limit: Some(4 * minute),
    ///         ..RetryConfig::default()
    ///     }),
    ///     ..PolicyConfig::default()
    /// };
    /// let policy = Policy::with_clock(config, clock.clone())?.blocking()?;
    /// let mut attempts = 0;
    /// let answer = policy.call_with(
    ///     |wait| clock.advance(wait),
    ///     || {
    ///         attempts += 1;
    ///         Err::<(), _>("down")
    ///     },
    /// );
    /// assert!(answer.is_err());
    /// assert_eq!(attempts, 4);
    /// # Ok::<(), oneiric_resilience::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Panics
    /// As [`call`](Self::call), and if `sleep` panics.
    pub fn call_with<T, E>(
        &self,
        mut sleep: impl FnMut(Duration),
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        K: Classify<T, E>,
    {
        let parts = &*self.policy.parts;
        let mut outer = Lent::at_rest();
        let passed = parts.outer.pass(&mut outer, 0);
        passed.map_err(|stopped| parts.refused(stopped.refused()))?;
        let (result, outcome) = self.attempts(&mut outer, &mut sleep, &mut call);
        outer.record(outcome, None);
        result
    }

    /// The policy itself.
    pub const fn policy(&self) -> &Policy<K, C> {
        &self.policy
    }

    fn attempts<T, E>(
        &self,
        outer: &mut Lent<'_, C>,
        sleep: &mut impl FnMut(Duration),
        call: &mut impl FnMut() -> Result<T, E>,
    ) -> (Result<T, Error<E>>, Outcome)
    where
        K: Classify<T, E>,
    {
        let parts = &*self.policy.parts;
        let Some(retry) = &parts.retry else {
            return self.attempt(outer, &mut None, call);
        };
        let total = retry.config().total_limit;
        let now = || total.map_or(Moment::ORIGIN, |_| parts.clock.now());
        let mut retrying = Some(retry.attempts_lent(now()));
        loop {
            let (result, outcome) = self.attempt(outer, &mut retrying, call);
            let Some(attempts) = &mut retrying else {
                return (result, outcome);
            };
            let told = parts.to_retry(attempts, &result, outcome);
            let Some(wait) = parts.next(attempts, now(), told) else {
                return (attempts.told(result), outcome);
            };
            drop(result);
            if !wait.is_zero() {
                sleep(wait);
            }
        }
    }

    fn attempt<T, E>(
        &self,
        outer: &mut Lent<'_, C>,
        retrying: &mut Option<Attempts<'_>>,
        call: &mut impl FnMut() -> Result<T, E>,
    ) -> (Result<T, Error<E>>, Outcome)
    where
        K: Classify<T, E>,
    {
        let parts = &*self.policy.parts;
        let mut inner = Lent::at_rest();
        if let Err(stopped) = parts.inner.pass(&mut inner, 0) {
            return (Err(parts.refused(stopped.refused())), Outcome::Ignored);
        }
        let began = parts.time_attempts.then(|| parts.clock.now());
        if let Some(attempts) = retrying {
            attempts.begin();
        }
        // Only for so long a panic is the call's.
        outer.runs(true);
        inner.runs(true);
        let result = call();
        let outcome = self.policy.classify.classify(&result);
        outer.runs(false);
        inner.record(outcome, began.map(|began| parts.clock.now().since(began)));
        (result.map_err(Error::Inner), outcome)
    }
}
