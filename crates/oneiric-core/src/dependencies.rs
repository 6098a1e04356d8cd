//! Who needs whom, over all slots at once: what of it can never come up, and who is affected by whom. Known from a
//! snapshot alone, so that it can be said before anything is started.
//!
//! A file can list thousands of slots in one chain, so nothing in here recurses, and everything is linear in the graph
//! but for the rings, each of which costs one walk through the slots that are in some ring with it. How many rings are
//! named is bounded: there can be more than anybody could read, or count.

mod rings;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    candidate::Candidate, error::ResolveError, name::Provider, query::Query, slot::Slot,
    snapshot::Snapshot,
};

/// Rings that are named of each kind.
const RINGS: usize = 100;

/// Slots and what each needs. Built from winners, or from whatever serves.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    places: BTreeMap<Slot, usize>,
    slots: Vec<Slot>,
    needs: Vec<Vec<Need>>,
}

#[derive(Debug, Clone, Copy)]
struct Need {
    on: usize,
    optional: bool,
}

impl Dependencies {
    /// Makes a graph without slots.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the graph of those who win.
    #[must_use]
    pub fn of_winners(snapshot: &Snapshot) -> Self {
        let mut graph = Self::new();
        // By name, so that the same slots give the same rings, whoever was registered first.
        let mut winners: Vec<_> = snapshot.active().collect();
        winners.sort_unstable_by(|left, right| left.slot().cmp(right.slot()));
        for winner in winners {
            graph.add(winner);
        }
        graph
    }

    /// Adds what a candidate needs to its slot's needs.
    pub fn add(&mut self, candidate: &Candidate) {
        self.place(candidate.slot());
        for needed in candidate.requires() {
            self.need(candidate.slot(), needed, false);
        }
        for needed in candidate.optional_requires() {
            self.need(candidate.slot(), needed, true);
        }
    }

    /// Adds that `slot` needs `needed`, and whether it can do without.
    pub fn need(&mut self, slot: &Slot, needed: &Slot, optional: bool) {
        let (from, on) = (self.place(slot), self.place(needed));
        self.needs[from].push(Need { on, optional });
    }

    /// Returns the slots that are affected by what happens to `slot`, in levels: whoever needs it, whoever needs those,
    /// and so on. Each stands behind everything of these that it needs, and each once; `slot` itself does not.
    #[must_use]
    pub fn dependents_of(&self, slot: &Slot) -> Vec<Vec<Slot>> {
        let Some(&start) = self.places.get(slot) else {
            return Vec::new();
        };
        let mut holders: Vec<Vec<usize>> = vec![Vec::new(); self.needs.len()];
        for (from, need) in self.edges() {
            holders[need.on].push(from);
        }
        // How many of its needs each of the affected has among the affected; a level ends when that is none.
        let mut waits: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = vec![start];
        let mut seen = vec![false; self.needs.len()];
        while let Some(at) = open.pop() {
            for &holder in holders[at].iter().filter(|holder| **holder != start) {
                *waits.entry(holder).or_default() += 1;
                if !std::mem::replace(&mut seen[holder], true) {
                    open.push(holder);
                }
            }
        }
        let mut levels = Vec::new();
        let mut level = vec![start];
        while !level.is_empty() {
            let mut next = Vec::new();
            for holder in level.iter().flat_map(|at| &holders[*at]) {
                if let Some(left) = waits.get_mut(holder) {
                    *left -= 1;
                    if *left == 0 {
                        waits.remove(holder);
                        next.push(*holder);
                    }
                }
            }
            levels.extend(self.named(&next));
            level = next;
        }
        // What is in a ring has no level of its own.
        let rest: Vec<usize> = waits.into_keys().collect();
        levels.extend(self.named(&rest));
        levels
    }

    fn named(&self, places: &[usize]) -> Option<Vec<Slot>> {
        let mut slots: Vec<Slot> = places.iter().map(|at| self.slot(*at).clone()).collect();
        slots.sort_unstable();
        (!slots.is_empty()).then_some(slots)
    }

    fn edges(&self) -> impl Iterator<Item = (usize, Need)> {
        let all = self.needs.iter().enumerate();
        all.flat_map(|(from, needs)| needs.iter().map(move |need| (from, *need)))
    }

    fn place(&mut self, slot: &Slot) -> usize {
        if let Some(&place) = self.places.get(slot) {
            return place;
        }
        let place = self.slots.len();
        self.places.insert(slot.clone(), place);
        self.slots.push(slot.clone());
        self.needs.push(Vec::new());
        place
    }

    fn slot(&self, place: usize) -> &Slot {
        &self.slots[place]
    }
}

/// What of a registry's winners can never come up, or not as it is meant, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DependencyFaults {
    /// Rings of requirements: none of their slots can be activated. Each is a path in which every slot needs the next,
    /// begins with the first of its slots by name, and ends with the same. Every requirement that is part of a ring is
    /// part of one of these.
    pub cycles: Vec<Vec<Slot>>,
    /// Rings that are no fault, because a requirement in each is optional: that one is left out when the slots are
    /// activated.
    pub optional_cycles: Vec<Vec<Slot>>,
    /// Requirements that nobody can serve.
    pub missing: Vec<MissingDependency>,
    /// Tells whether there are more rings than are named: 100 of each kind are.
    pub more_cycles: bool,
}

/// A requirement that nobody can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingDependency {
    /// The slot whose winner has it.
    pub slot: Slot,
    /// The winner.
    pub provider: Provider,
    /// The slot it needs.
    pub needs: Slot,
    /// Whether it can do without. Slots without candidates are not named then.
    pub optional: bool,
    /// Why nobody can.
    #[serde(flatten)]
    pub why: MissingWhy,
}

/// Why nobody can serve a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MissingWhy {
    /// There is no candidate.
    NoCandidate,
    /// The best candidates are tied and the tie policy refuses.
    Tied,
    /// Its winner cannot be built in this program.
    NotBuildable {
        /// The winner there.
        winner: Provider,
    },
}

impl DependencyFaults {
    /// Looks through everybody who wins in `snapshot`. `can_build` says whether this program can build a candidate, as
    /// far as that is known beforehand.
    #[must_use]
    pub fn of(snapshot: &Snapshot, can_build: impl Fn(&Candidate) -> bool) -> Self {
        let graph = Dependencies::of_winners(snapshot);
        let (cycles, more) = graph.cycles();
        let (optional_cycles, more_optional) = graph.optional_cycles();
        Self {
            cycles,
            optional_cycles,
            missing: missing(snapshot, can_build),
            more_cycles: more || more_optional,
        }
    }

    /// Tells whether everything can come up as far as is known: rings that an optional requirement opens are no fault.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cycles.is_empty() && self.missing.iter().all(|one| one.optional)
    }

    /// Returns what keeps a slot from being activated, one line each, for people.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let required = self.missing.iter().filter(|one| !one.optional);
        let missing = required.map(ToString::to_string);
        let rings = self.cycles.iter();
        let rings = rings.map(|ring| format!("{} need each other in a circle", path(ring)));
        missing.chain(rings)
    }

    /// Returns what is done without, one line each, for people.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let optional = self.missing.iter().filter(|one| one.optional);
        let missing = optional.map(ToString::to_string);
        let rings = self.optional_cycles.iter().map(|ring| {
            format!(
                "{} need each other in a circle, but for what is optional in it",
                path(ring)
            )
        });
        missing.chain(rings)
    }
}

impl fmt::Display for MissingDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            slot,
            provider,
            needs,
            ..
        } = self;
        let verb = if self.optional { "could use" } else { "needs" };
        write!(f, "{slot}: {provider} {verb} {needs}, ")?;
        match &self.why {
            MissingWhy::NoCandidate => f.write_str("which nobody provides"),
            MissingWhy::Tied => f.write_str("where the best are tied"),
            MissingWhy::NotBuildable { winner } => {
                write!(f, "whose winner {winner} cannot be built here")
            }
        }
    }
}

fn missing(snapshot: &Snapshot, can_build: impl Fn(&Candidate) -> bool) -> Vec<MissingDependency> {
    let why = |needed: &Slot| match snapshot.winner(needed) {
        Some(winner) if can_build(winner) => None,
        Some(winner) => Some(MissingWhy::NotBuildable {
            winner: winner.provider().clone(),
        }),
        None => match snapshot.resolve_optional(&Query::new(needed.clone())) {
            Err(ResolveError::Tied { .. }) => Some(MissingWhy::Tied),
            _ => Some(MissingWhy::NoCandidate),
        },
    };
    let mut missing = Vec::new();
    for winner in snapshot.active() {
        let required = winner.requires().iter().map(|needed| (needed, false));
        let optional = winner
            .optional_requires()
            .iter()
            .map(|needed| (needed, true));
        for (needed, optional) in required.chain(optional) {
            match why(needed) {
                None => {}
                // What optional is for.
                Some(MissingWhy::NoCandidate) if optional => {}
                Some(why) => missing.push(MissingDependency {
                    slot: winner.slot().clone(),
                    provider: winner.provider().clone(),
                    needs: needed.clone(),
                    optional,
                    why,
                }),
            }
        }
    }
    missing
}

fn path(slots: &[Slot]) -> String {
    let names: Vec<&str> = slots.iter().map(Slot::as_str).collect();
    names.join(" -> ")
}

#[cfg(test)]
mod tests;
