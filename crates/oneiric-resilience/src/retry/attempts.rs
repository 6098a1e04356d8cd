//! The decision after each attempt, without any waiting: told what time it is and how the attempt ended,
//! it says what is next. All ways to run a retry ask this one.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::config::RetryConfig;
use crate::backoff::Backoff;
use crate::budget::RetryBudget;
use crate::jitter::Chance;
use crate::{Error, InvalidConfig, Jitter, Moment, Outcome};

/// What is next after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryStep {
    /// Nothing: the result stands.
    Done,
    /// Another attempt, after this wait.
    Wait(Duration),
    /// Nothing, though it failed.
    GiveUp(GiveUp),
}

/// Why a call that failed is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// It would fail again.
    Permanent,
    /// Its request cannot be sent again.
    NotRepeatable,
    /// It was tried as often as may be.
    Attempts,
    /// The time would be over before the next attempt.
    OutOfTime,
    /// The called one asks for a longer wait than it may.
    RetryAfter,
    /// The budget has no token left.
    Budget,
}

impl GiveUp {
    /// A short name, as for a label of a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::NotRepeatable => "not_repeatable",
            Self::Attempts => "attempts",
            Self::OutOfTime => "out_of_time",
            Self::RetryAfter => "retry_after",
            Self::Budget => "budget",
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Checked settings and the budget, shared by all calls of one retry.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) config: RetryConfig,
    backoff: Backoff,
    pub(super) budget: Option<RetryBudget>,
    pub(super) chance: Chance,
}

impl Plan {
    pub(super) fn new(config: RetryConfig) -> Result<Self, InvalidConfig> {
        config.checked()?;
        Ok(Self {
            config,
            backoff: Backoff::new(config.backoff)?,
            budget: config.budget.map(RetryBudget::new).transpose()?,
            chance: Chance::default(),
        })
    }

    /// Whether time is limited, and so a clock is needed.
    #[inline]
    pub(super) const fn is_timed(&self) -> bool {
        self.config.total_limit.is_some() || self.config.attempt_limit.is_some()
    }

    /// Tells the budget of a success.
    #[inline]
    pub(super) fn deposit(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit();
        }
    }
}

/// One call's attempts so far, and the decision what is next. Knows no clock and does not wait.
///
/// Of constant size, however many attempts are made. Dropped between a decision to wait and
/// [`begin`](Self::begin), it gives the token of the retry that is not made back to the budget.
///
/// ```
/// use std::time::Duration;
/// use oneiric_resilience::{BackoffConfig, Moment, Outcome, Retry, RetryConfig, RetryStep, SeededJitter};
///
/// let second = Duration::from_secs(1);
/// let retry = Retry::new(RetryConfig {
///     backoff: BackoffConfig::constant(second),
///     ..RetryConfig::default()
/// })?;
/// let mut jitter = SeededJitter::new(1);
/// let mut attempts = retry.attempts(Moment::ORIGIN);
/// let step = attempts.ended(Moment::ORIGIN, Outcome::Failure, &mut jitter);
/// assert_eq!(step, RetryStep::Wait(second));
/// attempts.begin();
/// let step = attempts.ended(Moment::ORIGIN.after(second), Outcome::Success, &mut jitter);
/// assert_eq!(step, RetryStep::Done);
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Debug)]
pub struct Attempts<'a> {
    plan: Held<'a>,
    ended: u32,
    /// How many of those called somebody.
    made: u32,
    /// Whether there can be another, as far as the request goes.
    repeatable: bool,
    /// When all must be over.
    end: Option<Moment>,
    /// What the next wait is measured by.
    last_wait: Option<Duration>,
    /// Whose token pays for the attempt that was decided on.
    paid: Option<RetryBudget>,
    /// Whether that was begun: then its token is spent.
    begun: bool,
}

/// A plan that somebody else keeps, or that this one keeps too.
#[derive(Debug)]
enum Held<'a> {
    Lent(&'a Plan),
    Shared(Arc<Plan>),
}

impl Deref for Held<'_> {
    type Target = Plan;

    #[inline]
    fn deref(&self) -> &Plan {
        match self {
            Self::Lent(plan) => plan,
            Self::Shared(plan) => plan,
        }
    }
}

impl<'a> Attempts<'a> {
    #[inline]
    pub(super) fn lent(plan: &'a Plan, now: Moment) -> Self {
        Self::start(Held::Lent(plan), now)
    }

    pub(super) fn shared(plan: Arc<Plan>, now: Moment) -> Attempts<'static> {
        Attempts::start(Held::Shared(plan), now)
    }

    #[inline]
    fn start(plan: Held<'a>, now: Moment) -> Self {
        Self {
            end: plan.config.total_limit.map(|limit| now.after(limit)),
            plan,
            ended: 0,
            made: 0,
            repeatable: true,
            last_wait: None,
            paid: None,
            begun: false,
        }
    }

    /// How many attempts have ended.
    pub const fn ended_attempts(&self) -> u32 {
        self.ended
    }

    /// Counts an attempt whose gates belong to whoever drives this: one that they refused, or that there was no
    /// time to begin, was not made and costs no token.
    #[inline]
    pub(crate) fn note<T, E>(&mut self, result: &Result<T, Error<E>>) {
        let refused =
            matches!(result, Err(Error::Rejected(rejected)) if rejected.attempts_made() == 0);
        if refused || !self.begun {
            self.give_back();
        }
        self.made = self.made.saturating_add(match result {
            // A retry further inside may have made some.
            Err(Error::Rejected(rejected)) => rejected.attempts_made(),
            _ => 1,
        });
    }

    /// The result of them all: a refusal says how many were made before it.
    #[inline]
    pub(crate) fn told<T, E>(&self, result: Result<T, Error<E>>) -> Result<T, Error<E>> {
        result.map_err(|error| error.after(self.made))
    }

    /// All must be over by then, too: of this and the limit in the settings, the earlier counts.
    pub fn end_by(&mut self, end: Moment) {
        self.end = Some(self.end.map_or(end, |other| other.min(end)));
    }

    /// The time left for all, if it is limited.
    pub fn left(&self, now: Moment) -> Option<Duration> {
        self.end.map(|end| end.since(now))
    }

    /// The next attempt begins: its token, if it took one, is spent.
    #[inline]
    pub const fn begin(&mut self) {
        self.begun = true;
    }

    #[inline]
    fn give_back(&mut self) {
        if let Some(budget) = self.paid.take() {
            budget.give_back();
        }
    }

    /// The request of the attempt that runs is the last there is, so whatever might be tried again is given
    /// up.
    #[cfg(feature = "tower")]
    pub(crate) const fn not_repeatable(&mut self) {
        self.repeatable = false;
    }

    /// Decides what is next after an attempt that ended at `now`.
    ///
    /// A wait is the backoff's. If the called one asked for one, the backoff's comes on top of that,
    /// because it has told everybody the same. No wait is decided on that would leave no time after it.
    #[inline]
    pub fn ended(
        &mut self,
        now: Moment,
        outcome: Outcome,
        jitter: &mut (impl Jitter + ?Sized),
    ) -> RetryStep {
        // Whoever forgot to say that it began says so now.
        self.paid = None;
        self.begun = false;
        self.ended = self.ended.saturating_add(1);
        match outcome {
            Outcome::Success => {
                self.plan.deposit();
                RetryStep::Done
            }
            Outcome::Ignored => RetryStep::Done,
            Outcome::Permanent => RetryStep::GiveUp(GiveUp::Permanent),
            Outcome::Failure => self.again(now, Duration::ZERO, jitter),
            Outcome::Overloaded { retry_after } => self.again(now, retry_after, jitter),
        }
    }

    /// The attempt that ran was cut off because the time for all is over.
    pub(crate) fn cut_off(&mut self) -> RetryStep {
        self.ended = self.ended.saturating_add(1);
        RetryStep::GiveUp(GiveUp::OutOfTime)
    }

    /// The next attempt will never begin. It is told of as one, but its token is not spent.
    #[cfg(feature = "tower")]
    pub(crate) const fn never_begun(&mut self) -> RetryStep {
        self.ended = self.ended.saturating_add(1);
        RetryStep::Done
    }

    #[cold]
    fn again(
        &mut self,
        now: Moment,
        asked: Duration,
        jitter: &mut (impl Jitter + ?Sized),
    ) -> RetryStep {
        let RetryConfig {
            attempts,
            max_retry_after,
            ..
        } = self.plan.config;
        if self.ended >= attempts {
            return RetryStep::GiveUp(GiveUp::Attempts);
        }
        if !self.repeatable {
            return RetryStep::GiveUp(GiveUp::NotRepeatable);
        }
        if asked > max_retry_after {
            return RetryStep::GiveUp(GiveUp::RetryAfter);
        }
        let wait = asked + self.plan.backoff.next(&mut self.last_wait, jitter);
        if self.left(now).is_some_and(|left| wait >= left) {
            return RetryStep::GiveUp(GiveUp::OutOfTime);
        }
        // Last, so that no token is taken for an attempt that is not made.
        if let Some(budget) = &self.plan.budget {
            if !budget.withdraw() {
                return RetryStep::GiveUp(GiveUp::Budget);
            }
            self.paid = Some(budget.clone());
        }
        RetryStep::Wait(wait)
    }
}

impl Drop for Attempts<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.begun {
            self.give_back();
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests;
