//! What one write changed, as a value: for the caller, and for observers, who must not have to compare snapshots.

use crate::{candidate::Registered, name::Provider, selection::SelectionLayer, slot::Slot};

/// What one write changed. A write that changed nothing has an empty delta and publishes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Delta {
    /// The generation of the first snapshot that shows the change.
    pub generation: u64,
    /// Registrations that began.
    pub added: Vec<Registered>,
    /// Registrations that ended.
    pub removed: Vec<Registered>,
    /// How many registrations of the replaced origin went on unchanged, with their sequence numbers.
    pub kept: usize,
    /// Registrations whose properties were updated in place and which were ranked anew.
    pub reranked: Vec<Registered>,
    /// Selections that were made, changed or taken back.
    pub selections: Vec<SelectionChange>,
    /// Slots whose winner is another registration than before, by slot.
    pub winners: Vec<WinnerChange>,
}

impl Delta {
    /// Tells whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.reranked.is_empty()
            && self.selections.is_empty()
    }
}

/// A selection that was made, changed or taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectionChange {
    /// The slot.
    pub slot: Slot,
    /// The layer it changed in.
    pub layer: SelectionLayer,
    /// What that layer selected before.
    pub before: Option<Provider>,
    /// What it selects now.
    pub after: Option<Provider>,
}

/// A slot whose winner changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WinnerChange {
    /// The slot.
    pub slot: Slot,
    /// Who won before.
    pub before: Option<Registered>,
    /// Who wins now.
    pub after: Option<Registered>,
}
