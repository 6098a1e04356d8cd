//! What a retry may do, in settings.

use std::time::Duration;

use crate::InvalidConfig;
use crate::backoff::BackoffConfig;
use crate::budget::RetryBudgetConfig;
use crate::invalid::{Checks, DAY};

/// How often, how long and after which waits a call is tried again.
///
/// The default is three attempts with the default backoff and budget, and no limit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ attempts = 3 }`"
    )
)]
pub struct RetryConfig {
    /// How often the call is made at most, the first time included: 1 or more.
    pub attempts: u32,
    /// The waits between attempts.
    pub backoff: BackoffConfig,
    /// How long all attempts and waits may take together, at most 24 h. A wait that would last beyond
    /// is not begun. An attempt that would is cut off, but on a blocking thread, where nothing can be.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "total_limit_ms", with = "crate::millis::optional")
    )]
    pub total_limit: Option<Duration>,
    /// How long one attempt may take, at most 24 h; then it is cut off and counts as a failure that may
    /// pass. Does not matter on a blocking thread.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "attempt_limit_ms", with = "crate::millis::optional")
    )]
    pub attempt_limit: Option<Duration>,
    /// The longest wait that the called one may ask for ([`Outcome::Overloaded`](crate::Outcome)), at
    /// most 24 h. Who asks for more is not tried again.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "max_retry_after_ms", with = "crate::millis")
    )]
    pub max_retry_after: Duration,
    /// How many retries all calls may make together; in a file `"none"` stands for no limit. As it may be a word
    /// or settings, only formats that tell which (TOML, JSON, YAML) can be read, not postcard or bincode.
    /// [`Retry::with_budget`](crate::Retry::with_budget) shares one with others.
    #[cfg_attr(feature = "serde", serde(with = "crate::budget::setting"))]
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
            budget: Some(RetryBudgetConfig::default()),
        }
    }
}

impl RetryConfig {
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let mut checks = Checks::of("retry");
        checks
            .that(self.attempts >= 1, "attempts", self.attempts, "1 or more")
            .part("backoff", self.backoff.checked());
        for (field, limit) in [
            ("total_limit_ms", self.total_limit),
            ("attempt_limit_ms", self.attempt_limit),
        ] {
            if let Some(limit) = limit {
                checks.more_than_none(field, limit, DAY);
            }
        }
        checks.within(
            "max_retry_after_ms",
            self.max_retry_after,
            Duration::ZERO..=DAY,
        );
        if let Some(budget) = &self.budget {
            checks.part("budget", budget.checked());
        }
        checks.done()
    }
}
