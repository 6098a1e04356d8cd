//! Who needs whom: the graph of slots over `requires`, kept free of cycles at all times.
//!
//! A transition claims its edges before it builds anything. Claimed and settled edges are looked at
//! together under one lock, so two transitions that would close a ring only with each other's edges
//! cannot both begin: the second is refused with the path, instead of both waiting for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneiric_core::Slot;

#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Mutex<BTreeMap<Slot, Needs>>,
}

#[derive(Debug, Default)]
struct Needs {
    /// Of the instance being built.
    claimed: BTreeSet<Slot>,
    /// Of each instance that was put in service and is not retired: the one that serves, one that is kept warm, those
    /// that finish their work.
    settled: BTreeMap<u64, BTreeSet<Slot>>,
}

impl Needs {
    fn settled(&self) -> impl Iterator<Item = &Slot> {
        self.settled.values().flatten()
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        self.claimed.iter().chain(self.settled())
    }
}

impl Graph {
    /// Claims the edges from `slot` to everything in `needs`; gives the ring as a path that begins
    /// and ends with `slot` if they would close one.
    pub(crate) fn claim(self: &Arc<Self>, slot: &Slot, needs: &[Slot]) -> Result<Claim, Vec<Slot>> {
        let mut nodes = self.lock();
        for need in needs {
            if let Some(path) = path_between(&nodes, need, slot) {
                return Err(std::iter::once(slot.clone()).chain(path).collect());
            }
        }
        nodes.entry(slot.clone()).or_default().claimed = needs.iter().cloned().collect();
        Ok(Claim {
            graph: Arc::clone(self),
            slot: slot.clone(),
        })
    }

    /// The slots of which an instance, serving, kept warm or finishing its work, needs `slot`.
    pub(crate) fn holders(&self, slot: &Slot) -> Vec<Slot> {
        self.lock()
            .iter()
            .filter(|(_, needs)| needs.settled().any(|need| need == slot))
            .map(|(holder, _)| holder.clone())
            .collect()
    }

    /// The holders of `slot`, and those whose next instance is being built and will need it.
    pub(crate) fn needed_by(&self, slot: &Slot) -> Vec<Slot> {
        self.lock()
            .iter()
            .filter(|(_, needs)| needs.all().any(|need| need == slot))
            .map(|(holder, _)| holder.clone())
            .collect()
    }

    /// An instance of `slot` is retired: it needs nothing any more.
    pub(crate) fn retired(&self, slot: &Slot, instance: u64) {
        if let Some(needs) = self.lock().get_mut(slot) {
            needs.settled.remove(&instance);
        }
    }

    /// Forgets what `slot` needed: nothing of it serves any more.
    pub(crate) fn forget(&self, slot: &Slot) {
        self.lock().remove(slot);
    }

    /// `slots` in groups, dependents first: nothing in a group is needed by a later one.
    pub(crate) fn dependents_first(&self, slots: &BTreeSet<Slot>) -> Vec<Vec<Slot>> {
        let nodes = self.lock();
        let needs = |slot: &Slot, needed: &Slot| {
            nodes
                .get(slot)
                .is_some_and(|needs| needs.all().any(|one| one == needed))
        };
        let mut left: BTreeSet<Slot> = slots.clone();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let mut group: Vec<Slot> = left
                .iter()
                .filter(|slot| {
                    !left
                        .iter()
                        .any(|other| other != *slot && needs(other, slot))
                })
                .cloned()
                .collect();
            if group.is_empty() {
                // Unreachable while claims refuse rings; a shutdown must end even so.
                group = left.iter().cloned().collect();
            }
            left.retain(|slot| !group.contains(slot));
            groups.push(group);
        }
        groups
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Slot, Needs>> {
        // Nothing in here can leave the map half-changed, so a poisoned lock is as good as another.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Edges of a transition under way. Dropped without [`Claim::settle`], they are given back.
#[derive(Debug)]
pub(crate) struct Claim {
    graph: Arc<Graph>,
    slot: Slot,
}

impl Claim {
    /// The new instance serves: the edges are its own and stand until [`Graph::retired`].
    pub(crate) fn settle(self, instance: u64) {
        if let Some(needs) = self.graph.lock().get_mut(&self.slot) {
            let claimed = std::mem::take(&mut needs.claimed);
            needs.settled.insert(instance, claimed);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(needs) = self.graph.lock().get_mut(&self.slot) {
            needs.claimed.clear();
        }
    }
}

/// A path from `from` to `to` over any edges, both ends included.
fn path_between(nodes: &BTreeMap<Slot, Needs>, from: &Slot, to: &Slot) -> Option<Vec<Slot>> {
    let mut came_from: BTreeMap<&Slot, Option<&Slot>> = BTreeMap::from([(from, None)]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            let mut path = vec![at.clone()];
            let mut step = at;
            while let Some(Some(before)) = came_from.get(step) {
                path.push((*before).clone());
                step = before;
            }
            path.reverse();
            return Some(path);
        }
        let Some(needs) = nodes.get(at) else { continue };
        for next in needs.all() {
            came_from.entry(next).or_insert_with(|| {
                open.push(next);
                Some(at)
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(text: &str) -> Slot {
        text.parse().unwrap()
    }

    #[test]
    fn a_ring_is_refused_with_its_path() {
        let graph = Arc::new(Graph::default());
        graph
            .claim(&slot("service/a"), &[slot("service/b")])
            .unwrap()
            .settle(1);
        graph
            .claim(&slot("service/b"), &[slot("service/c")])
            .unwrap()
            .settle(1);
        let path = graph
            .claim(&slot("service/c"), &[slot("service/a")])
            .unwrap_err();
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        assert_eq!(path, ["service/c", "service/a", "service/b", "service/c"]);
    }

    #[test]
    fn two_claims_under_way_cannot_close_a_ring_together() {
        let graph = Arc::new(Graph::default());
        let first = graph
            .claim(&slot("service/a"), &[slot("service/b")])
            .unwrap();
        assert!(
            graph
                .claim(&slot("service/b"), &[slot("service/a")])
                .is_err()
        );
        drop(first);
        assert!(
            graph
                .claim(&slot("service/b"), &[slot("service/a")])
                .is_ok()
        );
    }

    #[test]
    fn a_slot_that_needs_itself_is_a_ring() {
        let graph = Arc::new(Graph::default());
        assert_eq!(
            graph
                .claim(&slot("service/a"), &[slot("service/a")])
                .unwrap_err()
                .len(),
            2
        );
    }

    #[test]
    fn dependents_come_before_what_they_need() {
        let graph = Arc::new(Graph::default());
        graph
            .claim(&slot("service/web"), &[slot("adapter/cache")])
            .unwrap()
            .settle(1);
        graph
            .claim(&slot("adapter/cache"), &[slot("service/clock")])
            .unwrap()
            .settle(1);
        let all = ["service/web", "adapter/cache", "service/clock", "task/x"].map(slot);
        let groups = graph.dependents_first(&all.iter().cloned().collect());
        assert_eq!(
            groups,
            [
                vec![slot("service/web"), slot("task/x")],
                vec![slot("adapter/cache")],
                vec![slot("service/clock")]
            ]
        );
    }
}
