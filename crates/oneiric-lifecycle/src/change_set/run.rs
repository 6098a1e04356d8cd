//! Carries out a change set whose turns have come.
//!
//! # Why nothing here waits for itself
//! All members are prepared beside each other. What one of them requires and what serves is not waited for. What does
//! not serve is either no slot of this set, and is activated by whoever requires it, in a turn that is free or comes;
//! or it is a member in which nothing served before. Such a member is put in service as soon as it is prepared and
//! somebody waits for it (the bell says so), and if it fails its turn is let go at once, with the failure for those
//! who wait. So what the set keeps from others is at no time what it waits for itself, through however many slots the
//! way leads: the graph of requirements has no ring, claims of members included.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use oneiric_core::Slot;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use super::{ChangeOutcome, ChangeReport, ChangeSet, SlotChange, SlotOutcome};
use crate::cell::SlotCell;
use crate::deactivate;
use crate::error::{Failure, LifecycleError, Stage};
use crate::inner::Inner;
use crate::preparation::Prepared;
use crate::report::{Outcome, SwapReport, SwapRequest};
use crate::running::Published;
use crate::step;
use crate::transition::{self, Ask, InService, Planned, Refused, Transition};

type Seat = (Arc<SlotCell>, OwnedMutexGuard<()>);

/// A slot of the set whose instance is exchanged.
struct Member {
    transition: Arc<Transition>,
    /// Gone when the slot's part in the set is over.
    turn: Option<OwnedMutexGuard<()>>,
    progress: Progress,
}

/// How far a member has come.
enum Progress {
    Preparing,
    Prepared(Prepared),
    /// Put in service before the others, because somebody needs it.
    Serving(InService),
    Over(SlotChange),
}

/// Carries `set` out to its end.
pub(super) async fn run(
    inner: Arc<Inner>,
    seats: Vec<Seat>,
    set: ChangeSet,
) -> Result<ChangeReport, LifecycleError> {
    let begun = Instant::now();
    let mut done = Vec::new();
    let mut members = Vec::new();
    for ((cell, turn), provider) in seats.into_iter().zip(set.wanted.values()) {
        let slot = cell.slot.clone();
        if cell.is_stopped() {
            return Err(LifecycleError::Stopped { slot });
        }
        let request = match provider {
            Some(provider) => SwapRequest::to_provider(slot, provider.clone()),
            None => SwapRequest::to_winner(slot),
        };
        match transition::plan(Arc::clone(&inner), cell, request)? {
            Planned::Unchanged(report) => done.push(change(report)),
            Planned::Exchange(transition) => members.push(Member {
                transition: Arc::new(transition),
                turn: Some(turn),
                progress: Progress::Preparing,
            }),
        }
    }
    if members.is_empty() {
        return Ok(unchanged(done));
    }
    prepare(&inner, &mut members).await;
    hand_over(&mut members).await;
    let outcome = match settle(&inner, &mut members, &set).await {
        Ok(()) => {
            conclude(&mut members).await;
            ChangeOutcome::Applied
        }
        Err(stop) => {
            take_back(&inner, &mut members, &stop).await;
            ChangeOutcome::RolledBack
        }
    };
    done.extend(
        members
            .into_iter()
            .filter_map(|member| match member.progress {
                Progress::Over(change) => Some(change),
                _ => None,
            }),
    );
    done.sort_by(|left, right| left.slot.cmp(&right.slot));
    Ok(ChangeReport {
        outcome,
        slots: done,
        took: begun.elapsed(),
    })
}

/// What is answered when there is nothing to exchange.
pub(super) const fn unchanged(slots: Vec<SlotChange>) -> ChangeReport {
    ChangeReport {
        outcome: ChangeOutcome::Unchanged,
        slots,
        took: Duration::ZERO,
    }
}

/// Has all members prepared beside each other, and those put in service that somebody waits for.
async fn prepare(inner: &Arc<Inner>, members: &mut [Member]) {
    let mut waits = inner.bell.subscribe();
    let mut preparing = JoinSet::new();
    for (place, member) in members.iter().enumerate() {
        let transition = Arc::clone(&member.transition);
        transition.begin();
        let span = Ask::swap_span(&transition.cell.slot);
        span.record("provider", transition.candidate.provider().as_str());
        span.record("origin", transition.candidate.origin().as_str());
        let work = async move { (place, transition.prepared().await) };
        preparing.spawn(work.instrument(span));
    }
    loop {
        waits.borrow_and_update();
        for member in members.iter_mut() {
            member.serve_if_awaited().await;
        }
        tokio::select! {
            biased;
            ended = preparing.join_next() => match ended {
                Some(Ok((place, result))) => members[place].prepared(result),
                // A defect of ours: every call into other people's code catches its own panics.
                Some(Err(join)) => match join.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_runtime_goes_down) => return,
                },
                None => return,
            },
            // The sender is in `inner`.
            _rung = waits.changed() => {}
        }
    }
}

/// Has state go from the old instances to the new ones where policies want that, beside each other, when all of the new
/// ones are ready: calls of the old ones wait meanwhile, so it is the last before it is recorded.
async fn hand_over(members: &mut [Member]) {
    if members.iter().any(|member| member.failure().is_some()) {
        return;
    }
    let mut handing = JoinSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        let progress = std::mem::replace(&mut member.progress, Progress::Preparing);
        let Progress::Prepared(prepared) = progress else {
            member.progress = progress;
            continue;
        };
        let transition = Arc::clone(&member.transition);
        handing.spawn(async move { (place, transition.handed_over(prepared).await) });
    }
    for (place, result) in handing.join_all().await {
        members[place].prepared(result);
    }
}

/// Why a set ends without anything being exchanged.
struct Stop {
    blamed: Blamed,
    failure: Failure,
    /// The last step that was done for those who are not to blame.
    reached: Stage,
}

/// Whose failure it is.
#[derive(Clone, Copy)]
enum Blamed {
    /// Of the member at this place.
    One(usize),
    All,
}

/// Everything from the last instance being ready to all of them being in service; refused, no slot that served has
/// changed.
async fn settle(inner: &Arc<Inner>, members: &mut [Member], set: &ChangeSet) -> Result<(), Stop> {
    // What can still go wrong is asked before anything is recorded, for nothing that is recorded should fail.
    for (place, member) in members.iter().enumerate() {
        let failure = match &member.progress {
            Progress::Prepared(prepared) => member.transition.publishable(&prepared.running).err(),
            _ => member.failure().cloned(),
        };
        if let Some(failure) = failure {
            return Err(Stop {
                blamed: Blamed::One(place),
                failure,
                reached: Stage::BeforeSwap,
            });
        }
    }
    if let Some(record) = &set.record {
        let recorded = step::catch_panic(async { record().await }).await;
        if let Err(failure) = transition::record_result(recorded) {
            return Err(Stop {
                blamed: Blamed::All,
                failure: inner.redact.failure(failure),
                reached: Stage::BeforeSwap,
            });
        }
    }
    publish(inner, members)?;
    if let Some(told) = &set.when_published
        && catch_unwind(AssertUnwindSafe(|| told())).is_err()
    {
        tracing::error!("whoever waits for a change set's publish panicked");
    }
    Ok(())
}

/// Moves all pointers that have not moved yet, in one step.
fn publish(inner: &Arc<Inner>, members: &mut [Member]) -> Result<(), Stop> {
    let (mut places, mut next) = (Vec::new(), Vec::new());
    for (place, member) in members.iter().enumerate() {
        if let Progress::Prepared(prepared) = &member.progress {
            let published = Arc::new(Published::new(Arc::clone(&prepared.running)));
            places.push(place);
            next.push((&member.transition.cell, published));
        }
    }
    let exchanged = match inner.put_all_in_service(next) {
        Ok(exchanged) => exchanged,
        Err((place, rejected)) => {
            let blamed = places.get(place).copied();
            return Err(Stop {
                blamed: blamed.map_or(Blamed::All, Blamed::One),
                failure: transition::rejection(rejected),
                reached: Stage::Record,
            });
        }
    };
    for (place, was) in places.into_iter().zip(exchanged) {
        let member = &mut members[place];
        let progress = std::mem::replace(&mut member.progress, Progress::Preparing);
        if let Progress::Prepared(prepared) = progress {
            member.progress = Progress::Serving(member.transition.published(prepared, was));
        }
    }
    Ok(())
}

/// The old instances finish their work and go, beside each other; each slot's turn ends with its own.
async fn conclude(members: &mut [Member]) {
    let mut ending = JoinSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        let progress = std::mem::replace(&mut member.progress, Progress::Preparing);
        let Progress::Serving(in_service) = progress else {
            member.progress = progress;
            continue;
        };
        let (transition, turn) = (Arc::clone(&member.transition), member.turn.take());
        ending.spawn(async move {
            // A trial holds no turn, and each slot's is its own.
            let report = match transition.trial(&in_service) {
                Some(trial) => Transition::clone(&transition).bake(in_service, trial),
                None => transition.conclude(in_service).await,
            };
            drop(turn);
            (place, report)
        });
    }
    for (place, report) in ending.join_all().await {
        members[place].progress = Progress::Over(change(report));
    }
}

/// Retires whatever was built, and leaves the slots as they were.
async fn take_back(inner: &Arc<Inner>, members: &mut [Member], stop: &Stop) {
    let because = match stop.blamed {
        Blamed::One(place) => {
            let slot = &members[place].transition.cell.slot;
            format!(
                "not put in service, because {slot} failed at {}",
                stop.failure
            )
        }
        Blamed::All => String::new(),
    };
    let mut discards = JoinSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        let progress = std::mem::replace(&mut member.progress, Progress::Preparing);
        let Progress::Prepared(prepared) = progress else {
            member.progress = progress;
            continue;
        };
        let blamed = match stop.blamed {
            Blamed::All => true,
            Blamed::One(blamed) => blamed == place,
        };
        let (failure, outcome) = if blamed {
            let failure = stop.failure.clone();
            (failure.clone(), SlotOutcome::Failed { failure })
        } else {
            let code = "lifecycle.set_rolled_back";
            let reached = stop.reached;
            (
                Failure::new(Stage::Publish, code, &because),
                SlotOutcome::TakenBack { reached },
            )
        };
        let (transition, turn) = (Arc::clone(&member.transition), member.turn.take());
        discards.spawn(async move {
            transition.take_down(prepared).await;
            transition.withdraw(failure);
            drop(turn);
            (place, ended(&transition, outcome))
        });
    }
    for (place, change) in discards.join_all().await {
        members[place].progress = Progress::Over(change);
    }
    take_down(inner, members).await;
}

/// Empties the slots again that were empty before, who needs one of them before it.
async fn take_down(inner: &Arc<Inner>, members: &mut [Member]) {
    let serving = members
        .iter()
        .filter(|member| matches!(member.progress, Progress::Serving(_)));
    let slots: BTreeSet<Slot> = serving
        .map(|member| member.transition.cell.slot.clone())
        .collect();
    let groups = inner.graph.dependents_first(&slots);
    for slot in groups.into_iter().flatten() {
        let mut of_it = members
            .iter_mut()
            .filter(|member| member.transition.cell.slot == slot);
        let Some(member) = of_it.next() else { continue };
        let Some(turn) = member.turn.take() else {
            continue;
        };
        let cell = Arc::clone(&member.transition.cell);
        let outcome = match deactivate::run(Arc::clone(inner), cell, turn).await {
            Err(LifecycleError::InUse { holders, .. }) => SlotOutcome::LeftServing { holders },
            // It is gone: by this, or by a shutdown.
            _ => SlotOutcome::TakenBack {
                reached: Stage::Publish,
            },
        };
        member.progress = Progress::Over(ended(&member.transition, outcome));
    }
}

impl Member {
    fn prepared(&mut self, result: Result<Prepared, Failure>) {
        match result {
            Ok(prepared) => self.progress = Progress::Prepared(prepared),
            Err(failure) => self.fail(failure),
        }
    }

    /// It is over for this slot. Those who wait for its turn get it, and the failure.
    fn fail(&mut self, failure: Failure) {
        let outcome = SlotOutcome::Failed {
            failure: failure.clone(),
        };
        let _reported_by_us = self.transition.give_up(failure);
        self.progress = Progress::Over(ended(&self.transition, outcome));
        self.turn = None;
    }

    /// Puts it in service if nothing served here, it is ready and somebody waits for it.
    async fn serve_if_awaited(&mut self) {
        let transition = &self.transition;
        if transition.replaces() || !transition.cell.waiting.is_awaited() {
            return;
        }
        match std::mem::replace(&mut self.progress, Progress::Preparing) {
            Progress::Prepared(prepared) => match transition.publish(prepared) {
                Ok(in_service) => self.progress = Progress::Serving(in_service),
                Err(Refused { running, failure }) => {
                    transition.discard(&running).await;
                    self.fail(failure);
                }
            },
            progress => self.progress = progress,
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match &self.progress {
            Progress::Over(SlotChange {
                outcome: SlotOutcome::Failed { failure },
                ..
            }) => Some(failure),
            _ => None,
        }
    }
}

fn ended(transition: &Transition, outcome: SlotOutcome) -> SlotChange {
    SlotChange {
        slot: transition.cell.slot.clone(),
        outcome,
        from: transition.from(),
        to: transition.candidate.provider().clone(),
        warnings: Vec::new(),
        took: transition.elapsed(),
        bake: None,
        handover: None,
        baking: None,
    }
}

/// A report of one slot, as the report of a slot of a set.
fn change(report: SwapReport) -> SlotChange {
    SlotChange {
        slot: report.slot,
        outcome: match report.outcome {
            Outcome::Unchanged => SlotOutcome::Unchanged,
            Outcome::RolledBack { failure } => SlotOutcome::Failed { failure },
            _ => SlotOutcome::Swapped,
        },
        from: report.from,
        to: report.to,
        warnings: report.warnings,
        took: report.took,
        bake: report.bake,
        handover: report.handover,
        baking: report.baking,
    }
}
