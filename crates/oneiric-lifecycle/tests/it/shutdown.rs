//! Shutdown: everything goes, who uses before what is used.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{
    ActivityRule, Lease, Limits, ShutdownReport, Stage, SwapRequest, Unfinished,
};

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

/// Two providers of one slot, the first of which serves.
const PAIR: [(&str, &str, i64, &[&str]); 2] = [
    ("service/web", "old", 2, &[]),
    ("service/web", "new", 1, &[]),
];

fn drain_ms(ms: u64) -> Limits {
    serde_json::from_value(serde_json::json!({"drain_ms": ms})).unwrap()
}

fn to_new() -> SwapRequest {
    SwapRequest::to_provider(slot("service/web"), provider("new"))
}

/// `slot code message` of everything that did not finish.
fn unfinished(report: &ShutdownReport) -> Vec<String> {
    let line = |one: &Unfinished| {
        let (code, message) = (one.failure.code, &one.failure.message);
        format!("{} {code} {}", one.slot, untimed(message))
    };
    report.unfinished.iter().map(line).collect()
}

/// Without how long it has been.
fn untimed(message: &str) -> &str {
    message
        .split_once(": out for at least ")
        .map_or(message, |(what, _)| what)
}

const OLD_IS_HELD: &str =
    "service/web lifecycle.drain_abandoned 2 calls were not done in time on old (instance 1)";

#[tokio::test(start_paused = true)]
async fn p19_an_old_instance_that_still_finishes_its_work_is_retired_and_reported() {
    let lab = Lab::with(&PAIR, |builder| builder.limits(patient()));
    let first = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let second = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.swap(to_new()).await.unwrap() }
    });
    let drains = || {
        let status = lab.lifecycle.status(&slot("service/web")).unwrap();
        status.draining.len() == 1
    };
    until(drains).await;
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(1))).await;
    assert_eq!(unfinished(&report)[0], OLD_IS_HELD);
    let others = &report.unfinished[1..];
    assert!(
        others.iter().all(
            |one| one.failure.stage == Stage::Retire && one.failure.code.ends_with("timed_out")
        ),
        "no time was left for them: {report:?}"
    );
    until(|| lab.book.retirements() == ["old", "new"]).await;
    assert!(first.is_retired() && second.is_retired());
    drop((first, second));
    // It was told of already.
    assert_eq!(soon(swap).await.unwrap().warnings, []);
    let status = lab.lifecycle.status(&slot("service/web")).unwrap();
    assert_eq!(status.swaps.retired, 2, "each once");
}

#[tokio::test]
async fn p19_calls_that_outlived_an_earlier_swap_are_reported_if_they_still_run() {
    let lab = Lab::with(&PAIR, |builder| builder.limits(drain_ms(1)));
    let first = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let second = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let third = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let swapped = lab.lifecycle.swap(to_new()).await.unwrap();
    assert_eq!(
        untimed(&swapped.warnings[0].message),
        "3 calls were not done in time on old (instance 1)"
    );
    drop(third);
    let report = soon(lab.lifecycle.shutdown(GRACE)).await;
    assert_eq!(unfinished(&report), [OLD_IS_HELD]);
    drop((first, second));
}

#[tokio::test]
async fn p19_calls_that_came_back_by_then_are_not_reported() {
    let lab = Lab::with(&PAIR, |builder| builder.limits(drain_ms(1)));
    let lease = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let swapped = lab.lifecycle.swap(to_new()).await.unwrap();
    assert_eq!(
        untimed(&swapped.warnings[0].message),
        "1 call was not done in time on old (instance 1)"
    );
    drop(lease);
    let report = soon(lab.lifecycle.shutdown(GRACE)).await;
    assert!(report.is_clean(), "{report:?}");
}

/// Gives a lease back in the moment in which its holder is told that the instance is retired.
struct GivesBack(Mutex<Option<Lease>>);

impl Wake for GivesBack {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[tokio::test]
async fn what_is_told_as_abandoned_is_what_was_held_before_anybody_was_told() {
    let lab = Lab::with(&PAIR, |builder| builder.limits(drain_ms(1)));
    let held = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let other = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let waker = Waker::from(Arc::new(GivesBack(Mutex::new(Some(other)))));
    let mut told = Box::pin(held.retired());
    let poll = told.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    let report = lab.lifecycle.swap(to_new()).await.unwrap();
    assert_eq!(
        untimed(&report.warnings[0].message),
        "2 calls were not done in time on old (instance 1)"
    );
}
