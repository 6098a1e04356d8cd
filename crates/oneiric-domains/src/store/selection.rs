//! The operator's selections, as numbered revisions that only ever grow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oneiric_core::{ErrorKind, Provider, Slot};
use oneiric_lifecycle::StoreError;

/// Revisions that are remembered; those in force always are.
pub const REVISIONS_KEPT: usize = 1_000;

/// Keeps the operator's selections.
pub trait SelectionStore: Send + Sync {
    /// What is in force, and how it came about.
    ///
    /// # Errors
    /// The store's own.
    fn load(&self) -> Result<SelectionBook, StoreError>;

    /// Writes a revision down; it is in force from then on. Its number must be the next one.
    ///
    /// # Errors
    /// The store's own; then nothing has changed.
    fn append(&self, revision: &Revision) -> Result<(), StoreError>;
}

fn _selection_store_is_dyn_safe(_: &dyn SelectionStore) {}

/// One numbered change of the operator's selections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// From 1, in the order they were made, without holes.
    pub revision: u64,
    /// The slot.
    pub slot: Slot,
    /// What was selected; `None` when the selection was taken back.
    pub provider: Option<Provider>,
    /// What was selected before.
    pub before: Option<Provider>,
    /// Who asked.
    pub who: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

impl Revision {
    /// Checks that this is the next revision after number `last`.
    ///
    /// # Errors
    /// `domains.revision_out_of_order`.
    pub fn must_follow(&self, last: u64) -> Result<(), StoreError> {
        if self.revision.checked_sub(1) == Some(last) {
            return Ok(());
        }
        let message = format!("revision {} was to be written after {last}", self.revision);
        Err(StoreError::new(
            "domains.revision_out_of_order",
            ErrorKind::Internal,
            message,
        ))
    }
}

/// All that is remembered of the operator's selections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectionBook {
    /// The number of the last revision; 0 when there was none.
    pub last: u64,
    /// Selections in force, by slot.
    pub in_force: BTreeMap<Slot, Revision>,
    /// The last [`REVISIONS_KEPT`] revisions, oldest first.
    pub history: VecDeque<Revision>,
}

impl SelectionBook {
    /// Puts a revision in force.
    pub fn push(&mut self, revision: Revision) {
        self.last = revision.revision;
        self.in_force.remove(&revision.slot);
        if revision.provider.is_some() {
            self.in_force
                .insert(revision.slot.clone(), revision.clone());
        }
        if self.history.len() == REVISIONS_KEPT {
            self.history.pop_front();
        }
        self.history.push_back(revision);
    }
}

/// A [`SelectionStore`] that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemorySelectionStore {
    book: Mutex<SelectionBook>,
}

impl MemorySelectionStore {
    /// One without selections.
    pub fn new() -> Self {
        Self::default()
    }

    fn book(&self) -> MutexGuard<'_, SelectionBook> {
        // No foreign code runs under this lock, so a poisoned book is still a sound one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SelectionStore for MemorySelectionStore {
    fn load(&self) -> Result<SelectionBook, StoreError> {
        Ok(self.book().clone())
    }

    fn append(&self, revision: &Revision) -> Result<(), StoreError> {
        let mut book = self.book();
        revision.must_follow(book.last)?;
        book.push(revision.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded;

    use super::*;

    fn revision(number: u64, slot: &str, provider: Option<&str>) -> Revision {
        Revision {
            revision: number,
            slot: slot.parse().unwrap(),
            provider: provider.map(|name| name.parse().unwrap()),
            before: None,
            who: "uid:1".into(),
            reason: None,
            at_unix_ms: 7,
        }
    }

    #[test]
    fn history_is_bounded_and_what_is_in_force_is_kept() {
        let store = MemorySelectionStore::new();
        let kept = revision(1, "adapter/cache", Some("a"));
        store.append(&kept).unwrap();
        let last = REVISIONS_KEPT as u64 + 1;
        for number in 2..=last {
            store
                .append(&revision(number, "task/mail", Some("b")))
                .unwrap();
        }
        store
            .append(&revision(last + 1, "task/mail", None))
            .unwrap();
        let book = store.load().unwrap();
        assert_eq!((book.last, book.history.len()), (last + 1, REVISIONS_KEPT));
        assert_eq!(book.in_force.values().collect::<Vec<_>>(), [&kept]);
    }

    #[test]
    fn a_revision_that_is_not_the_next_is_refused() {
        let store = MemorySelectionStore::new();
        for wrong in [0, 2] {
            let refused = store.append(&revision(wrong, "adapter/cache", Some("a")));
            assert_eq!(refused.unwrap_err().code(), "domains.revision_out_of_order");
        }
        assert_eq!(store.load().unwrap(), SelectionBook::default());
    }
}
