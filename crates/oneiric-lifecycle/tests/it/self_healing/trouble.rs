//! What is done about an instance that fails: restarts, failing over, and what holds it off.

use std::sync::Arc;
use std::time::Duration;

use oneiric_lifecycle::{
    Activity, ActivityRule, ActivityScope, DecisionKind, Difference, Health, Payload, Reconfigured,
    SlotState, SwapRequest,
};
use serde_json::json;

use super::{Ward, bad, policies, seconds, wait_until};
use crate::support::{Act, CACHE, OneTurn, Script, provider, slot};

fn fails_over() -> serde_json::Value {
    json!({"health_interval_ms": 1_000, "on_failure": "fail_over"})
}

fn to(name: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider(name))
}

/// What the next instances of a provider say, whatever those that are there say.
fn next_ones_say(ward: &Ward, name: &str, health: Health) {
    let script = Script {
        probe: Act::Say(health),
        ..Script::default()
    };
    ward.lab.book.script(name, script);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_reported_is_left_as_it_is() {
    let (ward, _supervision) = Ward::begun(json!({"health_interval_ms": 1_000})).await;
    ward.set("a", bad());
    seconds(600).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
    assert_eq!(ward.decisions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_another_instance_of_the_same_candidate() {
    let policy = json!({"health_interval_ms": 1_000, "on_failure": "restart"});
    let (ward, _supervision) = Ward::begun(policy).await;
    let first = ward.status().active.unwrap().instance;
    next_ones_say(&ward, "a", Health::Ok);
    ward.set("a", bad());
    ward.decided(DecisionKind::Restart, 1).await;
    let active = ward.status().active.unwrap();
    assert_eq!(active.provider.as_str(), "a");
    assert_ne!(active.instance, first);
    let text = active.decision.unwrap().text;
    assert!(
        text.starts_with("restarted a: a failed 3 probes at "),
        "{text}"
    );
    seconds(600).await;
    assert_eq!(ward.builds(), 2);
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn after_so_many_restarts_it_is_given_up_until_it_is_well() {
    let policy = json!({
        "health_interval_ms": 1_000, "on_failure": "restart", "restarts": 3, "restarts_within_ms": 60_000,
    });
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::GaveUp, 1).await;
    assert_eq!((ward.count(DecisionKind::Restart), ward.builds()), (3, 4));
    seconds(3_600).await;
    assert_eq!(ward.builds(), 4, "given up is given up");
    assert_eq!(ward.serves(), "a", "and what is there stays");
    let text = ward.texts().pop().unwrap();
    assert_eq!(text, "gave up restarting a: 3 restarts within 60 s");
    ward.set("a", Health::Ok);
    ward.decided(DecisionKind::Healthy, 1).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::GaveUp, 2).await;
    assert_eq!(ward.count(DecisionKind::Restart), 6);
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn restarts_that_follow_each_other_wait_longer_each_time() {
    let policy = json!({
        "health_interval_ms": 3_600_000, "on_failure": "restart", "restarts": 4,
        "restart_backoff_ms": 10_000, "restart_backoff_max_ms": 20_000, "restarts_within_ms": 600_000,
    });
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.failed_call().await;
    let begun = tokio::time::Instant::now();
    let mut waits = Vec::new();
    for restarts in 1..=4 {
        ward.decided(DecisionKind::Restart, restarts).await;
        waits.push(begun.elapsed().as_secs());
    }
    // The first at once; then 10, 20 and 20 seconds, at least half of each.
    assert_eq!(waits[0], 0);
    let least = [5, 10, 10];
    for (number, least) in least.into_iter().enumerate() {
        let wait = waits[number + 1] - waits[number];
        assert!(wait >= least - 1 && wait <= 2 * least, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operators_swap_or_another_policy_ends_what_was_given_up() {
    let policy = json!({"health_interval_ms": 1_000, "on_failure": "restart", "restarts": 1});
    for by_swap in [true, false] {
        let (ward, _supervision) = Ward::begun(policy.clone()).await;
        ward.set("a", bad());
        ward.decided(DecisionKind::GaveUp, 1).await;
        if by_swap {
            let again = SwapRequest::to_winner(slot(CACHE))
                .rebuild(true)
                .force(true);
            ward.lab.lifecycle.swap(again).await.unwrap();
        } else {
            let mut other = policy.clone();
            other["restarts"] = 2.into();
            ward.lab.lifecycle.set_slot_policies(policies(other));
        }
        ward.decided(DecisionKind::Restart, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_that_are_renewed_by_themselves_do_not_end_what_was_given_up() {
    let policy = json!({
        "health_interval_ms": 1_000, "on_failure": "restart",
        "restarts": 1, "restarts_within_ms": 3_600_000,
    });
    let ward = Ward::new(policy);
    let script = Script {
        probe: Act::SayAs(Arc::clone(&ward.health["a"])),
        takes_settings: true,
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let _supervision = ward.supervise();
    ward.set("a", bad());
    ward.decided(DecisionKind::GaveUp, 1).await;
    let serving = ward.status().active.unwrap().instance;
    for _ in 0..3 {
        let renewed = ward.lab.lifecycle.renew(&slot(CACHE), serving).await;
        assert!(matches!(renewed, Ok(Reconfigured::Told)));
        seconds(60).await;
    }
    assert_eq!(ward.builds(), 2, "{:#?}", ward.texts());
    // If somebody asks for it they do.
    ward.lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    ward.decided(DecisionKind::GaveUp, 2).await;
    assert_eq!(ward.builds(), 3);
}

#[tokio::test(start_paused = true)]
async fn failing_over_takes_the_next_in_rank_and_says_why() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    assert_eq!(ward.lab.who(CACHE).await, "b");
    let status = ward.status();
    let text = status.active.unwrap().decision.unwrap().text;
    assert!(
        text.starts_with("serving b: a failed 3 probes at "),
        "{text}"
    );
    assert!(text.ends_with(", next in rank"), "{text}");
    let Some(Difference::FailedOver { from, reason, .. }) = status.differs else {
        panic!("{:?}", status.differs)
    };
    assert_eq!((from.as_str(), reason), ("a", text));
    seconds(60).await;
    ward.nothing_is_left_over(1);
    assert_eq!(ward.serves(), "b", "it does not fail back by itself");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_on_the_dead_one_delays_nothing_and_ends_soon() {
    let ward = Ward::new(fails_over());
    let script = Script {
        call: Act::Hang,
        probe: Act::Say(bad()),
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    let by_force = to("a").force(true);
    ward.lab.lifecycle.swap(by_force).await.unwrap();
    let lease = ward.lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let call = tokio::spawn(async move { lease.invoke("who", Payload::empty()).await });
    let _supervision = ward.supervise();
    ward.decided(DecisionKind::FailOver, 1).await;
    let failed_over = tokio::time::Instant::now();
    assert!(!call.is_finished());
    assert_eq!(ward.lab.who(CACHE).await, "b");
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(oneiric_core::Coded::code(&error), "lifecycle.retired");
    assert!(failed_over.elapsed() <= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn failing_over_skips_whoever_does_not_work() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    ward.set("b", bad());
    ward.set("a", bad());
    wait_until(|| ward.serves() == "c", String::new).await;
    let texts = ward.texts();
    assert_eq!(texts.len(), 3, "{texts:#?}");
    assert!(texts[1].starts_with("failing over to b failed at probe: critical: gone (a failed 3"));
    assert!(
        texts[2].starts_with("serving c: a failed 3 probes"),
        "{}",
        texts[2]
    );
    seconds(10).await;
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_works_that_is_said_once_and_tried_on() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    for name in ["a", "b", "c"] {
        ward.set(name, bad());
    }
    ward.decided(DecisionKind::NoneLeft, 1).await;
    let said = ward.decisions().len();
    let tries = ward.builds();
    let swaps = ward.status().swaps;
    seconds(600).await;
    assert_eq!(ward.decisions().len(), said, "{:#?}", ward.texts());
    let more = ward.builds() - tries;
    assert!(
        (20..200).contains(&more),
        "it goes on, but not in a hurry: {more}"
    );
    assert_eq!(ward.status().swaps, swaps, "and is not counted each time");
    assert_eq!(ward.serves(), "a", "what is there stays");
    ward.set("c", Health::Ok);
    ward.decided(DecisionKind::FailOver, 3).await;
    assert_eq!(ward.serves(), "c");
    seconds(10).await;
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_well_while_nothing_works_serves_on() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    for name in ["a", "b", "c"] {
        ward.set(name, bad());
    }
    ward.decided(DecisionKind::NoneLeft, 1).await;
    ward.set("a", Health::Ok);
    ward.decided(DecisionKind::Healthy, 1).await;
    let builds = ward.builds();
    seconds(600).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", builds));
}

#[tokio::test(start_paused = true)]
async fn restarts_come_first_and_then_somebody_else() {
    let policy =
        json!({"health_interval_ms": 1_000, "on_failure": "restart_then_fail_over", "restarts": 2});
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    assert_eq!(ward.serves(), "b");
    let kinds: Vec<_> = ward.decisions().iter().map(|one| one.kind.name()).collect();
    assert_eq!(
        kinds,
        ["unhealthy", "restart", "restart", "gave_up", "fail_over"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_cannot_be_activated_is_helped_as_well() {
    let ward = Ward::new(fails_over());
    ward.set("a", bad());
    let _supervision = ward.supervise();
    ward.lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
    ward.decided(DecisionKind::FailOver, 1).await;
    assert_eq!(ward.serves(), "b");
    let text = ward.texts().pop().unwrap();
    assert!(
        text.starts_with("serving b: a could not be activated at "),
        "{text}"
    );
    let ward = Ward::new(json!({"on_failure": "restart"}));
    ward.set("a", bad());
    let _supervision = ward.supervise();
    ward.lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
    ward.decided(DecisionKind::Restart, 2).await;
    ward.set("a", Health::Ok);
    wait_until(|| ward.status().state == SlotState::Active, String::new).await;
    assert_eq!(ward.serves(), "a");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_serves_the_best_one_is_tried_first_whoever_was_asked_for() {
    let ward = Ward::new(fails_over());
    ward.set("c", bad());
    let _supervision = ward.supervise();
    ward.lab.lifecycle.swap(to("c")).await.unwrap_err();
    wait_until(|| !ward.decisions().is_empty(), String::new).await;
    let texts = ward.texts();
    assert!(
        texts[0].starts_with("serving a: c could not be activated at "),
        "{texts:?}"
    );
    assert_eq!((ward.serves().as_str(), texts.len()), ("a", 1), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_slot_waits_and_goes_over_when_it_is_resumed() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    let activity = |activity| {
        let rule = ActivityRule::new(ActivityScope::Slot(slot(CACHE)), activity);
        ward.lab.lifecycle.set_activity(rule).unwrap();
    };
    activity(Activity::Paused);
    ward.set("a", bad());
    ward.decided(DecisionKind::Held, 1).await;
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
    assert_eq!(ward.count(DecisionKind::Held), 1);
    assert_eq!(
        ward.texts().pop().unwrap(),
        "waiting: fail_over once resumed; now paused"
    );
    activity(Activity::Running);
    ward.decided(DecisionKind::FailOver, 1).await;
    assert_eq!(ward.serves(), "b");
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_well_while_it_is_paused_stays() {
    let (ward, _supervision) = Ward::begun(fails_over()).await;
    let activity = |activity| {
        let rule = ActivityRule::new(ActivityScope::Slot(slot(CACHE)), activity);
        ward.lab.lifecycle.set_activity(rule).unwrap();
    };
    activity(Activity::Paused);
    ward.set("a", bad());
    ward.decided(DecisionKind::Held, 1).await;
    ward.set("a", Health::Ok);
    ward.decided(DecisionKind::Healthy, 1).await;
    activity(Activity::Running);
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
}

#[tokio::test(start_paused = true)]
async fn a_step_takes_its_turn_and_is_not_taken_if_nothing_is_left_of_its_reason() {
    let turns = OneTurn::taken();
    let of_others = turns.clone();
    let ward = Ward::with(fails_over(), |builder| builder.slot_turns(of_others));
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let _supervision = ward.supervise();
    ward.set("a", bad());
    ward.decided(DecisionKind::Unhealthy, 1).await;
    seconds(60).await;
    assert_eq!(ward.builds(), 1, "it is not its turn");
    // Whoever has the turn swaps.
    ward.lab.lifecycle.swap(to("c")).await.unwrap();
    turns.give();
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("c", 2));
    assert!(turns.is_free());
    ward.set("c", bad());
    seconds(60).await;
    assert!(turns.is_free(), "given back when the step is done");
}
