//! How long to wait before the next try. What failed needs time, and more of it each time; and callers
//! that failed together must not come back together, or they fail together again. So the longest wait
//! grows, and chance decides how much of it is used.
//!
//! Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015) and "Timeouts,
//! retries and backoff with jitter" (Amazon Builders' Library).

use std::time::Duration;

use crate::invalid::{Checks, DAY, Shown as _, or_default};
use crate::{InvalidConfig, Jitter};

/// How the longest wait grows from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BackoffStrategy {
    /// It does not: always `min`.
    Constant,
    /// `min`, `min * factor`, `min * factor^2`, ..., never more than `max`.
    #[default]
    Exponential,
    /// Random between `min` and three times the wait before, never more than `max`: grows as an
    /// exponential one does, but each caller along a path of its own. It is its own jitter.
    Decorrelated,
}

/// How much of the longest wait is left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BackoffJitter {
    /// None of it: the longest wait is waited. Only for callers that are alone.
    None,
    /// All of it: between nothing and the longest wait. Spreads best.
    #[default]
    Full,
    /// Half of it: between half of the longest wait and all of it.
    Equal,
}

/// How long to wait before each next try.
///
/// The default is exponential from 100 ms to 30 s, doubling, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ min_ms = 50 }`"
    )
)]
pub struct BackoffConfig {
    /// How the longest wait grows.
    pub strategy: BackoffStrategy,
    /// The first of the longest waits, at most 24 h; zero is no wait at all, for ever.
    #[cfg_attr(feature = "serde", serde(rename = "min_ms", with = "crate::millis"))]
    pub min: Duration,
    /// What no wait is longer than: at least `min`, at most 24 h. Does not matter to a constant one.
    #[cfg_attr(feature = "serde", serde(rename = "max_ms", with = "crate::millis"))]
    pub max: Duration,
    /// What an exponential wait is multiplied by each time, 1 to 100. Does not matter to others.
    pub factor: f64,
    /// How much is left to chance. Does not matter to decorrelated waits, which are chance throughout.
    pub jitter: BackoffJitter,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            strategy: BackoffStrategy::default(),
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: BackoffJitter::default(),
        }
    }
}

impl BackoffConfig {
    /// The same wait each time, without jitter.
    pub fn constant(wait: Duration) -> Self {
        Self {
            strategy: BackoffStrategy::Constant,
            min: wait,
            max: wait,
            jitter: BackoffJitter::None,
            ..Self::default()
        }
    }

    /// Waits that double from `min` to `max`, with full jitter.
    pub fn exponential(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            ..Self::default()
        }
    }

    /// Random waits between `min` and three times the one before, at most `max`.
    pub fn decorrelated(min: Duration, max: Duration) -> Self {
        Self {
            strategy: BackoffStrategy::Decorrelated,
            min,
            max,
            ..Self::default()
        }
    }

    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        self.checked_by(&Self::default())
    }

    /// The same where the defaults are others.
    ///
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked_by(&self, default: &Self) -> Result<(), InvalidConfig> {
        let mut checks = Checks::of("backoff");
        checks.within("min_ms", self.min, Duration::ZERO..=DAY);
        if self.strategy != BackoffStrategy::Constant {
            // Measured by what is wrong itself, it would seem wrong too.
            let least = if self.min <= DAY {
                self.min
            } else {
                Duration::ZERO
            };
            let holds = (least..=DAY).contains(&self.max);
            let allowed = format!("`min_ms` to {}", DAY.shown());
            checks.that(
                holds,
                "max_ms",
                or_default(&self.max, &default.max),
                allowed,
            );
        }
        checks.within("factor", self.factor, 1.0..=100.0).done()
    }
}

/// Waits that grow, as a [`BackoffConfig`] says. A plain value: it holds no state, its [`Delays`] do.
///
/// Source: docs/spec/resilience.md, "Backoff".
///
/// ```
/// use std::time::Duration;
/// use oneiric_resilience::{Backoff, BackoffConfig, BackoffJitter, ThreadJitter};
///
/// let backoff = Backoff::new(BackoffConfig {
///     jitter: BackoffJitter::None,
///     ..BackoffConfig::exponential(Duration::from_millis(100), Duration::from_millis(350))
/// })?;
/// let mut delays = backoff.start();
/// let waits = [(); 4].map(|()| delays.next_delay(&mut ThreadJitter).as_millis());
/// assert_eq!(waits, [100, 200, 350, 350]);
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    config: BackoffConfig,
}

impl Backoff {
    /// Waits as the settings say.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn new(config: BackoffConfig) -> Result<Self, InvalidConfig> {
        config.checked()?;
        Ok(Self { config })
    }

    /// The settings.
    pub const fn config(&self) -> &BackoffConfig {
        &self.config
    }

    /// The waits from the first on. Starting again is going back to the first.
    pub const fn start(&self) -> Delays {
        Delays {
            backoff: *self,
            last: None,
        }
    }

    /// The next wait. `last` is what it is measured by, nothing before the first: for decorrelated waits
    /// the last one itself, for others the longest that it might have been.
    pub(crate) fn next(
        &self,
        last: &mut Option<Duration>,
        jitter: &mut (impl Jitter + ?Sized),
    ) -> Duration {
        let BackoffConfig {
            strategy,
            min,
            max,
            factor,
            jitter: spread,
        } = self.config;
        if strategy == BackoffStrategy::Decorrelated {
            // The first is measured by `min`, as if one of that length had been before.
            let longest = last.unwrap_or(min).saturating_mul(3).min(max);
            return *last.insert(between(min, longest, jitter));
        }
        let ceiling = match *last {
            // A day times a hundred is far from where this multiplication panics.
            Some(last) if strategy == BackoffStrategy::Exponential => last.mul_f64(factor).min(max),
            _ => min,
        };
        *last = Some(ceiling);
        match spread {
            BackoffJitter::None => ceiling,
            BackoffJitter::Full => between(Duration::ZERO, ceiling, jitter),
            BackoffJitter::Equal => between(ceiling / 2, ceiling, jitter),
        }
    }
}

/// One wait after the other, without end. Holds two durations at most, however many were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delays {
    backoff: Backoff,
    last: Option<Duration>,
}

impl Delays {
    /// The next wait.
    ///
    /// Lies between zero and `max` (of a constant backoff: `min`) whatever the jitter answers. A jitter
    /// that answers no number gets the longest.
    pub fn next_delay(&mut self, jitter: &mut (impl Jitter + ?Sized)) -> Duration {
        self.backoff.next(&mut self.last, jitter)
    }
}

/// A random duration that is neither shorter than the one nor longer than the other.
fn between(shortest: Duration, longest: Duration, jitter: &mut (impl Jitter + ?Sized)) -> Duration {
    let number = jitter.next_f64();
    let number = if number.is_nan() { 1.0 } else { number };
    let spread = longest.saturating_sub(shortest);
    // Both factors are bounded, so the product is; rounding must not lead past the longest.
    shortest + spread.mul_f64(number.clamp(0.0, 1.0)).min(spread)
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests;
