//! A limit that finds itself: a little more while all goes well, much less when it does not.
//!
//! What TCP does to the number of packets under way, done to calls: where many share something
//! without knowing of each other, adding and multiplying is what makes them share it evenly.
//!
//! One burst of failures is one sign of overload, not as many as there were calls under way. So each
//! call carries the round it began in; a decrease begins a new round; and what began before it says
//! nothing any more about the load that is now.

use std::time::Duration;

use super::permits::MOST;
use crate::invalid::{Checks, DAY, InvalidConfig};
use crate::outcome::Outcome;

/// Bounds and steps of a limit that adapts.
///
/// Source: V. Jacobson, "Congestion Avoidance and Control" (1988); D. Chiu and R. Jain, "Analysis of
/// the Increase and Decrease Algorithms for Congestion Avoidance" (1989); the default decrease is
/// that of CUBIC, RFC 9438 §4.6; calls in place of packets as in Netflix `concurrency-limits`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ max = 200 }`"
    )
)]
pub struct AimdConfig {
    /// The limit never falls below this. 1 to 1,000,000.
    pub min: u32,
    /// The limit never rises above this. `min` to 1,000,000.
    pub max: u32,
    /// By how much the limit rises while as many successes come in as it allows calls at once, if at
    /// least half of it is used. 0.001 to 1,000.
    pub increase: f64,
    /// What share of the limit an overload takes away, percent. 1 to 99.
    pub decrease_percent: f64,
    /// A success that took longer is a sign of overload too. 1 ms to 24 h.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "latency_above_ms", with = "crate::millis::optional")
    )]
    pub latency_above: Option<Duration>,
}

impl Default for AimdConfig {
    /// Between 1 and 200; one more a round trip, 30 percent less at an overload; latency says nothing.
    fn default() -> Self {
        Self {
            min: 1,
            max: 200,
            increase: 1.0,
            decrease_percent: 30.0,
            latency_above: None,
        }
    }
}

impl AimdConfig {
    pub(super) fn checked(&self) -> Result<(), InvalidConfig> {
        let Self {
            min,
            max,
            increase,
            decrease_percent,
            latency_above,
        } = *self;
        // Measured by what is wrong itself, `max` would seem wrong too.
        let least = if min <= MOST { min.max(1) } else { 1 };
        let allowed = format!("`min` to {MOST}");
        let mut checks = Checks::of("adaptive limit");
        checks
            .within("min", min, 1..=MOST)
            .that((least..=MOST).contains(&max), "max", max, allowed)
            .within("increase", increase, 1e-3..=1e3)
            .percent("decrease_percent", decrease_percent, 1.0..=99.0);
        if let Some(latency) = latency_above {
            let bounds = Duration::from_millis(1)..=DAY;
            checks.within("latency_above_ms", latency, bounds);
        }
        checks.done()
    }
}

/// The time between two decreases of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round(pub(super) u64);

/// A limit that adapts, told of each call's end. It reads no clock.
#[derive(Debug)]
pub(super) struct Aimd {
    config: AimdConfig,
    /// The whole part is the limit.
    limit: f64,
    round: Round,
}

impl Aimd {
    /// A limit that begins with `initial`, or with the bound that is nearer.
    ///
    /// # Errors
    /// `resilience.invalid_config` with every bound that is broken.
    pub(super) fn new(config: AimdConfig, initial: u32) -> Result<Self, InvalidConfig> {
        config.checked()?;
        Ok(Self {
            limit: f64::from(initial.clamp(config.min, config.max)),
            round: Round::default(),
            config,
        })
    }

    /// Calls at once.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between the bounds, which are such numbers"
    )]
    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// The round in which a call begins that begins now.
    pub(super) const fn round(&self) -> Round {
        self.round
    }

    /// Goes on from another limit, or from the bound that is nearer.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = f64::from(limit.clamp(self.config.min, self.config.max));
    }

    /// A call ended that began in `round`. `in_flight` counts it still; `latency` is how long it took,
    /// where that is known.
    ///
    /// [`Outcome::Failure`] and [`Outcome::Overloaded`] are signs of overload, and so is a success that
    /// took too long. [`Outcome::Permanent`] and [`Outcome::Ignored`] say nothing about load.
    pub(super) fn record(
        &mut self,
        round: Round,
        in_flight: u32,
        outcome: Outcome,
        latency: Option<Duration>,
    ) {
        if round != self.round {
            return;
        }
        match outcome {
            Outcome::Success if self.is_slow(latency) => self.decrease(),
            Outcome::Success if self.is_used(in_flight) => self.increase(),
            Outcome::Failure | Outcome::Overloaded { .. } => self.decrease(),
            Outcome::Success | Outcome::Permanent | Outcome::Ignored => {}
        }
    }

    fn is_slow(&self, latency: Option<Duration>) -> bool {
        matches!((latency, self.config.latency_above), (Some(took), Some(most)) if took > most)
    }

    /// A limit that nobody comes near was not tried; raising it would say nothing.
    fn is_used(&self, in_flight: u32) -> bool {
        is_used(in_flight, self.limit())
    }

    /// Each of as many calls as the limit allows at once adds its part.
    fn increase(&mut self) {
        let more = self.limit + self.config.increase / f64::from(self.limit().max(1));
        self.limit = more.min(f64::from(self.config.max));
    }

    /// From the whole limit, so that it is one less at least.
    fn decrease(&mut self) {
        let kept = 1.0 - self.config.decrease_percent / 100.0;
        let less = f64::from(self.limit()) * kept;
        self.limit = less.max(f64::from(self.config.min));
        self.round = Round(self.round.0 + 1);
    }
}

/// Whether so many calls are enough to say that the limit is used.
pub(super) const fn is_used(in_flight: u32, limit: u32) -> bool {
    in_flight >= limit.div_ceil(2)
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::unwrap_used, reason = "a helper of tests may fail loudly")]
    fn aimd(config: AimdConfig, initial: u32) -> Aimd {
        Aimd::new(config, initial).unwrap()
    }

    fn record(aimd: &mut Aimd, times: u32, in_flight: u32, outcome: Outcome) {
        for _ in 0..times {
            aimd.record(aimd.round(), in_flight, outcome, None);
        }
    }

    #[test]
    fn a_round_trip_of_successes_adds_one_step() {
        let mut aimd = aimd(AimdConfig::default(), 10);
        record(&mut aimd, 9, 10, Outcome::Success);
        assert_eq!(aimd.limit(), 10);
        record(&mut aimd, 2, 10, Outcome::Success);
        assert_eq!(aimd.limit(), 11);
    }

    #[test]
    fn the_smallest_step_is_not_lost_at_the_highest_limit() {
        let config = AimdConfig {
            max: MOST,
            increase: 1e-3,
            ..AimdConfig::default()
        };
        let mut aimd = aimd(config, MOST - 1);
        let before = aimd.limit;
        record(&mut aimd, 1_000, MOST, Outcome::Success);
        let more = (aimd.limit - before) * 1e6;
        assert!((0.9..1.1).contains(&more), "1,000 times 1e-9: {more}e-6");
    }

    #[test]
    fn a_limit_that_is_not_half_used_stays() {
        let mut aimd = aimd(AimdConfig::default(), 10);
        record(&mut aimd, 1_000, 4, Outcome::Success);
        assert_eq!(aimd.limit(), 10);
        record(&mut aimd, 11, 5, Outcome::Success);
        assert_eq!(aimd.limit(), 11);
    }

    #[test]
    fn one_burst_counts_once_and_the_next_again() {
        let mut aimd = aimd(AimdConfig::default(), 10);
        let burst = aimd.round();
        for _ in 0..10 {
            aimd.record(burst, 10, Outcome::Failure, None);
        }
        assert_eq!(aimd.limit(), 7);
        aimd.record(burst, 10, Outcome::Success, None);
        assert_ne!(aimd.round(), burst);
        let retry_after = Duration::from_secs(1);
        record(&mut aimd, 1, 7, Outcome::Overloaded { retry_after });
        assert_eq!(aimd.limit(), 4);
    }

    #[test]
    fn only_what_tells_of_load_counts() {
        let mut aimd = aimd(AimdConfig::default(), 10);
        record(&mut aimd, 100, 10, Outcome::Permanent);
        record(&mut aimd, 100, 10, Outcome::Ignored);
        assert_eq!((aimd.limit(), aimd.round()), (10, Round(0)));
    }

    #[test]
    fn a_success_that_took_too_long_is_an_overload() {
        let most = Duration::from_millis(250);
        let config = AimdConfig {
            latency_above: Some(most),
            ..AimdConfig::default()
        };
        let mut aimd = aimd(config, 10);
        aimd.record(aimd.round(), 10, Outcome::Success, Some(most));
        assert_eq!(aimd.limit(), 10);
        let slow = most + Duration::from_nanos(1);
        aimd.record(aimd.round(), 10, Outcome::Success, Some(slow));
        assert_eq!(aimd.limit(), 7);
        aimd.record(aimd.round(), 10, Outcome::Ignored, Some(slow));
        assert_eq!(aimd.limit(), 7);
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            20 => Just(Outcome::Success),
            1 => Just(Outcome::Failure),
            1 => Just(Outcome::Ignored),
        ]
    }

    proptest! {
        #[test]
        fn it_keeps_its_bounds_and_every_step_has_its_direction(
            (min, max, initial) in (1_u32..50, 0_u32..200, 0_u32..300)
                .prop_map(|(min, more, initial)| (min, min + more, initial)),
            increase in 0.001_f64..1_000.0,
            decrease_percent in 1.0_f64..99.0,
            outcomes in prop::collection::vec(outcome(), 0..500),
        ) {
            let config = AimdConfig { min, max, increase, decrease_percent, latency_above: None };
            let mut aimd = aimd(config, initial);
            for outcome in outcomes {
                let (before, round) = (aimd.limit(), aimd.round());
                prop_assert!((min..=max).contains(&before));
                aimd.record(round, before, outcome, None);
                match outcome {
                    Outcome::Success => prop_assert!(aimd.limit() >= before),
                    Outcome::Failure => {
                        prop_assert!(aimd.limit() < before || before == min);
                        prop_assert_ne!(aimd.round(), round);
                    }
                    _ => prop_assert_eq!(aimd.limit(), before),
                }
            }
        }
    }
}
