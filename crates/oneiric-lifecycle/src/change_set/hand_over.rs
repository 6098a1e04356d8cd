//! State that goes over in several slots of a set, before any pointer moves.
//!
//! # Why nobody waits for a gate that waits for them
//! A call that is under way may call what its slot needs, and so may an instance that gives its state away or takes
//! one. So slots come dependents first, and each gate is closed only when the state of all that need its slot has gone
//! over: whoever may call it from there is through by then.
//!
//! # For how long a gate is closed
//! Gates that are closed stay so until all pointers move. So whatever is done while several are has the time that the
//! shortest of them has left; and nothing is built or taken down before they are open again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oneiric_core::Slot;
use tokio::task::JoinSet;

use super::member::{self, Member, Progress};
use crate::error::Failure;
use crate::gate::Budget;
use crate::handing_over::{Agreed, Handed, Pair};
use crate::inner::Inner;
use crate::preparation::Prepared;

/// Instances that state was to go over between, by their member's place.
type Pairs = BTreeMap<usize, Box<Pair>>;

/// Those whose hand-over went wrong.
#[derive(Default)]
struct Wrong {
    /// The set fails because of them.
    failed: Vec<(usize, Failure)>,
    /// Another instance is to be built, which goes without.
    half: BTreeSet<usize>,
}

/// Has state go over where policies want that, when all new instances are ready. Afterwards each of them may serve, or
/// some are to be built anew, or the set fails; only in the first case gates are closed.
pub(super) async fn run(inner: &Inner, members: &mut [Member]) {
    let mut pairs = agreed(inner, members).await;
    for level in levels(inner, members, &pairs) {
        if members.iter().any(|member| member.failure().is_some()) {
            open(members);
            return;
        }
        let pairs = level
            .into_iter()
            .filter_map(|place| pairs.remove_entry(&place));
        let wrong = hand_over(inner, members, pairs.collect()).await;
        if !wrong.failed.is_empty() {
            open(members);
            fail(inner, members, wrong.failed).await;
            return;
        }
        if !wrong.half.is_empty() {
            // What went over is not the last state of an instance that takes calls again.
            let mut anew = open(members);
            anew.extend(wrong.half);
            build_anew(inner, members, anew).await;
            return;
        }
    }
}

/// Asks all instances how state would go over, while nobody waits yet.
async fn agreed(inner: &Inner, members: &mut [Member]) -> Pairs {
    let mut asking = JoinSet::new();
    for (place, member) in members.iter().enumerate() {
        if let Progress::Prepared(prepared) = &member.progress
            && !member.goes_without
        {
            let (transition, new) = (
                Arc::clone(&member.transition),
                Arc::clone(&prepared.running),
            );
            asking.spawn(async move { (place, transition.agreed(&new).await) });
        }
    }
    let (mut pairs, mut refused) = (Pairs::new(), Vec::new());
    while let Some((place, agreed)) = member::next_of(inner, members, &mut asking).await {
        match agreed {
            Agreed::Pair(pair) => {
                pairs.insert(place, pair);
            }
            Agreed::Without => {}
            Agreed::Refused(failure) => refused.push((place, failure)),
        }
    }
    fail(inner, members, refused).await;
    pairs
}

/// The places of those that hand over, dependents first.
fn levels(inner: &Inner, members: &[Member], pairs: &Pairs) -> Vec<Vec<usize>> {
    let places: BTreeMap<&Slot, usize> = pairs
        .keys()
        .map(|place| (&members[*place].transition.cell.slot, *place))
        .collect();
    let slots: BTreeSet<Slot> = places.keys().copied().cloned().collect();
    let levels = inner.graph.dependents_first(&slots);
    let placed = |level: Vec<Slot>| {
        level
            .iter()
            .filter_map(|slot| places.get(slot).copied())
            .collect()
    };
    levels.into_iter().map(placed).collect()
}

/// Has state go over in slots of which none needs another, beside each other.
async fn hand_over(inner: &Inner, members: &mut [Member], pairs: Pairs) -> Wrong {
    let closed = members.iter().filter_map(|member| match &member.progress {
        Progress::Prepared(Prepared { state, .. }) => Some(state.as_ref()?.budget()),
        _ => None,
    });
    let closing = pairs.values().map(|pair| Budget::new(pair.block()));
    let budget = closed.chain(closing).reduce(Budget::shorter);
    let mut handing = JoinSet::new();
    for (place, pair) in pairs {
        let member = &mut members[place];
        if let Some(prepared) = member.take_prepared() {
            let transition = Arc::clone(&member.transition);
            handing
                .spawn(async move { (place, transition.hand_over(prepared, *pair, budget).await) });
        }
    }
    let mut wrong = Wrong::default();
    while let Some((place, handed)) = member::next_of(inner, members, &mut handing).await {
        let member = &mut members[place];
        let prepared = match handed {
            Handed::Ready(prepared) => prepared,
            Handed::Half(prepared) => {
                member.goes_without = true;
                wrong.half.insert(place);
                prepared
            }
            Handed::Failed(prepared, failure) => {
                wrong.failed.push((place, failure));
                prepared
            }
        };
        member.progress = Progress::Prepared(prepared);
    }
    wrong
}

/// Lets calls in again wherever they wait; the places of the new instances that were given a state.
fn open(members: &mut [Member]) -> BTreeSet<usize> {
    let mut given = BTreeSet::new();
    for (place, member) in members.iter_mut().enumerate() {
        if let Progress::Prepared(prepared) = &mut member.progress
            && member.transition.open(prepared.state.take()).is_some()
        {
            given.insert(place);
        }
    }
    given
}

/// Takes down the new instances of members due to which the set fails.
async fn fail(inner: &Inner, members: &mut [Member], failed: Vec<(usize, Failure)>) {
    let mut going = JoinSet::new();
    for (place, failure) in failed {
        let member = &mut members[place];
        if let Some(prepared) = member.take_prepared() {
            let transition = Arc::clone(&member.transition);
            going.spawn(async move {
                transition.take_down(prepared).await;
                (place, failure)
            });
        }
    }
    while let Some((place, failure)) = member::next_of(inner, members, &mut going).await {
        members[place].fail(failure);
    }
}

/// Takes down new instances, in the place of which others are to be built.
async fn build_anew(inner: &Inner, members: &mut [Member], anew: BTreeSet<usize>) {
    let mut going = JoinSet::new();
    for place in anew {
        let member = &mut members[place];
        if let Some(prepared) = member.take_prepared() {
            let transition = Arc::clone(&member.transition);
            let keeps_note = member.goes_without;
            going.spawn(async move {
                transition.take_down(prepared).await;
                if !keeps_note {
                    transition.forget_handover();
                }
                place
            });
        }
    }
    while let Some(place) = member::next_of(inner, members, &mut going).await {
        members[place].progress = Progress::ToBuild;
    }
}
