//! Copying what a part knows of itself. Its metrics are registered once, when the part is.

use std::sync::Arc;

use ::metrics::{Label, SharedString};

use super::part::{Part, watched};
use super::table::Metric;
use super::{ResilienceMetrics, label};
use crate::{Breaker, BreakerState, Bulkhead, Clock, KeyedBuckets, RetryBudget, TokenBucket};

const STATES: [BreakerState; 6] = [
    BreakerState::Closed,
    BreakerState::Open,
    BreakerState::HalfOpen,
    BreakerState::Disabled,
    BreakerState::ForcedOpen,
    BreakerState::MetricsOnly,
];

pub(super) fn breaker<C: Clock>(
    metrics: &ResilienceMetrics,
    name: &SharedString,
    breaker: &Breaker<C>,
) -> Arc<dyn Part> {
    let states = STATES.map(|state| {
        let state_label = Label::from_static_parts("state", state.as_str());
        let gauge = metrics.gauge(Metric::BreakerState, vec![label(name), state_label]);
        (state, gauge)
    });
    let calls = metrics.gauge(Metric::BreakerCalls, vec![label(name)]);
    let failed = metrics.gauge(Metric::BreakerFailureRatio, vec![label(name)]);
    let slow = metrics.gauge(Metric::BreakerSlowRatio, vec![label(name)]);
    let opened = metrics.counter(Metric::BreakerOpenedTotal, vec![label(name)]);
    let rejected = metrics.counter(Metric::BreakerRejectionsTotal, vec![label(name)]);
    watched(breaker.weakly(), move |breaker| {
        let now = breaker.snapshot();
        for (state, gauge) in &states {
            gauge.set(if *state == now.state { 1.0 } else { 0.0 });
        }
        calls.set(approximate(now.calls));
        failed.set(now.failure_percent.unwrap_or(0.0) / 100.0);
        slow.set(now.slow_percent.unwrap_or(0.0) / 100.0);
        opened.absolute(now.opened);
        rejected.absolute(now.rejected);
    })
}

pub(super) fn bucket<C: Clock>(
    metrics: &ResilienceMetrics,
    name: &SharedString,
    bucket: &TokenBucket<C>,
) -> Arc<dyn Part> {
    let capacity = metrics.gauge(Metric::BucketCapacity, vec![label(name)]);
    let available = metrics.gauge(Metric::BucketTokens, vec![label(name)]);
    let waiting = metrics.gauge(Metric::BucketWaiting, vec![label(name)]);
    let rejected = metrics.counter(Metric::BucketRejectionsTotal, vec![label(name)]);
    watched(bucket.weakly(), move |bucket| {
        let now = bucket.snapshot();
        capacity.set(f64::from(now.capacity));
        available.set(f64::from(now.available));
        waiting.set(f64::from(now.waiting));
        rejected.absolute(now.rejected);
    })
}

pub(super) fn keyed<K: ?Sized + 'static, C: Clock>(
    metrics: &ResilienceMetrics,
    name: &SharedString,
    keyed: &KeyedBuckets<K, C>,
) -> Arc<dyn Part> {
    let keys = metrics.gauge(Metric::KeyedBucketKeys, vec![label(name)]);
    let limit = metrics.gauge(Metric::KeyedBucketKeysLimit, vec![label(name)]);
    let rejected = metrics.counter(Metric::KeyedBucketRejectionsTotal, vec![label(name)]);
    watched(keyed.weakly(), move |keyed| {
        keys.set(approximate(u64::try_from(keyed.len()).unwrap_or(u64::MAX)));
        limit.set(f64::from(keyed.config().max_keys));
        rejected.absolute(keyed.rejected());
    })
}

pub(super) fn bulkhead<C: Clock>(
    metrics: &ResilienceMetrics,
    name: &SharedString,
    bulkhead: &Bulkhead<C>,
) -> Arc<dyn Part> {
    let limit = metrics.gauge(Metric::BulkheadLimit, vec![label(name)]);
    let in_flight = metrics.gauge(Metric::BulkheadInFlight, vec![label(name)]);
    let waiting = metrics.gauge(Metric::BulkheadWaiting, vec![label(name)]);
    let rejected = metrics.counter(Metric::BulkheadRejectionsTotal, vec![label(name)]);
    watched(bulkhead.weakly(), move |bulkhead| {
        let now = bulkhead.snapshot();
        limit.set(f64::from(now.limit));
        in_flight.set(f64::from(now.in_flight));
        waiting.set(f64::from(now.waiting));
        rejected.absolute(now.rejected);
    })
}

pub(super) fn budget(
    metrics: &ResilienceMetrics,
    name: &SharedString,
    budget: &RetryBudget,
) -> Arc<dyn Part> {
    let tokens = metrics.gauge(Metric::RetryBudgetTokens, vec![label(name)]);
    watched(budget.weakly(), move |budget| {
        tokens.set(f64::from(budget.available()));
    })
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
const fn approximate(count: u64) -> f64 {
    count as f64
}
