//! Layers on each other: one flat error, and each counts what is its own.

use std::time::Duration;

use oneiric_resilience::layers::{
    AsyncFallbackLayer, BreakerLayer, BucketLayer, BulkheadLayer, DeadlineLayer, FallbackLayer,
    InnerLayer, PolicyLayer, RetryLayer, TimeoutLayer,
};
use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerState, BulkheadConfig, Deadline, Error, Fallback,
    OnlyRejected, Policy, PolicyConfig, Rejection, Retry, RetryConfig, Stage, TokioClock,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::gates::{breaker, bucket, bulkhead};
use super::mock::{Answer, Fault, Mock, ready};
use super::retries::{config, retry};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn all_of_them_have_one_error_that_is_not_nested() {
    let mock = Mock::new().answering([Answer::Bad]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(Fallback::value(0).when(OnlyRejected)))
        .layer(DeadlineLayer::new(SECOND))
        .layer(RetryLayer::new(retry(1)))
        .layer(BreakerLayer::new(breaker()))
        .layer(BucketLayer::new(bucket(9, 9)))
        .layer(BulkheadLayer::new(bulkhead(1, 9)))
        .layer(TimeoutLayer::new(SECOND))
        .layer(InnerLayer)
        .service(mock);
    let failed: Error<Fault> = service.clone().oneshot(1).await.unwrap_err();
    assert_eq!(failed, Error::Inner(Fault::Bad));
    assert_eq!(service.oneshot(2).await, Ok(0), "the breaker is open");
}

/// Those that a layer further inside made count too.
#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_many_attempts_were_made_by_all_layers() {
    let mock = Mock::new().answering([Answer::Bad; 9]);
    let config = BreakerConfig {
        open: BackoffConfig::constant(9 * SECOND),
        ..*breaker().config()
    };
    let breaker = Breaker::with_clock(config, TokioClock::new()).unwrap();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2)).retry_rejected())
        .layer(RetryLayer::new(retry(3)))
        .layer(BreakerLayer::new(breaker))
        .layer(InnerLayer)
        .service(mock.clone());
    let Err(Error::Rejected(rejected)) = service.oneshot(1).await else {
        panic!("the breaker opens at the first failure")
    };
    assert_eq!(rejected.attempts_made(), 2);
    assert_eq!(mock.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_further_inside_is_no_failure_of_the_called_one() {
    let (breaker, bucket, mock) = (breaker(), bucket(1, 0), Mock::new());
    let service = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(BucketLayer::new(bucket).shed())
        .layer(InnerLayer)
        .service(mock);
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    let rejected = service.oneshot(2).await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::RateLimited.code()));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_one_and_a_caller_without_time_is_not() {
    let (breaker, mock) = (breaker(), Mock::new().answering([Answer::Hangs; 9]));
    let limited = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(TimeoutLayer::new(2 * SECOND))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    let late = Deadline::within(SECOND);
    // By a deadline around it, and by one of a layer.
    let exceeded = late.scope(limited.clone().oneshot(1)).await;
    assert_eq!(exceeded, Ok(Err(Error::DeadlineExceeded)));
    assert_eq!(breaker.state(), BreakerState::Closed);
    let scoped = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(DeadlineLayer::new(SECOND))
        .layer(InnerLayer)
        .service(mock.clone());
    let exceeded = scoped.oneshot(2).await;
    assert_eq!(exceeded, Err(Error::DeadlineExceeded));
    assert_eq!(breaker.state(), BreakerState::Closed);

    let limit = 2 * SECOND;
    let slow = limited.oneshot(3).await;
    assert_eq!(slow, Err(Error::TimedOut { limit }));
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!((began.elapsed(), mock.running()), (4 * SECOND, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_every_layer_begins_with_the_call_and_not_with_a_look_at_the_answer() {
    async fn late<S: Service<u32, Error = Error<Fault>>>(mut service: S) -> Option<Error<Fault>> {
        ready(&mut service).await.unwrap();
        let call = service.call(1);
        tokio::time::advance(SECOND).await;
        call.await.err()
    }
    let limited = |attempt_limit, total_limit| RetryConfig {
        attempt_limit,
        total_limit,
        ..config(1)
    };
    let (limit, limits) = (SECOND, Some(SECOND));
    let mock = Mock::new();
    let stack = InnerLayer.layer(mock.clone());
    let timed_out = Some(Error::TimedOut { limit });
    let exceeded = Some(Error::DeadlineExceeded);
    let layered = TimeoutLayer::new(limit).layer(stack.clone());
    assert_eq!(late(layered).await, timed_out);
    let layered = DeadlineLayer::new(limit).layer(stack.clone());
    assert_eq!(late(layered).await, exceeded);
    for (retry, over) in [
        (limited(limits, None), timed_out),
        (limited(None, limits), exceeded),
    ] {
        let layered = RetryLayer::new(Retry::new(retry).unwrap()).layer(stack.clone());
        assert_eq!(late(layered).await, over);
        let policy = Policy::new(PolicyConfig {
            attempt_limit: retry.attempt_limit,
            retry: Some(limited(None, retry.total_limit)),
            ..PolicyConfig::default()
        });
        let layered = PolicyLayer::new(policy.unwrap()).layer(mock.clone());
        assert_eq!(late(layered).await, over, "of the policy");
    }
    // Another attempt has its own time, and is answered.
    let both = RetryConfig {
        attempts: 2,
        ..limited(limits, Some(4 * SECOND))
    };
    let layered = RetryLayer::new(Retry::new(both).unwrap()).layer(stack);
    assert_eq!(late(layered).await, None);
    assert_eq!((mock.calls().len(), mock.running()), (8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_may_be_outside_of_a_breaker_or_inside() {
    let mock = Mock::new().answering([Answer::Bad]);
    let (breaker, seats) = (breaker(), bulkhead(1, 9));
    let outside = ServiceBuilder::new()
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    assert!(outside.clone().oneshot(1).await.is_err());
    let inside = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    let held = seats.try_enter().unwrap();
    // An open breaker outside of it answers at once, however many wait for the limit.
    let rejected = inside.oneshot(2).await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::BreakerOpen.code()));
    drop(held);
    let rejected = outside.oneshot(3).await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::BreakerOpen.code()));
    assert_eq!(seats.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_have_to_be_waited_for_elsewhere() {
    let seats = bulkhead(1, 0);
    let mock = Mock::new().answering([Answer::Bad, Answer::Good]);
    let second = {
        let seats = seats.clone();
        move |error: Error<Fault>| {
            // What failed is gone by now: its permit is free.
            assert_eq!(seats.in_flight(), 0);
            async move {
                tokio::time::sleep(SECOND).await;
                match error {
                    Error::Inner(Fault::Bad) => Ok(7),
                    other => Err(other),
                }
            }
        }
    };
    let service = ServiceBuilder::new()
        .layer(AsyncFallbackLayer::new(Fallback::new(second)))
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(InnerLayer)
        .service(mock);
    let began = Instant::now();
    assert_eq!(service.clone().oneshot(1).await, Ok(7));
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(service.oneshot(2).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn inner_services_can_be_looked_at_and_taken_out() {
    let mock = Mock::new();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(Fallback::value(0)))
        .layer(DeadlineLayer::new(SECOND))
        .layer(RetryLayer::new(retry(1)))
        .layer(BulkheadLayer::new(bulkhead(1, 9)))
        .layer(TimeoutLayer::new(SECOND))
        .layer(InnerLayer)
        .service(mock.clone());
    assert!(format!("{service:?}").contains("WithFallback"));
    let through = service.get_ref().get_ref().get_ref().get_ref().get_ref();
    assert_eq!(through.get_ref().calls(), [0; 0]);
    let mut inner = service
        .into_inner()
        .into_inner()
        .into_inner()
        .into_inner()
        .into_inner()
        .into_inner();
    assert_eq!(inner.ready().await.unwrap().call(1).await, Ok(1));
}

/// Many callers through a buffer and through clones: the limits hold, everybody gets an answer, and nothing is left over.
#[tokio::test(start_paused = true)]
async fn under_load_limits_hold_and_everybody_is_served() {
    const CALLERS: u32 = 500;
    let (seats, tokens, breaker) = (bulkhead(7, CALLERS), bucket(5, CALLERS), breaker());
    tokens.set_rate(5, 50.0).unwrap();
    let mock = Mock::new();
    for call in 0..2 * CALLERS {
        mock.next(match call % 3 {
            0 => Answer::Good,
            _ => Answer::After(Duration::from_millis(u64::from(call % 97))),
        });
    }
    let service = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(BucketLayer::new(tokens))
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    let buffered = ServiceBuilder::new()
        .layer(tower::buffer::BufferLayer::new(3))
        .service(service.clone());
    let began = Instant::now();
    let (mut direct, mut through) = (JoinSet::new(), JoinSet::new());
    for request in 0..CALLERS {
        direct.spawn(service.clone().oneshot(request));
        through.spawn(buffered.clone().oneshot(request));
    }
    let (mut direct, mut through) = (direct.join_all().await, through.join_all().await);
    assert!(direct.drain(..).all(|answer| answer.is_ok()));
    assert!(through.drain(..).all(|answer| answer.is_ok()));
    assert_eq!(mock.calls().len(), 1_000);
    assert_eq!(mock.violations(), 0);
    assert!(mock.most_running() <= 7, "{}", mock.most_running());
    // All but those that the full bucket held came at 50 a second.
    assert!(began.elapsed() >= Duration::from_millis(995 * 20));
    // The buffer's worker may have a permit for the next call.
    drop((service, buffered));
    tokio::time::sleep(SECOND).await;
    assert_eq!((seats.in_flight(), seats.waiting()), (0, 0));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// A caller between two attempts has what is outside of the retry and wants what is inside. Nobody may have that and want
/// what is outside: then both would wait for ever.
#[tokio::test(start_paused = true)]
async fn no_circle_of_waits_comes_of_permits_on_both_sides_of_a_retry() {
    let patient = |retry: Option<RetryConfig>, order: &[Stage]| {
        let config = PolicyConfig {
            retry,
            bulkhead: Some(BulkheadConfig {
                limit: 1,
                ..BulkheadConfig::default()
            }),
            bulkhead_wait: 3_600 * SECOND,
            order: Some(order.to_vec()),
            ..PolicyConfig::default()
        };
        PolicyLayer::new(Policy::new(config).unwrap())
    };
    let again = || {
        Some(RetryConfig {
            attempts: 3,
            backoff: BackoffConfig::constant(SECOND),
            ..RetryConfig::default()
        })
    };
    let seat = || BulkheadLayer::new(bulkhead(1, 99));
    // Retry and a permit inside of what is under test.
    let inside = || {
        ServiceBuilder::new()
            .layer(RetryLayer::new(retry(3)))
            .layer(seat())
            .layer(InnerLayer)
            .service(flaky())
    };

    let mut ended = vec![];
    let stack = ServiceBuilder::new().layer(seat()).service(inside());
    ended.push(("bulkhead, retry, bulkhead", everybody_ends(stack).await));

    let one = ServiceBuilder::new().layer(seat()).layer(InnerLayer);
    let around = patient(again(), &[Stage::Bulkhead, Stage::Retry]);
    let stack = ServiceBuilder::new()
        .layer(around)
        .service(one.service(flaky()));
    ended.push((
        "policy with bulkhead and retry, bulkhead",
        everybody_ends(stack).await,
    ));

    let stack = ServiceBuilder::new()
        .layer(seat())
        .layer(patient(again(), &[Stage::Retry, Stage::Bulkhead]))
        .service(flaky());
    ended.push((
        "bulkhead, policy with retry and bulkhead",
        everybody_ends(stack).await,
    ));

    let stack = ServiceBuilder::new()
        .layer(patient(None, &[Stage::Bulkhead]))
        .service(inside());
    ended.push((
        "policy with bulkhead, retry, bulkhead",
        everybody_ends(stack).await,
    ));

    let stack = ServiceBuilder::new()
        .layer(patient(again(), &[Stage::Retry, Stage::Bulkhead]))
        .service(inside());
    ended.push((
        "policy with retry and bulkhead, retry, bulkhead",
        everybody_ends(stack).await,
    ));

    let stack = ServiceBuilder::new()
        .layer(seat())
        .layer(RetryLayer::new(retry(3)))
        .layer(InnerLayer)
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(1))
        .service(flaky());
    ended.push((
        "bulkhead, retry, a limit of tower",
        everybody_ends(stack).await,
    ));
    ended.retain(|(_, all)| !all);
    assert!(ended.is_empty(), "somebody waits for ever: {ended:?}");
}

/// Later attempts of a policy, too: what they pass first is what calls from outside pass first.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_of_a_policy_waits_in_the_order_of_the_first() {
    let config = PolicyConfig {
        retry: Some(config(2)),
        bulkhead: Some(BulkheadConfig {
            limit: 1,
            ..BulkheadConfig::default()
        }),
        bulkhead_wait: 3_600 * SECOND,
        ..PolicyConfig::default()
    };
    let (seats, mock) = (bulkhead(1, 9), Mock::new().answering([Answer::Bad]));
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(Policy::new(config).unwrap()))
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(InnerLayer)
        .service(mock);
    let mut calls = JoinSet::new();
    calls.spawn(service.clone().oneshot(1));
    tokio::time::sleep(SECOND / 2).await;
    let held = seats.try_enter().unwrap();
    tokio::time::sleep(SECOND).await;
    calls.spawn(service.oneshot(2));
    tokio::time::sleep(SECOND).await;
    drop(held);
    let answers = tokio::time::timeout(600 * SECOND, calls.join_all()).await;
    let answers = answers.expect("neither waits for the other");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Of three calls two fail.
fn flaky() -> Mock {
    let mock = Mock::new();
    for call in 0..300 {
        let answer = if call % 3 == 2 {
            Answer::Good
        } else {
            Answer::Bad
        };
        mock.next(answer);
    }
    mock
}

/// Whether eight callers all get an answer.
async fn everybody_ends<S>(service: S) -> bool
where
    S: Service<u32> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    let mut calls = JoinSet::new();
    for request in 0..8 {
        let service = service.clone();
        calls.spawn(async move {
            tokio::time::sleep(Duration::from_millis(u64::from(request) * 300)).await;
            service.oneshot(request).await.is_ok()
        });
    }
    let all = calls.join_all();
    tokio::time::timeout(600 * SECOND, all).await.is_ok()
}
