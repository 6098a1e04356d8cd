//! What a store of state is asked for by this layer, and how stores of any layer say no.
//!
//! What is remembered of transitions survives the process; that an instance is active never does. So a store is only
//! ever told what ended, as counts to add and entries to append, and a fresh process reads history, not state.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oneiric_core::{Coded, ErrorKind, Slot};
use serde::Serialize;

use crate::history::HistoryEntry;
use crate::status::SwapCounts;

/// Entries kept for each slot. Counts are of all that ever were.
pub const HISTORY_KEPT: usize = 100;

/// Remembers what became of transitions, across processes.
///
/// The methods block. They are called from the pool for blocking work, never from a transition, and from one caller at
/// a time.
pub trait StatusStore: Send + Sync {
    /// What is remembered of `slot`, or of every slot, by name.
    ///
    /// # Errors
    /// The store's own.
    fn load(&self, slot: Option<&Slot>) -> Result<Vec<SlotHistory>, StoreError>;

    /// Adds counts and appends entries, all of them or none. Durable when it returns.
    ///
    /// # Errors
    /// The store's own; the same batch may be offered again.
    fn append(&self, batch: &[SlotHistory]) -> Result<(), StoreError>;
}

fn _status_store_is_dyn_safe(_: &dyn StatusStore) {}

/// What is remembered of one slot, or is to be added to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotHistory {
    /// The slot.
    pub slot: Slot,
    /// How many transitions ended how.
    pub counts: SwapCounts,
    /// The last of them, oldest first; at most [`HISTORY_KEPT`].
    pub entries: Vec<HistoryEntry>,
}

impl SlotHistory {
    /// Nothing yet.
    pub fn new(slot: Slot) -> Self {
        Self {
            slot,
            counts: SwapCounts::default(),
            entries: Vec::new(),
        }
    }

    /// Counts an entry and appends it.
    pub fn push(&mut self, entry: HistoryEntry) {
        self.counts.count(&entry);
        self.entries.push(entry);
    }
}

/// Why a store cannot do what it is asked. The code and what to do next are those of whoever implements the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    code: &'static str,
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl StoreError {
    /// An error with its code, what can be done about it, and what happened in words for an operator.
    pub fn new(code: &'static str, kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            code,
            kind,
            message: message.to_string(),
            hint: None,
        }
    }

    /// A next step for the person who reads it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The next step, where one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        self.code
    }

    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// A [`StatusStore`] that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStatusStore {
    slots: Mutex<BTreeMap<Slot, (SwapCounts, VecDeque<HistoryEntry>)>>,
}

impl MemoryStatusStore {
    /// One that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Slot, (SwapCounts, VecDeque<HistoryEntry>)>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatusStore for MemoryStatusStore {
    fn load(&self, slot: Option<&Slot>) -> Result<Vec<SlotHistory>, StoreError> {
        let slots = self.slots();
        let meant = slots
            .iter()
            .filter(|(name, _)| slot.is_none_or(|slot| slot == *name));
        let meant = meant.map(|(slot, (counts, entries))| SlotHistory {
            slot: slot.clone(),
            counts: *counts,
            entries: entries.iter().cloned().collect(),
        });
        Ok(meant.collect())
    }

    fn append(&self, batch: &[SlotHistory]) -> Result<(), StoreError> {
        let mut slots = self.slots();
        for added in batch {
            let (counts, entries) = slots.entry(added.slot.clone()).or_default();
            *counts += added.counts;
            for entry in &added.entries {
                if entries.len() == HISTORY_KEPT {
                    entries.pop_front();
                }
                entries.push_back(entry.clone());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::history::Ended;

    #[test]
    fn counts_are_of_all_and_entries_are_the_last() {
        let store = MemoryStatusStore::new();
        let slot: Slot = "adapter/cache".parse().unwrap();
        for number in 0..=HISTORY_KEPT as u64 {
            let provider = "a".parse().unwrap();
            let mut entry = HistoryEntry::new(UNIX_EPOCH, Ended::Swapped, provider);
            entry.instance = Some(number);
            let mut batch = SlotHistory::new(slot.clone());
            batch.push(entry);
            store.append(&[batch]).unwrap();
        }
        let held = store.load(None).unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].counts.swapped, HISTORY_KEPT as u64 + 1);
        assert_eq!(held[0].entries.len(), HISTORY_KEPT);
        assert_eq!(held[0].entries[0].instance, Some(1));
        let other = "adapter/other".parse().unwrap();
        assert_eq!(store.load(Some(&other)).unwrap(), Vec::new());
    }

    #[test]
    fn an_error_carries_its_stores_code_and_next_step() {
        let error = StoreError::new("sqlite.full", ErrorKind::Unavailable, "no space");
        assert_eq!(
            (error.hint(), error.to_string()),
            (None, "no space".to_owned())
        );
        let error = error.with_hint("free some");
        assert_eq!(error.hint(), Some("free some"));
        assert_eq!(
            (error.code(), error.kind()),
            ("sqlite.full", ErrorKind::Unavailable)
        );
    }
}
