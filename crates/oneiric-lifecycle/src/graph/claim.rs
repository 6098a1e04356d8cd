//! The edges of an instance that is being built: claimed, then settled or given back.

use std::collections::BTreeMap;
use std::sync::Arc;

use oneiric_core::Slot;
use tokio_util::sync::CancellationToken;

use super::{Edge, Edges, Graph, Known, Needs, Nodes, note};

/// Edges of an instance that is being built. Dropped without [`Claim::settle`], they are given back.
#[derive(Debug)]
pub(crate) struct Claim {
    graph: Arc<Graph>,
    slot: Slot,
    number: u64,
    /// Optional requirements that were claimed, each with what is cancelled when it is given up.
    optional: Vec<(Slot, CancellationToken)>,
    left_out: Vec<LeftOut>,
    leaving: Vec<Slot>,
}

/// An optional requirement that would have closed a ring.
#[derive(Debug)]
pub(crate) struct LeftOut {
    pub(crate) need: Slot,
    /// Begins and ends with the slot whose requirement it is.
    pub(crate) ring: Vec<Slot>,
}

impl Graph {
    /// Claims the edges from `slot` to everything in `requires`; gives the ring as a path that begins and ends with
    /// `slot` if they would close one. Optional requirements are claimed where they close none.
    pub(crate) fn claim(
        self: &Arc<Self>,
        slot: &Slot,
        requires: &[Slot],
        optional: &[Slot],
    ) -> Result<Claim, Vec<Slot>> {
        let mut nodes = self.lock();
        for need in requires {
            if let Some(path) = nodes.firm_path(need, slot) {
                return Err(ring(slot, path));
            }
        }
        for need in requires {
            // One edge less each time. Those of instances that serve stand until the new one does: see `settle`.
            while let Some(path) = nodes.waiting_path(need, slot) {
                if !nodes.give_up_claimed(&path) {
                    break;
                }
            }
        }
        let mut claimed: BTreeMap<Slot, Edge> = requires
            .iter()
            .map(|need| (need.clone(), Edge::default()))
            .collect();
        let mut left_out = Vec::new();
        let mut tokens = Vec::new();
        for need in optional {
            if let Some(path) = nodes.any_path(need, slot) {
                left_out.push(LeftOut {
                    need: need.clone(),
                    ring: ring(slot, path),
                });
                continue;
            }
            let given_up = CancellationToken::new();
            let edge = Edge {
                optional: Some(given_up.clone()),
                known: None,
            };
            claimed.insert(need.clone(), edge);
            tokens.push((need.clone(), given_up));
        }
        let is_leaving = |need: &&Slot| nodes.needs.get(*need).is_some_and(|needs| needs.leaving);
        let leaving = claimed.keys().filter(is_leaving).cloned().collect();
        nodes.claims += 1;
        let number = nodes.claims;
        nodes.edit(slot, |needs| needs.claimed.insert(number, claimed));
        Ok(Claim {
            graph: Arc::clone(self),
            slot: slot.clone(),
            number,
            optional: tokens,
            left_out,
            leaving,
        })
    }
}

impl Claim {
    /// The optional requirements that were claimed; what comes with each is cancelled when it is to be done without.
    pub(crate) fn optional(&self) -> &[(Slot, CancellationToken)] {
        &self.optional
    }

    /// The optional requirements that were not.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Whether `need` was being taken out of service when it was claimed. What serves there and was not, stays.
    pub(crate) fn is_leaving(&self, need: &Slot) -> bool {
        self.leaving.contains(need)
    }

    /// Notes which instances the new one is going to be built with.
    pub(crate) fn knows(&self, now: &[(Slot, Option<Known>)]) {
        let mut nodes = self.graph.lock();
        let needs = nodes.needs.get_mut(&self.slot);
        if let Some(edges) = needs.and_then(|needs| needs.claimed.get_mut(&self.number)) {
            note(edges, now);
        }
    }

    /// The new instance serves: the edges are its own and stand until [`Graph::retired`].
    pub(crate) fn settle(self, instance: u64) {
        let mut nodes = self.graph.lock();
        let needs: Vec<Slot> = nodes.edit(&self.slot, |needs| {
            let claimed = needs.claimed.remove(&self.number).unwrap_or_default();
            let settled = needs.settled.entry(instance).or_insert(claimed);
            settled.keys().cloned().collect()
        });
        // Optional requirements of others that a requirement of this one made a ring of.
        for need in needs {
            while let Some(path) = nodes.any_path(&need, &self.slot) {
                if !nodes.give_up_any(&path) {
                    break;
                }
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut nodes = self.graph.lock();
        nodes.edit(&self.slot, |needs| needs.claimed.remove(&self.number));
    }
}

impl Nodes {
    /// Gives up an optional requirement along `path` whose slot waits for it.
    fn give_up_claimed(&mut self, path: &[Slot]) -> bool {
        self.give_up(path, |needs, need| {
            take_optional(needs.claimed.values_mut(), need)
        })
    }

    /// Gives up an optional requirement along `path`, of whatever instance.
    fn give_up_any(&mut self, path: &[Slot]) -> bool {
        self.give_up(path, |needs, need| {
            let all = needs.settled.values_mut().chain(needs.claimed.values_mut());
            take_optional(all, need)
        })
    }

    fn give_up(
        &mut self,
        path: &[Slot],
        take: impl Fn(&mut Needs, &Slot) -> Option<CancellationToken>,
    ) -> bool {
        for step in path.windows(2) {
            let [slot, need] = step else { continue };
            if let Some(given_up) = self.edit(slot, |needs| take(needs, need)) {
                // Wakes a task of ours and runs nobody else's code.
                given_up.cancel();
                return true;
            }
        }
        false
    }
}

/// Takes an optional requirement of `need` out of the first that has one.
fn take_optional<'a>(
    mut of: impl Iterator<Item = &'a mut Edges>,
    need: &Slot,
) -> Option<CancellationToken> {
    of.find_map(|edges| {
        let given_up = edges.get(need)?.optional.clone()?;
        edges.remove(need);
        Some(given_up)
    })
}

fn ring(slot: &Slot, path: Vec<Slot>) -> Vec<Slot> {
    std::iter::once(slot.clone()).chain(path).collect()
}
