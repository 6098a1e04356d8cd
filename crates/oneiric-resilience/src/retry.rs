//! Trying again what may work the next time, and nothing else: bounded in attempts, in time and, over
//! all callers, in number. The decision is made in one place, without a runtime ([`Attempts`]); waiting
//! is the smaller part of it.

mod attempts;
mod config;
mod course;
mod hook;
mod run;
mod sleep;
mod sync;

use std::sync::Arc;

pub use attempts::{Attempts, GiveUp, RetryStep};
pub use config::RetryConfig;
pub use hook::{NoHook, RetryEvent, RetryHook};
pub use sleep::Sleep;
#[cfg(feature = "tokio")]
pub use sleep::TokioSleep;

use attempts::Plan;

use crate::jitter::Chance;
use crate::{ErrIsFailure, Error, InvalidConfig, Jitter, Moment, Outcome, RetryBudget};

/// Tries calls again while they fail in a way that may pass.
///
/// One value for all calls to the same thing; cheap to clone, clones share the budget. By itself it takes
/// each error for one that may pass; [`classify`](Self::classify) tells it more.
///
/// Only what may safely happen twice should be tried again: that a call failed does not say that it
/// did nothing.
///
/// Source: docs/spec/resilience.md, "Retry".
///
/// ```
/// use oneiric_resilience::{BackoffConfig, Error, Retry, RetryConfig};
/// use std::time::Duration;
///
/// let retry = Retry::new(RetryConfig {
///     backoff: BackoffConfig::constant(Duration::ZERO),
///     ..RetryConfig::default()
/// })?;
/// let mut answers = [Err("reset"), Ok(7)].into_iter();
/// let answer = retry.run(|| answers.next().unwrap_or(Err("no more")));
/// assert_eq!(answer, Ok(7));
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Debug, Clone)]
pub struct Retry<C = ErrIsFailure, H = NoHook> {
    plan: Arc<Plan>,
    classify: C,
    hook: H,
}

impl Retry {
    /// Retries as the settings say.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every setting that is out of its bounds.
    pub fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        Ok(Self {
            plan: Arc::new(Plan::new(config)?),
            classify: ErrIsFailure,
            hook: NoHook,
        })
    }
}

impl<C, H> Retry<C, H> {
    /// Lets `classify` decide what a result says: what is tried again is [`Outcome::Failure`] and, after
    /// the wait that was asked for, [`Outcome::Overloaded`]. A closure needs the type of its argument, as
    /// [`Classify`](crate::Classify) shows.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Retry<C2, H> {
        Retry {
            plan: self.plan,
            classify,
            hook: self.hook,
        }
    }

    /// Tells `hook` what is decided. A closure needs the type of its argument, as [`RetryHook`] shows.
    #[must_use]
    pub fn hook<H2>(self, hook: H2) -> Retry<C, H2> {
        Retry {
            plan: self.plan,
            classify: self.classify,
            hook,
        }
    }

    /// Takes the tokens for retries from this budget, which others may use too, instead of the one in
    /// the settings.
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        Arc::make_mut(&mut self.plan).budget = Some(budget);
        self
    }

    /// Draws the waits from this chance instead of the thread's; clones made from then on draw from the
    /// same. So a test that hands in a [`SeededJitter`](crate::SeededJitter) knows all waits, whatever runs
    /// the retry; but [`run_with`](Self::run_with), [`run_async_with`](Self::run_async_with) and
    /// [`Attempts`] are told theirs. The chance lies behind a lock, which only a wait between attempts takes; so
    /// it must not use the retry that it is for.
    #[must_use]
    pub fn jitter(mut self, jitter: impl Jitter + Send + 'static) -> Self {
        self.draw_from(Chance::new(jitter));
        self
    }

    pub(crate) fn draw_from(&mut self, chance: Chance) {
        Arc::make_mut(&mut self.plan).chance = chance;
    }

    /// What the waits are drawn from.
    #[inline]
    pub(crate) fn chance(&self) -> &Chance {
        &self.plan.chance
    }

    /// The settings.
    pub fn config(&self) -> &RetryConfig {
        &self.plan.config
    }

    /// The budget, if there is one.
    pub fn budget(&self) -> Option<&RetryBudget> {
        self.plan.budget.as_ref()
    }

    /// The decisions alone, for a call that begins now: for who waits in another way.
    pub fn attempts(&self, now: Moment) -> Attempts<'static> {
        Attempts::shared(Arc::clone(&self.plan), now)
    }

    /// The same for who keeps this retry meanwhile.
    #[inline]
    pub(crate) fn attempts_lent(&self, now: Moment) -> Attempts<'_> {
        Attempts::lent(&self.plan, now)
    }

    /// What decides what a result says.
    #[cfg(feature = "tower")]
    pub(crate) const fn classifier(&self) -> &C {
        &self.classify
    }

    #[inline]
    pub(crate) fn tell<T, E>(
        &self,
        attempts: &Attempts<'_>,
        outcome: Outcome,
        result: &Result<T, Error<E>>,
        step: RetryStep,
    ) where
        H: RetryHook<E>,
    {
        let attempt = attempts.ended_attempts();
        if attempt == 1 && step == RetryStep::Done {
            return;
        }
        self.hook.on_step(&RetryEvent {
            attempt,
            outcome,
            error: result.as_ref().err(),
            step,
        });
    }
}
