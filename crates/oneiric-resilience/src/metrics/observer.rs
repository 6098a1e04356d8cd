//! Counting what happens, when it happens. The counters are asked for once and kept, but for transitions,
//! which are too seldom and of too many kinds.

use std::fmt;

use ::metrics::{Counter, Label, SharedString};

use super::table::Metric;
use super::{ResilienceMetrics, label};
use crate::{
    BreakerObserver, BreakerTransition, Error, FallbackHook, GiveUp, PolicyEvent, PolicyObserver,
    Rejection, RetryEvent, RetryHook, RetryStep,
};

/// Counts what happens to one part. From [`ResilienceMetrics::observer`].
///
/// Observes a [`Breaker`](crate::Breaker) or a [`Policy`](crate::Policy), and is a hook for a
/// [`Retry`](crate::Retry) or a [`Fallback`](crate::Fallback). A retry inside of a policy is counted by the
/// policy's observer.
#[derive(Clone)]
pub struct MetricsObserver {
    metrics: ResilienceMetrics,
    name: SharedString,
    rejections: Few<Rejection, 8>,
    given_up: Few<GiveUp, 6>,
    timed_out: Counter,
    out_of_time: Counter,
    retries: Counter,
    fallbacks: Counter,
}

/// A counter for each of a few kinds.
type Few<K, const N: usize> = [(K, Counter); N];

const REJECTIONS: [Rejection; 8] = [
    Rejection::BreakerOpen,
    Rejection::BreakerForcedOpen,
    Rejection::RateLimited,
    Rejection::OverCapacity,
    Rejection::TooManyKeys,
    Rejection::BulkheadFull,
    Rejection::QueueFull,
    Rejection::DeadlineTooNear,
];

const GIVE_UPS: [GiveUp; 6] = [
    GiveUp::Permanent,
    GiveUp::NotRepeatable,
    GiveUp::Attempts,
    GiveUp::OutOfTime,
    GiveUp::RetryAfter,
    GiveUp::Budget,
];

impl MetricsObserver {
    pub(super) fn new(metrics: ResilienceMetrics, name: SharedString) -> Self {
        let counter = |metric| metrics.counter(metric, vec![label(&name)]);
        let labelled = |metric, key: &'static str, value: &'static str| {
            let labels = vec![label(&name), Label::from_static_parts(key, value)];
            metrics.counter(metric, labels)
        };
        Self {
            rejections: REJECTIONS
                .map(|kind| (kind, labelled(Metric::RejectionsTotal, "code", kind.code()))),
            given_up: GIVE_UPS.map(|why| {
                (
                    why,
                    labelled(Metric::RetriesGivenUpTotal, "reason", why.as_str()),
                )
            }),
            timed_out: counter(Metric::TimedOutTotal),
            out_of_time: counter(Metric::DeadlineExceededTotal),
            retries: counter(Metric::RetriesTotal),
            fallbacks: counter(Metric::FallbacksTotal),
            name,
            metrics,
        }
    }

    fn gave_up(&self, why: GiveUp) {
        count(&self.given_up, why);
    }
}

fn count<K: PartialEq>(few: &[(K, Counter)], kind: K) {
    if let Some((_, counter)) = few.iter().find(|(other, _)| *other == kind) {
        counter.increment(1);
    }
}

impl BreakerObserver for MetricsObserver {
    fn on_transition(&self, transition: &BreakerTransition) {
        let labels = vec![
            label(&self.name),
            Label::from_static_parts("from", transition.from.as_str()),
            Label::from_static_parts("to", transition.to.as_str()),
            Label::from_static_parts("reason", transition.why.as_str()),
        ];
        let counter = self
            .metrics
            .counter(Metric::BreakerTransitionsTotal, labels);
        counter.increment(1);
    }
}

impl PolicyObserver for MetricsObserver {
    fn on_event(&self, event: &PolicyEvent) {
        match *event {
            PolicyEvent::Rejected { rejected, .. } => {
                count(&self.rejections, rejected.rejection());
            }
            PolicyEvent::TimedOut { .. } => self.timed_out.increment(1),
            PolicyEvent::DeadlineExceeded => self.out_of_time.increment(1),
            PolicyEvent::Retrying { .. } => self.retries.increment(1),
            PolicyEvent::GaveUp { why, .. } => self.gave_up(why),
        }
    }
}

impl<E> RetryHook<E> for MetricsObserver {
    fn on_step(&self, event: &RetryEvent<'_, E>) {
        match event.error {
            Some(Error::TimedOut { .. }) => self.timed_out.increment(1),
            Some(Error::DeadlineExceeded) => self.out_of_time.increment(1),
            _ => {}
        }
        match event.step {
            RetryStep::Done => {}
            RetryStep::Wait(_) => self.retries.increment(1),
            RetryStep::GiveUp(why) => self.gave_up(why),
        }
    }
}

impl<E> FallbackHook<E> for MetricsObserver {
    fn on_fallback(&self, _: &Error<E>) {
        self.fallbacks.increment(1);
    }
}

impl fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsObserver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_kind_of_rejection_and_no_reason_to_give_up_is_left_out_or_there_twice() {
        // A new kind does not compile here until it has a place.
        let place = |kind: Rejection| match kind {
            Rejection::BreakerOpen => 0,
            Rejection::BreakerForcedOpen => 1,
            Rejection::RateLimited => 2,
            Rejection::OverCapacity => 3,
            Rejection::TooManyKeys => 4,
            Rejection::BulkheadFull => 5,
            Rejection::QueueFull => 6,
            Rejection::DeadlineTooNear => 7,
        };
        assert_eq!(REJECTIONS.map(place), [0, 1, 2, 3, 4, 5, 6, 7]);
        let place = |why: GiveUp| match why {
            GiveUp::Permanent => 0,
            GiveUp::NotRepeatable => 1,
            GiveUp::Attempts => 2,
            GiveUp::OutOfTime => 3,
            GiveUp::RetryAfter => 4,
            GiveUp::Budget => 5,
        };
        assert_eq!(GIVE_UPS.map(place), [0, 1, 2, 3, 4, 5]);
    }
}
