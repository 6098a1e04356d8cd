//! One pattern within another: the error of the outer one then holds that of the inner one. Two small
//! tools keep that from being seen: one flat error, and what it means for a retry.

use crate::{Error, Outcome, Rejection};

impl<E> Error<Error<E>> {
    /// One error out of two: what the inner pattern said counts as if the outer one had. A refusal after an attempt
    /// that was made is not told from a first one: [`Rejected::attempts_made`](crate::Rejected::attempts_made) is 0.
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Inner(inner) => inner,
            Self::Rejected(rejected) => Error::Rejected(rejected),
            Self::TimedOut { limit } => Error::TimedOut { limit },
            Self::DeadlineExceeded => Error::DeadlineExceeded,
        }
    }
}

impl<E> Error<E> {
    /// What this error of an inner pattern says to a retry around it; `inner` answers for the call's own.
    ///
    /// A call that was not let through is tried again where that can help: after the wait that the
    /// rejection names, if it names one. It is not where only somebody's hand or other settings would
    /// help, and never after the deadline. A breaker needs no such help: it sees the call itself.
    ///
    /// ```
    /// use oneiric_resilience::{Error, Outcome, Retry, RetryConfig};
    ///
    /// let retry = Retry::new(RetryConfig::default())?.classify(
    ///     |result: &Result<u8, Error<std::io::Error>>| match result {
    ///         Ok(_) => Outcome::Success,
    ///         Err(error) => error.retry_outcome(|_| Outcome::Failure),
    ///     },
    /// );
    /// let answer = retry.run(|| Err(Error::DeadlineExceeded)).map_err(Error::flatten);
    /// assert!(matches!(answer, Err(Error::DeadlineExceeded)));
    /// # Ok::<(), oneiric_resilience::InvalidConfig>(())
    /// ```
    pub fn retry_outcome(&self, inner: impl FnOnce(&E) -> Outcome) -> Outcome {
        match self {
            Self::Inner(error) => inner(error),
            Self::TimedOut { .. } => Outcome::Failure,
            Self::DeadlineExceeded => Outcome::Ignored,
            Self::Rejected(rejected) => match rejected.rejection() {
                Rejection::BreakerForcedOpen
                | Rejection::OverCapacity
                | Rejection::DeadlineTooNear => Outcome::Ignored,
                Rejection::BreakerOpen
                | Rejection::RateLimited
                | Rejection::TooManyKeys
                | Rejection::BulkheadFull
                | Rejection::QueueFull => match rejected.retry_after() {
                    Some(retry_after) => Outcome::Overloaded { retry_after },
                    None => Outcome::Failure,
                },
            },
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Rejected;

    #[test]
    fn two_errors_become_one_and_keep_what_was_said() {
        let rejected = Rejected::new(Rejection::QueueFull, None);
        let limit = Duration::from_secs(1);
        let all = [
            Error::Inner(7),
            Error::Rejected(rejected),
            Error::TimedOut { limit },
            Error::DeadlineExceeded,
        ];
        for error in all {
            assert_eq!(Error::Inner(error).flatten(), error);
        }
        for (outer, flat) in [
            (Error::Rejected(rejected), all[1]),
            (Error::TimedOut { limit }, all[2]),
            (Error::<Error<i32>>::DeadlineExceeded, all[3]),
        ] {
            assert_eq!(outer.flatten(), flat);
        }
    }

    #[test]
    fn only_rejections_that_pass_by_themselves_are_tried_again() {
        let retry_after = Duration::from_secs(2);
        let says = |rejection, after| {
            Error::<()>::Rejected(Rejected::new(rejection, after))
                .retry_outcome(|()| Outcome::Permanent)
        };
        for rejection in [
            Rejection::BreakerOpen,
            Rejection::RateLimited,
            Rejection::TooManyKeys,
            Rejection::BulkheadFull,
            Rejection::QueueFull,
        ] {
            let asked = Outcome::Overloaded { retry_after };
            assert_eq!(says(rejection, Some(retry_after)), asked);
            assert_eq!(says(rejection, None), Outcome::Failure);
        }
        for rejection in [
            Rejection::BreakerForcedOpen,
            Rejection::OverCapacity,
            Rejection::DeadlineTooNear,
        ] {
            assert_eq!(says(rejection, Some(retry_after)), Outcome::Ignored);
        }
        let inner = |error: Error<()>| error.retry_outcome(|()| Outcome::Permanent);
        assert_eq!(inner(Error::Inner(())), Outcome::Permanent);
        assert_eq!(inner(Error::DeadlineExceeded), Outcome::Ignored);
        let timed_out = Error::TimedOut { limit: retry_after };
        assert_eq!(inner(timed_out), Outcome::Failure);
    }
}
