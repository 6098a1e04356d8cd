//! Who needs whom: the graph of slots over what instances require, kept free of rings of requirements at all times.
//!
//! A transition claims its edges before it builds anything. Claimed and settled edges are looked at
//! together under one lock, so two transitions that would close a ring only with each other's edges
//! cannot both begin: the second is refused with the path, instead of both waiting for ever.
//!
//! # What gives way
//! An optional requirement never refuses anybody. One that would close a ring is left out; one that is waited for when
//! somebody else's requirement closes a ring with it is given up, and whoever waits is told to go on without. So which
//! of two ends begins first decides nothing: the one that can do without does.

mod claim;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneiric_core::{Dependencies, Provider, Slot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::claim::Claim;

#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Mutex<Nodes>,
}

/// An instance of a needed slot, as far as whoever needs it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) provider: Provider,
    pub(crate) instance: u64,
}

#[derive(Debug, Default)]
struct Nodes {
    needs: BTreeMap<Slot, Needs>,
    /// For each slot those in whose `needs` it is, so that nobody has to look through all.
    needed_by: BTreeMap<Slot, BTreeSet<Slot>>,
    /// Counts the claims, so that each finds its own.
    claims: u64,
}

#[derive(Debug, Default)]
struct Needs {
    /// Of each instance being built, by its claim: the one that is to serve, and those by key.
    claimed: BTreeMap<u64, Edges>,
    /// Of each instance that was put in service and is not retired: the one that serves, one that is kept warm, those
    /// that finish their work, and those by key.
    settled: BTreeMap<u64, Edges>,
    /// It is being taken out of service: somebody who needs it from now on waits for the end of that.
    leaving: bool,
}

type Edges = BTreeMap<Slot, Edge>;

#[derive(Debug, Clone, Default)]
struct Edge {
    /// Of an optional requirement: cancelled when it is given up.
    optional: Option<CancellationToken>,
    /// Which instance it was built with, or answered to last; `None` while there was none.
    known: Option<Known>,
}

impl Needs {
    fn settled(&self) -> impl Iterator<Item = (&Slot, &Edge)> {
        self.settled.values().flatten()
    }

    fn all(&self) -> impl Iterator<Item = (&Slot, &Edge)> {
        self.claimed.values().flatten().chain(self.settled())
    }

    fn has(&self, slot: &Slot) -> bool {
        self.holds(slot) || self.claims(slot)
    }

    fn claims(&self, slot: &Slot) -> bool {
        self.claimed.values().any(|edges| edges.contains_key(slot))
    }

    fn holds(&self, slot: &Slot) -> bool {
        self.settled.values().any(|edges| edges.contains_key(slot))
    }

    fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.settled.is_empty() && !self.leaving
    }
}

impl Nodes {
    /// Changes what `slot` needs.
    fn edit<R>(&mut self, slot: &Slot, edit: impl FnOnce(&mut Needs) -> R) -> R {
        let mut needs = self.needs.remove(slot).unwrap_or_default();
        let before: BTreeSet<Slot> = needs.all().map(|(need, _)| need.clone()).collect();
        let result = edit(&mut needs);
        for gone in before.iter().filter(|need| !needs.has(need)) {
            if let Some(holders) = self.needed_by.get_mut(gone) {
                holders.remove(slot);
                if holders.is_empty() {
                    self.needed_by.remove(gone);
                }
            }
        }
        for (new, _) in needs.all().filter(|(need, _)| !before.contains(*need)) {
            let holders = self.needed_by.entry(new.clone()).or_default();
            holders.insert(slot.clone());
        }
        if !needs.is_empty() {
            self.needs.insert(slot.clone(), needs);
        }
        result
    }

    fn holders<'a>(
        &'a self,
        slot: &'a Slot,
        of: impl Fn(&Needs) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Slot> {
        let all = self.needed_by.get(slot).into_iter().flatten();
        all.filter(move |holder| self.needs.get(*holder).is_some_and(&of))
    }
}

impl Graph {
    /// The slots of which an instance, serving, kept warm, finishing its work or of a key, needs `slot`.
    pub(crate) fn holders(&self, slot: &Slot) -> Vec<Slot> {
        let nodes = self.lock();
        nodes
            .holders(slot, |needs| needs.holds(slot))
            .cloned()
            .collect()
    }

    /// The holders of `slot`, and those whose next instance is being built and will need it.
    pub(crate) fn needed_by(&self, slot: &Slot) -> Vec<Slot> {
        let nodes = self.lock();
        nodes.holders(slot, |_| true).cloned().collect()
    }

    /// Whether `slot` is being taken out of service.
    pub(crate) fn is_leaving(&self, slot: &Slot) -> bool {
        let nodes = self.lock();
        nodes.needs.get(slot).is_some_and(|needs| needs.leaving)
    }

    /// Begins to take `slot` out of service. Refused, with the holders of `slot` and those whose next instance is being
    /// built and will need it, while there are any.
    pub(crate) fn leave(self: &Arc<Self>, slot: &Slot) -> Result<Leaving, Vec<Slot>> {
        let mut nodes = self.lock();
        let holders: Vec<Slot> = nodes.holders(slot, |_| true).cloned().collect();
        if !holders.is_empty() {
            return Err(holders);
        }
        nodes.edit(slot, |needs| needs.leaving = true);
        Ok(Leaving {
            graph: Arc::clone(self),
            slot: slot.clone(),
        })
    }

    /// An instance of `slot` is retired: it needs nothing any more.
    pub(crate) fn retired(&self, slot: &Slot, instance: u64) {
        self.lock()
            .edit(slot, |needs| needs.settled.remove(&instance));
    }

    /// Forgets what `slot` needed: nothing of it serves any more.
    pub(crate) fn forget(&self, slot: &Slot) {
        self.lock().edit(slot, |needs| *needs = Needs::default());
    }

    /// What an instance of `slot` needs, with what it knows of each.
    pub(crate) fn knowledge(&self, slot: &Slot, instance: u64) -> Vec<(Slot, Option<Known>)> {
        let nodes = self.lock();
        let edges = nodes
            .needs
            .get(slot)
            .and_then(|needs| needs.settled.get(&instance));
        let known = |(need, edge): (&Slot, &Edge)| (need.clone(), edge.known.clone());
        edges.into_iter().flatten().map(known).collect()
    }

    /// An instance of `slot` answered to these, and knows them from now on.
    pub(crate) fn answered(&self, slot: &Slot, instance: u64, now: &[(Slot, Option<Known>)]) {
        let mut nodes = self.lock();
        let needs = nodes.needs.get_mut(slot);
        if let Some(edges) = needs.and_then(|needs| needs.settled.get_mut(&instance)) {
            note(edges, now);
        }
    }

    /// Whether an instance of `slot` rests on one of `others`, directly or through what it needs.
    pub(crate) fn rests_on_any(&self, slot: &Slot, others: &BTreeSet<Slot>) -> bool {
        let nodes = self.lock();
        let mut seen = BTreeSet::from([slot]);
        let mut open = vec![slot];
        while let Some(at) = open.pop() {
            let Some(needs) = nodes.needs.get(at) else {
                continue;
            };
            for (need, _) in needs.settled() {
                if need != slot && others.contains(need) {
                    return true;
                }
                if seen.insert(need) {
                    open.push(need);
                }
            }
        }
        false
    }

    /// Who needs whom among instances that serve, are kept warm or finish their work.
    pub(crate) fn in_use(&self) -> Dependencies {
        let mut graph = Dependencies::new();
        for (slot, needs) in &self.lock().needs {
            for (need, edge) in needs.settled() {
                graph.need(slot, need, edge.optional.is_some());
            }
        }
        graph
    }

    /// `slots` in groups, dependents first: nothing in a group is needed by a later one, directly or through slots that
    /// are not among them.
    pub(crate) fn dependents_first(&self, slots: &BTreeSet<Slot>) -> Vec<Vec<Slot>> {
        let nodes = self.lock();
        let mut left: BTreeSet<&Slot> = slots.iter().collect();
        let mut open: Vec<&Slot> = slots.iter().collect();
        while let Some(slot) = open.pop() {
            let holders = nodes.holders(slot, |_| true);
            open.extend(holders.filter(|holder| left.insert(holder)));
        }
        let free = |left: &BTreeSet<&Slot>, optional_count: bool| -> Vec<Slot> {
            let is_needed = |slot: &Slot| {
                let of = nodes.holders(slot, |needs| {
                    let mut edges = needs.all().filter(|(need, _)| *need == slot);
                    edges.any(|(_, edge)| optional_count || edge.optional.is_none())
                });
                let mut others = of.filter(|holder| *holder != slot);
                others.any(|holder| left.contains(holder))
            };
            let free = left.iter().filter(|slot| !is_needed(slot));
            free.copied().cloned().collect()
        };
        let mut groups = Vec::new();
        while !left.is_empty() {
            let mut group = free(&left, true);
            if group.is_empty() {
                // A swap under way is about to take an optional requirement's place.
                group = free(&left, false);
            }
            if group.is_empty() {
                // Unreachable while claims refuse rings; a shutdown must end even so.
                group = left.iter().copied().cloned().collect();
            }
            left.retain(|slot| group.binary_search(slot).is_err());
            group.retain(|slot| slots.contains(slot));
            if !group.is_empty() {
                groups.push(group);
            }
        }
        groups
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        // Nothing in here can leave the maps half-changed, so a poisoned lock is as good as another.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(edges: &mut Edges, now: &[(Slot, Option<Known>)]) {
    for (need, known) in now {
        if let Some(edge) = edges.get_mut(need) {
            edge.known.clone_from(known);
        }
    }
}

/// A slot is being taken out of service until this is dropped.
#[derive(Debug)]
pub(crate) struct Leaving {
    graph: Arc<Graph>,
    slot: Slot,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.graph
            .lock()
            .edit(&self.slot, |needs| needs.leaving = false);
    }
}
