//! Operator selections as numbered revisions: who selected what, when and why.
//!
//! A revision is written to the store first and known here afterwards, so that what anybody is told of is durable. The
//! book itself is in memory, because it is read with every status; the store is asked once, when it is opened.
//!
//! One swap of a slot at a time may write its selection: the order of revisions is then the order in which instances
//! were exchanged, and the selection in force names the instance that serves. `docs/spec/selections.md` has the rules.

mod books;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::{Revision, SelectionBook, SelectionStore, StoreError};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

pub(crate) use self::books::Entry;
use self::books::{Books, lock};
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
                if let Err(error) = books.write(&store, lines, None) {
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
        let lines = self.record_all(vec![entry], None).await?;
        Ok(lines.unwrap().remove(0))
    }

    /// Writes changes of one or several slots down as one revision and gives it its number. Durable when it returns; if
    /// it fails, nothing has changed. Nor has anything, and it gives `None`, where `base` is not the last revision in the
    /// moment of writing.
    ///
    /// Dropped half-way, it goes on.
    pub(crate) async fn record_all(
        &self,
        entries: Vec<Entry>,
        base: Option<u64>,
    ) -> Result<Option<Vec<RevisionDoc>>, StoreError> {
        let books = Arc::clone(&self.books);
        blocking(move || {
            let store = lock(&books.store);
            books.write(&store, entries, base)
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
