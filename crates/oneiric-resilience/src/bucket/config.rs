//! The settings of a token bucket, and what they may be.

use crate::invalid::{Checks, InvalidConfig, Shown as _};

/// What a bucket may hold at most; what counts its tokens stays far from its own limits.
const MOST_TOKENS: u32 = 1_000_000_000;
/// Tokens a second at most: one a nanosecond.
const FASTEST: f64 = 1e9;
/// How long an empty bucket may take to fill up.
const LONGEST_FILL_DAYS: f64 = 366.0;
/// Callers that may wait at most.
const MOST_WAITERS: u32 = 1_000_000;

/// The settings of a [`TokenBucket`](super::TokenBucket).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ refill_per_sec = 100 }`"
    )
)]
pub struct TokenBucketConfig {
    /// Tokens that the bucket holds when it is full: what can be taken at once after a quiet time.
    /// 1 to 1,000,000,000.
    pub capacity: u32,
    /// Tokens that come back a second, evenly. More than 0, at most 1,000,000,000; so many that an
    /// empty bucket is full within 366 days.
    pub refill_per_sec: f64,
    /// Callers that may wait for tokens, or have reserved some that are still to come, at the same
    /// time. 0 to 1,000,000; with 0 nobody waits. Does not matter to who never waits, as in a policy without
    /// `bucket_wait`.
    pub max_waiters: u32,
}

impl Default for TokenBucketConfig {
    /// 100 tokens, 100 more a second, 1,000 callers that wait.
    fn default() -> Self {
        Self {
            capacity: 100,
            refill_per_sec: 100.0,
            max_waiters: 1_000,
        }
    }
}

impl TokenBucketConfig {
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let mut checks = Checks::of("token bucket");
        self.check(&mut checks);
        checks
            .within("max_waiters", self.max_waiters, 0..=MOST_WAITERS)
            .done()
    }

    /// What the buckets of keys have as well.
    pub(super) fn check(&self, checks: &mut Checks) {
        let Self {
            capacity,
            refill_per_sec,
            ..
        } = *self;
        let days = f64::from(capacity) / refill_per_sec / 86_400.0;
        checks
            .within("capacity", capacity, 1..=MOST_TOKENS)
            .more_than_none("refill_per_sec", refill_per_sec, FASTEST);
        if refill_per_sec > 0.0 && capacity <= MOST_TOKENS {
            checks.that(
                days <= LONGEST_FILL_DAYS,
                "refill_per_sec",
                refill_per_sec.shown(),
                "so many tokens a second that an empty bucket is full within 366 days",
            );
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    fn faults(config: TokenBucketConfig) -> Vec<String> {
        let Err(invalid) = config.checked() else {
            return Vec::new();
        };
        assert_eq!(invalid.code(), "resilience.invalid_config");
        invalid.faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_that_cannot_work_is_told_with_its_bounds() {
        let bad = TokenBucketConfig {
            capacity: 0,
            refill_per_sec: f64::NAN,
            max_waiters: 1_000_001,
        };
        assert_eq!(
            faults(bad),
            [
                "`capacity` is 0, allowed is 1 to 1000000000",
                "`refill_per_sec` is NaN, allowed is more than 0, at most 1000000000",
                "`max_waiters` is 1000001, allowed is 0 to 1000000",
            ]
        );
    }

    #[test]
    fn a_rate_is_a_positive_number_that_fills_the_bucket_within_a_year() {
        let rate = |capacity, refill_per_sec| {
            faults(TokenBucketConfig {
                capacity,
                refill_per_sec,
                ..TokenBucketConfig::default()
            })
            .len()
        };
        for bad in [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, 1.1e9] {
            assert_eq!(rate(1, bad), 1, "{bad}");
        }
        assert_eq!(rate(1, f64::MIN_POSITIVE), 1, "never full");
        assert_eq!(rate(1_000_000_000, 1.0), 1, "31 years");
        assert_eq!(rate(1_000_000_000, 1e9), 0);
        assert_eq!(rate(366, 1.0 / 86_400.0), 0);
        assert_eq!(rate(1_000_000_001, 1e9), 1);
    }
}
