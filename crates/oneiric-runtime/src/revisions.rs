//! Operator selections as numbered revisions: who selected what, when and why.
//!
//! A revision is written to the store first and known here afterwards, so that what anybody is told of is durable. The
//! book itself is in memory, because it is read with every status; the store is asked once, when it is opened.
//!
//! One swap of a slot at a time may write its selection: the order of revisions is then the order in which instances
//! were exchanged, and the selection in force names the instance that serves. `docs/spec/selections.md` has the rules.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::{MemorySelectionStore, Revision, SelectionBook, SelectionStore, StoreError};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{api::RevisionDoc, offload::blocking, turns::Turns};

/// The operator's selections and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    books: Arc<Books>,
    /// Held for writing while the stores are opened and what they know is put in force; by whoever changes a
    /// selection, for reading.
    opening: Arc<RwLock<()>>,
    turns: Turns,
}

struct Books {
    /// Held while a revision is written, which can take as long as a disk likes.
    store: Mutex<Arc<dyn SelectionStore>>,
    /// Held for moments only.
    book: Mutex<SelectionBook>,
}

/// The right to change the selection of a slot.
#[derive(Debug)]
pub(crate) struct Turn {
    _slot: OwnedMutexGuard<()>,
    _open: OwnedRwLockReadGuard<()>,
}

/// What is to be written down.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    pub(crate) provider: Option<Provider>,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    pub(crate) at_unix_ms: u64,
}

impl Revisions {
    /// The lock that whoever changes the selection of `slot` holds.
    pub(crate) fn turn(&self, slot: &Slot) -> Arc<tokio::sync::Mutex<()>> {
        self.turns.of(slot)
    }

    /// The locks of all slots.
    pub(crate) const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Waits for the turn of `slot`, which exists, and until no stores are being opened. Turns come in the order in
    /// which they are asked for.
    pub(crate) async fn my_turn(&self, slot: &Slot) -> Turn {
        let slot = self.turn(slot).lock_owned().await;
        let open = Arc::clone(&self.opening).read_owned().await;
        Turn {
            _slot: slot,
            _open: open,
        }
    }

    /// Waits until nobody changes a selection, and keeps everybody from it as long as what it gives is held.
    pub(crate) async fn hold_still(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.opening).write_owned().await
    }

    /// Goes on with what `store` knows. What was selected before, in memory, is written to it as new revisions; if
    /// that fails, everything goes on in memory.
    pub(crate) async fn adopt(
        &self,
        store: Arc<dyn SelectionStore>,
        known: SelectionBook,
    ) -> Result<(), StoreError> {
        let books = Arc::clone(&self.books);
        blocking(move || {
            let mut held = lock(&books.store);
            let before = std::mem::replace(&mut *lock(&books.book), known);
            let mut made_before: Vec<_> = before.in_force.values().cloned().collect();
            made_before.sort_by_key(|revision| revision.revision);
            for revision in made_before {
                if let Err(error) = books.write(&store, Entry::from(revision)) {
                    *lock(&books.book) = before;
                    return Err(error);
                }
            }
            *held = store;
            Ok(())
        })
        .await
    }

    /// Writes a change down and gives it its number. Durable when it returns; if it fails, nothing has changed.
    ///
    /// Dropped half-way, it goes on.
    pub(crate) async fn record(&self, entry: Entry) -> Result<RevisionDoc, StoreError> {
        let books = Arc::clone(&self.books);
        blocking(move || {
            let store = lock(&books.store);
            books.write(&store, entry)
        })
        .await
    }

    /// The selection of `slot` that is in force.
    pub(crate) fn of(&self, slot: &Slot) -> Option<RevisionDoc> {
        self.book().in_force.get(slot).cloned().map(Into::into)
    }

    /// The number of the last change of `slot`'s selection, taken back or not, as far as is remembered.
    pub(crate) fn last_of(&self, slot: &Slot) -> Option<u64> {
        let book = self.book();
        let last = book.history.iter().rev().find(|one| one.slot == *slot)?;
        Some(last.revision)
    }

    /// All selections in force, by slot.
    pub(crate) fn in_force(&self) -> Vec<RevisionDoc> {
        let book = self.book();
        book.in_force.values().cloned().map(Into::into).collect()
    }

    /// The last changes, oldest first.
    pub(crate) fn history(&self) -> Vec<RevisionDoc> {
        let book = self.book();
        book.history.iter().cloned().map(Into::into).collect()
    }

    fn book(&self) -> MutexGuard<'_, SelectionBook> {
        lock(&self.books.book)
    }
}

impl Books {
    fn write(
        &self,
        store: &Arc<dyn SelectionStore>,
        entry: Entry,
    ) -> Result<RevisionDoc, StoreError> {
        let Entry {
            slot,
            provider,
            who,
            reason,
            at_unix_ms,
        } = entry;
        let revision = {
            let book = lock(&self.book);
            let before = book.in_force.get(&slot);
            Revision {
                revision: book.last + 1,
                before: before.and_then(|revision| revision.provider.clone()),
                slot,
                provider,
                who,
                reason,
                at_unix_ms,
            }
        };
        store.append(&revision)?;
        lock(&self.book).push(revision.clone());
        Ok(revision.into())
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
        }
    }
}

/// A store that panics leaves its lock poisoned and the book as it was; the next write finds out whether it works.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use oneiric_core::{Coded, ErrorKind};

    use super::*;

    fn entry(provider: Option<&str>) -> Entry {
        Entry {
            slot: "adapter/cache".parse().unwrap(),
            provider: provider.map(|name| name.parse().unwrap()),
            who: "uid:1".into(),
            reason: None,
            at_unix_ms: 7,
        }
    }

    #[tokio::test]
    async fn revisions_are_numbered_and_say_what_was_before() {
        let revisions = Revisions::default();
        let first = revisions.record(entry(Some("a"))).await.unwrap();
        let second = revisions.record(entry(Some("b"))).await.unwrap();
        let third = revisions.record(entry(None)).await.unwrap();
        assert_eq!((first.revision, second.revision, third.revision), (1, 2, 3));
        assert_eq!((first.before, second.before), (None, first.provider));
        assert_eq!(third.before, second.provider);
        assert_eq!(
            (revisions.in_force().len(), revisions.history().len()),
            (0, 3)
        );
    }

    #[tokio::test]
    async fn what_was_selected_before_a_store_is_opened_is_written_to_it() {
        let revisions = Revisions::default();
        revisions.record(entry(Some("a"))).await.unwrap();
        revisions.record(entry(Some("b"))).await.unwrap();
        let store = Arc::new(MemorySelectionStore::new());
        let earlier = Revisions::default();
        earlier
            .adopt(
                Arc::clone(&store) as Arc<dyn SelectionStore>,
                store.load().unwrap(),
            )
            .await
            .unwrap();
        earlier.record(entry(Some("old"))).await.unwrap();
        let known = store.load().unwrap();
        revisions
            .adopt(Arc::clone(&store) as Arc<dyn SelectionStore>, known)
            .await
            .unwrap();
        let book = store.load().unwrap();
        assert_eq!(book.last, 2);
        let last = book.history.back().unwrap();
        assert_eq!(last.provider, entry(Some("b")).provider);
        assert_eq!(last.before, entry(Some("old")).provider);
        assert_eq!(revisions.history().len(), 2);
    }

    struct Full;

    impl SelectionStore for Full {
        fn load(&self) -> Result<SelectionBook, StoreError> {
            Ok(SelectionBook::default())
        }

        fn append(&self, revision: &Revision) -> Result<(), StoreError> {
            assert_ne!(revision.who, "panic", "as asked");
            Err(StoreError::new(
                "sqlite.disk_full",
                ErrorKind::Unavailable,
                "full",
            ))
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_take_what_was_selected_before_is_not_gone_on_with() {
        let revisions = Revisions::default();
        revisions.record(entry(Some("a"))).await.unwrap();
        let known = SelectionBook {
            last: 41,
            ..SelectionBook::default()
        };
        let refused = revisions.adopt(Arc::new(Full), known).await.unwrap_err();
        assert_eq!(refused.code(), "sqlite.disk_full");
        assert_eq!(revisions.in_force()[0].provider, entry(Some("a")).provider);
        let next = revisions.record(entry(Some("b"))).await.unwrap();
        assert_eq!(next.revision, 2);
    }

    #[tokio::test]
    async fn what_cannot_be_written_has_not_happened() {
        let revisions = Revisions::default();
        revisions
            .adopt(Arc::new(Full), SelectionBook::default())
            .await
            .unwrap();
        let refused = revisions.record(entry(Some("a"))).await.unwrap_err();
        assert_eq!(refused.code(), "sqlite.disk_full");
        let panics = Entry {
            who: "panic".into(),
            ..entry(Some("a"))
        };
        let refused = revisions.record(panics).await.unwrap_err();
        assert_eq!(refused.code(), "runtime.internal");
        assert_eq!(
            (revisions.history(), revisions.in_force()),
            (Vec::new(), Vec::new())
        );
    }
}
