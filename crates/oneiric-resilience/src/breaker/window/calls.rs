//! The last so many calls. Not a ring of them all, which every call would have to write: calls have a
//! position, which is how many there were, and only the positions of bad ones are written down. The
//! share of failures is too large exactly if the k-th last of them is still among the last calls,
//! where k is how many it takes. So a good call is one count on the thread's own line, a bad one looks at
//! one entry, however large the window is.

use crate::breaker::observe::BreakerReason;
use crate::stripe::{Padded, Striped};
use crate::sync::{AtomicU64, Ordering};

use super::tally::{Stripe, Tally};
use super::{Bad, Bounds, Sums, fewest};

#[derive(Debug)]
pub(in crate::breaker) struct Calls {
    window: u64,
    bounds: Bounds,
    /// The position at which this generation began.
    base: AtomicU64,
    failures: Padded<Track>,
    slow: Option<Padded<Track>>,
}

impl Calls {
    pub(super) fn new(window: u32, bounds: Bounds, slow: bool) -> Self {
        Self {
            window: window.into(),
            bounds,
            base: AtomicU64::new(0),
            failures: Padded::new(Track::new(window)),
            slow: slow.then(|| Padded::new(Track::new(window))),
        }
    }

    #[inline]
    pub(super) fn good(&self, stripes: &Striped<Stripe>, generation: u64) {
        stripes.mine().good.add(generation);
    }

    pub(super) fn bad(
        &self,
        stripes: &Striped<Stripe>,
        generation: u64,
        bad: Bad,
    ) -> Option<BreakerReason> {
        // The call gets its place first, so that its position counts it.
        let failed = match bad.failed {
            true => Some(self.failures.next(generation)?),
            false => {
                stripes.mine().good.add(generation)?;
                None
            }
        };
        // One that was held up until another generation counted has none: its place stays as it was.
        let position = self.position_in(stripes, generation)?;
        if let Some(place) = failed {
            self.failures.write(place, position);
        }
        if let (true, Some(slow)) = (bad.slow, &self.slow) {
            slow.write(slow.next(generation)?, position);
        }
        self.verdict(stripes)
    }

    fn verdict(&self, stripes: &Striped<Stripe>) -> Option<BreakerReason> {
        let Bounds {
            failure_percent,
            slow_percent,
            min_calls,
        } = self.bounds;
        let (floor, calls) = self.span(stripes);
        let too_many = |track: &Track, percent| track.has(fewest(calls, percent), floor);
        if calls < min_calls {
            None
        } else if too_many(&self.failures, failure_percent) {
            Some(BreakerReason::Failures)
        } else if self
            .slow
            .as_ref()
            .is_some_and(|slow| too_many(slow, slow_percent))
        {
            Some(BreakerReason::SlowCalls)
        } else {
            None
        }
    }

    /// How many calls there ever were.
    fn position(&self, stripes: &Striped<Stripe>) -> u64 {
        let good: u64 = stripes.from_mine().map(|stripe| stripe.good.count()).sum();
        good + self.failures.made.count()
    }

    /// The same, as long as no count was handed on to another generation. So it is never above the base of
    /// that one, which is summed when all were.
    fn position_in(&self, stripes: &Striped<Stripe>, generation: u64) -> Option<u64> {
        let good = |stripe: &Stripe| stripe.good.count_of(generation);
        let good = stripes.from_mine().map(good).sum::<Option<u64>>()?;
        Some(good + self.failures.made.count_of(generation)?)
    }

    /// The position that all calls in the window are above, and how many those are.
    fn span(&self, stripes: &Striped<Stripe>) -> (u64, u64) {
        let last = self.position(stripes);
        let base = self.base.load(Ordering::Relaxed);
        let floor = last.saturating_sub(self.window).max(base);
        (floor, last.saturating_sub(floor))
    }

    pub(super) fn restart(&self, stripes: &Striped<Stripe>, generation: u64) {
        for stripe in stripes.iter() {
            stripe.good.hand_over(generation);
        }
        self.failures.made.hand_over(generation);
        if let Some(slow) = &self.slow {
            slow.made.hand_over(generation);
        }
        // None of the old generation counts from here on, and none of the new one has begun.
        self.base.store(self.position(stripes), Ordering::Relaxed);
    }

    pub(super) fn sums(&self, stripes: &Striped<Stripe>) -> Sums {
        let (floor, calls) = self.span(stripes);
        Sums {
            calls,
            failures: self.failures.since(floor),
            slow: self.slow.as_ref().map_or(0, |slow| slow.since(floor)),
        }
    }
}

/// The positions of the last calls of a kind.
#[derive(Debug)]
struct Track {
    /// How many were given a place.
    made: Tally,
    /// How many were written down. Who writes steps on it last, and so the last one has seen all: of
    /// failures that end together at least one knows that they were too many.
    written: AtomicU64,
    /// By place, the oldest overwritten. A position only ever grows, so one that is left from long ago, or
    /// not written yet, is below the window.
    ring: Box<[AtomicU64]>,
}

impl Track {
    fn new(places: u32) -> Self {
        Self {
            made: Tally::default(),
            written: AtomicU64::new(0),
            ring: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The next place, from 1.
    fn next(&self, generation: u64) -> Option<u64> {
        self.made.add(generation)
    }

    fn write(&self, place: u64, position: u64) {
        // One that was held up for a whole lap of the ring does not overwrite what came after it.
        self.entry(place).fetch_max(position, Ordering::Relaxed);
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the ring's length"
    )]
    fn entry(&self, place: u64) -> &AtomicU64 {
        &self.ring[(place % self.ring.len() as u64) as usize]
    }

    /// Whether so many are above the floor, at most as many as there are places.
    fn has(&self, count: u64, floor: u64) -> bool {
        let made = self.made.count();
        made >= count && self.entry(made + 1 - count).load(Ordering::Relaxed) > floor
    }

    /// How many are above the floor.
    fn since(&self, floor: u64) -> u64 {
        let made = self.made.count();
        let oldest = made.saturating_sub(self.ring.len() as u64);
        (oldest..made)
            .rev()
            .take_while(|before| self.entry(before + 1).load(Ordering::Relaxed) > floor)
            .map(|_| 1)
            .sum()
    }
}
