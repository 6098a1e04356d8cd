//! The clock facet through its operation, and back through its proxy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oneiric_core::{BoxFuture, Coded};
use oneiric_domains::{Clock, ClockInvoke, ClockProxy, clock_instance};
use oneiric_lifecycle::{CallError, Invoke, Payload};
use serde_json::{Value, json};

use crate::support::{Standing, lifecycle};

fn at(unix_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)
}

#[tokio::test]
async fn now_is_told_to_machines_and_to_people() {
    let clock = ClockInvoke::new(Arc::new(Standing(at(1_763_815_118_042))));
    let now = clock.invoke("now", Payload::empty()).await.unwrap();
    let told = json!({"unix_ms": 1_763_815_118_042_i64, "rfc3339": "2025-11-22T12:38:38.042Z"});
    assert_eq!(now, Payload::Json(told));
    let error = clock.invoke("later", Payload::empty()).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.unknown_operation");
}

#[tokio::test]
async fn a_proxy_tells_the_same_time_to_the_millisecond() {
    for time in [
        at(0),
        at(1_763_815_118_042),
        SystemTime::UNIX_EPOCH - Duration::from_millis(1),
    ] {
        let proxy = ClockProxy::new(Arc::new(ClockInvoke::new(Arc::new(Standing(time)))));
        assert_eq!(proxy.now().await.unwrap(), time);
    }
}

struct Says(Value);

impl Invoke for Says {
    fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async { Ok(self.0.clone().into()) })
    }
}

#[tokio::test]
async fn a_component_that_tells_no_time_is_an_error() {
    for nonsense in [
        json!(null),
        json!("noon"),
        json!({"unix_ms": 1.5}),
        json!({}),
    ] {
        let error = ClockProxy::new(Arc::new(Says(nonsense)))
            .now()
            .await
            .unwrap_err();
        assert_eq!(error.code(), "lifecycle.invalid_payload");
    }
}

#[tokio::test]
async fn a_live_clock_is_a_clock_as_long_as_there_is_a_lifecycle() {
    let lifecycle = lifecycle(&[("service/clock", "standing", || {
        clock_instance(Arc::new(Standing(at(7))))
    })]);
    let lifecycle = lifecycle.build();
    let clock: Arc<dyn Clock> =
        Arc::new(lifecycle.live::<dyn Clock>(&"service/clock".parse().unwrap()));
    assert_eq!(clock.now().await.unwrap(), at(7));
    lifecycle.shutdown(Duration::from_secs(60)).await;
    let error = clock.now().await.unwrap_err();
    assert!(
        error.to_string().contains("service/clock is shut down"),
        "{error}"
    );
}
