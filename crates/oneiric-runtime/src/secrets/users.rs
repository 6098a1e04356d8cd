//! Which values the instances of the process were given, by number.
//!
//! What an attempt was given counts once its instance serves or says that it took it. An attempt that is rolled back
//! leaves the old instance with the old values, and the books have to say so, or it would never be told again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use oneiric_core::{Provider, Slot};
use oneiric_domains::SecretRef;
use oneiric_lifecycle::{Happening, SwapEvent};

use super::store::Store;

type Versions = BTreeMap<SecretRef, u64>;

/// Who was given which values.
#[derive(Default)]
pub(super) struct Users {
    books: Mutex<BTreeMap<(Slot, Provider), Book>>,
}

#[derive(Default)]
struct Book {
    /// What the instance that serves was given, or the next one will have been.
    serving: Option<Versions>,
    /// What was handed out since and is not in service yet.
    tried: Option<Versions>,
}

impl Users {
    /// Notes what is handed out to build an instance, or to tell one.
    pub(super) fn given(&self, to: (Slot, Provider), versions: Versions) {
        let mut books = self.books();
        // Most components have no secrets and need no book.
        if !versions.is_empty() || books.contains_key(&to) {
            books.entry(to).or_default().tried = Some(versions);
        }
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
            if serves && tried.is_some() {
                book.serving = tried;
            }
        }
    }

    /// Whether the instance of `provider` that serves `slot` was given something that is not the newest.
    pub(super) fn is_outdated(&self, slot: &Slot, provider: &Provider, store: &Store) -> bool {
        let books = self.books();
        let book = books.get(&(slot.clone(), provider.clone()));
        let serving = book.and_then(|book| book.serving.as_ref());
        serving.is_some_and(|versions| {
            versions
                .iter()
                .any(|(reference, version)| store.version(reference) > *version)
        })
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<(Slot, Provider), Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
