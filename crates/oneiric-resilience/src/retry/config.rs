//! What a retry may do, in settings.

use std::time::Duration;

use crate::InvalidConfig;
use crate::backoff::BackoffConfig;
use crate::budget::RetryBudgetConfig;
use crate::invalid::{Checks, DAY};

/// How often, how long and after which waits a call is tried again.
///
/// The default is three attempts with the default backoff and no limit of time or budget.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct RetryConfig {
    /// How often the call is made at most, the first time included: 1 or more.
    pub attempts: u32,
    /// The waits between attempts.
    pub backoff: BackoffConfig,
    /// How long all attempts and waits may take together, at most a day. A wait that would last beyond
    /// is not begun. An attempt that would is cut off, but on a blocking thread, where nothing can be.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "total_limit_ms", with = "crate::millis::optional")
    )]
    pub total_limit: Option<Duration>,
    /// How long one attempt may take, at most a day; then it is cut off and counts as a failure that may
    /// pass. Does not matter on a blocking thread.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "attempt_limit_ms", with = "crate::millis::optional")
    )]
    pub attempt_limit: Option<Duration>,
    /// The longest wait that the called one may ask for ([`Outcome::Overloaded`](crate::Outcome)), at
    /// most a day. Who asks for more is not tried again.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "max_retry_after_ms", with = "crate::millis")
    )]
    pub max_retry_after: Duration,
    /// How many retries all calls may make together. [`Retry::with_budget`](crate::Retry::with_budget)
    /// shares one with others.
    pub budget: Option<RetryBudgetConfig>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: BackoffConfig::default(),
            total_limit: None,
            attempt_limit: None,
            max_retry_after: Duration::from_secs(60),
            budget: None,
        }
    }
}

impl RetryConfig {
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let limit = |limit: Option<Duration>| limit.unwrap_or(DAY);
        let shortest = Duration::from_nanos(1);
        let allowed = "more than 0, to 1 day";
        Checks::of("retry")
            .within("attempts", self.attempts, 1.., "1 or more")
            .part("backoff", self.backoff.checked())
            .within(
                "total_limit",
                limit(self.total_limit),
                shortest..=DAY,
                allowed,
            )
            .within(
                "attempt_limit",
                limit(self.attempt_limit),
                shortest..=DAY,
                allowed,
            )
            .within(
                "max_retry_after",
                self.max_retry_after,
                ..=DAY,
                "0 to 1 day",
            )
            .part(
                "budget",
                self.budget
                    .as_ref()
                    .map_or(Ok(()), RetryBudgetConfig::checked),
            )
            .done()
    }
}
