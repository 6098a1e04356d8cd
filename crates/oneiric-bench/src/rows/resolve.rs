//! Who wins a slot, asked by slot and by name, among 64 slots that are asked for in turn.

use std::error::Error;
use std::hash::Hash;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use oneiric_core::{Candidate, Origin, Registered, Registry, Slot};

use crate::row::{Contest, Contestant, Goal, Row, repeated};

pub(super) const NAME: &str = "resolve";
const SLOTS: usize = 64;

/// A map's key, and the same without owning it.
type Owned = (Box<str>, Box<str>);
type Map = HashMap<Owned, Arc<Registered>>;

#[derive(Hash)]
struct Borrowed<'a>(&'a str, &'a str);

impl Equivalent<Owned> for Borrowed<'_> {
    fn equivalent(&self, key: &Owned) -> bool {
        *self.0 == *key.0 && *self.1 == *key.1
    }
}

pub(super) fn row() -> Result<Row, Box<dyn Error>> {
    let slots = slots()?;
    let names: Vec<Owned> = slots
        .iter()
        .map(|slot| (slot.domain().as_str().into(), slot.key().as_str().into()))
        .collect();
    let registry = registry(&slots)?;
    let map: Map = names
        .iter()
        .cloned()
        .zip(registry.snapshot().active().cloned().map(Arc::new))
        .collect();
    let swap = Arc::new(ArcSwap::from_pointee(map.clone()));

    let own = {
        let names = names.clone();
        repeated(move || {
            let (map, names, mut turn) = (map.clone(), names.clone(), Turn::default());
            move || {
                let (domain, key) = &names[turn.next()];
                black_box(map.get(&Borrowed(black_box(domain), black_box(key))));
            }
        })
    };

    let by_name = {
        let (registry, names) = (registry.clone(), names.clone());
        repeated(move || {
            let (registry, names, mut turn) = (registry.clone(), names.clone(), Turn::default());
            move || {
                let (domain, key) = &names[turn.next()];
                registry.read(|all| {
                    black_box(all.winner_by_str(black_box(domain), black_box(key)));
                });
            }
        })
    };
    let by_slot = repeated(move || {
        let (registry, slots, mut turn) = (registry.clone(), slots.clone(), Turn::default());
        move || {
            let slot = &slots[turn.next()];
            registry.read(|all| {
                black_box(all.winner(black_box(slot)));
            });
        }
    });
    let peer = repeated(move || {
        let (swap, names, mut turn) = (Arc::clone(&swap), names.clone(), Turn::default());
        move || {
            let (domain, key) = &names[turn.next()];
            let all = swap.load();
            black_box(all.get(&Borrowed(black_box(domain), black_box(key))));
        }
    });
    let at_most = Goal::Ratio {
        threads: 1,
        at_most: 0.6,
        stretch: None,
    };
    let scaling = Goal::Scaling { at_least: 0.95 };
    Ok(Row {
        name: NAME,
        title: "Resolve a slot",
        note: "64 slots, asked for in turn. Both sides hand out a reference to the winner.",
        contest: Contest::Operations(vec![
            Contestant::control("control: `hashbrown::HashMap` get, the thread's own", own),
            Contestant::peer(
                "`ArcSwap<hashbrown::HashMap>`: load, get by borrowed key",
                peer,
            ),
            Contestant::ours("`Registry::read`, `winner(&slot)`", by_slot)
                .goal(at_most)
                .goal(scaling),
            Contestant::ours("`Registry::read`, `winner_by_str(domain, key)`", by_name)
                .goal(at_most)
                .goal(scaling),
        ]),
    })
}

fn slots() -> Result<Vec<Slot>, Box<dyn Error>> {
    (0..SLOTS)
        .map(|number| Ok(format!("adapter/part-{number:02}").parse()?))
        .collect()
}

fn registry(slots: &[Slot]) -> Result<Registry, Box<dyn Error>> {
    let registry = Registry::new();
    let origin = Origin::code("bench")?;
    for slot in slots {
        for (provider, priority) in [("first", 2), ("second", 1)] {
            let candidate = Candidate::builder(slot.clone(), provider.parse()?, origin.clone())
                .priority(priority);
            registry.register(candidate.build()).keep();
        }
    }
    Ok(registry)
}

/// Goes round the slots.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    fn next(&mut self) -> usize {
        self.0 = (self.0 + 1) % SLOTS;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn both_sides_find_the_same_winner() {
        let slots = slots().unwrap();
        let registry = registry(&slots).unwrap();
        let winner = registry.read(|all| all.winner(&slots[7]).cloned()).unwrap();
        assert_eq!(winner.provider().as_str(), "first");
        let by_name = registry.read(|all| all.winner_by_str("adapter", "part-07").cloned());
        assert_eq!(by_name.map(|one| one.id()), Some(winner.id()));
    }

    #[test]
    fn a_borrowed_key_finds_an_owned_one() {
        let hasher = RandomState::new();
        let owned: Owned = ("adapter".into(), "cache".into());
        let borrowed = Borrowed("adapter", "cache");
        assert!(borrowed.equivalent(&owned));
        assert_eq!(hasher.hash_one(&owned), hasher.hash_one(&borrowed));
    }
}
