//! What all handles of a bucket share, and what comes of asking it: the short way, and the ways behind
//! those who wait.

use std::time::Duration;

use super::config::TokenBucketConfig;
use super::gcra::{self, Terms};
use super::line::{Line, Ticket};
use super::meter::{Meter, Reading, Refusal};
use crate::clock::{Clock, Moment, nanos};
use crate::error::{Rejected, Rejection};
use crate::invalid::DAY;
use crate::stripe::Count;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The most lines of memory that count refusals. There may be many buckets, so no more than keep a few threads
/// each out of the others' way.
const COUNT_LINES: usize = 4;

/// What clones of a bucket share.
#[derive(Debug)]
pub(super) struct Shared<C> {
    pub(super) meter: Meter,
    pub(super) clock: C,
    /// The reading of the clock at which the bucket was made.
    pub(super) origin: u64,
    /// The readings of the clock from which on one may not simply take: the end of the bucket's life;
    /// or all, while somebody waits. Written under the lock.
    pub(super) gate: AtomicU64,
    /// The tokens that waiters want; written under the lock.
    pub(super) waited_for: AtomicU64,
    /// The age after which one of the waiters may have lost its place; written under the lock.
    pub(super) lapse: AtomicU64,
    pub(super) max_waiters: usize,
    pub(super) line: Mutex<Line>,
    /// Askings that were refused.
    pub(super) rejected: Count,
}

impl<C: Clock> Shared<C> {
    /// Full. The settings were checked.
    pub(super) fn new(config: TokenBucketConfig, clock: C) -> Self {
        let TokenBucketConfig {
            capacity,
            refill_per_sec,
            max_waiters,
        } = config;
        let origin = clock.now().as_nanos();
        let tick = gcra::tick(origin);
        Self {
            meter: Meter::new(Terms::of(capacity, refill_per_sec), tick),
            clock,
            origin,
            gate: AtomicU64::new(end(origin)),
            waited_for: AtomicU64::new(0),
            lapse: AtomicU64::new(u64::MAX),
            max_waiters: usize::try_from(max_waiters).unwrap_or(usize::MAX),
            line: Mutex::new(Line::new(capacity, refill_per_sec, tick)),
            rejected: Count::at_most(COUNT_LINES),
        }
    }

    /// What the clock says, in ticks.
    pub(super) fn tick(&self) -> u64 {
        let nanos = self.clock.now().as_nanos();
        gcra::tick(nanos.min(end(self.origin)))
    }

    /// The first moment of the clock at which a tick has come.
    pub(super) fn moment(&self, tick: u64) -> Moment {
        let since = gcra::nanos(tick.wrapping_sub(gcra::tick(self.origin)));
        Moment::from_nanos(self.origin.saturating_add(since))
    }

    pub(super) fn read(&self) -> Reading {
        self.meter.read(self.tick()).unwrap_or_else(|| {
            // By whoever holds the lock the terms are being changed.
            let _line = self.lock();
            self.meter.read_locked(self.tick())
        })
    }

    /// The tokens that those want who still wait.
    fn still_waited_for(&self) -> u64 {
        let lapse = self.lapse.load(Ordering::Acquire);
        if lapse != u64::MAX {
            let tick = self.tick();
            if tick.wrapping_sub(gcra::tick(self.origin)) > lapse {
                self.lock().expire(tick);
            }
        }
        self.waited_for.load(Ordering::Acquire)
    }

    /// What a take comes to that is not simply granted; the meter may have said why.
    #[inline(never)]
    pub(super) fn otherwise(
        &self,
        tokens: u32,
        refusal: Option<Refusal>,
        counted: bool,
    ) -> Result<(), Rejected> {
        let taken = match refusal {
            Some(refusal) => self.refused(tokens, refusal),
            None => self.try_again(tokens),
        };
        if counted && taken.is_err() {
            self.rejected.one_more();
        }
        taken
    }

    /// Takes, unless somebody waits.
    fn try_again(&self, tokens: u32) -> Result<(), Rejected> {
        let waited_for = self.still_waited_for();
        if waited_for > 0 && tokens > 0 {
            return Err(behind(&self.read(), waited_for, tokens));
        }
        match self.meter.take(tokens, self.tick()) {
            Ok(()) => Ok(()),
            Err(refusal) => self.refused(tokens, refusal),
        }
    }

    /// Says what a refusal comes to.
    fn refused(&self, tokens: u32, refusal: Refusal) -> Result<(), Rejected> {
        match refusal {
            // However far ahead reservations are.
            _ if tokens == 0 => Ok(()),
            Refusal::Never => Err(over_capacity()),
            Refusal::Later(wait) => Err(rejected(Rejection::RateLimited, wait)),
            Refusal::Changing => self.take_unchanged(tokens),
        }
    }

    /// Takes while nobody can change the terms.
    fn take_unchanged(&self, tokens: u32) -> Result<(), Rejected> {
        let mut line = self.lock();
        let tick = self.tick();
        line.expire(tick);
        if line.waited_for == 0 && self.meter.take(tokens, tick).is_ok() {
            return Ok(());
        }
        // If it still looks as if they were being changed, the clock went back by years.
        let reading = self.meter.read_locked(tick);
        Err(behind(&reading, line.waited_for, tokens))
    }

    /// Books tokens; without a ticket if they may be used at once.
    pub(super) fn reserve(
        &self,
        tokens: u32,
        max_wait: Duration,
    ) -> Result<(Option<Ticket>, Moment), Rejected> {
        let patience = patience(max_wait);
        let mut line = self.lock();
        loop {
            let tick = self.tick();
            if tokens == 0 {
                return Ok((None, self.moment(tick)));
            }
            let reading = self.meter.read_locked(tick);
            line.settle(&reading);
            line.expire(tick);
            let cost = reading.terms.cost(u64::from(tokens));
            let wait = reading.wait(cost);
            if cost > reading.terms.span {
                return Err(over_capacity());
            }
            if line.waited_for > 0 {
                return Err(behind(&reading, line.waited_for, tokens));
            }
            if wait > patience {
                return Err(rejected(Rejection::DeadlineTooNear, wait - patience));
            }
            if wait > 0 && line.len() >= self.max_waiters {
                let first = line.first_due(&reading).map(duration);
                return Err(Rejected::new(Rejection::QueueFull, first));
            }
            let end = reading.paid(cost);
            if self.meter.exchange(&reading, end) {
                let ticket = (wait > 0).then(|| line.book(tokens, end));
                return Ok((ticket, self.moment(tick.wrapping_add(wait))));
            }
        }
    }
}

/// The rejection of somebody who may not pass those who wait, if any do.
fn behind(reading: &Reading, waited_for: u64, tokens: u32) -> Rejected {
    if reading.terms.cost(u64::from(tokens)) > reading.terms.span {
        return over_capacity();
    }
    let all = waited_for.saturating_add(u64::from(tokens));
    let wait = reading.wait(reading.terms.cost(all));
    rejected(Rejection::RateLimited, wait)
}

/// The end of the life of a bucket on a clock that said so when it was made.
pub(super) fn end(origin: u64) -> u64 {
    origin.saturating_add(gcra::LIFE_NANOS)
}

pub(super) fn whole_tokens(reading: &Reading) -> u32 {
    // Never more than the capacity, which is a u32.
    u32::try_from(reading.terms.tokens(reading.ahead())).unwrap_or(u32::MAX)
}

/// The shortest duration that is no shorter than so many ticks.
pub(super) fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(gcra::nanos(ticks))
}

/// What somebody is willing to wait, in ticks. More than a year is a year: all that is put off stays
/// far from what a word can tell.
fn patience(max_wait: Duration) -> u64 {
    gcra::ticks_of(nanos(max_wait.min(366 * DAY)))
}

pub(super) fn rejected(rejection: Rejection, wait: u64) -> Rejected {
    Rejected::new(rejection, Some(duration(wait)))
}

pub(super) fn over_capacity() -> Rejected {
    Rejected::new(Rejection::OverCapacity, None)
}
