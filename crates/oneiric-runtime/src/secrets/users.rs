//! What the instances of the process were handed: which settings, and which values of secrets, by number.
//!
//! What an attempt was handed counts once its instance serves or says that it took it. An attempt that is rolled back
//! leaves the old instance with the old values, and the books have to say so, or it would never be told again.
//!
//! Whoever has secrets fetched anew wants to hear who got them, also those who got them from somebody else meanwhile: a
//! look at secrets that are too old, another rotation, a swap. So what reached whom is in a journal for a while.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::SecretRef;
use oneiric_lifecycle::{Happening, SwapEvent};
use serde_json::Value;
use tokio::time::Instant;

use super::store::Store;

/// What an instance is handed.
#[derive(Debug, Clone, Default)]
pub(super) struct Handed {
    /// Its settings as they stand, with references in them; absent where there are none.
    pub(super) settings: Option<Value>,
    /// The numbers of the values that were put in the place of references.
    pub(super) versions: BTreeMap<SecretRef, u64>,
}

/// How many entries the journal keeps; as many as there can be secrets.
const JOURNAL: usize = 1_024;

/// Who was handed what.
#[derive(Default)]
pub(super) struct Users {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    of: BTreeMap<(Slot, Provider), Book>,
    journal: VecDeque<Reached>,
    /// Entries that are not in the journal any more.
    forgotten: u64,
}

/// That somebody who served with an old value serves with a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) slot: Slot,
    pub(crate) provider: Provider,
    pub(crate) how: How,
}

/// How it came there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The instance took it.
    Told,
    /// Another instance was built with it.
    Exchanged,
}

#[derive(Default)]
struct Book {
    /// What the instance that serves was handed, or the next one will have been.
    serving: Option<Handed>,
    /// What was handed out since and is not in service yet.
    tried: Option<Handed>,
    refused: Option<Refused>,
}

/// New values did not reach the instance.
#[derive(Clone, Copy)]
struct Refused {
    /// The number of the newest of them.
    newest: u64,
    until: Instant,
}

impl Book {
    /// Those of `named` of which the instance that serves has not the newest: the number of the newest, if there is any.
    fn outdated(&self, named: &BTreeSet<SecretRef>, store: &Store) -> Option<u64> {
        let versions = &self.serving.as_ref()?.versions;
        let newer = versions.iter().filter_map(|(reference, version)| {
            let newest = store.version(reference);
            // What its settings do not name any more is a change of settings.
            (newest > *version && named.contains(reference)).then_some(newest)
        });
        newer.max()
    }

    /// Whether one of the values that were there before is a newer one now.
    fn is_newer_than(&self, before: Option<&Handed>) -> bool {
        let (Some(serving), Some(before)) = (&self.serving, before) else {
            return false;
        };
        let now = |reference| serving.versions.get(reference);
        let mut before = before.versions.iter();
        before.any(|(reference, version)| now(reference).is_some_and(|now| now > version))
    }
}

impl Users {
    /// Notes what is handed out to build an instance, or to tell one.
    pub(super) fn given(&self, to: (Slot, Provider), handed: Handed) {
        self.books().of.entry(to).or_default().tried = Some(handed);
    }

    pub(super) fn observe(&self, event: &SwapEvent) {
        let (provider, how) = match &event.what {
            Happening::Published { to, .. } => (to, Some(How::Exchanged)),
            Happening::Reconfigured { provider, .. } => (provider, Some(How::Told)),
            Happening::RolledBack { provider, .. }
            | Happening::ActivationFailed { provider, .. } => (provider, None),
            _ => return,
        };
        let mut books = self.books();
        let of = (event.slot.clone(), provider.clone());
        let Some(book) = books.of.get_mut(&of) else {
            return;
        };
        let tried = book.tried.take();
        if how.is_some() {
            book.refused = None;
        }
        if let (Some(how), Some(tried)) = (how, tried) {
            let before = book.serving.replace(tried);
            if book.is_newer_than(before.as_ref()) {
                let (slot, provider) = of;
                books.enter(Reached {
                    slot,
                    provider,
                    how,
                });
            }
        }
    }

    /// The settings that the instance of `provider` that serves `slot` was handed last; `None` when nobody knows.
    pub(super) fn handed(&self, slot: &Slot, provider: &Provider) -> Option<Option<Value>> {
        let books = self.books();
        let book = books.of.get(&(slot.clone(), provider.clone()))?;
        book.serving.as_ref().map(|handed| handed.settings.clone())
    }

    /// The number of the newest value of `named` that the instance of `provider` that serves `slot` has not got; `None`
    /// when it has the newest of all.
    pub(super) fn outdated(
        &self,
        slot: &Slot,
        provider: &Provider,
        named: &BTreeSet<SecretRef>,
        store: &Store,
    ) -> Option<u64> {
        let books = self.books();
        books
            .of
            .get(&(slot.clone(), provider.clone()))?
            .outdated(named, store)
    }

    /// Notes that the values up to number `newest` did not reach the instance, and until when that need not be tried
    /// again.
    pub(super) fn refused(&self, slot: &Slot, provider: &Provider, newest: u64, until: Instant) {
        let mut books = self.books();
        if let Some(book) = books.of.get_mut(&(slot.clone(), provider.clone())) {
            book.refused = Some(Refused { newest, until });
        }
    }

    /// Until when values up to number `newest` need not be tried again.
    pub(super) fn not_before(
        &self,
        slot: &Slot,
        provider: &Provider,
        newest: u64,
    ) -> Option<Instant> {
        let books = self.books();
        let refused = books.of.get(&(slot.clone(), provider.clone()))?.refused?;
        (newest <= refused.newest).then_some(refused.until)
    }

    /// A place in the journal: the end of it, as it is now.
    pub(super) fn mark(&self) -> u64 {
        let books = self.books();
        books.forgotten + books.journal.len() as u64
    }

    /// What has reached whom since.
    pub(super) fn since(&self, mark: u64) -> Vec<Reached> {
        let books = self.books();
        let skip = usize::try_from(mark.saturating_sub(books.forgotten)).unwrap_or(usize::MAX);
        books.journal.iter().skip(skip).cloned().collect()
    }

    /// Whether somebody is being built, or told, with something that is not the newest.
    pub(super) fn is_tried_with_old(&self, store: &Store) -> bool {
        let books = self.books();
        let mut tried = books.of.values().filter_map(|book| book.tried.as_ref());
        tried.any(|handed| handed.is_old(store))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handed {
    /// Whether there is a newer value than one of these.
    fn is_old(&self, store: &Store) -> bool {
        let mut versions = self.versions.iter();
        versions.any(|(reference, version)| store.version(reference) > *version)
    }
}

impl Books {
    fn enter(&mut self, reached: Reached) {
        if self.journal.len() == JOURNAL {
            self.journal.pop_front();
            self.forgotten += 1;
        }
        self.journal.push_back(reached);
    }
}
