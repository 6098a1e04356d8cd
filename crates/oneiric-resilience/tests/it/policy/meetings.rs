//! Stages that meet: what each makes of what the others do.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use oneiric_resilience::{
    AimdConfig, BreakerConfig, BreakerState, BreakerTransition, BreakerWindow, Bulkhead,
    BulkheadConfig, Deadline, DeadlineExceeded, Error, Outcome, Policy, PolicyConfig, Rejection,
    RetryBudget, RetryBudgetConfig, RetryConfig, Stage, TokioClock,
};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{Called, answers, breaker, bucket, bulkhead, ms, nothing, policy, retry};

fn rejection<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, Error<E>>) -> Rejection {
    match answer {
        Err(Error::Rejected(rejected)) => rejected.rejection(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_between_attempts_ends_the_call_at_once() {
    let policy = policy(PolicyConfig {
        retry: retry(5),
        breaker: breaker(2),
        ..nothing()
    });
    let start = Instant::now();
    let called = Called::default();
    let answer = policy.call(answers(&[Err("no")], &called)).await;
    assert_eq!(rejection(answer), Rejection::BreakerOpen);
    assert_eq!(called.0.get(), 2);
    assert_eq!(start.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_attempt_is_tried_again_after_its_wait_if_that_is_set() {
    let policy = policy(PolicyConfig {
        retry: retry(5),
        retry_rejected: true,
        breaker: breaker(2),
        ..nothing()
    });
    let start = Instant::now();
    let called = Called::default();
    let answer = policy
        .call(answers(&[Err("one"), Err("two"), Ok(3)], &called))
        .await;
    assert_eq!(answer, Ok(3));
    assert_eq!(called.0.get(), 3);
    // Two waits of 100 ms; then the 900 ms that the breaker is still open, and 100 more.
    assert_eq!(start.elapsed(), ms(1_200));

    policy.breaker().unwrap().control().force_open();
    let answer = policy.call(answers(&[Ok(1)], &Called::default())).await;
    assert_eq!(rejection(answer), Rejection::BreakerForcedOpen);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_outside_of_the_retry_counts_calls_and_inside_attempts() {
    for (order, failures) in [
        (vec![Stage::Breaker, Stage::Retry], 1),
        (vec![Stage::Retry, Stage::Breaker], 3),
    ] {
        let policy = policy(PolicyConfig {
            retry: retry(3),
            breaker: breaker(10),
            order: Some(order),
            ..nothing()
        });
        let answer = policy.call(answers(&[Err("no")], &Called::default())).await;
        assert_eq!(answer, Err(Error::Inner("no")));
        assert_eq!(policy.breaker().unwrap().snapshot().failures, failures);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_outside_of_the_retry_spends_a_token_a_call_and_inside_one_an_attempt() {
    for (order, left) in [
        (vec![Stage::Bucket, Stage::Retry], 9),
        (vec![Stage::Retry, Stage::Bucket], 7),
    ] {
        let policy = policy(PolicyConfig {
            retry: retry(3),
            bucket: bucket(10),
            order: Some(order),
            ..nothing()
        });
        let answer = policy.call(answers(&[Err("no")], &Called::default())).await;
        assert_eq!(answer, Err(Error::Inner("no")));
        assert_eq!(policy.bucket().unwrap().available(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_kept_between_attempts_only_by_a_bulkhead_outside_of_the_retry() {
    for (order, between) in [
        (vec![Stage::Bulkhead, Stage::Retry], 1),
        (vec![Stage::Retry, Stage::Bulkhead], 0),
    ] {
        let policy = policy(PolicyConfig {
            retry: retry(2),
            bulkhead: bulkhead(5),
            order: Some(order),
            ..nothing()
        });
        let calling = policy.clone();
        let call = tokio::spawn(async move { calling.call(|| async { Err::<(), _>(7) }).await });
        sleep(ms(50)).await;
        assert_eq!(policy.bulkhead().unwrap().in_flight(), between);
        assert_eq!(call.await.unwrap(), Err(Error::Inner(7)));
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_gate_further_in_turned_away_is_not_counted_and_frees_its_probe() {
    let policy = policy(PolicyConfig {
        breaker: breaker(1),
        bulkhead: bulkhead(1),
        ..nothing()
    });
    let breaker = policy.breaker().unwrap();
    let full = policy.bulkhead().unwrap().try_enter().unwrap();
    let call = || policy.call(|| async { Ok::<_, ()>(1) });
    assert_eq!(rejection(call().await), Rejection::BulkheadFull);
    assert_eq!(
        (breaker.state(), breaker.snapshot().calls),
        (BreakerState::Closed, 0)
    );
    drop(full);

    let failed = policy.call(|| async { Err::<(), _>("no") }).await;
    assert_eq!(failed, Err(Error::Inner("no")));
    sleep(ms(1_000)).await;
    // Its one probe finds the bulkhead full; the next call can be it.
    let full = policy.bulkhead().unwrap().try_enter().unwrap();
    assert_eq!(rejection(call().await), Rejection::BulkheadFull);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    drop(full);
    assert_eq!(call().await, Ok(1));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_cut_off_is_a_failure_for_all() {
    let policy = policy(PolicyConfig {
        retry: retry(3),
        breaker: breaker(3),
        bulkhead: Some(BulkheadConfig {
            adaptive: Some(AimdConfig::default()),
            ..bulkhead(100).unwrap()
        }),
        attempt_limit: Some(ms(200)),
        ..nothing()
    });
    let start = Instant::now();
    let answer = policy.call(pending::<Result<(), ()>>).await;
    assert_eq!(answer, Err(Error::TimedOut { limit: ms(200) }));
    assert_eq!(start.elapsed(), ms(800));
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
    assert!(policy.bulkhead().unwrap().limit() < 100);
    assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_is_neither_time_of_the_attempt_nor_a_slow_call() {
    let policy = policy(PolicyConfig {
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Calls(10),
            min_calls: 10,
            slow_call: Some(ms(100)),
            ..BreakerConfig::default()
        }),
        bulkhead: bulkhead(1),
        bulkhead_wait: ms(1_000),
        attempt_limit: Some(ms(150)),
        ..nothing()
    });
    let full = policy.bulkhead().unwrap().try_enter_owned().unwrap();
    tokio::spawn(async move {
        sleep(ms(500)).await;
        drop(full);
    });
    let slow = |millis| {
        move || async move {
            sleep(ms(millis)).await;
            Ok::<_, ()>(())
        }
    };
    assert_eq!(policy.call(slow(90)).await, Ok(()));
    let breaker = policy.breaker().unwrap();
    assert_eq!(breaker.snapshot().slow, 0);
    assert_eq!(policy.call(slow(110)).await, Ok(()));
    assert_eq!(breaker.snapshot().slow, 1);
}

#[tokio::test(start_paused = true)]
async fn the_policys_deadline_is_the_called_ones_fault_only_where_attempts_have_no_limit() {
    for (attempt_limit, after) in [
        (None, BreakerState::Open),
        (Some(ms(400)), BreakerState::Closed),
    ] {
        let policy = policy(PolicyConfig {
            deadline: Some(ms(500)),
            retry: retry(5),
            breaker: breaker(1),
            bulkhead: bulkhead(1),
            bulkhead_wait: ms(500),
            attempt_limit,
            ..nothing()
        });
        // The attempt gets less time than it may take.
        let full = policy.bulkhead().unwrap().try_enter_owned().unwrap();
        tokio::spawn(async move {
            sleep(ms(300)).await;
            drop(full);
        });
        let called = Called::default();
        let hangs = || {
            called.again();
            pending::<Result<(), ()>>()
        };
        assert_eq!(policy.call(hangs).await, Err(Error::DeadlineExceeded));
        assert_eq!(policy.breaker().unwrap().state(), after);
        assert_eq!(called.0.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_around_the_caller_is_nobodys_fault() {
    for config in [
        nothing(),
        PolicyConfig {
            deadline: Some(ms(900)),
            ..nothing()
        },
        PolicyConfig {
            attempt_limit: Some(ms(900)),
            ..nothing()
        },
    ] {
        let policy = policy(PolicyConfig {
            breaker: breaker(1),
            bulkhead: bulkhead(1),
            ..config
        });
        let call = policy.call(pending::<Result<(), ()>>);
        let answer = Deadline::within(ms(500)).scope(call).await;
        assert!(matches!(
            answer,
            Err(DeadlineExceeded) | Ok(Err(Error::DeadlineExceeded))
        ));
        assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_begun_that_would_end_after_the_deadline_whosever_it_is() {
    let config = PolicyConfig {
        retry: Some(RetryConfig {
            backoff: oneiric_resilience::BackoffConfig::constant(ms(600)),
            ..retry(5).unwrap()
        }),
        ..nothing()
    };
    let own = policy(PolicyConfig {
        deadline: Some(ms(1_000)),
        ..config.clone()
    });
    let start = Instant::now();
    let called = Called::default();
    let answer = own.call(answers(&[Err("no")], &called)).await;
    assert_eq!(answer, Err(Error::Inner("no")));
    assert_eq!((start.elapsed(), called.0.get()), (ms(600), 2));

    let around = policy(config);
    let start = Instant::now();
    let call = around.call(answers(&[Err("no")], &called));
    let answer = Deadline::within(ms(1_000)).scope(call).await;
    assert_eq!(answer, Ok(Err(Error::Inner("no"))));
    assert_eq!((start.elapsed(), called.0.get()), (ms(600), 4));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_at_a_gate_beyond_the_deadline() {
    for stage in [Stage::Bucket, Stage::Bulkhead] {
        let is_bucket = stage == Stage::Bucket;
        let wait = ms(20_000);
        let policy = policy(PolicyConfig {
            deadline: Some(ms(500)),
            bucket: bucket(1).filter(|_| is_bucket),
            bucket_wait: if is_bucket { wait } else { ms(0) },
            bulkhead: bulkhead(1).filter(|_| !is_bucket),
            bulkhead_wait: if is_bucket { ms(0) } else { wait },
            ..nothing()
        });
        let inside = policy
            .bulkhead()
            .map(|bulkhead| bulkhead.try_enter().unwrap());
        policy
            .bucket()
            .inspect(|bucket| bucket.try_take(1).unwrap());
        let start = Instant::now();
        let answer = policy.call(|| async { Ok::<_, ()>(()) }).await;
        assert_eq!(rejection(answer), Rejection::DeadlineTooNear);
        assert!(start.elapsed() <= ms(500));
        drop(inside);
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_was_used_up_at_a_gate_is_no_failure_of_a_call_that_was_never_made() {
    let clock = TokioClock::new();
    let policy = Policy::with_clock(
        PolicyConfig {
            deadline: Some(ms(500)),
            retry: retry(2),
            breaker: breaker(1),
            bulkhead: bulkhead(1),
            bulkhead_wait: ms(500),
            ..nothing()
        },
        clock,
    )
    .unwrap();
    let full = policy.bulkhead().unwrap().try_enter_owned().unwrap();
    let calling = policy.clone();
    let call = tokio::spawn(async move {
        calling
            .call(|| async { panic!("too late") as Result<(), ()> })
            .await
    });
    yield_now().await;
    // Its turn and its deadline come in the same instant.
    tokio::time::advance(ms(500)).await;
    drop(full);
    let answer = call.await.unwrap();
    assert!(
        matches!(answer, Err(Error::DeadlineExceeded | Error::Rejected(_))),
        "{answer:?}"
    );
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_shared_budget_holds_for_all_policies_that_use_it() {
    let budget = RetryBudget::new(RetryBudgetConfig {
        capacity: 3,
        ratio: 0.0,
        min_per_sec: 0.0,
    })
    .unwrap();
    let made = || {
        let config = PolicyConfig {
            retry: retry(3),
            ..nothing()
        };
        Policy::builder(config).budget(&budget).build().unwrap()
    };
    let (one, other) = (made(), made());
    let called = Called::default();
    for policy in [&one, &other, &one] {
        let answer = policy.call(answers(&[Err("no")], &called)).await;
        assert_eq!(answer, Err(Error::Inner("no")));
    }
    assert_eq!(called.0.get(), 3 + 3);
    assert_eq!(one.snapshot().retry_tokens, Some(0));
}

#[tokio::test(start_paused = true)]
async fn what_asks_to_be_left_alone_opens_the_breaker_and_is_waited_for() {
    let retry_after = ms(2_000);
    let policy = policy(PolicyConfig {
        retry: retry(2),
        breaker: breaker(10),
        ..nothing()
    })
    .classify(move |result: &Result<u32, &'static str>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Overloaded { retry_after },
    });
    let start = Instant::now();
    let answer = policy
        .call(answers(&[Err("busy"), Ok(1)], &Called::default()))
        .await;
    assert_eq!(answer, Ok(1));
    assert_eq!(start.elapsed(), ms(2_100));
    assert_eq!(policy.breaker().unwrap().snapshot().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_call_is_a_failure_and_gives_everything_back() {
    for order in [
        vec![Stage::Retry, Stage::Breaker, Stage::Bulkhead],
        vec![Stage::Breaker, Stage::Bulkhead, Stage::Retry],
    ] {
        let policy = policy(PolicyConfig {
            retry: retry(2),
            breaker: breaker(1),
            bulkhead: Some(BulkheadConfig {
                adaptive: Some(AimdConfig::default()),
                ..bulkhead(10).unwrap()
            }),
            order: Some(order),
            ..nothing()
        });
        let calling = policy.clone();
        let call = tokio::spawn(async move {
            let panics = || async {
                yield_now().await;
                panic!("in the call") as Result<(), ()>
            };
            calling.call(panics).await
        });
        assert!(call.await.unwrap_err().is_panic());
        assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);
        assert!(policy.bulkhead().unwrap().limit() < 10, "as the breaker");
    }
}

#[tokio::test(start_paused = true)]
async fn the_inner_gate_hears_how_a_call_ended_before_the_outer_one() {
    for (order, then) in [
        (vec![Stage::Breaker, Stage::Bulkhead], 0),
        (vec![Stage::Bulkhead, Stage::Breaker], 1),
    ] {
        let inside = Bulkhead::new(bulkhead(1).unwrap()).unwrap();
        let (looks_at, saw) = (inside.clone(), Arc::new(AtomicU32::new(u32::MAX)));
        let sees = Arc::clone(&saw);
        let policy = Policy::builder(PolicyConfig {
            breaker: breaker(1),
            order: Some(order),
            ..nothing()
        })
        .bulkhead(&inside)
        .name("named")
        .breaker_observer(move |transition: &BreakerTransition| {
            assert_eq!(&*transition.breaker, "named");
            sees.store(looks_at.in_flight(), Ordering::Relaxed);
        })
        .build()
        .unwrap();
        assert!(policy.call(|| async { Err::<(), _>("no") }).await.is_err());
        assert_eq!(saw.load(Ordering::Relaxed), then);
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_retry_is_spent_once_its_attempt_has_begun() {
    let budget = RetryBudget::new(RetryBudgetConfig {
        capacity: 5,
        ratio: 0.0,
        min_per_sec: 0.0,
    })
    .unwrap();
    let config = PolicyConfig {
        retry: retry(2),
        ..nothing()
    };
    let policy = Policy::builder(config).budget(&budget).build().unwrap();
    let called = Called::default();
    let call = policy.call(|| async {
        if called.again() == 2 {
            pending::<()>().await;
        }
        Err::<(), _>("no")
    });
    assert!(tokio::time::timeout(ms(500), call).await.is_err());
    assert_eq!((called.0.get(), budget.available()), (2, 4));
}
