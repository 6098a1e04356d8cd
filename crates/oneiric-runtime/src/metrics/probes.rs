//! How often probes said what, and how often what was decided. The lifecycle keeps the last of them only, so they are
//! counted as they come.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oneiric_core::Slot;
use oneiric_lifecycle::{DecisionKind, Happening, SwapEvent};

/// Everything that a probe can come to, so that each is there with 0 before it happens.
pub(super) const RESULTS: [&str; 6] = [
    "ok",
    "warn",
    "temporarily_unavailable",
    "critical",
    "probe_error",
    "not_asked",
];

/// Probes that were answered, by slot and result, and decisions, by slot, kind and outcome. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    probes: BTreeMap<Slot, BTreeMap<&'static str, u64>>,
    decisions: BTreeMap<Slot, BTreeMap<Decided, u64>>,
}

/// The kind of a decision and whether it was carried out.
type Decided = (DecisionKind, &'static str);

impl Probes {
    /// Is an observer of the lifecycle.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        // Of what serves the slot; there may be very many by key.
        if event.key.is_some() {
            return;
        }
        match &event.what {
            Happening::Probed { health, .. } => {
                let mut counts = self.counts();
                let of_slot = counts.probes.entry(event.slot.clone()).or_default();
                *of_slot.entry(health.name()).or_default() += 1;
            }
            Happening::Decided { decision } => {
                let outcome = outcome(decision.failure.is_some());
                let mut counts = self.counts();
                let of_slot = counts.decisions.entry(event.slot.clone()).or_default();
                *of_slot.entry((decision.kind, outcome)).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Every kind, so that each is there with 0 before it happens.
    pub(super) fn decisions(&self, slot: &Slot) -> Vec<(Decided, u64)> {
        let counts = self.counts();
        let of_slot = counts.decisions.get(slot);
        let count = |decided: &Decided| of_slot.and_then(|counts| counts.get(decided)).copied();
        let kinds = DecisionKind::ALL.into_iter();
        let all = kinds.flat_map(|kind| [false, true].map(|failed| (kind, outcome(failed))));
        all.map(|decided| (decided, count(&decided).unwrap_or_default()))
            .collect()
    }

    pub(super) fn of(&self, slot: &Slot) -> [(&'static str, u64); RESULTS.len()] {
        let counts = self.counts();
        let of_slot = counts.probes.get(slot);
        RESULTS.map(|result| {
            let count = of_slot.and_then(|counts| counts.get(result));
            (result, count.copied().unwrap_or_default())
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn outcome(failed: bool) -> &'static str {
    if failed { "failed" } else { "done" }
}
