//! Pausing, draining and resuming: rules are set here, and every slot they concern is told at once.
//!
//! The rules are locked while the slots are told and while an instance is put in service. So a rule
//! finds every slot and whoever serves it, and an instance goes into service under the rules that
//! hold at that moment.

use std::sync::Arc;

use oneiric_core::Slot;

use crate::activity::{ActivityRule, ActivityScope, ActivityState};
use crate::cell::{Rejected, SlotCell, Was};
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::running::Published;

impl Lifecycle {
    /// Pauses, drains or resumes a slot, a provider in it or a domain, at once for every lease asked
    /// for after this returns. Gives the rule that held for the same scope before.
    ///
    /// A rule for a domain holds for slots that appear later, too. One for a provider holds while it
    /// serves: a swap to another one opens the slot, a swap back closes it.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot. A rule that is there can always be lifted.
    pub fn set_activity(&self, rule: ActivityRule) -> Result<Option<ActivityRule>, LifecycleError> {
        if let Some(slot) = rule.scope.slot()
            && self.inner().known_cell(slot).is_none()
            && !self.inner().rules().has(&rule.scope)
        {
            return Err(self.inner().unresolved(slot));
        }
        Ok(self.inner().set_rule(rule))
    }

    /// Puts rules in force that somebody kept, also for slots that nobody knows yet.
    pub fn restore_activity(&self, rules: impl IntoIterator<Item = ActivityRule>) {
        for rule in rules {
            self.inner().set_rule(rule);
        }
    }

    /// The rules in force. A scope without one runs.
    pub fn activity_rules(&self) -> Vec<ActivityRule> {
        self.inner().rules().all()
    }
}

impl Inner {
    fn set_rule(&self, mut rule: ActivityRule) -> Option<ActivityRule> {
        rule.since.get_or_insert_with(|| self.clock.now());
        let mut rules = self.rules();
        let before = rules.set(rule.clone());
        // Let go of only when nothing is locked any more: what a slot pointed at may run other
        // people's code when it goes.
        let mut were = Vec::new();
        for cell in self.cells_in(&rule.scope) {
            let activity = rules.effective(&cell.slot, serving(&cell).as_ref());
            were.push(cell.set_activity(activity));
        }
        drop(rules);
        drop(were);
        for slot in self
            .known_slots()
            .iter()
            .filter(|slot| rule.scope.concerns(slot))
        {
            self.announce_activity(slot, &rule);
        }
        before
    }

    /// Puts an instance in service under the rules that hold for it.
    pub(crate) fn put_in_service(
        &self,
        cell: &SlotCell,
        next: Arc<Published>,
    ) -> Result<Was, Rejected> {
        let rules = self.rules();
        let provider = next.running.candidate.provider();
        let activity = rules.effective(&cell.slot, Some(provider));
        let result = cell.publish(next, activity);
        drop(rules);
        result
    }

    /// Takes what serves out of service; rules for its provider do not hold any more then.
    pub(crate) fn take_out_of_service(&self, cell: &SlotCell) -> Was {
        let rules = self.rules();
        let activity = rules.effective(&cell.slot, None);
        let was = cell.unpublish(activity);
        drop(rules);
        was
    }

    /// Tells when a swap changed whether the slot takes work, because another provider's rules apply.
    pub(crate) fn announce_if_changed(&self, cell: &SlotCell, before: &ActivityState) {
        let now = cell.activity();
        let Some(scope) = now.scope.clone().or_else(|| before.scope.clone()) else {
            return;
        };
        if now.activity != before.activity {
            self.announce(
                &cell.slot,
                Happening::ActivityChanged {
                    scope,
                    activity: now.activity,
                    note: now.note,
                    who: now.who,
                    until: now.until,
                },
            );
        }
    }

    fn announce_activity(&self, slot: &Slot, rule: &ActivityRule) {
        let activity = match self.existing_cell(slot) {
            Some(cell) => cell.activity().activity,
            None => self.rules().effective(slot, None).state.activity,
        };
        self.announce(
            slot,
            Happening::ActivityChanged {
                scope: rule.scope.clone(),
                activity,
                note: rule.note.clone(),
                who: rule.who.clone(),
                until: rule.until,
            },
        );
    }

    /// The slots in use that `scope` is about.
    fn cells_in(&self, scope: &ActivityScope) -> Vec<Arc<SlotCell>> {
        match scope.slot() {
            Some(slot) => self.existing_cell(slot).into_iter().collect(),
            None => self
                .slots
                .iter()
                .filter(|entry| scope.concerns(entry.key()))
                .map(|entry| Arc::clone(entry.value()))
                .collect(),
        }
    }
}

fn serving(cell: &SlotCell) -> Option<oneiric_core::Provider> {
    let published = cell.published()?;
    Some(published.running.candidate.provider().clone())
}
