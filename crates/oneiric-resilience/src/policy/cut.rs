//! The limits of an attempt: which is over first, and what it says of the called one that it was.

use std::time::Duration;

use tokio::time::Instant;

use super::event::PolicyEvent;
use super::parts::Parts;
use crate::limited::Over;
use crate::{Clock, Deadline, Error, Outcome};

/// The end of an attempt: what the caller is told, and what it says of the called one.
pub(crate) type Ended<T, E> = (Result<T, Error<E>>, Outcome);

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
    /// Because of the limit that was over first, or because of one around the caller.
    pub(super) const fn by(self, over: Over) -> Self {
        match over {
            Over::Own => self,
            Over::Around => Self::Around,
        }
    }

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
