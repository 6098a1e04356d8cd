//! How a transition ends: the old instance finishes its work and goes, or the slot is as it was before.

use std::sync::Arc;

use super::{InService, Manner, Transition};
use crate::decision::DecisionKind;
use crate::error::{Failure, LifecycleError, Stage};
use crate::limits::DRAIN_UNHEALTHY;
use crate::observe::Happening;
use crate::preparation::{Prepared, hook_result};
use crate::report::{Outcome, SwapReport};
use crate::running::Running;
use crate::state::Move;

impl Transition {
    /// The old instance finishes its work and goes, in nobody's turn: by now the slot may be in another transition.
    pub(crate) async fn conclude(&self, published: InService) -> SwapReport {
        let mut warnings = Vec::new();
        if let Some(old) = &published.old {
            self.drain_and_retire(old, &mut warnings).await;
        }
        self.after_swap(&mut warnings).await;
        let took = self.begun.elapsed();
        let at = self.inner.clock.now();
        let mut ledger = self.cell.ledger();
        ledger.took(took);
        if let Some(last) = warnings.last() {
            // Draining and retiring are about the old instance.
            let about = match (last.stage, &self.before) {
                (Stage::Drain | Stage::Retire, Some(before)) => &before.candidate,
                _ => &self.candidate,
            };
            ledger.fail(about, last.clone(), at);
        }
        drop(ledger);
        SwapReport {
            warnings,
            took,
            ..self.report(published.outcome)
        }
    }

    async fn after_swap(&self, warnings: &mut Vec<Failure>) {
        for hook in &self.inner.hooks {
            let (limit, context) = (self.inner.limits().hook, self.context());
            let hook = Arc::clone(hook);
            let call = move || async move { hook.after(context).await };
            let result = self.inner.steps.hook(limit, call).await;
            if let Err(failure) = hook_result(Stage::AfterSwap, limit, result) {
                self.warn(failure, warnings);
            }
        }
    }

    pub(crate) async fn drain_and_retire(&self, old: &Running, warnings: &mut Vec<Failure>) {
        let mut limit = self.inner.limits().drain;
        let kind = self.decision.as_ref().map(|decision| decision.kind);
        if let Some(DecisionKind::Restart | DecisionKind::FailOver) = kind {
            limit = limit.min(DRAIN_UNHEALTHY);
        }
        if let Some(failure) = self.inner.drain(&self.cell, old, limit).await {
            self.warn(failure, warnings);
        }
        let retired = self.inner.retire(old).await;
        self.inner.book_retired(&self.cell, old);
        if let Err(failure) = retired {
            self.warn(failure, warnings);
        }
    }

    /// The old instance takes calls again, and nothing is left of the new one.
    pub(crate) async fn take_down(&self, prepared: Prepared) {
        let Prepared {
            running,
            claim,
            state,
            ..
        } = prepared;
        self.open(state);
        self.discard(&running).await;
        drop(claim);
    }

    /// Nothing was published: the slot is as it was before.
    pub(crate) fn give_up(&self, failure: Failure) -> Result<SwapReport, LifecycleError> {
        let result = self.end_as_before(failure);
        if let Err(error) = &result {
            let mut ledger = self.cell.ledger();
            ledger.attempts += 1;
            ledger.last_failure = Some(error.clone());
            drop(ledger);
            self.cell.news.notify_one();
        }
        result
    }

    /// As [`Transition::give_up`], and those who wait to use the slot try for themselves: it is not a failure of theirs.
    pub(crate) fn withdraw(&self, failure: Failure) {
        let _as_before = self.end_as_before(failure);
    }

    fn end_as_before(&self, failure: Failure) -> Result<SwapReport, LifecycleError> {
        let slot = self.cell.slot.clone();
        let provider = self.candidate.provider().clone();
        let at = self.inner.clock.now();
        let mut ledger = self.cell.ledger();
        ledger.step(Move::GiveUp, at);
        let told = self.manner == Manner::Plain;
        if told {
            ledger.fail(&self.candidate, failure.clone(), at);
        }
        let Some(before) = &self.before else {
            let error = LifecycleError::ActivationFailed {
                slot,
                provider: provider.clone(),
                failure: failure.clone(),
            };
            ledger.swaps.failed += u64::from(told);
            drop(ledger);
            if told {
                self.announce(Happening::ActivationFailed { provider, failure });
            }
            self.cell.news.notify_one();
            return Err(error);
        };
        ledger.swaps.rolled_back += u64::from(told);
        drop(ledger);
        let active = before.candidate.provider().clone();
        if told {
            self.announce(Happening::RolledBack {
                active: active.clone(),
                provider: provider.clone(),
                failure: failure.clone(),
            });
        }
        Ok(self.report(Outcome::RolledBack { failure }))
    }
}
