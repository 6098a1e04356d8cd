//! One transition of one slot: build, probe, publish, drain, retire; or back to what was.
//!
//! A transition runs in a task of its own, so a caller that stops waiting changes nothing. Up to
//! the one line that publishes, every failure leads back: what was built is retired and the old
//! instance never noticed. After that line nothing leads back, because the old instance may be gone:
//! failures are recorded and the new one stays.

mod plan;
mod publish;
mod settle;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oneiric_core::{Provider, Registered};
use tokio::time::Instant;

pub(crate) use plan::{Ask, Planned, plan, run, same_component, unchanged};
pub(crate) use publish::{InService, Refused, record_result, rejection};

use crate::bake::{Bake, Keep, RecordBack};
use crate::cell::SlotCell;
use crate::decision::{Decision, DecisionKind};
use crate::error::{Failure, LifecycleError, Stage};
use crate::handover::HandoverReport;
use crate::hook::SwapContext;
use crate::inner::Inner;
use crate::observe::Happening;
use crate::preparation::{Prepared, panicked};
use crate::report::{Record, SlotReport, SwapReport};
use crate::running::Running;
use crate::state::Move;
use crate::step;

#[derive(Clone)]
pub(crate) struct Transition {
    pub(crate) inner: Arc<Inner>,
    pub(crate) cell: Arc<SlotCell>,
    pub(crate) candidate: Registered,
    before: Option<Arc<Running>>,
    /// The bake whose warm instance is to serve again.
    pub(crate) warm: Option<Arc<Bake>>,
    pub(crate) force: bool,
    pub(crate) keep: Keep,
    record: Option<Arc<Record>>,
    pub(crate) record_back: Option<Arc<RecordBack>>,
    when_published: Option<Arc<dyn Fn() + Send + Sync>>,
    begun: Instant,
    /// What came of handing over state, once that is known.
    handover: Arc<Mutex<Option<HandoverReport>>>,
    /// Why it takes place, where the slot decided so by itself.
    decision: Option<Decision>,
    /// Nobody laid hands on the slot: what serves is only renewed.
    renews: bool,
    pub(crate) manner: Manner,
}

/// How much is said of a transition that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Manner {
    /// All of it.
    #[default]
    Plain,
    /// Nothing, and it is not counted: it failed before and is only tried again.
    Quiet,
    /// Nothing either. What it builds is taken down again and never serves.
    Trial,
}

impl Transition {
    /// From `before`, which serves, to an instance of `candidate`: as the slot's policy says, because somebody asked.
    fn new(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        candidate: Registered,
        before: Option<Arc<Running>>,
    ) -> Self {
        Self {
            inner,
            cell,
            candidate,
            before,
            warm: None,
            force: false,
            keep: Keep::AsPolicy,
            record: None,
            record_back: None,
            when_published: None,
            begun: Instant::now(),
            handover: Arc::default(),
            decision: None,
            renews: false,
            manner: Manner::Plain,
        }
    }

    /// Another instance of what serves already.
    pub(crate) fn rebuild(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        running: Arc<Running>,
        keep: Keep,
    ) -> Self {
        let candidate = running.candidate.clone();
        Self {
            keep,
            ..Self::new(inner, cell, candidate, Some(running))
        }
    }

    /// Nobody asked for it and nothing was decided either: what the slot found out by itself still holds.
    pub(crate) fn renewing(mut self, renews: bool) -> Self {
        self.renews = renews;
        self
    }

    /// One that nobody asked for. `told` is called right after the publish.
    pub(crate) fn by_itself(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        candidate: Registered,
        decision: Decision,
        manner: Manner,
        told: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let before = cell.published();
        let before = before.map(|published| Arc::clone(&published.running));
        let keep = match decision.kind {
            // Nobody goes back to what is known to be bad.
            DecisionKind::Restart | DecisionKind::FailOver => Keep::For(Duration::ZERO),
            _ => Keep::AsPolicy,
        };
        Self {
            keep,
            manner,
            when_published: Some(Arc::new(told)),
            decision: Some(decision),
            ..Self::new(inner, cell, candidate, before)
        }
    }

    /// Builds an instance of `candidate`, asks it for its health and takes it down again; whether it could serve. Holds
    /// up no transition.
    pub(crate) async fn works(
        inner: Arc<Inner>,
        cell: Arc<SlotCell>,
        candidate: Registered,
    ) -> bool {
        let _turn = Arc::clone(&cell.trial).lock_owned().await;
        if cell.is_stopped() {
            return false;
        }
        let trial = Self {
            manner: Manner::Trial,
            ..Self::new(inner, cell, candidate, None)
        };
        let tried = step::catch_panic(trial.try_out()).await;
        tried.is_ok_and(|tried| tried.is_ok())
    }

    /// All steps, one after the other. `turn` is let go of when the new instance serves, or it is clear that none will:
    /// that the old one has to finish its work keeps nobody from the slot.
    pub(crate) async fn run(self, turn: impl Send) -> Result<SwapReport, LifecycleError> {
        self.begin();
        let prepared = match self.prepared().await {
            Ok(prepared) => self.handed_over(prepared).await,
            Err(failure) => Err(failure),
        };
        let prepared = match prepared {
            Ok(prepared) => self.recorded(prepared).await,
            Err(failure) => Err(failure),
        };
        let published = match prepared {
            Ok(prepared) => self.publish(prepared),
            Err(failure) => return self.give_up(failure),
        };
        match published {
            Ok(published) => Ok(match self.trial(&published) {
                Some(trial) => self.bake(published, trial),
                None => {
                    drop(turn);
                    self.conclude(published).await
                }
            }),
            Err(refused) => {
                self.discard(&refused.running).await;
                self.give_up(refused.failure)
            }
        }
    }

    /// The slot is in a transition from here on, until [`Transition::publish`] or [`Transition::give_up`].
    pub(crate) fn begin(&self) {
        self.cell.step(Move::Begin, self.inner.clock.now());
        if self.manner == Manner::Plain {
            self.announce(Happening::Building {
                provider: self.candidate.provider().clone(),
            });
        }
    }

    /// The new instance, built and found healthy; or nothing is left of it.
    pub(crate) async fn prepared(&self) -> Result<Prepared, Failure> {
        // Every call into other people's code catches its own panics. What is left is the seams
        // (where settings come from, proxies); the slot's state must not get stuck because of those.
        step::catch_panic(self.prepare())
            .await
            .unwrap_or_else(|message| Err(panicked(&message)))
            .map_err(|failure| self.inner.redact.failure(failure))
    }

    /// What came of it, as far as it got.
    pub(crate) fn report<O>(&self, outcome: O) -> SlotReport<O> {
        let (slot, to) = (self.cell.slot.clone(), self.candidate.provider().clone());
        SlotReport {
            took: self.begun.elapsed(),
            handover: self.handover().clone().map(Box::new),
            ..SlotReport::new(slot, outcome, self.from(), to)
        }
    }

    /// Says what came of handing over state.
    pub(crate) fn note(&self, handover: HandoverReport) {
        *self.handover() = Some(handover);
    }

    /// What was said of it is not so any more.
    pub(crate) fn forget_handover(&self) {
        *self.handover() = None;
    }

    fn handover(&self) -> MutexGuard<'_, Option<HandoverReport>> {
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What serves until another instance is published.
    pub(crate) fn old(&self) -> Option<Arc<Running>> {
        self.before.clone()
    }

    /// Who served when this began.
    pub(crate) fn from(&self) -> Option<Provider> {
        let before = self.before.as_ref()?;
        Some(before.candidate.provider().clone())
    }

    /// Whether something serves that the new instance takes the place of.
    pub(crate) const fn replaces(&self) -> bool {
        self.before.is_some()
    }

    pub(crate) fn warn(&self, failure: Failure, warnings: &mut Vec<Failure>) {
        let failure = self.inner.redact.failure(failure);
        self.announce(Happening::Warned {
            failure: failure.clone(),
        });
        warnings.push(failure);
    }

    pub(crate) fn announce(&self, what: Happening) {
        self.inner.announce(&self.cell.slot, what);
    }

    pub(crate) fn context(&self) -> SwapContext {
        SwapContext {
            slot: self.cell.slot.clone(),
            from: self.from(),
            to: self.candidate.provider().clone(),
        }
    }
}

pub(crate) fn stopped_meanwhile() -> Failure {
    Failure::new(
        Stage::Publish,
        "lifecycle.stopped",
        "the slot was shut down meanwhile",
    )
}
