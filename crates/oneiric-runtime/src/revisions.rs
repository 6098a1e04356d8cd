//! Operator selections as numbered revisions: who selected what, when and why. In memory for now.
//!
//! One swap of a slot at a time may write its selection: the order of revisions is then the order in which instances
//! were exchanged, and the selection in force names the instance that serves. `docs/spec/selections.md` has the rules.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{poll_fn, ready},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use oneiric_core::{BoxFuture, Provider, Slot};
use tokio::sync::OwnedMutexGuard;

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

/// A place in the queue of a slot; done when it is the turn of whoever holds it, which lasts as long as the guard.
pub(crate) type Turn = BoxFuture<'static, OwnedMutexGuard<()>>;

impl Revisions {
    /// Queues up for changing the selection of `slot`: the place is taken when this returns, which is at once.
    /// Ask only for slots that exist: each is remembered.
    pub(crate) async fn queue(&self, slot: &Slot) -> Turn {
        let lock = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(slot.clone()).or_default())
        };
        // The lock is fair by the order of first polls.
        let mut turn: Turn = Box::pin(lock.lock_owned());
        match poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await {
            Poll::Ready(mine) => Box::pin(ready(mine)),
            Poll::Pending => turn,
        }
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

    #[tokio::test]
    async fn turns_come_in_the_order_of_queueing_and_not_of_waiting() {
        let (revisions, slot) = (Revisions::default(), entry(None).slot);
        let first = revisions.queue(&slot).await.await;
        // A task that has used up its time slice gets its place too.
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        let second = revisions.queue(&slot).await;
        tokio::task::yield_now().await;
        let mut third = revisions.queue(&slot).await;
        drop(first);
        tokio::select! {
            biased;
            _ = &mut third => panic!("the third waits first but is not next"),
            () = ready(()) => {}
        }
        drop(second.await);
        drop(third.await);
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
