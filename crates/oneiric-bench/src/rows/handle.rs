//! A slot that was looked up beforehand: what a look costs while nothing changes.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use oneiric_core::{Candidate, Origin, Registered, Registry, Slot};

use super::control;
use crate::row::{Contest, Contestant, Goal, Operation, Row, repeated};

pub(super) const NAME: &str = "handle";

pub(super) fn row() -> Result<Row, Box<dyn Error>> {
    let ours = Operation::new(|| {
        let (registry, winner) = registry()?;
        Ok(repeated(move || {
            let mut handle = registry.handle(winner.slot());
            move || {
                black_box(handle.winner());
            }
        }))
    })?;
    let peer = Operation::new(|| {
        let (_, winner) = registry()?;
        let swap = Arc::new(ArcSwap::from_pointee(winner));
        Ok(repeated(move || {
            let swap = Arc::clone(&swap);
            move || {
                black_box(&**swap.load());
            }
        }))
    })?;
    Ok(Row {
        name: NAME,
        title: "Look at a slot that was resolved beforehand",
        note: "Each thread has its own handle to one slot.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("`ArcSwap::load`", peer),
            Contestant::ours("`SlotHandle::winner`", ours).goal(Goal::Ratio {
                threads: 1,
                at_most: 0.15,
                stretch: None,
            }),
        ]),
    })
}

fn registry() -> Result<(Registry, Registered), Box<dyn Error>> {
    let slot: Slot = "adapter/cache".parse()?;
    let registry = Registry::new();
    let candidate = Candidate::builder(slot, "memory".parse()?, Origin::settings()).build();
    let registration = registry.register(candidate);
    let winner = registration.registered();
    registration.keep();
    Ok((registry, winner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_shows_the_winner() {
        let (registry, winner) = registry().unwrap();
        let mut handle = registry.handle(winner.slot());
        assert_eq!(handle.winner().map(|held| held.id()), Some(winner.id()));
    }
}
