//! Runs attempts until the decision is that nothing is next; on the calling thread, which waits. What
//! runs there cannot be cut off, so a limit of time decides only whether there is another attempt.

use std::time::Duration;

use super::Retry;
use super::attempts::{Attempts, RetryStep};
use super::hook::RetryHook;
use crate::{Classify, Clock, Error, Jitter, Moment, Outcome, SystemClock};

impl<C, H> Retry<C, H> {
    /// Makes the call, and again while it fails in a way that may pass; the calling thread waits.
    ///
    /// The result is that of the last attempt, whatever it was. The limit of one attempt does not apply.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`].
    #[inline]
    pub fn run<T, E>(&self, call: impl FnMut() -> Result<T, E>) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
    {
        self.drive_sync(SystemClock::new, std::thread::sleep, self.chance(), call)
    }

    /// The same with a clock, a way to wait and a jitter of the caller's. Is not told to wait for no time
    /// at all.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T, E>(
        &self,
        clock: impl Clock,
        sleep: impl FnMut(Duration),
        jitter: impl Jitter,
        call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
    {
        self.drive_sync(|| clock, sleep, jitter, call)
    }

    /// The way that nearly all calls go, kept free of what only the others need.
    #[inline]
    fn drive_sync<T, E, K: Clock>(
        &self,
        clock: impl FnOnce() -> K,
        sleep: impl FnMut(Duration),
        jitter: impl Jitter,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
    {
        let clock = self.plan.config.total_limit.map(|_| clock());
        let began = clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
        let result = call();
        let outcome = self.classify.classify(&result);
        let result = result.map_err(Error::Inner);
        if outcome == Outcome::Success {
            self.plan.deposit();
            return result;
        }
        self.go_on_sync((result, outcome), (clock, began), sleep, jitter, call)
    }

    /// The attempts after a first one that did not succeed.
    #[cold]
    fn go_on_sync<T, E>(
        &self,
        (mut result, mut outcome): (Result<T, Error<E>>, Outcome),
        (clock, began): (Option<impl Clock>, Moment),
        mut sleep: impl FnMut(Duration),
        mut jitter: impl Jitter,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
    {
        let now = || clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
        let mut attempts = Attempts::lent(&self.plan, began);
        loop {
            let step = attempts.ended(now(), outcome, &mut jitter);
            self.tell(&attempts, outcome, &result, step);
            let RetryStep::Wait(wait) = step else {
                return result;
            };
            drop(result);
            if !wait.is_zero() {
                sleep(wait);
            }
            attempts.begin();
            let again = call();
            outcome = self.classify.classify(&again);
            result = again.map_err(Error::Inner);
        }
    }
}
