//! Changes that wait: a slot that takes no work is exchanged by hand only, so what settings ask of it is done when it is
//! resumed, however many reloads there are until then. And a slot that goes waits for a trial whose warm instance needs it.
//!
//! Kept is not what is to be done but what the slot stands for. What is to be done follows from that and the settings in
//! force at the moment of resuming: a change that was taken back meanwhile is none.
//!
//! What a slot stands for has two parts. Whom the settings selected when it last got what they want is kept here; only an
//! operator's swap or doing what waits ends it. From which candidate and with which settings its instance was built is
//! not kept here but looked up: a rotation exchanges the instance for one with the settings in force, and who serves is
//! as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use oneiric_core::{Provider, Slot};
use oneiric_lifecycle::{Happening, SwapEvent};
use tokio::sync::Notify;

use crate::{
    api::{HeldDoc, ReloadFailure},
    service::unix_ms,
};

/// The slots whose change waits.
#[derive(Debug, Default)]
pub(crate) struct Held {
    slots: Mutex<BTreeMap<Slot, Waiting>>,
    /// Those for which somebody waits until trials are over.
    trials: Mutex<BTreeSet<Slot>>,
    resumed: Notify,
}

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// Whom the settings selected that the slot stands for, and whether they had a candidate of it.
    pub(super) selected: Option<(Provider, bool)>,
    pub(super) since: SystemTime,
    pub(super) failed: Option<ReloadFailure>,
}

impl Held {
    /// Is an observer of the lifecycle.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        if matches!(event.what, Happening::ActivityChanged { .. }) {
            // Whose it is does not matter: whoever waits looks at its own slot.
            self.resumed.notify_one();
        }
    }

    /// Whether nobody waits yet until the trials are over that `slot` is kept for. Who is told so is to.
    pub(super) fn awaits_trials(&self, slot: &Slot) -> bool {
        self.trials().insert(slot.clone())
    }

    /// They are.
    pub(super) fn trials_are_over(&self, slot: &Slot) {
        self.trials().remove(slot);
        self.resumed.notify_one();
    }

    fn trials(&self) -> MutexGuard<'_, BTreeSet<Slot>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some slot may have been resumed, or some trial be over, since this was last awaited. Cancel-safe.
    pub(super) async fn resumed(&self) {
        self.resumed.notified().await;
    }

    pub(super) fn waiting(&self, slot: &Slot) -> Option<Waiting> {
        self.slots().get(slot).cloned()
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

    /// Has `slot` wait; since when and for whom stays as it was if it does already. Whether it is new.
    pub(super) fn hold(
        &self,
        slot: &Slot,
        selected: Option<(Provider, bool)>,
        since: SystemTime,
    ) -> bool {
        let mut slots = self.slots();
        let is_new = !slots.contains_key(slot);
        slots.entry(slot.clone()).or_insert_with(|| Waiting {
            selected,
            since,
            failed: None,
        });
        is_new
    }

    /// Whether it waited.
    pub(crate) fn release(&self, slot: &Slot) -> bool {
        self.slots().remove(slot).is_some()
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
