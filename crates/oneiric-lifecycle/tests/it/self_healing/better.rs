//! Going over to a better candidate although nothing fails: failing back, and greedy slots.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_core::SelectionLayer;
use oneiric_lifecycle::{
    Activity, ActivityRule, ActivityScope, DecisionKind, Difference, Health, Limits, Reconfigured,
    SwapRequest,
};
use serde_json::json;
use tokio::time::Instant;

use super::{Ward, bad, policies, seconds, wait_until};
use crate::support::{Act, CACHE, Script, candidate, provider, slot, soon};

const HOLD: Duration = Duration::from_secs(30);

fn fails_back() -> serde_json::Value {
    json!({
        "health_interval_ms": 1_000, "on_failure": "fail_over",
        "fail_back": true, "fail_back_after_ms": 30_000,
    })
}

#[tokio::test(start_paused = true)]
async fn it_fails_back_once_the_better_one_was_healthy_for_so_long_and_not_before() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    seconds(300).await;
    assert_eq!(ward.serves(), "b");
    ward.set("a", Health::Ok);
    let well = Instant::now();
    seconds(20).await;
    // Once more: its time begins anew.
    ward.set("a", bad());
    seconds(2).await;
    ward.set("a", Health::Ok);
    let well_again = Instant::now();
    assert_eq!(ward.count(DecisionKind::FailBack), 0);
    ward.decided(DecisionKind::FailBack, 1).await;
    assert!(well.elapsed() >= HOLD);
    assert!(well_again.elapsed() >= HOLD, "{:?}", well_again.elapsed());
    assert!(well_again.elapsed() <= HOLD + Duration::from_secs(3));
    assert_eq!(ward.lab.who(CACHE).await, "a");
    assert_eq!(
        ward.texts().pop().unwrap(),
        "serving a again: healthy for 30 s"
    );
    assert_eq!(ward.status().differs, None);
    let builds = ward.builds();
    seconds(60).await;
    assert_eq!(ward.builds(), builds, "nobody is tried out any more");
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_out_is_neither_counted_nor_told_as_a_swap() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    seconds(5).await;
    let before = ward.status();
    seconds(60).await;
    let after = ward.status();
    assert_eq!(before.swaps, after.swaps);
    assert_eq!(before.trail.len(), after.trail.len());
    assert_eq!(before.last_error.is_none(), after.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_again_soon_after_is_held_off_for_twice_as_long() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    let mut holds = Vec::new();
    for round in 1..=3 {
        ward.set("a", bad());
        ward.decided(DecisionKind::FailOver, round).await;
        let failed_over = Instant::now();
        ward.set("a", Health::Ok);
        ward.decided(DecisionKind::FailBack, round).await;
        holds.push(failed_over.elapsed().as_secs());
    }
    assert!((30..35).contains(&holds[0]), "{holds:?}");
    assert!((60..65).contains(&holds[1]), "{holds:?}");
    assert!((120..125).contains(&holds[2]), "{holds:?}");
    // It lasted: the next time it is as at first.
    seconds(200).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 4).await;
    let failed_over = Instant::now();
    ward.set("a", Health::Ok);
    ward.decided(DecisionKind::FailBack, 4).await;
    assert!((30..35).contains(&failed_over.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn it_waits_while_the_slot_is_paused_and_goes_back_when_it_is_resumed() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    let activity = |activity| {
        let rule = ActivityRule::new(ActivityScope::Slot(slot(CACHE)), activity);
        ward.lab.lifecycle.set_activity(rule).unwrap();
    };
    activity(Activity::Paused);
    ward.set("a", Health::Ok);
    ward.decided(DecisionKind::Held, 1).await;
    seconds(300).await;
    assert_eq!(
        (ward.serves().as_str(), ward.count(DecisionKind::Held)),
        ("b", 1)
    );
    let resumed = Instant::now();
    activity(Activity::Running);
    ward.decided(DecisionKind::FailBack, 1).await;
    assert!(resumed.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn when_both_are_bad_nobody_spins_and_the_better_one_comes_back_first() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    seconds(10).await;
    for name in ["b", "c"] {
        ward.set(name, bad());
    }
    ward.decided(DecisionKind::NoneLeft, 1).await;
    let builds = ward.builds();
    seconds(600).await;
    assert!(ward.builds() - builds < 2_000, "{}", ward.builds() - builds);
    ward.set("a", Health::Ok);
    wait_until(|| ward.serves() == "a", String::new).await;
    assert_eq!(ward.lab.who(CACHE).await, "a");
}

#[tokio::test(start_paused = true)]
async fn a_swap_by_somebody_ends_it() {
    let (ward, _supervision) = Ward::begun(fails_back()).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    let to_c = SwapRequest::to_provider(slot(CACHE), provider("c"));
    ward.lab.lifecycle.swap(to_c).await.unwrap();
    ward.set("a", Health::Ok);
    seconds(300).await;
    assert_eq!(ward.serves(), "c");
    assert_eq!(ward.status().differs, Some(Difference::NotApplied));
}

/// Not in paused time, which stands still while a factory is at work.
#[tokio::test]
async fn a_factory_that_hangs_while_it_is_tried_out_holds_up_nobody() {
    let limits = json!({"activation_ms": 3_600_000});
    let limits: Limits = serde_json::from_value(limits).unwrap();
    let mut policy = fails_back();
    policy["health_interval_ms"] = 5.into();
    let ward = Ward::with(policy, |builder| builder.limits(limits));
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let _supervision = ward.supervise();
    ward.set("a", bad());
    let script = Script {
        build: Act::Hang,
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    ward.decided(DecisionKind::FailOver, 1).await;
    // After a's and b's own: a is tried out, perhaps already when that is decided.
    wait_until(|| ward.builds() > 2, String::new).await;
    let to_c = SwapRequest::to_provider(slot(CACHE), provider("c"));
    let swap = soon(ward.lab.lifecycle.swap(to_c));
    assert!(swap.await.unwrap().serves());
    // The runtime would wait for its thread.
    let report = ward.lab.lifecycle.shutdown(Duration::from_secs(60)).await;
    assert!(report.is_clean(), "{report:?}");
}

fn greedy() -> serde_json::Value {
    json!({"rebind": "greedy", "rebind_settle_ms": 5_000, "health_interval_ms": 0})
}

#[tokio::test(start_paused = true)]
async fn a_greedy_slot_follows_who_ranks_best_once_that_is_settled() {
    let (ward, _supervision) = Ward::begun(greedy()).await;
    // Ranks change five times, each before the one before is settled.
    for (number, name) in ["d", "e", "f", "g", "h"].into_iter().enumerate() {
        let better = candidate(CACHE, name, 10 + number as i64, &[]);
        ward.lab.registry.register(better).keep();
        seconds(3).await;
    }
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
    ward.decided(DecisionKind::Rebind, 1).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("h", 2));
    assert_eq!(ward.texts(), ["serving h: ranks best, unchanged for 5 s"]);
    seconds(600).await;
    assert_eq!(ward.builds(), 2, "once");
    ward.nothing_is_left_over(1);
}

#[tokio::test(start_paused = true)]
async fn a_greedy_slot_tries_who_fails_once_and_others_follow_nobody_by_themselves() {
    let (ward, _supervision) = Ward::begun(greedy()).await;
    let script = Script {
        build: Act::Fail,
        ..Script::default()
    };
    ward.lab.book.script("d", script);
    ward.lab
        .registry
        .register(candidate(CACHE, "d", 9, &[]))
        .keep();
    seconds(600).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 2));
    let texts = ward.texts();
    assert!(
        texts[0].starts_with("going over to d failed at build"),
        "{texts:?}"
    );
    for rebind in ["on_selection", "manual"] {
        let (ward, _supervision) = Ward::begun(json!({"rebind": rebind})).await;
        ward.lab
            .registry
            .register(candidate(CACHE, "d", 9, &[]))
            .keep();
        seconds(60).await;
        assert_eq!(ward.serves(), "a", "{rebind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_greedy_slot_does_not_go_back_to_the_one_it_failed_over_from() {
    let mut policy = greedy();
    policy["on_failure"] = "fail_over".into();
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.failed_call().await;
    ward.decided(DecisionKind::FailOver, 1).await;
    seconds(600).await;
    assert_eq!(ward.serves(), "b");
    ward.lab
        .registry
        .register(candidate(CACHE, "d", 9, &[]))
        .keep();
    ward.decided(DecisionKind::Rebind, 1).await;
    assert_eq!(ward.serves(), "d", "somebody else may");
}

/// Well when it is built, and bad as soon as it is on trial.
fn disappoints(ward: &Ward, name: &str) {
    let script = Script {
        probe: Act::FailEach(Arc::default(), 2),
        ..Script::default()
    };
    ward.lab.book.script(name, script);
}

#[tokio::test(start_paused = true)]
async fn a_greedy_slot_does_not_go_back_to_the_one_that_was_swung_back() {
    let mut policy = greedy();
    policy["bake_ms"] = 30_000.into();
    policy["health_bad"] = 1.into();
    let (ward, _supervision) = Ward::begun(policy.clone()).await;
    disappoints(&ward, "d");
    let register = |name: &str, priority| {
        let better = candidate(CACHE, name, priority, &[]);
        ward.lab.registry.register(better).keep();
    };
    register("d", 9);
    ward.decided(DecisionKind::SwingBack, 1).await;
    seconds(3_600).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 2));
    assert_eq!(ward.count(DecisionKind::Rebind), 1, "{:#?}", ward.texts());
    // Neither does another supervision, that knows nothing of before.
    let _supervision = ward.supervise();
    seconds(3_600).await;
    assert_eq!(ward.builds(), 2);
    // Until ranks have changed, be it for a moment.
    register("e", 10);
    seconds(1).await;
    ward.lab.withdraw(CACHE, "e");
    ward.decided(DecisionKind::SwingBack, 2).await;
    seconds(600).await;
    let builds = ward.builds();
    assert_eq!(builds, 3);
    // Another policy is a reason to try it once more.
    policy["rebind_settle_ms"] = 1_000.into();
    policy["health_jitter_percent"] = 0.into();
    ward.lab.lifecycle.set_slot_policies(policies(policy));
    ward.decided(DecisionKind::SwingBack, 3).await;
    assert_eq!(ward.builds(), builds + 1);
}

#[tokio::test(start_paused = true)]
async fn secrets_that_are_renewed_by_themselves_do_not_bring_back_the_one_that_was_swung_back() {
    for takes_settings in [true, false] {
        let mut policy = greedy();
        policy["bake_ms"] = 30_000.into();
        policy["health_bad"] = 1.into();
        let ward = Ward::new(policy);
        let script = Script {
            takes_settings,
            ..Script::default()
        };
        ward.lab.book.script("a", script);
        assert_eq!(ward.lab.who(CACHE).await, "a");
        let _supervision = ward.supervise();
        disappoints(&ward, "d");
        let better = candidate(CACHE, "d", 9, &[]);
        ward.lab.registry.register(better).keep();
        ward.decided(DecisionKind::SwingBack, 1).await;
        for _ in 0..3 {
            let serving = ward.status().active.unwrap().instance;
            let renewed = ward.lab.lifecycle.renew(&slot(CACHE), serving).await;
            match renewed.unwrap() {
                Reconfigured::Told => assert!(takes_settings),
                Reconfigured::Swapped(report) => assert!(!takes_settings && report.serves()),
                other => panic!("{other:?}"),
            }
            seconds(600).await;
        }
        assert_eq!(ward.serves(), "a");
        assert_eq!(ward.count(DecisionKind::Rebind), 1, "{:#?}", ward.texts());
        // Neither does another supervision, that knows nothing of before.
        let _supervision = ward.supervise();
        seconds(600).await;
        assert_eq!(ward.count(DecisionKind::Rebind), 1, "{:#?}", ward.texts());
        // Whoever asks for it has it tried once more.
        ward.lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
        ward.decided(DecisionKind::Rebind, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn neither_does_the_exchange_of_the_one_that_serves_again_for_settings_that_it_missed() {
    let mut policy = greedy();
    policy["bake_ms"] = 30_000.into();
    let (ward, _supervision) = Ward::begun(policy).await;
    let health = Arc::new(Mutex::new(Health::Ok));
    let script = Script {
        probe: Act::SayAs(Arc::clone(&health)),
        takes_settings: true,
        ..Script::default()
    };
    ward.lab.book.script("d", script);
    let better = candidate(CACHE, "d", 9, &[]);
    ward.lab.registry.register(better).keep();
    ward.decided(DecisionKind::Rebind, 1).await;
    let told = ward.lab.lifecycle.reconfigure(&slot(CACHE)).await;
    assert!(matches!(told, Ok(Reconfigured::Told)));
    *health.lock().unwrap() = bad();
    ward.decided(DecisionKind::SwingBack, 1).await;
    *health.lock().unwrap() = Health::Ok;
    seconds(600).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 3));
    assert_eq!(ward.count(DecisionKind::Rebind), 1, "{:#?}", ward.texts());
}

#[tokio::test(start_paused = true)]
async fn an_operators_trial_that_is_swung_back_is_not_begun_again_by_a_greedy_slot() {
    let mut policy = greedy();
    policy["health_bad"] = 1.into();
    let (ward, _supervision) = Ward::begun(policy).await;
    disappoints(&ward, "b");
    let (operator, cache) = (SelectionLayer::Operator, slot(CACHE));
    // The selection is taken back some time after the pointer.
    ward.lab
        .registry
        .select(operator, &cache, Some(provider("b")));
    let on_trial = SwapRequest::to_winner(slot(CACHE)).bake(HOLD);
    ward.lab.lifecycle.begin_swap(on_trial).await.unwrap();
    ward.decided(DecisionKind::SwingBack, 1).await;
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 2));
    ward.lab.registry.select(operator, &cache, None);
    seconds(60).await;
    assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 2));
}

#[tokio::test(start_paused = true)]
async fn a_fail_back_that_is_swung_back_is_held_off_for_twice_as_long_however_long_its_trial() {
    let mut policy = fails_back();
    policy["bake_ms"] = 300_000.into();
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.decided(DecisionKind::FailOver, 1).await;
    let mut holds = Vec::new();
    for round in 1..=3 {
        let serves_again = Instant::now();
        ward.set("a", Health::Ok);
        ward.decided(DecisionKind::FailBack, round).await;
        holds.push(serves_again.elapsed().as_secs());
        // Longer than it was held off for.
        seconds(200).await;
        ward.set("a", bad());
        ward.decided(DecisionKind::SwingBack, round).await;
        assert_eq!(ward.serves(), "b");
    }
    assert!((30..35).contains(&holds[0]), "{holds:?}");
    assert!((60..65).contains(&holds[1]), "{holds:?}");
    assert!((120..125).contains(&holds[2]), "{holds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_somebody_else_does_not_make_forget_who_failed() {
    let mut policy = greedy();
    policy["on_failure"] = "fail_over".into();
    policy["bake_ms"] = 30_000.into();
    policy["health_bad"] = 1.into();
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    ward.failed_call().await;
    ward.decided(DecisionKind::FailOver, 1).await;
    disappoints(&ward, "d");
    let better = candidate(CACHE, "d", 9, &[]);
    ward.lab.registry.register(better).keep();
    ward.decided(DecisionKind::SwingBack, 1).await;
    ward.lab.withdraw(CACHE, "d");
    seconds(600).await;
    assert_eq!(ward.serves(), "b", "{:#?}", ward.texts());
    assert!(matches!(
        ward.status().differs,
        Some(Difference::FailedOver { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_greedy_slot_goes_to_none_of_those_that_failed_one_after_the_other() {
    let mut policy = greedy();
    policy["on_failure"] = "fail_over".into();
    let (ward, _supervision) = Ward::begun(policy).await;
    for (name, round) in [("a", 1), ("b", 2)] {
        ward.set(name, bad());
        ward.failed_call().await;
        ward.decided(DecisionKind::FailOver, round).await;
        ward.set(name, Health::Ok);
        seconds(60).await;
    }
    seconds(600).await;
    assert_eq!(ward.serves(), "c", "{:#?}", ward.texts());
}
