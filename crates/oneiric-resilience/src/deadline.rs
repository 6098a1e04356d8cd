//! Until when all of this must be done: one instant for a whole call, however deep it goes.
//!
//! Time limits of the parts do not add up to one for the whole: five calls that may take a second
//! each take five. A deadline is an instant, so nothing has to be subtracted on the way down; and it
//! is found where it is needed without every function in between passing it on: whatever is polled
//! inside a scope sees its deadline, and scopes inside it can only make it earlier.
//!
//! A scope sets the deadline of the thread while it polls and puts back the one before, which is what
//! a task-local is, without its cost. So it neither allocates nor touches anything shared. It also
//! means that a task of its own, spawned inside, knows nothing of it: such a task outlives the call on
//! purpose, or it should say so by `deadline.scope(..)`.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::limited::{Limit, Limited};

thread_local! {
    static CURRENT: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// Stands for "never": as far away as timers reach.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// An instant on tokio's clock by which something must be done. A paused tokio clock holds it too.
///
/// Source: docs/spec/resilience.md, "Deadlines and time limits".
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::{Deadline, DeadlineExceeded};
/// use std::time::Duration;
///
/// async fn query() -> &'static str {
///     // However deep inside: what is left of the caller's time.
///     let left = Deadline::current().map(|deadline| deadline.remaining());
///     assert_eq!(left, Some(Duration::from_secs(2)));
///     std::future::pending().await
/// }
///
/// let answer = Deadline::within(Duration::from_secs(2)).scope(query()).await;
/// assert_eq!(answer, Err(DeadlineExceeded));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// So long from now. What is longer than 30 years counts as that.
    pub fn within(limit: Duration) -> Self {
        Self::after(Instant::now(), limit)
    }

    /// At an instant.
    pub const fn at(at: Instant) -> Self {
        Self { at }
    }

    pub(crate) fn after(now: Instant, limit: Duration) -> Self {
        Self::at(now + limit.min(FAR))
    }

    /// The deadline of the innermost scope around the caller, which is the earliest of all around it.
    pub fn current() -> Option<Self> {
        // A thread that is about to end polls nothing any more.
        CURRENT.try_with(Cell::get).unwrap_or(None)
    }

    /// The instant.
    pub const fn instant(self) -> Instant {
        self.at
    }

    /// What is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed. At its very instant it has.
    pub fn has_passed(self) -> bool {
        self.at <= Instant::now()
    }

    /// This one, or that of the scope around the caller where it comes earlier.
    #[must_use]
    pub fn or_earlier(self) -> Self {
        Self::current().map_or(self, |around| self.min(around))
    }

    /// Runs a future until the deadline, which everything inside sees as [`Deadline::current`].
    ///
    /// If a scope around it has an earlier deadline, that one counts. Once it has passed the future is
    /// dropped, and gone when the error is told; if it has passed before the first poll, nothing is
    /// begun. A value that is ready by then is given, however late the task was to look.
    ///
    /// To carry the deadline into a task of its own, spawn the scope:
    /// `tokio::spawn(deadline.scope(work))`. What must be finished although the time is up goes into
    /// a [`shield`](crate::shield()).
    ///
    /// Cancel-safe if the future is. Allocates nothing; a timer is set only if the future has to wait.
    ///
    /// # Errors
    /// `resilience.deadline_exceeded`.
    ///
    /// # Panics
    /// When it has to wait outside of a tokio runtime, or in one without timers.
    pub fn scope<F: Future>(self, future: F) -> DeadlineScope<F> {
        DeadlineScope {
            limited: Limited::new(future, Limit::Until(self)),
        }
    }

    /// Lets the calling thread see this deadline until the guard is dropped.
    pub(crate) fn enter(self) -> Entered {
        Entered::replace(Some(self))
    }
}

/// Puts back the deadline that was there before.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Deadline>,
}

impl Entered {
    pub(crate) fn replace(now: Option<Deadline>) -> Self {
        Self {
            before: CURRENT
                .try_with(|current| current.replace(now))
                .unwrap_or(None),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Fails only while the thread ends, and with it the cell.
        let _ended = CURRENT.try_with(|current| current.set(self.before));
    }
}

/// The deadline passed, that of this scope or of one around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the deadline passed")]
pub struct DeadlineExceeded;

impl DeadlineExceeded {
    /// The error code.
    pub const fn code(&self) -> &'static str {
        "resilience.deadline_exceeded"
    }
}

impl<E> From<DeadlineExceeded> for Error<E> {
    fn from(DeadlineExceeded: DeadlineExceeded) -> Self {
        Self::DeadlineExceeded
    }
}

pin_project_lite::pin_project! {
    /// A future with a deadline; what [`Deadline::scope`] returns.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct DeadlineScope<F> {
        #[pin]
        limited: Limited<F>,
    }
}

impl<F> DeadlineScope<F> {
    /// The future, if its time was not over.
    pub(crate) const fn get_ref(&self) -> Option<&F> {
        self.limited.get_ref()
    }
}

impl<F: Future> Future for DeadlineScope<F> {
    type Output = Result<F::Output, DeadlineExceeded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let limited = self.project().limited;
        limited
            .poll(cx)
            .map(|ended| ended.map_err(|_| DeadlineExceeded))
    }
}
