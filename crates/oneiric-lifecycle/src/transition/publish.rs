//! The one line that publishes: what is asked before it, what is written down, and what is booked after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oneiric_core::Query;
use tokio::time::Instant;

use super::{Transition, stopped_meanwhile};
use crate::bake::Order;
use crate::cell::{Rejected, Was};
use crate::error::{Failure, Stage};
use crate::judge::Judge;
use crate::leaving::Leaves;
use crate::observe::Happening;
use crate::preparation::{Asked, Prepared, facet_missing};
use crate::report::Outcome;
use crate::running::{Published, Running};
use crate::state::Move;
use crate::status::HealthReport;
use crate::step;

/// A new instance serves.
pub(crate) struct InService {
    pub(crate) running: Arc<Running>,
    pub(crate) outcome: Outcome,
    /// What served before, and does not any more.
    pub(crate) old: Option<Arc<Running>>,
    /// Kept until one of the two is gone.
    _leaves: Option<Leaves>,
}

/// A new instance that was not put in service after all.
pub(crate) struct Refused {
    pub(crate) running: Arc<Running>,
    pub(crate) failure: Failure,
}

impl Transition {
    /// Lets whoever asked for the swap write it down. What can still go wrong is asked first, for
    /// nothing that is recorded should fail.
    pub(crate) async fn recorded(&self, prepared: Prepared) -> Result<Prepared, Failure> {
        let Some(record) = &self.record else {
            return Ok(prepared);
        };
        let recorded = match self.publishable(&prepared.running) {
            Ok(()) => step::catch_panic(async { record().await }).await,
            Err(failure) => {
                self.take_down(prepared).await;
                return Err(failure);
            }
        };
        let Err(failure) = record_result(recorded) else {
            return Ok(prepared);
        };
        self.take_down(prepared).await;
        Err(self.inner.redact.failure(failure))
    }

    /// Whether the new instance could be put in service now.
    pub(crate) fn publishable(&self, running: &Running) -> Result<(), Failure> {
        if self.cell.is_stopped() {
            return Err(stopped_meanwhile());
        }
        self.check_facets(running)
    }

    /// Puts the new instance in service.
    pub(crate) fn publish(&self, prepared: Prepared) -> Result<InService, Refused> {
        let next = Arc::new(Published::new(Arc::clone(&prepared.running)));
        match self.inner.put_in_service(&self.cell, next) {
            Ok(was) => Ok(self.published(prepared, was)),
            Err(rejected) => Err(Refused {
                running: prepared.running,
                failure: rejection(rejected),
            }),
        }
    }

    /// The pointer has moved: books it, and says so.
    pub(crate) fn published(&self, prepared: Prepared, was: Was) -> InService {
        let Prepared {
            running,
            claim,
            asked: Asked { report, skipped },
            state,
        } = prepared;
        let instance = running.number;
        // Those who wait go to whoever serves now.
        let handed_over = self.open(state);
        // What the slot pointed at goes with this: it counts as a lease.
        let old = was
            .published
            .map(|published| Arc::clone(&published.running));
        let leaves = old.as_ref().map(|_| self.cell.leaves());
        if let Some(claim) = claim {
            claim.settle(instance);
        }
        // Whatever was on trial is not any more.
        if let Some(bake) = self.cell.take_bake() {
            bake.order(match &self.warm {
                Some(_) => Order::Taken,
                None => Order::Superseded,
            });
        }
        self.inner.dependency_exchanged(&self.cell.slot);
        if let Some(told) = &self.when_published
            && catch_unwind(AssertUnwindSafe(|| told())).is_err()
        {
            tracing::error!(slot = %self.cell.slot, "whoever waits for the publish panicked");
        }
        let decision = self.decision.clone();
        let now = self.inner.clock.now();
        let decision = decision.map(|decision| decision.stamped(now));
        let same = old
            .as_ref()
            .is_some_and(|old| old.candidate.provider() == self.candidate.provider());
        let best = self
            .inner
            .registry
            .resolve(&Query::new(self.cell.slot.clone()));
        let best = best.is_ok_and(|best| best.id() == self.candidate.id());
        let health = self.inner.policy_of(&self.cell.slot).health;
        let mut ledger = self.cell.ledger();
        ledger.place(decision.clone(), same, best);
        if !self.renews {
            ledger.hands += u64::from(decision.is_none());
            ledger.swung_back = None;
        }
        ledger.judge = Judge::of(instance);
        if let Some(HealthReport {
            health: Some(answer),
            at,
            ..
        }) = &report
        {
            ledger.judge.hear(answer, &health, Instant::now(), *at);
        }
        ledger.step(Move::Publish, now);
        ledger.attempts += 1;
        ledger.last_failure = None;
        ledger.last_error = None;
        ledger.health = report;
        ledger.forced.clone_from(&skipped);
        ledger.swaps.forced += u64::from(skipped.is_some());
        match old {
            Some(_) => ledger.swaps.swapped += 1,
            None => ledger.swaps.activated += 1,
        }
        drop(ledger);
        self.cell.tell_of_arrival();
        if let Some(told) = handed_over {
            self.announce(told);
        }
        self.announce(Happening::Published {
            from: self.from(),
            to: self.candidate.provider().clone(),
            instance,
            forced: skipped.clone(),
        });
        self.inner.announce_if_changed(&self.cell, &was.activity);
        if let Some(decision) = decision {
            self.inner.decide(&self.cell, decision);
        }
        self.cell.news.notify_one();
        let outcome = match skipped {
            Some(failure) => Outcome::Forced { failure },
            None => Outcome::Swapped,
        };
        InService {
            running,
            outcome,
            old,
            _leaves: leaves,
        }
    }
}

/// How writing down ended, as the failure of its step.
pub(crate) fn record_result(
    recorded: Result<Result<(), (&'static str, String)>, String>,
) -> Result<(), Failure> {
    match recorded {
        Ok(Ok(())) => Ok(()),
        Ok(Err((code, message))) => Err(Failure::new(Stage::Record, code, message)),
        Err(message) => Err(Failure::new(
            Stage::Record,
            "lifecycle.panicked",
            format_args!("panicked: {message}"),
        )),
    }
}

/// Why a slot did not take a new instance, as the failure of its last step.
pub(crate) fn rejection(rejected: Rejected) -> Failure {
    match rejected {
        Rejected::Stopped => stopped_meanwhile(),
        Rejected::FacetMissing(facets) => facet_missing(&facets),
    }
}
