//! From answers to a judgement: one bad answer is a hiccup, several in a row are a failure, and as many good ones as the
//! policy asks for end it.
//!
//! Pure: it is told the time. Whoever asks an instance for its health tells what it answered, the monitor and operators
//! alike.

use std::time::SystemTime;

use serde::Serialize;
use tokio::time::Instant;

use crate::decision::Because;
use crate::health::Health;
use crate::slot_policy::HealthPolicy;

/// What is thought of the instance that serves, after all its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Judged {
    /// Nobody asked it yet, or too few answers were bad to say.
    #[default]
    Unknown,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

impl Judged {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Healthy, Self::Unhealthy];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is thought of the instance that serves, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Judgement {
    /// What is thought of it.
    pub judged: Judged,
    /// Bad answers in a row.
    pub bad: u32,
    /// Good answers in a row.
    pub good: u32,
}

/// How an answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Good,
    Bad,
    /// It says that it will be back, and its time is not up yet; or it could not be asked because of us.
    Neither,
}

/// Judges one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judge {
    /// Whose answers these are.
    instance: u64,
    judgement: Judgement,
    /// The first of the bad answers in a row, and the last.
    first_bad: Option<SystemTime>,
    last_bad: Option<(Health, SystemTime)>,
    /// Since when it says that it is unavailable, without a good answer in between.
    unavailable: Option<Instant>,
}

impl Judge {
    /// Nothing is known of `instance` yet.
    pub(crate) fn of(instance: u64) -> Self {
        Self {
            instance,
            ..Self::default()
        }
    }

    pub(crate) const fn instance(&self) -> u64 {
        self.instance
    }

    pub(crate) const fn judgement(&self) -> Judgement {
        self.judgement
    }

    pub(crate) const fn judged(&self) -> Judged {
        self.judgement.judged
    }

    /// Takes an answer into account; says how it counted.
    pub(crate) fn hear(
        &mut self,
        health: &Health,
        policy: &HealthPolicy,
        now: Instant,
        at: SystemTime,
    ) -> Counts {
        let counts = match health {
            Health::Ok | Health::Warn(_) => Counts::Good,
            Health::TemporarilyUnavailable(_) => {
                let since = *self.unavailable.get_or_insert(now);
                if now.saturating_duration_since(since) < policy.grace {
                    Counts::Neither
                } else {
                    Counts::Bad
                }
            }
            Health::Critical(_) | Health::ProbeError(_) => Counts::Bad,
            Health::NotAsked(_) => Counts::Neither,
        };
        let judgement = &mut self.judgement;
        match counts {
            Counts::Good => {
                judgement.good = judgement.good.saturating_add(1);
                judgement.bad = 0;
                self.unavailable = None;
                self.first_bad = None;
                if judgement.judged != Judged::Unhealthy || judgement.good >= policy.good.get() {
                    judgement.judged = Judged::Healthy;
                }
            }
            Counts::Bad => {
                judgement.bad = judgement.bad.saturating_add(1);
                judgement.good = 0;
                self.first_bad.get_or_insert(at);
                self.last_bad = Some((health.clone(), at));
                if judgement.bad >= policy.bad.get() {
                    judgement.judged = Judged::Unhealthy;
                }
            }
            Counts::Neither => {}
        }
        counts
    }

    /// The bad answers, as a reason for what is done about them.
    pub(crate) fn because(&self) -> Option<Because> {
        let (last, at) = self.last_bad.clone()?;
        Some(Because::Probes {
            failed: self.judgement.bad,
            since: self.first_bad.unwrap_or(at),
            last,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn policy(bad: u32, good: u32, grace: u64) -> HealthPolicy {
        HealthPolicy {
            bad: NonZeroU32::new(bad).unwrap(),
            good: NonZeroU32::new(good).unwrap(),
            grace: Duration::from_secs(grace),
            ..HealthPolicy::default()
        }
    }

    /// Judges `answers`, one a second.
    fn judged(policy: &HealthPolicy, answers: &[Health]) -> Vec<Judged> {
        let (mut judge, begun) = (Judge::of(1), Instant::now());
        let answers = answers.iter().zip(0..);
        let judge_one = |(health, second): (&Health, u64)| {
            let now = begun + Duration::from_secs(second);
            let at = UNIX_EPOCH + Duration::from_secs(second);
            judge.hear(health, policy, now, at);
            judge.judged()
        };
        answers.map(judge_one).collect()
    }

    fn answer() -> impl Strategy<Value = Health> {
        prop_oneof![
            Just(Health::Ok),
            Just(Health::warn("slow")),
            Just(Health::temporarily_unavailable("back soon")),
            Just(Health::critical("gone")),
            Just(Health::probe_error("late")),
            Just(Health::not_asked("no thread")),
        ]
    }

    /// The same said from the end: looks back over the answers so far, and remembers nothing else but what it said last.
    fn model(policy: &HealthPolicy, answers: &[Health]) -> Vec<Judged> {
        // What each answer counts as: `None` is neither.
        let mut good = Vec::new();
        let mut said = Vec::new();
        let mut before = Judged::Unknown;
        for (second, health) in answers.iter().enumerate() {
            let since_good = answers[..second].iter().rposition(Health::may_serve);
            let first = answers[since_good.map_or(0, |index| index + 1)..=second]
                .iter()
                .position(|health| matches!(health, Health::TemporarilyUnavailable(_)))
                .map(|index| index + since_good.map_or(0, |index| index + 1));
            good.push(match health {
                Health::TemporarilyUnavailable(_) => {
                    let waited = (second - first.unwrap()) as u64;
                    (waited >= policy.grace.as_secs()).then_some(false)
                }
                Health::NotAsked(_) => None,
                health => Some(health.may_serve()),
            });
            let counted: Vec<bool> = good.iter().copied().flatten().collect();
            let run = counted
                .iter()
                .rev()
                .take_while(|one| Some(*one) == counted.last())
                .count();
            let now = match (good[second], before) {
                (None, before) => before,
                (Some(true), Judged::Unhealthy) if run < policy.good.get() as usize => {
                    Judged::Unhealthy
                }
                (Some(true), _) => Judged::Healthy,
                (Some(false), _) if run >= policy.bad.get() as usize => Judged::Unhealthy,
                (Some(false), before) => before,
            };
            said.push(now);
            before = now;
        }
        said
    }

    proptest! {
        #[test]
        fn it_judges_as_one_who_looks_back_over_all_answers(
            answers in proptest::collection::vec(answer(), 0..40),
            bad in 1_u32..5,
            good in 1_u32..5,
            grace in 0_u64..6,
        ) {
            let policy = policy(bad, good, grace);
            prop_assert_eq!(judged(&policy, &answers), model(&policy, &answers));
        }
    }

    #[test]
    fn so_many_bad_answers_make_it_fall_and_so_many_good_ones_make_it_rise() {
        use Judged::{Healthy, Unhealthy, Unknown};
        let (ok, bad) = (|| Health::Ok, || Health::critical("gone"));
        let policy = policy(3, 2, 0);
        assert_eq!(
            judged(&policy, &[bad(), bad(), ok()]),
            [Unknown, Unknown, Healthy]
        );
        assert_eq!(
            judged(
                &policy,
                &[ok(), bad(), bad(), bad(), ok(), bad(), ok(), ok()]
            ),
            [
                Healthy, Healthy, Healthy, Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy
            ]
        );
    }

    #[test]
    fn who_says_to_be_back_has_the_grace_and_no_longer() {
        use Judged::{Healthy, Unhealthy};
        let away = || Health::temporarily_unavailable("restarting");
        let said = judged(&policy(1, 1, 2), &[Health::Ok, away(), away(), away()]);
        assert_eq!(said, [Healthy, Healthy, Healthy, Unhealthy]);
        assert_eq!(judged(&policy(1, 1, 0), &[away()]), [Unhealthy]);
    }

    #[test]
    fn the_reason_names_how_many_and_since_when() {
        let mut judge = Judge::of(1);
        assert_eq!(judge.because(), None);
        let policy = policy(3, 2, 0);
        for second in 0..3 {
            let at = UNIX_EPOCH + Duration::from_secs(second);
            judge.hear(&Health::critical("gone"), &policy, Instant::now(), at);
        }
        let because = Because::Probes {
            failed: 3,
            last: Health::critical("gone"),
            since: UNIX_EPOCH,
            at: UNIX_EPOCH + Duration::from_secs(2),
        };
        assert_eq!(judge.because(), Some(because));
    }
}
