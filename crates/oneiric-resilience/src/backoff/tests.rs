//! Waits against what the articles say of them, and against jitters that answer what they please.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::SeededJitter;

/// Always answers the same.
struct Says(f64);

impl Jitter for Says {
    fn next_f64(&mut self) -> f64 {
        self.0
    }
}

const STRATEGIES: [BackoffStrategy; 3] = [
    BackoffStrategy::Constant,
    BackoffStrategy::Exponential,
    BackoffStrategy::Decorrelated,
];
const JITTERS: [BackoffJitter; 3] = [
    BackoffJitter::None,
    BackoffJitter::Full,
    BackoffJitter::Equal,
];

fn millis(waits: &[u64]) -> Vec<Duration> {
    waits.iter().copied().map(Duration::from_millis).collect()
}

fn waits(config: BackoffConfig, jitter: &mut impl Jitter, many: usize) -> Vec<Duration> {
    let mut delays = Backoff::new(config).expect("in bounds").start();
    (0..many).map(|_| delays.next_delay(jitter)).collect()
}

fn second() -> BackoffConfig {
    BackoffConfig::exponential(Duration::from_secs(1), Duration::from_secs(5))
}

#[test]
fn an_exponential_wait_grows_by_its_factor_up_to_its_longest() {
    let config = BackoffConfig {
        factor: 1.5,
        jitter: BackoffJitter::None,
        ..second()
    };
    let expected = millis(&[1000, 1500, 2250, 3375, 5000, 5000]);
    assert_eq!(waits(config, &mut Says(0.5), 6), expected);
}

#[test]
fn a_constant_wait_stays_and_needs_no_longest() {
    let config = BackoffConfig {
        max: Duration::ZERO,
        ..BackoffConfig::constant(Duration::from_secs(7))
    };
    let expected = millis(&[7000, 7000, 7000]);
    assert_eq!(waits(config, &mut Says(0.5), 3), expected);
}

#[test]
fn full_jitter_uses_any_part_of_a_wait_and_equal_jitter_the_upper_half() {
    for (jitter, number, expected) in [
        (BackoffJitter::Full, 0.0, [0, 0, 0]),
        (BackoffJitter::Full, 0.25, [250, 500, 1000]),
        (BackoffJitter::Equal, 0.0, [500, 1000, 2000]),
        (BackoffJitter::Equal, 0.5, [750, 1500, 3000]),
    ] {
        let config = BackoffConfig { jitter, ..second() };
        let got = waits(config, &mut Says(number), 3);
        assert_eq!(got, millis(&expected), "{jitter:?} {number}");
    }
}

#[test]
fn a_decorrelated_wait_is_measured_by_the_wait_before() {
    let config = BackoffConfig::decorrelated(Duration::from_secs(1), Duration::from_secs(6));
    // Halfway between 1 and 3, 1 and 6, 1 and 6 (not 10.5).
    let expected = millis(&[2000, 3500, 3500]);
    assert_eq!(waits(config, &mut Says(0.5), 3), expected);
    assert_eq!(waits(config, &mut Says(0.0), 3), millis(&[1000; 3]));
}

#[test]
fn starting_again_is_going_back_to_the_first_wait() {
    let backoff = Backoff::new(second()).unwrap();
    let mut delays = backoff.start();
    let first = delays.next_delay(&mut Says(1.0));
    assert!(delays.next_delay(&mut Says(1.0)) > first);
    delays = backoff.start();
    assert_eq!(delays.next_delay(&mut Says(1.0)), first);
}

#[test]
fn p58_a_zero_wait_means_none_for_ever() {
    for strategy in STRATEGIES {
        for jitter in JITTERS {
            let config = BackoffConfig {
                strategy,
                min: Duration::ZERO,
                jitter,
                ..BackoffConfig::default()
            };
            let got = waits(config, &mut Says(1.0), 10_000);
            assert!(got.iter().all(Duration::is_zero), "{strategy:?} {jitter:?}");
        }
    }
}

#[test]
fn many_callers_spread_over_the_whole_wait() {
    let mut jitter = SeededJitter::new(42);
    let mut tenths = [0; 10];
    for _ in 0..10_000 {
        let wait = waits(second(), &mut jitter, 1)[0];
        let tenth = (wait.as_millis() / 100).min(9);
        tenths[usize::try_from(tenth).unwrap()] += 1;
    }
    assert!(
        tenths.iter().all(|many| (800..1200).contains(many)),
        "{tenths:?}"
    );
}

#[test]
fn bounds_are_inclusive_and_everything_outside_is_told() {
    let largest = BackoffConfig {
        factor: 100.0,
        jitter: BackoffJitter::None,
        ..BackoffConfig::exponential(DAY, DAY)
    };
    assert_eq!(waits(largest, &mut Says(1.0), 3), [DAY; 3]);

    let over = DAY + Duration::from_nanos(1);
    let told = |config| {
        let invalid = Backoff::new(config).unwrap_err();
        let fields = invalid.faults().iter().map(|fault| fault.field.to_string());
        fields.collect::<Vec<_>>().join(" ")
    };
    for factor in [0.0, 0.99, -2.0, 100.01, f64::NAN, f64::INFINITY] {
        assert_eq!(told(BackoffConfig { factor, ..second() }), "factor");
    }
    let min = Duration::from_secs(5) + Duration::from_nanos(1);
    assert_eq!(told(BackoffConfig { min, ..second() }), "max_ms");
    assert_eq!(told(BackoffConfig::constant(over)), "min_ms");
    assert_eq!(told(BackoffConfig::exponential(over, DAY)), "min_ms");
    assert_eq!(
        told(BackoffConfig::exponential(over, over)),
        "min_ms max_ms"
    );
    let all_wrong = BackoffConfig {
        factor: 0.5,
        ..BackoffConfig::exponential(Duration::ZERO, over)
    };
    assert_eq!(told(all_wrong), "max_ms factor");
}

/// Numbers that a jitter should answer, and some that it should not.
fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..1.0f64,
        1 => Just(1.0),
        1 => prop_oneof![
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(-1.0),
            Just(1e300),
        ],
    ]
}

proptest! {
    #[test]
    fn every_wait_stays_in_its_bounds_whatever_the_jitter_answers(
        strategy in prop::sample::select(&STRATEGIES),
        spread in prop::sample::select(&JITTERS),
        min in prop_oneof![Just(0), 1_000_000..=86_400_000_000_000u64],
        above in 0..=86_400_000_000_000u64,
        factor in 1.0..=100.0f64,
        numbers in prop::collection::vec(numbers(), 1..200),
    ) {
        let min = Duration::from_nanos(min);
        let max = (min + Duration::from_nanos(above)).min(DAY);
        let config = BackoffConfig { strategy, min, max, factor, jitter: spread };
        let mut delays = Backoff::new(config).unwrap().start();
        let mut before = min;
        for (at, &number) in numbers.iter().enumerate() {
            let wait = delays.next_delay(&mut Says(number));
            // The slow, obvious model: the nth power, capped.
            let power = (factor.powi(i32::try_from(at).unwrap()) * min.as_secs_f64()).max(0.0);
            let capped = if min.is_zero() || power < max.as_secs_f64() { Duration::from_secs_f64(power) } else { max };
            let longest = match strategy {
                BackoffStrategy::Constant => min,
                BackoffStrategy::Exponential => capped,
                BackoffStrategy::Decorrelated => (before * 3).min(max),
            };
            let shortest = match (strategy, spread) {
                (BackoffStrategy::Decorrelated, _) => min,
                (_, BackoffJitter::None) => longest,
                (_, BackoffJitter::Full) => Duration::ZERO,
                (_, BackoffJitter::Equal) => longest / 2,
            };
            // Rounding to nanoseconds at each step adds up; a thousandth is more than it comes to.
            let rounding = longest / 1_000;
            prop_assert!(wait + rounding >= shortest, "{wait:?} < {shortest:?}");
            prop_assert!(wait <= longest + rounding, "{wait:?} > {longest:?}");
            prop_assert!(wait <= max);
            before = wait;
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn settings_come_from_a_file_in_milliseconds_and_unknown_keys_fail() {
    let config: BackoffConfig =
        toml::from_str("strategy = \"decorrelated\"\nmin_ms = 5\njitter = \"equal\"").unwrap();
    let expected = BackoffConfig {
        strategy: BackoffStrategy::Decorrelated,
        min: Duration::from_millis(5),
        jitter: BackoffJitter::Equal,
        ..BackoffConfig::default()
    };
    assert_eq!(config, expected);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<BackoffConfig>(&text).unwrap(),
        config
    );
    assert!(toml::from_str::<BackoffConfig>("min = 5").is_err());
    assert!(toml::from_str::<BackoffConfig>("strategy = \"fibonacci\"").is_err());
}
