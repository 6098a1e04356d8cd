//! The longest that one call may take. The deadline around it still holds, and the error says which
//! of the two it was: a call that is slow should be counted against the called one, and a caller that
//! came with little time left should not.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "tower")]
use crate::deadline::Deadline;
use crate::deadline::DeadlineExceeded;
use crate::error::Error;
use crate::limited::{Limit, Limited, Over};

/// Runs a future for at most so long, and no longer than the [`Deadline`](crate::Deadline) of the
/// scope around it. What is inside sees the earlier of the two as its deadline.
///
/// The time runs from the first poll, in nanoseconds; what tokio's timers make of it is a millisecond
/// late at most. Zero means zero: nothing is begun. Once time is over the future is dropped, and gone
/// when the error is told. A value that is ready by then is given, however late the task was to look.
///
/// Cancel-safe if the future is. What must be undone when time is over belongs into
/// [`timeout_with_cleanup`](crate::timeout_with_cleanup). Allocates nothing; a timer is set only if
/// the future has to wait.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::{Deadline, Elapsed, timeout};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let slow = timeout(second, std::future::pending::<()>()).await;
/// assert_eq!(slow, Err(Elapsed::TimedOut { limit: second }));
///
/// let late = Deadline::within(second / 2);
/// let given_up = late.scope(timeout(second, std::future::pending::<()>())).await;
/// assert_eq!(given_up, Ok(Err(Elapsed::DeadlineExceeded)));
/// # }
/// ```
///
/// # Errors
/// `resilience.timed_out`, or `resilience.deadline_exceeded` if the deadline around it comes first.
///
/// # Panics
/// When it has to wait outside of a tokio runtime, or in one without timers.
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout {
        limited: Limited::new(future, Limit::Within(limit)),
        limit,
    }
}

/// Why a future was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Elapsed {
    /// It took longer than it may.
    #[error("the call took longer than {limit:?}")]
    TimedOut {
        /// The time limit.
        limit: Duration,
    },
    /// The deadline of a scope around it passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
}

impl Elapsed {
    /// The error code, `resilience.reason`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "resilience.timed_out",
            Self::DeadlineExceeded => "resilience.deadline_exceeded",
        }
    }
}

impl From<DeadlineExceeded> for Elapsed {
    fn from(DeadlineExceeded: DeadlineExceeded) -> Self {
        Self::DeadlineExceeded
    }
}

impl<E> From<Elapsed> for Error<E> {
    fn from(elapsed: Elapsed) -> Self {
        match elapsed {
            Elapsed::TimedOut { limit } => Self::TimedOut { limit },
            Elapsed::DeadlineExceeded => Self::DeadlineExceeded,
        }
    }
}

pin_project_lite::pin_project! {
    /// A future with a time limit; what [`timeout`] returns.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        limited: Limited<F>,
        limit: Duration,
    }
}

#[cfg(feature = "tower")]
impl<F> Timeout<F> {
    /// One whose time has begun before the first poll, and is over then.
    pub(crate) const fn until(over: Deadline, limit: Duration, future: F) -> Self {
        Self {
            limited: Limited::new(future, Limit::Until(over)),
            limit,
        }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let limit = *this.limit;
        this.limited.poll(cx).map(|ended| {
            ended.map_err(|over| match over {
                Over::Own => Elapsed::TimedOut { limit },
                Over::Around => Elapsed::DeadlineExceeded,
            })
        })
    }
}
