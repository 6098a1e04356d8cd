//! The way back from a bake that went wrong: whether there is one, what is written down before it is taken, and what the
//! old instance still has to be told.

use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{BoxFuture, Coded, Slot};

use super::{Bake, BakeEnd, Keep, failed};
use crate::cell::Rejected;
use crate::decision::{Because, Decision, DecisionKind};
use crate::error::{Failure, LifecycleError, Stage};
use crate::judge::Judge;
use crate::ledger::SwungBack;
use crate::observe::Happening;
use crate::preparation::facet_missing;
use crate::reconfigure;
use crate::report::{Outcome, SwapReport};
use crate::running::Published;
use crate::state::Move;
use crate::step;
use crate::transition::Transition;

/// Writes down that the old instance is to serve a slot again, and why.
pub(crate) type RecordBack = dyn Fn(&Slot, &Failure) -> BoxFuture<'static, ()> + Send + Sync;

/// For so long the old instance waits for that. A disk that hangs keeps nobody on what does worse.
const RECORD_BACK: Duration = Duration::from_secs(2);

impl Transition {
    /// Moves the pointer back.
    pub(super) async fn go_back(&self, bake: &Bake, because: &Because) -> Result<(), Failure> {
        let (inner, cell) = (&self.inner, &self.cell);
        self.way_back(bake)?;
        let provider = self.candidate.provider();
        let failure = inner.redact.failure(failed(because, provider));
        // First, so that a process that is killed now comes up with what serves from here on.
        self.record_back(&failure).await;
        // That may have taken a while, in which a reload withdraws whom it likes.
        self.way_back(bake)?;
        let next = Arc::new(Published::new(Arc::clone(&bake.warm)));
        let was = inner
            .put_in_service(cell, next)
            .map_err(|rejected| match rejected {
                Rejected::Stopped => {
                    let slot = cell.slot.clone();
                    let error = LifecycleError::Stopped { slot };
                    Failure::new(Stage::Bake, error.code(), error)
                }
                Rejected::FacetMissing(facets) => facet_missing(&facets),
            })?;
        inner.dependency_exchanged(&cell.slot);
        let now = inner.clock.now();
        let back = bake.warm.candidate.provider();
        let decision = Decision::new(DecisionKind::SwingBack, because.clone())
            .about(provider, Some(bake.trial.number))
            .to(back)
            .stamped(now);
        let mut ledger = cell.ledger();
        ledger.step(Move::Begin, now);
        ledger.step(Move::Publish, now);
        ledger.health = None;
        ledger.forced = None;
        ledger.judge = Judge::of(bake.warm.number);
        ledger.place(Some(decision.clone()), false, false);
        // That somebody wants it back says nothing against the new one.
        if !matches!(because, Because::Asked { .. }) {
            ledger.fail(&self.candidate, failure.clone(), now);
            ledger.swung_back = Some(SwungBack {
                candidate: self.candidate.clone(),
                instance: bake.trial.number,
                failure,
            });
        }
        ledger.swaps.swapped += 1;
        drop(ledger);
        drop(was.published);
        self.announce(Happening::Published {
            from: Some(provider.clone()),
            to: back.clone(),
            instance: bake.warm.number,
            forced: None,
        });
        inner.announce_if_changed(cell, &was.activity);
        inner.decide(cell, decision);
        cell.news.notify_one();
        Ok(())
    }

    /// Whether the old instance can serve again. It may lack a facet that somebody relies on by now, or nobody be
    /// allowed to use it any more.
    fn way_back(&self, bake: &Bake) -> Result<(), Failure> {
        let warm = &bake.warm.candidate;
        self.check_facets(&bake.warm)?;
        if !self.inner.registry.read(|held| held.is_registered(warm)) {
            return Err(Failure::new(
                Stage::Bake,
                "core.no_candidate",
                format_args!("{} was withdrawn", warm.provider()),
            ));
        }
        self.inner.factory_of(warm).map(drop)
    }

    /// Has it written down that the old one is to serve again. If that fails it does so all the same.
    async fn record_back(&self, failure: &Failure) {
        let Some(record) = self.record_back.clone() else {
            return;
        };
        let (slot, failure) = (self.cell.slot.clone(), failure.clone());
        let writing = async move { record(&slot, &failure).await };
        let slot = &self.cell.slot;
        // A task of its own: what takes too long is not given up.
        let writing = tokio::spawn(step::catch_panic(writing));
        match tokio::time::timeout(RECORD_BACK, writing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(message))) => {
                let message = self.inner.redact.text(message);
                tracing::error!(%slot, reason = ?message, "writing down a swing back panicked");
            }
            // The async runtime goes down.
            Ok(Err(_cancelled)) => {}
            Err(_elapsed) => tracing::warn!(%slot, "a swing back is not written down yet"),
        }
    }

    /// The new instance goes, in nobody's turn, and the old one gets the settings that it was not told while it was
    /// warm.
    pub(super) async fn swung_back(
        &self,
        bake: &Bake,
        because: &Because,
        turn: impl Send,
    ) -> SwapReport {
        let failure = failed(because, self.candidate.provider());
        let failure = self.inner.redact.failure(failure);
        let mut report = self.report(Outcome::SwungBack { failure });
        let goes = self.drain_and_retire(&bake.trial, &mut report.warnings);
        tokio::join!(goes, self.catch_up(bake, turn));
        self.with_bake(report, bake, BakeEnd::SwungBack)
    }

    /// Boxed because an exchange may lead to a bake.
    fn catch_up<'a>(&'a self, bake: &'a Bake, turn: impl Send + 'a) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let turn = turn;
            let (inner, cell) = (&self.inner, &self.cell);
            if !bake.has_old_settings() || reconfigure::takes(inner, cell, &bake.warm).await {
                return;
            }
            let (inner, cell) = (Arc::clone(inner), Arc::clone(cell));
            let keep = Keep::For(Duration::ZERO);
            let exchange = Self::rebuild(inner, cell, Arc::clone(&bake.warm), keep).renewing(true);
            // Said where it happens: what cannot be exchanged serves on.
            drop(exchange.run(turn).await);
        })
    }

    /// It did worse, and there is no way back: it stays, and that is said.
    pub(super) fn stay(&self, bake: &Bake, because: Because, failure: Failure) {
        let decision = Decision::new(DecisionKind::SwingBack, because)
            .about(self.candidate.provider(), Some(bake.trial.number))
            .to(bake.warm.candidate.provider())
            .failed(Some(failure));
        self.inner.decide(&self.cell, decision);
    }
}
