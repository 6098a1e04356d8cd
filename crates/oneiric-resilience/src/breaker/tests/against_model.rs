//! Random sequences of calls, times and orders: the breaker says what the model says, after each step.

use std::time::Duration;

use proptest::prelude::*;

use super::model::{self, Model};
use crate::breaker::window::Sums;
use crate::{
    BackoffConfig, BackoffJitter, Breaker, BreakerConfig, BreakerMode, BreakerPermit,
    BreakerWindow, ManualClock, Outcome,
};

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    End(usize, Outcome, Option<Duration>),
    Drop(usize),
    Wait(Duration),
    Hand(BreakerMode),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        8 => Just(Outcome::Success),
        8 => Just(Outcome::Failure),
        1 => Just(Outcome::Permanent),
        1 => Just(Outcome::Ignored),
        1 => (0..3_000_u32).prop_map(|ms| Outcome::Overloaded { retry_after: ms * MS }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let took = prop::option::weighted(0.2, (0..100_u32).prop_map(|ms| ms * MS));
    prop_oneof![
        24 => Just(Step::Begin),
        20 => (any::<usize>(), outcome(), took).prop_map(|(at, how, took)| Step::End(at, how, took)),
        2 => any::<usize>().prop_map(Step::Drop),
        6 => (0..40_u32).prop_map(|ms| Step::Wait(ms * MS)),
        2 => (0..2_500_u32).prop_map(|ms| Step::Wait(ms * MS)),
        1 => prop_oneof![
            3 => Just(BreakerMode::Released),
            1 => Just(BreakerMode::Disabled),
            1 => Just(BreakerMode::ForcedOpen),
            1 => Just(BreakerMode::MetricsOnly),
        ]
        .prop_map(Step::Hand),
    ]
}

fn window() -> impl Strategy<Value = BreakerWindow> {
    prop_oneof![
        (1..30_u32).prop_map(BreakerWindow::Calls),
        (100..1_500_u32, 1..12_u32).prop_map(|(ms, buckets)| BreakerWindow::Time {
            length: ms * MS,
            buckets
        }),
        (1..6_u32).prop_map(BreakerWindow::Consecutive),
    ]
}

prop_compose! {
    fn config()(
        window in window(),
        failure_percent in 1.0..=100.0_f64,
        min_calls in 1..12_u32,
        slow_call in prop::option::of((1..60_u32).prop_map(|ms| ms * MS)),
        slow_percent in 1.0..=100.0_f64,
        open in 0..1_000_u32,
        probes in 1..6_u32,
        half_open_max in 1..1_000_u32,
        max_retry_after in 0..2_000_u32,
    ) -> BreakerConfig {
        BreakerConfig {
            window,
            failure_percent,
            min_calls: match window {
                BreakerWindow::Calls(calls) => min_calls.min(calls),
                _ => min_calls,
            },
            slow_call: match window {
                BreakerWindow::Consecutive(_) => None,
                _ => slow_call,
            },
            slow_percent: match (window, slow_call) {
                (BreakerWindow::Consecutive(_), _) | (_, None) => 100.0,
                _ => slow_percent,
            },
            open: BackoffConfig {
                jitter: BackoffJitter::None,
                ..BackoffConfig::exponential(open * MS, open * 5 * MS)
            },
            probes,
            half_open_max: half_open_max * MS,
            max_retry_after: max_retry_after * MS,
        }
    }
}

/// A breaker, its model, and the calls that are under way in both.
struct Pair {
    breaker: Breaker<ManualClock>,
    clock: ManualClock,
    model: Model,
    calls: Vec<(BreakerPermit<ManualClock>, model::Permit)>,
}

impl Pair {
    fn new(config: BreakerConfig, batches: bool) -> Self {
        let clock = ManualClock::new();
        let builder = Breaker::builder(config).clock(clock.clone());
        let machine = builder.machine().unwrap();
        let machine = if batches {
            machine
        } else {
            machine.without_batches()
        };
        Self {
            breaker: Breaker::from_machine(machine),
            clock,
            model: Model::new(config),
            calls: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin => self.begin(),
            Step::Wait(time) => {
                self.clock.advance(time);
                self.model.now += time;
            }
            Step::Hand(mode) => self.hand(mode),
            Step::End(at, outcome, took) => {
                if let Some((permit, modelled)) = self.pick(at) {
                    self.model.end(modelled, outcome, took);
                    match took {
                        Some(took) => permit.record_timed(outcome, took),
                        None => permit.record(outcome),
                    }
                }
            }
            Step::Drop(at) => {
                if let Some((permit, modelled)) = self.pick(at) {
                    self.model.end(modelled, Outcome::Ignored, None);
                    drop(permit);
                }
            }
        }
    }

    fn begin(&mut self) {
        match (self.breaker.permit(), self.model.permit()) {
            (Ok(permit), Ok(modelled)) => self.calls.push((permit, modelled)),
            (Err(rejected), Err(wait)) => assert_eq!(rejected.retry_after(), wait),
            (ours, modelled) => panic!("{ours:?} instead of {modelled:?}"),
        }
    }

    fn hand(&mut self, mode: BreakerMode) {
        let control = self.breaker.control();
        match mode {
            BreakerMode::Released => control.release(),
            BreakerMode::Disabled => control.disable(),
            BreakerMode::ForcedOpen => control.force_open(),
            BreakerMode::MetricsOnly => control.metrics_only(),
        }
        // Nothing holds this one's machine but the breaker itself.
        self.breaker.obey(&control);
        self.model.by_hand(mode);
    }

    fn pick(&mut self, at: usize) -> Option<(BreakerPermit<ManualClock>, model::Permit)> {
        let count = self.calls.len();
        (count > 0).then(|| self.calls.swap_remove(at % count))
    }

    fn sums(&self) -> Sums {
        let snapshot = self.breaker.snapshot();
        assert_eq!(snapshot.state, self.model.state);
        assert_eq!(snapshot.generation, self.model.generation);
        assert_eq!(snapshot.rejected, self.model.rejected);
        Sums {
            calls: snapshot.calls,
            failures: snapshot.failures,
            slow: snapshot.slow,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_breaker_does_what_the_model_does(
        config in config(),
        steps in prop::collection::vec(step(), 0..250),
    ) {
        let mut pair = Pair::new(config, false);
        for step in steps {
            pair.step(step);
            prop_assert_eq!(pair.sums(), pair.model.sums(), "after {:?}", step);
        }
    }

    /// Looking changes when calls are dated, so it is looked now and then only. Nothing opens it.
    #[test]
    fn calls_that_wait_for_their_bucket_make_less_than_a_batch_of_difference(
        length in 100..1_500_u32,
        buckets in 1..12_u32,
        calls in prop::collection::vec((prop_oneof![0..2_000_u64, 0..200_000_000_u64], 0..40_u32), 0..600),
    ) {
        let config = BreakerConfig {
            window: BreakerWindow::Time { length: length * MS, buckets },
            ..BreakerConfig::default()
        };
        let mut pair = Pair::new(config, true);
        for (nanos, dice) in calls {
            pair.step(Step::Wait(Duration::from_nanos(nanos)));
            pair.step(Step::Begin);
            pair.step(Step::End(0, Outcome::Success, None));
            if dice == 0 {
                let (ours, exact) = (pair.sums().calls, pair.model.sums().calls);
                prop_assert!(ours.abs_diff(exact) < 32, "{} instead of {}", ours, exact);
            }
        }
    }
}
