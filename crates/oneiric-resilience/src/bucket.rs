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
mod shared;
#[cfg(feature = "tokio")]
mod wait;

#[cfg(all(test, oneiric_loom))]
mod model;
#[cfg(all(test, not(oneiric_loom)))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::error::Rejected;
use crate::invalid::InvalidConfig;
use crate::sync::Ordering;

pub use config::TokenBucketConfig;
pub use keyed::{KeyOverflow, KeyedBuckets, KeyedBucketsConfig};
pub use reserve::Reservation;
#[cfg(feature = "tokio")]
pub use reserve::ReservationWait;
#[cfg(feature = "tokio")]
pub use wait::Take;

use gcra::Terms;
use shared::{Shared, whole_tokens};

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
/// A bucket takes about a kilobyte. For thousands with the same numbers there are
/// [`KeyedBuckets`].
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
    /// How often it refused, ever: a take, a reservation, or a wait that ended without tokens. One that
    /// was given up is none.
    pub rejected: u64,
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
    /// A full bucket on any clock. It counts 18 years from now; after that nothing comes back. Limits of
    /// those who wait are in tokio's time: where this clock goes faster, or jumps, one of them may lose its
    /// place before its time is over.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub fn with_clock(config: TokenBucketConfig, clock: C) -> Result<Self, InvalidConfig> {
        config.checked()?;
        Ok(Self {
            shared: Arc::new(Shared::new(config, clock)),
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
        self.try_take_counted_if(true, tokens)
    }

    /// As [`TokenBucket::try_take`]. Who waits after a refusal does not have it counted, as it is not the
    /// last word.
    #[inline]
    pub(crate) fn try_take_counted_if(&self, counted: bool, tokens: u32) -> Result<(), Rejected> {
        let shared = &*self.shared;
        let nanos = shared.clock.now().as_nanos();
        // Nothing but this one word tells that somebody waits, or that time is over.
        if nanos >= shared.gate.load(Ordering::Acquire) {
            return shared.otherwise(tokens, None, counted);
        }
        match shared.meter.take(tokens, gcra::tick(nanos)) {
            Ok(()) => Ok(()),
            Err(refusal) => shared.otherwise(tokens, Some(refusal), counted),
        }
    }

    /// Takes so many tokens now, which may be used from a later moment on; never waits. Those who
    /// reserve later come later. While callers wait ([`TokenBucket::take`]) nothing can be reserved.
    ///
    /// What is dropped before its time is given back, and later reservations move up: that takes a step for
    /// each of them, under the bucket's lock. So thousands are best dropped the last one first.
    ///
    /// # Errors
    /// `resilience.deadline_too_near` if its time would come later than `max_wait` from now, with how
    /// much later; `resilience.over_capacity`; `resilience.queue_full` if as many as may wait or have
    /// reserved already; `resilience.rate_limited` while callers wait.
    pub fn reserve(&self, tokens: u32, max_wait: Duration) -> Result<Reservation<C>, Rejected> {
        let reserved = self.shared.reserve(tokens, max_wait);
        let (ticket, ready_at) = reserved.inspect_err(|_| self.shared.rejected.one_more())?;
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
            rejected: shared.rejected.so_far(),
        }
    }
}
