//! What is written of selections, and known: one book in memory, and a store that has it on a disk.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::{
    MemorySelectionStore, Revision, SelectionBook, SelectionStore, StoreError, Undone,
};

use crate::api::RevisionDoc;

pub(super) struct Books {
    /// Held while a revision is written, which can take as long as a disk likes.
    pub(super) store: Mutex<Arc<dyn SelectionStore>>,
    /// Held for moments only.
    pub(super) book: Mutex<SelectionBook>,
}

/// What is to be written down.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    pub(crate) provider: Option<Provider>,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    pub(crate) at_unix_ms: u64,
    /// The revisions that it is to take back.
    pub(crate) undoes: Option<Undone>,
}

impl Books {
    /// Writes `entries` down as one revision, unless there is one after `base`: `None` then. Whoever calls keeps
    /// `store` locked, so that no other one can come in between.
    pub(super) fn write(
        &self,
        store: &Arc<dyn SelectionStore>,
        entries: Vec<Entry>,
        base: Option<u64>,
    ) -> Result<Option<Vec<RevisionDoc>>, StoreError> {
        let lines: Vec<Revision> = {
            let book = lock(&self.book);
            if base.is_some_and(|base| base != book.last) {
                return Ok(None);
            }
            let line = |entry: Entry| {
                let before = book.in_force.get(&entry.slot);
                Revision {
                    revision: book.last + 1,
                    before: before.and_then(|revision| revision.provider.clone()),
                    slot: entry.slot,
                    provider: entry.provider,
                    who: entry.who,
                    reason: entry.reason,
                    at_unix_ms: entry.at_unix_ms,
                    undoes: entry.undoes,
                }
            };
            entries.into_iter().map(line).collect()
        };
        if !lines.is_empty() {
            store.append_all(&lines)?;
            lock(&self.book).push(&lines);
        }
        Ok(Some(lines.into_iter().map(Into::into).collect()))
    }
}

impl Default for Books {
    fn default() -> Self {
        Self {
            store: Mutex::new(Arc::new(MemorySelectionStore::new())),
            book: Mutex::default(),
        }
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").finish_non_exhaustive()
    }
}

impl From<Revision> for Entry {
    fn from(revision: Revision) -> Self {
        Self {
            slot: revision.slot,
            provider: revision.provider,
            who: revision.who,
            reason: revision.reason,
            at_unix_ms: revision.at_unix_ms,
            undoes: revision.undoes,
        }
    }
}

impl From<Revision> for RevisionDoc {
    fn from(revision: Revision) -> Self {
        Self {
            revision: revision.revision,
            slot: revision.slot,
            provider: revision.provider,
            before: revision.before,
            who: revision.who,
            reason: revision.reason,
            at_unix_ms: revision.at_unix_ms,
            undoes: revision.undoes.map(Into::into),
            became: None,
            by: None,
        }
    }
}

/// A store that panics leaves its lock poisoned and the book as it was; the next write finds out whether it works.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
