//! Random numbers that can be had again: a test says its seed, and with that seed it does the same once more.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A stream of numbers that looks random and follows from its seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub const fn new(seed: u64) -> Self {
        // The state must not be zero.
        Self {
            state: seed | 1 << 63,
        }
    }

    /// A seed that nobody chose.
    pub fn seed() -> u64 {
        RandomState::new().build_hasher().finish() >> 1
    }

    /// A number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        *choices
            .get(usize::try_from(index).unwrap_or_default())
            .expect("below their number")
    }
}
