//! Many candidates for one key, one after the other: the cost that grows when every registration ranks
//! all the others anew.

use std::cmp::Reverse;
use std::error::Error;
use std::hint::black_box;

use oneiric_core::{Candidate, Origin, Registry, Slot};

use crate::clock;
use crate::row::{Contest, Contestant, Piece, Row};

pub(super) const NAME: &str = "register";

pub(super) fn row() -> Result<Row, Box<dyn Error>> {
    let five = candidates(5_000)?;
    let ten = candidates(10_000)?;
    Ok(Row {
        name: NAME,
        title: "Register candidates for one key",
        note: "Milliseconds of CPU for all of them together. The peer keeps a sorted list for one \
               thread: no snapshots, no deltas, no replacing, no origins.",
        contest: Contest::Pieces(vec![
            Contestant::peer(
                "sorted list, sorted anew each time: 5,000",
                resorting(&five),
            ),
            Contestant::ours("`Registry::register`: 5,000", one_by_one(&five)),
            Contestant::ours("`Registry::replace_origin`: 5,000", at_once(&five)?),
            Contestant::peer(
                "sorted list, sorted anew each time: 10,000",
                resorting(&ten),
            )
            .twice_as_much_as(0),
            Contestant::ours("`Registry::register`: 10,000", one_by_one(&ten)).twice_as_much_as(1),
            Contestant::ours("`Registry::replace_origin`: 10,000", at_once(&ten)?)
                .twice_as_much_as(2),
        ]),
    })
}

fn one_by_one(candidates: &[Candidate]) -> Piece {
    let candidates = candidates.to_vec();
    Box::new(move || {
        let (registry, batch) = (Registry::new(), candidates.clone());
        clock::time(|| {
            for candidate in batch {
                registry.register(candidate).keep();
            }
        })
    })
}

fn at_once(candidates: &[Candidate]) -> Result<Piece, Box<dyn Error>> {
    let (origin, candidates) = (Origin::code("bench")?, candidates.to_vec());
    Ok(Box::new(move || {
        let (registry, batch) = (Registry::new(), candidates.clone());
        let mut delta = None;
        let timing = clock::time(|| delta = Some(registry.replace_origin(&origin, batch)));
        black_box(delta);
        timing
    }))
}

fn resorting(candidates: &[Candidate]) -> Piece {
    let candidates = candidates.to_vec();
    Box::new(move || {
        let (mut list, batch) = (Vec::new(), candidates.clone());
        let timing = clock::time(|| {
            for (sequence, candidate) in batch.into_iter().enumerate() {
                list.push((sequence, Box::new(candidate)));
                list.sort_by_key(|(sequence, one)| {
                    Reverse((
                        one.priority().unwrap_or_default(),
                        one.stack_level().unwrap_or_default(),
                        *sequence,
                    ))
                });
                black_box(list.first());
            }
        });
        black_box(list);
        timing
    })
}

/// Providers of one slot, their priorities all over the place but the same every time.
fn candidates(count: usize) -> Result<Vec<Candidate>, Box<dyn Error>> {
    let (slot, origin): (Slot, _) = ("adapter/cache".parse()?, Origin::code("bench")?);
    let mut state: i64 = 1;
    (0..count)
        .map(|number| {
            state = (state * 16_807) % 2_147_483_647;
            let provider = format!("provider-{number}").parse()?;
            let candidate = Candidate::builder(slot.clone(), provider, origin.clone());
            Ok(candidate.priority(state % 2_001 - 1_000).build())
        })
        .collect()
}
