//! The decisions, one by one and against a slow, obvious model.

use proptest::prelude::*;

use super::*;
use crate::backoff::{BackoffConfig, BackoffJitter};
use crate::budget::RetryBudgetConfig;
use crate::{ManualClock, SeededJitter};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Moment {
    Moment::ORIGIN.after(SECOND * u32::try_from(seconds).expect("small"))
}

fn attempts(config: RetryConfig, budget: Option<&RetryBudget>) -> Attempts<'static> {
    let mut plan = Plan::new(config).expect("in bounds");
    plan.budget = budget.cloned().or(plan.budget);
    Attempts::shared(Arc::new(plan), Moment::ORIGIN)
}

/// A second between attempts, five of them.
fn steady() -> RetryConfig {
    RetryConfig {
        attempts: 5,
        backoff: BackoffConfig::constant(SECOND),
        ..RetryConfig::default()
    }
}

fn tokens(capacity: u32, ratio: f64) -> RetryBudget {
    let config = RetryBudgetConfig {
        capacity,
        ratio,
        min_per_sec: 0.0,
    };
    RetryBudget::with_clock(config, ManualClock::new()).expect("in bounds")
}

fn jitter() -> SeededJitter {
    SeededJitter::new(3)
}

#[test]
fn it_gives_up_after_as_many_attempts_as_may_be() {
    let mut attempts = attempts(steady(), None);
    for _ in 0..4 {
        let step = attempts.ended(Moment::ORIGIN, Outcome::Failure, &mut jitter());
        assert_eq!(step, RetryStep::Wait(SECOND));
        attempts.begin();
    }
    let step = attempts.ended(Moment::ORIGIN, Outcome::Failure, &mut jitter());
    assert_eq!(step, RetryStep::GiveUp(GiveUp::Attempts));
    assert_eq!(attempts.ended_attempts(), 5);
}

#[test]
fn p42_what_is_permanent_or_says_nothing_is_never_tried_again() {
    for (outcome, expected) in [
        (Outcome::Success, RetryStep::Done),
        (Outcome::Ignored, RetryStep::Done),
        (Outcome::Permanent, RetryStep::GiveUp(GiveUp::Permanent)),
    ] {
        let budget = tokens(1, 0.0);
        let step = attempts(steady(), Some(&budget)).ended(seconds(0), outcome, &mut jitter());
        assert_eq!(step, expected);
        assert_eq!(budget.available(), 1);
    }
}

#[test]
fn no_wait_is_begun_that_would_end_after_the_time_for_all() {
    let limited = RetryConfig {
        total_limit: Some(SECOND * 3),
        ..steady()
    };
    let failed_at = |seconds, nanos| {
        let now = Moment::ORIGIN.after(Duration::new(seconds, nanos));
        attempts(limited, None).ended(now, Outcome::Failure, &mut jitter())
    };
    assert_eq!(failed_at(1, 999_999_999), RetryStep::Wait(SECOND));
    let give_up = RetryStep::GiveUp(GiveUp::OutOfTime);
    assert_eq!(failed_at(2, 0), give_up, "nothing would be left after it");
    assert_eq!(failed_at(9, 0), give_up);
}

#[test]
fn the_earlier_of_two_ends_counts() {
    let limited = RetryConfig {
        total_limit: Some(SECOND * 3),
        ..steady()
    };
    let mut attempts = attempts(limited, None);
    attempts.end_by(seconds(9));
    assert_eq!(attempts.left(seconds(1)), Some(SECOND * 2));
    attempts.end_by(seconds(2));
    assert_eq!(attempts.left(seconds(1)), Some(SECOND));
    assert_eq!(attempts.left(seconds(5)), Some(Duration::ZERO));
}

#[test]
fn a_wait_that_is_asked_for_is_kept_and_the_backoff_comes_on_top() {
    let ask = |retry_after| {
        let asked = Outcome::Overloaded { retry_after };
        attempts(steady(), None).ended(seconds(0), asked, &mut jitter())
    };
    assert_eq!(ask(SECOND * 10), RetryStep::Wait(SECOND * 11));
    assert_eq!(ask(SECOND * 60), RetryStep::Wait(SECOND * 61));
    let longer = SECOND * 60 + Duration::from_nanos(1);
    let give_up = RetryStep::GiveUp(GiveUp::RetryAfter);
    assert_eq!(ask(longer), give_up);
    assert_eq!(ask(Duration::MAX), give_up);
}

#[test]
fn a_wait_that_is_asked_for_must_fit_into_the_time_left() {
    let limited = RetryConfig {
        total_limit: Some(SECOND * 10),
        ..steady()
    };
    let asked = Outcome::Overloaded {
        retry_after: SECOND * 5,
    };
    let at = |now| attempts(limited, None).ended(now, asked, &mut jitter());
    assert_eq!(at(seconds(3)), RetryStep::Wait(SECOND * 6));
    assert_eq!(at(seconds(4)), RetryStep::GiveUp(GiveUp::OutOfTime));
}

#[test]
fn an_empty_budget_allows_no_retry_and_a_success_pays_in() {
    let budget = tokens(1, 0.5);
    let fail =
        || attempts(steady(), Some(&budget)).ended(seconds(0), Outcome::Failure, &mut jitter());
    let mut first = attempts(steady(), Some(&budget));
    let step = first.ended(seconds(0), Outcome::Failure, &mut jitter());
    assert_eq!(step, RetryStep::Wait(SECOND));
    first.begin();
    assert_eq!(fail(), RetryStep::GiveUp(GiveUp::Budget));
    let step = first.ended(seconds(1), Outcome::Success, &mut jitter());
    assert_eq!(step, RetryStep::Done);
    assert_eq!(fail(), RetryStep::GiveUp(GiveUp::Budget), "half a token");
    attempts(steady(), Some(&budget)).ended(seconds(1), Outcome::Success, &mut jitter());
    assert_eq!(fail(), RetryStep::Wait(SECOND));
}

#[test]
fn no_token_is_taken_for_a_retry_that_is_not_made() {
    let budget = tokens(1, 0.0);
    let config = RetryConfig {
        attempts: 2,
        total_limit: Some(SECOND * 2),
        ..steady()
    };
    let again = |now, outcome| {
        let mut attempts = attempts(config, Some(&budget));
        attempts.ended(now, outcome, &mut jitter())
    };
    assert_eq!(
        again(seconds(1), Outcome::Failure),
        RetryStep::GiveUp(GiveUp::OutOfTime)
    );
    let retry_after = SECOND * 100;
    assert_eq!(
        again(seconds(0), Outcome::Overloaded { retry_after }),
        RetryStep::GiveUp(GiveUp::RetryAfter)
    );
    assert_eq!(budget.available(), 1);
    // Dropped before the retry began, as above: the token comes back.
    assert_eq!(again(seconds(0), Outcome::Failure), RetryStep::Wait(SECOND));
    assert_eq!(budget.available(), 1);
}

#[test]
fn a_token_comes_back_until_its_retry_begins_and_never_after() {
    let budget = tokens(2, 0.0);
    let mut waiting = attempts(steady(), Some(&budget));
    let _step = waiting.ended(seconds(0), Outcome::Failure, &mut jitter());
    assert_eq!(budget.available(), 1);
    waiting.begin();
    drop(waiting);
    assert_eq!(budget.available(), 1);

    // Whoever forgets to tell that an attempt began has told so when it ends.
    let mut forgetful = attempts(steady(), Some(&budget));
    let _step = forgetful.ended(seconds(0), Outcome::Failure, &mut jitter());
    let _step = forgetful.ended(seconds(0), Outcome::Permanent, &mut jitter());
    drop(forgetful);
    assert_eq!(budget.available(), 0);
}

#[test]
fn p56_attempts_are_of_the_same_size_however_many_there_are() {
    let config = RetryConfig {
        attempts: u32::MAX,
        backoff: BackoffConfig::constant(Duration::ZERO),
        budget: None,
        ..RetryConfig::default()
    };
    let mut attempts = attempts(config, None);
    for _ in 0..100_000 {
        let step = attempts.ended(Moment::ORIGIN, Outcome::Failure, &mut jitter());
        assert_eq!(step, RetryStep::Wait(Duration::ZERO));
    }
    attempts.ended = u32::MAX;
    let step = attempts.ended(Moment::ORIGIN, Outcome::Failure, &mut jitter());
    assert_eq!(step, RetryStep::GiveUp(GiveUp::Attempts));
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let ask = |millis| Outcome::Overloaded {
        retry_after: Duration::from_millis(millis),
    };
    prop_oneof![
        1 => Just(Outcome::Success),
        8 => Just(Outcome::Failure),
        1 => Just(Outcome::Permanent),
        1 => Just(Outcome::Ignored),
        3 => (0..4_000u64).prop_map(ask),
    ]
}

proptest! {
    #[test]
    fn decisions_equal_those_of_a_slow_and_obvious_model(
        limit in 1..8u32,
        total in prop::option::of(1..10_000u64),
        max_retry_after in 0..4_000u64,
        capacity in 1..4u32,
        ended in prop::collection::vec((0..2_000u64, outcomes()), 1..10),
    ) {
        let config = RetryConfig {
            attempts: limit,
            total_limit: total.map(Duration::from_millis),
            max_retry_after: Duration::from_millis(max_retry_after),
            backoff: BackoffConfig {
                jitter: BackoffJitter::None,
                ..BackoffConfig::exponential(Duration::from_millis(100), SECOND)
            },
            ..RetryConfig::default()
        };
        let budget = tokens(capacity, 0.0);
        let mut machine = attempts(config, Some(&budget));
        let (mut now, mut backoff, mut tokens) = (0, 100, capacity);
        for (at, (took, outcome)) in ended.into_iter().enumerate() {
            now += took;
            let asked = match outcome {
                Outcome::Failure => Some(0),
                Outcome::Overloaded { retry_after } => Some(u64::try_from(retry_after.as_millis())?),
                _ => None,
            };
            let expected = match asked {
                None if outcome == Outcome::Permanent => RetryStep::GiveUp(GiveUp::Permanent),
                None => RetryStep::Done,
                Some(_) if at + 1 >= usize::try_from(limit)? => RetryStep::GiveUp(GiveUp::Attempts),
                Some(asked) if asked > max_retry_after => RetryStep::GiveUp(GiveUp::RetryAfter),
                Some(asked) if total.is_some_and(|total| now + asked + backoff >= total) => {
                    RetryStep::GiveUp(GiveUp::OutOfTime)
                }
                Some(_) if tokens == 0 => RetryStep::GiveUp(GiveUp::Budget),
                Some(asked) => RetryStep::Wait(Duration::from_millis(asked + backoff)),
            };
            let moment = Moment::ORIGIN.after(Duration::from_millis(now));
            let step = machine.ended(moment, outcome, &mut jitter());
            prop_assert_eq!(step, expected);
            let RetryStep::Wait(wait) = step else { break };
            machine.begin();
            now += u64::try_from(wait.as_millis())?;
            backoff = (backoff * 2).min(1_000);
            tokens -= 1;
        }
        drop(machine);
        prop_assert_eq!(budget.available(), tokens);
    }
}
