//! Ways through the graph.

use std::collections::{BTreeMap, BTreeSet};

use oneiric_core::Slot;

use super::{Edge, Needs, Nodes};

impl Nodes {
    /// A path of requirements that are not optional, both ends included.
    pub(super) fn firm_path(&self, from: &Slot, to: &Slot) -> Option<Vec<Slot>> {
        self.path(from, to, |_, _, edge| edge.optional.is_none())
    }

    /// A path along which somebody may wait for an optional requirement.
    pub(super) fn waiting_path(&self, from: &Slot, to: &Slot) -> Option<Vec<Slot>> {
        self.path(from, to, |needs, need, edge| {
            edge.optional.is_none() || needs.claims(need)
        })
    }

    /// A path along any edges.
    pub(super) fn any_path(&self, from: &Slot, to: &Slot) -> Option<Vec<Slot>> {
        self.path(from, to, |_, _, _| true)
    }

    fn path(
        &self,
        from: &Slot,
        to: &Slot,
        follow: impl Fn(&Needs, &Slot, &Edge) -> bool,
    ) -> Option<Vec<Slot>> {
        if from != to && !self.may_reach(from, to) {
            return None;
        }
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
            let Some(needs) = self.needs.get(at) else {
                continue;
            };
            for (next, _) in needs.all().filter(|(to, edge)| follow(needs, to, edge)) {
                came_from.entry(next).or_insert_with(|| {
                    open.push(next);
                    Some(at)
                });
            }
        }
        None
    }

    /// Looks from both ends at once and gives up as soon as one of them ends: whatever is activated for the first time
    /// has few who need it or few whom it needs that claimed anything yet, however long the chain is that it is in.
    fn may_reach(&self, from: &Slot, to: &Slot) -> bool {
        let (mut down, mut up) = (BTreeSet::from([from]), BTreeSet::from([to]));
        let (mut below, mut above) = (vec![from], vec![to]);
        while let (Some(low), Some(high)) = (below.pop(), above.pop()) {
            for (next, _) in self
                .needs
                .get(low)
                .into_iter()
                .flat_map(|needs| needs.all())
            {
                if up.contains(next) {
                    return true;
                }
                if down.insert(next) {
                    below.push(next);
                }
            }
            for next in self.needed_by.get(high).into_iter().flatten() {
                if down.contains(next) {
                    return true;
                }
                if up.insert(next) {
                    above.push(next);
                }
            }
        }
        false
    }
}
