//! Whose turn it is with a slot: operators' swaps, reloads, new secrets and what the lifecycle decides by itself
//! exchange one instance after the other, each
//! with the settings that are in force when its turn comes.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use oneiric_core::{BoxFuture, Slot};
use oneiric_lifecycle::SlotTurns;

/// One lock for each slot. Cheap to clone; all clones have the same locks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<BTreeMap<Slot, Turn>>>);

type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    /// The lock of `slot`, fair in the order in which it is asked for. Ask only for slots that exist: each is
    /// remembered. Whoever takes several takes them in the order of their names, and those who hold one alone wait for
    /// no other.
    pub(crate) fn of(&self, slot: &Slot) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(slot.clone()).or_default())
    }
}

/// Turns that are let go of in the middle of the work that they were taken for: when other instances serve. At the end
/// of the work at the latest, for whoever does it keeps one of these.
pub(crate) struct UntilPublished<T>(Arc<Mutex<Option<T>>>);

impl<T> UntilPublished<T> {
    pub(crate) fn new(turns: T) -> Self {
        Self(Arc::new(Mutex::new(Some(turns))))
    }

    /// Whoever waited is next.
    pub(crate) fn let_go(&self) {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turns);
    }
}

impl<T> Clone for UntilPublished<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl SlotTurns for Turns {
    fn acquire<'a>(&'a self, slot: &'a Slot) -> BoxFuture<'a, Box<dyn Any + Send>> {
        let turn = self.of(slot);
        Box::pin(async move { Box::new(turn.lock_owned().await) as _ })
    }
}
