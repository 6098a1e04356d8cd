//! When an instance is asked next: at the interval, or at once because a call on it failed.
//!
//! Pure: it is told the time, and chance is a number handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::judge::{Counts, Judged};
use crate::slot_policy::HealthPolicy;

/// A good answer is believed for a tenth of the interval and no longer than this: calls that fail meanwhile ask for
/// no other, so that a storm of errors is no storm of probes.
const BELIEVED: Duration = Duration::from_secs(1);

/// So many questions follow each other at once while answers are bad; any more wait as long as a good answer is believed.
const AT_ONCE: u32 = 10;

/// The pace at which one slot's instance is asked.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Whose.
    instance: u64,
    /// The interval that `next` was computed from.
    interval: Duration,
    /// When the last answer came, or when this began.
    last: Instant,
    /// When it is asked next, where there is an interval.
    next: Option<Instant>,
    /// A call failed, and no answer since was good: from when on it is asked, not waiting for the interval.
    urgent: Option<Instant>,
    /// Bad answers since.
    in_a_row: u32,
    /// Until when calls that fail ask for nothing.
    believed_until: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            instance: 0,
            interval: Duration::ZERO,
            last: now,
            next: None,
            urgent: None,
            in_a_row: 0,
            believed_until: now,
        }
    }

    /// Adjusts to who serves and how often it is to be asked. A shortened interval counts from the last answer.
    pub(super) fn adjust(
        &mut self,
        instance: u64,
        policy: &HealthPolicy,
        now: Instant,
        chance: f64,
    ) {
        if self.instance != instance {
            *self = Self {
                instance,
                interval: policy.interval,
                next: next(now, policy, chance),
                ..Self::new(now)
            };
        } else if self.interval != policy.interval {
            self.interval = policy.interval;
            self.next = next(self.last, policy, chance);
        }
    }

    /// When it has to be asked; `None` where only those who ask decide.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.urgent).min()
    }

    /// Whether it has to be asked now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.wakes().is_some_and(|at| at <= now)
    }

    /// From when on a call that fails asks for a probe; `None` while it is known to be bad and asked at the interval.
    pub(super) const fn heeds_calls(&self, judged: Judged) -> Option<Instant> {
        match judged {
            Judged::Unhealthy if !self.interval.is_zero() => None,
            _ => Some(self.believed_until),
        }
    }

    pub(super) fn call_failed(&mut self, now: Instant) {
        self.urgent.get_or_insert(now);
    }

    /// It answered. While answers are bad and it is not judged yet, the next question follows at once if a call had
    /// failed, or a little later where that has been so for a while.
    pub(super) fn answered(
        &mut self,
        counts: Counts,
        judged: Judged,
        policy: &HealthPolicy,
        now: Instant,
        chance: f64,
    ) {
        self.last = now;
        self.next = next(now, policy, chance);
        let believed = match policy.interval {
            Duration::ZERO => BELIEVED,
            interval => (interval / 10).min(BELIEVED),
        };
        let is_open = counts == Counts::Bad && judged != Judged::Unhealthy;
        if self.urgent.is_some() && is_open {
            self.in_a_row = self.in_a_row.saturating_add(1);
            let in_a_rush = self.in_a_row < AT_ONCE;
            self.urgent = Some(if in_a_rush { now } else { now + believed });
        } else {
            self.urgent = None;
            self.in_a_row = 0;
            self.believed_until = now + believed;
        }
    }
}

/// An interval after `from`, shorter or longer by chance.
fn next(from: Instant, policy: &HealthPolicy, chance: f64) -> Option<Instant> {
    if policy.interval.is_zero() {
        return None;
    }
    let spread = f64::from(policy.jitter_percent.min(100)) / 100.0;
    let factor = spread.mul_add(2.0 * chance.clamp(0.0, 1.0) - 1.0, 1.0);
    // Whole milliseconds are fine, and a thousand years are as good as never.
    let most = Duration::from_secs(365 * 86_400 * 1_000);
    from.checked_add(policy.interval.min(most).mul_f64(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(seconds: u64) -> HealthPolicy {
        HealthPolicy {
            interval: Duration::from_secs(seconds),
            ..HealthPolicy::default()
        }
    }

    #[test]
    fn it_is_asked_at_the_interval_give_or_take_the_jitter() {
        let begun = Instant::now();
        for (chance, seconds) in [(0.0, 9), (0.5, 10), (1.0, 11)] {
            let mut pace = Pace::new(begun);
            pace.adjust(1, &policy(10), begun, chance);
            assert_eq!(pace.wakes(), Some(begun + Duration::from_secs(seconds)));
        }
        let mut pace = Pace::new(begun);
        pace.adjust(1, &policy(0), begun, 0.5);
        assert_eq!(pace.wakes(), None);
        assert!(!pace.is_due(begun));
    }

    #[test]
    fn a_shortened_interval_counts_from_the_last_answer_and_another_instance_from_now() {
        let begun = Instant::now();
        let later = begun + Duration::from_secs(8);
        let mut pace = Pace::new(begun);
        pace.adjust(1, &policy(10), begun, 0.5);
        pace.adjust(1, &policy(5), later, 0.5);
        assert!(pace.is_due(later));
        pace.adjust(2, &policy(5), later, 0.5);
        assert!(!pace.is_due(later));
    }

    #[test]
    fn after_a_failed_call_it_is_asked_at_once_until_it_is_judged_or_well() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.adjust(1, &policy(10), now, 0.5);
        pace.call_failed(now);
        assert!(pace.is_due(now));
        pace.answered(Counts::Bad, Judged::Healthy, &policy(10), now, 0.5);
        assert!(pace.is_due(now), "the next question follows at once");
        pace.answered(Counts::Bad, Judged::Unhealthy, &policy(10), now, 0.5);
        assert!(!pace.is_due(now), "judged: at the interval from here on");
        assert_eq!(pace.heeds_calls(Judged::Unhealthy), None);
        pace.call_failed(now);
        pace.answered(Counts::Good, Judged::Healthy, &policy(10), now, 0.5);
        assert!(!pace.is_due(now));
        let again = now + Duration::from_secs(1);
        assert_eq!(pace.heeds_calls(Judged::Healthy), Some(again), "believed");
    }

    #[test]
    fn so_many_questions_follow_each_other_at_once_and_no_more() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.adjust(1, &policy(10), now, 0.5);
        let bad = |pace: &mut Pace, at| {
            pace.answered(Counts::Bad, Judged::Healthy, &policy(10), at, 0.5);
        };
        pace.call_failed(now);
        for _ in 0..9 {
            bad(&mut pace, now);
            assert!(pace.is_due(now));
        }
        bad(&mut pace, now);
        assert!(!pace.is_due(now));
        pace.call_failed(now);
        assert!(!pace.is_due(now), "however many calls fail");
        let later = now + BELIEVED;
        assert!(pace.is_due(later));
        bad(&mut pace, later);
        assert!(!pace.is_due(later));
        pace.answered(Counts::Good, Judged::Healthy, &policy(10), later, 0.5);
        pace.call_failed(later);
        bad(&mut pace, later);
        assert!(pace.is_due(later), "from the beginning");
    }
}
