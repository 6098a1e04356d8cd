//! Waiting, as a runtime does it. One method, so that any runtime's timer fits in a closure.

use std::future::Future;
use std::time::Duration;

/// Waits.
///
/// Closures `Fn(Duration) -> impl Future<Output = ()> + Send` do. What is returned must keep waiting
/// however often it is polled, and stop when it is dropped.
pub trait Sleep {
    /// Is ready when so much time has passed.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

impl<F, Fut> Sleep for F
where
    F: Fn(Duration) -> Fut,
    Fut: Future<Output = ()> + Send,
{
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        self(duration)
    }
}

/// Waits on tokio's timer; granularity: a millisecond. Must be used within a tokio runtime that has one.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSleep;

#[cfg(feature = "tokio")]
impl Sleep for TokioSleep {
    #[inline]
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        // A time limit must pass even beside a call that has used up its task's share of turns.
        tokio::task::coop::unconstrained(tokio::time::sleep(duration))
    }
}
