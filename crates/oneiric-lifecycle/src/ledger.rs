//! The books of one slot: its state, what it last failed at, how often and how long.
//!
//! Written by transitions and probes only, never by calls.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use oneiric_core::{Candidate, Provider, Registered};
use tokio::time::Instant;

use crate::bake::BakeStatus;
use crate::decision::{Decision, DecisionKind, Trail};
use crate::error::{Failure, LifecycleError};
use crate::judge::Judge;
use crate::running::{Published, Running, Tally, Term};
use crate::state::{Move, SlotState};
use crate::status::{HealthReport, LastError, Percentiles, SwapCounts};
use crate::work::Held;

/// Swap durations kept for the percentiles.
const DURATIONS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) state: SlotState,
    pub(crate) since: Option<SystemTime>,
    pub(crate) last_error: Option<LastError>,
    /// The failing probe that was skipped by force for the instance that serves.
    pub(crate) forced: Option<Failure>,
    pub(crate) swaps: SwapCounts,
    pub(crate) health: Option<HealthReport>,
    /// The last trial that ended.
    pub(crate) last_bake: Option<Box<BakeStatus>>,
    /// What did worse than what serves, which took over from it again.
    pub(crate) swung_back: Option<SwungBack>,
    /// Leases that may still be out besides those on the entrances in use.
    pub(crate) draining: Vec<Draining>,
    /// As `draining`, of instances that were retired all the same.
    abandoned: Vec<Draining>,
    /// Activations that ended, and how the last one failed: those who waited for it share it.
    pub(crate) attempts: u64,
    pub(crate) last_failure: Option<LifecycleError>,
    durations: VecDeque<Duration>,
    /// What is thought of the instance that serves.
    pub(crate) judge: Judge,
    /// What was done by itself.
    pub(crate) trail: Trail,
    /// The decision by which the instance came that serves, where it was one.
    pub(crate) placed: Option<Decision>,
    /// The decision by which a lesser candidate serves, where one does.
    pub(crate) failed_over: Option<Decision>,
    /// The same before what serves was put in service: a trial may still end badly.
    was_failed_over: Option<Decision>,
    /// How often somebody laid hands on the slot, not by itself: put an instance in service or took it out, gave it other
    /// settings, selected a provider, be it the one that serves.
    pub(crate) hands: u64,
}

/// An instance whose trial ended badly.
#[derive(Debug, Clone)]
pub(crate) struct SwungBack {
    pub(crate) candidate: Registered,
    /// Its number.
    pub(crate) instance: u64,
    /// How it did.
    pub(crate) failure: Failure,
}

/// A term that nobody begins new work in: of an instance that was unpublished and is not retired yet,
/// or of one whose slot was drained.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(crate) instance: u64,
    pub(crate) provider: Provider,
    pub(crate) tally: Tally,
    pub(crate) term: Arc<Term>,
    /// When it was closed.
    pub(crate) since: SystemTime,
    closed: Instant,
    /// Gone when whoever drains it and everybody who has a lease are done with it.
    running: Weak<Running>,
}

impl Draining {
    fn of(published: &Arc<Published>, since: SystemTime) -> Self {
        Self {
            instance: published.running.number,
            provider: published.running.candidate.provider().clone(),
            tally: published.tally(),
            term: Arc::clone(&published.term),
            since,
            closed: Instant::now(),
            running: Arc::downgrade(&published.running),
        }
    }
}

impl Draining {
    /// For how long the oldest lease has been out, at least.
    pub(crate) fn oldest_lease(&self) -> Option<Duration> {
        let out = self.tally.in_flight() > 0;
        let known = self.term.oldest_work();
        out.then(|| known.unwrap_or_default().max(self.closed.elapsed()))
    }

    /// The leases that are out on these terms.
    fn held<'a>(terms: impl Iterator<Item = &'a Self>) -> Held {
        let (mut in_flight, mut closed, mut work) = (0, Duration::ZERO, Vec::new());
        for term in terms {
            let out = term.tally.in_flight();
            if out > 0 {
                in_flight += out;
                closed = closed.max(term.closed.elapsed());
                work.extend(term.term.work());
            }
        }
        Held::new(in_flight, closed, work)
    }
}

impl Ledger {
    /// Moves the slot's state; a move that the table does not have leaves it and says so in the log.
    pub(crate) fn step(&mut self, step: Move, at: SystemTime) {
        match self.state.moved(step) {
            Some(state) if state != self.state => {
                self.state = state;
                // A swap that is under way or given up does not change who serves, nor since when.
                let serving = [SlotState::Active, SlotState::Swapping];
                if step == Move::Publish || !serving.contains(&state) {
                    self.since = Some(at);
                }
            }
            Some(_) => {}
            None => tracing::error!(state = self.state.name(), ?step, "no such move of a slot"),
        }
    }

    /// A new instance serves: by a decision of the slot's own, where there is one. `same` says that it
    /// is of the provider that served before, `best` that nobody ranks better.
    pub(crate) fn place(&mut self, decision: Option<Decision>, same: bool, best: bool) {
        let kind = decision.as_ref().map(|decision| decision.kind);
        let before = self.failed_over.take();
        self.failed_over = match kind {
            Some(DecisionKind::FailOver) => decision.clone(),
            Some(DecisionKind::SwingBack) => self.was_failed_over.take(),
            Some(DecisionKind::FailBack) if best => None,
            Some(DecisionKind::FailBack) => before.clone(),
            _ if same => before.clone(),
            _ => None,
        };
        self.was_failed_over = before;
        self.placed = decision;
    }

    pub(crate) fn fail(&mut self, candidate: &Candidate, failure: Failure, at: SystemTime) {
        self.last_error = Some(LastError {
            provider: candidate.provider().clone(),
            failure,
            at,
        });
    }

    /// How the last attempt failed, if one ended since there were so many: those who waited for it share it.
    pub(crate) fn failure_since(&self, attempts: u64) -> Option<LifecycleError> {
        let failure = self.last_failure.as_ref()?;
        (self.attempts > attempts).then(|| failure.clone())
    }

    pub(crate) fn took(&mut self, duration: Duration) {
        if self.durations.len() == DURATIONS {
            self.durations.pop_front();
        }
        self.durations.push_back(duration);
    }

    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        Percentiles::of(self.durations.iter().copied())
    }

    /// Nobody is let in by these entrances any more, as of `at`.
    pub(crate) fn closed(&mut self, published: &Arc<Published>, at: SystemTime) {
        published.settle();
        let unpublished = |draining: &Draining| draining.instance != published.running.number;
        self.draining
            .retain(|draining| unpublished(draining) || !draining.term.is_over());
        self.draining.push(Draining::of(published, at));
    }

    /// Nobody waits for this instance's work any more.
    pub(crate) fn drained(&mut self, instance: u64) {
        let of_it = |draining: &mut Draining| draining.instance == instance;
        self.abandoned.extend(self.draining.extract_if(.., of_it));
        self.abandoned.retain(|draining| !draining.term.is_over());
    }

    /// The terms of `instance` that are not in use any more.
    pub(crate) fn closed_terms(&self, instance: u64) -> Vec<Arc<Term>> {
        let of_it = self
            .draining
            .iter()
            .filter(|draining| draining.instance == instance);
        of_it.map(|draining| Arc::clone(&draining.term)).collect()
    }

    /// Leases of `instance` that are out on terms that are not in use any more.
    pub(crate) fn in_flight_of(&self, instance: u64) -> u64 {
        let of_it = self
            .draining
            .iter()
            .filter(|draining| draining.instance == instance);
        of_it.map(|draining| draining.tally.in_flight()).sum()
    }

    /// As [`Ledger::in_flight_of`], with what is known of them.
    pub(crate) fn held_by(&self, instance: u64) -> Held {
        let of_it = self.draining.iter();
        Draining::held(of_it.filter(|draining| draining.instance == instance))
    }

    /// The instances that were exchanged and whose work is still waited for.
    pub(crate) fn finishing(&self) -> Vec<Arc<Running>> {
        let mut running: Vec<_> = self
            .draining
            .iter()
            .filter_map(|draining| draining.running.upgrade())
            .collect();
        running.dedup_by_key(|running| running.number);
        running
    }

    /// The instances that were retired under their leases, with those that are out.
    pub(crate) fn left_behind(&self) -> Vec<(Provider, u64, Held)> {
        let mut left: Vec<(Provider, u64, Held)> = Vec::new();
        for Draining {
            instance, provider, ..
        } in &self.abandoned
        {
            if left.iter().all(|(_, known, _)| known != instance) {
                let of_it = self.abandoned.iter();
                let of_it = of_it.filter(|draining| draining.instance == *instance);
                left.push((provider.clone(), *instance, Draining::held(of_it)));
            }
        }
        left.retain(|(_, _, held)| held.in_flight > 0);
        left
    }

    /// All terms in which work may still run but none begins.
    pub(crate) fn closing(&self) -> impl Iterator<Item = &Draining> {
        self.draining.iter().chain(&self.abandoned)
    }
}
