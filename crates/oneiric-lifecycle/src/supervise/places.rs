//! Places for probes: so many at once, over all slots. How many may change while some are taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Mutex<usize>,
    freed: Notify,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// Waits for a place among at most `most()`, asked each time there is one.
    pub(super) async fn take(&self, most: impl Fn() -> usize) -> Place<'_> {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take(most()) {
                return place;
            }
            freed.await;
        }
    }

    fn try_take(&self, most: usize) -> Option<Place<'_>> {
        let mut taken = self.taken();
        let is_free = *taken < most.max(1);
        *taken += usize::from(is_free);
        is_free.then(|| Place(self))
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.taken() -= 1;
        // A future that is made is told, awaited yet or not; so nobody misses it between look and wait.
        self.0.freed.notify_waiters();
    }
}
