//! Retries as a program uses them. Time is paused: what is measured are tokio's virtual seconds.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Error, GiveUp, ManualClock, Outcome, Retry, RetryBudget, RetryBudgetConfig,
    RetryConfig, RetryEvent, RetryStep, SeededJitter,
};

const SECOND: Duration = Duration::from_secs(1);

/// A second between attempts, five of them.
fn steady() -> RetryConfig {
    RetryConfig {
        attempts: 5,
        backoff: BackoffConfig::constant(SECOND),
        ..RetryConfig::default()
    }
}

fn at_once() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::constant(Duration::ZERO),
        ..steady()
    }
}

fn retry(config: RetryConfig) -> Retry {
    Retry::new(config).expect("in bounds")
}

fn tokens(capacity: u32, ratio: f64, min_per_sec: f64) -> (RetryBudget, ManualClock) {
    let clock = ManualClock::new();
    let config = RetryBudgetConfig {
        capacity,
        ratio,
        min_per_sec,
    };
    let budget = RetryBudget::with_clock(config, clock.clone()).expect("in bounds");
    (budget, clock)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_call_that_works_is_made_once_and_nobody_is_told() {
    let told = Cell::new(0);
    let retry = retry(steady()).hook(|_: &RetryEvent<'_, ()>| told.set(told.get() + 1));
    let mut calls = 0;
    let answer = retry.run(|| {
        calls += 1;
        Ok(7)
    });
    assert_eq!((answer, calls, told.get()), (Ok(7), 1, 0));
}

#[test]
fn a_thread_waits_between_attempts_and_gets_the_last_error() {
    let clock = ManualClock::new();
    let mut waits = vec![];
    let mut calls = 0;
    let answer: Result<(), _> = retry(steady()).run_with(
        clock.clone(),
        |wait| {
            waits.push(wait);
            clock.advance(wait);
        },
        SeededJitter::new(1),
        || {
            calls += 1;
            Err(calls)
        },
    );
    assert_eq!(answer, Err(Error::Inner(5)));
    assert_eq!(waits, [SECOND; 4]);
}

#[test]
fn a_thread_begins_no_wait_beyond_the_time_for_all() {
    let clock = ManualClock::new();
    let config = RetryConfig {
        total_limit: Some(SECOND * 3),
        ..steady()
    };
    let sleep = |wait| clock.advance(wait);
    let mut calls = 0;
    let answer: Result<(), _> =
        retry(config).run_with(clock.clone(), sleep, SeededJitter::new(1), || {
            calls += 1;
            Err(calls)
        });
    assert_eq!(answer, Err(Error::Inner(3)));
}

#[test]
fn p58_no_wait_is_no_call_of_the_timer() {
    let answer: Result<(), _> = retry(at_once()).run_with(
        ManualClock::new(),
        |wait| panic!("was to wait for {wait:?}"),
        SeededJitter::new(1),
        || Err("no"),
    );
    assert_eq!(answer, Err(Error::Inner("no")));
}

#[test]
fn values_can_be_failures_and_the_last_one_is_given() {
    let statuses = RefCell::new(vec![200, 503, 500]);
    let retry = retry(RetryConfig {
        attempts: 2,
        ..at_once()
    })
    .classify(|result: &Result<u16, ()>| match result {
        Ok(500..) => Outcome::Failure,
        _ => Outcome::Success,
    });
    let call = || Ok(statuses.borrow_mut().pop().unwrap());
    assert_eq!(retry.run(call), Ok(503));
    assert_eq!(retry.run(call), Ok(200));
}

#[test]
fn p42_what_would_fail_again_is_not_tried_again() {
    let calls = Cell::new(0);
    let retry = retry(at_once()).classify(|result: &Result<(), u16>| match result {
        Err(404) => Outcome::Ignored,
        Err(400..500) => Outcome::Permanent,
        Err(_) => Outcome::Failure,
        Ok(()) => Outcome::Success,
    });
    let call = |status| {
        calls.set(0);
        let answer = retry.run(|| {
            calls.set(calls.get() + 1);
            Err(status)
        });
        assert_eq!(answer, Err(Error::Inner(status)));
        calls.get()
    };
    assert_eq!(call(404), 1);
    assert_eq!(call(403), 1);
    assert_eq!(call(502), 5);
}

#[test]
fn a_hook_sees_each_attempt_but_a_first_good_one() {
    let told = RefCell::new(vec![]);
    let retry = retry(at_once()).hook(|event: &RetryEvent<'_, &'static str>| {
        let error = event.error.and_then(|error| error.into_inner());
        told.borrow_mut().push((event.attempt, error, event.step));
    });
    let zero = RetryStep::Wait(Duration::ZERO);
    let mut answers = vec![Ok(()), Err("two"), Err("one")];
    assert_eq!(retry.run(|| answers.pop().unwrap()), Ok(()));
    let expected = [
        (1, Some("one"), zero),
        (2, Some("two"), zero),
        (3, None, RetryStep::Done),
    ];
    assert_eq!(told.take(), expected);

    let permanent = retry.classify(|_: &Result<(), _>| Outcome::Permanent);
    assert_eq!(permanent.run(|| Err("no")), Err(Error::Inner("no")));
    let expected = [(1, Some("no"), RetryStep::GiveUp(GiveUp::Permanent))];
    assert_eq!(told.take(), expected);
}

#[test]
fn with_a_dead_backend_retries_stay_within_the_budget_however_many_call() {
    let (budget, clock) = tokens(50, 0.1, 2.0);
    let retry = retry(at_once()).with_budget(budget);
    let calls = Cell::new(0);
    let call = |works: bool| {
        let answer = retry.run(|| {
            calls.set(calls.get() + 1);
            if works { Ok(()) } else { Err(()) }
        });
        assert_eq!(answer.is_ok(), works);
    };
    // Healthy: a thousand successes fill what is full.
    (0..1_000).for_each(|_| call(true));
    assert_eq!(calls.replace(0), 1_000);
    // Dead, for ten seconds at 100 calls a second, each of which might make four retries.
    for _ in 0..10 {
        (0..100).for_each(|_| call(false));
        clock.advance(SECOND);
    }
    let retries = calls.replace(0) - 1_000;
    assert_eq!(retries, 50 + 10 * 2, "capacity and trickle");
    // Half dead: a tenth of the successes.
    (0..1_000).for_each(|at| call(at % 2 == 0));
    let retries = calls.get() - 1_000;
    assert_eq!(retries, 50 + 2);
}

#[test]
fn each_success_pays_its_share_into_the_budget_whichever_attempt_it_was() {
    let (budget, clock) = tokens(10, 0.5, 0.0);
    let retry = retry(at_once()).with_budget(budget.clone());
    (0..10).for_each(|_| assert!(budget.withdraw()));
    let run = |mut answers: Vec<Result<(), ()>>| {
        let call = || ready(answers.pop().unwrap());
        let jitter = SeededJitter::new(1);
        let mut run = pin!(retry.run_async_with(clock.clone(), |_| ready(()), jitter, call));
        while poll(run.as_mut()).is_pending() {}
    };
    run(vec![Ok(())]);
    assert_eq!(retry.run(|| Ok::<_, ()>(())), Ok(()));
    assert_eq!(budget.available(), 1);
    run(vec![Ok(()), Err(())]);
    assert_eq!(budget.available(), 0);
    run(vec![Ok(())]);
    assert_eq!(budget.available(), 1);
}

#[test]
fn any_runtime_will_do_that_can_wait() {
    let clock = ManualClock::new();
    let sleep = |wait| {
        let clock = clock.clone();
        async move { clock.advance(wait) }
    };
    let config = RetryConfig {
        total_limit: Some(SECOND * 3),
        ..steady()
    };
    let retry = retry(config);
    let mut calls = 0;
    let call = || {
        calls += 1;
        ready(Err::<(), _>(calls))
    };
    let run = pin!(retry.run_async_with(clock.clone(), sleep, SeededJitter::new(1), call));
    assert_eq!(poll(run), Poll::Ready(Err(Error::Inner(3))));
}

#[test]
fn a_limit_counts_from_the_begin_of_an_attempt_and_its_timer_is_made_late() {
    let clock = ManualClock::new();
    let asked = RefCell::new(vec![]);
    let sleep = |wait| {
        asked.borrow_mut().push(wait);
        std::future::pending()
    };
    let retry = retry(RetryConfig {
        attempt_limit: Some(SECOND * 5),
        ..steady()
    });
    let call = || {
        // Two seconds pass before it first has to wait.
        clock.advance(SECOND * 2);
        std::future::pending::<Result<(), ()>>()
    };
    let mut run = pin!(retry.run_async_with(clock.clone(), sleep, SeededJitter::new(1), call));
    assert!(poll(run.as_mut()).is_pending());
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!(asked.take(), [SECOND * 3]);
}

#[test]
fn no_attempt_is_begun_when_a_wait_took_all_the_time() {
    let clock = ManualClock::new();
    let oversleep = |wait: Duration| {
        let clock = clock.clone();
        async move { clock.advance(wait * 10) }
    };
    let steps = RefCell::new(vec![]);
    let retry = retry(RetryConfig {
        total_limit: Some(SECOND * 3),
        ..steady()
    })
    .hook(|event: &RetryEvent<'_, &str>| steps.borrow_mut().push((event.attempt, event.step)));
    let calls = Cell::new(0);
    let call = || {
        calls.set(calls.get() + 1);
        ready(Err::<(), _>("refused"))
    };
    let run = pin!(retry.run_async_with(clock.clone(), oversleep, SeededJitter::new(1), call));
    assert_eq!(poll(run), Poll::Ready(Err(Error::DeadlineExceeded)));
    assert_eq!(calls.get(), 1);
    let out_of_time = RetryStep::GiveUp(GiveUp::OutOfTime);
    let told = [(1, RetryStep::Wait(SECOND)), (2, out_of_time)];
    assert_eq!(steps.take(), told, "of the one that was not begun too");
}

#[test]
fn a_run_that_has_ended_makes_no_call_again() {
    let calls = Cell::new(0);
    let retry = retry(steady());
    let mut run = pin!(retry.run_async_with(
        ManualClock::new(),
        |_| ready(()),
        SeededJitter::new(1),
        || {
            calls.set(calls.get() + 1);
            ready(Ok::<_, ()>(7))
        },
    ));
    assert_eq!(poll(run.as_mut()), Poll::Ready(Ok(7)));
    let again = AssertUnwindSafe(|| poll(run.as_mut()).is_ready());
    assert!(catch_unwind(again).is_err());
    assert_eq!(calls.get(), 1);
}

#[test]
fn settings_that_cannot_work_are_told_all_at_once() {
    let none = Some(Duration::ZERO);
    let over = Duration::from_secs(86_400) + Duration::from_nanos(1);
    let config = RetryConfig {
        attempts: 0,
        backoff: BackoffConfig::constant(over),
        total_limit: none,
        attempt_limit: Some(over),
        max_retry_after: over,
        budget: Some(RetryBudgetConfig {
            capacity: 0,
            ..RetryBudgetConfig::default()
        }),
    };
    let invalid = Retry::new(config).unwrap_err();
    assert_eq!(invalid.code(), "resilience.invalid_config");
    let fields: Vec<_> = invalid.faults().iter().map(|fault| &*fault.field).collect();
    let expected = [
        "attempts",
        "backoff.min_ms",
        "total_limit_ms",
        "attempt_limit_ms",
        "max_retry_after_ms",
        "budget.capacity",
    ];
    assert_eq!(fields, expected);
}

#[cfg(feature = "serde")]
#[test]
fn settings_come_from_a_file() {
    let text = "
        attempts = 4
        attempt_limit_ms = 500
        backoff = { strategy = 'decorrelated', min_ms = 10, max_ms = 2000 }
        budget = { ratio = 0.2 }
    ";
    let config: RetryConfig = toml::from_str(text).unwrap();
    let expected = RetryConfig {
        attempts: 4,
        attempt_limit: Some(Duration::from_millis(500)),
        backoff: BackoffConfig::decorrelated(Duration::from_millis(10), SECOND * 2),
        budget: Some(RetryBudgetConfig {
            ratio: 0.2,
            ..RetryBudgetConfig::default()
        }),
        ..RetryConfig::default()
    };
    assert_eq!(config, expected);
    assert!(toml::from_str::<RetryConfig>("max_attempts = 4").is_err());
}

/// What needs tokio's timers.
#[cfg(feature = "tokio")]
mod tokio_timers {
    use std::future::{pending, poll_fn};
    use std::sync::Arc;

    use oneiric_resilience::Deadline;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_between_attempts_and_gives_the_last_error() {
        let begin = Instant::now();
        let mut begun = vec![];
        let answer: Result<(), _> = retry(steady())
            .run_async(|| {
                begun.push(begin.elapsed().as_secs());
                let at = begun.len();
                async move { Err(at) }
            })
            .await;
        assert_eq!(answer, Err(Error::Inner(5)));
        assert_eq!(begun, [0, 1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_leaves_the_called_one_alone_for_as_long_as_it_asks() {
        let begin = Instant::now();
        let retry = retry(steady()).classify(|result: &Result<u8, u64>| match result {
            Ok(_) => Outcome::Success,
            Err(secs) => Outcome::Overloaded {
                retry_after: Duration::from_secs(*secs),
            },
        });
        let mut answers = vec![Ok(7), Err(30)];
        let answer = retry.run_async(|| ready(answers.pop().unwrap())).await;
        assert_eq!(answer, Ok(7));
        assert_eq!(begin.elapsed(), SECOND * 31);
        let answer = retry.run_async(|| ready(Err(61))).await;
        assert_eq!(answer, Err(Error::Inner(61)));
        assert_eq!(begin.elapsed(), SECOND * 31);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_takes_too_long_is_cut_off_and_tried_again() {
        let begin = Instant::now();
        let limit = SECOND * 2;
        let retry = retry(RetryConfig {
            attempts: 2,
            attempt_limit: Some(limit),
            ..steady()
        });
        let mut calls = 0;
        let answer = retry
            .run_async(|| {
                calls += 1;
                let hangs = calls == 1;
                async move {
                    if hangs {
                        pending::<()>().await;
                    }
                    Ok::<_, ()>(7)
                }
            })
            .await;
        assert_eq!((answer, begin.elapsed()), (Ok(7), SECOND * 3));

        let answer = retry.run_async(pending::<Result<(), ()>>).await;
        assert_eq!(answer, Err(Error::TimedOut { limit }));
        assert_eq!(begin.elapsed(), SECOND * 8);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_runs_when_the_time_for_all_is_over_is_cut_off() {
        let begin = Instant::now();
        let told = RefCell::new(vec![]);
        let retry = retry(RetryConfig {
            attempt_limit: Some(SECOND * 2),
            total_limit: Some(SECOND * 4),
            ..steady()
        })
        .hook(|event: &RetryEvent<'_, ()>| told.borrow_mut().push((event.outcome, event.step)));
        let answer = retry.run_async(pending::<Result<(), ()>>).await;
        assert_eq!(answer, Err(Error::DeadlineExceeded));
        assert_eq!(begin.elapsed(), SECOND * 4);
        let again = (Outcome::Failure, RetryStep::Wait(SECOND));
        let give_up = (Outcome::Ignored, RetryStep::GiveUp(GiveUp::OutOfTime));
        assert_eq!(told.take(), [again, give_up]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_is_begun_beyond_the_time_for_all() {
        let begin = Instant::now();
        let retry = retry(RetryConfig {
            total_limit: Some(SECOND * 2),
            ..steady()
        });
        let answer = retry.run_async(|| ready(Err::<(), _>("refused"))).await;
        assert_eq!(answer, Err(Error::Inner("refused")));
        assert_eq!(begin.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_around_it_limits_all_attempts() {
        let begin = Instant::now();
        let deadline = Deadline::within(SECOND * 2);
        let retry = retry(steady());
        let refused = retry.run_async(|| ready(Err::<(), _>("refused")));
        let answer = deadline.scope(refused).await;
        assert_eq!(answer, Ok(Err(Error::Inner("refused"))), "gave up before");
        assert_eq!(begin.elapsed(), SECOND);

        let answer = deadline
            .scope(retry.run_async(pending::<Result<(), ()>>))
            .await;
        assert!(matches!(answer, Ok(Err(Error::DeadlineExceeded)) | Err(_)));
        assert_eq!(begin.elapsed(), SECOND * 2);

        let mut calls = 0;
        let late = retry.run_async(|| {
            calls += 1;
            ready(Ok::<(), ()>(()))
        });
        let _answer = deadline.scope(late).await;
        assert_eq!(calls, 0, "nothing is begun after it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_attempt_calls_sees_when_it_is_cut_off() {
        let retry = retry(RetryConfig {
            attempts: 4,
            attempt_limit: Some(SECOND * 3),
            total_limit: Some(SECOND * 7),
            ..steady()
        });
        let begin = Instant::now();
        let seen = RefCell::new(vec![]);
        let inner = super::retry(steady());
        let attempt = || async {
            let left = Deadline::current().map(Deadline::remaining);
            seen.borrow_mut().push((begin.elapsed(), left));
            // Makes three attempts, the last at 2 s: the wait for a fourth would last too long.
            inner.run_async(|| ready(Err::<(), _>("refused"))).await
        };
        let answer = retry.run_async(attempt).await;
        assert_eq!(answer, Err(Error::Inner(Error::Inner("refused"))));
        let all_of_it = (Duration::ZERO, Some(SECOND * 3));
        // After 2 s and a wait of one; after another 2 s and one there is a second left of the seven.
        let expected = [
            all_of_it,
            (SECOND * 3, Some(SECOND * 3)),
            (SECOND * 6, Some(SECOND)),
        ];
        assert_eq!(seen.take(), expected);
        assert_eq!(Deadline::current(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn p58_no_wait_takes_no_time_but_lets_others_have_their_turn() {
        let begin = Instant::now();
        let retry = retry(RetryConfig {
            attempts: u32::MAX,
            ..at_once()
        });
        let there = Arc::new(Semaphore::new(0));
        let other = Arc::clone(&there);
        tokio::spawn(async move { other.add_permits(1) });
        let answer = retry
            .run_async(|| ready(there.try_acquire().map(drop)))
            .await;
        assert_eq!(answer, Ok(()));
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_never_rests_cannot_outrun_its_limit() {
        let retry = retry(RetryConfig {
            attempts: 1,
            attempt_limit: Some(SECOND),
            ..steady()
        });
        // Uses up what tokio lets a task do at a time, at every poll.
        let busy = || {
            poll_fn(|cx| {
                while pin!(tokio::task::coop::consume_budget())
                    .poll(cx)
                    .is_ready()
                {}
                Poll::<Result<(), ()>>::Pending
            })
        };
        let (answer, ()) = tokio::join!(retry.run_async(busy), tokio::time::advance(SECOND * 2));
        assert_eq!(answer, Err(Error::TimedOut { limit: SECOND }));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_anywhere_leaves_the_budget_as_it_should_be() {
        let (budget, _) = tokens(3, 0.0, 0.0);
        let retry = retry(steady()).with_budget(budget.clone());
        // Each attempt takes a second, each wait one: dropped within the first attempt, the first wait,
        // the second attempt, the second wait.
        let failing = || async {
            sleep(SECOND).await;
            Err::<(), _>(())
        };
        for (dropped_at, left) in [(500, 3), (1_500, 3), (2_500, 2), (3_500, 1)] {
            let limit = Duration::from_millis(dropped_at);
            let cut = tokio::time::timeout(limit, retry.run_async(failing)).await;
            assert!(cut.is_err());
            assert_eq!(budget.available(), left, "dropped at {dropped_at} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_are_dropped_at_random_spend_a_token_for_each_retry_that_began() {
        let (budget, _) = tokens(1_000, 0.0, 0.0);
        let retry = retry(RetryConfig {
            backoff: BackoffConfig::exponential(SECOND, SECOND * 8),
            ..steady()
        })
        .with_budget(budget.clone());
        let mut random = fastrand::Rng::with_seed(11);
        let mut retries = 0;
        for _ in 0..200 {
            let took = Duration::from_millis(random.u64(0..2_000));
            let mut calls = 0;
            let limit = Duration::from_millis(random.u64(1..10_000));
            let run = retry.run_async(|| {
                calls += 1;
                async move {
                    sleep(took).await;
                    Err::<(), _>(())
                }
            });
            let _cut = tokio::time::timeout(limit, run).await;
            retries += calls - 1;
        }
        assert_eq!(budget.available(), 1_000 - retries);
    }

    #[tokio::test(start_paused = true)]
    async fn one_retry_serves_many_tasks() {
        let retry = retry(steady());
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..20 {
            let retry = retry.clone();
            tasks.spawn(async move {
                let mut left = task % 5;
                retry
                    .run_async(|| {
                        let fails = left > 0;
                        left -= i32::from(fails);
                        async move {
                            tokio::task::yield_now().await;
                            if fails { Err("not yet") } else { Ok(task) }
                        }
                    })
                    .await
            });
        }
        let mut answers: Vec<_> = tasks
            .join_all()
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        answers.sort_unstable();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
    }
}
