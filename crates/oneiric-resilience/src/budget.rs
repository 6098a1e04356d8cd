//! How many retries may be made in all. A limit per call does not help where it is needed: with three
//! attempts each, every caller together send three times the calls to something that is down because of
//! too many of them, and each layer above multiplies that again. A budget that fills with successes
//! leaves retries where few calls fail, which is where they help, and takes them away where all do.
//!
//! As in gRPC (gRFC A6, `retryThrottling`) the budget is a count of tokens that begins full and costs
//! nothing to look at while all goes well; but each retry takes a whole token, so that retries are a share
//! of successes, as Finagle's and tower's budgets promise. Those two forget what is older than ten seconds
//! or so; here the bound on what can be saved does that, without a window of counters. Finagle's floor of
//! retries a second is kept: otherwise who seldom calls could never retry.
//!
//! Source: gRFC A6; Finagle, `RetryBudget`; tower, `retry::budget`; "Timeouts, retries and backoff with
//! jitter" (Amazon Builders' Library).

use std::sync::Arc;

use crate::invalid::Checks;
use crate::sync::{AtomicU64, Ordering};
use crate::{Clock, InvalidConfig, SystemClock};

/// How many retries may be made.
///
/// The default is 100 tokens, a tenth for each success, and a retry each second anyway.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ ratio = 0.1 }`"
    )
)]
pub struct RetryBudgetConfig {
    /// How many tokens can be saved, 1 to 1,000,000. It begins with all of them.
    pub capacity: u32,
    /// How many tokens a success brings, 0 to 1: a tenth allows one retry for ten successes. Less than
    /// a millionth of a millionth counts as nothing.
    pub ratio: f64,
    /// How many retries a second are allowed though there is no token, 0 to 1,000,000. Those of one
    /// second can be saved, and one at least.
    pub min_per_sec: f64,
}

impl Default for RetryBudgetConfig {
    fn default() -> Self {
        Self {
            capacity: 100,
            ratio: 0.1,
            min_per_sec: 1.0,
        }
    }
}

impl RetryBudgetConfig {
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let Self {
            capacity,
            ratio,
            min_per_sec,
        } = *self;
        Checks::of("retry budget")
            .within("capacity", capacity, 1..=1_000_000)
            .within("ratio", ratio, 0.0..=1.0)
            .within("min_per_sec", min_per_sec, 0.0..=1e6)
            .done()
    }
}

/// Tokens for retries, shared by all who call the same thing. Clones are the same budget.
///
/// In any time `t` no more retries are made than `capacity + ratio * successes + min_per_sec * (t + 1)`,
/// and one if `min_per_sec` is less than one but not zero.
///
/// Source: docs/spec/resilience.md, "Retry budget".
///
/// ```
/// use oneiric_resilience::{RetryBudget, RetryBudgetConfig};
///
/// let config = RetryBudgetConfig { capacity: 1, ratio: 0.5, min_per_sec: 0.0 };
/// let budget = RetryBudget::new(config)?;
/// assert!(budget.withdraw());
/// assert!(!budget.withdraw());
/// budget.deposit();
/// budget.deposit();
/// assert!(budget.withdraw());
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Debug, Clone)]
pub struct RetryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: RetryBudgetConfig,
    /// In parts of a token, [`TOKEN`] of them each. A count and nothing else: no other memory is
    /// published by it, so no access to it need be ordered with any other.
    saved: AtomicU64,
    full: u64,
    per_success: u64,
    trickle: Option<Trickle>,
}

/// A token in the parts that are counted. Decimal, so that ten successes bring ten tenths, not a little
/// less; and so small that rounding a share down is never seen. What can be saved still fits.
const TOKEN: u64 = 1_000_000_000_000;

impl RetryBudget {
    /// A full budget, on the machine's clock.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn new(config: RetryBudgetConfig) -> Result<Self, InvalidConfig> {
        Self::with_clock(config, SystemClock::new())
    }

    /// A full budget on another clock, which is read only for a retry that no token pays for.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn with_clock(config: RetryBudgetConfig, clock: impl Clock) -> Result<Self, InvalidConfig> {
        config.checked()?;
        let full = u64::from(config.capacity) * TOKEN;
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                saved: AtomicU64::new(full),
                full,
                per_success: parts(config.ratio),
                trickle: Trickle::new(config.min_per_sec, clock),
            }),
        })
    }

    /// This budget, for who does not keep it.
    #[cfg(feature = "metrics")]
    pub(crate) fn weakly(&self) -> crate::metrics::Weakly<Self> {
        crate::metrics::Weakly::new(&self.shared, |shared| Self { shared })
    }

    /// The settings.
    pub fn config(&self) -> &RetryBudgetConfig {
        &self.shared.config
    }

    /// Tells of a success. Does not write while the budget is full.
    #[inline]
    pub fn deposit(&self) {
        self.shared.add(self.shared.per_success);
    }

    /// Takes a token for a retry; `false` if there is none, and then the retry must not be made.
    #[must_use = "without a token the retry must not be made"]
    pub fn withdraw(&self) -> bool {
        let Shared { saved, trickle, .. } = &*self.shared;
        let take = |saved: u64| saved.checked_sub(TOKEN);
        saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
            || trickle.as_ref().is_some_and(Trickle::take)
    }

    /// Gives back a token for a retry that was not made after all.
    pub fn give_back(&self) {
        self.shared.add(TOKEN);
    }

    /// The tokens that are there now, the retries that are allowed anyway not among them.
    pub fn available(&self) -> u32 {
        let saved = self.shared.saved.load(Ordering::Relaxed);
        // Never more than the capacity, which is one.
        u32::try_from(saved / TOKEN).unwrap_or(u32::MAX)
    }
}

impl Shared {
    #[inline]
    fn add(&self, parts: u64) {
        let mut saved = self.saved.load(Ordering::Relaxed);
        while saved < self.full && parts > 0 {
            let more = (saved + parts).min(self.full);
            match self.saved.compare_exchange_weak(
                saved,
                more,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(newer) => saved = newer,
            }
        }
    }
}

/// The retries that are allowed without a token: a generic cell rate algorithm on one atomic.
#[derive(Debug)]
struct Trickle {
    clock: Box<dyn Clock>,
    /// Nanoseconds on the clock at which everything taken so far would have been allowed one by one.
    due: AtomicU64,
    interval: u64,
    /// How far `due` may be ahead of now for another one to be allowed.
    ahead: u64,
}

impl Trickle {
    /// Nothing, where nothing is allowed.
    fn new(per_sec: f64, clock: impl Clock) -> Option<Self> {
        if per_sec <= 0.0 {
            return None;
        }
        let interval = interval(per_sec);
        Some(Self {
            clock: Box::new(clock),
            due: AtomicU64::new(0),
            interval,
            ahead: 1_000_000_000_u64.saturating_sub(interval),
        })
    }

    #[cold]
    fn take(&self) -> bool {
        let now = self.clock.now().as_nanos();
        let latest = now.saturating_add(self.ahead);
        // What is due at the last moment that can be told is never due.
        let take = |due: u64| {
            (due <= latest && due < u64::MAX).then(|| due.max(now).saturating_add(self.interval))
        };
        self.due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

/// The parts of a token that a success brings; never more than the share, but for what a decimal loses when
/// it is made binary: 10,000 times 0.0021 are 21.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1 of a number that is exact in both types"
)]
fn parts(ratio: f64) -> u64 {
    (ratio * TOKEN as f64 + 1e-3).floor() as u64
}

/// The nanoseconds between two, never less than the rate says. Less than one in 584 years comes out as that.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; what is too large comes out as the largest"
)]
fn interval(per_sec: f64) -> u64 {
    let exactly = 1e9 / per_sec;
    // A rate that is whole nanoseconds is no more than that for how it was divided.
    (exactly * (1.0 - f64::EPSILON)).ceil() as u64
}

#[cfg(feature = "serde")]
pub(crate) mod setting;

#[cfg(all(test, oneiric_loom))]
mod model;

#[cfg(all(test, not(oneiric_loom)))]
mod tests;
