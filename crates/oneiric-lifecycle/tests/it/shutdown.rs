//! Shutdown: everything goes, who uses before what is used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::Coded;

use crate::support::{Act, Lab, Script, slot, until};

const GRACE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn p19_dependents_are_retired_before_what_they_depend_on() {
    let lab = Lab::new(&[
        ("service/clock", "sys", 0, &[]),
        ("adapter/cache", "mem", 0, &["service/clock"]),
        ("service/web", "web", 0, &["adapter/cache", "service/clock"]),
    ]);
    lab.who("service/web").await;
    let report = lab.lifecycle.shutdown(GRACE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(lab.book.retirements(), ["web", "mem", "sys"]);
    assert_eq!(
        report.retired,
        ["service/web", "adapter/cache", "service/clock"].map(slot)
    );
    let error = lab.lifecycle.lease(&slot("service/web")).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.stopped");
}

#[tokio::test]
async fn p19_what_does_not_finish_in_time_is_reported_and_the_rest_is_retired() {
    let lab = Lab::new(&[
        ("service/clock", "sys", 0, &[]),
        ("service/web", "web", 0, &[]),
    ]);
    lab.book.script(
        "web",
        Script {
            retire: Act::Hang,
            ..Script::default()
        },
    );
    lab.who("service/clock").await;
    lab.who("service/web").await;
    let report = lab.lifecycle.shutdown(Duration::from_millis(1)).await;
    let late: Vec<&str> = report
        .unfinished
        .iter()
        .map(|unfinished| unfinished.slot.as_str())
        .collect();
    assert!(late.contains(&"service/web"), "{report:?}");
    until(|| {
        lab.book
            .all()
            .iter()
            .all(|record| record.retired.load(Ordering::SeqCst) == 1)
    })
    .await;
}

#[tokio::test]
async fn p19_work_in_flight_finishes_before_its_instance_goes() {
    let lab = Lab::new(&[("service/web", "web", 0, &[])]);
    let lease = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let shutdown = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.shutdown(GRACE).await }
    });
    let refused = || lab.lifecycle.slot(&slot("service/web")).lease().is_err();
    until(refused).await;
    assert_eq!(lab.book.retirements(), [] as [&str; 0]);
    drop(lease);
    assert!(shutdown.await.unwrap().is_clean());
    assert_eq!(lab.book.retirements(), ["web"]);
}

#[tokio::test]
async fn p19_an_activation_under_way_is_taken_back() {
    let lab = Lab::new(&[("service/web", "web", 0, &[])]);
    let (build, gate) = Act::gate();
    lab.book.script(
        "web",
        Script {
            build,
            ..Script::default()
        },
    );
    let activation = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move {
            lifecycle
                .activate(&slot("service/web"))
                .await
                .unwrap_err()
                .code()
        }
    });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 1).await;
    let shutdown = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.shutdown(GRACE).await }
    });
    let stopping = || {
        let lease = lab.lifecycle.slot(&slot("service/web")).lease();
        lease.unwrap_err().code() == "lifecycle.stopped"
    };
    until(stopping).await;
    gate.add_permits(1);
    assert_eq!(activation.await.unwrap(), "lifecycle.stopped");
    assert!(shutdown.await.unwrap().is_clean());
    assert_eq!(
        lab.book.all()[0].retired.load(Ordering::SeqCst),
        1,
        "taken back"
    );
}
