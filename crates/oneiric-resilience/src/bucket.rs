//! The token bucket: so many calls at once, so many a second in the long run.
//!
//! One atomic word says everything a plain take must know (see `gcra`), so taking is a read of the clock
//! and one exchange. What is rare has a lock: reservations, waiters, and other terms.

mod config;
mod gcra;
mod keyed;
mod line;
mod locked;
mod meter;
#[cfg(any(feature = "tokio", test))]
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "only the futures look at all of it")
)]
mod queue;
mod reserve;
#[cfg(feature = "tokio")]
mod wait;

#[cfg(all(test, oneiric_loom))]
mod model;
#[cfg(all(test, not(oneiric_loom)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Moment, SystemClock, nanos};
use crate::error::{Rejected, Rejection};
use crate::invalid::{DAY, InvalidConfig};
use crate::sync::{AtomicU64, Mutex, Ordering};

pub use config::TokenBucketConfig;
pub use keyed::{KeyOverflow, KeyedBuckets, KeyedBucketsConfig};
pub use reserve::Reservation;
#[cfg(feature = "tokio")]
pub use reserve::ReservationWait;
#[cfg(feature = "tokio")]
pub use wait::Take;

use gcra::Terms;
use line::{Line, Ticket};
use meter::{Meter, Reading, Refusal};

/// A rate limit: a bucket of tokens that fills evenly, and from which each call takes some.
///
/// Clones are the same bucket. A full bucket lets `capacity` tokens go at once; in any interval it lets
/// go at most `capacity + refill_per_sec x length`, whatever threads, waiters, reservations and
/// cancellations do. A take counts at the moment at which its clock was read, which lies within the
/// call; a reservation at the moment from which it may be used.
///
/// With a clock that stands still between its ticks (a coarse one) the bound for what is seen from
/// outside grows by what comes back in one such tick. [`SystemClock`] tells nanoseconds.
///
/// Source: docs/spec/resilience.md, "Token bucket".
///
/// ```
/// use oneiric_resilience::{TokenBucket, TokenBucketConfig};
///
/// let bucket = TokenBucket::new(TokenBucketConfig {
///     capacity: 2,
///     refill_per_sec: 0.5,
///     ..TokenBucketConfig::default()
/// })?;
/// assert!(bucket.try_take(1).is_ok());
/// assert!(bucket.try_take(1).is_ok());
/// let rejected = bucket.try_take(1).unwrap_err();
/// assert_eq!(rejected.code(), "resilience.rate_limited");
/// assert!(rejected.retry_after().is_some_and(|wait| wait.as_secs_f64() <= 2.0));
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Debug)]
pub struct TokenBucket<C: Clock = SystemClock> {
    shared: Arc<Shared<C>>,
}

impl<C: Clock> Clone for TokenBucket<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What clones of a bucket share.
#[derive(Debug)]
struct Shared<C> {
    meter: Meter,
    clock: C,
    /// The reading of the clock at which the bucket was made.
    origin: u64,
    /// The readings of the clock from which on one may not simply take: the end of the bucket's life;
    /// or all, while somebody waits. Written under the lock.
    gate: AtomicU64,
    /// The tokens that waiters want; written under the lock.
    waited_for: AtomicU64,
    /// The age after which one of the waiters may have lost its place; written under the lock.
    lapse: AtomicU64,
    max_waiters: usize,
    line: Mutex<Line>,
}

/// What a bucket is like at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TokenBucketSnapshot {
    /// Tokens that it holds when it is full.
    pub capacity: u32,
    /// Tokens that come back a second.
    pub refill_per_sec: f64,
    /// Whole tokens that it holds.
    pub available: u32,
    /// Callers that wait for tokens.
    pub waiting: u32,
    /// Reservations whose time has not come.
    pub reserved: u32,
}

impl TokenBucket {
    /// A full bucket on the machine's clock.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub fn new(config: TokenBucketConfig) -> Result<Self, InvalidConfig> {
        Self::with_clock(config, SystemClock::new())
    }
}

impl<C: Clock> TokenBucket<C> {
    /// A full bucket on any clock. It counts 18 years from now; after that nothing comes back.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub fn with_clock(config: TokenBucketConfig, clock: C) -> Result<Self, InvalidConfig> {
        config.checked()?;
        let TokenBucketConfig {
            capacity,
            refill_per_sec,
            max_waiters,
        } = config;
        let origin = clock.now().as_nanos();
        let terms = Terms::of(capacity, refill_per_sec);
        let shared = Shared {
            meter: Meter::new(terms, gcra::tick(origin)),
            clock,
            origin,
            gate: AtomicU64::new(end(origin)),
            waited_for: AtomicU64::new(0),
            lapse: AtomicU64::new(u64::MAX),
            max_waiters: usize::try_from(max_waiters).unwrap_or(usize::MAX),
            line: Mutex::new(Line::new(capacity, refill_per_sec, gcra::tick(origin))),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Takes so many tokens if the bucket holds them, all or nothing; never waits. Nobody passes those
    /// who wait ([`TokenBucket::take`]): while there are any, it is refused. Taking none always works.
    ///
    /// # Errors
    /// `resilience.rate_limited`, with the shortest wait after which the same call succeeds if nobody
    /// else comes; `resilience.over_capacity` if the bucket can never hold so many.
    #[inline]
    pub fn try_take(&self, tokens: u32) -> Result<(), Rejected> {
        let shared = &*self.shared;
        let nanos = shared.clock.now().as_nanos();
        // Nothing but this one word tells that somebody waits, or that time is over.
        if nanos >= shared.gate.load(Ordering::Acquire) {
            return shared.try_again(tokens);
        }
        match shared.meter.take(tokens, gcra::tick(nanos)) {
            Ok(()) => Ok(()),
            Err(refusal) => shared.refused(tokens, refusal),
        }
    }

    /// Takes so many tokens now, which may be used from a later moment on; never waits. Those who
    /// reserve later come later. While callers wait ([`TokenBucket::take`]) nothing can be reserved.
    ///
    /// What is dropped before its time is given back, and later reservations move up.
    ///
    /// # Errors
    /// `resilience.deadline_too_near` if its time would come later than `max_wait` from now, with how
    /// much later; `resilience.over_capacity`; `resilience.queue_full` if as many as may wait or have
    /// reserved already; `resilience.rate_limited` while callers wait.
    pub fn reserve(&self, tokens: u32, max_wait: Duration) -> Result<Reservation<C>, Rejected> {
        let (ticket, ready_at) = self.shared.reserve(tokens, max_wait)?;
        Ok(Reservation::new(self.clone(), ticket, ready_at))
    }

    /// Changes the capacity and the rate, for everybody at once.
    ///
    /// The bucket keeps the tokens it holds, as far as they fit; from now on they come back at the new
    /// rate, up to the new capacity. So a change by itself gives nothing: an interval with changes in it
    /// sees at most the capacity that it began with and what comes back at each rate in its time. Those
    /// who wait, and reservations whose time has not come, move to where the new rate puts them; of
    /// them, a waiter who wants more than the new capacity is refused, and a larger reservation is kept,
    /// to be used once it has come in.
    ///
    /// # Errors
    /// `resilience.invalid_config`; then nothing changes.
    pub fn set_rate(&self, capacity: u32, refill_per_sec: f64) -> Result<(), InvalidConfig> {
        let config = TokenBucketConfig {
            capacity,
            refill_per_sec,
            ..TokenBucketConfig::default()
        };
        config.checked()?;
        let shared = &*self.shared;
        let terms = Terms::of(capacity, refill_per_sec);
        let mut line = shared.lock();
        line.change(&shared.meter, terms, || shared.tick());
        (line.capacity, line.refill_per_sec) = (capacity, refill_per_sec);
        Ok(())
    }

    /// This bucket, for who does not keep it.
    #[cfg(feature = "metrics")]
    pub(crate) fn weakly(&self) -> crate::metrics::Weakly<Self> {
        crate::metrics::Weakly::new(&self.shared, |shared| Self { shared })
    }

    /// The whole tokens that the bucket holds now. Where callers wait, these are for them.
    pub fn available(&self) -> u32 {
        whole_tokens(&self.shared.read())
    }

    /// All there is to know about the bucket, at one moment: its rate and capacity as well, which may no
    /// longer be those that it was made with.
    pub fn snapshot(&self) -> TokenBucketSnapshot {
        let shared = &*self.shared;
        let mut line = shared.lock();
        let tick = shared.tick();
        let reading = shared.meter.read_locked(tick);
        line.settle(&reading);
        line.expire(tick);
        let count = |places| u32::try_from(places).unwrap_or(u32::MAX);
        TokenBucketSnapshot {
            capacity: line.capacity,
            refill_per_sec: line.refill_per_sec,
            available: whole_tokens(&reading),
            waiting: count(line.waiters.len()),
            reserved: count(line.len() - line.waiters.len()),
        }
    }
}

impl<C: Clock> Shared<C> {
    /// What the clock says, in ticks.
    fn tick(&self) -> u64 {
        let nanos = self.clock.now().as_nanos();
        gcra::tick(nanos.min(end(self.origin)))
    }

    /// The first moment of the clock at which a tick has come.
    fn moment(&self, tick: u64) -> Moment {
        let since = gcra::nanos(tick.wrapping_sub(gcra::tick(self.origin)));
        Moment::from_nanos(self.origin.saturating_add(since))
    }

    /// Waits for whoever is changing the terms.
    fn settle(&self) {
        drop(self.lock());
    }

    fn read(&self) -> Reading {
        loop {
            match self.meter.read(self.tick()) {
                Some(reading) => return reading,
                None => self.settle(),
            }
        }
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

    /// Takes, unless somebody waits.
    #[inline(never)]
    fn try_again(&self, tokens: u32) -> Result<(), Rejected> {
        let waited_for = self.still_waited_for();
        if waited_for > 0 && tokens > 0 {
            return Err(self.behind(waited_for, tokens));
        }
        match self.meter.take(tokens, self.tick()) {
            Ok(()) => Ok(()),
            Err(refusal) => self.refused(tokens, refusal),
        }
    }

    /// Says what a refusal comes to.
    #[inline(never)]
    fn refused(&self, tokens: u32, refusal: Refusal) -> Result<(), Rejected> {
        match refusal {
            // However far ahead reservations are.
            _ if tokens == 0 => Ok(()),
            Refusal::Never => Err(over_capacity()),
            Refusal::Later(wait) => Err(rejected(Rejection::RateLimited, wait)),
            Refusal::Changing => {
                self.settle();
                self.try_again(tokens)
            }
        }
    }

    /// The rejection of somebody who may not pass those who wait.
    fn behind(&self, waited_for: u64, tokens: u32) -> Rejected {
        let reading = self.read();
        if reading.terms.cost(u64::from(tokens)) > reading.terms.span {
            return over_capacity();
        }
        let all = waited_for.saturating_add(u64::from(tokens));
        rejected(
            Rejection::RateLimited,
            reading.wait(reading.terms.cost(all)),
        )
    }

    /// Books tokens; without a ticket if they may be used at once.
    fn reserve(
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
                return Err(self.behind(line.waited_for, tokens));
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

/// The end of the life of a bucket on a clock that said so when it was made.
fn end(origin: u64) -> u64 {
    origin.saturating_add(gcra::LIFE_NANOS)
}

fn whole_tokens(reading: &Reading) -> u32 {
    // Never more than the capacity, which is a u32.
    u32::try_from(reading.terms.tokens(reading.ahead())).unwrap_or(u32::MAX)
}

/// The shortest duration that is no shorter than so many ticks.
fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(gcra::nanos(ticks))
}

/// What somebody is willing to wait, in ticks. More than a year is a year: all that is put off stays
/// far from what a word can tell.
fn patience(max_wait: Duration) -> u64 {
    gcra::ticks_of(nanos(max_wait.min(366 * DAY)))
}

fn rejected(rejection: Rejection, wait: u64) -> Rejected {
    Rejected::new(rejection, Some(duration(wait)))
}

fn over_capacity() -> Rejected {
    Rejected::new(Rejection::OverCapacity, None)
}
