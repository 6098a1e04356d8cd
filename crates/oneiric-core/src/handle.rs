//! A slot that was looked up beforehand. Asking again costs one atomic load and a comparison as long as nothing in
//! the registry changed.

use std::{fmt, sync::Arc};

use crate::{candidate::Registered, registry::Shared, slot::Slot};

/// Follows who wins one slot. Each thread takes its own clone.
#[derive(Clone)]
pub struct SlotHandle {
    shared: Arc<Shared>,
    slot: Slot,
    /// The generation of the snapshot that `winner` was taken from.
    generation: u64,
    winner: Option<Registered>,
}

impl SlotHandle {
    pub(crate) fn new(shared: Arc<Shared>, slot: Slot) -> Self {
        let snapshot = shared.load();
        let winner = snapshot.winner(&slot).cloned();
        Self {
            generation: snapshot.generation(),
            winner,
            shared,
            slot,
        }
    }

    /// Returns who wins the slot now. Two handles, on whichever threads, never show a change and then its past.
    #[inline]
    pub fn winner(&mut self) -> Option<&Registered> {
        if self.shared.generation() != self.generation {
            self.refresh();
        }
        self.winner.as_ref()
    }

    #[cold]
    fn refresh(&mut self) {
        let snapshot = self.shared.load();
        self.generation = snapshot.generation();
        self.winner = snapshot.winner(&self.slot).cloned();
    }

    /// Returns the slot.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl fmt::Debug for SlotHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotHandle")
            .field("slot", &self.slot)
            .field("winner", &self.winner)
            .finish_non_exhaustive()
    }
}
