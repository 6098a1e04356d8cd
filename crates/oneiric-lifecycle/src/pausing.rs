//! Pausing, draining and resuming: rules are set here, and every slot they concern is told at once.
//!
//! The rules are locked while the slots are told and while an instance is put in service (see `in_service.rs`). So a
//! rule finds every slot and whoever serves it, and an instance goes into service under the rules that hold at that
//! moment.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oneiric_core::{Provider, Slot};

use crate::activity::{Activity, ActivityRule, ActivityScope, ActivityState, Effective};
use crate::cell::{SlotCell, Was};
use crate::drain_watch::DrainWatch;
use crate::error::LifecycleError;
use crate::in_service::activity_of;
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;

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

    /// The rule for `scope` itself; `None` if it runs as far as that goes.
    pub fn activity_rule(&self, scope: &ActivityScope) -> Option<ActivityRule> {
        self.inner().rules().of(scope)
    }

    /// What holds for `scope`, other rules considered: for a slot what callers meet, for a provider what
    /// they meet while it serves, for a domain its own rule.
    pub fn activity_of(&self, scope: &ActivityScope) -> ActivityState {
        let rules = self.inner().rules();
        match scope {
            ActivityScope::Domain(_) => rules
                .of(scope)
                .map_or(ActivityState::running(), |rule| ActivityState::from(&rule)),
            ActivityScope::Slot(slot) => {
                let cell = self.inner().existing_cell(slot);
                let provider = cell.and_then(|cell| serving(&cell));
                rules.effective(slot, provider.as_ref()).state
            }
            ActivityScope::Provider(slot, provider) => rules.effective(slot, Some(provider)).state,
        }
    }

    /// The known slots that `scope` is about, by name. A domain's may grow.
    pub fn slots_in(&self, scope: &ActivityScope) -> Vec<Slot> {
        let mut slots = self.inner().known_slots();
        slots.retain(|slot| scope.concerns(slot));
        slots.into_iter().collect()
    }

    /// For how long the oldest work in `scope` has been under way, of that which is known: calls by name
    /// and what [`Lease::noted`](crate::Lease::noted) says.
    pub fn oldest_work(&self, scope: &ActivityScope) -> Option<Duration> {
        let cells = self.inner().cells_in(scope);
        cells
            .iter()
            .filter_map(|cell| oldest_work(cell, scope))
            .max()
    }

    /// Leases that are out in `scope`: on what serves, on instances that finish their work after a
    /// swap, and on those that were retired under them.
    pub fn in_flight(&self, scope: &ActivityScope) -> u64 {
        let cells = self.inner().cells_in(scope);
        cells.iter().map(|cell| in_flight(cell, scope)).sum()
    }

    /// Whether `scope` is draining and nothing runs in it any more.
    pub fn is_drained(&self, scope: &ActivityScope) -> bool {
        let watch = self.inner().rules().watch(scope);
        watch.is_some_and(|watch| watch.is_empty())
    }

    /// Waits until nothing runs any more in `scope`, which is draining, or it does not drain any more.
    /// Cancel-safe.
    pub async fn drained(&self, scope: &ActivityScope) -> DrainEnd {
        loop {
            let Some(watch) = self.inner().rules().watch(scope) else {
                return DrainEnd::Lifted;
            };
            tokio::select! {
                biased;
                () = watch.empty.cancelled() => return DrainEnd::Empty,
                // Perhaps only to be drained anew, with another note.
                () = watch.ended.cancelled() => {}
            }
        }
    }
}

/// How waiting for a draining scope ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainEnd {
    /// Nothing runs in it any more.
    Empty,
    /// It does not drain: it was resumed or paused, its time was up, or nobody had drained it.
    Lifted,
}

impl Inner {
    fn set_rule(self: &Arc<Self>, mut rule: ActivityRule) -> Option<ActivityRule> {
        // Asked here, for nothing is locked yet.
        let now = self.clock.now();
        rule.since.get_or_insert(now);
        let watch = (rule.activity == Activity::Draining)
            .then(|| DrainWatch::new(rule.scope.clone(), Arc::downgrade(self)));
        let mut rules = self.rules();
        let before = rules.set(rule.clone(), watch.clone());
        let mut were = Vec::new();
        let cells = self.cells_in(&rule.scope);
        for cell in &cells {
            let published = cell.published();
            let running = published.as_ref().map(|one| one.running.as_ref());
            let activity = activity_of(&rules, &cell.slot, running);
            // Counts as a lease.
            drop(published);
            match &watch {
                Some(watch) => were.extend(drain_cell(cell, activity, &rule.scope, watch, now)),
                None => cell.set_activity(activity),
            }
        }
        drop(rules);
        let slots = self.slots_in(&rule.scope);
        for slot in &slots {
            self.announce_activity(slot, &rule);
        }
        for cell in &cells {
            self.tell(cell);
        }
        // What waited until work is taken again.
        self.follow_dependencies(slots);
        // Only now that nothing is locked: with the last reference to what a slot pointed at, the
        // scope may be empty, and observers are told so.
        drop(were);
        if let Some(watch) = watch {
            watch.one_ended();
        }
        before
    }

    pub(crate) fn announce_drained(&self, scope: &ActivityScope) {
        for slot in self.slots_in(scope) {
            let scope = scope.clone();
            self.announce(&slot, Happening::Drained { scope });
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

    /// The slots that `scope` is about, used or not.
    fn slots_in(&self, scope: &ActivityScope) -> Vec<Slot> {
        match scope.slot() {
            Some(slot) => vec![slot.clone()],
            None => {
                let mut slots = self.known_slots();
                slots.retain(|slot| scope.concerns(slot));
                slots.into_iter().collect()
            }
        }
    }

    /// The cells in use that `scope` is about: those of slots, and of instances by key.
    pub(crate) fn cells_in(&self, scope: &ActivityScope) -> Vec<Arc<SlotCell>> {
        let mut cells: Vec<Arc<SlotCell>> = match scope.slot() {
            Some(slot) => self.existing_cell(slot).into_iter().collect(),
            None => self
                .slots
                .iter()
                .filter(|entry| scope.concerns(entry.key()))
                .map(|entry| Arc::clone(entry.value()))
                .collect(),
        };
        cells.extend(self.keyed_cells(|slot| scope.concerns(slot)));
        cells
    }
}

/// Lets nobody in any more by the entrances in use, and has `watch` wait for the work in `scope`.
fn drain_cell(
    cell: &SlotCell,
    activity: Effective,
    scope: &ActivityScope,
    watch: &Arc<DrainWatch>,
    at: SystemTime,
) -> Option<Was> {
    let in_scope = |provider: &Provider| scope.covers(&cell.slot, provider);
    let was = match serving(cell) {
        Some(provider) if in_scope(&provider) => Some(cell.set_draining(activity)),
        // Another provider serves: its calls go on.
        _ => {
            cell.set_activity(activity);
            None
        }
    };
    let mut ledger = cell.ledger();
    if let Some(Was {
        published: Some(old),
        ..
    }) = &was
    {
        ledger.closed(old, at);
    }
    for closing in ledger
        .closing()
        .filter(|closing| in_scope(&closing.provider))
    {
        closing.term.watch(watch);
    }
    was
}

fn oldest_work(cell: &SlotCell, scope: &ActivityScope) -> Option<Duration> {
    let in_scope = |provider: &Provider| scope.covers(&cell.slot, provider);
    let serves = cell
        .published()
        .filter(|published| in_scope(published.running.candidate.provider()))
        .and_then(|published| published.term.oldest_work());
    let ledger = cell.ledger();
    let closing = ledger
        .closing()
        .filter(|closing| in_scope(&closing.provider));
    serves.max(closing.filter_map(|one| one.term.oldest_work()).max())
}

pub(crate) fn in_flight(cell: &SlotCell, scope: &ActivityScope) -> u64 {
    let in_scope = |provider: &Provider| scope.covers(&cell.slot, provider);
    let serves = cell
        .published()
        .filter(|published| in_scope(published.running.candidate.provider()))
        .map_or(0, |published| published.in_flight());
    let ledger = cell.ledger();
    let closing = ledger
        .closing()
        .filter(|closing| in_scope(&closing.provider));
    serves
        + closing
            .map(|closing| closing.tally.in_flight())
            .sum::<u64>()
}

fn serving(cell: &SlotCell) -> Option<Provider> {
    let published = cell.published()?;
    Some(published.running.candidate.provider().clone())
}
