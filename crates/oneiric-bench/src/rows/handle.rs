//! A slot that was looked up beforehand: what a look costs while nothing changes.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use oneiric_core::{Candidate, Origin, Registry, Slot};

use super::control;
use crate::row::{Contest, Contestant, Goal, Row, repeated};

pub(super) const NAME: &str = "handle";

pub(super) fn row() -> Result<Row, Box<dyn Error>> {
    let slot: Slot = "adapter/cache".parse()?;
    let registry = Registry::new();
    let candidate = Candidate::builder(slot.clone(), "memory".parse()?, Origin::settings()).build();
    let winner = registry.register(candidate);
    let swap = Arc::new(ArcSwap::from_pointee(winner.registered()));
    winner.keep();

    let ours = repeated(move || {
        let mut handle = registry.handle(&slot);
        move || {
            black_box(handle.winner());
        }
    });
    let peer = repeated(move || {
        let swap = Arc::clone(&swap);
        move || {
            black_box(&**swap.load());
        }
    });
    Ok(Row {
        name: NAME,
        title: "Look at a slot that was resolved beforehand",
        note: "Each thread has its own handle to one slot.",
        contest: Contest::Operations(vec![
            control::increments(),
            Contestant::peer("`ArcSwap::load`", peer),
            Contestant::ours("`SlotHandle::winner`", ours).goal(Goal::Ratio {
                threads: 1,
                at_most: 0.15,
                stretch: None,
            }),
        ]),
    })
}
