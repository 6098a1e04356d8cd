//! Leases, live references, activity, events: what callers and onlookers see.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use oneiric_core::Coded;
use oneiric_lifecycle::{
    ActivityRule, CallError, FacetProxy, Happening, LifecycleError, Outcome, Payload, Streamed,
    SwapEvent, SwapRequest,
};

use crate::support::{Act, CACHE, Lab, Named, Script, provider, slot};

#[tokio::test]
async fn a_panic_in_a_call_is_that_calls_error_and_counts_as_a_failure() {
    let lab = Lab::pair();
    lab.book.script(
        "a",
        Script {
            call: Act::Panic,
            ..Script::default()
        },
    );
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let error = lease.invoke("who", Payload::empty()).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.panicked");
    let counts = lab.lifecycle.status(&slot(CACHE)).unwrap().calls;
    assert_eq!((counts.succeeded, counts.failed), (0, 1));
    let error = lease
        .invoke("nonsense", Payload::empty())
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::UnknownOperation { .. }));
    let counts = lab.lifecycle.status(&slot(CACHE)).unwrap().calls;
    assert_eq!(
        counts.failed, 1,
        "a caller's mistake is not the component's failure"
    );
}

#[derive(Debug)]
enum OwnError {
    Lifecycle(LifecycleError),
    Own,
}

impl From<LifecycleError> for OwnError {
    fn from(error: LifecycleError) -> Self {
        Self::Lifecycle(error)
    }
}

#[tokio::test]
async fn a_live_reference_follows_swaps_and_records_how_calls_end() {
    let lab = Lab::pair();
    let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
    let name = |live: &oneiric_lifecycle::Live<dyn Named>| {
        let live = live.clone();
        async move { live.call(async |part| Ok::<_, OwnError>(part.name())).await }
    };
    assert_eq!(name(&live).await.unwrap(), "a");
    lab.lifecycle
        .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
        .await
        .unwrap();
    assert_eq!(name(&live).await.unwrap(), "b");
    let failed = live.call(async |_| Err::<(), _>(OwnError::Own)).await;
    assert!(matches!(failed, Err(OwnError::Own)));
    let mine = live
        .call_judged(async |_| Err::<(), _>(OwnError::Own), |_| None)
        .await;
    assert!(matches!(mine, Err(OwnError::Own)), "does not count");
    let panicked = live
        .call(async |_| -> Result<(), OwnError> { panic!("mine") })
        .await;
    let Err(OwnError::Lifecycle(error)) = panicked else {
        panic!("{panicked:?}")
    };
    assert_eq!(error.code(), "lifecycle.panicked");
    let counts = lab.lifecycle.status(&slot(CACHE)).unwrap().calls;
    assert_eq!((counts.succeeded, counts.failed), (2, 2));
}

#[tokio::test]
async fn a_live_call_can_be_spawned() {
    let lab = Lab::pair();
    let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
    let call = tokio::spawn(async move {
        live.call(|part| async move {
            tokio::task::yield_now().await;
            Ok::<_, LifecycleError>(part.name())
        })
        .await
    });
    assert_eq!(call.await.unwrap().unwrap(), "a");
}

#[tokio::test]
async fn a_paused_slot_refuses_leases_with_its_why_and_can_still_be_swapped() {
    let lab = Lab::pair();
    let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
    drop(live.ready().await.unwrap());
    let pause = ActivityRule::pause(slot(CACHE))
        .note("moving house")
        .who("ada");
    lab.lifecycle
        .set_activity(
            pause
                .since(UNIX_EPOCH)
                .until(UNIX_EPOCH + Duration::from_secs(3_600)),
        )
        .unwrap();
    let error = live.lease().unwrap_err();
    assert_eq!(error.code(), "lifecycle.busy");
    assert_eq!(
        error.to_string(),
        "adapter/cache is paused by ada since 1970-01-01T00:00:00Z: moving house; until \
         1970-01-01T01:00:00Z"
    );
    let report = lab
        .lifecycle
        .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
        .await;
    assert!(report.unwrap().serves());
    assert!(live.lease().is_err(), "a swap does not resume");
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    assert_eq!(live.lease().unwrap().name(), "b");
}

#[tokio::test]
async fn a_facet_the_instance_lacks_is_an_error_with_its_name() {
    let lab = Lab::pair();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    assert!(lease.get::<dyn Named>().is_some());
    let error = lease
        .typed::<dyn std::fmt::Debug + Send + Sync>()
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.facet_missing");
}

#[tokio::test]
async fn each_way_a_call_or_a_lease_fails_has_its_code() {
    let lab = Lab::pair();
    let handle = lab.lifecycle.slot(&slot(CACHE));
    assert_eq!(handle.lease().unwrap_err().code(), "lifecycle.not_active");
    assert_eq!(
        lab.lifecycle.probe(&slot(CACHE)).await.unwrap_err().code(),
        "lifecycle.not_active"
    );
    lab.book.script(
        "a",
        Script {
            call: Act::Fail,
            ..Script::default()
        },
    );
    let error = handle
        .ready()
        .await
        .unwrap()
        .invoke("who", Payload::empty())
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("lifecycle.call_failed", "call told to fail".into())
    );
    assert_eq!(
        CallError::unavailable("busy").code(),
        "lifecycle.call_unavailable"
    );
}

/// Greets over `Invoke` alone.
struct NamedOverInvoke(Arc<dyn oneiric_lifecycle::Invoke>);

impl Named for NamedOverInvoke {
    fn name(&self) -> String {
        let operations = self.0.operations();
        operations
            .iter()
            .map(|operation| operation.name.as_ref())
            .collect()
    }
}

#[tokio::test]
async fn an_instance_that_only_speaks_invoke_gets_the_facets_whose_operations_it_answers() {
    let candidates: [(&str, &str, i64, &[&str]); 1] = [(CACHE, "a", 2, &[])];
    let lab = Lab::with(&candidates, |builder| {
        builder
            .proxy(FacetProxy::new::<dyn Named>(["who"], |invoke| {
                Arc::new(NamedOverInvoke(invoke))
            }))
            .proxy(FacetProxy::new::<str>(["fly"], |_| Arc::from("never")))
    });
    lab.book.script(
        "a",
        Script {
            without_facet: true,
            ..Script::default()
        },
    );
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    assert_eq!(lease.get::<dyn Named>().unwrap().name(), "who");
    assert!(lease.get::<str>().is_none(), "it does not answer `fly`");
}

#[tokio::test(flavor = "current_thread")]
async fn callers_that_never_wait_leave_a_swap_its_turn() {
    let lab = Lab::pair();
    let handle = lab.lifecycle.slot(&slot(CACHE));
    drop(handle.ready().await.unwrap());
    // On the only thread there is, for as long as `a` serves.
    let callers = tokio::spawn(async move {
        while handle.lease().unwrap().provider().as_str() == "a" {
            handle
                .lease()
                .unwrap()
                .invoke("who", Payload::empty())
                .await
                .unwrap();
        }
    });
    lab.lifecycle
        .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
        .await
        .unwrap();
    callers.await.unwrap();
}

#[tokio::test]
async fn observers_see_a_swap_step_by_step_in_order() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| {
        let seen = Arc::clone(&seen);
        builder.observer(move |event: &SwapEvent| {
            let json = serde_json::to_value(event).unwrap();
            seen.lock()
                .unwrap()
                .push(json["event"].as_str().unwrap().to_owned());
        })
    });
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    lab.lifecycle
        .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
        .await
        .unwrap();
    let first = ["building", "probed", "published"];
    let second = ["building", "probed", "published", "retired"];
    assert_eq!(
        *seen.lock().unwrap(),
        [first.as_slice(), second.as_slice()].concat()
    );
}

#[tokio::test]
async fn an_observer_or_a_settings_source_that_panics_leaves_no_slot_stuck() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| {
        builder
            .observer(|_: &SwapEvent| panic!("looking away"))
            .settings(
                |_: &oneiric_core::Slot, of: &oneiric_core::Provider| match of.as_str() {
                    "b" => panic!("no settings today"),
                    _ => None,
                },
            )
    });
    assert_eq!(lab.who(CACHE).await, "a");
    let to_b = SwapRequest::to_provider(slot(CACHE), provider("b"));
    let report = lab.lifecycle.swap(to_b).await.unwrap();
    let Outcome::RolledBack { failure } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(failure.code, "lifecycle.panicked");
    let again = SwapRequest::to_winner(slot(CACHE)).rebuild(true);
    assert_eq!(
        lab.lifecycle.swap(again).await.unwrap().outcome,
        Outcome::Swapped
    );
}

#[tokio::test]
async fn a_stream_that_is_not_read_reports_how_much_it_missed() {
    let lab = Lab::pair();
    let mut stream = lab.lifecycle.events();
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let Some(Streamed::Event(event)) = stream.next().await else {
        panic!("no event")
    };
    assert!(matches!(event.what, Happening::Building { .. }));
    for _ in 0..2_000 {
        lab.lifecycle
            .set_activity(ActivityRule::resume(slot(CACHE)))
            .unwrap();
    }
    let Some(Streamed::Missed(missed)) = stream.next().await else {
        panic!("nothing missed")
    };
    // Two of the activation's three events were unread, and 1,024 are kept.
    assert_eq!(missed, 2 + 2_000 - 1_024);
}
