//! How many futures there are, and when the last of them is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

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

impl Tracked {
    /// Counts a future until it is gone.
    pub(crate) const fn around<F>(self, future: F) -> Counted<F> {
        Counted {
            future,
            _tracked: self,
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // Who sees that none is left also sees what the last one did.
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

pin_project_lite::pin_project! {
    /// A future that is counted. Not an `async` block that holds both: one that was never polled drops
    /// what it captured in the order in which that is named, and would be counted out too early.
    #[derive(Debug)]
    pub(crate) struct Counted<F> {
        #[pin]
        future: F,
        // After the future, so that it is dropped after it.
        _tracked: Tracked,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    struct LenAtDrop<'a>(&'a Tracker, &'a AtomicUsize);

    impl Drop for LenAtDrop<'_> {
        fn drop(&mut self) {
            self.1.store(self.0.len(), Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_future_counts_until_all_of_it_is_gone() {
        let tracker = Arc::new(Tracker::default());
        let seen = AtomicUsize::new(0);
        let future = || {
            let held = LenAtDrop(&tracker, &seen);
            tracker.enter().around(async move {
                let _held = held;
            })
        };
        drop(future());
        assert_eq!((seen.swap(0, Ordering::SeqCst), tracker.len()), (1, 0));
        future().await;
        assert_eq!((seen.swap(0, Ordering::SeqCst), tracker.len()), (1, 0));
        tracker.idle().await;
    }
}
