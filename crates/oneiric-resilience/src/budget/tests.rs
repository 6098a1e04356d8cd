//! What the budget promises, against a dead backend and against a slow, obvious model.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ManualClock;

fn config(capacity: u32, ratio: f64, min_per_sec: f64) -> RetryBudgetConfig {
    RetryBudgetConfig {
        capacity,
        ratio,
        min_per_sec,
    }
}

fn budget(config: RetryBudgetConfig) -> (RetryBudget, ManualClock) {
    let clock = ManualClock::new();
    let budget = RetryBudget::with_clock(config, clock.clone()).expect("in bounds");
    (budget, clock)
}

fn withdrawals(budget: &RetryBudget, tries: usize) -> usize {
    (0..tries).filter(|_| budget.withdraw()).count()
}

#[test]
fn a_budget_begins_full_and_successes_fill_it_by_their_share() {
    let (budget, _) = budget(config(3, 0.25, 0.0));
    assert_eq!(budget.available(), 3);
    assert_eq!(withdrawals(&budget, 10), 3);
    for _ in 0..7 {
        budget.deposit();
    }
    assert_eq!(budget.available(), 1);
    assert_eq!(withdrawals(&budget, 10), 1);
    budget.deposit();
    assert_eq!(withdrawals(&budget, 10), 1);
}

#[test]
fn ten_tenths_are_one() {
    let (budget, _) = budget(config(1, 0.1, 0.0));
    assert!(budget.withdraw());
    for _ in 0..9 {
        budget.deposit();
    }
    assert!(!budget.withdraw());
    budget.deposit();
    assert!(budget.withdraw());
}

#[test]
fn no_more_is_saved_than_the_capacity() {
    let (budget, _) = budget(config(2, 1.0, 0.0));
    for _ in 0..100 {
        budget.deposit();
        budget.give_back();
    }
    assert_eq!(withdrawals(&budget, 10), 2);
}

#[test]
fn not_even_a_part_of_a_token_is_saved_beyond_the_capacity() {
    let (budget, _) = budget(config(1, 0.75, 0.0));
    assert!(budget.withdraw());
    budget.deposit();
    budget.deposit();
    assert!(budget.withdraw());
    budget.deposit();
    assert!(!budget.withdraw());
}

#[test]
fn clones_are_the_same_budget() {
    let (budget, _) = budget(config(1, 0.0, 0.0));
    let other = budget.clone();
    assert!(budget.withdraw());
    assert!(!other.withdraw());
    other.give_back();
    assert!(budget.withdraw());
}

#[test]
fn a_quiet_client_may_retry_though_nothing_succeeds() {
    let (budget, clock) = budget(config(1, 0.0, 0.5));
    assert_eq!(withdrawals(&budget, 10), 2, "the token and one anyway");
    clock.advance(Duration::from_millis(1_999));
    assert_eq!(withdrawals(&budget, 10), 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(withdrawals(&budget, 10), 1);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        withdrawals(&budget, 10),
        1,
        "an hour saves no more than one"
    );
}

#[test]
fn what_is_allowed_anyway_is_saved_for_a_second() {
    let (budget, clock) = budget(config(1, 0.0, 10.0));
    assert_eq!(withdrawals(&budget, 100), 11);
    clock.advance(Duration::from_millis(250));
    assert_eq!(withdrawals(&budget, 100), 2);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(withdrawals(&budget, 100), 10);
}

#[test]
fn tiny_and_huge_settings_work() {
    let (seldom, clock) = budget(config(1, f64::MIN_POSITIVE, f64::MIN_POSITIVE));
    assert_eq!(withdrawals(&seldom, 10), 2);
    clock.advance(Duration::from_secs(86_400));
    seldom.deposit();
    assert_eq!(withdrawals(&seldom, 10), 0);
    let (often, _) = budget(config(1_000_000, 1.0, 1e6));
    assert_eq!(withdrawals(&often, 2_000_001), 2_000_000);
}

#[test]
fn a_share_or_a_rate_that_is_not_whole_is_rounded_down() {
    // Half a millionth is not a whole one.
    let (small, _) = budget(config(1, 5e-7, 0.0));
    assert!(small.withdraw());
    for successes in 0..2_000_000 {
        assert_eq!(small.available(), 0, "after {successes} successes");
        small.deposit();
    }
    assert_eq!(small.available(), 1);
    // What is written as a decimal is not less for being kept in binary.
    for share in [21, 42, 157, 700, 1_000, 10_000] {
        let (budget, _) = budget(config(10_000, f64::from(share) / 10_000.0, 0.0));
        assert_eq!(withdrawals(&budget, 10_001), 10_000);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(budget.available(), share);
    }
    // 1,000.4 nanoseconds from one to the next.
    let (often, clock) = budget(config(1, 0.0, 999_600.0));
    assert!(withdrawals(&often, 2_000_000) <= 999_601);
    clock.advance(Duration::from_millis(500));
    let half_a_second = withdrawals(&often, 2_000_000);
    assert!(
        (499_500..=499_800).contains(&half_a_second),
        "{half_a_second}"
    );
}

#[test]
fn at_the_last_moment_of_the_clock_one_is_allowed_and_no_other() {
    for min_per_sec in [f64::MIN_POSITIVE, 1.0, 1e6] {
        let (budget, clock) = budget(config(1, 0.0, min_per_sec));
        clock.advance(Duration::MAX);
        assert_eq!(withdrawals(&budget, 100), 2, "{min_per_sec:e} a second");
    }
}

#[test]
fn settings_out_of_bounds_are_told() {
    let told = |config| {
        let invalid = RetryBudget::new(config).unwrap_err();
        assert_eq!(invalid.code(), "resilience.invalid_config");
        let fields = invalid.faults().iter().map(|fault| fault.field.to_string());
        fields.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(config(0, 0.1, 1.0)), "capacity");
    assert_eq!(told(config(1_000_001, 0.1, 1.0)), "capacity");
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(told(config(1, bad, 1.0)), "ratio");
        assert_eq!(told(config(1, 0.1, bad)), "min_per_sec");
    }
    assert_eq!(
        told(config(0, 1.01, 1_000_001.0)),
        "capacity ratio min_per_sec"
    );
    assert!(RetryBudget::new(config(1, 0.0, 0.0)).is_ok());
}

#[test]
fn threads_that_fight_over_a_budget_never_take_more_than_is_there() {
    let (budget, _) = budget(config(1_000, 0.5, 0.0));
    let taken: usize = std::thread::scope(|scope| {
        let caller = |_| {
            scope.spawn(|| {
                let mut taken = 0;
                for _ in 0..2_000 {
                    taken += withdrawals(&budget, 2);
                    budget.deposit();
                }
                taken
            })
        };
        let callers: Vec<_> = (0..4).map(caller).collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    let left = usize::try_from(budget.available()).unwrap();
    // All that was there and all that 8,000 successes brought, less what came while it was full.
    assert!(taken + left <= 1_000 + 4_000, "{taken} + {left}");
    assert!(taken >= 4_000, "{taken}");
}

#[derive(Debug, Clone)]
enum Move {
    Success,
    Retry,
    Unmade,
    Millis(u64),
}

proptest! {
    #[test]
    fn retries_are_never_more_than_capacity_and_share_and_trickle(
        capacity in 1..20u32,
        ratio in 0.0..=1.0f64,
        min_per_sec in prop_oneof![Just(0.0), 0.01..50.0f64],
        moves in prop::collection::vec(prop_oneof![
            Just(Move::Success),
            Just(Move::Retry),
            Just(Move::Retry),
            Just(Move::Unmade),
            (0..2_000u64).prop_map(Move::Millis),
        ], 0..400),
    ) {
        let (budget, clock) = budget(config(capacity, ratio, min_per_sec));
        let (mut successes, mut retries, mut passed) = (0.0, 0.0, 0.0);
        for step in moves {
            match step {
                Move::Success => {
                    budget.deposit();
                    successes += 1.0;
                }
                Move::Retry => retries += f64::from(u8::from(budget.withdraw())),
                Move::Unmade => {
                    if budget.withdraw() {
                        budget.give_back();
                    }
                }
                Move::Millis(millis) => {
                    clock.advance(Duration::from_millis(millis));
                    passed += Duration::from_millis(millis).as_secs_f64();
                }
            }
            let anyway = if min_per_sec > 0.0 { min_per_sec.max(1.0) } else { 0.0 };
            let bound = f64::from(capacity) + ratio * successes + min_per_sec * passed + anyway;
            // Shares and the rate are rounded down; the sums here are not exact.
            prop_assert!(retries <= bound + 1e-6, "{retries} > {bound}");
            prop_assert!(budget.available() <= capacity);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn settings_come_from_a_file() {
    let read: RetryBudgetConfig = toml::from_str("ratio = 0.2").unwrap();
    assert_eq!(read, config(100, 0.2, 1.0));
    assert!(toml::from_str::<RetryBudgetConfig>("percent = 20").is_err());
}
