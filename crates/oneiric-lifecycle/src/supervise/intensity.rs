//! How often something may be tried again, and how long to wait in between: restarts within a time, and waits that
//! grow.

use std::collections::VecDeque;
use std::time::Duration;

use oneiric_resilience::{Backoff, BackoffConfig, Delays, Jitter};
use tokio::time::Instant;

use crate::slot_policy::FailurePolicy;

/// The longest wait that a backoff takes.
const DAY: Duration = Duration::from_secs(86_400);

/// The restarts of one slot, as far as they count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// One is tried now.
    pub(crate) fn one_more(&mut self, now: Instant) {
        self.0.push_back(now);
    }

    /// Until when there may be no other, where there were as many as may be.
    pub(crate) fn is_spent_until(
        &mut self,
        policy: &FailurePolicy,
        now: Instant,
    ) -> Option<Instant> {
        let ends = |at: &Instant| at.checked_add(policy.within).unwrap_or(now + DAY);
        while self.0.front().is_some_and(|at| ends(at) <= now) {
            self.0.pop_front();
        }
        let first = self.0.len().checked_sub(policy.restarts.get() as usize)?;
        self.0.get(first).map(ends)
    }
}

/// The tries of one slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Intensity {
    restarts: Restarts,
    delays: Option<Delays>,
    not_before: Option<Instant>,
    /// When something was tried last.
    last: Option<Instant>,
}

impl Intensity {
    /// Trouble begins: waits grow from the first again, unless there was trouble just before.
    pub(super) fn begin(&mut self, policy: &FailurePolicy, now: Instant) {
        let is_past = |last| now.saturating_duration_since(last) >= policy.within;
        if self.last.is_none_or(is_past) {
            *self = Self::default();
        }
    }

    /// Whether as many restarts were tried as may be.
    pub(super) fn is_spent(&mut self, policy: &FailurePolicy, now: Instant) -> bool {
        self.restarts.is_spent_until(policy, now).is_some()
    }

    /// A restart is tried now; the next has to wait.
    pub(super) fn restart(
        &mut self,
        policy: &FailurePolicy,
        now: Instant,
        jitter: &mut (impl Jitter + ?Sized),
    ) {
        self.restarts.one_more(now);
        self.wait(policy, now, jitter);
    }

    /// Whatever is tried next has to wait, each time longer.
    pub(super) fn wait(
        &mut self,
        policy: &FailurePolicy,
        now: Instant,
        jitter: &mut (impl Jitter + ?Sized),
    ) {
        if self.delays.is_none() {
            self.delays = start(policy);
        }
        let delay = self.delays.as_mut();
        let delay = delay.map_or(policy.backoff_max, |delays| delays.next_delay(jitter));
        self.not_before = now.checked_add(delay);
        self.last = Some(now);
    }

    /// Whatever is tried next need not wait, for it is something else.
    pub(super) const fn do_not_wait(&mut self) {
        self.not_before = None;
    }

    /// Before when nothing is tried; `None`: at once.
    pub(super) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }
}

/// Waits that double, half of each left to chance: slots that failed together do not come back together, and none at
/// once.
fn start(policy: &FailurePolicy) -> Option<Delays> {
    let min = policy.backoff.min(DAY);
    let config = BackoffConfig {
        jitter: oneiric_resilience::BackoffJitter::Equal,
        ..BackoffConfig::exponential(min, policy.backoff_max.clamp(min, DAY))
    };
    Backoff::new(config).ok().map(|backoff| backoff.start())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use oneiric_resilience::SeededJitter;

    use super::*;

    fn policy() -> FailurePolicy {
        FailurePolicy {
            restarts: NonZeroU32::new(2).unwrap(),
            within: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(4),
            ..FailurePolicy::default()
        }
    }

    #[test]
    fn so_many_restarts_within_the_time_and_then_no_more() {
        let (mut intensity, mut jitter, now) =
            (Intensity::default(), SeededJitter::new(1), Instant::now());
        intensity.restart(&policy(), now, &mut jitter);
        assert!(!intensity.is_spent(&policy(), now));
        intensity.restart(&policy(), now + Duration::from_secs(30), &mut jitter);
        assert!(intensity.is_spent(&policy(), now + Duration::from_secs(59)));
        assert!(!intensity.is_spent(&policy(), now + Duration::from_secs(60)));
    }

    #[test]
    fn it_is_known_when_there_may_be_another() {
        let (mut restarts, begun) = (Restarts::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let few = FailurePolicy {
            restarts: NonZeroU32::MIN,
            ..policy()
        };
        restarts.one_more(begun);
        assert_eq!(restarts.is_spent_until(&policy(), begun), None);
        assert_eq!(restarts.is_spent_until(&few, begun), Some(after(60)));
        restarts.one_more(after(30));
        assert_eq!(
            restarts.is_spent_until(&policy(), after(30)),
            Some(after(60))
        );
        assert_eq!(restarts.is_spent_until(&few, after(30)), Some(after(90)));
        assert_eq!(restarts.is_spent_until(&policy(), after(60)), None);
    }

    #[test]
    fn waits_grow_and_begin_anew_when_the_last_trouble_is_long_past() {
        let (mut intensity, mut jitter, now) =
            (Intensity::default(), SeededJitter::new(1), Instant::now());
        assert_eq!(intensity.not_before(), None);
        let mut longest = Duration::from_secs(1);
        for _ in 0..4 {
            intensity.restart(&policy(), now, &mut jitter);
            let wait = intensity.not_before().unwrap() - now;
            assert!(
                wait >= longest / 2 && wait <= longest,
                "{wait:?} of {longest:?}"
            );
            longest = (longest * 2).min(Duration::from_secs(4));
        }
        intensity.begin(&policy(), now + Duration::from_secs(59));
        assert!(intensity.not_before().is_some());
        intensity.begin(&policy(), now + Duration::from_secs(60));
        assert_eq!(intensity.not_before(), None);
    }

    #[test]
    fn settings_out_of_range_still_make_a_wait() {
        let policy = FailurePolicy {
            backoff: Duration::MAX,
            backoff_max: Duration::ZERO,
            ..policy()
        };
        let (mut intensity, now) = (Intensity::default(), Instant::now());
        intensity.wait(&policy, now, &mut SeededJitter::new(1));
        assert!(intensity.not_before().unwrap() >= now + DAY / 2);
    }
}
