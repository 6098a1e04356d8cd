//! A whole policy as a layer: the same as [`Policy::call`] makes of it, and the turns besides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use oneiric_resilience::layers::{
    BreakerLayer, BucketLayer, BulkheadLayer, DeadlineLayer, InnerLayer, PolicyLayer, RetryLayer,
    TimeoutLayer,
};
use oneiric_resilience::{
    BackoffConfig, BreakerConfig, BreakerState, BreakerWindow, BulkheadConfig, Deadline,
    ErrIsFailure, Error, GiveUp, Outcome, Policy, PolicyConfig, PolicyEvent, Rejection,
    RetryBudgetConfig, RetryConfig, Stage, TokenBucketConfig, TokioClock,
};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::mock::{Answer, Fault, Mock, ask, poll, ready};
use super::readiness::paused;

const SECOND: Duration = Duration::from_secs(1);
type Told = Arc<Mutex<Vec<PolicyEvent>>>;

fn policy(config: PolicyConfig) -> (Policy<ErrIsFailure, TokioClock>, Told) {
    let told = Told::default();
    let events = Arc::clone(&told);
    let policy = Policy::builder_with_clock(config, TokioClock::new())
        .observer(move |event: &PolicyEvent| events.lock().unwrap().push(*event))
        .build();
    (policy.unwrap(), told)
}

fn retry(attempts: u32) -> RetryConfig {
    RetryConfig {
        attempts,
        backoff: BackoffConfig::constant(SECOND),
        ..RetryConfig::default()
    }
}

fn breaker(failures: u32) -> BreakerConfig {
    BreakerConfig {
        window: BreakerWindow::Consecutive(failures),
        open: BackoffConfig::constant(3 * SECOND),
        probes: 1,
        ..BreakerConfig::default()
    }
}

fn bucket(capacity: u32) -> TokenBucketConfig {
    TokenBucketConfig {
        capacity,
        refill_per_sec: 0.5,
        max_waiters: 10,
    }
}

fn bulkhead(limit: u32) -> BulkheadConfig {
    BulkheadConfig {
        limit,
        max_waiters: 10,
        ..BulkheadConfig::default()
    }
}

/// Every stage, or most of them; gates on both sides of the retry.
fn any_config() -> impl Strategy<Value = PolicyConfig> {
    use Stage::{Breaker, Bucket, Bulkhead, Retry};
    let orders = prop::sample::select(vec![
        [Retry, Breaker, Bucket, Bulkhead],
        [Retry, Bulkhead, Breaker, Bucket],
        [Breaker, Retry, Bucket, Bulkhead],
        [Breaker, Bucket, Retry, Bulkhead],
        [Bulkhead, Retry, Breaker, Bucket],
        [Breaker, Bucket, Bulkhead, Retry],
        [Bucket, Bulkhead, Breaker, Retry],
        [Bucket, Breaker, Retry, Bulkhead],
        [Retry, Bucket, Breaker, Bulkhead],
    ]);
    let limits = (
        proptest::option::of(3_500..9_000_u64),
        proptest::option::of(300..2_000_u64),
        proptest::option::of(1_000..6_000_u64),
        proptest::option::of(0..3_u32),
    );
    let gates = (1..4_u32, 1..4_u32, 1..3_u32, any::<bool>());
    (orders, limits, gates).prop_map(|(order, limits, gates)| {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let (deadline, attempt, total, budget) = limits;
        // Less than those of the call.
        let attempt = attempt.map(|limit| limit.min(total.unwrap_or(u64::MAX) - 1));
        let (attempts, failures, capacity, retry_rejected) = gates;
        let mut all = vec![];
        all.extend(deadline.map(|_| Stage::Deadline));
        all.extend(order);
        all.extend(attempt.map(|_| Stage::Attempt));
        PolicyConfig {
            deadline: ms(deadline),
            attempt_limit: ms(attempt),
            retry: Some(RetryConfig {
                total_limit: ms(total),
                budget: budget.map(|capacity| RetryBudgetConfig {
                    capacity: capacity.max(1),
                    ratio: 0.5,
                    min_per_sec: 0.0,
                }),
                ..retry(attempts)
            }),
            retry_rejected,
            breaker: Some(breaker(failures)),
            bucket: Some(bucket(capacity)),
            bulkhead: Some(bulkhead(1)),
            order: Some(all),
            ..PolicyConfig::default()
        }
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Good),
        3 => Just(Answer::Bad),
        1 => Just(Answer::Hangs),
        2 => (1..2_500_u64).prop_map(|ms| Answer::After(Duration::from_millis(ms))),
    ]
}

/// A pause before a call, and how long its caller has.
type Call = (u64, Option<u64>);

/// The ways to make a call that a policy is around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Call,
    Layer,
    /// A layer for each of its parts, in its order.
    Layers,
}

type AnyService = BoxCloneService<u32, u32, Error<Fault>>;

fn each_part_as_a_layer(
    config: &PolicyConfig,
    policy: &Policy<ErrIsFailure, TokioClock>,
    mock: Mock,
) -> AnyService {
    let innermost = InnerLayer.layer(mock);
    let stages = policy.order().iter().rev();
    stages.fold(
        BoxCloneService::new(innermost),
        |inner, stage| match stage {
            Stage::Deadline => {
                BoxCloneService::new(DeadlineLayer::new(config.deadline.unwrap()).layer(inner))
            }
            Stage::Retry => {
                let layer = RetryLayer::new(policy.retry().unwrap().clone());
                BoxCloneService::new(match config.retry_rejected {
                    true => layer.retry_rejected().layer(inner),
                    false => layer.layer(inner),
                })
            }
            Stage::Breaker => {
                let breaker = policy.breaker().unwrap().clone();
                BoxCloneService::new(BreakerLayer::new(breaker).layer(inner))
            }
            Stage::Bucket => {
                let bucket = policy.bucket().unwrap().clone();
                BoxCloneService::new(BucketLayer::new(bucket).shed().layer(inner))
            }
            Stage::Bulkhead => {
                let bulkhead = policy.bulkhead().unwrap().clone();
                BoxCloneService::new(BulkheadLayer::new(bulkhead).shed().layer(inner))
            }
            Stage::Attempt => {
                BoxCloneService::new(TimeoutLayer::new(config.attempt_limit.unwrap()).layer(inner))
            }
            stage => panic!("{stage:?}"),
        },
    )
}

async fn play(config: &PolicyConfig, answers: &[Answer], calls: &[Call], way: Way) -> Vec<String> {
    let (policy, told) = policy(config.clone());
    let mock = Mock::new().answering(answers.iter().copied());
    let service = match way {
        Way::Layers => each_part_as_a_layer(config, &policy, mock.clone()),
        Way::Layer | Way::Call => {
            BoxCloneService::new(PolicyLayer::new(policy.clone()).layer(mock.clone()))
        }
    };
    let mut seen = vec![];
    for &(pause, limit) in calls {
        advance(Duration::from_millis(pause)).await;
        let began = Instant::now();
        // Without one of its own a call that hangs would never end.
        let by = Deadline::within(Duration::from_millis(limit.unwrap_or(60_000)));
        let answer = match way {
            Way::Layer | Way::Layers => by.scope(service.clone().oneshot(7)).await,
            Way::Call => by.scope(policy.call(|| mock.clone().oneshot(7))).await,
        };
        // Whoever looks first says it: the retry that ran, or the scope around it.
        let answer = answer.unwrap_or(Err(Error::DeadlineExceeded));
        let told = std::mem::take(&mut *told.lock().unwrap());
        let (calls, running) = (mock.calls().len(), mock.running());
        let snapshot = policy.snapshot();
        let took = began.elapsed();
        seen.push(format!(
            "{answer:?} in {took:?}, {calls} calls, {running} run; {told:?}; {:?}, {:?}, {:?}, {:?}",
            snapshot.breaker, snapshot.bulkhead, snapshot.bucket, snapshot.retry_tokens,
        ));
    }
    assert_eq!(mock.violations(), 0);
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_policy_is_the_same_as_a_layer(
        config in any_config(),
        answers in proptest::collection::vec(any_answer(), 0..20),
        calls in proptest::collection::vec(
            (0..4_000_u64, proptest::option::weighted(0.2, 100..4_000_u64)),
            1..8,
        ),
    ) {
        let layer = paused().block_on(play(&config, &answers, &calls, Way::Layer));
        let policy = paused().block_on(play(&config, &answers, &calls, Way::Call));
        prop_assert_eq!(layer, policy);
    }

    /// But that nobody is told; and that an attempt which its time for all attempts cuts off is a failure
    /// to a policy whose attempts have no limit, whereas a breaker's layer only sees that it is dropped.
    #[test]
    fn a_policy_is_the_same_as_a_layer_for_each_of_its_parts(
        mut config in any_config(),
        answers in proptest::collection::vec(any_answer(), 0..20),
        calls in proptest::collection::vec(
            (0..4_000_u64, proptest::option::weighted(0.2, 100..4_000_u64)),
            1..8,
        ),
    ) {
        if config.attempt_limit.is_none() {
            config.deadline = None;
            config.order.as_mut().unwrap().retain(|stage| *stage != Stage::Deadline);
            config.retry.as_mut().unwrap().total_limit = None;
        }
        let untold = |way| {
            let seen = paused().block_on(play(&config, &answers, &calls, way));
            seen.iter().map(|call| {
                let (before, after) = call.split_once(" run; [").unwrap();
                let (_, parts) = after.split_once("]; ").unwrap();
                format!("{before}; {parts}")
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(untold(Way::Layers), untold(Way::Call));
    }
}

fn all() -> PolicyConfig {
    PolicyConfig {
        deadline: Some(60 * SECOND),
        retry: Some(retry(3)),
        breaker: Some(breaker(3)),
        bucket: Some(bucket(9)),
        bucket_wait: 9 * SECOND,
        bulkhead: Some(bulkhead(1)),
        bulkhead_wait: 9 * SECOND,
        attempt_limit: Some(SECOND),
        ..PolicyConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn turns_are_waited_for_before_the_call_on_both_sides_of_the_retry() {
    let inside = vec![
        Stage::Deadline,
        Stage::Retry,
        Stage::Breaker,
        Stage::Bucket,
        Stage::Bulkhead,
        Stage::Attempt,
    ];
    let mut outside = inside.clone();
    outside.swap(1, 4);
    for order in [inside, outside] {
        let (policy, _) = policy(PolicyConfig {
            order: Some(order),
            ..all()
        });
        let seats = policy.bulkhead().unwrap().clone();
        let tokens = policy.bucket().unwrap().clone();
        let mock = Mock::new();
        let mut service = ServiceBuilder::new()
            .layer(PolicyLayer::new(policy))
            .service(mock.clone());
        // The permit first, then the inner service, then the token; each once.
        mock.set_ready(false);
        assert_eq!(ask(&mut service), Poll::Pending);
        assert_eq!((seats.in_flight(), tokens.available()), (1, 9));
        mock.set_ready(true);
        for _ in 0..3 {
            assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
        }
        assert_eq!((seats.in_flight(), tokens.available()), (1, 8));
        let mut clone = service.clone();
        assert_eq!(ask(&mut clone), Poll::Pending);
        assert_eq!(seats.waiting(), 1);
        assert_eq!(service.call(1).await, Ok(1));
        assert_eq!(ask(&mut clone), Poll::Ready(Ok(())));
        drop(clone);
        assert_eq!((seats.in_flight(), seats.waiting()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_in_time_is_an_answer() {
    let (policy, told) = policy(PolicyConfig {
        retry: None,
        ..all()
    });
    let seats = policy.bulkhead().unwrap().clone();
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(Mock::new());
    let held = seats.try_enter().unwrap();
    let began = Instant::now();
    let rejected = service.clone().oneshot(1).await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::DeadlineTooNear.code()));
    assert_eq!(began.elapsed(), 9 * SECOND);
    assert_eq!(seats.waiting(), 0);
    let stage = |event: &PolicyEvent| match event {
        PolicyEvent::Rejected { stage, .. } => Some(*stage),
        _ => None,
    };
    let stages: Vec<_> = told.lock().unwrap().iter().map(stage).collect();
    assert_eq!(stages, [Some(Stage::Bulkhead)]);
    drop(held);
    assert_eq!(service.oneshot(2).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_asks_nobody_whichever_side_of_the_retry_it_is_on() {
    let order = |order: [Stage; 3]| PolicyConfig {
        retry: Some(retry(1)),
        breaker: Some(breaker(1)),
        bulkhead: Some(bulkhead(1)),
        bulkhead_wait: SECOND,
        order: Some(order.to_vec()),
        ..PolicyConfig::default()
    };
    for config in [
        order([Stage::Retry, Stage::Breaker, Stage::Bulkhead]),
        order([Stage::Breaker, Stage::Bulkhead, Stage::Retry]),
        order([Stage::Bulkhead, Stage::Retry, Stage::Breaker]),
    ] {
        let (policy, _) = policy(config);
        let mock = Mock::new().answering([Answer::Bad]);
        let mut service = ServiceBuilder::new()
            .layer(PolicyLayer::new(policy.clone()))
            .service(mock.clone());
        let failed = service.clone().oneshot(1).await;
        assert_eq!(failed, Err(Error::Inner(Fault::Bad)));
        mock.set_ready(false);
        let asked = mock.asked();
        assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
        // Even if it may be called again by then: the inner service was not asked.
        advance(3 * SECOND).await;
        assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
        let rejected = service.call(2).await.unwrap_err();
        assert_eq!(rejected.code(), Some(Rejection::BreakerOpen.code()));
        assert_eq!((mock.asked(), mock.calls().len()), (asked, 1));
        assert_eq!(policy.bulkhead().unwrap().in_flight(), 0);

        mock.set_ready(true);
        assert_eq!(service.oneshot(3).await, Ok(3));
        assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
        assert_eq!(mock.violations(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn between_attempts_a_breaker_that_opened_is_asked_before_the_service() {
    let (policy, _) = policy(PolicyConfig {
        retry: Some(retry(3)),
        breaker: Some(breaker(1)),
        ..PolicyConfig::default()
    });
    let mock = Mock::new().answering([Answer::Bad]);
    let mut service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    mock.set_ready(false);
    let rejected = call.await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::BreakerOpen.code()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_stage_leaves_nothing_behind() {
    let config = PolicyConfig {
        retry: Some(RetryConfig {
            budget: Some(RetryBudgetConfig {
                capacity: 1,
                ratio: 0.0,
                min_per_sec: 0.0,
            }),
            ..retry(2)
        }),
        breaker: Some(breaker(9)),
        ..all()
    };
    let (policy, _) = policy(config);
    let (seats, budget) = (policy.bulkhead().unwrap(), policy.retry().unwrap().budget());
    let mock = Mock::new();
    let mut service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy.clone()))
        .service(mock.clone());
    let nothing = || {
        assert_eq!(
            (seats.in_flight(), seats.waiting(), mock.running()),
            (0, 0, 0)
        );
        assert_eq!(budget.unwrap().available(), 1);
    };

    // Ready; called; running.
    ready(&mut service).await.unwrap();
    let clone = service.clone();
    drop(std::mem::replace(&mut service, clone));
    nothing();
    ready(&mut service).await.unwrap();
    drop(service.call(1));
    nothing();
    mock.next(Answer::Hangs);
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(2));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!((seats.in_flight(), mock.running()), (1, 1));
    drop(call);
    nothing();

    // Between attempts; waiting for a turn; waiting for the service.
    for stage in 0..3 {
        mock.next(Answer::Bad);
        ready(&mut service).await.unwrap();
        let mut call = Box::pin(service.call(3));
        assert_eq!(poll(call.as_mut()), Poll::Pending);
        assert_eq!((seats.in_flight(), mock.running()), (0, 0));
        let mut held = None;
        if stage > 0 {
            mock.set_ready(stage == 1);
            held = (stage == 1).then(|| seats.try_enter().unwrap());
            advance(SECOND).await;
            assert_eq!(poll(call.as_mut()), Poll::Pending);
            assert_eq!(
                (seats.waiting(), seats.in_flight()),
                (u32::from(stage == 1), 1)
            );
        }
        drop(call);
        drop(held);
        mock.set_ready(true);
        nothing();
    }
    assert_eq!(policy.breaker().unwrap().snapshot().failures, 3);
}

/// The panic is caught around the poll, as a server does: when the future is dropped, nothing panics any more.
#[tokio::test(start_paused = true)]
async fn a_panic_counts_as_failure_on_both_sides_of_the_retry() {
    let order = |order: [Stage; 2]| PolicyConfig {
        retry: Some(retry(2)),
        breaker: Some(breaker(1)),
        order: Some(order.to_vec()),
        ..PolicyConfig::default()
    };
    for stages in [
        [Stage::Retry, Stage::Breaker],
        [Stage::Breaker, Stage::Retry],
    ] {
        for answer in [Answer::Panics, Answer::PanicsAtOnce] {
            let (policy, _) = policy(order(stages));
            let mock = Mock::new().answering([answer]);
            let mut service = ServiceBuilder::new()
                .layer(PolicyLayer::new(policy.clone()))
                .service(mock);
            ready(&mut service).await.unwrap();
            let mut call = None;
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let call = call.insert(Box::pin(service.call(1)));
                poll(call.as_mut()).is_ready()
            }));
            assert!(polled.is_err());
            drop(call);
            let state = policy.breaker().unwrap().state();
            assert_eq!(state, BreakerState::Open, "{stages:?}, {answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_because_something_else_panics_is_not_counted() {
    let inside = [Stage::Retry, Stage::Breaker];
    let outside = [Stage::Breaker, Stage::Retry];
    for (order, first, polls, again) in [
        // Not begun, and running.
        (inside, Answer::Hangs, 0, true),
        (inside, Answer::Hangs, 1, true),
        (outside, Answer::Hangs, 0, true),
        (outside, Answer::Hangs, 1, true),
        // Between two attempts, running again, and waiting for the service.
        (outside, Answer::Bad, 1, true),
        (outside, Answer::Bad, 2, true),
        (inside, Answer::Bad, 2, true),
        (outside, Answer::Bad, 2, false),
        (inside, Answer::Bad, 2, false),
    ] {
        let (policy, _) = policy(PolicyConfig {
            retry: Some(retry(2)),
            breaker: Some(breaker(9)),
            order: Some(order.to_vec()),
            ..PolicyConfig::default()
        });
        let mock = Mock::new().answering([first, Answer::Hangs]);
        let mut service = ServiceBuilder::new()
            .layer(PolicyLayer::new(policy.clone()))
            .service(mock.clone());
        ready(&mut service).await.unwrap();
        let mut call = Box::pin(service.call(1));
        mock.set_ready(again);
        for _ in 0..polls {
            assert_eq!(poll(call.as_mut()), Poll::Pending);
            advance(SECOND).await;
        }
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _goes = call;
            panic!("elsewhere");
        }));
        assert!(panicked.is_err());
        let failures = policy.breaker().unwrap().snapshot().failures;
        let own = u64::from(first == Answer::Bad && order == inside);
        assert_eq!(failures, own, "{order:?}, {first:?}, {polls}, {again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_later_attempt_is_seen_outside_of_the_retry() {
    let (policy, _) = policy(PolicyConfig {
        retry: Some(retry(2)),
        breaker: Some(breaker(1)),
        order: Some(vec![Stage::Breaker, Stage::Retry]),
        ..PolicyConfig::default()
    });
    let mock = Mock::new().answering([Answer::Bad, Answer::Panics]);
    let mut service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy.clone()))
        .service(mock);
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    advance(SECOND).await;
    let mut polls = || poll(call.as_mut()).is_ready();
    assert!(catch_unwind(AssertUnwindSafe(&mut polls)).is_err());
    drop(call);
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_token_outside_of_a_breaker_is_taken_for_a_call_that_it_refuses() {
    let order = |order: [Stage; 3]| PolicyConfig {
        retry: Some(retry(1)),
        breaker: Some(breaker(1)),
        bucket: Some(bucket(3)),
        order: Some(order.to_vec()),
        ..PolicyConfig::default()
    };
    for config in [
        order([Stage::Bucket, Stage::Breaker, Stage::Retry]),
        order([Stage::Retry, Stage::Bucket, Stage::Breaker]),
    ] {
        let (policy, _) = policy(config);
        let service = ServiceBuilder::new()
            .layer(PolicyLayer::new(policy.clone()))
            .service(Mock::new().answering([Answer::Bad]));
        assert!(service.clone().oneshot(1).await.is_err());
        for left in [1, 0] {
            let refused = service.clone().oneshot(2).await.unwrap_err();
            assert_eq!(refused.code(), Some(Rejection::BreakerOpen.code()));
            assert_eq!(policy.bucket().unwrap().available(), left);
        }
        let refused = service.oneshot(2).await.unwrap_err();
        assert_eq!(refused.code(), Some(Rejection::RateLimited.code()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_slow_to_be_ready_again_is_waited_for_until_the_deadline() {
    let (policy, _) = policy(PolicyConfig {
        deadline: Some(5 * SECOND),
        retry: Some(retry(3)),
        ..PolicyConfig::default()
    });
    let mock = Mock::new().answering([Answer::Bad]);
    let mut service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy))
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    mock.set_ready(false);
    let began = Instant::now();
    assert_eq!(service.call(1).await, Err(Error::DeadlineExceeded));
    assert_eq!((began.elapsed(), mock.calls().len()), (5 * SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses_are_judged_as_they_are_told() {
    let odd_fails = |result: &Result<u32, Fault>| match result {
        Ok(n) if n % 2 == 0 => Outcome::Success,
        _ => Outcome::Failure,
    };
    let config = PolicyConfig {
        retry: Some(retry(2)),
        ..PolicyConfig::default()
    };
    let (policy, told) = policy(config);
    let policy = policy.classify(odd_fails);
    let mock = Mock::new();
    let below_ten = |request: &u32| (*request < 10).then_some(*request);
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(policy).copy(below_ten))
        .service(mock.clone());
    for request in [2, 3, 13] {
        assert_eq!(service.clone().oneshot(request).await, Ok(request));
    }
    assert_eq!(mock.calls(), [2, 3, 3, 13]);
    let gave_up = |attempts, why| PolicyEvent::GaveUp { attempts, why };
    let last = told.lock().unwrap().split_off(1);
    let expected = [
        gave_up(2, GiveUp::Attempts),
        gave_up(1, GiveUp::NotRepeatable),
    ];
    assert_eq!(last, expected);
    assert_eq!(service.policy().order(), [Stage::Retry]);
    assert!(format!("{service:?}").contains("WithPolicy"));
    assert_eq!(service.get_ref().violations(), 0);
    assert_eq!(service.into_inner().oneshot(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_policy_without_stages_makes_the_call_and_that_is_all() {
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(
            Policy::new(PolicyConfig::default()).unwrap(),
        ))
        .service(Mock::new().answering([Answer::Bad]));
    assert_eq!(
        service.clone().oneshot(1).await,
        Err(Error::Inner(Fault::Bad))
    );
    assert_eq!(service.oneshot(2).await, Ok(2));
}

/// A layer inside of a retry, its own or a policy's, that refuses does not call those further inside.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_refused_inside_holds_nothing_while_the_next_is_waited_for() {
    let patient = Policy::builder_with_clock(
        PolicyConfig {
            retry: Some(retry(3)),
            retry_rejected: true,
            ..PolicyConfig::default()
        },
        TokioClock::new(),
    );
    let patient = patient.build().unwrap();
    for as_policy in [false, true] {
        let (policy, _) = policy(all());
        let (seats, tokens) = (policy.bulkhead().unwrap(), policy.bucket().unwrap());
        tokens.try_take(8).unwrap();
        let inner = InnerLayer.layer(Mock::new().answering([Answer::Bad]));
        let inner = BulkheadLayer::new(seats.clone()).layer(inner);
        let inner = BucketLayer::new(tokens.clone()).shed().layer(inner);
        let service = match as_policy {
            true => {
                let nested = PolicyLayer::new(patient.clone()).layer(inner);
                BoxCloneService::new(nested.map_err(Error::flatten))
            }
            false => {
                let retry = patient.retry().unwrap().clone();
                BoxCloneService::new(RetryLayer::new(retry).retry_rejected().layer(inner))
            }
        };
        let mut call = Box::pin(service.oneshot(1));
        assert_eq!(poll(call.as_mut()), Poll::Pending);
        advance(SECOND).await;
        assert_eq!(poll(call.as_mut()), Poll::Pending, "refused, waits");
        assert_eq!(seats.in_flight(), 0, "as a policy: {as_policy}");
        assert_eq!(call.await, Ok(1), "as a policy: {as_policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_lets_go_of_what_is_inside() {
    let order = |order: [Stage; 2]| PolicyConfig {
        retry: Some(retry(1)),
        bucket: Some(bucket(1)),
        order: Some(order.to_vec()),
        ..PolicyConfig::default()
    };
    for config in [
        order([Stage::Bucket, Stage::Retry]),
        order([Stage::Retry, Stage::Bucket]),
    ] {
        let (policy, _) = policy(config);
        let (inside, _) = self::policy(all());
        let seats = inside.bulkhead().unwrap();
        let inner = BulkheadLayer::new(seats.clone()).layer(InnerLayer.layer(Mock::new()));
        let mut service = PolicyLayer::new(policy.clone()).layer(inner);
        policy.bucket().unwrap().try_take(1).unwrap();
        ready(&mut service).await.unwrap();
        assert_eq!(seats.in_flight(), 1);
        let refused = service.call(1).await.map_err(Error::flatten).unwrap_err();
        assert_eq!(refused.code(), Some(Rejection::RateLimited.code()));
        assert_eq!(seats.in_flight(), 0);
    }
}

/// The layer outside may refuse a call after the one inside was asked, or was had, for it.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_between_readiness_and_call_leaves_no_permit_behind() {
    for waits in [false, true] {
        let (all, _) = policy(all());
        let (breaker, seats) = (all.breaker().unwrap(), all.bulkhead().unwrap());
        let inner = BulkheadLayer::new(seats.clone()).layer(InnerLayer.layer(Mock::new()));
        let mut kept = BreakerLayer::new(breaker.clone()).layer(inner);
        let held = waits.then(|| seats.try_enter().unwrap());
        assert_eq!(
            ask(&mut kept),
            if waits {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        );
        for _ in 0..3 {
            breaker.permit().unwrap().record(Outcome::Failure);
        }
        drop(held);
        if waits {
            ready(&mut kept).await.unwrap();
        }
        let refused = kept.call(1).await.unwrap_err();
        assert_eq!(refused.code(), Some(Rejection::BreakerOpen.code()));
        assert_eq!(
            (seats.in_flight(), seats.waiting()),
            (0, 0),
            "waits: {waits}"
        );
    }
}

/// As a policy, and as a layer for each of its parts: an attempt that is refused costs no token.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_costs_no_token() {
    let config = PolicyConfig {
        retry: Some(RetryConfig {
            budget: Some(RetryBudgetConfig {
                capacity: 10,
                ratio: 0.0,
                min_per_sec: 0.0,
            }),
            ..retry(3)
        }),
        retry_rejected: true,
        bulkhead: Some(bulkhead(1)),
        ..PolicyConfig::default()
    };
    for way in [Way::Call, Way::Layer, Way::Layers] {
        let (policy, _) = policy(config.clone());
        let mock = Mock::new().answering([Answer::Bad; 3]);
        let service = match way {
            Way::Layers => each_part_as_a_layer(&config, &policy, mock.clone()),
            _ => BoxCloneService::new(PolicyLayer::new(policy.clone()).layer(mock.clone())),
        };
        let call = async || match way {
            Way::Call => policy.call(|| mock.clone().oneshot(7)).await,
            _ => service.clone().oneshot(7).await,
        };
        let budget = policy.retry().unwrap().budget().unwrap().clone();
        let held = policy.bulkhead().unwrap().try_enter_owned().unwrap();
        assert!(matches!(call().await, Err(Error::Rejected(_))));
        assert_eq!((budget.available(), mock.calls().len()), (10, 0), "{way:?}");
        drop(held);
        assert_eq!(call().await, Err(Error::Inner(Fault::Bad)), "{way:?}");
        assert_eq!((budget.available(), mock.calls().len()), (8, 3), "{way:?}");
    }
}
