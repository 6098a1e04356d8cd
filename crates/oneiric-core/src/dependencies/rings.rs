//! The rings of a graph: Tarjan's strongly connected components say which edges are part of any, and the shortest way
//! back along each such edge gives one to show.
//!
//! Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972; the recursion is a stack here.

use std::collections::VecDeque;

use super::{Dependencies, Need, RINGS};
use crate::slot::Slot;

impl Dependencies {
    /// Returns the rings of requirements that are not optional, each as a path from one slot to itself, and whether
    /// there are more than are named. Every edge that is part of a ring is part of one that is returned, unless there
    /// are more.
    #[must_use]
    pub fn cycles(&self) -> (Vec<Vec<Slot>>, bool) {
        self.rings(|need| !need.optional, |_| true)
    }

    /// Returns, in the same way, rings that hold an optional requirement.
    #[must_use]
    pub fn optional_cycles(&self) -> (Vec<Vec<Slot>>, bool) {
        self.rings(|_| true, |need| need.optional)
    }

    /// Rings along the edges that `follow` lets through, until each edge that `seek` wants is in one.
    fn rings(
        &self,
        follow: impl Fn(&Need) -> bool,
        seek: impl Fn(&Need) -> bool,
    ) -> (Vec<Vec<Slot>>, bool) {
        let component = self.components(&follow);
        let within =
            |from: usize, need: &Need| follow(need) && component[from] == component[need.on];
        let mut shown: Vec<Vec<bool>> = self.needs.iter().map(|n| vec![false; n.len()]).collect();
        let mut rings = Vec::new();
        for from in 0..self.needs.len() {
            for (nth, need) in self.needs[from].iter().enumerate() {
                if shown[from][nth] || !seek(need) || !within(from, need) {
                    continue;
                }
                if rings.len() == RINGS {
                    return (sorted(rings), true);
                }
                let back = self.shortest(need.on, from, within);
                for step in back.windows(2) {
                    if let [at, next] = step {
                        self.mark(&mut shown, *at, *next);
                    }
                }
                self.mark(&mut shown, from, need.on);
                rings.push(self.ring(&back));
            }
        }
        (sorted(rings), false)
    }

    /// All edges from one slot to another are the same to somebody who reads of a ring.
    fn mark(&self, shown: &mut [Vec<bool>], from: usize, on: usize) {
        for (need, shown) in self.needs[from].iter().zip(&mut shown[from]) {
            *shown |= need.on == on;
        }
    }

    /// `back` leads from the second slot of the ring to the first.
    fn ring(&self, back: &[usize]) -> Vec<Slot> {
        let mut ring: Vec<Slot> = back.iter().map(|at| self.slot(*at).clone()).collect();
        if let Some(first) = (0..ring.len()).min_by_key(|at| &ring[*at]) {
            ring.rotate_left(first);
        }
        ring.extend(ring.first().cloned());
        ring
    }

    /// The shortest path, both ends included. There is one: both are in one component.
    fn shortest(
        &self,
        from: usize,
        to: usize,
        within: impl Fn(usize, &Need) -> bool,
    ) -> Vec<usize> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.needs.len()];
        let mut open = VecDeque::from([from]);
        while let Some(at) = open.pop_front() {
            if at == to {
                break;
            }
            for need in self.needs[at].iter().filter(|need| within(at, need)) {
                if need.on != from && came_from[need.on].is_none() {
                    came_from[need.on] = Some(at);
                    open.push_back(need.on);
                }
            }
        }
        let mut path = vec![to];
        let mut at = to;
        while at != from
            && let Some(before) = came_from[at]
        {
            path.push(before);
            at = before;
        }
        path.reverse();
        path
    }

    /// The component of each slot, along the edges that `follow` lets through. A slot alone in its component is in a
    /// ring only if it needs itself, and then the edge stays within the component too.
    fn components(&self, follow: &impl Fn(&Need) -> bool) -> Vec<usize> {
        const UNSEEN: usize = usize::MAX;
        let count = self.needs.len();
        let mut number = vec![UNSEEN; count];
        let mut lowest = vec![UNSEEN; count];
        let mut component = vec![UNSEEN; count];
        let (mut numbers, mut components) = (0, 0);
        let mut stack: Vec<usize> = Vec::new();
        for root in 0..count {
            if number[root] != UNSEEN {
                continue;
            }
            let mut calls: Vec<(usize, usize)> = vec![(root, 0)];
            while let Some((at, nth)) = calls.pop() {
                if nth == 0 {
                    number[at] = numbers;
                    lowest[at] = numbers;
                    numbers += 1;
                    stack.push(at);
                }
                if let Some(need) = self.needs[at].get(nth) {
                    calls.push((at, nth + 1));
                    let on = need.on;
                    if follow(need) {
                        if number[on] == UNSEEN {
                            calls.push((on, 0));
                        } else if component[on] == UNSEEN {
                            lowest[at] = lowest[at].min(number[on]);
                        }
                    }
                    continue;
                }
                if let Some((caller, _)) = calls.last() {
                    lowest[*caller] = lowest[*caller].min(lowest[at]);
                }
                if lowest[at] == number[at] {
                    while let Some(member) = stack.pop() {
                        component[member] = components;
                        if member == at {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        component
    }
}

fn sorted(mut rings: Vec<Vec<Slot>>) -> Vec<Vec<Slot>> {
    rings.sort_unstable();
    rings.dedup();
    rings
}
