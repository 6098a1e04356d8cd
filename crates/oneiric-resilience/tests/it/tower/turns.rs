//! What a policy's service has reserved goes back where it does not come to a call; and what its later
//! attempts wait for, they wait for within the policy's time, at nobody's cost.

use std::task::Poll;
use std::time::Duration;

use oneiric_resilience::layers::{PolicyLayer, WithPolicy};
use oneiric_resilience::{
    BackoffConfig, BreakerConfig, BreakerState, BreakerWindow, BulkheadConfig, ErrIsFailure, Error,
    Outcome, Policy, PolicyConfig, Rejection, RetryConfig, Stage, TokioClock,
};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};

use super::mock::{Answer, Fault, Mock, ask, poll, ready};

const SECOND: Duration = Duration::from_secs(1);

type Guarded = WithPolicy<Mock, ErrIsFailure, TokioClock>;

/// Two attempts, a second between them.
fn retry() -> Option<RetryConfig> {
    Some(RetryConfig {
        attempts: 2,
        backoff: BackoffConfig::constant(SECOND),
        ..RetryConfig::default()
    })
}

fn breaker() -> BreakerConfig {
    BreakerConfig {
        window: BreakerWindow::Consecutive(1),
        ..BreakerConfig::default()
    }
}

/// For one call at a time; others wait for long.
fn alone() -> PolicyConfig {
    PolicyConfig {
        bulkhead: Some(BulkheadConfig {
            limit: 1,
            ..BulkheadConfig::default()
        }),
        bulkhead_wait: 60 * SECOND,
        retry: retry(),
        ..PolicyConfig::default()
    }
}

fn guarded(config: PolicyConfig, mock: &Mock) -> (Policy<ErrIsFailure, TokioClock>, Guarded) {
    let policy = Policy::with_clock(config, TokioClock::new()).unwrap();
    let service = PolicyLayer::new(policy.clone()).layer(mock.clone());
    (policy, service)
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_keeps_no_permit_on_either_side_of_the_retry() {
    for order in [
        [Stage::Bulkhead, Stage::Retry],
        [Stage::Retry, Stage::Bulkhead],
    ] {
        let mock = Mock::new();
        let config = PolicyConfig {
            order: Some(order.to_vec()),
            ..alone()
        };
        let (policy, mut service) = guarded(config, &mock);
        let bulkhead = policy.bulkhead().unwrap();
        mock.set_ready(false);
        assert_eq!(ask(&mut service), Poll::Pending);
        assert_eq!(bulkhead.in_flight(), 1);
        mock.break_down();
        let broken = Err(Error::Inner(Fault::Broken));
        assert_eq!(ask(&mut service), Poll::Ready(broken));
        assert_eq!(bulkhead.in_flight(), 0, "though the service is still there");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_only_to_be_refused_keeps_no_permit_wherever_the_gates_stand() {
    for order in [
        [Stage::Bulkhead, Stage::Breaker, Stage::Retry],
        [Stage::Breaker, Stage::Retry, Stage::Bulkhead],
        [Stage::Retry, Stage::Bulkhead, Stage::Breaker],
    ] {
        let mock = Mock::new();
        let config = PolicyConfig {
            breaker: Some(breaker()),
            order: Some(order.to_vec()),
            ..alone()
        };
        let (policy, mut service) = guarded(config, &mock);
        let bulkhead = policy.bulkhead().unwrap();
        mock.set_ready(false);
        assert_eq!(ask(&mut service), Poll::Pending);
        assert_eq!(bulkhead.in_flight(), 1);
        let elsewhere = policy.breaker().unwrap().permit().unwrap();
        elsewhere.record(Outcome::Failure);
        assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
        assert_eq!(bulkhead.in_flight(), 0, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_waits_for_its_permit_no_longer_than_until_the_deadline() {
    let mock = Mock::new().answering([Answer::Bad]);
    let config = PolicyConfig {
        deadline: Some(5 * SECOND),
        ..alone()
    };
    let (policy, mut service) = guarded(config, &mock);
    ready(&mut service).await.unwrap();
    let began = Instant::now();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    let _other = policy.bulkhead().unwrap().try_enter().unwrap();
    let refused = call.await.unwrap_err();
    assert_eq!(refused.code(), Some(Rejection::DeadlineTooNear.code()));
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn time_that_was_used_up_waiting_for_the_service_is_no_failure_of_a_call() {
    let mock = Mock::new().answering([Answer::Bad]);
    let config = PolicyConfig {
        deadline: Some(5 * SECOND),
        retry: retry(),
        breaker: Some(breaker()),
        order: Some(vec![Stage::Deadline, Stage::Breaker, Stage::Retry]),
        ..PolicyConfig::default()
    };
    let (policy, mut service) = guarded(config, &mock);
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    mock.set_ready(false);
    assert_eq!(call.await, Err(Error::DeadlineExceeded));
    assert_eq!(mock.calls(), [1]);
    assert_eq!(policy.breaker().unwrap().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_service_does_not_make_a_call_slow() {
    let mock = Mock::new().answering([Answer::Bad]);
    let config = PolicyConfig {
        retry: retry(),
        breaker: Some(BreakerConfig {
            window: BreakerWindow::Calls(10),
            min_calls: 10,
            slow_call: Some(2 * SECOND),
            ..BreakerConfig::default()
        }),
        ..PolicyConfig::default()
    };
    let (policy, mut service) = guarded(config, &mock);
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    mock.set_ready(false);
    advance(SECOND).await;
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    advance(9 * SECOND).await;
    mock.set_ready(true);
    assert_eq!(call.await, Ok(1));
    mock.next(Answer::After(3 * SECOND));
    assert_eq!(service.oneshot(2).await, Ok(2));
    let seen = policy.breaker().unwrap().snapshot();
    assert_eq!((seen.calls, seen.slow), (3, 1));
}
