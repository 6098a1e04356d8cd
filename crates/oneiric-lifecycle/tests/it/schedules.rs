//! Schedules that chance makes and that a seed makes again: what many do at one time, in orders that nobody chose.
//!
//! Some rounds of each are made here and many more in `cargo xtask soak`, which runs what is in this folder.

mod change_sets;
mod follow;
mod keyed;
mod sequential;

use std::ops::Range;

use fastrand::Rng;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of so many rounds, or of as many as are asked for from outside: the same ones each time, unless others
/// are asked for.
fn soak_rounds(usual: u64) -> Range<u64> {
    let first = number("ONEIRIC_SOAK_SEED").unwrap_or(1);
    let rounds = number("ONEIRIC_SOAK_ROUNDS").unwrap_or(usual);
    first..first.saturating_add(rounds)
}

/// One of `among`.
fn one_of<'a, T>(chance: &mut Rng, among: &'a [T]) -> &'a T {
    &among[chance.usize(..among.len())]
}
