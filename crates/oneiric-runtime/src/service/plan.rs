//! What a swap would do, without doing any of it.

use oneiric_core::{
    Change, Query, Registered, ResolveError, Score, Slot,
    precedence::{self},
};
use oneiric_lifecycle::SwapReport;

use super::{no_candidate, unresolved};
use crate::{
    api::{PlanDoc, SwapDoc, SwapRequestDoc, schema},
    error::RuntimeError,
    runtime::Runtime,
};

impl Runtime {
    pub(super) fn plan(
        &self,
        request: &SwapRequestDoc,
    ) -> Result<SwapDoc<SwapReport>, RuntimeError> {
        let slot = &request.slot;
        let query = Query::new(slot.clone());
        let selected = self
            .inner
            .revisions
            .of(slot)
            .and_then(|revision| revision.provider);
        let (to, after, text) = if request.clear {
            let winner = self.winner_without_operator(slot)?;
            let text = format!("without an operator's selection, {winner} ranks best in {slot}\n");
            (winner, None, text)
        } else if let Some(provider) = &request.provider {
            let assumed = [Change::Select(provider.clone())];
            let text = self
                .registry()
                .what_if(&query, &assumed)
                .map_err(RuntimeError::Change)?
                .to_string();
            let query = query.provider(provider.clone());
            (
                self.registry().resolve(&query).map_err(unresolved)?,
                Some(provider.clone()),
                text,
            )
        } else {
            let text = self.registry().explain(&query).to_string();
            (
                self.registry().resolve(&query).map_err(unresolved)?,
                selected.clone(),
                text,
            )
        };
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

    /// Who would win if the operator selected nobody: the registry's order under the selection that the settings
    /// file makes.
    fn winner_without_operator(&self, slot: &Slot) -> Result<Registered, RuntimeError> {
        let settings = self.settings();
        let selected = settings
            .selections
            .iter()
            .rev()
            .find(|(of, _)| of == slot)
            .map(|(_, provider)| provider);
        let scored = |held: Registered| {
            (
                Score {
                    selected: selected == Some(held.provider()),
                    ..held.score()
                },
                held,
            )
        };
        let all = self.registry().resolve_all(&Query::new(slot.clone()));
        let mut all: Vec<(Score, Registered)> = all.into_iter().map(scored).collect();
        all.sort_by(|(left, _), (right, _)| precedence::compare(right, left, settings.ties).0);
        let Some((best, winner)) = all.first() else {
            return Err(unresolved(no_candidate(slot)));
        };
        let tied = all
            .iter()
            .filter(|(score, _)| precedence::is_tie(best, score, settings.ties));
        let tied: Vec<Registered> = tied.map(|(_, held)| held.clone()).collect();
        if tied.len() > 1 {
            return Err(unresolved(ResolveError::Tied {
                slot: slot.clone(),
                among: tied,
            }));
        }
        Ok(winner.clone())
    }
}
