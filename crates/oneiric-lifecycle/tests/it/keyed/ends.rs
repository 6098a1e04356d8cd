//! How a shutdown goes with keys: each is retired once, where its slot's place is, and what hangs is named and holds up
//! nobody else.

use std::time::Duration;

use oneiric_lifecycle::{Lifecycle, Limits, ShutdownReport};
use tokio::task::JoinHandle;

use super::{keyed, limits, number, quiet, retired};
use crate::support::{Act, CACHE, Lab, Script, slot, soon, until};

const HOUR: Duration = Duration::from_secs(3_600);

fn patient() -> Limits {
    let hour = 3_600_000;
    let limits = serde_json::json!({"drain_ms": hour, "retire_ms": hour});
    serde_json::from_value(limits).unwrap()
}

fn shut_down(lifecycle: &Lifecycle, grace: Duration) -> JoinHandle<ShutdownReport> {
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move { lifecycle.shutdown(grace).await })
}

fn retires(lab: &Lab, of: &str, retire: Act) {
    let script = Script {
        retire,
        ..Script::default()
    };
    lab.book.script(of, script);
}

#[tokio::test]
async fn one_that_is_going_already_is_waited_for_and_what_it_needs_goes_after_it() {
    let lab = Lab::new(&[
        ("service/clock", "clock", 0, &[]),
        (CACHE, "a", 0, &["service/clock"]),
    ]);
    let (retire, gate) = Act::gate();
    retires(&lab, "a", retire);
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    let retiring = {
        let keyed = keyed.clone();
        tokio::spawn(async move { keyed.retire("one").await })
    };
    until(|| lab.book.retirements() == ["a"]).await;
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    quiet().await;
    assert!(!shutdown.is_finished());
    assert_eq!(lab.book.retirements(), ["a"], "a still flushes");
    gate.add_permits(1);
    let report = soon(shutdown).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(lab.book.retirements(), ["a", "clock"]);
    assert!(soon(retiring).await.unwrap());
    assert_eq!(retired(&lab), [1, 1]);
}

#[tokio::test]
async fn one_that_is_going_already_and_hangs_is_reported() {
    let lab = Lab::pair();
    retires(&lab, "a", Act::Hang);
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    let retiring = {
        let keyed = keyed.clone();
        tokio::spawn(async move { keyed.retire("one").await })
    };
    until(|| lab.book.retirements() == ["a"]).await;
    let report = soon(lab.lifecycle.shutdown(Duration::ZERO)).await;
    assert!(!report.is_clean());
    let named = |key| {
        report
            .unfinished
            .iter()
            .all(|one| one.key.as_deref() == key)
    };
    assert!(named(Some("one")), "{report:?}");
    drop(retiring);
}

#[tokio::test]
async fn keys_that_hang_hold_up_nobody_but_those_that_they_need() {
    let lab = Lab::with(
        &[
            ("service/clock", "clock", 0, &[]),
            (CACHE, "a", 0, &["service/clock"]),
            ("adapter/queue", "queue", 0, &[]),
            ("task/job", "job", 0, &["adapter/queue"]),
        ],
        |builder| builder.limits(patient()),
    );
    let (retire, gate) = Act::gate();
    retires(&lab, "a", retire);
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    lab.who("task/job").await;
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    until(|| {
        let retirements = lab.book.retirements();
        ["job", "queue", "a"]
            .iter()
            .all(|name| retirements.iter().any(|one| one == name))
    })
    .await;
    assert_eq!(lab.book.retirements().len(), 3, "the clock is still needed");
    gate.add_permits(1);
    let report = soon(shutdown).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(lab.book.retirements().last().unwrap(), "clock");
}

#[tokio::test]
async fn whoever_needs_a_slot_goes_before_its_keys() {
    let lab = Lab::with(
        &[(CACHE, "a", 0, &[]), ("service/web", "web", 0, &[CACHE])],
        |builder| builder.limits(patient()),
    );
    let (retire, gate) = Act::gate();
    retires(&lab, "web", retire);
    lab.who("service/web").await;
    let keyed = keyed(&lab, limits(8));
    number(&keyed, "one").await;
    let shutdown = shut_down(&lab.lifecycle, HOUR);
    until(|| !lab.book.retirements().is_empty()).await;
    quiet().await;
    assert_eq!(lab.book.retirements(), ["web"]);
    gate.add_permits(1);
    assert!(soon(shutdown).await.unwrap().is_clean());
    assert_eq!(retired(&lab), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_finish_says_of_which_key() {
    let lab = Lab::pair();
    let keyed = keyed(&lab, limits(8));
    let held = keyed.lease("one").await.unwrap();
    lab.who(CACHE).await;
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(1))).await;
    let lines: Vec<String> = report
        .unfinished
        .iter()
        .map(|one| format!("{} {:?} {}", one.slot, one.key, one.failure.code))
        .collect();
    assert_eq!(
        lines,
        ["adapter/cache Some(\"one\") lifecycle.drain_abandoned"]
    );
    assert_eq!(report.retired, [slot(CACHE)]);
    drop(held);
}
