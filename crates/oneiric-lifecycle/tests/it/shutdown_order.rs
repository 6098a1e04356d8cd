//! Shutdown under time: what waits for what, who gets how much of the grace period, and what cutting it short does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_lifecycle::{Lifecycle, Limits, ShutdownReport, SwapRequest};
use tokio::task::JoinHandle;

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

const HOUR: Duration = Duration::from_secs(3_600);

/// Limits that only the grace period can cut short.
fn patient() -> Limits {
    let hour = 3_600_000;
    let limits = serde_json::json!({
        "activation_ms": hour, "probe_ms": hour, "drain_ms": hour, "retire_ms": hour,
    });
    serde_json::from_value(limits).unwrap()
}

fn shut_down(lifecycle: &Lifecycle, grace: Duration) -> JoinHandle<ShutdownReport> {
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move { lifecycle.shutdown(grace).await })
}

/// `slot stage code` of everything that did not finish.
fn unfinished(report: &ShutdownReport) -> Vec<String> {
    let lines = report.unfinished.iter().map(|one| {
        let (stage, code) = (one.failure.stage.name(), one.failure.code);
        format!("{} {stage} {code}", one.slot)
    });
    lines.collect()
}

/// Two chains that have nothing to do with each other: `web` needs `clock`, `job` needs `queue`.
const CHAINS: [(&str, &str, i64, &[&str]); 4] = [
    ("service/clock", "clock", 0, &[]),
    ("service/web", "web", 0, &["service/clock"]),
    ("adapter/queue", "queue", 0, &[]),
    ("task/job", "job", 0, &["adapter/queue"]),
];

#[tokio::test]
async fn p19_a_slot_that_hangs_takes_time_only_from_those_that_it_needs() {
    let lab = Lab::with(&CHAINS, |builder| builder.limits(patient()));
    lab.who("task/job").await;
    let lease = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    until(|| lab.book.retirements() == ["job", "queue"]).await;
    assert!(!shutdown.is_finished());
    // What it needs still works for it.
    assert_eq!(lab.who("service/clock").await, "clock");
    drop(lease);
    let report = soon(shutdown).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let place = |of: &str| {
        report
            .retired
            .iter()
            .position(|one| *one == slot(of))
            .unwrap()
    };
    assert!(place("task/job") < place("adapter/queue"), "{report:?}");
    assert!(place("service/web") < place("service/clock"), "{report:?}");
    assert_eq!(lab.book.retirements(), ["job", "queue", "web", "clock"]);
}

#[tokio::test]
async fn p19_slots_that_need_the_same_one_go_at_the_same_time_and_it_goes_after_both() {
    let candidates: [(&str, &str, i64, &[&str]); 3] = [
        ("service/clock", "clock", 0, &[]),
        ("service/a", "a", 0, &["service/clock"]),
        ("service/b", "b", 0, &["service/clock"]),
    ];
    let lab = Lab::with(&candidates, |builder| builder.limits(patient()));
    let (retire, gate) = Act::gate();
    for name in ["a", "b"] {
        let retire = retire.clone();
        lab.book.script(
            name,
            Script {
                retire,
                ..Script::default()
            },
        );
        lab.who(&format!("service/{name}")).await;
    }
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    // Each would wait for ever for the other one's permit.
    until(|| lab.book.retirements().len() == 2).await;
    gate.add_permits(1);
    tokio::task::yield_now().await;
    assert_eq!(
        lab.book.retirements().len(),
        2,
        "the other one still retires"
    );
    gate.add_permits(1);
    assert!(soon(shutdown).await.unwrap().is_clean());
    assert_eq!(lab.book.retirements()[2], "clock");
}

#[tokio::test]
async fn p19_whoever_asks_again_gets_the_same_report_and_the_earlier_end_holds() {
    let lab = Lab::with(&CHAINS, |builder| builder.limits(patient()));
    for name in ["service/web", "task/job"] {
        lab.who(name).await;
    }
    let lease = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
    let first = shut_down(&lab.lifecycle, HOUR);
    until(|| lab.book.retirements() == ["job", "queue"]).await;
    let longer = shut_down(&lab.lifecycle, Duration::MAX);
    let now = soon(lab.lifecycle.shutdown(Duration::ZERO)).await;
    assert_eq!(
        unfinished(&now),
        ["service/web drain lifecycle.drain_abandoned"]
    );
    assert_eq!(now.retired.len(), 4, "{now:?}");
    assert!(lease.is_retired());
    for other in [first, longer] {
        let report = soon(other).await.unwrap();
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::to_value(&now).unwrap()
        );
    }
    let again = soon(lab.lifecycle.shutdown(HOUR)).await;
    assert_eq!(again.retired, now.retired);
    assert_eq!(lab.book.retirements(), ["job", "queue", "web", "clock"]);
}

#[tokio::test]
async fn p19_what_hangs_is_named_when_it_is_cut_short_and_what_only_waited_for_it_is_not() {
    let lab = Lab::with(&CHAINS, |builder| builder.limits(patient()));
    lab.book.script(
        "web",
        Script {
            retire: Act::Hang,
            ..Script::default()
        },
    );
    lab.who("service/web").await;
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    until(|| lab.book.retirements() == ["web"]).await;
    let report = soon(lab.lifecycle.shutdown(Duration::ZERO)).await;
    assert_eq!(
        unfinished(&report),
        ["service/web retire lifecycle.timed_out"]
    );
    assert_eq!(
        report.unfinished[0].failure.message,
        "not done when the time of the shutdown was up"
    );
    assert_eq!(lab.book.retirements(), ["web", "clock"]);
    assert_eq!(soon(shutdown).await.unwrap().retired.len(), 2);
}

#[tokio::test]
async fn p19_a_shutdown_whose_caller_goes_away_goes_on() {
    for polls in 0..4 {
        let lab = Lab::with(&CHAINS, |builder| builder.limits(patient()));
        lab.who("task/job").await;
        let lease = lab.lifecycle.lease(&slot("service/web")).await.unwrap();
        let mut shutdown = Box::pin(lab.lifecycle.shutdown(HOUR));
        for _ in 0..polls {
            let poll = std::future::poll_fn(|context| {
                std::task::Poll::Ready(shutdown.as_mut().poll(context).is_pending())
            });
            assert!(poll.await);
            tokio::task::yield_now().await;
        }
        drop(shutdown);
        if polls > 0 {
            let refused = || lab.lifecycle.slot(&slot("service/web")).lease().is_err();
            until(refused).await;
        }
        drop(lease);
        if polls > 0 {
            until(|| lab.book.retirements().len() == 4).await;
        }
        let report = soon(lab.lifecycle.shutdown(HOUR)).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.retired.len(), 4);
        let records = lab.book.all();
        let once = |record: &Arc<_>| {
            let record: &crate::support::Record = record;
            record.retired.load(Ordering::SeqCst) == 1
        };
        assert!(records.len() == 4 && records.iter().all(once));
    }
}

#[tokio::test(start_paused = true)]
async fn p19_a_transition_that_does_not_end_has_a_time_of_its_own() {
    let lab = Lab::pair();
    lab.who(CACHE).await;
    let (recording, recorded) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (begun, over) = (Arc::clone(&recording), Arc::clone(&recorded));
    let to_b = SwapRequest::to_provider(slot(CACHE), provider("b")).record(move || {
        let (begun, over) = (Arc::clone(&begun), Arc::clone(&over));
        Box::pin(async move {
            begun.notify_one();
            over.notified().await;
            Ok(())
        })
    });
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.swap(to_b).await.unwrap() }
    });
    recording.notified().await;
    let began = tokio::time::Instant::now();
    let report = lab.lifecycle.shutdown(HOUR).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(
        unfinished(&report),
        ["adapter/cache publish lifecycle.timed_out"]
    );
    assert_eq!(report.retired, [slot(CACHE)]);
    recorded.notify_one();
    assert!(!soon(swap).await.unwrap().serves());
    until(|| lab.book.retirements() == ["a", "b"]).await;
}
