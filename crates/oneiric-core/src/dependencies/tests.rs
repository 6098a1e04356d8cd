//! Rings, levels and what is missing, against a naive model and by size.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{Origin, Registry, RegistryConfig, TiePolicy};

fn slot(number: usize) -> Slot {
    format!("service/s{number:05}").parse().unwrap()
}

fn graph(edges: &[(usize, usize, bool)]) -> Dependencies {
    let mut graph = Dependencies::new();
    for (from, on, optional) in edges {
        graph.need(&slot(*from), &slot(*on), *optional);
    }
    graph
}

/// Every ring in which no slot comes twice, in the form that is promised.
fn every_ring(edges: &[(usize, usize)]) -> BTreeSet<Vec<usize>> {
    fn walk(path: &mut Vec<usize>, edges: &[(usize, usize)], found: &mut BTreeSet<Vec<usize>>) {
        let (first, last) = (path[0], path[path.len() - 1]);
        for (_, on) in edges.iter().filter(|(from, _)| *from == last) {
            if *on == first {
                let mut ring = path.clone();
                ring.push(first);
                found.insert(ring);
            } else if *on > first && !path.contains(on) {
                path.push(*on);
                walk(path, edges, found);
                path.pop();
            }
        }
    }
    let mut found = BTreeSet::new();
    for (first, _) in edges {
        walk(&mut vec![*first], edges, &mut found);
    }
    found
}

fn numbers(paths: &[Vec<Slot>]) -> Vec<Vec<usize>> {
    let number = |slot: &Slot| {
        slot.as_str()
            .trim_start_matches("service/s")
            .parse()
            .unwrap()
    };
    paths
        .iter()
        .map(|path| path.iter().map(number).collect())
        .collect()
}

fn edges_of(rings: &BTreeSet<Vec<usize>>) -> BTreeSet<(usize, usize)> {
    let steps = rings.iter().flat_map(|ring| ring.windows(2));
    steps.map(|step| (step[0], step[1])).collect()
}

proptest! {
    #[test]
    fn rings_are_those_of_a_naive_search_and_leave_no_edge_out(
        edges in prop::collection::vec((0..6_usize, 0..6_usize, any::<bool>()), 0..14)
    ) {
        let graph = graph(&edges);
        let firm: Vec<_> = edges.iter().filter(|(.., o)| !o).map(|(f, t, _)| (*f, *t)).collect();
        let all: Vec<_> = edges.iter().map(|(f, t, _)| (*f, *t)).collect();

        let (found, more) = graph.cycles();
        prop_assert!(!more);
        let found = numbers(&found);
        let set: BTreeSet<_> = found.iter().cloned().collect();
        prop_assert_eq!(set.len(), found.len(), "each once");
        let naive = every_ring(&firm);
        prop_assert!(set.is_subset(&naive), "{set:?} of {naive:?}");
        prop_assert_eq!(edges_of(&set), edges_of(&naive));

        let (found, _) = graph.optional_cycles();
        let set: BTreeSet<_> = numbers(&found).into_iter().collect();
        let naive = every_ring(&all);
        prop_assert!(set.is_subset(&naive), "{set:?} of {naive:?}");
        let optional: BTreeSet<_> = edges.iter().filter(|e| e.2).map(|e| (e.0, e.1)).collect();
        let wanted: BTreeSet<_> = edges_of(&naive).intersection(&optional).copied().collect();
        let shown: BTreeSet<_> = edges_of(&set).intersection(&optional).copied().collect();
        prop_assert_eq!(wanted, shown);
    }

    #[test]
    fn dependents_stand_once_and_behind_all_that_they_need(
        edges in prop::collection::vec((0..9_usize, 0..9_usize), 0..20), of in 0..9_usize
    ) {
        // Downwards only: no rings.
        let edges: Vec<_> = edges.into_iter().filter(|(from, on)| from > on).collect();
        let with: Vec<_> = edges.iter().map(|(from, on)| (*from, *on, from % 2 == 0)).collect();
        let levels = numbers(&graph(&with).dependents_of(&slot(of)));
        let mut reached = BTreeSet::from([of]);
        while let Some(next) = edges.iter().find(|(f, t)| reached.contains(t) && !reached.contains(f)) {
            reached.insert(next.0);
        }
        reached.remove(&of);
        let listed: Vec<usize> = levels.iter().flatten().copied().collect();
        prop_assert_eq!(listed.len(), reached.len());
        prop_assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), reached);
        let level = |slot: usize| levels.iter().position(|level| level.contains(&slot));
        for (from, on) in &edges {
            if let (Some(from), Some(on)) = (level(*from), level(*on)) {
                prop_assert!(on < from);
            }
        }
        for (nth, members) in levels.iter().enumerate().skip(1) {
            for member in members {
                let behind = |(from, on): &(usize, usize)| from == member && level(*on) == Some(nth - 1);
                prop_assert!(edges.iter().any(behind), "as early as can be");
            }
        }
    }
}

#[test]
fn a_ring_of_every_length_is_found_as_one_path_from_its_first_slot() {
    for length in 1..=40 {
        let edges: Vec<_> = (0..length)
            .map(|at| (at, (at + 1) % length, false))
            .collect();
        let (rings, more) = graph(&edges).cycles();
        let mut path: Vec<usize> = (0..length).collect();
        path.push(0);
        assert_eq!((numbers(&rings), more), (vec![path], false));
        assert!(graph(&edges).optional_cycles().0.is_empty());
    }
}

#[test]
fn rings_that_share_a_slot_are_two_and_a_diamond_is_none() {
    let eight = graph(&[(0, 1, false), (1, 0, false), (0, 2, false), (2, 0, false)]);
    assert_eq!(numbers(&eight.cycles().0), [[0, 1, 0], [0, 2, 0]]);
    let diamond = graph(&[(3, 1, false), (3, 2, false), (1, 0, false), (2, 0, false)]);
    assert!(diamond.cycles().0.is_empty());
    assert_eq!(
        numbers(&diamond.dependents_of(&slot(0))),
        [vec![1, 2], vec![3]]
    );
    assert!(diamond.dependents_of(&slot(9)).is_empty());
}

#[test]
fn ten_thousand_slots_in_one_chain_one_ring_or_all_needing_each_other_end() {
    const MANY: usize = 10_000;
    let mut chain: Vec<_> = (1..MANY).map(|at| (at, at - 1, false)).collect();
    let built = graph(&chain);
    assert!(built.cycles().0.is_empty());
    assert_eq!(built.dependents_of(&slot(0)).len(), MANY - 1);
    chain.push((0, MANY - 1, false));
    let (rings, more) = graph(&chain).cycles();
    assert_eq!((rings.len(), rings[0].len(), more), (1, MANY + 1, false));

    let tangle: Vec<_> = (0..150)
        .flat_map(|from| (0..150).map(move |on| (from, on, false)))
        .collect();
    let (rings, more) = graph(&tangle).cycles();
    assert_eq!((rings.len(), more), (RINGS, true));
}

#[test]
fn what_nobody_can_serve_is_named_with_the_reason() {
    let registry = Registry::with_config(RegistryConfig {
        ties: TiePolicy::Error,
        ..RegistryConfig::default()
    });
    let name = |text: &str| -> Slot { text.parse().unwrap() };
    let begin = |of: &str, by: &str| {
        Candidate::builder(name(of), Provider::new(by).unwrap(), Origin::settings())
    };
    let needy = begin("service/web", "web")
        .requires(name("service/nobody"))
        .requires(name("service/tied"))
        .requires(name("service/fine"))
        .optionally_requires(name("service/strange"))
        .optionally_requires(name("service/nowhere"));
    for candidate in [
        needy,
        begin("service/tied", "a"),
        begin("service/tied", "b"),
        begin("service/fine", "a"),
        begin("service/strange", "alien"),
    ] {
        registry.register(candidate.build()).keep();
    }
    let faults = DependencyFaults::of(&registry.snapshot(), |one| {
        one.provider().as_str() != "alien"
    });
    let lines: Vec<String> = faults.lines().collect();
    assert_eq!(
        lines,
        [
            "service/web: web needs service/nobody, which nobody provides",
            "service/web: web needs service/tied, where the best are tied",
        ]
    );
    let notes: Vec<String> = faults.notes().collect();
    assert_eq!(
        notes,
        ["service/web: web could use service/strange, whose winner alien cannot be built here"]
    );
    assert!(!faults.is_empty());
}
