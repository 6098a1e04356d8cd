//! Operator selections as numbered revisions: who selected what, when and why. In memory for now.
//!
//! One swap of a slot at a time may write its selection: the order of revisions is then the order in which instances
//! were exchanged, and the selection in force names the instance that serves. `docs/spec/selections.md` has the rules.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};

use crate::api::RevisionDoc;

/// How many revisions are remembered; those in force always are.
const KEPT: usize = 1_000;

/// The operator's selections and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    book: Mutex<Book>,
    turns: Mutex<BTreeMap<Slot, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Book {
    last: u64,
    in_force: BTreeMap<Slot, RevisionDoc>,
    history: VecDeque<RevisionDoc>,
}

/// What is to be written down.
pub(crate) struct Entry {
    pub(crate) slot: Slot,
    pub(crate) provider: Option<Provider>,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    pub(crate) at_unix_ms: u64,
}

impl Revisions {
    /// The lock that whoever changes the selection of `slot` holds, fair in the order in which it is asked for. Ask
    /// only for slots that exist: each is remembered.
    pub(crate) fn turn(&self, slot: &Slot) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(slot.clone()).or_default())
    }

    /// Writes a change down and gives it its number.
    pub(crate) fn record(&self, entry: Entry) -> RevisionDoc {
        let mut book = self.book();
        let Entry {
            slot,
            provider,
            who,
            reason,
            at_unix_ms,
        } = entry;
        book.last += 1;
        let before = book
            .in_force
            .remove(&slot)
            .and_then(|revision| revision.provider);
        let revision = RevisionDoc {
            revision: book.last,
            slot,
            provider,
            before,
            who,
            reason,
            at_unix_ms,
        };
        if revision.provider.is_some() {
            book.in_force
                .insert(revision.slot.clone(), revision.clone());
        }
        if book.history.len() == KEPT {
            book.history.pop_front();
        }
        book.history.push_back(revision.clone());
        revision
    }

    /// The selection of `slot` that is in force.
    pub(crate) fn of(&self, slot: &Slot) -> Option<RevisionDoc> {
        self.book().in_force.get(slot).cloned()
    }

    /// All selections in force, by slot.
    pub(crate) fn in_force(&self) -> Vec<RevisionDoc> {
        self.book().in_force.values().cloned().collect()
    }

    /// The last changes, oldest first.
    pub(crate) fn history(&self) -> Vec<RevisionDoc> {
        self.book().history.iter().cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No foreign code runs under this lock, so a poisoned book is still a sound one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn revisions_are_numbered_and_say_what_was_before() {
        let revisions = Revisions::default();
        let first = revisions.record(entry(Some("a")));
        let second = revisions.record(entry(Some("b")));
        let third = revisions.record(entry(None));
        assert_eq!((first.revision, second.revision, third.revision), (1, 2, 3));
        assert_eq!((first.before, second.before), (None, first.provider));
        assert_eq!(third.before, second.provider);
        assert_eq!(
            (revisions.in_force().len(), revisions.history().len()),
            (0, 3)
        );
    }

    #[test]
    fn history_is_bounded_and_what_is_in_force_is_kept() {
        let revisions = Revisions::default();
        let kept = revisions.record(entry(Some("a")));
        for _ in 0..KEPT {
            let other = Entry {
                slot: "task/mail".parse().unwrap(),
                ..entry(Some("b"))
            };
            revisions.record(other);
        }
        assert_eq!(revisions.history().len(), KEPT);
        assert_eq!(revisions.of(&kept.slot), Some(kept));
    }
}
