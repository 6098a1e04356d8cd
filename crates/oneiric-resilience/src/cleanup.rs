//! Undoing what a call began, on every way out of it but the good one.
//!
//! A call can end with its answer, an error, a time-out, a panic, or by being dropped, and only the
//! first two come back to the line that made it. `Drop` sees them all but cannot wait. So the
//! clean-up is held by a guard: whichever way the call ends, the guard starts it in a task of its own,
//! once; where there is a caller left, the caller waits for it and hears how it went.

mod inside;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::caught::{Caught, contained, message};
use crate::error::Error;
use crate::limited::{Limit, Limited};
use crate::shield::{Shielded, Shields, Unfinished};
use crate::timeout::timeout;
use crate::tracker::Tracker;

use inside::{Inside, counted};

/// Runs a call for at most so long (and no longer than the deadline around it), and the clean-up
/// unless the call succeeds: on its error, when time is over, when it panics, and when what is returned
/// is dropped after its first poll.
///
/// The clean-up begins when the call is gone, runs [shielded](crate::shield) to its end or its own
/// limit, and exactly once. So after an error this takes up to that limit longer than `limit`. If the call
/// began clean-ups of this kind itself, in the task that it is polled or dropped in, it begins when these
/// have ended too, so that what was done last is undone first; their own limits bound that wait. What
/// it reports never hides why the call failed: both are in the error. When the caller is gone nobody
/// awaits it; [`Cleanup::report`] hears of its failure then too.
///
/// Cancel-safe in this sense: the call is dropped, and the clean-up runs.
///
/// Source: docs/spec/resilience.md, "Shield and clean-up".
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::{Cleanup, Error, timeout_with_cleanup};
/// use std::{future::pending, io, time::Duration};
///
/// let limit = Duration::from_secs(2);
/// let roll_back = Cleanup::within(Duration::from_secs(5), async || Err("the connection is gone"));
/// let commit = pending::<Result<(), io::Error>>();
/// let failed = timeout_with_cleanup(limit, commit, roll_back).await.unwrap_err();
/// assert!(matches!(failed.error, Error::TimedOut { .. }));
/// assert_eq!(
///     failed.to_string(),
///     "the call took longer than 2s; its clean-up failed too: the connection is gone"
/// );
/// # }
/// ```
///
/// # Errors
/// The call's own, `resilience.timed_out` or `resilience.deadline_exceeded`, with the clean-up's end.
///
/// # Panics
/// Outside of a tokio runtime. A panic of the call goes on, and the clean-up runs behind it.
pub async fn timeout_with_cleanup<F, T, E, U, G, C>(
    limit: Duration,
    call: F,
    cleanup: Cleanup<U, C>,
) -> Result<T, CleanedUp<E, C>>
where
    F: Future<Output = Result<T, E>>,
    U: FnOnce() -> G + Send + 'static,
    G: Future<Output = Result<(), C>> + Send + 'static,
    C: Send + 'static,
{
    let mut due = Due {
        runtime: Handle::current(),
        cleanup: Some(cleanup),
        inside: Arc::default(),
    };
    let call = Inside::new(call, Arc::clone(&due.inside));
    let error = match timeout(limit, call).await {
        Ok(Ok(value)) => {
            due.cleanup = None;
            return Ok(value);
        }
        Ok(Err(error)) => Error::Inner(error),
        Err(elapsed) => elapsed.into(),
    };
    let cleanup = match due.start() {
        Some(running) => running
            .await
            .unwrap_or_else(|unfinished| Err(unfinished.into())),
        None => Ok(()),
    };
    Err(CleanedUp { error, cleanup })
}

/// What undoes a call, and how long that may take.
pub struct Cleanup<U, C> {
    undo: U,
    limit: Duration,
    shields: Option<Shields>,
    report: Option<Report<C>>,
}

type Report<C> = Box<dyn FnOnce(&CleanupError<C>) + Send>;

impl<U, G, C> Cleanup<U, C>
where
    U: FnOnce() -> G,
    G: Future<Output = Result<(), C>>,
{
    /// A clean-up for which there is so much time.
    pub const fn within(limit: Duration, undo: U) -> Self {
        Self {
            undo,
            limit,
            shields: None,
            report: None,
        }
    }

    /// Lets a shutdown wait for it.
    #[must_use]
    pub fn counted_by(mut self, shields: &Shields) -> Self {
        self.shields = Some(shields.clone());
        self
    }

    /// Is called with the failure of the clean-up, in the clean-up's task, whether or not somebody
    /// still waits. Not when the runtime ends first: nothing runs then. A panic in it is caught.
    #[must_use]
    pub fn report(mut self, report: impl FnOnce(&CleanupError<C>) + Send + 'static) -> Self {
        self.report = Some(Box::new(report));
        self
    }
}

impl<U, C> fmt::Debug for Cleanup<U, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanup")
            .field("limit", &self.limit)
            .field("shields", &self.shields)
            .finish_non_exhaustive()
    }
}

/// Starts the clean-up when it is dropped, unless it was taken out.
struct Due<U, G, C>
where
    U: FnOnce() -> G + Send + 'static,
    G: Future<Output = Result<(), C>> + Send + 'static,
    C: Send + 'static,
{
    /// The call may be dropped outside of its runtime.
    runtime: Handle,
    cleanup: Option<Cleanup<U, C>>,
    /// Counts the clean-ups that began in the call.
    inside: Arc<Tracker>,
}

impl<U, G, C> Due<U, G, C>
where
    U: FnOnce() -> G + Send + 'static,
    G: Future<Output = Result<(), C>> + Send + 'static,
    C: Send + 'static,
{
    fn start(&mut self) -> Option<Shielded<Result<(), CleanupError<C>>>> {
        let Cleanup {
            undo,
            limit,
            shields,
            report,
        } = self.cleanup.take()?;
        let tracked = shields.map(|shields| shields.track());
        let inside = Arc::clone(&self.inside);
        let work = async move {
            inside.idle().await;
            let undo = Limited::new(async move { undo().await }, Limit::Alone(limit));
            let ended = match Caught::new(undo).await {
                Ok(Ok(Ok(()))) => return Ok(Ok(())),
                Ok(Ok(Err(error))) => CleanupError::Failed(error),
                Ok(Err(_)) => CleanupError::TimedOut { limit },
                Err(panic) => CleanupError::Panicked {
                    message: message(panic),
                },
            };
            if let Some(report) = report {
                contained(|| report(&ended));
            }
            Ok(Err(ended))
        };
        Some(match counted() {
            Some(counted) => Shielded::spawn(&self.runtime, tracked, counted.around(work)),
            None => Shielded::spawn(&self.runtime, tracked, work),
        })
    }
}

impl<U, G, C> Drop for Due<U, G, C>
where
    U: FnOnce() -> G + Send + 'static,
    G: Future<Output = Result<(), C>> + Send + 'static,
    C: Send + 'static,
{
    fn drop(&mut self) {
        drop(self.start());
    }
}

/// A call that failed, and how cleaning up after it went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanedUp<E, C> {
    /// Why the call has no answer.
    pub error: Error<E>,
    /// How its clean-up ended.
    pub cleanup: Result<(), CleanupError<C>>,
}

impl<E, C> CleanedUp<E, C> {
    /// The call's error code, `resilience.reason`; nothing for what the call itself said.
    pub const fn code(&self) -> Option<&'static str> {
        self.error.code()
    }
}

impl<E: fmt::Display, C: fmt::Display> fmt::Display for CleanedUp<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match &self.cleanup {
            Ok(()) => Ok(()),
            Err(CleanupError::Failed(error)) => write!(f, "; its clean-up failed too: {error}"),
            Err(error) => write!(f, "; {error}"),
        }
    }
}

impl<E, C> std::error::Error for CleanedUp<E, C>
where
    E: std::error::Error + 'static,
    C: fmt::Debug + fmt::Display,
{
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Why a clean-up did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CleanupError<C> {
    /// What it said itself.
    #[error("the clean-up failed")]
    Failed(#[source] C),
    /// It panicked.
    #[error("the clean-up panicked: {message}")]
    Panicked {
        /// With these words.
        message: String,
    },
    /// It took longer than it may, and was dropped.
    #[error("the clean-up took longer than {limit:?}")]
    TimedOut {
        /// Its time limit.
        limit: Duration,
    },
    /// The runtime ended first, and dropped it.
    #[error("the runtime ended before the clean-up")]
    ShutDown,
}

impl<C> CleanupError<C> {
    /// The error code, `resilience.reason`; nothing for what the clean-up said itself.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Failed(_) => None,
            Self::Panicked { .. } => Some("resilience.cleanup_panicked"),
            Self::TimedOut { .. } => Some("resilience.timed_out"),
            Self::ShutDown => Some("resilience.shut_down"),
        }
    }
}

impl<C> From<Unfinished> for CleanupError<C> {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::TimedOut { limit } => Self::TimedOut { limit },
            Unfinished::ShutDown => Self::ShutDown,
        }
    }
}
