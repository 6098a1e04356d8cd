//! Exchanged instances that have work to finish: they keep nobody from their slot, and there are not many of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_lifecycle::{
    ChangeSet, DecisionKind, Lease, Lifecycle, Outcome, Stage, SwapReport, SwapRequest,
};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::self_healing::{Ward, bad, wait_until};
use crate::support::{CACHE, Lab, provider, slot, soon};

fn to(name: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider(name)).rebuild(true)
}

async fn lease(lifecycle: &Lifecycle) -> Lease {
    lifecycle.lease(&slot(CACHE)).await.unwrap()
}

/// Begins a swap, of which another awaits the end.
fn begun(lifecycle: &Lifecycle, request: SwapRequest) -> JoinHandle<SwapReport> {
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move { lifecycle.swap(request).await.unwrap() })
}

fn instance(lifecycle: &Lifecycle) -> u64 {
    let status = lifecycle.status(&slot(CACHE)).unwrap();
    status.active.unwrap().instance
}

async fn serves(lifecycle: &Lifecycle, number: u64) {
    let told = || format!("{} serves", instance(lifecycle));
    wait_until(|| instance(lifecycle) == number, told).await;
}

#[tokio::test(start_paused = true)]
async fn who_dies_right_after_a_swap_is_failed_over_from_while_calls_hang_on_the_one_before() {
    let policy = json!({"health_interval_ms": 1_000, "on_failure": "fail_over"});
    let (ward, _supervision) = Ward::begun(policy).await;
    let lifecycle = &ward.lab.lifecycle;
    let hangs = lease(lifecycle).await;
    let swap = begun(lifecycle, to("b"));
    serves(lifecycle, 2).await;
    let died = Instant::now();
    ward.set("b", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    assert!(
        died.elapsed() < Duration::from_secs(10),
        "{:?}",
        died.elapsed()
    );
    assert_eq!(ward.serves(), "c");
    assert!(!swap.is_finished());
    drop(hangs);
    let report = soon(swap).await.unwrap();
    assert_eq!(
        (report.outcome, report.warnings),
        (Outcome::Swapped, vec![])
    );
    soon(lifecycle.settled(&slot(CACHE))).await;
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn the_drain_after_a_trial_keeps_nobody_from_the_slot_however_it_ended() {
    for goes_back in [false, true] {
        let lab = Lab::pair();
        let lifecycle = &lab.lifecycle;
        let before = lease(lifecycle).await;
        let request = to("b").bake(Duration::from_secs(1));
        let report = lifecycle.begin_swap(request).await.unwrap();
        let on_trial = lease(lifecycle).await;
        let baking = report.baking().unwrap();
        if goes_back {
            baking.swing_back("asked for");
            serves(lifecycle, 1).await;
        } else {
            baking.let_go();
        }
        wait_until(|| lifecycle.baking(&slot(CACHE)).is_none(), String::new).await;
        let ended = Instant::now();
        let next = begun(lifecycle, to("a"));
        serves(lifecycle, 3).await;
        assert!(ended.elapsed() < Duration::from_secs(10));
        assert!(!next.is_finished());
        drop((before, on_trial));
        assert!(soon(next).await.unwrap().serves());
        soon(baking.ended()).await;
        let retired = lab.book.all();
        let retired: Vec<_> = retired
            .iter()
            .map(|record| record.retired.load(Ordering::SeqCst))
            .collect();
        assert_eq!(retired, [1, 1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_drain_of_a_change_set_keeps_nobody_from_its_slots() {
    let lab = Lab::pair();
    let hangs = lease(&lab.lifecycle).await;
    let set = ChangeSet::new().to_provider(slot(CACHE), provider("b"));
    let lifecycle = lab.lifecycle.clone();
    let set = tokio::spawn(async move { lifecycle.apply(set).await.unwrap() });
    serves(&lab.lifecycle, 2).await;
    assert!(soon(lab.lifecycle.swap(to("a"))).await.unwrap().serves());
    assert!(!set.is_finished());
    drop(hangs);
    assert!(soon(set).await.unwrap().serves());
}

#[tokio::test(start_paused = true)]
async fn a_swap_waits_while_four_have_not_gone_and_what_a_slot_does_by_itself_does_not() {
    let policy = json!({"health_interval_ms": 1_000, "on_failure": "fail_over"});
    let (ward, _supervision) = Ward::begun(policy).await;
    let lifecycle = &ward.lab.lifecycle;
    let (mut hang, mut swaps) = (Vec::new(), Vec::new());
    for number in 2..=5 {
        hang.push(lease(lifecycle).await);
        swaps.push(begun(lifecycle, to("b")));
        serves(lifecycle, number).await;
    }
    // In the order in which they are asked for, a set among them.
    swaps.push(begun(lifecycle, to("c")));
    tokio::task::yield_now().await;
    let set = ChangeSet::new().to_provider(slot(CACHE), provider("a"));
    let applies = lifecycle.clone();
    let set = tokio::spawn(async move { applies.apply(set).await.unwrap() });
    tokio::task::yield_now().await;
    swaps.push(begun(lifecycle, to("b")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((instance(lifecycle), ward.builds()), (5, 5));
    // The slot goes to the next all the same.
    ward.set("b", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    assert_eq!((ward.serves().as_str(), instance(lifecycle)), ("c", 6));
    assert_eq!(ward.builds(), 6);
    ward.set("b", oneiric_lifecycle::Health::Ok);
    drop(hang);
    for swap in swaps {
        assert_eq!(soon(swap).await.unwrap().outcome, Outcome::Swapped);
    }
    soon(set).await.unwrap();
    soon(lifecycle.settled(&slot(CACHE))).await;
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn a_swap_that_waits_for_room_and_goes_away_leaves_nothing_behind() {
    let lab = Lab::pair();
    let mut hang = Vec::new();
    for number in 1..=4 {
        hang.push(lease(&lab.lifecycle).await);
        let _goes_on = begun(&lab.lifecycle, to("b"));
        serves(&lab.lifecycle, number + 1).await;
    }
    for _ in 0..3 {
        let swap = lab.lifecycle.swap(to("a"));
        let waits = tokio::time::timeout(Duration::from_millis(100), swap).await;
        assert!(waits.is_err());
    }
    drop(hang);
    assert!(soon(lab.lifecycle.swap(to("b"))).await.unwrap().serves());
    assert_eq!(lab.book.records_of("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_exchanged_instances_to_finish() {
    let lab = Lab::pair();
    let hangs = lease(&lab.lifecycle).await;
    let swap = begun(&lab.lifecycle, to("b"));
    serves(&lab.lifecycle, 2).await;
    let lifecycle = lab.lifecycle.clone();
    let shutdown = tokio::spawn(async move { lifecycle.shutdown(Duration::from_secs(60)).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(lab.book.retirements(), Vec::<String>::new());
    drop(hangs);
    let report = soon(shutdown).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(lab.book.retirements(), ["a", "b"]);
    assert!(soon(swap).await.unwrap().serves());
}

#[tokio::test(start_paused = true)]
async fn a_transition_under_way_is_reported_whatever_else_is_not_done() {
    let lab = Lab::pair();
    let _hangs = lease(&lab.lifecycle).await;
    let request = to("b").bake(Duration::from_secs(100));
    let _report = lab.lifecycle.begin_swap(request).await.unwrap();
    let stuck = to("a").record(|| Box::pin(std::future::pending()));
    // Takes the place of what is on trial, so that what is kept warm has to finish its work.
    assert!(
        lab.lifecycle
            .begin_swap(to("b").bake(Duration::from_secs(100)))
            .await
            .unwrap()
            .serves()
    );
    let _never_ends = begun(&lab.lifecycle, stuck);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = lab.lifecycle.shutdown(Duration::from_secs(5)).await;
    let unfinished: Vec<_> = report
        .unfinished
        .iter()
        .map(|one| (one.failure.stage, one.failure.code))
        .collect();
    assert_eq!(
        unfinished,
        [
            (Stage::Publish, "lifecycle.timed_out"),
            (Stage::Drain, "lifecycle.drain_abandoned"),
        ]
    );
}
