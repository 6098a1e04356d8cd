//! What bucket and bulkhead count as refused where services ask them: each call once, whether it was
//! refused when its service waited to be ready or when it was made.

use std::task::Poll;
use std::time::Duration;

use oneiric_resilience::layers::{BucketLayer, BulkheadLayer, InnerLayer, PolicyLayer};
use oneiric_resilience::{Error, Policy, PolicyConfig, RetryConfig, TokioClock};
use tower::{Layer, Service, ServiceBuilder};

use super::gates::{bucket, bulkhead};
use super::mock::{Answer, Fault, Mock, ask, poll, ready};

const SECOND: Duration = Duration::from_secs(1);

/// Makes a call as soon as the service is ready, and says whether it was refused.
async fn is_refused<S>(service: &mut S) -> bool
where
    S: Service<u32, Response = u32, Error = Error<Fault>>,
{
    ready(service).await.unwrap();
    match service.call(1).await {
        Ok(_) => false,
        Err(Error::Rejected(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_counts_each_call_that_it_refused_once() {
    for waits in [false, true] {
        let bucket = bucket(1, 10);
        let rejected = || bucket.snapshot().rejected;
        let layer = BucketLayer::new(bucket.clone());
        let mut service = ServiceBuilder::new()
            .layer(layer.max_wait(if waits { SECOND } else { Duration::ZERO }))
            .layer(InnerLayer)
            .service(Mock::new());
        assert!(!is_refused(&mut service).await);
        if waits {
            assert!(!is_refused(&mut service).await, "after a second");
        }
        assert_eq!(rejected(), 0);
        bucket.set_rate(1, 0.001).unwrap();
        assert!(is_refused(&mut service).await);
        assert_eq!(rejected(), 1);
        assert!(is_refused(&mut service).await);
        assert_eq!(rejected(), 2);

        // Given up.
        bucket.set_rate(1, 1.0).unwrap();
        if waits {
            assert_eq!(ask(&mut service), Poll::Pending);
        }
        drop(service);
        assert_eq!(rejected(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_counts_each_call_that_it_refused_once() {
    for max_wait in [Duration::ZERO, SECOND] {
        let bulkhead = bulkhead(1, 10);
        let rejected = || bulkhead.snapshot().rejected;
        let layer = BulkheadLayer::new(bulkhead.clone());
        let mut service = ServiceBuilder::new()
            .layer(layer.max_wait(max_wait))
            .layer(InnerLayer)
            .service(Mock::new());
        assert!(!is_refused(&mut service).await);
        assert_eq!(rejected(), 0);
        let inside = bulkhead.try_enter().unwrap();
        assert!(is_refused(&mut service).await);
        assert_eq!(rejected(), 1);
        assert!(is_refused(&mut service).await);
        assert_eq!(rejected(), 2);

        // Ready or not, and given up.
        let waits = !max_wait.is_zero();
        assert_eq!(ask(&mut service).is_pending(), waits);
        drop(service);
        assert_eq!(rejected(), 2);
        drop(inside);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bulkhead_of_a_policy_counts_each_attempt_that_it_refused_once() {
    // Who has waited in vain is not tried again.
    for (bulkhead_wait, attempts) in [(Duration::ZERO, 3), (SECOND, 1)] {
        let bulkhead = bulkhead(1, 10);
        let config = PolicyConfig {
            retry: Some(RetryConfig {
                attempts: 3,
                ..RetryConfig::default()
            }),
            retry_rejected: true,
            bulkhead_wait,
            ..PolicyConfig::default()
        };
        let policy = Policy::builder_with_clock(config, TokioClock::new());
        let policy = policy.bulkhead(&bulkhead).build().unwrap();
        let mock = Mock::new().answering([Answer::Bad]);
        let mut service = PolicyLayer::new(policy).layer(mock);
        let inside = bulkhead.try_enter().unwrap();
        ready(&mut service).await.unwrap();
        let refused = service.call(1).await;
        assert!(matches!(refused, Err(Error::Rejected(_))));
        assert_eq!(bulkhead.snapshot().rejected, attempts);
        drop(inside);

        // Only the attempts after the first are refused.
        ready(&mut service).await.unwrap();
        let mut call = Box::pin(service.call(2));
        assert_eq!(poll(call.as_mut()), Poll::Pending);
        let inside = bulkhead.try_enter().unwrap();
        assert!(matches!(call.await, Err(Error::Rejected(_))));
        let more = attempts.min(2);
        assert_eq!(bulkhead.snapshot().rejected, attempts + more);
        drop(inside);
    }
}
