//! The table of metrics: each is named, described and documented here and nowhere else.
//! `docs/reference/resilience-metrics.md` is made from it.
//!
//! The rule for names: `oneiric_resilience_<noun>_<unit>[_total]`; a count has no unit, a counter ends in
//! `_total`, a ratio lies between 0 and 1.

use ::metrics::Unit;

/// Every metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    BreakerState,
    BreakerTransitionsTotal,
    BreakerOpenedTotal,
    BreakerRejectionsTotal,
    BreakerCalls,
    BreakerFailureRatio,
    BreakerSlowRatio,
    BucketTokens,
    BucketCapacity,
    BucketWaiting,
    BucketRejectionsTotal,
    KeyedBucketKeys,
    KeyedBucketKeysLimit,
    KeyedBucketRejectionsTotal,
    BulkheadLimit,
    BulkheadInFlight,
    BulkheadWaiting,
    BulkheadRejectionsTotal,
    RetryBudgetTokens,
    RetriesTotal,
    RetriesGivenUpTotal,
    RejectionsTotal,
    TimedOutTotal,
    DeadlineExceededTotal,
    FallbacksTotal,
}

/// What a metric can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grow.
    Counter,
    /// Grow and shrink.
    Gauge,
}

/// What is known about a metric before it has a value.
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    /// The keys of its labels, in their order.
    pub(super) labels: &'static [&'static str],
    pub(super) says: &'static str,
}

impl Metric {
    pub(super) const ALL: [Self; 25] = [
        Self::BreakerState,
        Self::BreakerTransitionsTotal,
        Self::BreakerOpenedTotal,
        Self::BreakerRejectionsTotal,
        Self::BreakerCalls,
        Self::BreakerFailureRatio,
        Self::BreakerSlowRatio,
        Self::BucketTokens,
        Self::BucketCapacity,
        Self::BucketWaiting,
        Self::BucketRejectionsTotal,
        Self::KeyedBucketKeys,
        Self::KeyedBucketKeysLimit,
        Self::KeyedBucketRejectionsTotal,
        Self::BulkheadLimit,
        Self::BulkheadInFlight,
        Self::BulkheadWaiting,
        Self::BulkheadRejectionsTotal,
        Self::RetryBudgetTokens,
        Self::RetriesTotal,
        Self::RetriesGivenUpTotal,
        Self::RejectionsTotal,
        Self::TimedOutTotal,
        Self::DeadlineExceededTotal,
        Self::FallbacksTotal,
    ];

    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) const fn about(self) -> About {
        use Kind::{Counter, Gauge};
        let (name, kind, labels, says): (_, _, &[&str], _) = match self {
            Self::BreakerState => (
                "oneiric_resilience_breaker_state",
                Gauge,
                &["name", "state"],
                "1 for the state that the breaker is in: closed, open, half_open, disabled, forced_open or metrics_only; 0 for the others.",
            ),
            Self::BreakerTransitionsTotal => (
                "oneiric_resilience_breaker_transitions_total",
                Counter,
                &["name", "from", "to", "reason"],
                "Times the breaker went from one state to another, by reason.",
            ),
            Self::BreakerOpenedTotal => (
                "oneiric_resilience_breaker_opened_total",
                Counter,
                &["name"],
                "Times the breaker opened by itself.",
            ),
            Self::BreakerRejectionsTotal => (
                "oneiric_resilience_breaker_rejections_total",
                Counter,
                &["name"],
                "Calls that the breaker did not let through, whoever asked.",
            ),
            Self::BreakerCalls => (
                "oneiric_resilience_breaker_calls",
                Gauge,
                &["name"],
                "Calls that the breaker judges by at this moment: those in its window, or failures in a row, or probes that have ended.",
            ),
            Self::BreakerFailureRatio => (
                "oneiric_resilience_breaker_failure_ratio",
                Gauge,
                &["name"],
                "Which part of these calls failed, 0 to 1; 0 if there are none.",
            ),
            Self::BreakerSlowRatio => (
                "oneiric_resilience_breaker_slow_ratio",
                Gauge,
                &["name"],
                "Which part of these calls was slow, 0 to 1; 0 if there are none.",
            ),
            Self::BucketTokens => (
                "oneiric_resilience_bucket_tokens",
                Gauge,
                &["name"],
                "Whole tokens that the bucket holds.",
            ),
            Self::BucketCapacity => (
                "oneiric_resilience_bucket_capacity",
                Gauge,
                &["name"],
                "Tokens that the bucket holds when it is full.",
            ),
            Self::BucketWaiting => (
                "oneiric_resilience_bucket_waiting",
                Gauge,
                &["name"],
                "Callers that wait for tokens.",
            ),
            Self::BucketRejectionsTotal => (
                "oneiric_resilience_bucket_rejections_total",
                Counter,
                &["name"],
                "Times the bucket refused, whoever asked; a wait that ended without tokens counts once.",
            ),
            Self::KeyedBucketKeys => (
                "oneiric_resilience_keyed_bucket_keys",
                Gauge,
                &["name"],
                "Keys that have a place, also those whose bucket is full again and whose place nobody has needed yet.",
            ),
            Self::KeyedBucketKeysLimit => (
                "oneiric_resilience_keyed_bucket_keys_limit",
                Gauge,
                &["name"],
                "Keys that may have a bucket of their own at once.",
            ),
            Self::KeyedBucketRejectionsTotal => (
                "oneiric_resilience_keyed_bucket_rejections_total",
                Counter,
                &["name"],
                "Times a take from a key's bucket was refused, all keys together.",
            ),
            Self::BulkheadLimit => (
                "oneiric_resilience_bulkhead_limit",
                Gauge,
                &["name"],
                "Calls that may run at once; changes where the limit adapts.",
            ),
            Self::BulkheadInFlight => (
                "oneiric_resilience_bulkhead_in_flight",
                Gauge,
                &["name"],
                "Calls that run.",
            ),
            Self::BulkheadWaiting => (
                "oneiric_resilience_bulkhead_waiting",
                Gauge,
                &["name"],
                "Callers that wait for their turn.",
            ),
            Self::BulkheadRejectionsTotal => (
                "oneiric_resilience_bulkhead_rejections_total",
                Counter,
                &["name"],
                "Callers that the bulkhead refused, whoever they were; a wait that ended without a permit counts once.",
            ),
            Self::RetryBudgetTokens => (
                "oneiric_resilience_retry_budget_tokens",
                Gauge,
                &["name"],
                "Retries that the budget has tokens for.",
            ),
            Self::RetriesTotal => (
                "oneiric_resilience_retries_total",
                Counter,
                &["name"],
                "Attempts that failed, where it was decided to make another.",
            ),
            Self::RetriesGivenUpTotal => (
                "oneiric_resilience_retries_given_up_total",
                Counter,
                &["name", "reason"],
                "Calls that failed and were not tried again, by reason: permanent, not_repeatable (the request cannot be sent again), attempts, out_of_time, retry_after (a longer wait was asked for than is allowed), budget.",
            ),
            Self::RejectionsTotal => (
                "oneiric_resilience_rejections_total",
                Counter,
                &["name", "code"],
                "Calls and attempts that a breaker, bucket or bulkhead of a policy did not let through, by error code. It counts them too, with whatever else it refuses, among its own rejections.",
            ),
            Self::TimedOutTotal => (
                "oneiric_resilience_timed_out_total",
                Counter,
                &["name"],
                "Attempts that were cut off because they took longer than one may.",
            ),
            Self::DeadlineExceededTotal => (
                "oneiric_resilience_deadline_exceeded_total",
                Counter,
                &["name"],
                "Attempts that were cut off, or not begun, because the time of the whole call was over.",
            ),
            Self::FallbacksTotal => (
                "oneiric_resilience_fallbacks_total",
                Counter,
                &["name"],
                "Errors that a fallback answered for.",
            ),
        };
        About {
            name,
            kind,
            unit: Unit::Count,
            labels,
            says,
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod page;

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_are_given_once() {
        let mut names: Vec<&str> = Vec::new();
        for metric in Metric::ALL {
            let About {
                name, kind, says, ..
            } = metric.about();
            let words = name.strip_prefix("oneiric_resilience_").unwrap();
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            assert!(words.chars().all(plain) && !words.contains("__"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(says.ends_with('.') && !says.contains('|'), "{name}: {says}");
            names.push(name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }
}
