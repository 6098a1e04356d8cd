//! Carries out what was decided: a transition like any other, in the slot's turn, and only if what it was decided upon
//! still holds when that comes.

use std::sync::{Arc, Mutex, PoisonError};

use oneiric_core::{Provider, Query, Registered};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::watch::{Look, Watch};
use crate::activity::Activity;
use crate::cell::SlotCell;
use crate::decision::{Decision, DecisionKind};
use crate::error::{Failure, LifecycleError};
use crate::inner::Inner;
use crate::judge::Judged;
use crate::ledger::Ledger;
use crate::report::{Outcome, SwapReport};
use crate::slot_turns;
use crate::transition::{Manner, Transition, same_component};

/// What became of a step.
#[derive(Debug)]
pub(super) enum Stepped {
    /// The new instance serves; the old one may still finish its work.
    Published,
    /// Nothing changed.
    Failed(Failure),
    /// What it was decided upon did not hold any more.
    Stale,
}

impl Watch {
    /// Who could serve the slot, best first, each provider once.
    pub(super) fn ranked(&self) -> Vec<Registered> {
        let query = Query::new(self.cell.slot.clone());
        let mut ranked = self.inner.registry.resolve_all(&query);
        let mut seen = std::collections::BTreeSet::new();
        ranked.retain(|held| seen.insert(held.provider().clone()));
        ranked
    }

    /// Has `candidate` take over from what serves, or serve where nothing does. Returns as soon as that is so.
    pub(super) async fn step(
        &self,
        look: &Look,
        candidate: Registered,
        decision: Decision,
        manner: Manner,
    ) -> Stepped {
        let turn = self.inner.turns.acquire(&self.cell.slot).await;
        let (published, is_published) = oneshot::channel();
        let published = Mutex::new(Some(published));
        let told = move || {
            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(published) = published.take() {
                // Whoever decided it may be gone by now.
                let _nobody = published.send(());
            }
        };
        let stop = self.shared.stop.clone();
        let grounds = Grounds {
            instance: look.instance(),
            in_trouble: look.trouble.is_some(),
            hands: look.hands,
            kind: decision.kind,
            candidate: candidate.clone(),
        };
        let cell = Arc::clone(&self.cell);
        let span = tracing::error_span!(
            "step",
            slot = %cell.slot,
            provider = candidate.provider().as_str(),
            origin = candidate.origin().as_str(),
            decision = decision.kind.name(),
        );
        let step = slot_turns::in_both(&self.inner, cell, turn, move |inner, cell, turns| {
            async move {
                if stop.is_cancelled() || !grounds.hold(&inner, &cell) {
                    return Ok(None);
                }
                Transition::by_itself(inner, cell, candidate, decision, manner, told)
                    .run(turns)
                    .await
                    .map(Some)
            }
            .instrument(span)
        });
        // The step is a task of its own once its turn has come. What is left of it after the publish, draining above
        // all, needs nobody who waits.
        let mut step = std::pin::pin!(step);
        tokio::select! {
            biased;
            Ok(()) = is_published => {
                Stepped::Published
            }
            ended = &mut step => ended_as(ended),
        }
    }
}

fn ended_as(ended: Result<Option<SwapReport>, LifecycleError>) -> Stepped {
    match ended {
        Ok(Some(report)) => match report.outcome {
            Outcome::RolledBack { failure } => Stepped::Failed(failure),
            _ => Stepped::Published,
        },
        Ok(None) => Stepped::Stale,
        Err(LifecycleError::ActivationFailed { failure, .. }) => Stepped::Failed(failure),
        Err(_stopped) => Stepped::Stale,
    }
}

/// What a step was decided upon.
struct Grounds {
    /// What served; `None` where nothing did.
    instance: Option<u64>,
    in_trouble: bool,
    /// How often somebody had laid hands on the slot.
    hands: u64,
    kind: DecisionKind,
    /// Who is to serve.
    candidate: Registered,
}

impl Grounds {
    /// Whether they still hold now that the turn has come: the slot is as it was, takes work, and the candidate is
    /// registered and ranks as the step supposes.
    fn hold(&self, inner: &Inner, cell: &SlotCell) -> bool {
        let running = cell.published();
        let running = running.map(|published| Arc::clone(&published.running));
        let serves = running.as_ref().map(|running| running.number);
        if serves != self.instance
            || cell.bake().is_some()
            || cell.activity().activity != Activity::Running
        {
            return false;
        }
        let serving = running.as_ref().map(|running| running.candidate.provider());
        self.is_wanted(inner, serving) && self.are_in(&cell.ledger())
    }

    /// Whether the candidate is still the one to go over to.
    fn is_wanted(&self, inner: &Inner, serving: Option<&Provider>) -> bool {
        let query = Query::new(self.candidate.slot().clone());
        let is_it = |held: &Registered| same_component(held, &self.candidate);
        if self.kind == DecisionKind::Rebind {
            return inner
                .registry
                .resolve(&query)
                .is_ok_and(|held| is_it(&held));
        }
        let ranked = inner.registry.resolve_all(&query);
        let Some(place) = ranked.iter().position(is_it) else {
            return false;
        };
        let mut better = ranked.iter().take(place);
        let is_behind = better.any(|held| Some(held.provider()) == serving);
        self.kind != DecisionKind::FailBack || !is_behind
    }

    fn are_in(&self, ledger: &Ledger) -> bool {
        let is_bad = match self.instance {
            Some(instance) => {
                let judge = &ledger.judge;
                judge.instance() == instance && judge.judged() == Judged::Unhealthy
            }
            None => self.in_trouble,
        };
        ledger.hands == self.hands && is_bad == self.in_trouble
    }
}
