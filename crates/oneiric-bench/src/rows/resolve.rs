//! Who wins a slot, asked by slot and by name, among 64 slots that are asked for in turn.

use std::error::Error;
use std::hash::Hash;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::{Equivalent, HashMap};
use oneiric_core::{Candidate, Origin, Registered, Registry, Slot};

use crate::row::{Contest, Contestant, Goal, Operation, Row, repeated};

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
    let own = Operation::new(|| {
        let Data { names, map, .. } = Data::new()?;
        Ok(repeated(move || {
            let (map, names, mut turn) = (map.clone(), names.clone(), Turn::default());
            move || {
                let (domain, key) = &names[turn.next()];
                black_box(map.get(&Borrowed(black_box(domain), black_box(key))));
            }
        }))
    })?;
    let peer = Operation::new(|| {
        let Data { names, map, .. } = Data::new()?;
        let swap = Arc::new(ArcSwap::from_pointee(map));
        Ok(repeated(move || {
            let (swap, names, mut turn) = (Arc::clone(&swap), names.clone(), Turn::default());
            move || {
                let (domain, key) = &names[turn.next()];
                let all = swap.load();
                black_box(all.get(&Borrowed(black_box(domain), black_box(key))));
            }
        }))
    })?;
    let by_slot = Operation::new(|| {
        let Data {
            registry, slots, ..
        } = Data::new()?;
        Ok(repeated(move || {
            let (registry, slots, mut turn) = (registry.clone(), slots.clone(), Turn::default());
            move || {
                let slot = &slots[turn.next()];
                registry.read(|all| {
                    black_box(all.winner(black_box(slot)));
                });
            }
        }))
    })?;
    let by_name = Operation::new(|| {
        let Data {
            registry, names, ..
        } = Data::new()?;
        Ok(repeated(move || {
            let (registry, names, mut turn) = (registry.clone(), names.clone(), Turn::default());
            move || {
                let (domain, key) = &names[turn.next()];
                registry.read(|all| {
                    black_box(all.winner_by_str(black_box(domain), black_box(key)));
                });
            }
        }))
    })?;
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

/// The same slots and winners for both sides.
struct Data {
    slots: Vec<Slot>,
    names: Vec<Owned>,
    registry: Registry,
    map: Map,
}

impl Data {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (registry, origin) = (Registry::new(), Origin::code("bench")?);
        let (mut slots, mut names, mut map) = (Vec::new(), Vec::new(), Map::default());
        for number in 0..SLOTS {
            let slot: Slot = format!("adapter/part-{number:02}").parse()?;
            let name: Owned = (slot.domain().as_str().into(), slot.key().as_str().into());
            for (provider, priority) in [("second", 1), ("first", 2)] {
                let candidate = Candidate::builder(slot.clone(), provider.parse()?, origin.clone());
                let registration = registry.register(candidate.priority(priority).build());
                map.insert(name.clone(), Arc::new(registration.registered()));
                registration.keep();
            }
            names.push(name);
            slots.push(slot);
        }
        Ok(Self {
            slots,
            names,
            registry,
            map,
        })
    }
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
    fn all_find_the_same_winner() {
        let data = Data::new().unwrap();
        let in_map = data.map.get(&Borrowed("adapter", "part-07")).unwrap();
        assert_eq!(in_map.provider().as_str(), "first");
        data.registry.read(|all| {
            let by_slot = all.winner(&data.slots[7]).unwrap();
            let by_name = all.winner_by_str("adapter", "part-07").unwrap();
            assert_eq!([by_slot.id(), by_name.id()], [in_map.id(); 2]);
        });
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
