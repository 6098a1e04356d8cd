//! Steps that have waited for their turn: what they were decided upon may not hold any more by then.

use std::sync::Arc;

use oneiric_core::SelectionLayer;
use oneiric_lifecycle::{DecisionKind, Difference, Health, Supervision};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Ward, bad, seconds, wait_until};
use crate::support::{Act, CACHE, OneTurn, Script, candidate, provider, slot};

fn greedy() -> Value {
    json!({"rebind": "greedy", "rebind_settle_ms": 5_000, "health_interval_ms": 0})
}

fn restarts(on_failure: &str) -> Value {
    json!({"health_interval_ms": 1_000, "on_failure": on_failure, "restarts": 3})
}

/// `a` serves, and the turn is somebody else's.
async fn waiting(policy: Value) -> (Ward, OneTurn, Supervision) {
    let turns = OneTurn::taken();
    let of_others = turns.clone();
    let ward = Ward::with(policy, |builder| builder.slot_turns(of_others));
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let supervision = ward.supervise();
    (ward, turns, supervision)
}

impl Ward {
    fn select(&self, name: Option<&str>) {
        let name = name.map(provider);
        self.lab
            .registry
            .select(SelectionLayer::Operator, &slot(CACHE), name);
    }

    fn register(&self, name: &str, priority: i64) {
        let registration = candidate(CACHE, name, priority, &[]);
        self.lab.registry.register(registration).keep();
    }
}

/// Not in paused time, which stands still while a factory is at work.
#[tokio::test]
async fn whoever_is_withdrawn_while_another_is_tried_is_not_built() {
    let policy = json!({"health_interval_ms": 5, "on_failure": "fail_over"});
    let (ward, _supervision) = Ward::begun(policy).await;
    let gate = Arc::new(Semaphore::new(0));
    let script = Script {
        build: Act::FailAfter(Arc::clone(&gate)),
        ..Script::default()
    };
    ward.lab.book.script("b", script);
    ward.set("a", bad());
    wait_until(|| ward.builds() == 2, String::new).await;
    ward.lab.withdraw(CACHE, "c");
    gate.add_permits(1_000);
    let settled = || ward.count(DecisionKind::NoneLeft) == 1 || ward.serves() == "c";
    wait_until(settled, String::new).await;
    assert_eq!(ward.serves(), "a");
    assert!(ward.lab.book.records_of("c").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_selects_what_serves_is_not_overruled_by_a_greedy_slot_that_waits() {
    let (ward, turns, _supervision) = waiting(greedy()).await;
    ward.register("d", 9);
    seconds(10).await;
    assert_eq!(turns.asked(), 1);
    ward.select(Some("a"));
    turns.give();
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
    assert_eq!(ward.decisions(), []);
}

#[tokio::test(start_paused = true)]
async fn a_selection_that_is_taken_back_and_made_again_meanwhile_has_changed_nothing() {
    let (ward, turns, _supervision) = waiting(greedy()).await;
    ward.select(Some("a"));
    ward.register("d", 9);
    // As a swap does that clears the selection and is rolled back.
    ward.select(None);
    seconds(10).await;
    assert_eq!(turns.asked(), 1);
    ward.select(Some("a"));
    turns.give();
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
}

#[tokio::test(start_paused = true)]
async fn a_slot_does_not_fail_back_to_whom_an_operator_has_ranked_behind_meanwhile() {
    let policy = json!({
        "health_interval_ms": 1_000, "on_failure": "fail_over",
        "fail_back": true, "fail_back_after_ms": 5_000,
    });
    let (ward, turns, _supervision) = waiting(policy).await;
    turns.give();
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    turns.take().await;
    ward.set("a", Health::Ok);
    wait_until(|| turns.asked() == 2, String::new).await;
    ward.select(Some("b"));
    turns.give();
    seconds(60).await;
    assert_eq!(ward.serves(), "b");
    assert_eq!(ward.count(DecisionKind::FailBack), 0);
    assert_eq!(ward.status().differs, None);
}

#[tokio::test(start_paused = true)]
async fn a_selection_counts_as_a_hand_though_it_is_of_what_serves() {
    let mut policy = restarts("restart");
    policy["restarts"] = 1.into();
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::GaveUp, 1).await;
    seconds(600).await;
    assert_eq!(ward.count(DecisionKind::Restart), 1);
    ward.select(Some("a"));
    ward.decided(DecisionKind::GaveUp, 2).await;
    assert_eq!(ward.count(DecisionKind::Restart), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_withdrawn_while_it_serves_is_not_restarted() {
    for waits in [false, true] {
        for on_failure in ["restart", "restart_then_fail_over"] {
            let (ward, turns, _supervision) = waiting(restarts(on_failure)).await;
            if !waits {
                turns.give();
                ward.lab.withdraw(CACHE, "a");
            }
            ward.set("a", bad());
            if waits {
                wait_until(|| turns.asked() == 1, String::new).await;
                ward.lab.withdraw(CACHE, "a");
                turns.give();
            }
            ward.decided(DecisionKind::GaveUp, 1).await;
            let texts = ward.texts();
            assert_eq!(
                texts[1],
                "gave up restarting a: it is not registered any more"
            );
            if on_failure == "restart" {
                seconds(60).await;
                assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
                assert_eq!(ward.status().differs, Some(Difference::Withdrawn));
            } else {
                ward.decided(DecisionKind::FailOver, 1).await;
                assert_eq!((ward.serves().as_str(), ward.builds()), ("b", 2));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_registered_anew_is_restarted_as_it_is_registered_now() {
    let (ward, turns, _supervision) = waiting(restarts("restart")).await;
    ward.set("a", bad());
    wait_until(|| turns.asked() == 1, String::new).await;
    let before = ward.status().active.unwrap().sequence;
    ward.lab.withdraw(CACHE, "a");
    ward.register("a", 3);
    ward.set("a", Health::Ok);
    // Only the next answers are good; it is still judged by the last.
    turns.give();
    ward.decided(DecisionKind::Restart, 1).await;
    assert_ne!(ward.status().active.unwrap().sequence, before);
}
