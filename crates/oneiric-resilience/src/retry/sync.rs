//! Runs attempts until the decision is that nothing is next; on the calling thread, which waits. What
//! runs there cannot be cut off, so a limit of time decides only whether there is another attempt.

use std::time::Duration;

use super::Retry;
use super::attempts::{Attempts, RetryStep};
use super::hook::RetryHook;
use crate::{Classify, Clock, Error, Jitter, Moment, SystemClock, ThreadJitter};

impl<C, H> Retry<C, H> {
    /// Makes the call, and again while it fails in a way that may pass; the calling thread waits.
    ///
    /// The result is that of the last attempt, whatever it was. The limit of one attempt does not apply.
    ///
    /// # Errors
    /// What the last attempt said, as [`Error::Inner`].
    #[inline]
    pub fn run_sync<T, E>(&self, call: impl FnMut() -> Result<T, E>) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
    {
        self.drive_sync(SystemClock::new, std::thread::sleep, ThreadJitter, call)
    }

    /// The same with a clock, a way to wait and a jitter of the caller's. Is not told to wait for no time
    /// at all.
    ///
    /// # Errors
    /// As [`run_sync`](Self::run_sync).
    pub fn run_sync_with<T, E>(
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

    #[inline]
    fn drive_sync<T, E, K>(
        &self,
        clock: impl FnOnce() -> K,
        mut sleep: impl FnMut(Duration),
        mut jitter: impl Jitter,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
        H: RetryHook<E>,
        K: Clock,
    {
        let clock = self.plan.config.total_limit.map(|_| clock());
        let now = || clock.as_ref().map_or(Moment::ORIGIN, Clock::now);
        let mut attempts = Attempts::lent(&self.plan, now());
        loop {
            let result = call();
            let outcome = self.classify.classify(&result);
            let step = attempts.ended(now(), outcome, &mut jitter);
            let result = result.map_err(Error::Inner);
            self.tell(&attempts, outcome, &result, step);
            let RetryStep::Wait(wait) = step else {
                return result;
            };
            drop(result);
            if !wait.is_zero() {
                sleep(wait);
            }
            attempts.begin();
        }
    }
}
