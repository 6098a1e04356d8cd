//! The pointers of slots move here, under the rules that hold at that moment.
//!
//! The rules are locked from finding out what holds for an instance until its slot points at it and the one before is in
//! the books as closed. So whoever sets a rule finds every instance, the one that serves or one that finishes its work.

use std::sync::Arc;

use oneiric_core::Slot;

use crate::activity::{ActivityState, Effective, Rules};
use crate::cell::{Rejected, SlotCell, Was};
use crate::inner::Inner;
use crate::observe::Happening;
use crate::pause::Pausing;
use crate::running::{Published, Running};

impl Inner {
    /// Puts an instance in service under the rules that hold for it.
    pub(crate) fn put_in_service(
        self: &Arc<Self>,
        cell: &Arc<SlotCell>,
        next: Arc<Published>,
    ) -> Result<Was, Rejected> {
        let at = self.clock.now();
        let rules = self.rules();
        let activity = activity_of(&rules, &cell.slot, Some(&next.running));
        let result = cell.publish(next, activity);
        if let Ok(Was {
            published: Some(old),
            ..
        }) = &result
        {
            // Before the rules are let go, so that whoever drains the slot next finds it.
            cell.ledger().closed(old, at);
        }
        drop(rules);
        self.tell(cell);
        result
    }

    /// As [`Inner::put_in_service`] for several slots, none of them twice: all are exchanged, or none is. Gives what
    /// each pointed at; or which does not take its instance, and why.
    pub(crate) fn put_all_in_service(
        self: &Arc<Self>,
        next: Vec<(&Arc<SlotCell>, Arc<Published>)>,
    ) -> Result<Vec<Was>, (usize, Rejected)> {
        let at = self.clock.now();
        let rules = self.rules();
        let mut doorways = Vec::with_capacity(next.len());
        for (place, (cell, published)) in next.iter().enumerate() {
            let doorway = cell.doorway();
            if let Err(rejected) = doorway.admits(&published.running) {
                return Err((place, rejected));
            }
            doorways.push(doorway);
        }
        let mut exchanged = Vec::with_capacity(next.len());
        for ((cell, published), doorway) in next.into_iter().zip(doorways) {
            let activity = activity_of(&rules, &cell.slot, Some(&published.running));
            exchanged.push((cell, doorway.exchange(published, activity)));
        }
        for (cell, was) in &exchanged {
            if let Some(old) = &was.published {
                cell.ledger().closed(old, at);
            }
        }
        drop(rules);
        for (cell, _) in &exchanged {
            self.tell(cell);
        }
        Ok(exchanged.into_iter().map(|(_, was)| was).collect())
    }

    /// Takes what serves out of service; rules for its provider do not hold any more then.
    pub(crate) fn take_out_of_service(&self, cell: &SlotCell) -> Was {
        let at = self.clock.now();
        let rules = self.rules();
        let activity = rules.effective(&cell.slot, None);
        let was = cell.unpublish(activity);
        if let Some(old) = &was.published {
            cell.ledger().closed(old, at);
        }
        drop(rules);
        was
    }

    /// Tells when a swap changed whether the slot takes work, because another provider's rules apply.
    pub(crate) fn announce_if_changed(&self, cell: &SlotCell, before: &ActivityState) {
        // A slot's activity is told of once, and not for each of its keys.
        if cell.key.is_some() {
            return;
        }
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
}

/// What holds for `slot` while `running` serves it, for now: an instance that was paused is told that it
/// is not before its slot opens.
pub(crate) fn activity_of(rules: &Rules, slot: &Slot, running: Option<&Running>) -> Effective {
    let provider = running.map(|running| running.candidate.provider());
    let holds = rules.effective(slot, provider);
    let pausing = running.and_then(|running| running.pausing.as_ref());
    if holds.state.is_running() && pausing.is_some_and(Pausing::is_closed) {
        return Effective::resuming(slot);
    }
    holds
}
