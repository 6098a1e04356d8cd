//! Work that has to come to its end although whoever asked for it is gone.
//!
//! Dropping a future is how Rust cancels, and it happens between any two of its steps. For most work
//! that is right: nobody waits for the answer any more. For a few steps it is not: giving back a
//! lease, rolling back a transaction, the second half of what must happen wholly or not at all. Those
//! go into a task of their own, which nobody's time-out reaches. It has a time limit of its own
//! instead, because a task that nobody can end is a leak; and it can be counted, because a runtime
//! that ends takes all its tasks with it, shielded or not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::limited::{Limit, Limited};
use crate::timeout::timeout;
use crate::tracker::{Tracked, Tracker};

/// Runs a future in a task of its own, at once, and to its end although the caller may be gone by then.
///
/// The deadline around the caller does not bind it; its own limit does, and is what is inside sees as
/// its deadline. Dropping what is returned lets it go on alone. Zero means zero: nothing is begun.
///
/// **Shield** what must not be left half done and is short: a roll-back, the release of something that
/// is held elsewhere, the commit after the point of no return. **Do not shield** the call itself: an
/// answer that nobody waits for uses up the very resources that time-outs are there to protect. Do not
/// shield what can be done again later, and nothing that waits for the one who was cancelled. A
/// clean-up that is due only when something goes wrong is what
/// [`timeout_with_cleanup`](crate::timeout_with_cleanup) is for.
///
/// Its permits and locks are held until *it* ends, not the caller.
///
/// Source: docs/spec/resilience.md, "Shield and clean-up".
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::{shield, timeout};
/// use std::time::Duration;
/// use tokio::{sync::oneshot, time::sleep};
///
/// let (done, released) = oneshot::channel();
/// let request = async {
///     let release = shield(Duration::from_secs(5), async move {
///         sleep(Duration::from_secs(2)).await;
///         done.send("released").unwrap();
///     });
///     release.await
/// };
/// // The request is given up after a second. What it shielded goes on.
/// assert!(timeout(Duration::from_secs(1), request).await.is_err());
/// assert_eq!(released.await, Ok("released"));
/// # }
/// ```
///
/// # Errors
/// What is returned gives `resilience.timed_out` when its limit is over, and `resilience.shut_down`
/// when the runtime ended first, which takes shielded work with it. Wait for it with [`Shields`].
///
/// # Panics
/// Outside of a tokio runtime. A panic inside goes on in whoever awaits it; if nobody does, it is told
/// by the panic hook only.
pub fn shield<F>(limit: Duration, future: F) -> Shielded<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    begin(limit, future, None)
}

fn begin<F>(limit: Duration, future: F, tracked: Option<Tracked>) -> Shielded<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    Shielded::spawn(&Handle::current(), tracked, async move {
        let ended = Limited::new(future, Limit::Alone(limit)).await;
        ended.map_err(|_| Unfinished::TimedOut { limit })
    })
}

/// Shielded work: await it, or drop it and let it go on alone.
///
/// Cancel-safe: it can be awaited again, until it gave its value.
///
/// # Panics
/// When awaited after its value was given, and when the work panicked.
#[derive(Debug)]
pub struct Shielded<T> {
    task: JoinHandle<Result<T, Unfinished>>,
}

impl<T: Send + 'static> Shielded<T> {
    /// Does not need to be called inside the runtime.
    pub(crate) fn spawn(
        runtime: &Handle,
        tracked: Option<Tracked>,
        work: impl Future<Output = Result<T, Unfinished>> + Send + 'static,
    ) -> Self {
        let task = match tracked {
            Some(tracked) => runtime.spawn(tracked.around(work)),
            None => runtime.spawn(work),
        };
        Self { task }
    }
}

impl<T> Future for Shielded<T> {
    type Output = Result<T, Unfinished>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Nobody has its abort handle: only the runtime's end can have done this.
                Err(_) => Err(Unfinished::ShutDown),
            })
        })
    }
}

/// Why shielded work did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unfinished {
    /// It took longer than it may.
    #[error("the shielded work took longer than {limit:?}")]
    TimedOut {
        /// Its time limit.
        limit: Duration,
    },
    /// The runtime ended first, and dropped it.
    #[error("the runtime ended before the shielded work")]
    ShutDown,
}

impl Unfinished {
    /// The error code, `resilience.reason`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "resilience.timed_out",
            Self::ShutDown => "resilience.shut_down",
        }
    }
}

/// Counts shielded work, so that a shutdown can wait for it. Clones count the same.
///
/// A runtime that ends drops its tasks where they stand. So a program's last step is to wait here, for
/// a time that it can afford, and to end the runtime then.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use oneiric_resilience::Shields;
/// use std::time::Duration;
///
/// let shields = Shields::new();
/// shields.shield(Duration::from_secs(5), async { /* give the lease back */ });
/// let unfinished = shields.wait(Duration::from_secs(10)).await;
/// assert_eq!(unfinished, 0);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Shields {
    tracker: Arc<Tracker>,
}

impl Shields {
    /// Counts none yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`shield`], and counted until it has ended.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn shield<F>(&self, limit: Duration, future: F) -> Shielded<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        begin(limit, future, Some(self.track()))
    }

    pub(crate) fn track(&self) -> Tracked {
        self.tracker.enter()
    }

    /// How many run.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until none runs, for at most so long and not beyond the deadline around the caller, and
    /// says how many still do. None is stopped. Those that begin meanwhile are waited for too, so stop
    /// what begins them first.
    ///
    /// Cancel-safe.
    pub async fn wait(&self, grace: Duration) -> usize {
        match timeout(grace, self.tracker.idle()).await {
            Ok(()) => 0,
            Err(_) => self.len(),
        }
    }
}
