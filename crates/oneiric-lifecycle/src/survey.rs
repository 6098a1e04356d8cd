//! Puts a slot's status together from its cell, its books and the registry.

use std::sync::Arc;

use oneiric_core::{Query, Registered, Slot};

use crate::activity::Activity;
use crate::decision::Decision;
use crate::inner::Inner;
use crate::judge::Judgement;
use crate::ledger::SwungBack;
use crate::running::{Calls, Published};
use crate::state::SlotState;
use crate::status::{
    ActiveStatus, CallCounts, Difference, DrainingStatus, LastError, SlotStatus, SwapCounts,
};
use crate::transition::same_component;

impl Inner {
    /// What is known about `slot`. A slot without a cell was never used and reads as inactive.
    pub(crate) fn status(&self, slot: &Slot) -> SlotStatus {
        let winner = self.registry.resolve(&Query::new(slot.clone())).ok();
        let mut status = SlotStatus {
            slot: slot.clone(),
            state: SlotState::Inactive,
            active: None,
            since: None,
            activity: self.rules().effective(slot, None).state,
            winner: winner.as_ref().map(|winner| winner.provider().clone()),
            differs: None,
            last_error: None,
            in_flight: 0,
            draining: Vec::new(),
            bake: None,
            calls: CallCounts::default(),
            swaps: SwapCounts::default(),
            swap_duration: None,
            keyed: self.keyed_status(slot),
            holders: self.graph.holders(slot),
            live_references: 0,
            health: None,
            judgement: Judgement::default(),
            trail: Vec::new(),
        };
        let Some(cell) = self.existing_cell(slot) else {
            return status;
        };
        let published = cell.published();
        status.activity = cell.activity();
        status.live_references = cell.live_references();
        status.calls = calls(&cell.calls, published.as_ref());
        let bake = cell.bake();
        let warm = bake.as_ref().map(|bake| bake.warm.number);
        status.bake = bake.map(|bake| Box::new(bake.status(&cell)));
        let ledger = cell.ledger();
        status.bake = status.bake.or_else(|| ledger.last_bake.clone());
        let serves = published.as_ref().map(|published| published.running.number);
        status.in_flight = published.as_ref().map_or(0, |published| {
            published.in_flight() + ledger.in_flight_of(published.running.number)
        });
        status.state = ledger.state;
        status.since = ledger.since;
        status.last_error.clone_from(&ledger.last_error);
        status.swaps = ledger.swaps;
        status.swap_duration = ledger.percentiles();
        status.health.clone_from(&ledger.health);
        status.trail = ledger.trail.to_vec();
        if Some(ledger.judge.instance()) == serves {
            status.judgement = ledger.judge.judgement();
        }
        status.draining = ledger
            .draining
            .iter()
            .filter(|draining| Some(draining.instance) != serves && Some(draining.instance) != warm)
            .map(|draining| DrainingStatus {
                provider: draining.provider.clone(),
                instance: draining.instance,
                in_flight: draining.tally.in_flight(),
                since: draining.since,
                oldest_lease: draining.oldest_lease(),
            })
            .collect();
        if let Some(published) = published {
            let candidate = &published.running.candidate;
            status.differs = match &ledger.swung_back {
                Some(SwungBack {
                    candidate, failure, ..
                }) if status.winner.as_ref() == Some(candidate.provider()) => {
                    let failure = failure.clone();
                    Some(Difference::SwungBack { failure })
                }
                _ => {
                    let failed_over = ledger.failed_over.as_ref();
                    self.difference(candidate, winner.as_ref(), &status, failed_over)
                }
            };
            status.active = Some(ActiveStatus {
                provider: candidate.provider().clone(),
                origin: candidate.origin().clone(),
                sequence: candidate.sequence(),
                instance: published.running.number,
                forced: ledger.forced.clone(),
                decision: ledger.placed.clone(),
            });
        }
        status
    }

    fn difference(
        &self,
        active: &Registered,
        winner: Option<&Registered>,
        status: &SlotStatus,
        failed_over: Option<&Decision>,
    ) -> Option<Difference> {
        if winner.is_some_and(|winner| same_component(active, winner)) {
            return None;
        }
        if !self
            .registry
            .read(|snapshot| snapshot.is_registered(active))
        {
            return Some(Difference::Withdrawn);
        }
        let winner = winner?;
        if let Some((decision, from)) = failed_over.and_then(|one| Some((one, one.from.as_ref()?)))
        {
            return Some(Difference::FailedOver {
                from: from.clone(),
                reason: decision.text.clone(),
                at: decision.at,
            });
        }
        match &status.last_error {
            Some(LastError {
                provider, failure, ..
            }) if provider == winner.provider() => Some(Difference::SwapFailed {
                failure: failure.clone(),
            }),
            _ if status.activity.activity != Activity::Running => Some(Difference::Held {
                activity: status.activity.activity.name(),
            }),
            _ => Some(Difference::NotApplied),
        }
    }
}

fn calls(ended: &Calls, published: Option<&Arc<Published>>) -> CallCounts {
    let serving = published.map(|published| published.calls());
    ended.counts() + serving.unwrap_or_default()
}
