//! Chance that can be had again: a test says its seed, and with that seed it does the same once more.

#![expect(
    clippy::print_stdout,
    reason = "the seed with which it can be had again"
)]

pub use fastrand::Rng;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many rounds are to be made, ten unless `ONEIRIC_SOAK_ROUNDS` says otherwise; the seed, one that nobody chose
/// unless `ONEIRIC_SOAK_SEED` does; and the chance that follows from it. Says both.
pub fn soak_rounds() -> (u64, u64, Rng) {
    let rounds = number("ONEIRIC_SOAK_ROUNDS").unwrap_or(10);
    let seed = number("ONEIRIC_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {rounds} rounds");
    (rounds, seed, Rng::with_seed(seed))
}

/// One of `choices`, of which there is one at least.
pub fn one_of<T: Copy>(chance: &mut Rng, choices: &[T]) -> T {
    chance
        .choice(choices)
        .copied()
        .expect("there is one at least")
}
