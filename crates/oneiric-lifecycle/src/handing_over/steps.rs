//! What is done while a gate is closed, each step with what is left of the time for all of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Done, Kind, Pair, Trouble};
use crate::error::{Failure, Millis, Stage};
use crate::gate::Budget;
use crate::handover::{HandoverState, StateWriter};
use crate::preparation::Asked;
use crate::step::{StepError, StepKind};
use crate::transition::{Transition, stopped_meanwhile};

impl Transition {
    /// All steps from closing the gate on.
    pub(super) async fn carry_over(
        &self,
        pair: &Pair,
        common: Option<Budget>,
    ) -> Result<Done, Trouble> {
        let Some(gate) = self.inner.close_gate(&self.cell, pair.policy.block) else {
            return Err(Trouble {
                failure: stopped_meanwhile(),
                blocked: Duration::ZERO,
                what: Kind::Final,
            });
        };
        let own = gate.budget();
        let budget = common.map_or(own, |common| own.shorter(common));
        let handed = async {
            self.finish_work(pair, budget).await?;
            let state = self.export(pair, budget).await?;
            let bytes = state.bytes().len() as u64;
            self.import(pair, state, budget).await?;
            let asked = self.probe_again(pair, budget).await?;
            Ok((asked, bytes))
        };
        match handed.await {
            Ok((asked, bytes)) => Ok(Done { gate, asked, bytes }),
            Err((what, failure)) => Err(Trouble {
                failure,
                // With it the gate opens: whatever comes now, the old instance serves meanwhile.
                blocked: gate.closed_for(),
                what,
            }),
        }
    }

    /// Waits for the work on the old instance, which nobody is let in to any more.
    async fn finish_work(&self, pair: &Pair, budget: Budget) -> Result<(), (Kind, Failure)> {
        let terms = self.cell.ledger().closed_terms(pair.old.number);
        let over = async {
            for term in terms {
                term.over().await;
            }
        };
        tokio::select! {
            biased;
            () = over => {
                self.cell.ledger().drained(pair.old.number);
                Ok(())
            }
            () = self.cell.stopping.cancelled() => Err((Kind::Final, stopped_meanwhile())),
            () = tokio::time::sleep(budget.left()) => {
                let held = self.cell.ledger().held_by(pair.old.number);
                let provider = pair.old.candidate.provider();
                let what = format!("work on {provider} was not done ({held})");
                Err((Kind::Clean, over_budget(Stage::HandOver, budget, what)))
            }
        }
    }

    async fn export(&self, pair: &Pair, budget: Budget) -> Result<HandoverState, (Kind, Failure)> {
        let turn = Arc::clone(&pair.old.handover_turn).lock_owned();
        let Ok(turn) = tokio::time::timeout(budget.left(), turn).await else {
            let what = "an earlier export still goes on".to_owned();
            return Err((Kind::Clean, over_budget(Stage::Export, budget, what)));
        };
        let (role, max) = (Arc::clone(&pair.exporter), pair.policy.max_bytes);
        let format = pair.format.clone();
        let export = move || async move {
            let mut writer = StateWriter::new(max);
            let exported = role.export(&format, &mut writer).await;
            drop(turn);
            (writer, exported)
        };
        let exported = self.timed(budget, export).await;
        let (writer, exported) = self.done_in_time(budget, Stage::Export, Kind::Clean, exported)?;
        // First: an export that was refused something has failed, whatever it says of that.
        let state = writer.finish(&pair.format).map_err(|error| {
            let code = "lifecycle.handover_too_large";
            (Kind::Clean, Failure::new(Stage::Export, code, error))
        })?;
        match exported {
            Ok(()) => Ok(state),
            Err(message) => {
                let code = "lifecycle.export_failed";
                Err((Kind::Clean, Failure::new(Stage::Export, code, message)))
            }
        }
    }

    async fn import(
        &self,
        pair: &Pair,
        state: HandoverState,
        budget: Budget,
    ) -> Result<(), (Kind, Failure)> {
        let role = Arc::clone(&pair.importer);
        let import = move || async move { role.import(state).await };
        let imported = self.timed(budget, import).await;
        match self.done_in_time(budget, Stage::Import, Kind::Half, imported)? {
            Ok(()) => Ok(()),
            Err(message) => {
                let code = "lifecycle.import_failed";
                Err((Kind::Final, Failure::new(Stage::Import, code, message)))
            }
        }
    }

    /// What is published is healthy with the state that it was given.
    async fn probe_again(&self, pair: &Pair, budget: Budget) -> Result<Asked, (Kind, Failure)> {
        let probe = self.probe(&pair.new);
        match tokio::time::timeout(budget.left(), probe).await {
            Ok(asked) => asked.map_err(|failure| (Kind::Final, failure)),
            Err(_elapsed) => {
                let what = "its probe, with the state, had not answered".to_owned();
                Err((Kind::Half, over_budget(Stage::Probe, budget, what)))
            }
        }
    }

    /// Runs a step for as long as the gate may be closed.
    async fn timed<T, Fut>(
        &self,
        budget: Budget,
        call: impl FnOnce() -> Fut + Send + 'static,
    ) -> Result<T, StepError>
    where
        T: Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let stopping = self.cell.stopping.child_token();
        let (kind, left) = (StepKind::HandOver, budget.left());
        let step = self
            .inner
            .steps
            .run(kind, left, stopping, call, |_| async {});
        // Waiting for a thread is a part of it: those who wait know no difference.
        let done = tokio::time::timeout(left, step).await;
        done.unwrap_or(Err(StepError::TimedOut))
    }

    /// What a step gave; `late` is what the new instance is worth when it gave nothing in time.
    #[expect(
        clippy::unused_self,
        reason = "one of the steps of a transition, called like the others"
    )]
    fn done_in_time<T>(
        &self,
        budget: Budget,
        stage: Stage,
        late: Kind,
        result: Result<T, StepError>,
    ) -> Result<T, (Kind, Failure)> {
        result.map_err(|error| match error {
            StepError::TimedOut | StepError::NotBegun(_) => {
                let what = format!("the {} was not done", stage.name());
                (late, over_budget(stage, budget, what))
            }
            StepError::Abandoned => (Kind::Final, stopped_meanwhile()),
            // What an export that panicked was about to write is not known, but the new instance is untouched.
            error @ StepError::Panicked(_) => {
                let what = if late == Kind::Half {
                    Kind::Final
                } else {
                    late
                };
                (what, Failure::step(stage, budget.block, error))
            }
        })
    }
}

fn over_budget(stage: Stage, budget: Budget, what: String) -> Failure {
    let block = Millis(budget.block);
    Failure::new(
        stage,
        "lifecycle.handover_over_budget",
        format_args!("no longer than {block} may calls wait: {what}"),
    )
}
