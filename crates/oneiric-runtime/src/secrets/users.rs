//! What the instances of the process were handed: which settings, and which values of secrets, by number.
//!
//! What an attempt was handed counts once its instance serves or says that it took it. An attempt that is rolled back
//! leaves the old instance with the old values, and the books have to say so, or it would never be told again.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Who was handed what.
#[derive(Default)]
pub(super) struct Users {
    books: Mutex<BTreeMap<(Slot, Provider), Book>>,
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
}

impl Users {
    /// Notes what is handed out to build an instance, or to tell one.
    pub(super) fn given(&self, to: (Slot, Provider), handed: Handed) {
        self.books().entry(to).or_default().tried = Some(handed);
    }

    pub(super) fn observe(&self, event: &SwapEvent) {
        let (provider, serves) = match &event.what {
            Happening::Published { to, .. } => (to, true),
            Happening::Reconfigured { provider, .. } => (provider, true),
            Happening::RolledBack { provider, .. }
            | Happening::ActivationFailed { provider, .. } => (provider, false),
            _ => return,
        };
        let mut books = self.books();
        if let Some(book) = books.get_mut(&(event.slot.clone(), provider.clone())) {
            let tried = book.tried.take();
            if serves {
                book.refused = None;
                book.serving = tried.or_else(|| book.serving.take());
            }
        }
    }

    /// The settings that the instance of `provider` that serves `slot` was handed last; `None` when nobody knows.
    pub(super) fn handed(&self, slot: &Slot, provider: &Provider) -> Option<Option<Value>> {
        let books = self.books();
        let book = books.get(&(slot.clone(), provider.clone()))?;
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
            .get(&(slot.clone(), provider.clone()))?
            .outdated(named, store)
    }

    /// Notes that the values up to number `newest` did not reach the instance, and until when that need not be tried
    /// again.
    pub(super) fn refused(&self, slot: &Slot, provider: &Provider, newest: u64, until: Instant) {
        let mut books = self.books();
        if let Some(book) = books.get_mut(&(slot.clone(), provider.clone())) {
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
        let refused = books.get(&(slot.clone(), provider.clone()))?.refused?;
        (newest <= refused.newest).then_some(refused.until)
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<(Slot, Provider), Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
