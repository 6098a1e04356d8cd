//! What a caller can be told instead of an answer: that the call was not let through, that time ran
//! out, or what the call itself said.

use std::fmt;
use std::time::Duration;

/// Why a call was not let through. Nothing was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// The breaker is open, or half open with all its probes under way.
    BreakerOpen,
    /// The breaker is held open by hand.
    BreakerForcedOpen,
    /// The bucket does not hold that many tokens now.
    RateLimited,
    /// More tokens were asked for than the bucket can ever hold.
    OverCapacity,
    /// No key more can be kept apart, and none of those that are there is idle.
    TooManyKeys,
    /// As many calls run as may, and nobody may wait.
    BulkheadFull,
    /// As many callers wait as may.
    QueueFull,
    /// The caller's time would be over before its turn comes.
    DeadlineTooNear,
}

impl Rejection {
    /// The error code, `resilience.reason`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BreakerOpen => "resilience.breaker_open",
            Self::BreakerForcedOpen => "resilience.breaker_forced_open",
            Self::RateLimited => "resilience.rate_limited",
            Self::OverCapacity => "resilience.over_capacity",
            Self::TooManyKeys => "resilience.too_many_keys",
            Self::BulkheadFull => "resilience.bulkhead_full",
            Self::QueueFull => "resilience.queue_full",
            Self::DeadlineTooNear => "resilience.deadline_too_near",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::BreakerOpen => "the circuit breaker is open",
            Self::BreakerForcedOpen => "the circuit breaker is held open by hand",
            Self::RateLimited => "the rate limit is used up",
            Self::OverCapacity => "more was asked for than the rate limit ever allows at once",
            Self::TooManyKeys => "too many keys are limited apart",
            Self::BulkheadFull => "as many calls run as may",
            Self::QueueFull => "as many callers wait as may",
            Self::DeadlineTooNear => "the deadline comes before the call's turn",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A call that was not let through, and when it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    rejection: Rejection,
    retry_after: Option<Duration>,
}

impl Rejected {
    pub(crate) const fn new(rejection: Rejection, retry_after: Option<Duration>) -> Self {
        Self {
            rejection,
            retry_after,
        }
    }

    /// Why.
    pub const fn rejection(&self) -> Rejection {
        self.rejection
    }

    /// The shortest wait after which the same call can be let through; nothing if that cannot be known.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error code, `resilience.reason`.
    pub const fn code(&self) -> &'static str {
        self.rejection.code()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)?;
        match self.retry_after {
            Some(wait) => write!(f, "; try again in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejected {}

/// Why a guarded call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call was not let through.
    #[error("the call was not made")]
    Rejected(#[source] Rejected),
    /// An attempt took longer than one may.
    #[error("the call took longer than {limit:?}")]
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// The deadline passed, that of this call or of one around it.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// What the call itself said.
    #[error("the call failed")]
    Inner(#[source] E),
}

impl<E> Error<E> {
    /// The error code, `resilience.reason`; nothing for what the call itself said, which has its own.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Rejected(rejected) => Some(rejected.code()),
            Self::TimedOut { .. } => Some("resilience.timed_out"),
            Self::DeadlineExceeded => Some("resilience.deadline_exceeded"),
            Self::Inner(_) => None,
        }
    }

    /// What the call itself said, if it was made and ended.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            _ => None,
        }
    }

    /// The shortest wait after which the same call can be let through, where that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejected) => rejected.retry_after(),
            _ => None,
        }
    }
}

impl<E> From<Rejected> for Error<E> {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_has_its_code_and_says_when_to_come_back() {
        let codes = [
            (Rejection::BreakerOpen, "resilience.breaker_open"),
            (
                Rejection::BreakerForcedOpen,
                "resilience.breaker_forced_open",
            ),
            (Rejection::RateLimited, "resilience.rate_limited"),
            (Rejection::OverCapacity, "resilience.over_capacity"),
            (Rejection::TooManyKeys, "resilience.too_many_keys"),
            (Rejection::BulkheadFull, "resilience.bulkhead_full"),
            (Rejection::QueueFull, "resilience.queue_full"),
            (Rejection::DeadlineTooNear, "resilience.deadline_too_near"),
        ];
        for (rejection, code) in codes {
            let rejected = Rejected::new(rejection, Some(Duration::from_millis(250)));
            assert_eq!(rejected.code(), code);
            assert!(
                rejected.to_string().ends_with("; try again in 250ms"),
                "{rejected}"
            );
            assert_eq!(Error::<()>::from(rejected).code(), Some(code));
        }
        assert_eq!(
            Error::<()>::DeadlineExceeded.code(),
            Some("resilience.deadline_exceeded")
        );
        let timed_out = Error::<()>::TimedOut {
            limit: Duration::from_secs(2),
        };
        assert_eq!(timed_out.code(), Some("resilience.timed_out"));
    }

    #[test]
    fn what_the_call_said_stays_as_it_was() {
        let error = Error::Inner(fmt::Error);
        assert_eq!(error.code(), None);
        assert!(error.source().is_some());
        assert_eq!(error.into_inner(), Some(fmt::Error));
        assert_eq!(Error::<u8>::DeadlineExceeded.into_inner(), None);
    }
}
