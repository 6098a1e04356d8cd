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

use oneiric_core::{ErrorKind, Provider, Slot};
use oneiric_domains::{MemorySelectionStore, Revision, SelectionBook, SelectionStore, StoreError};

use crate::{api::RevisionDoc, turns::Turns};

/// The operator's selections and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    books: Arc<Books>,
    turns: Turns,
}

struct Books {
    /// Held while a revision is written, which can take as long as a disk likes.
    store: Mutex<Arc<dyn SelectionStore>>,
    /// Held for moments only.
    book: Mutex<SelectionBook>,
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

    /// Goes on with what `store` knows. What was selected before, in memory, is written to it as new revisions.
    pub(crate) async fn adopt(
        &self,
        store: Arc<dyn SelectionStore>,
        known: SelectionBook,
    ) -> Result<(), StoreError> {
        let books = Arc::clone(&self.books);
        off_the_workers(move || {
            let mut held = lock(&books.store);
            let before = std::mem::replace(&mut *lock(&books.book), known);
            *held = store;
            let mut made_before: Vec<_> = before.in_force.into_values().collect();
            made_before.sort_by_key(|revision| revision.revision);
            for revision in made_before {
                books.write(&held, Entry::from(revision))?;
            }
            Ok(())
        })
        .await
    }

    /// Writes a change down and gives it its number. Durable when it returns; if it fails, nothing has changed.
    ///
    /// Dropped half-way, it goes on.
    pub(crate) async fn record(&self, entry: Entry) -> Result<RevisionDoc, StoreError> {
        let books = Arc::clone(&self.books);
        off_the_workers(move || {
            let store = lock(&books.store);
            books.write(&store, entry)
        })
        .await
    }

    /// The selection of `slot` that is in force.
    pub(crate) fn of(&self, slot: &Slot) -> Option<RevisionDoc> {
        self.book().in_force.get(slot).cloned().map(Into::into)
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

async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StoreError::new(
                "runtime.internal",
                ErrorKind::Internal,
                format_args!("a store failed: {error}"),
            ))
        })
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded;

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
