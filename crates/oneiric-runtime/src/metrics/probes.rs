//! How often probes said what. The lifecycle keeps the last answer only, so they are counted as they come.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::Slot;
use oneiric_lifecycle::{Happening, SwapEvent};

/// Everything that a probe can come to, so that each is there with 0 before it happens.
pub(super) const RESULTS: [&str; 5] = [
    "ok",
    "warn",
    "temporarily_unavailable",
    "critical",
    "probe_error",
];

/// Probes that were answered, by slot and result. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes(Arc<Mutex<Counts>>);

type Counts = BTreeMap<Slot, BTreeMap<&'static str, u64>>;

impl Probes {
    /// Is an observer of the lifecycle.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        if let Happening::Probed { health, .. } = &event.what {
            let mut counts = self.counts();
            let of_slot = counts.entry(event.slot.clone()).or_default();
            *of_slot.entry(health.name()).or_default() += 1;
        }
    }

    pub(super) fn of(&self, slot: &Slot) -> [(&'static str, u64); 5] {
        let counts = self.counts();
        let of_slot = counts.get(slot);
        RESULTS.map(|result| {
            let count = of_slot.and_then(|counts| counts.get(result));
            (result, count.copied().unwrap_or_default())
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
