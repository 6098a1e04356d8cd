//! When a dependent is restarted, of what, how many at once and how often.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_core::{BoxFuture, Slot};
use oneiric_lifecycle::{
    ActivityRule, Baking, Decision, DecisionKind, Happening, SlotTurns, SwapEvent, SwapRequest,
};
use serde_json::{Value, json};

use crate::support::{
    Act, CACHE, Lab, Meter, OneTurn, Script, candidate, policies, provider, slot, soon, until,
};

const WEB: &str = "service/web";

type Decided = Arc<Mutex<Vec<Decision>>>;

/// `web` needs the cache, restarts when that is exchanged, and could be `other`.
fn lab(policy: Value, turns: Option<&OneTurn>) -> (Lab, Decided) {
    let decided = Decided::default();
    let noted = Arc::clone(&decided);
    let candidates: &[(&str, &str, i64, &[&str])] = &[
        (WEB, "web", 2, &[CACHE]),
        (WEB, "other", 1, &[CACHE]),
        (CACHE, "mem", 0, &[]),
    ];
    let lab = Lab::with(candidates, |builder| {
        let builder = builder
            .slot_policies(policies(&[
                ("*", json!({"on_dependency_change": "restart"})),
                (WEB, policy),
            ]))
            .observer(move |event: &SwapEvent| {
                if let Happening::Decided { decision } = &event.what {
                    noted.lock().unwrap().push(Decision::clone(decision));
                }
            });
        match turns {
            Some(turns) => builder.slot_turns(turns.clone()),
            None => builder,
        }
    });
    (lab, decided)
}

fn texts(decided: &Decided) -> Vec<String> {
    let decided = decided.lock().unwrap();
    decided.iter().map(|one| one.text.clone()).collect()
}

async fn exchange(lab: &Lab) {
    let request = SwapRequest::to_winner(slot(CACHE)).rebuild(true);
    assert!(soon(lab.lifecycle.swap(request)).await.unwrap().serves());
}

async fn at_rest(lab: &Lab) {
    soon(lab.lifecycle.dependents_settled()).await;
}

fn instances(lab: &Lab, of: &str) -> usize {
    lab.book.records_of(of).len()
}

async fn trial(lab: &Lab) -> Baking {
    let swap = SwapRequest::to_provider(slot(WEB), provider("other"));
    let swap = swap.bake(Duration::from_secs(3_600));
    let report = soon(lab.lifecycle.begin_swap(swap)).await.unwrap();
    report.baking().unwrap().clone()
}

#[tokio::test]
async fn one_that_is_on_trial_is_restarted_when_the_trial_is_over() {
    for back in [false, true] {
        let (lab, decided) = lab(json!({}), None);
        lab.who(WEB).await;
        let baking = trial(&lab).await;
        exchange(&lab).await;
        at_rest(&lab).await;
        assert_eq!((instances(&lab, "web"), instances(&lab, "other")), (1, 1));
        assert_eq!(baking.status().ended, None);
        assert!(decided.lock().unwrap().is_empty());
        let restarted = if back {
            baking.swing_back("told");
            "web"
        } else {
            baking.let_go();
            "other"
        };
        soon(baking.ended()).await;
        at_rest(&lab).await;
        assert_eq!(instances(&lab, restarted), 2);
        assert_eq!(lab.who(WEB).await, restarted);
        assert_eq!(
            texts(&decided).pop().unwrap(),
            format!("restarted {restarted}: adapter/cache was exchanged")
        );
    }
}

#[tokio::test]
async fn a_trial_that_somebody_ends_by_other_means_holds_off_nothing() {
    let (lab, _) = lab(json!({}), None);
    lab.who(WEB).await;
    trial(&lab).await;
    exchange(&lab).await;
    at_rest(&lab).await;
    let swap = SwapRequest::to_provider(slot(WEB), provider("web"));
    assert!(soon(lab.lifecycle.swap(swap)).await.unwrap().serves());
    at_rest(&lab).await;
    // The warm one served again, and knew nothing of it.
    assert_eq!((instances(&lab, "web"), instances(&lab, "other")), (2, 1));
}

#[tokio::test]
async fn it_takes_its_turn_among_those_who_change_slots() {
    let turns = OneTurn::taken();
    let (lab, _) = lab(json!({}), Some(&turns));
    lab.who(WEB).await;
    exchange(&lab).await;
    until(|| turns.asked() == 1).await;
    exchange(&lab).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(instances(&lab, "web"), 1);
    turns.give();
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 2);
    assert!(turns.is_free(), "given back");
}

#[tokio::test]
async fn a_restart_that_has_become_superfluous_by_its_turn_is_left_out() {
    let turns = OneTurn::taken();
    let (lab, decided) = lab(json!({}), Some(&turns));
    lab.who(WEB).await;
    exchange(&lab).await;
    until(|| turns.asked() == 1).await;
    // As a reload does that holds the turn.
    let swap = SwapRequest::to_winner(slot(WEB)).rebuild(true);
    assert!(soon(lab.lifecycle.swap(swap)).await.unwrap().serves());
    turns.give();
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 2);
    assert!(decided.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_turn_that_does_not_come() {
    let turns = OneTurn::taken();
    let (lab, _) = lab(json!({}), Some(&turns));
    lab.who(WEB).await;
    exchange(&lab).await;
    until(|| turns.asked() == 1).await;
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(60))).await;
    assert!(report.is_clean(), "{report:?}");
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 1);
}

#[tokio::test]
async fn it_is_restarted_as_it_is_registered_by_then() {
    let turns = OneTurn::taken();
    let (lab, _) = lab(json!({}), Some(&turns));
    lab.who(WEB).await;
    let sequence = || {
        let status = lab.lifecycle.status(&slot(WEB)).unwrap();
        status.active.unwrap().sequence
    };
    let before = sequence();
    exchange(&lab).await;
    until(|| turns.asked() == 1).await;
    lab.withdraw(WEB, "web");
    lab.registry
        .register(candidate(WEB, "web", 2, &[CACHE]))
        .keep();
    turns.give();
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 2);
    assert_ne!(sequence(), before);
}

#[tokio::test]
async fn one_that_was_withdrawn_serves_on_and_that_is_said() {
    let (lab, decided) = lab(json!({}), None);
    lab.who(WEB).await;
    lab.withdraw(WEB, "web");
    for _ in 0..3 {
        exchange(&lab).await;
        at_rest(&lab).await;
    }
    assert_eq!((instances(&lab, "web"), instances(&lab, "other")), (1, 0));
    assert_eq!(
        texts(&decided),
        ["gave up restarting web: it is not registered any more"]
    );
    // Registered anew, it is restarted with the next exchange.
    lab.registry
        .register(candidate(WEB, "web", 2, &[CACHE]))
        .keep();
    exchange(&lab).await;
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 2);
}

/// More than are restarted at once.
const MANY: usize = 40;

/// Slots that need the cache and restart when that is exchanged.
fn many() -> (Lab, Vec<String>) {
    let slots: Vec<String> = (0..MANY).map(|nth| format!("service/s{nth}")).collect();
    let mut candidates: Vec<(&str, &str, i64, &[&str])> = vec![(CACHE, "mem", 0, &[])];
    candidates.extend(
        slots
            .iter()
            .map(|slot| (slot.as_str(), "web", 0, &[CACHE] as &[&str])),
    );
    let lab = Lab::with(&candidates, |builder| {
        builder.slot_policies(policies(&[(
            "*",
            json!({"on_dependency_change": "restart"}),
        )]))
    });
    (lab, slots)
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let (lab, slots) = many();
    for name in &slots {
        lab.who(name).await;
    }
    let meter = Meter::new();
    let script = Script {
        build: Act::Count(Arc::clone(&meter)),
        ..Script::default()
    };
    lab.book.script("web", script);
    exchange(&lab).await;
    until(|| meter.now() == 16).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(meter.now(), 16);
    meter.gate.add_permits(MANY);
    at_rest(&lab).await;
    assert_eq!(meter.most.load(Ordering::SeqCst), 16);
    assert_eq!(instances(&lab, "web"), 2 * MANY);
}

#[tokio::test]
async fn one_whose_old_instance_finishes_its_work_keeps_no_place() {
    let (lab, slots) = many();
    let mut leases = Vec::new();
    for name in &slots {
        leases.push(lab.lifecycle.lease(&slot(name)).await.unwrap());
    }
    exchange(&lab).await;
    until(|| instances(&lab, "web") == 2 * MANY).await;
    drop(leases);
    at_rest(&lab).await;
}

/// Those who change slots are at all of them for long, but for [`WEB`].
struct AllButWeb;

impl SlotTurns for AllButWeb {
    fn acquire<'a>(&'a self, of: &'a Slot) -> BoxFuture<'a, Box<dyn Any + Send>> {
        Box::pin(async move {
            if *of != slot(WEB) {
                std::future::pending::<()>().await;
            }
            Box::new(()) as _
        })
    }
}

#[tokio::test]
async fn those_whose_turn_has_not_come_keep_no_place() {
    // All of them answer before `web` does.
    let slots: Vec<String> = (0..MANY).map(|nth| format!("service/s{nth}")).collect();
    let mut candidates: Vec<(&str, &str, i64, &[&str])> = vec![(CACHE, "mem", 0, &[])];
    let names = slots.iter().map(String::as_str).chain([WEB]);
    candidates.extend(names.map(|slot| (slot, "web", 0, &[CACHE] as &[&str])));
    let lab = Lab::with(&candidates, |builder| {
        let policies = policies(&[("*", json!({"on_dependency_change": "restart"}))]);
        builder.slot_policies(policies).slot_turns(AllButWeb)
    });
    for (name, ..) in &candidates {
        lab.who(name).await;
    }
    exchange(&lab).await;
    let swapped = || lab.lifecycle.status(&slot(WEB)).unwrap().swaps.swapped;
    until(|| swapped() == 1).await;
    assert_eq!(instances(&lab, "web"), MANY + 2);
}

fn three_a_minute() -> Value {
    json!({"restarts": 3, "restarts_within_ms": 60_000})
}

#[tokio::test(start_paused = true)]
async fn one_that_is_restarted_too_often_is_left_alone_for_a_while_and_then_restarted_once() {
    let (lab, decided) = lab(three_a_minute(), None);
    lab.who(WEB).await;
    for _ in 0..10 {
        exchange(&lab).await;
        at_rest(&lab).await;
    }
    assert_eq!(instances(&lab, "web"), 4);
    let said = texts(&decided);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[3], "gave up restarting web: 3 restarts within 60 s");
    assert_eq!(
        decided.lock().unwrap().last().unwrap().kind,
        DecisionKind::GaveUp
    );
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(instances(&lab, "web"), 4);
    tokio::time::sleep(Duration::from_secs(2)).await;
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 5, "once, to the last");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(instances(&lab, "web"), 5);
    // Later ones are as good as the first.
    exchange(&lab).await;
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_hand_on_the_slot_ends_what_was_given_up() {
    let (lab, decided) = lab(three_a_minute(), None);
    lab.who(WEB).await;
    for _ in 0..5 {
        exchange(&lab).await;
        at_rest(&lab).await;
    }
    assert_eq!(instances(&lab, "web"), 4);
    let swap = SwapRequest::to_winner(slot(WEB)).rebuild(true);
    assert!(soon(lab.lifecycle.swap(swap)).await.unwrap().serves());
    exchange(&lab).await;
    at_rest(&lab).await;
    assert_eq!(instances(&lab, "web"), 6);
    assert_eq!(texts(&decided).len(), 5);
    // Nothing is left of the time for which it was given up.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(instances(&lab, "web"), 6);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_keeps_no_shutdown_waiting() {
    let (lab, _) = lab(three_a_minute(), None);
    lab.who(WEB).await;
    for _ in 0..5 {
        exchange(&lab).await;
        at_rest(&lab).await;
    }
    let begun = tokio::time::Instant::now();
    let report = lab.lifecycle.shutdown(Duration::from_secs(60)).await;
    assert!(report.is_clean() && begun.elapsed() < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(instances(&lab, "web"), 4);
}

#[tokio::test]
async fn one_that_was_told_of_a_pause_answers_when_it_was_told_to_go_on() {
    for policy in ["restart", "tell"] {
        let (lab, _) = lab(json!({"on_dependency_change": policy}), None);
        let (resume, gate) = Act::gate();
        let pausing = Some((Act::Ok, resume));
        let script = Script {
            pausing,
            ..Script::default()
        };
        lab.book.script("web", script);
        lab.who(WEB).await;
        let scope = slot(WEB).into();
        let told = || soon(lab.lifecycle.told(&scope));
        let pause = ActivityRule::pause(slot(WEB));
        lab.lifecycle.set_activity(pause).unwrap();
        told().await;
        exchange(&lab).await;
        at_rest(&lab).await;
        let resume = ActivityRule::resume(slot(WEB));
        lab.lifecycle.set_activity(resume).unwrap();
        at_rest(&lab).await;
        gate.add_permits(9);
        told().await;
        at_rest(&lab).await;
        let answered = match policy {
            "restart" => instances(&lab, "web") - 1,
            _ => lab.book.told().len(),
        };
        assert_eq!(answered, 1, "{policy}");
    }
}
