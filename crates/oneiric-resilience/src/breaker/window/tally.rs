//! Counts that only take what is of their generation. A call that ends late, when the breaker has
//! opened and closed since, must not count for or against the one that came back; a check before the
//! count would leave a gap between the two, so they are one step.

use crate::sync::{AtomicU64, Ordering};

/// As much of a generation as is kept beside a count. A call whose generation is an exact multiple of 4096
/// away is told apart by the breaker's word, which is compared in full just before.
const TAG_BITS: u32 = 12;
/// The rest counts: 142 years at a million a second.
const COUNT_BITS: u32 = u64::BITS - TAG_BITS;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// A count and the generation it is of.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    /// One more; the new count. Nothing if it is of another generation.
    #[inline]
    pub(super) fn add(&self, generation: u64) -> Option<u64> {
        let mut now = self.0.load(Ordering::Relaxed);
        while is_of(now, generation) {
            // What is counted is read by those who come later and need not see this call's other effects.
            match self
                .0
                .compare_exchange_weak(now, now + 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some((now + 1) & COUNT),
                Err(other) => now = other,
            }
        }
        None
    }

    /// What was counted.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & COUNT
    }

    /// What was counted; nothing if it is of another generation.
    pub(super) fn count_of(&self, generation: u64) -> Option<u64> {
        let now = self.0.load(Ordering::Relaxed);
        is_of(now, generation).then_some(now & COUNT)
    }

    /// Takes what was counted and leaves nothing; nothing if it is of another generation.
    pub(super) fn take(&self, generation: u64) -> u64 {
        let tag = generation << COUNT_BITS;
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now & !COUNT == tag && now & COUNT > 0).then_some(tag)
            });
        taken.unwrap_or_default() & COUNT
    }

    /// From now on for another generation; the count goes on.
    pub(super) fn hand_over(&self, generation: u64) {
        let tag = generation << COUNT_BITS;
        let mut now = self.0.load(Ordering::Relaxed);
        while let Err(other) = self.0.compare_exchange_weak(
            now,
            tag | now & COUNT,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            now = other;
        }
    }

    /// From now on for another generation, from zero.
    pub(super) fn restart(&self, generation: u64) {
        // Swapped, because the model takes a store and a count at the same time for unordered.
        self.0.swap(generation << COUNT_BITS, Ordering::Relaxed);
    }
}

/// Whether a count is of that generation, as far as its tag tells.
const fn is_of(count: u64, generation: u64) -> bool {
    count >> COUNT_BITS == generation & (u64::MAX >> COUNT_BITS)
}

/// What a group of threads counts apart from others. On cache lines of its own.
#[derive(Debug, Default)]
pub(in crate::breaker) struct Stripe {
    /// Calls that succeeded. In a window by time: those that are in no bucket yet.
    pub(super) good: Tally,
    /// Until when those are in the buckets.
    pub(super) swept: AtomicU64,
    /// How many calls to wait for before the clock is read again.
    pub(super) batch: AtomicU64,
    /// Calls that were not let through, ever.
    pub(in crate::breaker) rejected: AtomicU64,
}
