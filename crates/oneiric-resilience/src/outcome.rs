//! What the end of a call says about the one that was called: the one question that breaker, retry
//! and limits ask, answered once by whoever knows the protocol.

use std::time::Duration;

use crate::Error;

/// What a call's end says about the called one's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It works. Counts for it; nothing to repeat.
    Success,
    /// It failed in a way that may pass. Counts against it; may be tried again.
    Failure,
    /// It failed, and would again. Counts against it; is not tried again.
    Permanent,
    /// It asks to be left alone for so long (an answer with `Retry-After`). Counts against it, opens a
    /// breaker at once, until then at least, and nothing is tried again earlier.
    Overloaded {
        /// How long, from now.
        retry_after: Duration,
    },
    /// It says nothing about the called one: the caller's own mistake, a record that is not there, a
    /// call that was given up. Not counted; not tried again.
    Ignored,
}

impl Outcome {
    /// Whether it counts against the called one.
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failure | Self::Permanent | Self::Overloaded { .. }
        )
    }

    /// Whether the call may be tried again.
    pub const fn may_retry(self) -> bool {
        matches!(self, Self::Failure | Self::Overloaded { .. })
    }
}

/// Decides what the result of a call says, looking at values as well as errors.
///
/// Closures `Fn(&Result<T, E>) -> Outcome` do. A closure has to name the type of its argument, as
/// nothing else says it where the closure is written.
///
/// ```
/// use oneiric_resilience::{Outcome, Retry, RetryConfig};
/// use std::io;
///
/// let retry = Retry::new(RetryConfig::default())?.classify(|result: &Result<u16, io::Error>| match result {
///     Ok(500..) | Err(_) => Outcome::Failure,
///     Ok(_) => Outcome::Success,
/// });
/// assert_eq!(retry.run(|| Ok(200)).ok(), Some(200));
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
pub trait Classify<T, E> {
    /// What the result says.
    fn classify(&self, result: &Result<T, E>) -> Outcome;
}

impl<T, E, F: Fn(&Result<T, E>) -> Outcome> Classify<T, E> for F {
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        self(result)
    }
}

/// Every error is a failure that may pass, every value a success.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrIsFailure;

impl<T, E> Classify<T, E> for ErrIsFailure {
    #[inline]
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

/// The same for a call that is itself guarded, and says so by an [`Error`] of this crate: a retry around a
/// breaker, one time limit within another. What the call itself said is a failure, and so is that it took
/// longer than it may; that it was not let through, or that a deadline passed, says nothing of it, and
/// ends a retry. [`Error::retry_outcome`] is for who would wait for a breaker to close.
#[derive(Debug, Clone, Copy, Default)]
pub struct InnerErrIsFailure;

impl<T, E> Classify<T, Error<E>> for InnerErrIsFailure {
    #[inline]
    fn classify(&self, result: &Result<T, Error<E>>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(Error::Inner(_) | Error::TimedOut { .. }) => Outcome::Failure,
            Err(Error::Rejected(_) | Error::DeadlineExceeded) => Outcome::Ignored,
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;
    use crate::{Rejected, Rejection};

    #[test]
    fn each_outcome_counts_and_repeats_as_it_says() {
        let retry_after = Duration::from_secs(1);
        let all = [
            (Outcome::Success, false, false),
            (Outcome::Failure, true, true),
            (Outcome::Permanent, true, false),
            (Outcome::Overloaded { retry_after }, true, true),
            (Outcome::Ignored, false, false),
        ];
        for (outcome, counts, repeats) in all {
            assert_eq!(outcome.is_failure(), counts, "{outcome:?}");
            assert_eq!(outcome.may_retry(), repeats, "{outcome:?}");
        }
    }

    #[test]
    fn values_can_be_failures_too() {
        let by_status = |result: &Result<u16, ()>| match result {
            Ok(500..) | Err(()) => Outcome::Failure,
            Ok(404) => Outcome::Ignored,
            Ok(_) => Outcome::Success,
        };
        assert_eq!(by_status.classify(&Ok(503)), Outcome::Failure);
        assert_eq!(by_status.classify(&Ok(404)), Outcome::Ignored);
        assert_eq!(ErrIsFailure.classify(&Ok::<_, ()>(503)), Outcome::Success);
        assert_eq!(ErrIsFailure.classify(&Err::<u8, _>(())), Outcome::Failure);
    }

    #[test]
    fn what_was_not_let_through_says_nothing_of_the_called_one() {
        let says = |result: Result<(), Error<()>>| InnerErrIsFailure.classify(&result);
        let limit = Duration::from_secs(1);
        assert_eq!(says(Ok(())), Outcome::Success);
        assert_eq!(says(Err(Error::Inner(()))), Outcome::Failure);
        assert_eq!(says(Err(Error::TimedOut { limit })), Outcome::Failure);
        let rejected = Rejected::new(Rejection::BreakerOpen, Some(limit));
        assert_eq!(says(Err(Error::Rejected(rejected))), Outcome::Ignored);
        assert_eq!(says(Err(Error::DeadlineExceeded)), Outcome::Ignored);
    }
}
