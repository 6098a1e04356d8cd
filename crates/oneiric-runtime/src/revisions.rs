//! Operator selections as numbered revisions: who selected what, when and why.
//!
//! A revision is written to the store first and known here afterwards, so that what anybody is told of is durable. The
//! book itself is in memory, because it is read with every status; the store is asked once, when it is opened.
//!
//! One swap of a slot at a time may write its selection: the order of revisions is then the order in which instances
//! were exchanged, and the selection in force names the instance that serves. `docs/spec/selections.md` has the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::{
    MemorySelectionStore, Revision, SelectionBook, SelectionStore, StoreError, Undone,
};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{
    api::{Became, RevisionDoc},
    error::RuntimeError,
    offload::blocking,
    turns::Turns,
};

/// The operator's selections and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    books: Arc<Books>,
    /// Held for writing while the stores are opened and what they know is put in force; by whoever changes a
    /// selection, for reading.
    opening: Arc<RwLock<()>>,
    turns: Turns,
    /// Held by who carries out a plan: each finds the revision of the one before it.
    plans: Arc<tokio::sync::Mutex<()>>,
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

/// The right to change the selections of several slots at once.
#[derive(Debug)]
pub(crate) struct PlanTurn {
    _slots: Vec<OwnedMutexGuard<()>>,
    _open: OwnedRwLockReadGuard<()>,
    _plan: OwnedMutexGuard<()>,
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

impl Revisions {
    /// Nothing is selected. Whoever changes a selection takes its turn among `turns`.
    pub(crate) fn new(turns: Turns) -> Self {
        Self {
            turns,
            ..Self::default()
        }
    }

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

    /// Waits for the turns of all `slots`, which exist, and until plans that were to be carried out before are. No plan
    /// and no change of one of these slots can come in between while it is held; selections of other slots can.
    pub(crate) async fn my_turns(&self, slots: &BTreeSet<Slot>) -> PlanTurn {
        let plan = Arc::clone(&self.plans).lock_owned().await;
        let mut turns = Vec::with_capacity(slots.len());
        // In the order of their names, as all who take several.
        for slot in slots {
            turns.push(self.turn(slot).lock_owned().await);
        }
        let open = Arc::clone(&self.opening).read_owned().await;
        PlanTurn {
            _slots: turns,
            _open: open,
            _plan: plan,
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
            let mut made_before: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
            for revision in before.in_force.values().cloned() {
                let lines = made_before.entry(revision.revision).or_default();
                // What it took back has other numbers there.
                let undoes = None;
                lines.push(Entry {
                    undoes,
                    ..Entry::from(revision)
                });
            }
            for lines in made_before.into_values() {
                if let Err(error) = books.write(&store, lines) {
                    *lock(&books.book) = before;
                    return Err(error);
                }
            }
            *held = store;
            Ok(())
        })
        .await
    }

    /// Writes a change of one slot down.
    #[cfg(test)]
    pub(crate) async fn record(&self, entry: Entry) -> Result<RevisionDoc, StoreError> {
        let mut lines = self.record_all(vec![entry]).await?;
        Ok(lines.remove(0))
    }

    /// Writes changes of one or several slots down as one revision and gives it its number. Durable when it returns; if
    /// it fails, nothing has changed.
    ///
    /// Dropped half-way, it goes on.
    pub(crate) async fn record_all(
        &self,
        entries: Vec<Entry>,
    ) -> Result<Vec<RevisionDoc>, StoreError> {
        let books = Arc::clone(&self.books);
        blocking(move || {
            let store = lock(&books.store);
            books.write(&store, entries)
        })
        .await
    }

    /// The selection of `slot` that is in force.
    pub(crate) fn of(&self, slot: &Slot) -> Option<RevisionDoc> {
        self.book().in_force.get(slot).cloned().map(Into::into)
    }

    /// Whether nobody has changed the slot's selection since `line` was written.
    pub(crate) fn stands(&self, line: &RevisionDoc) -> bool {
        let book = self.book();
        match book.in_force.get(&line.slot) {
            Some(one) => one.revision == line.revision,
            // Nothing is selected. What was forgotten since would have been older than what is remembered.
            None => {
                let last = book.history.iter().rev().find(|one| one.slot == line.slot);
                let last = last.map_or(line.revision, |last| last.revision);
                line.provider.is_none() && last == line.revision
            }
        }
    }

    /// All selections in force, by slot.
    pub(crate) fn in_force(&self) -> Vec<RevisionDoc> {
        let book = self.book();
        book.in_force.values().cloned().map(Into::into).collect()
    }

    /// The last changes, oldest first, each with what became of it.
    pub(crate) fn history(&self) -> Vec<RevisionDoc> {
        let book = self.book();
        let mut later: BTreeMap<&Slot, &Revision> = BTreeMap::new();
        let mut lines = Vec::with_capacity(book.history.len());
        for line in book.history.iter().rev() {
            let mut doc = RevisionDoc::from(line.clone());
            let next = later.insert(&line.slot, line);
            doc.by = next.map(|next| next.revision);
            doc.became = Some(match next {
                None => Became::InForce,
                Some(next)
                    if next
                        .undoes
                        .is_some_and(|undone| undone.contains(line.revision)) =>
                {
                    Became::Undone
                }
                Some(_) => Became::Replaced,
            });
            lines.push(doc);
        }
        lines.reverse();
        lines
    }

    /// The number of the last one; 0 when there was none.
    pub(crate) fn last(&self) -> u64 {
        self.book().last
    }

    /// Those that were made after number `base`, as far as they are remembered, oldest first.
    pub(crate) fn since(&self, base: u64) -> Vec<RevisionDoc> {
        let mut since = self.history();
        since.retain(|line| line.revision > base);
        since
    }

    /// What the way back to the state after revision `number` would change: see [`SelectionBook::back_to`].
    pub(crate) fn back_to(
        &self,
        number: u64,
    ) -> Result<BTreeMap<Slot, Option<Provider>>, RuntimeError> {
        let book = self.book();
        book.back_to(number)
            .ok_or_else(|| RuntimeError::RevisionUnknown {
                number,
                oldest: book.oldest_state(),
                last: book.last,
            })
    }

    fn book(&self) -> MutexGuard<'_, SelectionBook> {
        lock(&self.books.book)
    }
}

impl Books {
    fn write(
        &self,
        store: &Arc<dyn SelectionStore>,
        entries: Vec<Entry>,
    ) -> Result<Vec<RevisionDoc>, StoreError> {
        let lines: Vec<Revision> = {
            let book = lock(&self.book);
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
        store.append_all(&lines)?;
        lock(&self.book).push(&lines);
        Ok(lines.into_iter().map(Into::into).collect())
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
            undoes: None,
        }
    }

    fn line(slot: &str, provider: Option<&str>, undoes: Option<(u64, u64)>) -> Entry {
        Entry {
            slot: slot.parse().unwrap(),
            undoes: undoes.map(|(first, last)| Undone { first, last }),
            ..entry(provider)
        }
    }

    #[tokio::test]
    async fn a_revision_of_several_slots_has_one_number_and_each_line_says_what_became_of_it() {
        let revisions = Revisions::default();
        let both = vec![line("a/b", Some("x"), None), line("a/c", Some("y"), None)];
        let made = revisions.record_all(both).await.unwrap();
        assert_eq!((made[0].revision, made[1].revision), (1, 1));
        revisions
            .record(line("a/c", Some("z"), None))
            .await
            .unwrap();
        revisions
            .record(line("a/c", Some("y"), Some((2, 2))))
            .await
            .unwrap();
        let became: Vec<_> = revisions
            .history()
            .into_iter()
            .map(|line| (line.revision, line.slot.to_string(), line.became, line.by))
            .collect();
        let expected = [
            (1, "a/b", Became::InForce, None),
            (1, "a/c", Became::Replaced, Some(2)),
            (2, "a/c", Became::Undone, Some(3)),
            (3, "a/c", Became::InForce, None),
        ];
        let expected =
            expected.map(|(number, slot, became, by)| (number, slot.to_owned(), Some(became), by));
        assert_eq!(became, expected);
        assert_eq!(revisions.since(1).len(), 2);
        let error = revisions.back_to(4).unwrap_err();
        assert_eq!(error.code(), "runtime.revision_unknown");
    }

    #[tokio::test]
    async fn a_line_stands_until_somebody_changes_the_slot_however_much_is_forgotten() {
        let revisions = Revisions::default();
        let mut others = 0;
        let mut forget = async || {
            for _ in 0..1_100 {
                others += 1;
                let other = line("a/other", Some(["x", "y"][others % 2]), None);
                revisions.record(other).await.unwrap();
            }
        };
        let selected = revisions.record(entry(Some("a"))).await.unwrap();
        forget().await;
        assert!(
            revisions
                .history()
                .iter()
                .all(|one| one.slot != selected.slot)
        );
        assert!(revisions.stands(&selected));
        let cleared = revisions.record(entry(None)).await.unwrap();
        assert!(!revisions.stands(&selected) && revisions.stands(&cleared));
        forget().await;
        assert!(!revisions.stands(&selected) && revisions.stands(&cleared));
        revisions.record(entry(Some("a"))).await.unwrap();
        assert!(!revisions.stands(&selected) && !revisions.stands(&cleared));
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

        fn append_all(&self, lines: &[Revision]) -> Result<(), StoreError> {
            assert_ne!(lines[0].who, "panic", "as asked");
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
