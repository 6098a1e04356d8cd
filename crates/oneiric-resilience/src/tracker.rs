//! How many of something run, and when the last of them has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Tracker {
    running: AtomicUsize,
    idle: Notify,
}

impl Tracker {
    /// One more runs, until what is returned is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Tracked {
        self.running.fetch_add(1, Ordering::Relaxed);
        Tracked(Arc::clone(self))
    }

    pub(crate) fn len(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Returns at a moment when none runs. Cancel-safe.
    pub(crate) async fn idle(&self) {
        loop {
            // Asked for first: so the last one's end is either seen here or heard there.
            let idle = self.idle.notified();
            if self.len() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One of those that run.
#[derive(Debug)]
pub(crate) struct Tracked(Arc<Tracker>);

impl Drop for Tracked {
    fn drop(&mut self) {
        // Who sees that none is left also sees what the last one did.
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
