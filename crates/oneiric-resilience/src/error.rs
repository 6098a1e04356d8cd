//! What a caller can be told instead of an answer: that the call was not let through, that time ran
//! out, or what the call itself said.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Why a call, or another attempt at it, was not let through.
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
    attempts_made: u32,
}

impl Rejected {
    pub(crate) const fn new(rejection: Rejection, retry_after: Option<Duration>) -> Self {
        Self {
            rejection,
            retry_after,
            attempts_made: 0,
        }
    }

    /// The same of an attempt that would have followed so many.
    pub(crate) const fn after(self, attempts_made: u32) -> Self {
        Self {
            attempts_made,
            ..self
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

    /// Attempts of this call that were made before the one that was refused; 0 means that nothing was called. A [`Policy`](crate::Policy) and a retry's layer know; a [`Retry`](crate::Retry) around
    /// something that rejects, nested by hand, does not.
    pub const fn attempts_made(&self) -> u32 {
        self.attempts_made
    }

    /// The error code, `resilience.reason`.
    pub const fn code(&self) -> &'static str {
        self.rejection.code()
    }

    const fn what_was_not_made(&self) -> &'static str {
        match self.attempts_made {
            0 => "the call was not made",
            _ => "the call failed and was not made again",
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.fmt(f)?;
        match self.retry_after {
            Some(wait) => write!(f, "; try again in {:?}", rounded(wait)),
            None => Ok(()),
        }
    }
}

/// For people: up to whole milliseconds, as who comes a little later is let through all the same.
fn rounded(wait: Duration) -> Duration {
    const MILLI: u128 = 1_000_000;
    let millis = u64::try_from(wait.as_nanos().div_ceil(MILLI));
    millis.map_or(wait, Duration::from_millis)
}

impl std::error::Error for Rejected {}

/// Why a guarded call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call was not let through, or not again: [`Rejected::attempts_made`].
    #[error("{}", .0.what_was_not_made())]
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

    /// How many attempts were made before one was not let through; nothing for an error of another kind.
    pub const fn attempts_made(&self) -> Option<u32> {
        match self {
            Self::Rejected(rejected) => Some(rejected.attempts_made()),
            _ => None,
        }
    }

    /// What the call itself said, if it was made and ended.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            _ => None,
        }
    }

    /// Itself as a boxed error, with what the call said as it is: for an `E` that is a box already, which is no
    /// error by Rust's rules, so that `?` or a layer of tower's cannot make another box of an `Error<E>`. The
    /// others come as `Error<Infallible>`.
    pub fn boxed(self) -> Box<dyn std::error::Error + Send + Sync>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self {
            Self::Inner(error) => error.into(),
            Self::Rejected(rejected) => Error::<Infallible>::Rejected(rejected).into(),
            Self::TimedOut { limit } => Error::<Infallible>::TimedOut { limit }.into(),
            Self::DeadlineExceeded => Error::<Infallible>::DeadlineExceeded.into(),
        }
    }

    /// What was not let through now, after so many attempts that were made.
    pub(crate) fn after(self, attempts_made: u32) -> Self {
        match self {
            Self::Rejected(rejected) => Self::Rejected(rejected.after(attempts_made)),
            error => error,
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
    fn a_box_of_it_can_be_asked_again_what_it_was() {
        type Boxed = Box<dyn std::error::Error + Send + Sync>;
        let inner: Boxed = "connection reset".into();
        assert_eq!(Error::Inner(inner).boxed().to_string(), "connection reset");
        let rejected = Rejected::new(Rejection::QueueFull, None);
        let limit = Duration::from_secs(1);
        for error in [
            Error::<Boxed>::Rejected(rejected),
            Error::TimedOut { limit },
            Error::DeadlineExceeded,
        ] {
            let code = error.code();
            let boxed = error.boxed();
            let again = boxed.downcast_ref::<Error<Infallible>>().unwrap();
            assert_eq!(again.code(), code);
        }
    }

    #[test]
    fn a_call_that_was_made_before_is_not_said_not_to_have_been() {
        let rejected = Rejected::new(Rejection::BreakerOpen, None);
        let error = Error::<()>::Rejected(rejected);
        assert_eq!(error.to_string(), "the call was not made");
        let again = error.after(2);
        assert_eq!(again.to_string(), "the call failed and was not made again");
        assert_eq!(again.attempts_made(), Some(2));
        assert_eq!(Error::<()>::DeadlineExceeded.attempts_made(), None);
        assert_eq!(Error::Inner(7).after(2), Error::Inner(7));
    }

    #[test]
    fn a_wait_is_told_in_whole_milliseconds_and_never_too_short() {
        let told = |nanos| {
            let wait = Duration::from_nanos(nanos);
            Rejected::new(Rejection::RateLimited, Some(wait)).to_string()
        };
        assert!(
            told(641_633_815).ends_with("in 642ms"),
            "{}",
            told(641_633_815)
        );
        assert!(told(2_000_000_000).ends_with("in 2s"));
        assert!(told(1).ends_with("in 1ms"));
        let longest = Rejected::new(Rejection::RateLimited, Some(Duration::MAX));
        assert!(
            longest.to_string().contains("18446744073709551615"),
            "{longest}"
        );
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
