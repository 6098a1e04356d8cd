//! Breaker, bucket and bulkhead as layers, each by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use oneiric_resilience::layers::{
    BreakerLayer, BucketLayer, BulkheadLayer, Gated, InnerLayer, PolicyLayer, WithInner,
};
use oneiric_resilience::{
    BackoffConfig, BackoffJitter, Breaker, BreakerConfig, BreakerState, BreakerWindow, Bulkhead,
    BulkheadConfig, Deadline, DeadlineExceeded, ErrIsFailure, Error, Outcome, Policy, PolicyConfig,
    Rejection, TokenBucket, TokenBucketConfig, TokioClock,
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::mock::{Alarm, Answer, Fault, Mock, ask, poll, ready};

const SECOND: Duration = Duration::from_secs(1);

type Guarded = Gated<WithInner<Mock>, ErrIsFailure, TokioClock>;

fn rejection<T>(answer: Result<T, Error<Fault>>) -> Option<Rejection> {
    match answer {
        Err(Error::Rejected(rejected)) => Some(rejected.rejection()),
        _ => None,
    }
}

/// Opens after one failure, for a second; one probe at a time.
pub(super) fn breaker() -> Breaker<TokioClock> {
    let config = BreakerConfig {
        window: BreakerWindow::Consecutive(1),
        open: BackoffConfig {
            jitter: BackoffJitter::None,
            ..BackoffConfig::constant(SECOND)
        },
        probes: 1,
        ..BreakerConfig::default()
    };
    Breaker::with_clock(config, TokioClock::new()).unwrap()
}

pub(super) fn bulkhead(limit: u32, max_waiters: u32) -> Bulkhead<TokioClock> {
    let config = BulkheadConfig {
        limit,
        max_waiters,
        ..BulkheadConfig::default()
    };
    Bulkhead::with_clock(config, TokioClock::new()).unwrap()
}

/// One token a second, `capacity` of them to begin with.
pub(super) fn bucket(capacity: u32, max_waiters: u32) -> TokenBucket<TokioClock> {
    let config = TokenBucketConfig {
        capacity,
        refill_per_sec: 1.0,
        max_waiters,
    };
    TokenBucket::with_clock(config, TokioClock::new()).unwrap()
}

fn behind_breaker(breaker: &Breaker<TokioClock>, mock: &Mock) -> Guarded {
    ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(InnerLayer)
        .service(mock.clone())
}

fn behind_bulkhead(bulkhead: &Bulkhead<TokioClock>, mock: &Mock) -> Guarded {
    ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()))
        .layer(InnerLayer)
        .service(mock.clone())
}

fn behind_bucket(bucket: &TokenBucket<TokioClock>, mock: &Mock) -> Guarded {
    ServiceBuilder::new()
        .layer(BucketLayer::new(bucket.clone()))
        .layer(InnerLayer)
        .service(mock.clone())
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_responses_and_answers_at_once_while_it_is_open() {
    let (breaker, mock) = (breaker(), Mock::new().answering([Answer::Bad]));
    let service = behind_breaker(&breaker, &mock);
    let failed = service.clone().oneshot(1).await;
    assert_eq!(
        failed,
        Err(Error::Inner(Fault::Bad)),
        "the error that trips it"
    );
    assert_eq!(breaker.state(), BreakerState::Open);

    // Not even asked: a connection that hangs must keep nobody.
    mock.set_ready(false);
    let asked = mock.asked();
    let rejected = service.clone().oneshot(2).await.unwrap_err();
    assert_eq!(rejected.retry_after(), Some(SECOND));
    assert_eq!(rejection::<()>(Err(rejected)), Some(Rejection::BreakerOpen));
    assert_eq!((mock.asked(), mock.calls()), (asked, vec![1]));
    assert_eq!(breaker.snapshot().rejected, 1);

    mock.set_ready(true);
    tokio::time::advance(SECOND).await;
    assert_eq!(service.oneshot(3).await, Ok(3));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(mock.violations(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_ready_to_be_refused_is_refused_though_it_may_pass_by_then() {
    let (breaker, mock) = (breaker(), Mock::new().answering([Answer::Bad]));
    let mut service = behind_breaker(&breaker, &mock);
    assert!(service.clone().oneshot(1).await.is_err());
    mock.set_ready(false);
    assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
    tokio::time::advance(SECOND).await;
    assert_eq!(
        ask(&mut service),
        Poll::Ready(Ok(())),
        "what is ready stays ready"
    );
    let answer = service.call(2).await;
    assert_eq!(rejection(answer), Some(Rejection::BreakerOpen));
    // Now the inner service is waited for.
    assert_eq!(ask(&mut service), Poll::Pending);
    mock.set_ready(true);
    assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
    assert_eq!(service.call(3).await, Ok(3));
    assert_eq!((mock.violations(), mock.calls()), (0, vec![1, 3]));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_future_is_dropped_at_any_stage_gives_its_slot_back() {
    let (breaker, mock) = (breaker(), Mock::new().answering([Answer::Bad]));
    let mut service = behind_breaker(&breaker, &mock);
    assert!(service.clone().oneshot(1).await.is_err());
    tokio::time::advance(SECOND).await;

    // Ready, and dropped; called, and dropped; polled, and dropped.
    drop(service.clone().ready_oneshot().await.unwrap());
    ready(&mut service).await.unwrap();
    drop(service.call(2));
    mock.next(Answer::Hangs);
    ready(&mut service).await.unwrap();
    let mut probe = Box::pin(service.call(3));
    assert_eq!(poll(probe.as_mut()), Poll::Pending);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let second = service.clone().oneshot(4).await;
    assert_eq!(
        rejection(second),
        Some(Rejection::BreakerOpen),
        "one at a time"
    );
    drop(probe);
    assert_eq!(service.oneshot(5).await, Ok(5));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panic_counts_as_failure_wherever_it_is() {
    for answer in [Answer::Panics, Answer::PanicsAtOnce] {
        let (breaker, mock) = (breaker(), Mock::new().answering([answer]));
        let mut service = behind_breaker(&breaker, &mock);
        ready(&mut service).await.unwrap();
        let mut future = None;
        let made = catch_unwind(AssertUnwindSafe(|| {
            future = Some(Box::pin(service.call(1)));
            let future = future.as_mut().unwrap().as_mut();
            poll(future).is_ready()
        }));
        // The future itself goes later, when nothing panics any more.
        assert!(made.is_err());
        assert_eq!(breaker.state(), BreakerState::Open, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_because_something_else_panics_is_not_counted() {
    for polled in [false, true] {
        let (breaker, mock) = (breaker(), Mock::new().answering([Answer::Hangs]));
        let mut service = behind_breaker(&breaker, &mock);
        ready(&mut service).await.unwrap();
        let mut call = Box::pin(service.call(1));
        if polled {
            assert_eq!(poll(call.as_mut()), Poll::Pending);
        }
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _goes = call;
            panic!("elsewhere");
        }));
        assert!(panicked.is_err());
        assert_eq!(breaker.state(), BreakerState::Closed, "polled: {polled}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_would_come_after_the_deadline_around_is_not_waited_for() {
    let (bucket, mock) = (bucket(1, 10), Mock::new());
    let mut service = behind_bucket(&bucket, &mock);
    bucket.try_take(1).unwrap();
    let start = Instant::now();
    let by = Deadline::within(SECOND / 2);
    by.scope(ready(&mut service)).await.unwrap().unwrap();
    assert_eq!(
        (start.elapsed(), bucket.snapshot().waiting),
        (Duration::ZERO, 0)
    );
    let answer = service.call(1).await;
    assert_eq!(rejection(answer), Some(Rejection::DeadlineTooNear));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_looks_at_responses_as_well() {
    let (breaker, mock) = (breaker(), Mock::new());
    let odd_is_bad = |result: &Result<u32, Fault>| match result {
        Ok(n) if n % 2 == 0 => Outcome::Success,
        _ => Outcome::Failure,
    };
    let service = ServiceBuilder::new()
        .layer(BreakerLayer::new(breaker.clone()).classify(odd_is_bad))
        .layer(InnerLayer)
        .service(mock);
    assert_eq!(service.clone().oneshot(2).await, Ok(2));
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(service.oneshot(3).await, Ok(3));
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_reserved_by_who_was_asked_and_not_by_its_clones() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let mut service = behind_bulkhead(&bulkhead, &mock);
    assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
    assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
    assert_eq!(bulkhead.in_flight(), 1, "one, however often it is asked");
    let mut clone = service.clone();
    assert_eq!(ask(&mut clone), Poll::Pending);
    assert_eq!(bulkhead.waiting(), 1);

    let answer = service.call(1);
    assert_eq!(ask(&mut clone), Poll::Pending);
    assert_eq!(answer.await, Ok(1));
    assert_eq!(ask(&mut clone), Poll::Ready(Ok(())));
    drop(clone);
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn permits_and_places_come_back_whatever_is_dropped() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new().answering([Answer::Hangs]));
    let mut service = behind_bulkhead(&bulkhead, &mock);
    let free = || (bulkhead.in_flight(), bulkhead.waiting());

    // Ready and not called.
    ready(&mut service).await.unwrap();
    assert_eq!(free(), (1, 0));
    drop(service.clone());
    drop(std::mem::replace(
        &mut service,
        behind_bulkhead(&bulkhead, &mock),
    ));
    assert_eq!(free(), (0, 0));

    // Called and polled; another one waits, and is dropped.
    ready(&mut service).await.unwrap();
    let mut call = Box::pin(service.call(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    let mut waits = service.clone();
    assert_eq!(ask(&mut waits), Poll::Pending);
    assert_eq!(free(), (1, 1));
    drop(waits);
    assert_eq!(free(), (1, 0));
    drop(call);
    assert_eq!((free(), mock.running()), ((0, 0), 0));

    // Called and not polled.
    ready(&mut service).await.unwrap();
    drop(service.call(2));
    assert_eq!(free(), (0, 0));

    // Ready, and then the inner service breaks.
    ready(&mut service).await.unwrap();
    mock.break_down();
    assert_eq!(
        ask(&mut service),
        Poll::Ready(Err(Error::Inner(Fault::Broken)))
    );
    assert_eq!(free(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_permit_is_free_when_the_answer_is_there() {
    let (bulkhead, mock) = (bulkhead(1, 0), Mock::new());
    let mut service = behind_bulkhead(&bulkhead, &mock);
    ready(&mut service).await.unwrap();
    let mut answer = pin!(service.call(1));
    assert_eq!(poll(answer.as_mut()), Poll::Ready(Ok(1)));
    assert_eq!((bulkhead.in_flight(), mock.running()), (0, 0));
}

/// A call that ends at once, and keeps what it has until it is dropped.
struct Keeps {
    bulkhead: Bulkhead<TokioClock>,
    seen: Arc<AtomicU32>,
}

impl Future for Keeps {
    type Output = Result<u32, Fault>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(1))
    }
}

impl Drop for Keeps {
    fn drop(&mut self) {
        self.seen.store(self.bulkhead.in_flight(), Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_gone_before_its_permit_is_free() {
    let config = PolicyConfig {
        bulkhead: Some(BulkheadConfig::default()),
        ..PolicyConfig::default()
    };
    let policy = Policy::with_clock(config, TokioClock::new()).unwrap();
    for as_policy in [false, true] {
        let bulkhead = match as_policy {
            true => policy.bulkhead().unwrap().clone(),
            false => bulkhead(1, 0),
        };
        let seen = Arc::new(AtomicU32::new(7));
        let keeps = {
            let (bulkhead, seen) = (bulkhead.clone(), Arc::clone(&seen));
            tower::service_fn(move |_: u32| Keeps {
                bulkhead: bulkhead.clone(),
                seen: Arc::clone(&seen),
            })
        };
        let answered = if as_policy {
            let layer = PolicyLayer::new(policy.clone());
            let mut call = Box::pin(layer.layer(keeps).oneshot(1));
            poll(call.as_mut())
        } else {
            let layer = BulkheadLayer::new(bulkhead.clone());
            let mut call = Box::pin(layer.layer(InnerLayer.layer(keeps)).oneshot(1));
            poll(call.as_mut())
        };
        assert_eq!(answered, Poll::Ready(Ok(1)));
        assert_eq!(seen.load(Ordering::SeqCst), 1, "policy: {as_policy}");
        assert_eq!(bulkhead.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_permit_is_taken_before_the_inner_service_is_asked() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let holder = bulkhead.try_enter().unwrap();
    let alarm = Alarm::new();
    let mut service = behind_bulkhead(&bulkhead, &mock);
    let waker = alarm.waker();
    let mut cx = Context::from_waker(&waker);
    assert_eq!(service.poll_ready(&mut cx), Poll::Pending);
    assert_eq!((bulkhead.waiting(), mock.asked()), (1, 0));
    drop(holder);
    assert_eq!(alarm.rung(), 1);
    mock.set_ready(false);
    assert_eq!(service.poll_ready(&mut cx), Poll::Pending);
    assert_eq!((bulkhead.in_flight(), mock.asked()), (1, 1));
    mock.set_ready(true);
    assert_eq!(alarm.rung(), 1);
    assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Ok(())));
    assert_eq!(service.call(1).await, Ok(1));
    assert_eq!((bulkhead.in_flight(), mock.violations()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_in_the_order_of_asking() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let mut holder = behind_bulkhead(&bulkhead, &mock);
    ready(&mut holder).await.unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| (holder.clone(), Alarm::new())).collect();
    for (service, alarm) in &mut waiting {
        let waker = alarm.waker();
        let polled = service.poll_ready(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }
    drop(holder);
    for turn in 0..3 {
        let rung: Vec<u32> = waiting.iter().map(|(_, alarm)| alarm.rung()).collect();
        let mut expected = vec![0; 3 - turn];
        expected[0] = 1;
        assert_eq!(rung, expected);
        let (mut service, _) = waiting.remove(0);
        assert_eq!(ask(&mut service), Poll::Ready(Ok(())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_an_answer_and_not_a_broken_service() {
    let (bulkhead, mock) = (bulkhead(1, 1), Mock::new());
    let mut holder = behind_bulkhead(&bulkhead, &mock);
    ready(&mut holder).await.unwrap();
    let mut waits = holder.clone();
    assert_eq!(ask(&mut waits), Poll::Pending);

    let mut refused = holder.clone();
    assert_eq!(ask(&mut refused), Poll::Ready(Ok(())));
    assert_eq!(ask(&mut refused), Poll::Ready(Ok(())));
    let answer = refused.call(1).await;
    assert_eq!(rejection(answer), Some(Rejection::QueueFull));

    // Even where there is room by the time of the call: the inner service was not asked.
    assert_eq!(ask(&mut refused), Poll::Ready(Ok(())));
    drop(waits);
    drop(holder);
    let answer = refused.call(2).await;
    assert_eq!(rejection(answer), Some(Rejection::QueueFull));
    assert_eq!(ask(&mut refused), Poll::Ready(Ok(())));
    assert_eq!(refused.call(3).await, Ok(3));
    assert_eq!((mock.violations(), mock.calls()), (0, vec![3]));
}

#[tokio::test(start_paused = true)]
async fn a_wait_may_be_bounded() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let mut holder = behind_bulkhead(&bulkhead, &mock);
    ready(&mut holder).await.unwrap();
    let patient = ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()).max_wait(SECOND))
        .layer(InnerLayer)
        .service(mock.clone());
    let began = Instant::now();
    let answer = patient.clone().oneshot(1).await;
    assert_eq!(rejection(answer), Some(Rejection::DeadlineTooNear));
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(bulkhead.waiting(), 0);
    let ((), answer) = tokio::join!(
        async {
            tokio::time::sleep(SECOND / 2).await;
            drop(holder);
        },
        patient.oneshot(2)
    );
    assert_eq!(answer, Ok(2));
}

/// A service is asked by whoever has it: that one gave up waiting says nothing about the next.
#[tokio::test(start_paused = true)]
async fn a_deadline_of_one_who_asked_is_none_of_the_next_ones() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let held = bulkhead.try_enter_owned().unwrap();
    let mut service = ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()).max_wait(10 * SECOND))
        .layer(InnerLayer)
        .service(mock.clone());
    let hurried = Deadline::within(SECOND).scope(ready(&mut service)).await;
    assert_eq!(hurried, Err(DeadlineExceeded));
    assert_eq!(bulkhead.waiting(), 1, "it keeps its place");
    assert!(ask(&mut service).is_pending());
    drop(held);
    ready(&mut service).await.unwrap();
    assert_eq!(service.call(1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_sheds_reserves_nothing_and_answers_at_once() {
    let (bulkhead, mock) = (bulkhead(1, 10), Mock::new());
    let mut service = ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()).shed())
        .layer(InnerLayer)
        .service(mock.clone());
    ready(&mut service).await.unwrap();
    assert_eq!(bulkhead.in_flight(), 0);
    let first = service.call(1);
    assert_eq!(bulkhead.in_flight(), 1);
    ready(&mut service).await.unwrap();
    let second = service.call(2).await;
    assert_eq!(rejection(second), Some(Rejection::BulkheadFull));
    assert_eq!(first.await, Ok(1));
    assert_eq!(mock.calls(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_takes_a_permit_by_itself_if_there_is_one() {
    let (bulkhead, bucket, mock) = (bulkhead(1, 10), bucket(1, 10), Mock::new());
    let mut seats = behind_bulkhead(&bulkhead, &mock);
    let first = seats.call(1);
    assert_eq!(
        rejection(seats.call(2).await),
        Some(Rejection::BulkheadFull)
    );
    assert_eq!(first.await, Ok(1));
    // One that waits gives up its place for that.
    let mut holder = seats.clone();
    ready(&mut holder).await.unwrap();
    assert_eq!(ask(&mut seats), Poll::Pending);
    drop(holder);
    assert_eq!(seats.call(3).await, Ok(3));

    let mut tokens = behind_bucket(&bucket, &mock);
    assert_eq!(tokens.call(4).await, Ok(4));
    assert_eq!(
        rejection(tokens.call(5).await),
        Some(Rejection::RateLimited)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_waited_for_and_used_by_the_call() {
    let (bucket, mock) = (bucket(1, 10), Mock::new());
    let mut service = behind_bucket(&bucket, &mock);
    let began = Instant::now();
    for request in 0..3 {
        ready(&mut service).await.unwrap();
        assert_eq!(ask(&mut service), Poll::Ready(Ok(())), "one token, not two");
        assert_eq!(service.call(request).await, Ok(request));
    }
    assert_eq!(began.elapsed(), 2 * SECOND);

    // Who gives up waiting has taken nothing.
    assert_eq!(ask(&mut service), Poll::Pending);
    drop(service.clone());
    drop(service);
    tokio::time::advance(SECOND).await;
    assert!(bucket.try_take(1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_token_is_taken_before_the_inner_service_is_ready() {
    let (bucket, mock) = (bucket(1, 10), Mock::new());
    mock.set_ready(false);
    let mut service = behind_bucket(&bucket, &mock);
    assert_eq!(ask(&mut service), Poll::Pending);
    assert_eq!(bucket.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_refused_where_nobody_may_wait() {
    let (bucket, mock) = (bucket(1, 0), Mock::new());
    let service = behind_bucket(&bucket, &mock);
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    let full = service.oneshot(2).await;
    assert_eq!(rejection(full), Some(Rejection::QueueFull));
    let shedding = ServiceBuilder::new()
        .layer(BucketLayer::new(bucket).shed())
        .layer(InnerLayer)
        .service(mock);
    let refused = shedding.oneshot(3).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(SECOND));
    assert_eq!(rejection::<()>(Err(refused)), Some(Rejection::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn a_token_may_be_waited_for_within_bounds() {
    let (bucket, mock) = (bucket(1, 10), Mock::new());
    let service = ServiceBuilder::new()
        .layer(BucketLayer::new(bucket.clone()).max_wait(SECOND / 2))
        .layer(InnerLayer)
        .service(mock);
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    let late = service.clone().oneshot(2).await;
    assert_eq!(rejection(late), Some(Rejection::DeadlineTooNear));
    tokio::time::advance(SECOND / 2).await;
    assert_eq!(service.oneshot(3).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_asked_again_keeps_no_token_from_others_once_its_time_is_over() {
    let service = ServiceBuilder::new()
        .layer(BucketLayer::new(bucket(1, 10)).max_wait(2 * SECOND))
        .layer(InnerLayer)
        .service(Mock::new());
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    let mut kept = service.clone();
    assert!(ask(&mut kept).is_pending());
    tokio::time::advance(1_000 * SECOND).await;
    assert_eq!(service.oneshot(2).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_asked_again_keeps_no_permit_from_others_once_its_time_is_over() {
    let bulkhead = bulkhead(1, 10);
    let service = ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()).max_wait(2 * SECOND))
        .layer(InnerLayer)
        .service(Mock::new());
    let held = bulkhead.try_enter_owned().unwrap();
    let mut kept = service.clone();
    assert!(ask(&mut kept).is_pending());
    tokio::time::advance(1_000 * SECOND).await;
    drop(held);
    assert_eq!(service.oneshot(3).await, Ok(3));
    drop(kept);
    assert_eq!(bulkhead.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_given_up_at_a_deadline_keeps_no_permit_from_others() {
    for max_wait in [10 * SECOND, Duration::MAX] {
        let bulkhead = bulkhead(1, 10);
        let mut kept = ServiceBuilder::new()
            .layer(BulkheadLayer::new(bulkhead.clone()).max_wait(max_wait))
            .layer(InnerLayer)
            .service(Mock::new());
        let held = bulkhead.try_enter_owned().unwrap();
        let given_up = Deadline::within(SECOND).scope(ready(&mut kept)).await;
        assert_eq!(given_up, Err(DeadlineExceeded));
        drop(held);
        tokio::time::advance(SECOND).await;
        assert!(bulkhead.try_enter().is_ok());
        drop(kept);
        assert_eq!(bulkhead.in_flight(), 0);
    }
}
