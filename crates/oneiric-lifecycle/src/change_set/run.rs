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

use super::hand_over;
use super::member::{self, Member, Progress};
use super::{ChangeOutcome, ChangeReport, ChangeSet, SlotChange, SlotOutcome};
use crate::cell::SlotCell;
use crate::deactivate;
use crate::error::{Failure, LifecycleError, Stage};
use crate::inner::Inner;
use crate::report::SwapRequest;
use crate::running::Published;
use crate::step;
use crate::transition::{self, Ask, Planned, Transition};

type Seat = (Arc<SlotCell>, OwnedMutexGuard<()>);

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
        let mut request = match provider {
            Some(provider) => SwapRequest::to_provider(slot, provider.clone()),
            None => SwapRequest::to_winner(slot),
        };
        request.record_back.clone_from(&set.record_back);
        match transition::plan(Arc::clone(&inner), cell, request)? {
            Planned::Unchanged(report) => done.push(report.map(SlotOutcome::from)),
            Planned::Exchange(transition) => members.push(Member::new(transition, turn)),
        }
    }
    if members.is_empty() {
        return Ok(unchanged(done));
    }
    for member in &members {
        member.transition.begin();
    }
    while members.iter().any(Member::is_to_build) {
        prepare(&inner, &mut members).await;
        hand_over::run(&inner, &mut members).await;
    }
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

/// Has those built that are to be, beside each other.
async fn prepare(inner: &Inner, members: &mut [Member]) {
    let mut preparing = JoinSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        if !matches!(member.progress, Progress::ToBuild) {
            continue;
        }
        member.progress = Progress::UnderWay;
        let transition = Arc::clone(&member.transition);
        let span = Ask::swap_span(&transition.cell.slot);
        span.record("provider", transition.candidate.provider().as_str());
        span.record("origin", transition.candidate.origin().as_str());
        let work = async move { (place, transition.prepared().await) };
        preparing.spawn(work.instrument(span));
    }
    while let Some((place, result)) = member::next_of(inner, members, &mut preparing).await {
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
            Progress::Serving(_) => None,
            Progress::Over(_) => member.failure().cloned(),
            // Only when the async runtime itself is going down.
            Progress::ToBuild | Progress::UnderWay => Some(transition::stopped_meanwhile()),
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
        let progress = member.take();
        if let Progress::Prepared(prepared) = progress {
            member.progress = Progress::Serving(member.transition.published(prepared, was));
        }
    }
    Ok(())
}

/// The old instances finish their work and go, beside each other; the turns of their slots are over.
async fn conclude(members: &mut [Member]) {
    let mut ending = JoinSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        let progress = member.take();
        let Progress::Serving(in_service) = progress else {
            member.progress = progress;
            continue;
        };
        let (transition, turn) = (Arc::clone(&member.transition), member.turn.take());
        ending.spawn(async move {
            let report = match transition.trial(&in_service) {
                Some(trial) => Transition::clone(&transition).bake(in_service, trial),
                None => {
                    drop(turn);
                    transition.conclude(in_service).await
                }
            };
            (place, report)
        });
    }
    for (place, report) in ending.join_all().await {
        members[place].progress = Progress::Over(report.map(SlotOutcome::from));
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
        let progress = member.take();
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
            (place, transition.report(outcome))
        });
    }
    for (place, change) in discards.join_all().await {
        members[place].progress = Progress::Over(change);
    }
    take_down(inner, members).await;
    for member in members {
        member.gone().await;
    }
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
        member.progress = Progress::Over(member.transition.report(outcome));
    }
}
