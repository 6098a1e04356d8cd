//! Those who need something to serve in a slot before they go on: whoever builds what requires it, and whoever wants
//! to call it.
//!
//! They wait for the slot's turn, in which they would activate it, or until somebody else has put something in service
//! there, whichever comes first: a change set keeps the turns of its slots until all of it is done, and what waits for
//! one of them may be what the set waits for itself. So a set listens for the bell, and helps those who wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waits<'w>(&'w Waiting);

impl Waiting {
    /// One more waits from now on. Those who listen at `bell` look whom they can help.
    pub(crate) fn begin(&self, bell: &watch::Sender<u64>) -> Waits<'_> {
        // Counted before the bell, so that whoever hears it finds it counted.
        self.0.fetch_add(1, Ordering::AcqRel);
        bell.send_modify(|rung| *rung = rung.wrapping_add(1));
        Waits(self)
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
