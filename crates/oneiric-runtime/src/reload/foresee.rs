//! What can be known to fail before it is begun.

use std::collections::BTreeMap;

use oneiric_core::{Dependencies, Provider, Query, Slot, Snapshot};
use oneiric_lifecycle::LifecycleError;

use super::{
    apply::{failure, of},
    plan::{Act, Step},
};
use crate::{api::ReloadFailure, runtime::Runtime};

impl Runtime {
    /// What can be known to fail is not begun: an instance of something that needs a slot without candidates (it may
    /// still serve, and wait to be retired), and retiring anything as long as one of those that go is needed by others.
    pub(super) fn must_be_possible(
        &self,
        step: &Step,
        steps: &[Step],
    ) -> Result<(), ReloadFailure> {
        let slot = &step.slot;
        if step.act == Act::Retire {
            let goes = |slot: &Slot| {
                let goes = |step: &Step| step.act == Act::Retire && step.slot == *slot;
                steps.iter().any(goes)
            };
            for going in steps.iter().filter(|step| step.act == Act::Retire) {
                let holders = self.lifecycle().holders(&going.slot).into_iter();
                let holders: Vec<Slot> = holders.filter(|holder| !goes(holder)).collect();
                if !holders.is_empty() && going.held.is_none() {
                    let slot = going.slot.clone();
                    let error = LifecycleError::InUse { slot, holders };
                    return Err(of(&going.slot, &error));
                }
            }
            return Ok(());
        }
        let snapshot = self.registry().snapshot();
        let winner = snapshot.winner(slot);
        let builds = winner.filter(|winner| step.to.as_ref() == Some(winner.provider()));
        let needs = builds.map(|winner| winner.requires()).unwrap_or_default();
        match needs.iter().find(|need| !snapshot.contains(need)) {
            None => Ok(()),
            Some(need) => {
                let message = format!("requires {need}, for which there is no candidate");
                Err(failure(Some(slot), "lifecycle.dependency_failed", &message))
            }
        }
    }

    /// Requirements that would go round in a ring once the steps are done are known before any is begun, and before the
    /// candidates are there: `snapshot` is the registry as it will be.
    pub(super) fn must_close_no_ring(
        &self,
        steps: &[Step],
        snapshot: &Snapshot,
    ) -> Result<(), ReloadFailure> {
        let builds = |step: &&Step| {
            step.held.is_none() && !matches!(step.act, Act::Retire | Act::Reconfigure)
        };
        let built: BTreeMap<&Slot, Option<&Provider>> = steps
            .iter()
            .filter(builds)
            .map(|step| (&step.slot, step.to.as_ref()))
            .collect();
        if built.is_empty() {
            return Ok(());
        }
        let mut graph = Dependencies::new();
        for slot in snapshot.slots() {
            let candidate = match built.get(slot) {
                Some(Some(provider)) => {
                    let query = Query::new(slot.clone()).provider((*provider).clone());
                    snapshot.resolve(&query).ok()
                }
                Some(None) => snapshot.winner(slot).cloned(),
                None => {
                    let serving = self.lifecycle().serving(slot);
                    serving.or_else(|| snapshot.winner(slot).cloned())
                }
            };
            if let Some(candidate) = candidate {
                graph.add(&candidate);
            }
        }
        for ring in graph.cycles().0 {
            if let Some(slot) = ring.iter().find(|slot| built.contains_key(slot)) {
                let path: Vec<&str> = ring.iter().map(Slot::as_str).collect();
                let message = format!("requires itself: {}", path.join(" -> "));
                return Err(failure(Some(slot), "lifecycle.dependency_cycle", &message));
            }
        }
        Ok(())
    }
}
