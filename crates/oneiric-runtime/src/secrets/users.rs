//! What the instances of the process were handed: which settings, and which values of secrets, by number.
//!
//! The books go by the number of the instance, which it has before it is built: of one provider there can be several at a
//! time, one that serves, one kept warm to take over again, those of keys. What an attempt was handed counts once its
//! instance serves or says that it took it. What serves again has what it had before, whatever its successor was given.
//!
//! Whoever has secrets fetched anew wants to hear who got them, also those who got them from somebody else meanwhile: a
//! look at secrets that are too old, another rotation, a swap. So what reached whom is in a journal for a while.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::SecretRef;
use oneiric_lifecycle::{Because, DecisionKind, Happening, Receiver, SwapEvent};
use serde_json::Value;
use tokio::time::Instant;

use super::store::Store;

/// What could not be done is tried again after this time.
pub(super) const AGAIN: Duration = Duration::from_secs(300);

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
    /// By the number of the instance, for as long as there is one or may come one.
    of: BTreeMap<u64, Book>,
    /// The instance that serves each slot, or did last.
    serving: BTreeMap<Slot, u64>,
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

struct Book {
    slot: Slot,
    provider: Provider,
    /// Whether it is one of those by key.
    has_key: bool,
    /// What the instance has; nothing while it is being built.
    has: Option<Handed>,
    /// What was handed out for it since, and is neither taken nor refused yet.
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
    /// Those of `named` of which the instance has not the newest: the number of the newest, if there is any.
    fn outdated(&self, named: &BTreeSet<SecretRef>, store: &Store) -> Option<u64> {
        let versions = &self.has.as_ref()?.versions;
        let newer = versions.iter().filter_map(|(reference, version)| {
            let newest = store.version(reference);
            // What its settings do not name any more is a change of settings.
            (newest > *version && named.contains(reference)).then_some(newest)
        });
        newer.max()
    }

    /// The number of the newest value of which `other` has an older one.
    fn newer_than(&self, other: &Self) -> Option<u64> {
        self.has.as_ref()?.newer_than(other.has.as_ref()?)
    }
}

impl Users {
    /// Notes what is handed out to build an instance, or to tell one.
    pub(super) fn given(&self, to: Receiver<'_>, handed: Handed) {
        let mut books = self.books();
        let book = books.of.entry(to.instance).or_insert_with(|| Book {
            slot: to.slot.clone(),
            provider: to.provider.clone(),
            has_key: to.key.is_some(),
            has: None,
            tried: None,
            refused: None,
        });
        book.tried = Some(handed);
    }

    /// There is no such instance any more, or never will be.
    pub(super) fn gone(&self, instance: u64) {
        self.books().of.remove(&instance);
    }

    pub(super) fn observe(&self, event: &SwapEvent) {
        let mut books = self.books();
        match &event.what {
            // Of a key: nobody else's affair.
            Happening::Published { instance, .. } if event.key.is_some() => books.came(*instance),
            Happening::Published { instance, .. } => {
                books.came(*instance);
                books.settle(&event.slot);
                books.serves(&event.slot, *instance);
            }
            Happening::Reconfigured { instance, .. } => books.told(*instance),
            Happening::RolledBack { .. } | Happening::ActivationFailed { .. }
                if event.key.is_none() =>
            {
                books.settle(&event.slot);
            }
            // Somebody wants the old one back: that says nothing against what the new one was given.
            Happening::Decided { decision }
                if decision.kind == DecisionKind::SwingBack
                    && matches!(decision.because, Because::Asked { .. }) =>
            {
                let serving = books.serving.get(&event.slot).copied();
                books.try_again(serving);
            }
            // What could not be done while it was on trial can be done now.
            Happening::BakeEnded { bake } => books.try_again(Some(bake.instance)),
            _ => {}
        }
    }

    /// The settings that an instance was handed last; `None` when nobody knows.
    pub(super) fn handed(&self, instance: u64) -> Option<Option<Value>> {
        let books = self.books();
        let has = books.of.get(&instance)?.has.as_ref()?;
        Some(has.settings.clone())
    }

    /// The number of the newest value of `named` that an instance has not got; `None` when it has the newest of all.
    pub(super) fn outdated(
        &self,
        instance: u64,
        named: &BTreeSet<SecretRef>,
        store: &Store,
    ) -> Option<u64> {
        let books = self.books();
        books.of.get(&instance)?.outdated(named, store)
    }

    /// Notes that the values up to number `newest` did not reach the instance, and until when that need not be tried
    /// again.
    pub(super) fn refused(&self, instance: u64, newest: u64, until: Instant) {
        if let Some(book) = self.books().of.get_mut(&instance) {
            book.refused = Some(Refused { newest, until });
        }
    }

    /// Whatever did not reach the instance may be tried again.
    pub(super) fn try_again(&self, instance: u64) {
        self.books().try_again(Some(instance));
    }

    /// Until when values up to number `newest` need not be tried again.
    pub(super) fn not_before(&self, instance: u64, newest: u64) -> Option<Instant> {
        let books = self.books();
        let refused = books.of.get(&instance)?.refused?;
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

    /// The slots with instances by key that have something that is not the newest, or are being built with it. Each such
    /// instance is named once: nobody tells it, it is exchanged for another when its key is next asked for.
    pub(super) fn keys_with_old(&self, store: &Store) -> BTreeSet<Slot> {
        let mut books = self.books();
        let is_old = |book: &Book| {
            let mut handed = book.has.iter().chain(&book.tried);
            book.has_key && handed.any(|handed| handed.is_old(store))
        };
        let old = books.of.extract_if(.., |_, book| is_old(book));
        old.map(|(_, book)| book.slot).collect()
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

    /// The number of the newest of these values of which `other` has an older one.
    fn newer_than(&self, other: &Self) -> Option<u64> {
        let newer = other.versions.iter().filter_map(|(reference, version)| {
            let mine = self.versions.get(reference)?;
            (mine > version).then_some(*mine)
        });
        newer.max()
    }
}

impl Books {
    /// An instance is in service for the first time, or again, with what it had.
    fn came(&mut self, instance: u64) {
        if let Some(book) = self.of.get_mut(&instance)
            && book.has.is_none()
        {
            book.has = book.tried.take();
        }
    }

    /// An exchange of what serves `slot` is over: whatever else was handed out for it came to nothing. One that is only
    /// tried out meanwhile never serves.
    fn settle(&mut self, slot: &Slot) {
        let of_slot = |book: &&mut Book| book.slot == *slot && !book.has_key;
        for book in self.of.values_mut().filter(of_slot) {
            book.tried = None;
        }
    }

    /// Holds what serves a slot now against what did.
    fn serves(&mut self, slot: &Slot, instance: u64) {
        let before = self.serving.insert(slot.clone(), instance);
        let before = before.and_then(|before| self.of.get(&before));
        let (Some(before), Some(book)) = (before, self.of.get(&instance)) else {
            return;
        };
        if before.provider != book.provider {
            return;
        }
        let (newer, older) = (book.newer_than(before), before.newer_than(book));
        let provider = book.provider.clone();
        if newer.is_some() {
            self.enter(slot, provider, How::Exchanged);
        }
        // It serves again because its successor did worse, and that may be due to the newer value.
        if let Some(newest) = older
            && let Some(book) = self.of.get_mut(&instance)
        {
            let until = Instant::now() + AGAIN;
            book.refused = Some(Refused { newest, until });
        }
    }

    /// An instance took what was handed out for it.
    fn told(&mut self, instance: u64) {
        let Some(book) = self.of.get_mut(&instance) else {
            return;
        };
        let Some(tried) = book.tried.take() else {
            return;
        };
        book.refused = None;
        let before = book.has.replace(tried);
        let newer = before.and_then(|before| book.has.as_ref()?.newer_than(&before));
        if newer.is_some() {
            let (slot, provider) = (book.slot.clone(), book.provider.clone());
            self.enter(&slot, provider, How::Told);
        }
    }

    fn try_again(&mut self, instance: Option<u64>) {
        if let Some(book) = instance.and_then(|instance| self.of.get_mut(&instance)) {
            book.refused = None;
        }
    }

    fn enter(&mut self, slot: &Slot, provider: Provider, how: How) {
        if self.journal.len() == JOURNAL {
            self.journal.pop_front();
            self.forgotten += 1;
        }
        let slot = slot.clone();
        self.journal.push_back(Reached {
            slot,
            provider,
            how,
        });
    }
}
