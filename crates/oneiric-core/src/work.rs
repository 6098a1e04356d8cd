//! Counts work done by this thread (comparisons, copied rows, visited slots), for tests that show how cost grows.
//! Work is counted, never timed: a slow machine must not fail a test.

use std::cell::Cell;

thread_local! {
    static WORK: Cell<usize> = const { Cell::new(0) };
}

pub(crate) fn add(amount: usize) {
    WORK.with(|work| work.set(work.get() + amount));
}

/// Returns how much work `f` did.
pub(crate) fn of(f: impl FnOnce()) -> usize {
    let before = WORK.with(Cell::get);
    f();
    WORK.with(Cell::get) - before
}

mod tests {
    use crate::{
        Candidate, Domain, Origin, Provider, Registry, SelectionLayer, Slot, slot::holders, work,
    };

    fn candidate(slot: &str, provider: &str, priority: i64) -> Candidate {
        let (slot, provider) = (slot.parse().unwrap(), Provider::new(provider).unwrap());
        Candidate::builder(slot, provider, Origin::settings())
            .priority(priority)
            .build()
    }

    /// Registers `count` candidates one by one.
    fn fill(count: i64, one: impl Fn(i64) -> Candidate) -> Registry {
        let registry = Registry::new();
        for n in 0..count {
            registry.register(one(n)).keep();
        }
        registry
    }

    #[test]
    fn p04_registering_n_candidates_on_one_key_is_n_log_n() {
        let one = |n: i64| candidate("adapter/cache", &format!("p{n}"), n * 7919 % 1000);
        let few = work::of(|| drop(fill(500, one)));
        let many = work::of(|| drop(fill(4000, one)));
        // Eight times as many: 8 x log(4000)/log(500) is below 11; squared it would be 64.
        assert!(many < few * 12, "{few} steps for 500, {many} for 4000");
    }

    #[test]
    fn p04_registering_n_candidates_on_n_keys_is_n_log_n() {
        let one = |n: i64| candidate(&format!("adapter/k{n}"), "p", 0);
        let few = work::of(|| drop(fill(500, one)));
        let many = work::of(|| drop(fill(4000, one)));
        assert!(many < few * 12, "{few} steps for 500, {many} for 4000");
    }

    #[test]
    fn p04_listing_one_domain_does_not_walk_the_others() {
        let registry = fill(300, |n| candidate(&format!("task/k{n}"), "p", 0));
        registry.register(candidate("adapter/cache", "p", 0)).keep();
        let snapshot = registry.snapshot();
        let walked = work::of(|| assert_eq!(snapshot.slots_in(&Domain::ADAPTER).count(), 1));
        assert_eq!(walked, 1);
    }

    #[test]
    fn finding_a_winner_ranks_nothing() {
        let registry = fill(300, |n| candidate("adapter/cache", &format!("p{n}"), n));
        let slot: Slot = "adapter/cache".parse().unwrap();
        assert_eq!(
            work::of(|| registry.read(|now| assert!(now.winner(&slot).is_some()))),
            0
        );
    }

    #[test]
    fn p02_memory_stays_flat_when_entries_change_with_every_sync() {
        let registry = Registry::new();
        let slot: Slot = "adapter/cache".parse().unwrap();
        let sync = |round: i64| {
            let batch = (0..20).map(|n| {
                let provider = Provider::new(format!("p{n}")).unwrap();
                Candidate::builder(slot.clone(), provider, Origin::settings())
                    .priority(if n % 2 == 0 { round } else { 0 })
                    .build()
            });
            registry.replace_origin(&Origin::settings(), batch).unwrap();
            registry.select(
                SelectionLayer::Operator,
                &slot,
                Some(Provider::new("p3").unwrap()),
            );
            registry.select(SelectionLayer::Operator, &slot, None);
            registry.read(|now| assert_eq!(now.len(), 20));
        };
        sync(1);
        sync(2);
        let held = holders(&slot);
        for round in 3..1000 {
            sync(round);
        }
        assert_eq!(holders(&slot), held, "somebody keeps what was replaced");
    }
}
