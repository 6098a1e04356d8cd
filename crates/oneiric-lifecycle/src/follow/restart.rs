//! Restarts a dependent: so many at once, each not too often, and as one of several who change slots.
//!
//! A slot at the bottom that goes to and fro would otherwise have everything above it built anew each time, all of it at
//! one moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneiric_core::Slot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::cell::SlotCell;
use crate::decision::{Because, Decision, DecisionKind};
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::report::{Outcome, SwapReport};
use crate::running::Running;
use crate::slot_policy::{FailurePolicy, OnDependencyChange};
use crate::slot_turns::{self, Turns};
use crate::supervise::Restarts;
use crate::transition::{Manner, Transition};

/// How many dependents are restarted at once.
const AT_ONCE: usize = 16;

/// Places for restarts, each taken when a slot's turn has come, until the new instance serves or cannot.
#[derive(Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Places {
    /// Waits for a place; they come in the order in which they are asked for.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed.
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// How often dependents were restarted lately.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<BTreeMap<Slot, Record>>);

#[derive(Debug, Default)]
struct Record {
    /// How often somebody had laid hands on the slot: with the next time, all of this is forgotten.
    hands: u64,
    restarts: Restarts,
    /// Why it was given up, which is said once.
    gave_up: Option<Because>,
    /// Until when it is left alone.
    until: Option<Instant>,
}

impl Lately {
    /// Whether `cell` was restarted too often, and may not be yet.
    pub(super) fn is_left_alone(&self, cell: &SlotCell) -> bool {
        let hands = cell.ledger().hands;
        self.records().get(&cell.slot).is_some_and(|record| {
            record.hands == hands && record.until.is_some_and(|until| until > Instant::now())
        })
    }

    /// Counts a restart that begins now; or gives why there is to be none, and from when on there may be.
    fn begin(&self, cell: &SlotCell, policy: &FailurePolicy) -> Result<(), (Because, Instant)> {
        let (hands, now) = (cell.ledger().hands, Instant::now());
        let mut records = self.records();
        let record = of(&mut records, cell, hands);
        if let Some(until) = record.restarts.is_spent_until(policy, now) {
            record.until = Some(until);
            let because = Because::Restarts {
                restarts: policy.restarts.get(),
                within: policy.within,
            };
            return Err((because, until));
        }
        record.restarts.one_more(now);
        record.gave_up = None;
        record.until = None;
        Ok(())
    }

    /// Whether it is news that `cell` is given up because of this.
    fn gives_up(&self, cell: &SlotCell, because: &Because) -> bool {
        let hands = cell.ledger().hands;
        let mut records = self.records();
        let record = of(&mut records, cell, hands);
        record.gave_up.replace(because.clone()).as_ref() != Some(because)
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Slot, Record>> {
        // Each change is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'r>(records: &'r mut BTreeMap<Slot, Record>, cell: &SlotCell, hands: u64) -> &'r mut Record {
    let record = records.entry(cell.slot.clone()).or_default();
    if record.hands != hands {
        *record = Record {
            hands,
            ..Record::default()
        };
    }
    record
}

/// Another instance for `slot`, when its turn has come; nothing, if by then there is nothing to answer to.
pub(super) async fn restart(inner: &Arc<Inner>, slot: &Slot) {
    let Some(cell) = inner.existing_cell(slot) else {
        return;
    };
    let stopping = cell.stopping.clone();
    let turn = tokio::select! {
        biased;
        () = stopping.cancelled() => return,
        turn = inner.turns.acquire(slot) => turn,
    };
    // That it failed is recorded where it did; that the process ends is no failure.
    let _ended = slot_turns::in_both(inner, cell, turn, in_turn).await;
}

async fn in_turn(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    turns: Turns,
) -> Result<(), LifecycleError> {
    let slot = &cell.slot;
    if !inner.is_to_restart(slot) {
        return Ok(());
    }
    // Not before the turn: a slot that others change for minutes would keep a place in which nothing is built.
    let place = tokio::select! {
        biased;
        () = cell.stopping.cancelled() => None,
        place = inner.followers.places.take() => place,
    };
    let Some(place) = place else {
        return Ok(());
    };
    let policy = inner.policy_of(slot);
    if policy.on_dependency_change != OnDependencyChange::Restart
        || cell.is_stopped()
        || !inner.is_to_restart(slot)
    {
        return Ok(());
    }
    let Some(published) = cell.published() else {
        return Ok(());
    };
    let running = Arc::clone(&published.running);
    drop(published);
    let (changes, knowledge) = inner.unanswered(&running);
    // One decision, however many were exchanged: the first by name gave cause.
    let Some(change) = changes.into_iter().next() else {
        return Ok(());
    };
    let Some(candidate) = inner.registered_now(&running.candidate) else {
        give_up(&inner, &cell, &running, Because::Withdrawn);
        return Ok(());
    };
    if let Err((because, until)) = inner.followers.lately.begin(&cell, &policy.failure) {
        give_up(&inner, &cell, &running, because);
        answer_at(&inner, &cell, until);
        return Ok(());
    }
    // Whether it succeeds or not: what cannot be built now is not tried again until something else changes.
    inner.graph.answered(slot, running.number, &knowledge);
    let because = Because::Dependency { slot: change.slot };
    let decision = Decision::new(DecisionKind::RestartDependent, because)
        .about(running.candidate.provider(), Some(running.number))
        .to(candidate.provider());
    let place = Mutex::new(Some(place));
    // Its place is another one's as soon as the new instance serves: draining the old one costs next to nothing.
    let told = move || drop(place.lock().unwrap_or_else(PoisonError::into_inner).take());
    let (of, to) = (Arc::clone(&inner), Arc::clone(&cell));
    let restart = Transition::by_itself(of, to, candidate, decision.clone(), Manner::Plain, told);
    let report = restart.run(turns).await;
    let failure = match &report {
        Ok(SwapReport {
            outcome: Outcome::RolledBack { failure },
            ..
        }) => Some(failure.clone()),
        Ok(_) => None,
        Err(error) => error.failure().cloned(),
    };
    if failure.is_some() {
        inner.decide(&cell, decision.failed(failure));
    }
    report.map(drop)
}

/// What serves stays as it is, although it does not know of all that it needs; said once.
fn give_up(inner: &Inner, cell: &SlotCell, running: &Running, because: Because) {
    if inner.followers.lately.gives_up(cell, &because) {
        let decision = Decision::new(DecisionKind::GaveUp, because);
        let decision = decision.about(running.candidate.provider(), Some(running.number));
        inner.decide(cell, decision);
    }
}

/// Has the slot answer once it may be restarted again.
fn answer_at(inner: &Arc<Inner>, cell: &SlotCell, at: Instant) {
    let (inner, slot) = (Arc::downgrade(inner), cell.slot.clone());
    let stopping = cell.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = tokio::time::sleep_until(at) => {}
        }
        if let Some(inner) = inner.upgrade() {
            inner.follow_dependencies(vec![slot]);
        }
    });
}
