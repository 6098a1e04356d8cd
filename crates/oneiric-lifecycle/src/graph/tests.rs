use proptest::prelude::*;

use super::*;

fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

fn slots(names: &[&str]) -> Vec<Slot> {
    names.iter().map(|name| slot(name)).collect()
}

fn claim(graph: &Arc<Graph>, of: &str, requires: &[&str], optional: &[&str]) -> Claim {
    graph
        .claim(&slot(of), &slots(requires), &slots(optional))
        .unwrap()
}

fn names(slots: &[Slot]) -> Vec<&str> {
    slots.iter().map(Slot::as_str).collect()
}

#[test]
fn a_ring_is_refused_with_its_path() {
    let graph = Arc::new(Graph::default());
    claim(&graph, "service/a", &["service/b"], &[]).settle(1);
    claim(&graph, "service/b", &["service/c"], &[]).settle(1);
    let ring = graph
        .claim(&slot("service/c"), &slots(&["service/a"]), &[])
        .unwrap_err();
    assert_eq!(
        names(&ring),
        ["service/c", "service/a", "service/b", "service/c"]
    );
}

#[test]
fn two_claims_under_way_cannot_close_a_ring_together() {
    let graph = Arc::new(Graph::default());
    let first = claim(&graph, "service/a", &["service/b"], &[]);
    let second = || graph.claim(&slot("service/b"), &slots(&["service/a"]), &[]);
    assert!(second().is_err());
    drop(first);
    assert!(second().is_ok());
}

#[test]
fn a_slot_that_needs_itself_is_a_ring_and_one_that_could_use_itself_does_without() {
    let graph = Arc::new(Graph::default());
    let (a, itself) = (slot("service/a"), slots(&["service/a"]));
    assert_eq!(graph.claim(&a, &itself, &[]).unwrap_err().len(), 2);
    let claimed = graph.claim(&a, &[], &itself).unwrap();
    assert_eq!(claimed.left_out()[0].ring.len(), 2);
}

#[test]
fn whoever_can_do_without_gives_way_whichever_end_comes_first() {
    let graph = Arc::new(Graph::default());
    let waits = claim(&graph, "service/a", &[], &["service/b"]);
    let needs = claim(&graph, "service/b", &["service/a"], &[]);
    assert!(waits.optional()[0].1.is_cancelled());
    waits.settle(1);
    needs.settle(1);
    assert_eq!(graph.holders(&slot("service/b")), []);
    assert_eq!(names(&graph.holders(&slot("service/a"))), ["service/b"]);

    let graph = Arc::new(Graph::default());
    claim(&graph, "service/b", &["service/a"], &[]).settle(1);
    let second = claim(&graph, "service/a", &[], &["service/b"]);
    assert_eq!(second.left_out().len(), 1);
    assert!(second.optional().is_empty());
}

#[test]
fn an_optional_edge_of_one_that_serves_stands_until_the_requirement_does() {
    let graph = Arc::new(Graph::default());
    claim(&graph, "service/a", &[], &["service/b"]).settle(1);
    drop(claim(&graph, "service/b", &["service/a"], &[]));
    assert_eq!(names(&graph.holders(&slot("service/b"))), ["service/a"]);
    claim(&graph, "service/b", &["service/a"], &[]).settle(2);
    assert_eq!(graph.holders(&slot("service/b")), []);
}

#[test]
fn dependents_come_before_what_they_need() {
    let graph = Arc::new(Graph::default());
    claim(&graph, "service/web", &["adapter/cache"], &[]).settle(1);
    claim(&graph, "adapter/cache", &[], &["service/clock"]).settle(1);
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
    // Also where the way leads through one that is not asked about.
    let ends = ["service/web", "service/clock"].map(slot);
    let groups = graph.dependents_first(&ends.iter().cloned().collect());
    assert_eq!(groups, ends.map(|slot| vec![slot]));
}

#[test]
fn what_somebody_needs_does_not_leave_and_what_leaves_is_waited_for() {
    let graph = Arc::new(Graph::default());
    let held = claim(&graph, "service/web", &["adapter/cache"], &[]);
    let cache = slot("adapter/cache");
    assert_eq!(names(&graph.leave(&cache).unwrap_err()), ["service/web"]);
    assert!(!held.is_leaving(&cache));
    drop(held);
    let leaving = graph.leave(&cache).unwrap();
    let waits = claim(&graph, "service/web", &[], &["adapter/cache"]);
    assert!(waits.is_leaving(&cache));
    drop(waits);
    drop(leaving);
    assert!(!claim(&graph, "service/web", &["adapter/cache"], &[]).is_leaving(&cache));
}

#[test]
fn what_is_resting_on_what_goes_by_those_that_serve() {
    let graph = Arc::new(Graph::default());
    claim(&graph, "service/c", &["service/b"], &[]).settle(1);
    claim(&graph, "service/b", &[], &["service/a"]).settle(1);
    let of = |names: &[&str]| slots(names).into_iter().collect::<BTreeSet<_>>();
    let c = slot("service/c");
    assert!(graph.rests_on_any(&c, &of(&["service/a"])));
    assert!(!graph.rests_on_any(&c, &of(&["service/c", "service/d"])));
    assert!(!graph.rests_on_any(&slot("service/a"), &of(&["service/c"])));
}

/// What a transition does with its claim, by slot.
#[derive(Debug, Clone)]
enum Step {
    Claim(usize, Vec<usize>, Vec<usize>),
    Settle(usize),
    GiveBack(usize),
    Retired(usize, usize),
    Forget(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0..6_usize, 0..3);
    prop_oneof![
        4 => (0..6_usize, some(), some()).prop_map(|(of, firm, optional)| Step::Claim(of, firm, optional)),
        3 => (0..6_usize).prop_map(Step::Settle),
        1 => (0..6_usize).prop_map(Step::GiveBack),
        1 => (0..6_usize, 0..3_usize).prop_map(|(of, which)| Step::Retired(of, which)),
        1 => (0..6_usize).prop_map(Step::Forget),
    ]
}

/// Requirements that are not optional, of any kind, as a naive model keeps them.
#[derive(Default)]
struct Model {
    claimed: BTreeMap<usize, Vec<usize>>,
    settled: BTreeMap<usize, Vec<(u64, Vec<usize>)>>,
}

impl Model {
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut reached = BTreeSet::from([from]);
        loop {
            let mut next: Vec<usize> = Vec::new();
            for at in &reached {
                next.extend(self.claimed.get(at).into_iter().flatten());
                let settled = self.settled.get(at).into_iter().flatten();
                next.extend(settled.flat_map(|(_, needs)| needs));
            }
            let before = reached.len();
            reached.extend(next);
            if reached.len() == before {
                return reached.contains(&to);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_claim_is_refused_exactly_for_a_ring_of_requirements_and_the_rest_stays_free_of_rings(
        steps in prop::collection::vec(step(), 0..40)
    ) {
        let name = |at: &usize| slot(&format!("service/s{at}"));
        let all = |of: &[usize]| of.iter().map(name).collect::<Vec<_>>();
        let graph = Arc::new(Graph::default());
        let mut claims: BTreeMap<usize, Claim> = BTreeMap::new();
        let mut model = Model::default();
        let mut instances = 0;
        for step in steps {
            match step {
                // As transitions do it: one at a time for each slot.
                Step::Claim(of, firm, optional) if !claims.contains_key(&of) => {
                    let optional: Vec<usize> =
                        optional.into_iter().filter(|need| !firm.contains(need)).collect();
                    let ring = firm.iter().any(|need| model.reaches(*need, of));
                    let claimed = graph.claim(&name(&of), &all(&firm), &all(&optional));
                    prop_assert_eq!(claimed.is_err(), ring);
                    if let Ok(claimed) = claimed {
                        let count = claimed.optional().len() + claimed.left_out().len();
                        prop_assert!(count >= optional.iter().collect::<BTreeSet<_>>().len());
                        claims.insert(of, claimed);
                        model.claimed.insert(of, firm);
                    }
                }
                Step::Settle(of) => {
                    if let Some(claimed) = claims.remove(&of) {
                        instances += 1;
                        claimed.settle(instances);
                        let new = model.claimed.remove(&of).unwrap_or_default();
                        model.settled.entry(of).or_default().push((instances, new));
                    }
                }
                Step::GiveBack(of) => {
                    claims.remove(&of);
                    model.claimed.remove(&of);
                }
                // Any of them, the one that serves too: it may be swung back from.
                Step::Retired(of, which) => {
                    let settled = model.settled.entry(of).or_default();
                    if !settled.is_empty() {
                        let (instance, _) = settled.remove(which % settled.len());
                        graph.retired(&name(&of), instance);
                    }
                }
                Step::Forget(of) if !claims.contains_key(&of) => {
                    graph.forget(&name(&of));
                    model.settled.remove(&of);
                }
                Step::Claim(..) | Step::Forget(_) => {}
            }
            // Nobody waits in a ring: what is claimed is waited for.
            let nodes = graph.lock();
            let mut waits = Dependencies::new();
            let mut serving = Dependencies::new();
            for (of, needs) in &nodes.needs {
                let claimed = needs.claimed.values().flatten();
                claimed.for_each(|(need, _)| waits.need(of, need, false));
                needs.settled().for_each(|(need, _)| serving.need(of, need, false));
                for (need, _) in needs.all() {
                    prop_assert!(nodes.needed_by[need].contains(of));
                }
            }
            for (need, holders) in &nodes.needed_by {
                prop_assert!(holders.iter().all(|of| nodes.needs[of].has(need)));
            }
            prop_assert_eq!(waits.cycles().0, Vec::<Vec<Slot>>::new());
            prop_assert_eq!(serving.cycles().0, Vec::<Vec<Slot>>::new());
        }
    }
}
