//! The registry against a naive model: a list of candidates, sorted by a key when asked. Whatever happened before, the
//! answers may depend on the candidates and selections that are left, and on nothing else.

use std::{cmp::Reverse, collections::BTreeMap};

use oneiric_core::{
    Candidate, Change, Origin, Provider, Query, Registered, Registration, Registry, RegistryConfig,
    SelectionLayer, Slot, TiePolicy, Verdict, query,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::support::{origin, provider, slot};

const SLOTS: [&str; 2] = ["adapter/cache", "task/mail"];
const PROVIDERS: [&str; 3] = ["a", "b", "c"];
const ORIGINS: [&str; 3] = ["settings", "code:x", "remote:y"];

/// What a candidate has besides its place.
#[derive(Debug, Clone)]
struct Traits {
    priority: Option<i64>,
    stack_level: Option<i64>,
    fallback: bool,
    capabilities: Vec<&'static str>,
}

impl Traits {
    fn candidate(&self, place: (usize, usize, usize)) -> Candidate {
        let (at, whose, from) = place;
        let mut builder = Candidate::builder(
            slot(SLOTS[at]),
            provider(PROVIDERS[whose]),
            origin(ORIGINS[from]),
        )
        .fallback(self.fallback)
        .capabilities(self.capabilities.iter().copied());
        if let Some(priority) = self.priority {
            builder = builder.priority(priority);
        }
        if let Some(stack_level) = self.stack_level {
            builder = builder.stack_level(stack_level);
        }
        builder.build()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Register((usize, usize, usize), Traits),
    Unregister(prop::sample::Index),
    Update(prop::sample::Index, i64),
    Replace(usize, BTreeMap<(usize, usize), Traits>),
    Select(SelectionLayer, usize, Option<usize>),
}

fn traits() -> impl Strategy<Value = Traits> {
    let capabilities = vec(select(vec!["kv", "ttl"]), 0..3);
    (
        option::of(-2..3_i64),
        option::of(-1..2_i64),
        prop::bool::weighted(0.2),
        capabilities,
    )
        .prop_map(|(priority, stack_level, fallback, capabilities)| Traits {
            priority,
            stack_level,
            fallback,
            capabilities,
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..SLOTS.len(), 0..PROVIDERS.len(), 0..ORIGINS.len());
    let batch = prop::collection::btree_map((0..SLOTS.len(), 0..PROVIDERS.len()), traits(), 0..5);
    let layer = select(vec![SelectionLayer::Settings, SelectionLayer::Operator]);
    let chosen = option::of(0..PROVIDERS.len());
    vec(
        prop_oneof![
            5 => (place, traits()).prop_map(|(place, traits)| Step::Register(place, traits)),
            2 => any::<prop::sample::Index>().prop_map(Step::Unregister),
            2 => (any::<prop::sample::Index>(), -2..3_i64).prop_map(|(at, priority)| Step::Update(at, priority)),
            2 => (0..ORIGINS.len(), batch).prop_map(|(from, batch)| Step::Replace(from, batch)),
            2 => (layer, 0..SLOTS.len(), chosen).prop_map(|(layer, at, chosen)| Step::Select(layer, at, chosen)),
        ],
        1..25,
    )
}

fn policies() -> impl Strategy<Value = TiePolicy> {
    select(vec![TiePolicy::Newest, TiePolicy::Oldest, TiePolicy::Error])
}

/// The naive registry.
struct Model {
    config: RegistryConfig,
    held: Vec<(u64, Candidate)>,
    selections: BTreeMap<(Slot, SelectionLayer), Provider>,
    last: u64,
}

impl Model {
    fn add(&mut self, candidate: Candidate) {
        let place = |c: &Candidate| (c.slot().clone(), c.provider().clone(), c.origin().clone());
        self.held
            .retain(|(_, held)| place(held) != place(&candidate));
        self.last += 1;
        self.held.push((self.last, candidate));
    }

    fn replace(&mut self, from: &Origin, batch: &[Candidate]) {
        self.held
            .retain(|(_, held)| held.origin() != from || batch.contains(held));
        for candidate in batch {
            if !self.held.iter().any(|(_, held)| held == candidate) {
                self.add(candidate.clone());
            }
        }
    }

    fn selected(&self, slot: &Slot) -> Option<&Provider> {
        let layer = |layer| self.selections.get(&(slot.clone(), layer));
        layer(SelectionLayer::Operator).or(layer(SelectionLayer::Settings))
    }

    /// The sequence numbers of whoever satisfies the query, best first, and whether the first place is tied.
    fn rank(&self, query: &Query) -> (Vec<u64>, bool) {
        let wanted = query.wanted_capabilities();
        let mut ranked = Vec::new();
        for (sequence, held) in self
            .held
            .iter()
            .filter(|(_, held)| held.slot() == query.slot())
        {
            let has = |name: &&String| held.capabilities().contains(*name);
            let matches = wanted.names().iter().filter(has).count();
            let needed = if wanted.needs_all() {
                wanted.names().len()
            } else {
                wanted.names().len().min(1)
            };
            if matches < needed
                || query
                    .wanted_provider()
                    .is_some_and(|p| p != held.provider())
            {
                continue;
            }
            let key = (
                self.selected(query.slot()) == Some(held.provider()),
                !held.is_fallback(),
                matches,
                held.priority().unwrap_or(self.config.default_priority),
                held.stack_level().unwrap_or(0),
            );
            let age = i128::from(*sequence)
                * if self.config.ties == TiePolicy::Oldest {
                    -1
                } else {
                    1
                };
            ranked.push((key, age, *sequence));
        }
        ranked.sort_by_key(|(key, age, _)| Reverse((*key, *age)));
        let tied =
            self.config.ties == TiePolicy::Error && matches!(&ranked[..], [a, b, ..] if a.0 == b.0);
        (
            ranked
                .into_iter()
                .map(|(_, _, sequence)| sequence)
                .collect(),
            tied,
        )
    }
}

/// A registry and its model after the same steps.
struct Pair {
    registry: Registry,
    model: Model,
    registrations: Vec<Registration>,
    /// Winners as the deltas tell them.
    told: BTreeMap<Slot, Registered>,
}

fn run(ties: TiePolicy, default_priority: i64, steps: &[Step]) -> Pair {
    let config = RegistryConfig::default()
        .with_default_priority(default_priority)
        .with_ties(ties);
    let registry = Registry::with_config(config);
    let model = Model {
        config,
        held: Vec::new(),
        selections: BTreeMap::new(),
        last: 0,
    };
    let mut pair = Pair {
        registry,
        model,
        registrations: Vec::new(),
        told: BTreeMap::new(),
    };
    for step in steps {
        pair.step(step);
    }
    pair
}

impl Pair {
    fn step(&mut self, step: &Step) {
        let Self {
            registry,
            model,
            registrations,
            told,
        } = self;
        let delta = match step {
            Step::Register(place, traits) => {
                // register() returns no delta: what winners it changed is read back.
                let candidate = traits.candidate(*place);
                model.add(candidate.clone());
                registrations.push(registry.register(candidate.clone()));
                registry.read(|now| match now.winner(candidate.slot()) {
                    Some(winner) => told.insert(candidate.slot().clone(), winner.clone()),
                    None => told.remove(candidate.slot()),
                });
                return;
            }
            Step::Unregister(at) if !registrations.is_empty() => {
                let gone = registrations.swap_remove(at.index(registrations.len()));
                model
                    .held
                    .retain(|(sequence, _)| *sequence != gone.sequence());
                gone.unregister()
            }
            Step::Update(at, priority) if !registrations.is_empty() => {
                let target = at.get(registrations);
                let updated = target.update(|builder| builder.priority(*priority));
                let held = model
                    .held
                    .iter_mut()
                    .find(|(sequence, _)| *sequence == target.sequence());
                assert_eq!(updated.is_ok(), held.is_some());
                let Some((held, delta)) = held.zip(updated.ok()) else {
                    return;
                };
                held.1 = held.1.to_builder().priority(*priority).build();
                delta
            }
            Step::Unregister(_) | Step::Update(..) => return,
            Step::Replace(from, batch) => {
                let batch: Vec<Candidate> = batch
                    .iter()
                    .map(|((at, whose), traits)| traits.candidate((*at, *whose, *from)))
                    .collect();
                model.replace(&origin(ORIGINS[*from]), &batch);
                registry
                    .replace_origin(&origin(ORIGINS[*from]), batch)
                    .unwrap()
            }
            Step::Select(layer, at, chosen) => {
                let (slot, chosen) = (
                    slot(SLOTS[*at]),
                    chosen.map(|whose| provider(PROVIDERS[whose])),
                );
                match &chosen {
                    Some(name) => model
                        .selections
                        .insert((slot.clone(), *layer), name.clone()),
                    None => model.selections.remove(&(slot.clone(), *layer)),
                };
                registry.select(*layer, &slot, chosen)
            }
        };
        for change in &delta.winners {
            assert_eq!(
                change.before.as_ref().map(Registered::id),
                told.get(&change.slot).map(Registered::id)
            );
            match &change.after {
                Some(after) => told.insert(change.slot.clone(), after.clone()),
                None => told.remove(&change.slot),
            };
        }
    }
}

fn queries() -> Vec<Query> {
    let of = |at: &str| {
        let plain = Query::new(slot(at));
        vec![
            plain.clone(),
            plain.clone().provider(provider("a")),
            plain
                .clone()
                .provider(provider("b"))
                .capabilities(query::all(["kv"])),
            plain.clone().capabilities(query::all(["kv", "ttl"])),
            plain.capabilities(query::any(["kv", "ttl", "kv"])),
        ]
    };
    SLOTS.into_iter().flat_map(of).collect()
}

proptest! {
    #[test]
    fn answers_depend_on_what_is_left_only(ties in policies(), default in -1..2_i64, steps in steps()) {
        let Pair { registry, model, told, registrations: _registrations } = run(ties, default, &steps);
        let snapshot = registry.snapshot();
        prop_assert_eq!(snapshot.len(), model.held.len());
        for query in queries() {
            let (ranked, tied) = model.rank(&query);
            let all: Vec<u64> = snapshot.resolve_all(&query).iter().map(Registered::sequence).collect();
            prop_assert_eq!(&all, &ranked);
            let best = if tied { None } else { ranked.first().copied() };
            let resolved = snapshot.resolve_optional(&query);
            prop_assert_eq!(resolved.is_err(), tied);
            prop_assert_eq!(resolved.ok().flatten().map(|held| held.sequence()), best);
            let explanation = snapshot.explain(&query);
            prop_assert_eq!(explanation.winner.as_ref().map(|winner| winner.sequence), best);
            let order: Vec<u64> = explanation.candidates.iter().map(|one| one.score.4).collect();
            prop_assert_eq!(order, ranked);
            if query.is_plain() {
                let slot = query.slot();
                prop_assert_eq!(snapshot.winner(slot).map(Registered::sequence), best);
                let by_text = snapshot.winner_by_str(slot.domain().as_str(), slot.key().as_str());
                prop_assert_eq!(by_text.map(Registered::sequence), best);
                prop_assert_eq!(told.get(slot).map(Registered::sequence), best, "as the deltas tell");
                let losers = snapshot.shadowed_in(slot.domain()).map(Registered::sequence);
                let expected: Vec<u64> = all.iter().copied().filter(|one| Some(*one) != best).collect();
                prop_assert_eq!(losers.collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn every_change_that_explain_offers_makes_its_candidate_win_and_less_does_not(
        ties in policies(),
        steps in steps(),
    ) {
        let Pair { registry, registrations: _registrations, .. } = run(ties, 0, &steps);
        let snapshot = registry.snapshot();
        for query in queries() {
            for one in snapshot.explain(&query).candidates {
                let sequence = one.score.4;
                let wins = |change: Change| {
                    let assumed = snapshot.what_if(&query, &[change]).unwrap();
                    assumed.winner.is_some_and(|winner| winner.sequence == sequence)
                };
                for change in &one.would_win_with {
                    prop_assert!(wins(change.clone()), "{change} does not make #{sequence} win");
                    if let Some(less) = one_less(change) {
                        prop_assert!(!wins(less.clone()), "{less} is enough for #{sequence}");
                    }
                }
                if one.verdict != Verdict::Wins {
                    // What is not offered does not help.
                    let offers = |kind: fn(&Change) -> bool| one.would_win_with.iter().any(kind);
                    let high = Change::PriorityOf(id_of(&snapshot, sequence), 1_000_000);
                    prop_assert_eq!(wins(high), offers(|c| matches!(c, Change::Priority(..) | Change::PriorityOf(..))));
                    let high = Change::StackLevelOf(id_of(&snapshot, sequence), 1_000_000);
                    prop_assert_eq!(wins(high), offers(|c| matches!(c, Change::StackLevelOf(..))));
                    let again = Change::Again(id_of(&snapshot, sequence));
                    prop_assert_eq!(wins(again), offers(|c| matches!(c, Change::Again(_))));
                    let select = Change::Select(one.provider.clone());
                    prop_assert_eq!(wins(select), offers(|c| matches!(c, Change::Select(_))));
                } else {
                    prop_assert!(one.would_win_with.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_happens_if_the_active_one_dies_is_what_explain_says(ties in policies(), steps in steps()) {
        let Pair { registry, registrations: _registrations, .. } = run(ties, 0, &steps);
        for query in queries() {
            let explanation = registry.explain(&query);
            let dead = registry.what_if(&query, &[Change::DownActive]);
            match explanation.winner {
                Some(_) => prop_assert_eq!(dead.unwrap().winner, explanation.successor),
                None => prop_assert!(dead.is_err()),
            }
        }
    }

    #[test]
    fn assumptions_come_true_when_they_are_made_true(steps in steps(), whose in 0..PROVIDERS.len()) {
        let Pair { registry, registrations: _registrations, .. } = run(TiePolicy::Newest, 0, &steps);
        let (at, chosen) = (slot(SLOTS[0]), provider(PROVIDERS[whose]));
        let query = Query::new(at.clone());
        let generation = registry.snapshot().generation();
        let assumed = registry.what_if(&query, &[Change::Select(chosen.clone())]).unwrap();
        prop_assert_eq!(registry.snapshot().generation(), generation, "assuming touches nothing");
        registry.select(SelectionLayer::Operator, &at, Some(chosen));
        prop_assert_eq!(assumed.winner, registry.explain(&query).winner);
    }
}

fn id_of(snapshot: &oneiric_core::Snapshot, sequence: u64) -> oneiric_core::CandidateId {
    let mut all = snapshot
        .slots()
        .flat_map(|slot| snapshot.resolve_all(&Query::new(slot.clone())));
    all.find(|held| held.sequence() == sequence).unwrap().id()
}

fn one_less(change: &Change) -> Option<Change> {
    match change {
        Change::Priority(whose, level) => Some(Change::Priority(whose.clone(), level - 1)),
        Change::PriorityOf(id, level) => Some(Change::PriorityOf(*id, level - 1)),
        Change::StackLevelOf(id, level) => Some(Change::StackLevelOf(*id, level - 1)),
        _ => None,
    }
}
