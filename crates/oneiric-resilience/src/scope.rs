//! Structured concurrency: what is begun inside a scope has ended when the scope has.
//!
//! A task that was spawned and forgotten outlives the call it was part of, its error is seen by
//! nobody, and what it holds is free when it pleases. Here children belong to a scope, which returns
//! only when all have ended. They run inside the scope's own task: its future owns theirs, so there is
//! no way out of it, not by error, panic, drop or the runtime's end, that would leave one behind. That
//! also lets them borrow, and costs less than a task. Children that should use several threads are
//! tasks, and are watched over: see [`Scope::spawn_parallel`].

mod child;
mod inbox;
mod nursery;
mod parallel;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

pub use child::Child;

use crate::tracker::Tracker;
use inbox::Inbox;

/// Runs a body that may begin children, and returns when the body and all children have ended.
///
/// | how it ends | what happens |
/// |---|---|
/// | body and children succeed | the body's value, once the last child has ended |
/// | body or a child fails | all others are dropped; that error, once they are gone |
/// | body or a child panics | all others are dropped; the panic goes on here, once they are gone |
/// | the scope's future is dropped | all are dropped with it. Parallel ones are told to stop, and are gone at their next await |
/// | the runtime ends | all are dropped with it |
///
/// Of several that fail at once one error is returned; the others are dropped. A panic goes before
/// errors, be it of something that is only dropped. A child whose failure should not end the others
/// returns it as a value: `Ok(result)`.
///
/// Children may borrow whatever outlives the call of `scope`, but nothing of the body. They see the
/// deadline around the scope, which ends the scope, and them only with it. The body's value must be a
/// `Result`, whose error all children share.
///
/// Source: docs/spec/resilience.md, "Scopes".
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::num::ParseIntError> {
/// use oneiric_resilience::scope;
///
/// let words = ["1", "2"].map(String::from);
/// let sum = scope(async |s| {
///     let first = s.spawn(async { words[0].parse::<u32>() });
///     let second = s.spawn(async { words[1].parse::<u32>() });
///     Ok(first.await + second.await)
/// });
/// assert_eq!(sum.await?, 3);
/// # Ok(())
/// # }
/// ```
///
/// Cancel-safe if body and children are. What has to be done to the end goes into a
/// [`shield`](crate::shield()), which is the one thing that outlives a scope, on purpose.
///
/// # Errors
/// The first error of body or children.
///
/// # Panics
/// If body or a child does.
pub async fn scope<'env, B, F, T, E>(body: B) -> Result<T, E>
where
    B: FnOnce(Scope<'env, E>) -> F,
    F: Future<Output = Result<T, E>>,
{
    nursery::run(usize::MAX, body).await
}

/// As [`scope`], with at most so many children at a time. Those beyond wait, unbegun, in order.
///
/// The body does not count. A child that waits for one that it began itself holds its own place
/// meanwhile: when all places are held so, nothing goes on. Let the body wait, or give such children a
/// scope of their own. As cancel-safe as [`scope`].
///
/// # Errors
/// The first error of body or children.
///
/// # Panics
/// If body or a child does.
pub async fn scope_limited<'env, B, F, T, E>(at_most: NonZeroUsize, body: B) -> Result<T, E>
where
    B: FnOnce(Scope<'env, E>) -> F,
    F: Future<Output = Result<T, E>>,
{
    nursery::run(at_most.get(), body).await
}

/// Begins children of a [`scope`]. Clones belong to the same scope, so a child may begin siblings.
pub struct Scope<'env, E> {
    shared: Arc<Shared<'env, E>>,
}

/// What the handles and the scope's future have in common. The future owns the running children; here
/// are only those that are on their way to it. So children may hold handles, and nothing is held in a circle.
struct Shared<'env, E> {
    inbox: Inbox<'env, E>,
    /// Tasks of parallel children; made for the first.
    tasks: OnceLock<Arc<Tracker>>,
}

impl<'env, E> Scope<'env, E> {
    /// Begins a child in the scope's own task, which runs it when the caller next waits.
    ///
    /// Await what is returned for its value, or drop it: the scope waits for it all the same. Costs a
    /// few small allocations. After the scope has ended the future is dropped, unbegun.
    pub fn spawn<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
        E: 'env,
    {
        let (child, work) = child::pair(future);
        self.shared.inbox.push(Box::pin(work));
        child
    }

    /// Begins a child in a task of its own, so that it runs beside the others on another thread, where
    /// the runtime has some. For work that computes; for work that waits [`Scope::spawn`] is cheaper.
    ///
    /// When the scope ends early the task is aborted, and the scope waits until it is gone: it stops at
    /// its next await, so one that never awaits holds the scope up. Only when the scope's future is
    /// dropped nobody is left to wait.
    ///
    /// It goes on seeing the deadline that was around the scope when it began.
    ///
    /// # Panics
    /// The child does, and with it the scope, outside of a tokio runtime and when the runtime ends.
    pub fn spawn_parallel<F, T>(&self, future: F) -> Child<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let tasks = Arc::clone(self.shared.tasks.get_or_init(Arc::default));
        self.spawn(parallel::run(future, tasks))
    }
}

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<E> fmt::Debug for Scope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("waiting", &self.shared.inbox.len())
            .finish_non_exhaustive()
    }
}
