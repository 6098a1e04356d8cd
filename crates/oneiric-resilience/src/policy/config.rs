//! A policy in settings: a key for each stage, and everything that is wrong told at once.

use std::time::Duration;

use super::order::{self, Stage};
use crate::invalid::{Checks, DAY, Shown as _};
use crate::{BreakerConfig, BulkheadConfig, RetryConfig, TokenBucketConfig};

/// Which stages a policy has, and how each is set. What is left out is not there.
///
/// ```toml
/// deadline_ms = 2_000
/// attempt_limit_ms = 500
/// retry = { attempts = 3, backoff = { min_ms = 50 } }
/// breaker = { failure_percent = 50.0 }
/// bulkhead = { limit = 20 }
/// bulkhead_wait_ms = 100
/// ```
///
/// The default has no stage at all: such a policy makes the call, and that is all.
#[derive(Debug, Clone, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PolicyConfig {
    /// How long a call may take in all, with its waits and attempts: more than 0, at most 24 h.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "deadline_ms",
            with = "crate::millis::optional",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub deadline: Option<Duration>,
    /// How often, and after which waits, a call is tried again. Its `attempt_limit` is not used here:
    /// a policy has one of its own.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub retry: Option<RetryConfig>,
    /// Whether an attempt that a stage inside of the retry turned away is tried again, after the wait
    /// that the stage names. Not by default: a limit is there to keep load away, not to collect it.
    pub retry_rejected: bool,
    /// When calls are not made because what is called is down.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub breaker: Option<BreakerConfig>,
    /// How many calls a second are made.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bucket: Option<TokenBucketConfig>,
    /// How long a call may wait for its token, at most 24 h; zero is not at all.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "bucket_wait_ms", with = "crate::millis")
    )]
    pub bucket_wait: Duration,
    /// How many calls are made at once.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub bulkhead: Option<BulkheadConfig>,
    /// How long a call may wait for its turn, at most 24 h; zero is not at all.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "bulkhead_wait_ms", with = "crate::millis")
    )]
    pub bulkhead_wait: Duration,
    /// How long one attempt may take once it has its turn: more than 0, at most 24 h. It is cut off
    /// then, and counts as a failure that may pass. Less than `deadline` and the retry's `total_limit`: they
    /// end the call, and what they cut off is not counted where attempts have a limit, so a breaker
    /// would not see any call that hangs.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "attempt_limit_ms",
            with = "crate::millis::optional",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub attempt_limit: Option<Duration>,
    /// The order of the stages, outermost first: each that is set, once. Left out, it is that of
    /// [`Stage::ALL`]. Only breaker, bucket and bulkhead may stand elsewhere: outside of the retry, where
    /// they see a call and not each attempt, or in another order among themselves.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub order: Option<Vec<Stage>>,
}

impl PolicyConfig {
    /// Tells everything that cannot work, given the stages that there are: those that are set here, and
    /// those that were handed in.
    pub(super) fn check(&self, checks: &mut Checks, present: &[Stage]) {
        limit(checks, "deadline_ms", self.deadline);
        if let Some(retry) = &self.retry {
            let others = RetryConfig {
                attempt_limit: None,
                ..*retry
            };
            checks.part("retry", others.checked());
            if let Some(limit) = retry.attempt_limit {
                let allowed = "none, as a policy has `attempt_limit_ms` for it";
                checks.that(false, "retry.attempt_limit_ms", limit.shown(), allowed);
            }
        }
        let retries = present.contains(&Stage::Retry);
        let allowed = "false without `retry`: remove it, or add `retry`";
        checks.that(
            retries || !self.retry_rejected,
            "retry_rejected",
            true,
            allowed,
        );
        if let Some(breaker) = &self.breaker {
            checks.part("breaker", breaker.checked());
            self.check_slow_call(checks, breaker);
        }
        if let Some(bucket) = &self.bucket {
            checks.part("bucket", bucket.checked());
        }
        let waiters = self.bucket.as_ref().map(|bucket| bucket.max_waiters);
        wait(checks, Stage::Bucket, self.bucket_wait, present, waiters);
        if let Some(bulkhead) = &self.bulkhead {
            checks.part("bulkhead", bulkhead.checked());
        }
        let waiters = self.bulkhead.as_ref().map(|bulkhead| bulkhead.max_waiters);
        wait(
            checks,
            Stage::Bulkhead,
            self.bulkhead_wait,
            present,
            waiters,
        );
        limit(checks, "attempt_limit_ms", self.attempt_limit);
        let limits = [self.deadline(), self.total_limit()];
        let why = "that ends the call first, and an attempt that hangs is never a failure";
        less(checks, "attempt_limit_ms", self.attempt_limit, &limits, why);
        if let Some(order) = &self.order {
            order::check(checks, order, present);
        }
    }

    /// A call that is slow must be over by itself to be one.
    fn check_slow_call(&self, checks: &mut Checks, breaker: &BreakerConfig) {
        // Outside of the retry it times the whole call, with what that waits for.
        let order = self.order.as_deref().unwrap_or(&Stage::ALL);
        let place = |stage| order.iter().position(|other| *other == stage);
        let outside = self.retry.is_some() && place(Stage::Breaker) < place(Stage::Retry);
        let attempt = ("attempt_limit_ms", self.attempt_limit);
        let limits = [attempt, self.total_limit(), self.deadline()];
        let limits = if outside { &limits[2..] } else { &limits };
        let why = "nothing takes longer";
        less(
            checks,
            "breaker.slow_call_ms",
            breaker.slow_call,
            limits,
            why,
        );
    }

    const fn deadline(&self) -> Limit {
        ("deadline_ms", self.deadline)
    }

    fn total_limit(&self) -> Limit {
        let limit = self.retry.as_ref().and_then(|retry| retry.total_limit);
        ("retry.total_limit_ms", limit)
    }
}

/// A limit and its key.
type Limit = (&'static str, Option<Duration>);

/// A time is less than each of these limits. One that is wrong by itself is not measured, nor measured by.
fn less(
    checks: &mut Checks,
    field: &'static str,
    time: Option<Duration>,
    limits: &[Limit],
    why: &str,
) {
    let works = |time: &Duration| !time.is_zero() && *time <= DAY;
    let Some(time) = time.filter(works) else {
        return;
    };
    for (limit, longest) in limits {
        if let Some(longest) = longest.filter(works).filter(|longest| time >= *longest) {
            let allowed = format!("less than `{limit}` ({}): {why}", longest.shown());
            checks.that(false, field, time.shown(), allowed);
            return;
        }
    }
}

/// A time limit that is there is more than nothing: with no time, nothing would ever be called.
fn limit(checks: &mut Checks, field: &'static str, limit: Option<Duration>) {
    if let Some(limit) = limit {
        checks.more_than_none(field, limit, DAY);
    }
}

/// A wait needs something to wait for and a place to wait at.
fn wait(
    checks: &mut Checks,
    stage: Stage,
    wait: Duration,
    present: &[Stage],
    max_waiters: Option<u32>,
) {
    if wait.is_zero() {
        return;
    }
    let allowed = if wait > DAY {
        format!("0 to {}", DAY.shown())
    } else if !present.contains(&stage) {
        format!("0 without `{stage}`: remove it, or add `{stage}`")
    } else if max_waiters == Some(0) {
        format!("0 where `{stage}.max_waiters` is 0")
    } else {
        return;
    };
    checks.that(false, format!("{stage}_wait_ms"), wait.shown(), allowed);
}
