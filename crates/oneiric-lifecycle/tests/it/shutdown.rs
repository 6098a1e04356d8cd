//! Shutdown: everything goes, who uses before what is used.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{ActivityRule, Limits, SwapRequest};

use crate::support::{Act, Lab, Script, provider, slot, soon, until};

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

/// Limits that only the grace period can cut short.
fn patient() -> Limits {
    let hour = 3_600_000;
    let limits = serde_json::json!({
        "activation_ms": hour, "probe_ms": hour, "drain_ms": hour, "retire_ms": hour,
    });
    serde_json::from_value(limits).unwrap()
}

#[tokio::test]
async fn p19_the_grace_period_ends_what_hangs_reports_it_and_retires_the_rest() {
    let candidates: [(&str, &str, i64, &[&str]); 4] = [
        ("service/clock", "sys", 0, &[]),
        ("service/web", "web", 0, &[]),
        ("service/slow", "slow", 0, &[]),
        ("service/late", "late", 0, &[]),
    ];
    let lab = Lab::with(&candidates, |builder| builder.limits(patient()));
    lab.book.script(
        "web",
        Script {
            retire: Act::Hang,
            ..Script::default()
        },
    );
    for name in ["service/clock", "service/web", "service/slow"] {
        lab.who(name).await;
    }
    // One that cannot retire, one with a call that does not end, one that is still being built by a
    // factory that blocks its thread.
    let lease = lab.lifecycle.lease(&slot("service/slow")).await.unwrap();
    let (build, open) = Act::thread_gate();
    lab.book.script(
        "late",
        Script {
            build,
            ..Script::default()
        },
    );
    let building = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move {
            lifecycle
                .activate(&slot("service/late"))
                .await
                .unwrap_err()
                .code()
        }
    });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 4).await;
    let report = soon(lab.lifecycle.shutdown(Duration::from_millis(20))).await;
    let mut unfinished: Vec<_> = report
        .unfinished
        .iter()
        .map(|one| (one.slot.as_str(), one.failure.code))
        .collect();
    unfinished.retain(|(of, _)| *of != "service/clock");
    assert!(
        unfinished.contains(&("service/slow", "lifecycle.drain_abandoned")),
        "{report:?}"
    );
    assert!(
        unfinished.contains(&("service/web", "lifecycle.timed_out")),
        "{report:?}"
    );
    assert!(
        unfinished.contains(&("service/late", "lifecycle.timed_out")),
        "{report:?}"
    );
    assert_eq!(soon(building).await.unwrap(), "lifecycle.stopped");
    drop((open, lease));
    let all_retired = || {
        let records = lab.book.all();
        records.len() == 4
            && records
                .iter()
                .all(|record| record.retired.load(Ordering::SeqCst) == 1)
    };
    until(all_retired).await;
}

#[tokio::test]
async fn p19_a_build_under_way_is_cancelled_and_not_waited_for() {
    let candidates: [(&str, &str, i64, &[&str]); 1] = [("service/web", "web", 0, &[])];
    let lab = Lab::with(&candidates, |builder| builder.limits(patient()));
    lab.book.script(
        "web",
        Script {
            build: Act::Hang,
            ..Script::default()
        },
    );
    let building = tokio::spawn({
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
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(3_600))).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(soon(building).await.unwrap(), "lifecycle.stopped");
}

#[tokio::test]
async fn p19_an_instance_that_finishes_its_work_after_a_swap_still_holds_what_it_needs() {
    let lab = Lab::new(&[
        ("service/b", "b", 0, &[]),
        ("service/a", "needs-b", 2, &["service/b"]),
        ("service/a", "alone", 1, &[]),
    ]);
    let lease = lab.lifecycle.lease(&slot("service/a")).await.unwrap();
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        let request = SwapRequest::to_provider(slot("service/a"), provider("alone"));
        async move { lifecycle.swap(request).await.unwrap() }
    });
    until(|| {
        lab.lifecycle
            .status(&slot("service/a"))
            .unwrap()
            .draining
            .len()
            == 1
    })
    .await;
    assert_eq!(
        lab.lifecycle.holders(&slot("service/b")),
        [slot("service/a")]
    );
    let shutdown = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.shutdown(GRACE).await }
    });
    until(|| lab.lifecycle.slot(&slot("service/a")).lease().is_err()).await;
    assert_eq!(lab.book.retirements(), [] as [&str; 0]);
    drop(lease);
    assert!(soon(swap).await.unwrap().serves());
    assert!(soon(shutdown).await.unwrap().is_clean());
    assert_eq!(lab.book.retirements(), ["needs-b", "alone", "b"]);
}

#[tokio::test]
async fn a_slot_that_was_shut_down_cannot_be_resumed() {
    let lab = Lab::new(&[("service/web", "web", 0, &[])]);
    lab.who("service/web").await;
    lab.lifecycle.shutdown(GRACE).await;
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot("service/web")))
        .unwrap();
    let error = lab
        .lifecycle
        .slot(&slot("service/web"))
        .lease()
        .unwrap_err();
    assert_eq!(error.code(), "lifecycle.stopped");
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
    let (build, open) = Act::thread_gate();
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
    let report = soon(lab.lifecycle.shutdown(Duration::from_millis(20))).await;
    assert_eq!(
        report.unfinished[0].failure.message,
        "the factory of web is still at work"
    );
    assert_eq!(soon(activation).await.unwrap(), "lifecycle.stopped");
    assert_eq!(lab.book.all().len(), 0, "its factory still blocks a thread");
    drop(open);
    until(|| lab.book.retirements() == ["web"]).await;
}
