//! New calls wait for the outcome of a hand-over instead of being refused.
//!
//! While a gate is closed, a slot's door says so with a [`Handing`]. Whoever may wait does so on that, and looks at the
//! door again when it is over. The door is changed first and those who wait are told then, and a token that was
//! cancelled stays so: whoever saw the old door finds it cancelled, however late they come.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cell::{Refusal, SlotCell};
use crate::inner::Inner;
use crate::running::Entrance;

/// For how long a gate may stay closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    since: Instant,
    pub(crate) block: Duration,
}

impl Budget {
    /// `block` from now on.
    pub(crate) fn new(block: Duration) -> Self {
        Self {
            since: Instant::now(),
            block,
        }
    }

    pub(crate) fn left(self) -> Duration {
        self.block.saturating_sub(self.since.elapsed())
    }

    /// The one that is used up first.
    pub(crate) fn shorter(self, other: Self) -> Self {
        if other.left() < self.left() {
            other
        } else {
            self
        }
    }
}

/// A hand-over under way, for those who wait for it.
#[derive(Debug)]
pub(crate) struct Handing {
    over: CancellationToken,
    /// For how long anybody waits.
    budget: Budget,
}

impl Handing {
    fn new(block: Duration) -> Self {
        Self {
            over: CancellationToken::new(),
            budget: Budget::new(block),
        }
    }

    /// To be called with nothing locked: those who wait are woken in it.
    pub(crate) fn end(&self) {
        self.over.cancel();
    }

    /// For how long it goes on at most.
    pub(crate) fn left(&self) -> Duration {
        self.budget.left()
    }
}

impl PartialEq for Handing {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Handing {}

/// A gate that is closed until this is dropped, or another instance is put in service.
#[derive(Debug)]
pub(crate) struct ClosedGate {
    cell: Arc<SlotCell>,
    handing: Arc<Handing>,
}

impl ClosedGate {
    pub(crate) fn budget(&self) -> Budget {
        self.handing.budget
    }

    /// For how long it has been closed.
    pub(crate) fn closed_for(&self) -> Duration {
        self.handing.budget.since.elapsed()
    }
}

impl Drop for ClosedGate {
    fn drop(&mut self) {
        self.cell.open(&self.handing);
        self.handing.end();
    }
}

impl Inner {
    /// Has new calls wait for at most `block`, and lets nobody in any more by the entrances in use. `None` when nothing
    /// serves or the slot is shut down.
    pub(crate) fn close_gate(&self, cell: &Arc<SlotCell>, block: Duration) -> Option<ClosedGate> {
        let handing = Arc::new(Handing::new(block));
        let at = self.clock.now();
        let rules = self.rules();
        let was = cell.close(&handing)?;
        if let Some(old) = &was.published {
            // Before the rules are let go, so that whoever drains the slot next finds it.
            cell.ledger().closed(old, at);
        }
        drop(rules);
        // Only now that nothing is locked: with the last reference to what the slot pointed at, something may be over.
        drop(was);
        Some(ClosedGate {
            cell: Arc::clone(cell),
            handing,
        })
    }
}

impl SlotCell {
    /// As [`SlotCell::enter`], but waits for the outcome of a hand-over, or of several, for as long as one may take.
    /// Cancel-safe.
    pub(crate) async fn entered(&self) -> Result<Arc<Entrance>, Box<Refusal>> {
        let mut waits_until = None;
        loop {
            let refusal = match self.enter() {
                Ok(entrance) => return Ok(entrance),
                Err(refusal) => refusal,
            };
            let Refusal::HandingOver(handing) = &*refusal else {
                return Err(refusal);
            };
            let now = Instant::now();
            let until = *waits_until.get_or_insert_with(|| now.checked_add(handing.budget.block));
            let wait = until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
            if wait.is_zero() {
                return Err(refusal);
            }
            // Over or not: the door says which.
            drop(tokio::time::timeout(wait, handing.over.cancelled()).await);
        }
    }
}
