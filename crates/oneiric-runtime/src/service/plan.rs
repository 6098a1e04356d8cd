//! What a swap would do, without doing any of it.

use oneiric_core::{
    Change, Explanation, Outcome, Query, Registered, ResolveError, SelectionLayer, Snapshot,
    Verdict,
};
use oneiric_lifecycle::SwapReport;

use super::{assuming, no_candidate, unresolved};
use crate::{
    api::{PlanDoc, SwapDoc, SwapRequestDoc, schema},
    error::RuntimeError,
    runtime::Runtime,
};

impl Runtime {
    pub(super) fn swap_plan(
        &self,
        request: &SwapRequestDoc,
    ) -> Result<SwapDoc<SwapReport>, RuntimeError> {
        let slot = &request.slot;
        let selected = self
            .inner
            .revisions
            .of(slot)
            .and_then(|revision| revision.provider);
        let (change, after) = match &request.provider {
            _ if request.clear => (Some(Change::Unselect(SelectionLayer::Operator)), None),
            Some(provider) => (
                Some(Change::Select(provider.clone())),
                Some(provider.clone()),
            ),
            None => (None, selected.clone()),
        };
        let snapshot = self.registry().snapshot();
        let query = Query::new(slot.clone());
        let explanation = assuming(&snapshot, &query, change.as_slice())?;
        let to = winner(&snapshot, &query, &explanation).map_err(unresolved)?;
        let text = explanation.to_string();
        let status = self.lifecycle().status(slot);
        let active = status.as_ref().and_then(|status| status.active.as_ref());
        let stays = active.is_some_and(|active| active.sequence == to.sequence());
        let plan = PlanDoc {
            from: active.map(|active| active.provider.clone()),
            build: to.factory().filter(|_| !stays).map(ToString::to_string),
            retire: active
                .filter(|_| !stays)
                .map(|active| active.provider.clone()),
            selection_before: selected,
            selection_after: after,
            holders: self.lifecycle().holders(slot),
            to: to.provider().clone(),
            text,
        };
        Ok(SwapDoc {
            schema: schema::SWAP.into(),
            slot: slot.clone(),
            report: None,
            revision: None,
            plan: Some(plan),
            error: None,
        })
    }
}

/// Finds who wins by an explanation, which names registrations by number.
pub(super) fn winner(
    snapshot: &Snapshot,
    query: &Query,
    explanation: &Explanation,
) -> Result<Registered, ResolveError> {
    let tied = explanation.candidates.iter();
    let tied = tied.filter(|one| one.verdict == Verdict::Tied);
    let tied: Vec<u64> = tied.map(|one| one.score.4).collect();
    let best = explanation.winner.as_ref().map(|winner| winner.sequence);
    let held = snapshot.resolve_all(query).into_iter();
    if explanation.outcome == Outcome::Tied {
        return Err(ResolveError::Tied {
            slot: query.slot().clone(),
            among: held
                .filter(|held| tied.contains(&held.sequence()))
                .collect(),
        });
    }
    held.into_iter()
        .find(|held| Some(held.sequence()) == best)
        .ok_or_else(|| no_candidate(query.slot()))
}
