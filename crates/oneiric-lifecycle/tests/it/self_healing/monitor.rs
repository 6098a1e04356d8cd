//! When instances are asked, how often at once, and what is thought of their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_lifecycle::{DecisionKind, Health, Judged, Limits, Supervise, SwapRequest};
use serde_json::json;

use super::{Ward, bad, policies, seconds, wait_until};
use crate::support::{Act, CACHE, Lab, Meter, Script, slot, until};

#[tokio::test(start_paused = true)]
async fn what_serves_is_asked_at_the_interval_and_only_while_it_is_looked_after() {
    let (ward, supervision) = Ward::begun(json!({"health_interval_ms": 10_000})).await;
    let before = ward.probes();
    seconds(105).await;
    assert_eq!(ward.probes() - before, 10);
    drop(supervision);
    seconds(100).await;
    assert_eq!(ward.probes() - before, 10);
}

#[tokio::test(start_paused = true)]
async fn three_bad_answers_make_it_unhealthy_once_and_two_good_ones_healthy() {
    let (ward, _supervision) = Ward::begun(json!({"health_interval_ms": 1_000})).await;
    assert_eq!(ward.status().judgement.judged, Judged::Healthy);
    ward.set("a", bad());
    seconds(2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let judgement = ward.status().judgement;
    assert_eq!((judgement.judged, judgement.bad), (Judged::Healthy, 2));
    seconds(10).await;
    assert_eq!(ward.status().judgement.judged, Judged::Unhealthy);
    ward.set("a", Health::warn("slow"));
    ward.decided(DecisionKind::Healthy, 1).await;
    assert_eq!(ward.status().judgement.good, 2);
    assert_eq!(ward.count(DecisionKind::Unhealthy), 1);
    assert_eq!(ward.serves(), "a", "it was only reported");
    let trail = ward.status().trail;
    assert_eq!(trail.len(), 2);
    assert!(
        trail[0].text.contains("a failed 3 probes at "),
        "{}",
        trail[0].text
    );
    assert!(trail[0].text.ends_with("the last: critical: gone"));
    assert_eq!(trail[1].text, "a is healthy: 2 good answers in a row");
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_asks_at_once_and_bad_answers_ask_on_until_it_is_judged() {
    let (ward, _supervision) = Ward::begun(json!({"health_interval_ms": 3_600_000})).await;
    ward.set("a", bad());
    let (before, begun) = (ward.probes(), tokio::time::Instant::now());
    ward.failed_call().await;
    ward.decided(DecisionKind::Unhealthy, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(ward.probes() - before, 3);
    // From here on at the interval, however many calls fail.
    for _ in 0..100 {
        ward.failed_call().await;
    }
    seconds(60).await;
    assert_eq!(ward.probes() - before, 3);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_errors_is_no_storm_of_probes() {
    let (ward, _supervision) = Ward::begun(json!({"health_interval_ms": 3_600_000})).await;
    let before = ward.probes();
    for _ in 0..50 {
        for _ in 0..100 {
            ward.failed_call().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let probes = ward.probes() - before;
    assert!((2..=6).contains(&probes), "one a second: {probes}");
}

#[tokio::test(start_paused = true)]
async fn where_many_bad_answers_are_asked_for_they_are_not_asked_for_in_a_rush() {
    let policy = json!({"health_interval_ms": 3_600_000, "health_bad": 1_000});
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", bad());
    let before = ward.probes();
    ward.failed_call().await;
    seconds(60).await;
    let probes = ward.probes() - before;
    assert!(
        (60..=75).contains(&probes),
        "some, then one a second: {probes}"
    );
    ward.decided(DecisionKind::Unhealthy, 1).await;
    assert_eq!(ward.probes() - before, 1_000);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_takes_no_place_from_others_for_long() {
    let hangs: &[(&str, &str, i64, &[&str])] =
        &[("adapter/s0", "hung", 1, &[]), (CACHE, "a", 1, &[])];
    let limits: Limits = serde_json::from_value(json!({"probe_ms": 3_600_000})).unwrap();
    let lab = Lab::with(hangs, |builder| {
        builder
            .slot_policies(policies(
                json!({"health_interval_ms": 1_000, "health_jitter_percent": 0}),
            ))
            .probes_at_once(std::num::NonZeroUsize::MIN)
            .limits(limits)
    });
    let (well, hung) = (Meter::new(), Meter::new());
    for (name, meter) in [("a", &well), ("hung", &hung)] {
        let probe = Act::Count(Arc::clone(meter));
        lab.book.script(
            name,
            Script {
                probe,
                ..Script::default()
            },
        );
        meter.gate.add_permits(1);
    }
    lab.lifecycle.activate(&slot("adapter/s0")).await.unwrap();
    let _supervision = lab.lifecycle.supervise(Supervise::new());
    seconds(1).await;
    until(|| hung.now() == 1).await;
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    // Time stands still while a probe is at work; so it is moved.
    for _ in 0..30 {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    until(|| well.now() == 1).await;
    assert_eq!(hung.now(), 1);
    well.gate.add_permits(100);
    hung.gate.add_permits(100);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_are_asked_at_once_and_none_twice() {
    let slots: Vec<String> = (0..8).map(|number| format!("adapter/s{number}")).collect();
    let candidates: Vec<_> = slots
        .iter()
        .map(|slot| (slot.as_str(), "a", 1, &[] as &[&str]))
        .collect();
    let lab = Lab::with(&candidates, |builder| {
        let three = std::num::NonZeroUsize::MIN.saturating_add(2);
        builder
            .slot_policies(policies(json!({"health_interval_ms": 5})))
            .probes_at_once(three)
    });
    let meter = Meter::new();
    let script = Script {
        probe: Act::Count(Arc::clone(&meter)),
        ..Script::default()
    };
    lab.book.script("a", script);
    meter.gate.add_permits(slots.len());
    for name in &slots {
        lab.lifecycle.activate(&slot(name)).await.unwrap();
    }
    meter.most.store(0, Ordering::SeqCst);
    let _supervision = lab.lifecycle.supervise(Supervise::new());
    // Time stands still while a probe is at work; so it is moved, by less than what makes a probe a slow one.
    for _ in 0..50 {
        tokio::time::advance(Duration::from_millis(5)).await;
        tokio::task::yield_now().await;
    }
    until(|| meter.now() == 3).await;
    meter.gate.add_permits(300);
    wait_until(|| meter.gate.available_permits() < 200, String::new).await;
    assert_eq!(meter.most.load(Ordering::SeqCst), 3);
}

/// Not in paused time, which stands still while a probe is at work.
#[tokio::test]
async fn an_operators_question_waits_for_the_monitors_and_counts_as_well() {
    let ward = Ward::new(json!({"health_interval_ms": 5}));
    let meter = Meter::new();
    let script = Script {
        probe: Act::Count(Arc::clone(&meter)),
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    meter.gate.add_permits(1);
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let _supervision = ward.supervise();
    wait_until(|| meter.now() == 1, String::new).await;
    let asked = ward.lab.lifecycle.clone();
    let asked = tokio::spawn(async move { asked.probe(&slot(CACHE)).await.unwrap() });
    meter.gate.add_permits(100);
    assert_eq!(asked.await.unwrap().health, Some(Health::Ok));
    assert_eq!(meter.most.load(Ordering::SeqCst), 1, "never two at once");
    assert!(ward.status().judgement.good >= 2);
}

/// Swaps to `a` by force, whatever its probe does, and looks after it.
async fn is_judged(ward: &Ward, probe: Act) {
    let script = Script {
        probe,
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    let to_a = SwapRequest::to_winner(slot(CACHE)).force(true);
    ward.lab.lifecycle.swap(to_a).await.unwrap();
    assert_eq!(ward.status().judgement.judged, Judged::Unknown);
    let _supervision = ward.supervise();
    ward.decided(DecisionKind::Unhealthy, 1).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_panics_or_is_away_too_long_is_bad() {
    let away = Health::temporarily_unavailable("back soon");
    for probe in [Act::Panic, Act::Say(away)] {
        let ward = Ward::new(json!({"health_interval_ms": 1_000, "health_grace_ms": 3_000}));
        is_judged(&ward, probe).await;
    }
}

/// Not in paused time, which stands still while a probe is at work.
#[tokio::test]
async fn whoever_does_not_answer_is_bad() {
    let limits: Limits = serde_json::from_value(json!({"probe_ms": 5})).unwrap();
    let ward = Ward::with(json!({"health_interval_ms": 5}), |builder| {
        builder.limits(limits)
    });
    is_judged(&ward, Act::Hang).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_to_be_back_is_not_bad_before_its_grace_is_over() {
    let policy = json!({"health_interval_ms": 1_000, "health_grace_ms": 10_000});
    let (ward, _supervision) = Ward::begun(policy).await;
    ward.set("a", Health::temporarily_unavailable("restarting"));
    seconds(9).await;
    assert_eq!(ward.status().judgement.judged, Judged::Healthy);
    ward.failed_call().await;
    seconds(1).await;
    assert_eq!(
        ward.status().judgement.judged,
        Judged::Healthy,
        "asked or not"
    );
    ward.decided(DecisionKind::Unhealthy, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_shortened_interval_holds_at_once() {
    let (ward, _supervision) = Ward::begun(json!({"health_interval_ms": 3_600_000})).await;
    seconds(60).await;
    let before = ward.probes();
    let policy = json!({"health_interval_ms": 30_000, "health_jitter_percent": 0});
    ward.lab.lifecycle.set_slot_policies(policies(policy));
    seconds(1).await;
    assert_eq!(ward.probes() - before, 1, "it was due half a minute ago");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_into_use_later_is_looked_after_too() {
    let ward = Ward::new(json!({"health_interval_ms": 1_000}));
    let _supervision = ward.supervise();
    seconds(5).await;
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let before = ward.probes();
    seconds(5).await;
    assert!(ward.probes() - before >= 4);
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_probe_is_left_alone() {
    let ward = Ward::new(json!({"health_interval_ms": 1_000, "on_failure": "fail_over"}));
    let script = Script {
        without_probe: true,
        ..Script::default()
    };
    ward.lab.book.script("a", script);
    assert_eq!(ward.lab.who(CACHE).await, "a");
    let _supervision = ward.supervise();
    for _ in 0..20 {
        ward.failed_call().await;
        seconds(1).await;
    }
    assert_eq!((ward.probes(), ward.serves().as_str()), (0, "a"));
}
