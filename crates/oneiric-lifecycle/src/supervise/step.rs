//! Carries out what was decided: a transition like any other, in the slot's turn, and only if what it was decided upon
//! still holds when that comes.

use std::sync::{Mutex, PoisonError};

use oneiric_core::{Query, Registered};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::watch::{Look, Watch};
use crate::activity::Activity;
use crate::cell::SlotCell;
use crate::decision::Decision;
use crate::error::{Failure, LifecycleError};
use crate::judge::Judged;
use crate::report::{Outcome, SwapReport};
use crate::transition::{Manner, Transition};
use crate::wiring::Wiring;

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
        let turn = self.shared.turns.acquire(&self.cell.slot).await;
        let (published, is_published) = oneshot::channel();
        let published = Mutex::new(Some(published));
        let told = move || {
            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(published) = published.take() {
                // Whoever decided it may be gone by now.
                let _nobody = published.send(());
            }
        };
        let (stop, expected) = (self.shared.stop.clone(), look.instance());
        let in_trouble = look.trouble.is_some();
        let (wiring, cell) = (Wiring::of(&self.inner), std::sync::Arc::clone(&self.cell));
        let span = tracing::error_span!(
            "step",
            slot = %cell.slot,
            provider = candidate.provider().as_str(),
            origin = candidate.origin().as_str(),
            decision = decision.kind.name(),
        );
        let step = wiring.in_turn(cell, move |inner, cell, slot_turn| {
            async move {
                let _turns = (turn, slot_turn);
                if stop.is_cancelled() || !holds(&cell, expected, in_trouble) {
                    return Ok(None);
                }
                Transition::by_itself(inner, cell, candidate, decision, manner, told)
                    .run()
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

/// Whether a slot is still as it was when a step was decided upon: the same instance serves, or none; it is still in
/// trouble, if it was; and it takes work.
fn holds(cell: &SlotCell, expected: Option<u64>, in_trouble: bool) -> bool {
    let serves = cell.published().map(|published| published.running.number);
    if serves != expected || cell.bake().is_some() || cell.activity().activity != Activity::Running
    {
        return false;
    }
    let ledger = cell.ledger();
    let is_bad = match serves {
        Some(instance) => {
            ledger.judge.instance() == instance && ledger.judge.judged() == Judged::Unhealthy
        }
        None => true,
    };
    is_bad == in_trouble || serves.is_none()
}
