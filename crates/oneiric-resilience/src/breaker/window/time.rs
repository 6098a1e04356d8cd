//! The calls of the last while, in buckets. Calls are put into them where that is cheap: good ones wait on
//! the thread's own line until there are some, and share one reading of the clock; a bad one puts all that
//! wait into the buckets and adds up what is there, which costs the same for one call as for a million.
//!
//! Calls that waited are spread evenly over the time they waited, so that they are forgotten as they should
//! be. How many wait follows from how fast they come: while a batch of a stripe takes less than a quarter of a
//! bucket the next one may be twice as large, up to [`BATCH`], and once one takes longer each call is dated
//! when it ends. Each is dated within the time that its batch waited, so that only the one batch at the
//! window's edge can be on both sides of it: at any moment the count is off by less than a batch for a stripe.

use std::time::Duration;

use crate::Moment;
use crate::breaker::observe::BreakerReason;
use crate::clock::nanos;
use crate::stripe::{Padded, Striped};
use crate::sync::{AtomicU64, Ordering};

use super::tally::Stripe;
use super::{Bad, Bounds, Sums};

/// The most good calls of a stripe that wait for a place in the buckets.
const BATCH: u64 = 32;

#[derive(Debug)]
pub(in crate::breaker) struct Time {
    bounds: Bounds,
    /// Nanoseconds.
    bucket: u64,
    batch: u64,
    /// The newest bucket that a bad call was put into, by its serial number. Who puts one in steps on this
    /// after it, and so the last one has seen all: of failures that end together at least one knows
    /// that they were too many.
    latest: Padded<AtomicU64>,
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Default)]
struct Bucket {
    calls: Cell,
    failures: Cell,
    slow: Cell,
}

impl Time {
    pub(super) fn new(length: Duration, buckets: u32, bounds: Bounds) -> Self {
        Self {
            bounds,
            bucket: (nanos(length) / u64::from(buckets)).max(1),
            batch: BATCH,
            latest: Padded::default(),
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
        }
    }

    /// Dates every call when it ends, so that it can be compared with a model that does.
    #[cfg(all(test, not(oneiric_loom)))]
    pub(in crate::breaker) fn without_batches(self) -> Self {
        Self { batch: 1, ..self }
    }

    #[inline]
    pub(super) fn good(
        &self,
        stripes: &Striped<Stripe>,
        generation: u64,
        now: impl FnOnce() -> Moment,
    ) {
        let stripe = stripes.mine();
        if let Some(waiting) = stripe.good.add(generation)
            && waiting >= stripe.batch.load(Ordering::Relaxed)
        {
            self.sweep_now(stripe, generation, now);
        }
    }

    #[cold]
    fn sweep_now(&self, stripe: &Stripe, generation: u64, now: impl FnOnce() -> Moment) {
        self.sweep(stripe, generation, now());
    }

    /// Puts the good calls that wait into the buckets.
    fn sweep(&self, stripe: &Stripe, generation: u64, now: Moment) {
        let waited = stripe.good.take(generation);
        // Two that sweep at once may leave the earlier time: the next batch is spread a little wider.
        let since = stripe.swept.load(Ordering::Relaxed);
        stripe.swept.store(now.as_nanos(), Ordering::Relaxed);
        let span = now.as_nanos().saturating_sub(since);
        if span > self.bucket / 4 {
            stripe.batch.store(1, Ordering::Relaxed);
        } else {
            let batch = stripe.batch.load(Ordering::Relaxed);
            if waited >= batch && batch < self.batch {
                stripe
                    .batch
                    .store((batch * 2).clamp(1, self.batch), Ordering::Relaxed);
            }
        }
        self.spread(waited, span, generation, now);
    }

    /// Dates the calls evenly over a span that ends now, the last one now.
    fn spread(&self, calls: u64, span: u64, generation: u64, now: Moment) {
        let end = now.as_nanos();
        if calls == 0 {
            return;
        }
        if (end - span.min(end)) / self.bucket == end / self.bucket {
            return self.put(self.serial(now, generation), |bucket| &bucket.calls, calls);
        }
        let step = span / calls;
        for before in 0..calls {
            let at = Moment::from_nanos(end.saturating_sub(step * before));
            self.put(self.serial(at, generation), |bucket| &bucket.calls, 1);
        }
    }

    pub(super) fn bad(
        &self,
        stripes: &Striped<Stripe>,
        generation: u64,
        bad: Bad,
        now: Moment,
    ) -> Option<BreakerReason> {
        let serial = self.serial(now, generation);
        self.put(serial, |bucket| &bucket.calls, 1);
        if bad.failed {
            self.put(serial, |bucket| &bucket.failures, 1);
        }
        if bad.slow {
            self.put(serial, |bucket| &bucket.slow, 1);
        }
        self.sums(stripes, generation, now).verdict(&self.bounds)
    }

    pub(super) fn restart(stripes: &Striped<Stripe>, generation: u64, now: Moment) {
        for stripe in stripes.iter() {
            stripe.good.restart(generation);
            stripe.swept.store(now.as_nanos(), Ordering::Relaxed);
            stripe.batch.store(1, Ordering::Relaxed);
        }
    }

    pub(super) fn sums(&self, stripes: &Striped<Stripe>, generation: u64, now: Moment) -> Sums {
        for stripe in stripes.from_mine() {
            self.sweep(stripe, generation, now);
        }
        let serial = self.serial(now, generation);
        // A thread that was held up since it read the clock judges by the time of those who overtook it.
        let last = self.latest.fetch_max(serial, Ordering::AcqRel).max(serial);
        let mut sums = Sums::default();
        for (slot, bucket) in (0..).zip(&self.buckets) {
            let lap = self.lap_of(slot, last);
            sums.calls += bucket.calls.get(lap);
            sums.failures += bucket.failures.get(lap);
            sums.slow += bucket.slow.get(lap);
        }
        sums
    }

    /// The number of the bucket that a moment falls into. Each generation begins more than a window after
    /// the one before, whenever that is: so what one leaves behind, or puts in late, is never in the window
    /// of another.
    fn serial(&self, at: Moment, generation: u64) -> u64 {
        let skipped = generation.wrapping_mul(self.length() + 1);
        (at.as_nanos() / self.bucket).wrapping_add(skipped)
    }

    fn length(&self) -> u64 {
        self.buckets.len() as u64
    }

    /// The lap in which a slot is in the window, if the bucket with this number is the last of it.
    fn lap_of(&self, slot: u64, last: u64) -> u32 {
        let lap = last / self.length();
        cut(if slot <= last % self.length() {
            lap
        } else {
            lap.wrapping_sub(1)
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the number of buckets"
    )]
    fn put(&self, serial: u64, which: impl Fn(&Bucket) -> &Cell, count: u64) {
        let slot = (serial % self.length()) as usize;
        which(&self.buckets[slot]).add(cut(serial / self.length()), count);
    }
}

/// Laps are told apart for 2^32 windows: for 13 years if a window is as short as can be.
#[expect(clippy::cast_possible_truncation, reason = "that is the meaning")]
const fn cut(lap: u64) -> u32 {
    lap as u32
}

/// A count and the lap of the ring that it is of: the upper and the lower half.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    /// Adds to the count of a lap; forgets that of an earlier one, and leaves that of a later one. More than
    /// 2^32 calls in a bucket count as that many.
    fn add(&self, lap: u32, count: u64) {
        let mut now = self.0.load(Ordering::Relaxed);
        while let Some(more) = added(now, lap, count) {
            match self
                .0
                .compare_exchange_weak(now, more, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }

    fn get(&self, lap: u32) -> u64 {
        let (its, count) = split(self.0.load(Ordering::Relaxed));
        if its == lap { count } else { 0 }
    }
}

/// Laps by which a call can at most be late for its bucket. What seems to be later by more than that is old: laps
/// go around.
const HELD_UP: u32 = 1 << 16;

/// What becomes of a cell, if anything.
fn added(cell: u64, lap: u32, count: u64) -> Option<u64> {
    let (its, counted) = split(cell);
    if its == lap {
        Some(join(lap, counted.saturating_add(count)))
    } else {
        let later = its.wrapping_sub(lap) < HELD_UP;
        (!later).then(|| join(lap, count))
    }
}

const fn split(cell: u64) -> (u32, u64) {
    (cut(cell >> 32), cell & 0xFFFF_FFFF)
}

const fn join(lap: u32, count: u64) -> u64 {
    let most = 0xFFFF_FFFF;
    (lap as u64) << 32 | if count < most { count } else { most }
}
