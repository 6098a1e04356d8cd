//! Changes that wait: a slot that takes no work is exchanged by hand only, so what settings ask of it is done when it is
//! resumed, however many reloads there are until then.
//!
//! Kept is not what is to be done but which settings the slot's instance stands for. What is to be done follows from
//! these and the settings in force at the moment of resuming: a change that was taken back meanwhile is none.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use oneiric_core::Slot;
use oneiric_lifecycle::{Happening, SwapEvent};
use tokio::sync::Notify;

use crate::{
    api::{HeldDoc, ReloadFailure},
    service::unix_ms,
    settings::Settings,
};

/// The slots whose change waits.
#[derive(Debug, Default)]
pub(crate) struct Held {
    slots: Mutex<BTreeMap<Slot, Waiting>>,
    resumed: Notify,
}

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// The settings that what serves was built with.
    pub(super) baseline: Arc<Settings>,
    pub(super) since: SystemTime,
    pub(super) failed: Option<ReloadFailure>,
}

impl Held {
    /// Is an observer of the lifecycle.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        match event.what {
            // Whatever was built now was built with the settings in force.
            Happening::Published { .. } => drop(self.slots().remove(&event.slot)),
            // Whose activity it is that changed does not matter: whoever waits looks at its own slot.
            Happening::ActivityChanged { .. } => self.resumed.notify_one(),
            _ => {}
        }
    }

    /// Some slot may have been resumed since this was last awaited. Cancel-safe.
    pub(super) async fn resumed(&self) {
        self.resumed.notified().await;
    }

    pub(super) fn baseline(&self, slot: &Slot) -> Option<Arc<Settings>> {
        self.slots()
            .get(slot)
            .map(|waiting| Arc::clone(&waiting.baseline))
    }

    pub(super) fn all(&self) -> BTreeMap<Slot, Waiting> {
        self.slots().clone()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    pub(crate) fn contains(&self, slot: &Slot) -> bool {
        self.slots().contains_key(slot)
    }

    /// Has `slot` wait; since when and from which settings stays as it was if it does already.
    pub(super) fn hold(&self, slot: &Slot, baseline: &Arc<Settings>, since: SystemTime) {
        let mut slots = self.slots();
        slots.entry(slot.clone()).or_insert_with(|| Waiting {
            baseline: Arc::clone(baseline),
            since,
            failed: None,
        });
    }

    pub(super) fn release(&self, slot: &Slot) {
        self.slots().remove(slot);
    }

    pub(super) fn failed(&self, slot: &Slot, failure: ReloadFailure) {
        if let Some(waiting) = self.slots().get_mut(slot) {
            waiting.failed = Some(failure);
        }
    }

    pub(super) fn docs(&self) -> Vec<HeldDoc> {
        self.slots()
            .iter()
            .map(|(slot, waiting)| HeldDoc {
                slot: slot.clone(),
                since_unix_ms: unix_ms(waiting.since),
                failed: waiting.failed.clone(),
            })
            .collect()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Slot, Waiting>> {
        // No foreign code runs under this lock, so a poisoned map is still a sound one.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
