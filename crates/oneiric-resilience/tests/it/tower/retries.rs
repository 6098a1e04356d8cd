//! The retry as a layer.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use oneiric_resilience::layers::{BucketLayer, BulkheadLayer, InnerLayer, RetryLayer};
use oneiric_resilience::{
    BackoffConfig, BackoffJitter, Deadline, Error, GiveUp, Outcome, Rejection, Retry, RetryBudget,
    RetryBudgetConfig, RetryConfig, RetryEvent, RetryStep,
};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};

use super::gates::{bucket, bulkhead};
use super::mock::{Answer, Fault, Mock, ask, poll, ready};

const SECOND: Duration = Duration::from_secs(1);

/// Waits a second between attempts.
pub(super) fn config(attempts: u32) -> RetryConfig {
    RetryConfig {
        attempts,
        backoff: BackoffConfig {
            jitter: BackoffJitter::None,
            ..BackoffConfig::constant(SECOND)
        },
        ..RetryConfig::default()
    }
}

pub(super) fn retry(attempts: u32) -> Retry {
    Retry::new(config(attempts)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_waits_for_its_own_readiness_and_the_ready_one_is_used_first() {
    let mock = Mock::new().answering([Answer::Bad, Answer::Bad]);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(3)))
        .layer(InnerLayer)
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    assert_eq!(mock.asked(), 1);
    let began = Instant::now();
    let mut call = Box::pin(service.call(7));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!((mock.calls(), mock.asked()), (vec![7], 1));

    mock.set_ready(false);
    let release = async {
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(mock.calls(), [7], "the wait is over, the service not ready");
        mock.set_ready(true);
    };
    let (answer, ()) = tokio::join!(call, release);
    assert_eq!(answer, Ok(7));
    assert_eq!(began.elapsed(), 4 * SECOND);
    assert_eq!((mock.calls(), mock.violations()), (vec![7; 3], 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_error_is_told_as_itself() {
    let mock = Mock::new().answering([Answer::Bad; 3]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(3)))
        .layer(InnerLayer)
        .service(mock.clone());
    assert_eq!(service.oneshot(1).await, Err(Error::Inner(Fault::Bad)));
    assert_eq!(mock.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_between_attempts_ends_them() {
    let mock = Mock::new().answering([Answer::Bad; 3]);
    let told = Arc::<Mutex<Vec<_>>>::default();
    let steps = Arc::clone(&told);
    let hook = move |event: &RetryEvent<'_, Fault>| {
        let step = (event.attempt, event.outcome, event.step);
        steps.lock().unwrap().push(step);
    };
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(3).hook(hook)))
        .layer(InnerLayer)
        .service(mock.clone());
    let breaks = async {
        tokio::time::sleep(SECOND / 2).await;
        mock.break_down();
    };
    let (answer, ()) = tokio::join!(service.oneshot(1), breaks);
    assert_eq!(answer, Err(Error::Inner(Fault::Broken)));
    assert_eq!(mock.calls().len(), 1);
    let told = told.lock().unwrap();
    assert!(matches!(told[0], (1, Outcome::Failure, RetryStep::Wait(_))));
    assert_eq!(told[1..], [(2, Outcome::Ignored, RetryStep::Done)]);
}

#[tokio::test(start_paused = true)]
async fn values_are_classified_and_permanent_failures_are_not_repeated() {
    let mock = Mock::new();
    let by_value = |result: &Result<u32, Fault>| match result {
        Ok(503) => Outcome::Failure,
        Ok(400) => Outcome::Permanent,
        Ok(429) => Outcome::Overloaded {
            retry_after: 5 * SECOND,
        },
        _ => Outcome::Success,
    };
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2).classify(by_value)))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    for (request, attempts, took) in [(200, 1, 0), (400, 1, 0), (503, 2, 1), (429, 2, 7)] {
        let before = mock.calls().len();
        assert_eq!(service.clone().oneshot(request).await, Ok(request));
        assert_eq!(mock.calls().len() - before, attempts, "{request}");
        assert_eq!(began.elapsed(), took * SECOND, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_is_not_repeated() {
    let told = Arc::new(Mutex::new(vec![]));
    let steps = Arc::clone(&told);
    let hook = move |event: &RetryEvent<'_, Fault>| steps.lock().unwrap().push(event.step);
    let mock = Mock::new().answering([Answer::Bad; 3]);
    let even = |request: &u32| request.is_multiple_of(2).then_some(*request);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2).hook(hook)).copy(even))
        .layer(InnerLayer)
        .service(mock.clone());
    let odd = service.clone().oneshot(1).await;
    assert_eq!(
        (odd, mock.calls()),
        (Err(Error::Inner(Fault::Bad)), vec![1])
    );
    assert_eq!(
        *told.lock().unwrap(),
        [RetryStep::GiveUp(GiveUp::NotRepeatable)]
    );
    assert!(service.oneshot(2).await.is_err());
    assert_eq!(mock.calls(), [1, 2, 2]);
    assert_eq!(
        told.lock().unwrap()[1..],
        [RetryStep::Wait(SECOND), RetryStep::GiveUp(GiveUp::Attempts)]
    );
}

/// Counts its clones.
#[derive(Debug)]
struct Request(Arc<()>);

impl Clone for Request {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_cloned_only_for_an_attempt_that_may_follow() {
    let seen = Arc::new(Mutex::new(vec![]));
    let counts = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request| {
        counts.lock().unwrap().push(Arc::strong_count(&request.0));
        std::future::ready(Err::<(), _>(Fault::Bad))
    });
    for (attempts, clones) in [(3, vec![2, 2, 1]), (1, vec![1])] {
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new(retry(attempts)))
            .layer(InnerLayer)
            .service(service.clone());
        assert!(service.oneshot(Request(Arc::default())).await.is_err());
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), clones);
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_retry_is_spent_once_its_attempt_has_begun() {
    let budget = RetryBudget::new(RetryBudgetConfig {
        capacity: 1,
        ratio: 0.0,
        min_per_sec: 0.0,
    })
    .unwrap();
    let mock = Mock::new().answering([Answer::Bad, Answer::Hangs, Answer::Bad]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2).with_budget(budget)))
        .layer(InnerLayer)
        .service(mock.clone());
    let mut call = Box::pin(service.clone().oneshot(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    tokio::time::advance(SECOND).await;
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!(mock.running(), 1);
    drop(call);
    assert!(service.oneshot(2).await.is_err());
    assert_eq!(mock.calls(), [1, 1, 2], "the budget is empty");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_whole_of_its_limit_and_no_more() {
    let limit = 2 * SECOND;
    let limited = RetryConfig {
        attempt_limit: Some(limit),
        ..config(3)
    };
    let mock = Mock::new().answering([Answer::Hangs; 3]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retry::new(limited).unwrap()))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    let answer = Deadline::within(60 * SECOND).scope(service.oneshot(1));
    assert_eq!(answer.await, Ok(Err(Error::TimedOut { limit })));
    assert_eq!(began.elapsed(), 3 * limit + 2 * SECOND);
    assert_eq!((mock.calls().len(), mock.running()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn between_attempts_no_permit_is_held() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new().answering([Answer::Bad]));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2)))
        .layer(BulkheadLayer::new(bulkhead.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    let looks = async {
        tokio::time::sleep(SECOND / 2).await;
        assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
    };
    let (answer, ()) = tokio::join!(service.oneshot(1), looks);
    assert_eq!(answer, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_between_attempts_leaves_nothing_behind() {
    let budget = RetryBudget::new(RetryBudgetConfig {
        capacity: 1,
        ratio: 0.0,
        min_per_sec: 0.0,
    })
    .unwrap();
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new().answering([Answer::Bad; 9]));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(2).with_budget(budget.clone())))
        .layer(BulkheadLayer::new(bulkhead.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    // While it waits for the next attempt, while that waits for its turn, and while it runs.
    let mut call = Box::pin(service.clone().oneshot(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    drop(call);
    let mut call = Box::pin(service.clone().oneshot(2));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    let permit = bulkhead.try_enter_owned().unwrap();
    tokio::time::advance(SECOND).await;
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!(bulkhead.waiting(), 1);
    drop(call);
    drop(permit);
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));

    // Both tokens went back; this one is spent.
    assert!(service.clone().oneshot(3).await.is_err());
    assert_eq!(mock.calls(), [1, 2, 3, 3]);
    assert!(service.oneshot(4).await.is_err());
    assert_eq!(mock.calls(), [1, 2, 3, 3, 4], "the budget is empty");
}

#[tokio::test(start_paused = true)]
async fn rejections_are_repeated_only_if_asked_for() {
    let (bucket, mock) = (bucket(1, 10), Mock::new());
    let stack = |layer: RetryLayer| {
        ServiceBuilder::new()
            .layer(layer)
            .layer(BucketLayer::new(bucket.clone()).shed())
            .layer(InnerLayer)
            .service(mock.clone())
    };
    let layer = RetryLayer::new(retry(2));
    assert_eq!(stack(layer.clone()).oneshot(1).await, Ok(1));
    let rejected = stack(layer.clone()).oneshot(2).await.unwrap_err();
    assert_eq!(rejected.code(), Some(Rejection::RateLimited.code()));

    // After the wait that the bucket names, and the backoff's on top.
    let began = Instant::now();
    assert_eq!(stack(layer.retry_rejected()).oneshot(3).await, Ok(3));
    assert_eq!(began.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_and_all_of_them_may_be_limited() {
    let limits = RetryConfig {
        attempt_limit: Some(2 * SECOND),
        total_limit: Some(4 * SECOND),
        ..config(9)
    };
    let told = Arc::new(Mutex::new(vec![]));
    let steps = Arc::clone(&told);
    let hook = move |event: &RetryEvent<'_, Fault>| steps.lock().unwrap().push(event.step);
    let mock = Mock::new().answering([Answer::Hangs; 9]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retry::new(limits).unwrap().hook(hook)))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    let answer = service.clone().oneshot(1).await;
    assert_eq!(answer, Err(Error::DeadlineExceeded));
    assert_eq!((began.elapsed(), mock.running()), (4 * SECOND, 0));
    assert_eq!(mock.calls().len(), 2);
    assert_eq!(
        *told.lock().unwrap(),
        [
            RetryStep::Wait(SECOND),
            RetryStep::GiveUp(GiveUp::OutOfTime)
        ]
    );

    // The attempt's own limit is told, where no time is left for another one.
    let around = Deadline::within(3 * SECOND);
    let answer = around.scope(service.clone().oneshot(2)).await;
    let limit = 2 * SECOND;
    assert_eq!(answer, Ok(Err(Error::TimedOut { limit })));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_gone_when_anybody_is_told() {
    let seats = bulkhead(1, 0);
    let (seen, inside) = (Arc::new(Mutex::new(vec![])), seats.clone());
    let told = Arc::clone(&seen);
    let hook = move |_: &RetryEvent<'_, Fault>| told.lock().unwrap().push(inside.in_flight());
    let mock = Mock::new().answering([Answer::Bad, Answer::Hangs]);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(3).hook(hook)))
        .layer(BulkheadLayer::new(seats.clone()))
        .layer(InnerLayer)
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    let deadline = Deadline::within(SECOND * 3 / 2);
    let mut call = std::pin::pin!(deadline.scope(service.call(1)));
    assert_eq!(call.as_mut().await, Ok(Err(Error::DeadlineExceeded)));
    // Though the future is still there.
    assert_eq!((seats.in_flight(), mock.running()), (0, 0));
    assert_eq!(*seen.lock().unwrap(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_that_the_deadline_leaves_no_time_for() {
    let mock = Mock::new().answering([Answer::Bad; 9]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(9)))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    let deadline = Deadline::within(SECOND * 5 / 2);
    let answer = deadline.scope(service.clone().oneshot(1)).await;
    assert_eq!(answer, Ok(Err(Error::Inner(Fault::Bad))));
    assert_eq!((began.elapsed(), mock.calls().len()), (2 * SECOND, 3));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_readiness_ends_with_the_time_for_all() {
    let limits = RetryConfig {
        total_limit: Some(4 * SECOND),
        ..config(9)
    };
    let mock = Mock::new().answering([Answer::Bad; 9]);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retry::new(limits).unwrap()))
        .layer(InnerLayer)
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    mock.set_ready(false);
    let began = Instant::now();
    assert_eq!(service.call(1).await, Err(Error::DeadlineExceeded));
    assert_eq!(began.elapsed(), 4 * SECOND);
    assert_eq!(ask(&mut service), Poll::Pending);
}

#[tokio::test(start_paused = true)]
async fn no_wait_at_all_is_none_but_lets_others_go_first() {
    let at_once = RetryConfig {
        backoff: BackoffConfig::constant(Duration::ZERO),
        ..config(3)
    };
    let mock = Mock::new().answering([Answer::Bad; 2]);
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(Retry::new(at_once).unwrap()))
        .layer(InnerLayer)
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!(mock.calls().len(), 1);
    let began = Instant::now();
    assert_eq!(call.await, Ok(1));
    assert_eq!(began.elapsed(), Duration::ZERO);
}
