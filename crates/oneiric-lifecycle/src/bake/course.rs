//! The course of a bake: from the publish of the new instance to the end of one of the two.

use std::sync::Arc;

use tracing::Instrument;

use super::{Bake, BakeEnd, Baking, Held, Keep, Order, Verdict};
use crate::error::{Failure, Stage};
use crate::observe::Happening;
use crate::report::{Outcome, SwapReport};
use crate::running::Running;
use crate::slot_policy::BakePolicy;
use crate::step;
use crate::transition::{InService, Transition};

/// A trial that is to begin.
pub(crate) struct Trial {
    warm: Arc<Running>,
    policy: BakePolicy,
    held: bool,
}

impl Transition {
    /// The trial of what was just published, if there is to be one. One that serves again after a trial is on none, nor
    /// is one that was put in service by force, unless that is asked for.
    pub(crate) fn trial(&self, published: &InService) -> Option<Trial> {
        let warm = Arc::clone(published.old.as_ref()?);
        let mut policy = self.inner.policy_of(&self.cell.slot).bake;
        let forced = matches!(published.outcome, Outcome::Forced { .. });
        match self.keep {
            Keep::For(time) => policy.time = time,
            Keep::AsPolicy if self.warm.is_some() || forced => return None,
            Keep::AsPolicy | Keep::UntilTold => {}
        }
        let held = self.keep == Keep::UntilTold;
        (held || !policy.time.is_zero()).then_some(Trial { warm, policy, held })
    }

    /// Begins the trial; what is reported is what is known now, and the way to the rest.
    pub(crate) fn bake(self, published: InService, trial: Trial) -> SwapReport {
        let Trial { warm, policy, held } = trial;
        let bake = Arc::new(Bake::new(
            Arc::clone(&published.running),
            warm,
            policy,
            self.inner.policy_of(&self.cell.slot).health,
            !matches!(published.outcome, Outcome::Forced { .. }),
            self.inner.clock.now(),
        ));
        if !held {
            bake.begins(bake.began);
        }
        let cell = Arc::clone(&self.cell);
        cell.set_bake(Arc::clone(&bake));
        let status = Box::new(bake.status(&cell));
        self.announce(Happening::BakeBegan {
            bake: status.clone(),
        });
        let mut report = self.report(published.outcome.clone());
        report.bake = Some(status);
        report.baking = Some(Baking {
            _held: held.then(|| Arc::new(Held(Arc::clone(&bake)))),
            bake: Arc::clone(&bake),
            cell,
        });
        tokio::spawn(self.see_through(bake, published, held).in_current_span());
        report
    }

    async fn see_through(self, bake: Arc<Bake>, published: InService, held: bool) {
        let seen = step::catch_panic(self.course(&bake, published, held)).await;
        let report = seen.unwrap_or_else(|message| {
            // Only seams can do that (a clock, say). Nobody is to wait for ever because of it.
            let failure = Failure::new(
                Stage::Bake,
                "lifecycle.panicked",
                format_args!("panicked: {message}"),
            );
            let mut report = self.report(Outcome::Swapped);
            report.warnings.push(self.inner.redact.failure(failure));
            report
        });
        bake.end(report);
    }

    async fn course(&self, bake: &Arc<Bake>, published: InService, held: bool) -> SwapReport {
        let verdict = bake.verdict(&self.inner, &self.cell, held).await;
        let turn = match verdict {
            Verdict::Pass | Verdict::Back(_) => Some(self.cell.turn.lock().await),
            Verdict::Superseded | Verdict::Taken => None,
        };
        let verdict = match verdict {
            Verdict::Pass | Verdict::Back(_) if !self.cell.end_bake(bake) => bake.settled_by(),
            verdict => verdict,
        };
        match verdict {
            Verdict::Pass => {
                self.over(bake, BakeEnd::Passed);
                drop(turn);
                let report = self.conclude(published).await;
                self.with_bake(report, bake, BakeEnd::Passed)
            }
            Verdict::Back(because) => {
                let because = self.inner.redact.because(because);
                match self.go_back(bake, &because).await {
                    Ok(()) => {
                        self.over(bake, BakeEnd::SwungBack);
                        self.swung_back(bake, &because, turn).await
                    }
                    Err(failure) => {
                        self.stay(bake, because, failure.clone());
                        self.over(bake, BakeEnd::Passed);
                        drop(turn);
                        let mut report = self.conclude(published).await;
                        report.warnings.push(failure);
                        self.with_bake(report, bake, BakeEnd::Passed)
                    }
                }
            }
            Verdict::Superseded => {
                self.over(bake, BakeEnd::Superseded);
                let mut report = self.report(published.outcome);
                self.drain_and_retire(&bake.warm, &mut report.warnings)
                    .await;
                self.with_bake(report, bake, BakeEnd::Superseded)
            }
            Verdict::Taken => {
                self.over(bake, BakeEnd::Superseded);
                let report = self.report(published.outcome);
                self.with_bake(report, bake, BakeEnd::Superseded)
            }
        }
    }

    fn over(&self, bake: &Bake, end: BakeEnd) {
        let mut status = bake.status(&self.cell);
        status.ended = Some(end);
        let status = Box::new(status);
        self.cell.ledger().last_bake = Some(status.clone());
        self.announce(Happening::BakeEnded { bake: status });
        // What was exchanged meanwhile has waited for this.
        let slot = self.cell.slot.clone();
        self.inner.follow_dependencies(vec![slot]);
    }

    pub(super) fn with_bake(
        &self,
        mut report: SwapReport,
        bake: &Bake,
        end: BakeEnd,
    ) -> SwapReport {
        let mut status = bake.status(&self.cell);
        status.ended = Some(end);
        report.bake = Some(Box::new(status));
        report
    }
}

impl Bake {
    /// How it ends when somebody else took it out of the slot meanwhile.
    fn settled_by(&self) -> Verdict {
        match self.ordered() {
            Some(Order::Taken) => Verdict::Taken,
            _ => Verdict::Superseded,
        }
    }
}
