//! Does what waited: for a slot to be resumed, or for a trial to be over whose warm instance needs what is to go.

use std::{collections::BTreeMap, sync::Arc};

use oneiric_core::Slot;

use super::{
    apply::Did,
    plan::{self, Step},
};
use crate::{runtime::Runtime, settings::Settings};

impl Runtime {
    /// Notes what waits from now on, and what waits no longer.
    pub(super) fn hold_and_release(&self, old: &Settings, steps: &[Step]) {
        let held = &self.inner.reload.held;
        let waits = |slot: &Slot| {
            steps
                .iter()
                .any(|step| step.held.is_some() && step.slot == *slot)
        };
        for slot in held.all().into_keys().filter(|slot| !waits(slot)) {
            self.release(&slot);
        }
        for step in steps.iter().filter(|step| step.held.is_some()) {
            let selected = plan::chosen(old, &step.slot);
            if held.hold(&step.slot, selected, self.inner.clock.now()) {
                self.say_held(step);
            }
            self.await_trials(step);
        }
    }

    /// Has what waits for trials looked at again when they are over.
    fn await_trials(&self, step: &Step) {
        let held = &self.inner.reload.held;
        if step.held != Some(plan::ON_TRIAL) || !held.awaits_trials(&step.slot) {
            return;
        }
        let (lifecycle, held) = (self.lifecycle().clone(), Arc::clone(held));
        let slot = step.slot.clone();
        tokio::spawn(async move {
            for holder in lifecycle.holders(&slot) {
                if let Some(baking) = lifecycle.baking(&holder) {
                    baking.ended().await;
                }
                // One that is over may still be at taking its instance down.
                lifecycle.settled(&holder).await;
            }
            held.trials_are_over(&slot);
        });
    }

    /// Does what waited for slots that take work again.
    pub(super) async fn apply_held(&self) {
        let _mine = Arc::clone(&self.inner.reload.turn).lock_owned().await;
        let held = &self.inner.reload.held;
        let (mut turns, mut slots) = (Vec::new(), BTreeMap::new());
        for slot in held.all().into_keys() {
            turns.push(self.inner.revisions.turn(&slot).lock_owned().await);
            slots.insert(slot.clone(), self.now(&slot));
        }
        let (settings, after) = (self.settings(), self.registry().snapshot());
        let steps = plan::steps(&settings, &settings, &after, &slots);
        for slot in slots.keys() {
            if !steps.iter().any(|step| step.slot == *slot) {
                self.release(slot);
            }
        }
        for step in &steps {
            if step.held.is_some() {
                self.await_trials(step);
                continue;
            }
            match self.do_step(step).await {
                Ok(did) => {
                    if let Did::Kept(baking) = did {
                        baking.release();
                    }
                    let (slot, why) = (step.slot.as_str(), step.doc().why.join(", "));
                    tracing::info!(slot, why, "did what waited");
                    held.release(&step.slot);
                    self.say_applied(step);
                }
                // Why is in the log already: each swap that fails says so.
                Err(failure) => {
                    self.say_failed(step, &failure);
                    held.failed(&step.slot, failure);
                }
            }
        }
    }
}
