//! What a reload finds: each slot as it is, and what other settings would come to.

use std::{collections::BTreeMap, sync::Arc};

use oneiric_core::{Origin, Registry, RegistryConfig, SelectionLayer, Slot, Snapshot};
use oneiric_lifecycle::{Activity, ActivityScope};

use super::{
    Plan, diff,
    plan::{self, Now, StandsFor},
};
use crate::{runtime::Runtime, settings::Settings};

impl Runtime {
    /// What goes from `old` to `new` settings.
    pub(super) fn plan_to(
        &self,
        old: &Settings,
        new: &Settings,
        slots: &BTreeMap<Slot, Now>,
    ) -> Plan {
        let keys = diff::keys(old, new);
        let after = preview(self.registry(), new);
        let steps = plan::steps(old, new, &after, slots);
        let changes = !keys.is_empty() || !steps.is_empty() || !diff::slots(old, new).is_empty();
        Plan {
            keys,
            changes,
            steps,
        }
    }

    /// Every slot that there is or will be.
    pub(super) fn slots_of(&self, new: &Settings) -> BTreeMap<Slot, Now> {
        let mut slots: BTreeMap<Slot, Now> = self
            .lifecycle()
            .statuses()
            .into_iter()
            .map(|status| (status.slot.clone(), self.now(&status.slot)))
            .collect();
        for declared in &new.candidates {
            let slot = declared.candidate.slot();
            if !slots.contains_key(slot) {
                slots.insert(slot.clone(), self.now(slot));
            }
        }
        slots
    }

    pub(super) fn now(&self, slot: &Slot) -> Now {
        let status = self.lifecycle().status(slot);
        let snapshot = self.registry().snapshot();
        let operator = snapshot
            .selection(slot)
            .is_some_and(|selection| selection.layer == SelectionLayer::Operator);
        let holders = self.lifecycle().holders(slot);
        Now {
            // Asked of the rules and not of the status, which a slot without candidates has none of.
            closed: Some(
                self.lifecycle()
                    .activity_of(&ActivityScope::Slot(slot.clone()))
                    .activity,
            )
            .filter(|activity| *activity != Activity::Running)
            .map(Activity::name),
            active: status
                .and_then(|status| status.active)
                .map(|active| (active.provider, active.origin)),
            on_trial: holders
                .iter()
                .filter(|holder| self.needs_it_for_a_trial(holder, slot))
                .cloned()
                .collect(),
            holders,
            operator,
            waits: self.stands_for(slot),
        }
    }

    /// Whether `holder` needs `slot` only for the instance that is kept warm until its trial is over.
    fn needs_it_for_a_trial(&self, holder: &Slot, slot: &Slot) -> bool {
        let needs = self.lifecycle().serving(holder).is_some_and(|serving| {
            serving.requires().contains(slot) || serving.optional_requires().contains(slot)
        });
        !needs && self.lifecycle().baking(holder).is_some()
    }

    /// What a slot stands for whose change waits.
    fn stands_for(&self, slot: &Slot) -> Option<StandsFor> {
        let waiting = self.inner.reload.held.waiting(slot)?;
        let serving = self.lifecycle().serving(slot);
        let instance = self.serving(slot).map(|(_, instance)| instance);
        Some(StandsFor {
            selected: waiting.selected,
            configured: instance.and_then(|instance| self.inner.secrets.handed(instance)),
            candidate: serving.map(|serving| serving.candidate().clone()),
        })
    }
}

/// The registry as it would be with other settings. Made from scratch: nobody sees it.
pub(super) fn preview(registry: &Registry, new: &Settings) -> Arc<Snapshot> {
    let config = RegistryConfig::default()
        .with_default_priority(new.default_priority)
        .with_ties(new.ties);
    let scratch = Registry::with_config(config);
    let now = registry.snapshot();
    let declared = new
        .candidates
        .iter()
        .map(|declared| declared.candidate.clone());
    // Checked when the settings were read: one origin, no name twice.
    drop(scratch.replace_origin(&Origin::settings(), declared));
    let mut others: Vec<_> = now
        .active()
        .chain(now.shadowed())
        .filter(|held| *held.origin() != Origin::settings())
        .cloned()
        .collect();
    others.sort_by_key(oneiric_core::Registered::sequence);
    for held in others {
        scratch.register(held.candidate().clone()).keep();
    }
    scratch.set_selections(SelectionLayer::Settings, new.selections.iter().cloned());
    for slot in now.slots() {
        if let Some(selection) = now.selection(slot)
            && selection.layer == SelectionLayer::Operator
        {
            scratch.select(SelectionLayer::Operator, slot, Some(selection.provider));
        }
    }
    scratch.snapshot()
}
