//! Waiting, as a runtime does it. One method, so that any runtime's timer fits in a closure.

use std::future::Future;
use std::time::Duration;

/// Waits.
///
/// Closures `Fn(Duration) -> impl Future<Output = ()>` do.
pub trait Sleep {
    /// Is ready when the time has passed. Waits no longer once it is dropped.
    type Sleeping: Future<Output = ()>;

    /// Waits for so long from now.
    fn sleep(&self, duration: Duration) -> Self::Sleeping;
}

impl<F, Fut> Sleep for F
where
    F: Fn(Duration) -> Fut,
    Fut: Future<Output = ()>,
{
    type Sleeping = Fut;

    fn sleep(&self, duration: Duration) -> Fut {
        self(duration)
    }
}

/// Waits on tokio's timer; granularity: a millisecond. Must be used within a tokio runtime that has one.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSleep;

#[cfg(feature = "tokio")]
impl Sleep for TokioSleep {
    /// A time limit must pass even beside a call that has used up its task's share of turns.
    type Sleeping = tokio::task::coop::Unconstrained<tokio::time::Sleep>;

    fn sleep(&self, duration: Duration) -> Self::Sleeping {
        tokio::task::coop::unconstrained(tokio::time::sleep(duration))
    }
}
