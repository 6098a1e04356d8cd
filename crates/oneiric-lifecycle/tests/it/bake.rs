//! A new instance on trial: how a bake passes, swings back, and what becomes of it when something else happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_core::{BoxFuture, FactoryPolicy, Origin, Slot};
use oneiric_lifecycle::{
    BakeEnd, Baking, ChangeSet, Difference, Failure, Happening, Health, Outcome, Payload,
    Reconfigured, Streamed, SwapReport, SwapRequest,
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{
    Act, CACHE, Lab, Named, Script, candidate, policies, provider, slot, soon, until,
};

const BAKE: Duration = Duration::from_secs(30);

/// `a` serves, `b` and `c` can.
async fn lab() -> Lab {
    let lab = Lab::new(&[
        (CACHE, "a", 3, &[]),
        (CACHE, "b", 2, &[]),
        (CACHE, "c", 1, &[]),
    ]);
    assert_eq!(lab.who(CACHE).await, "a");
    lab
}

fn to(name: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider(name))
}

/// Swaps to `name` on trial, and gives the trial.
async fn trial(lab: &Lab, name: &str) -> Baking {
    let report = lab.lifecycle.begin_swap(to(name).bake(BAKE)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    report.baking().unwrap().clone()
}

fn retired(lab: &Lab, name: &str) -> Vec<u32> {
    let records = lab.book.records_of(name);
    records
        .iter()
        .map(|record| record.retired.load(Ordering::SeqCst))
        .collect()
}

fn nobody_called_what_was_retired(lab: &Lab) {
    let all = lab.book.all();
    assert!(
        all.iter()
            .all(|record| !record.called_after_retirement.load(Ordering::SeqCst))
    );
}

async fn call(lab: &Lab) -> bool {
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    lease.invoke("who", Payload::empty()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_old_instance_is_kept_until_the_trial_is_over() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    assert_eq!(lab.who(CACHE).await, "b");
    tokio::time::sleep(BAKE / 2).await;
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![0], vec![0]));
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert!(status.draining.is_empty(), "it is warm, not draining");
    let bake = status.bake.unwrap();
    assert_eq!((bake.provider.as_str(), bake.warm.as_str()), ("b", "a"));
    assert_eq!((bake.calls.ended(), bake.calls_before.ended()), (1, 1));
    assert!(bake.probes > 0 && bake.ended.is_none());
    let report = baking.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped);
    assert_eq!(report.bake.unwrap().ended, Some(BakeEnd::Passed));
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![0]));
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(status.bake.unwrap().ended, Some(BakeEnd::Passed));
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_fails_a_fifth_of_its_calls_is_swung_back_with_the_numbers() {
    let lab = lab().await;
    lab.book.script(
        "b",
        Script {
            call: Act::FailEach(Arc::new(AtomicU64::new(0)), 5),
            ..Script::default()
        },
    );
    for _ in 0..99 {
        assert!(call(&lab).await);
    }
    let mut events = lab.lifecycle.events();
    let baking = trial(&lab, "b").await;
    for _ in 0..20 {
        call(&lab).await;
    }
    let report = baking.ended().await;
    let Outcome::SwungBack { failure } = &report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!(failure.code, "lifecycle.bake_failed");
    assert_eq!(
        failure.message,
        "20.0 % of 20 calls on b failed, 0.0 % of 100 before it; 5 points more may"
    );
    assert!(!report.serves());
    let bake = report.bake.unwrap();
    assert_eq!((bake.calls.failed, bake.calls.succeeded), (4, 16));
    assert_eq!(bake.ended, Some(BakeEnd::SwungBack));
    assert_eq!(lab.who(CACHE).await, "a");
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![0], vec![1]));
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(
        status.active.unwrap().instance,
        1,
        "the same instance, not another one"
    );
    let decision = status.trail.last().unwrap();
    assert!(
        decision
            .text
            .starts_with("serving a again: 20.0 % of 20 calls on b failed"),
        "{}",
        decision.text
    );
    let mut told = Vec::new();
    while let Ok(Some(Streamed::Event(event))) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        told.push(
            serde_json::to_value(&event.what).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let wanted = [
        "building",
        "probed",
        "published",
        "bake_began",
        "published",
        "decided",
        "bake_ended",
        "retired",
    ];
    assert_eq!(told, wanted);
}

#[tokio::test(start_paused = true)]
async fn what_fails_no_more_than_the_old_one_did_passes() {
    let lab = lab().await;
    for name in ["b", "c"] {
        lab.book.script(
            name,
            Script {
                call: Act::FailEach(Arc::new(AtomicU64::new(0)), 5),
                ..Script::default()
            },
        );
    }
    lab.lifecycle.swap(to("b")).await.unwrap();
    for _ in 0..100 {
        call(&lab).await;
    }
    let baking = trial(&lab, "c").await;
    for _ in 0..100 {
        call(&lab).await;
    }
    assert_eq!(baking.ended().await.outcome, Outcome::Swapped);
}

#[tokio::test(start_paused = true)]
async fn panics_swing_back() {
    let lab = lab().await;
    lab.book.script(
        "b",
        Script {
            call: Act::Panic,
            ..Script::default()
        },
    );
    let baking = trial(&lab, "b").await;
    for _ in 0..20 {
        call(&lab).await;
    }
    let report = baking.ended().await;
    let Outcome::SwungBack { failure } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(
        failure.message,
        "100.0 % of 20 calls on b panicked; 1 % may"
    );
    let calls = lab.lifecycle.status(&slot(CACHE)).unwrap().calls;
    assert_eq!((calls.failed, calls.panicked), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_swing_back() {
    let lab = lab().await;
    let health = Arc::new(Mutex::new(Health::Ok));
    lab.book.script(
        "b",
        Script {
            probe: Act::SayAs(Arc::clone(&health)),
            ..Script::default()
        },
    );
    let baking = trial(&lab, "b").await;
    *health.lock().unwrap() = Health::Critical("gone".into());
    let report = baking.ended().await;
    let Outcome::SwungBack { failure } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(
        failure.message.starts_with("b failed 3 probes at"),
        "{}",
        failure.message
    );
    assert_eq!(report.bake.unwrap().bad_probes, 3);
    assert_eq!(lab.who(CACHE).await, "a");
    // The one who ranks best by a selection would be b again: the difference is named.
    lab.registry.select(
        oneiric_core::SelectionLayer::Settings,
        &slot(CACHE),
        Some(provider("b")),
    );
    let differs = lab.lifecycle.status(&slot(CACHE)).unwrap().differs;
    assert!(
        matches!(differs, Some(Difference::SwungBack { .. })),
        "{differs:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_swap_by_force_is_on_no_trial_unless_that_is_asked_for() {
    let lab = lab().await;
    let sick = Health::Critical("sick".into());
    lab.book.script(
        "b",
        Script {
            probe: Act::Say(sick),
            ..Script::default()
        },
    );
    let report = lab.lifecycle.begin_swap(to("b").force(true)).await.unwrap();
    assert!(report.baking().is_none() && matches!(report.outcome, Outcome::Forced { .. }));
    let report = lab.lifecycle.swap(to("a")).await.unwrap();
    assert!(report.serves());
    // Asked for: its probes do not count, which was said with the force.
    let report = lab
        .lifecycle
        .swap(to("b").force(true).bake(BAKE))
        .await
        .unwrap();
    assert!(
        matches!(report.outcome, Outcome::Forced { .. }),
        "{report:?}"
    );
    let bake = report.bake.unwrap();
    assert_eq!(bake.ended, Some(BakeEnd::Passed));
    assert!(bake.bad_probes >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_third_one_supersedes_a_trial_and_may_be_on_one_itself() {
    let lab = lab().await;
    let first = trial(&lab, "b").await;
    let second = trial(&lab, "c").await;
    let report = first.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped);
    assert_eq!(report.bake.unwrap().ended, Some(BakeEnd::Superseded));
    assert_eq!(retired(&lab, "a"), [1], "nothing leads back to it");
    assert_eq!(second.status().warm.as_str(), "b");
    second.swing_back("as told");
    let report = second.ended().await;
    let Outcome::SwungBack { failure } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(failure.message, "as told");
    assert_eq!(lab.who(CACHE).await, "b");
    assert_eq!((retired(&lab, "b"), retired(&lab, "c")), (vec![0], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_third_one_that_fails_leaves_the_trial_as_it_is() {
    let lab = lab().await;
    lab.book.script(
        "c",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    let baking = trial(&lab, "b").await;
    let report = lab.lifecycle.swap(to("c")).await.unwrap();
    assert!(matches!(report.outcome, Outcome::RolledBack { .. }));
    assert_eq!(retired(&lab, "a"), [0]);
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Passed)
    );
    assert_eq!(retired(&lab, "a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_serves_on_trial_already_is_not_exchanged_and_stays_on_trial() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let report = lab.lifecycle.swap(to("b")).await.unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert_eq!(retired(&lab, "a"), [0]);
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Passed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_swap_to_the_warm_one_builds_nothing() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let builds = lab.book.builds_begun.load(Ordering::SeqCst);
    let report = lab.lifecycle.swap(to("a")).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    assert!(report.bake.is_none(), "it has served before");
    assert_eq!(lab.book.builds_begun.load(Ordering::SeqCst), builds);
    assert_eq!(lab.who(CACHE).await, "a");
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![0], vec![1]));
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Superseded)
    );
}

#[tokio::test(start_paused = true)]
async fn a_warm_one_that_is_sick_by_now_is_not_swapped_to_and_stays_warm() {
    let lab = Lab::new(&[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])]);
    let health = Arc::new(Mutex::new(Health::Ok));
    lab.book.script(
        "a",
        Script {
            probe: Act::SayAs(Arc::clone(&health)),
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let baking = trial(&lab, "b").await;
    *health.lock().unwrap() = Health::Critical("gone".into());
    let report = lab.lifecycle.swap(to("a")).await.unwrap();
    assert!(
        matches!(report.outcome, Outcome::RolledBack { .. }),
        "{report:?}"
    );
    assert_eq!(
        retired(&lab, "a"),
        [0],
        "a swap that fails takes nothing from the trial"
    );
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Passed)
    );
    assert_eq!(retired(&lab, "a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_old_one_can_be_kept_until_it_is_told() {
    let lab = lab().await;
    let hold = |name: &str| to(name).keep_old();
    let report = lab.lifecycle.begin_swap(hold("b")).await.unwrap();
    let held = report.baking().unwrap().clone();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!((retired(&lab, "a"), held.status().until), (vec![0], None));
    held.swing_back("another slot failed");
    assert!(matches!(
        held.ended().await.outcome,
        Outcome::SwungBack { .. }
    ));
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.begin_swap(hold("b")).await.unwrap();
    let held = report.baking().unwrap().clone();
    held.release();
    assert_eq!(held.ended().await.outcome, Outcome::Swapped);
    assert_eq!(
        (retired(&lab, "a"), retired(&lab, "b")),
        (vec![1], vec![1, 0])
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_until_told_goes_when_nobody_is_left_to_tell() {
    let lab = lab().await;
    let report = lab.lifecycle.begin_swap(to("b").keep_old()).await.unwrap();
    let baking = report.baking().unwrap().clone();
    drop(report);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(retired(&lab, "a"), [0], "one is left");
    drop(baking);
    until(|| retired(&lab, "a") == [1]).await;
    // Nor does a caller who goes away before there is a report leave it warm for ever.
    let (build, gate) = Act::gate();
    let script = Script {
        build,
        ..Script::default()
    };
    lab.book.script("c", script);
    let lifecycle = lab.lifecycle.clone();
    let asked = tokio::spawn(async move { lifecycle.begin_swap(to("c").keep_old()).await });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 3).await;
    asked.abort();
    gate.add_permits(1);
    until(|| retired(&lab, "b") == [1]).await;
    assert_eq!(lab.who(CACHE).await, "c");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_retires_both_once() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let report = lab.lifecycle.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![1]));
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Superseded)
    );
}

#[tokio::test(start_paused = true)]
async fn taking_a_slot_out_of_service_retires_both_once() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    lab.lifecycle
        .deactivate(&slot(CACHE))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![1]));
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Superseded)
    );
    tokio::time::sleep(BAKE * 2).await;
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn new_settings_by_a_new_instance_supersede() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let told = lab.lifecycle.reconfigure(&slot(CACHE)).await.unwrap();
    assert!(matches!(told, Reconfigured::Swapped(_)));
    assert_eq!(
        baking.ended().await.bake.unwrap().ended,
        Some(BakeEnd::Superseded)
    );
    assert_eq!(
        (retired(&lab, "a"), retired(&lab, "b")),
        (vec![1], vec![1, 0])
    );
}

#[tokio::test(start_paused = true)]
async fn there_is_no_way_back_to_one_that_lacks_a_facet_in_use() {
    let lab = Lab::new(&[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])]);
    lab.book.script(
        "a",
        Script {
            without_facet: true,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let baking = trial(&lab, "b").await;
    let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
    assert_eq!(live.lease().unwrap().name(), "b");
    baking.swing_back("as told");
    let report = baking.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped, "it stays");
    assert_eq!(report.warnings[0].code, "lifecycle.facet_missing");
    assert_eq!(live.lease().unwrap().name(), "b");
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![0]));
    let trail = lab.lifecycle.status(&slot(CACHE)).unwrap().trail;
    assert!(trail.last().unwrap().failure.is_some(), "{trail:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_changes_nothing() {
    let lab = lab().await;
    let lifecycle = lab.lifecycle.clone();
    let caller = tokio::spawn(async move { lifecycle.swap(to("b").bake(BAKE)).await });
    until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().bake.is_some()).await;
    caller.abort();
    let ended = |lab: &Lab| {
        lab.lifecycle
            .status(&slot(CACHE))
            .unwrap()
            .bake
            .unwrap()
            .ended
    };
    tokio::time::sleep(BAKE * 2).await;
    until(|| ended(&lab).is_some() && retired(&lab, "a") == [1]).await;
    assert_eq!(lab.who(CACHE).await, "b");
}

#[tokio::test(start_paused = true)]
async fn a_policy_asks_for_trials_and_later_trials_are_of_the_new_policy() {
    let lab = lab().await;
    let policies = |ms: u64| policies(&[("adapter/*", json!({ "bake_ms": ms }))]);
    lab.lifecycle.set_slot_policies(policies(5_000));
    let report = lab.lifecycle.begin_swap(to("b")).await.unwrap();
    let bake = report.bake.clone().unwrap();
    let time = bake.since;
    lab.lifecycle.set_slot_policies(policies(0));
    let report = report.settled().await;
    assert_eq!(
        report.bake.unwrap().until,
        Some(time + Duration::from_secs(5))
    );
    let report = lab.lifecycle.begin_swap(to("c")).await.unwrap();
    assert!(report.baking().is_none());
}

/// Under load, with threads of its own: swap after swap on trial, some told to swing back, some superseded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_call_fails_and_each_instance_is_retired_once() {
    let lab = Arc::new(lab().await);
    let (done, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (lab, done, calls) = (Arc::clone(&lab), Arc::clone(&done), Arc::clone(&calls));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    assert!(call(&lab).await);
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let names = ["a", "b", "c"];
    let mut held: Vec<Baking> = Vec::new();
    for round in 0..120_usize {
        let request = to(names[(round * 7 + round / 5) % 3]).keep_old();
        let report: SwapReport = soon(lab.lifecycle.begin_swap(request)).await.unwrap();
        held.extend(report.baking().cloned());
        if let Some(last) = held.last() {
            match round % 4 {
                0 => last.swing_back("told"),
                1 => last.release(),
                _ => {}
            }
        }
    }
    if let Some(last) = held.last() {
        last.release();
    }
    for baking in &held {
        soon(baking.ended()).await;
    }
    done.store(true, Ordering::SeqCst);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    let serving = lab.lifecycle.status(&slot(CACHE)).unwrap().active.unwrap();
    let numbers: Vec<u32> = names.iter().flat_map(|name| retired(&lab, name)).collect();
    assert_eq!(
        numbers.iter().filter(|times| **times == 0).count(),
        1,
        "only {serving:?} is left"
    );
    assert!(numbers.iter().all(|times| *times <= 1), "{numbers:?}");
    nobody_called_what_was_retired(&lab);
    assert!(calls.load(Ordering::SeqCst) > 0);
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(30))).await;
    assert!(report.is_clean(), "{report:?}");
    let numbers: Vec<u32> = names.iter().flat_map(|name| retired(&lab, name)).collect();
    assert!(numbers.iter().all(|times| *times == 1), "{numbers:?}");
}

/// What a warm instance needs is not taken away from under it.
#[tokio::test(start_paused = true)]
async fn a_warm_instance_holds_what_it_requires() {
    let lab = Lab::new(&[
        ("service/clock", "clock", 0, &[]),
        (CACHE, "a", 2, &["service/clock"]),
        (CACHE, "b", 1, &[]),
    ]);
    assert_eq!(lab.who(CACHE).await, "a");
    let baking = trial(&lab, "b").await;
    let clock = slot("service/clock");
    assert_eq!(lab.lifecycle.holders(&clock), [slot(CACHE)]);
    let refused = lab.lifecycle.deactivate(&clock).await.unwrap_err();
    assert_eq!(oneiric_core::Coded::code(&refused), "lifecycle.in_use");
    baking.release();
    baking.ended().await;
    assert_eq!(lab.lifecycle.holders(&clock), []);
}

/// It may be gone for a reason: nobody is to serve whom there is no candidate of.
#[tokio::test(start_paused = true)]
async fn there_is_no_way_back_to_one_that_was_withdrawn() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let left = ["b", "c"].map(|name| candidate(CACHE, name, 1, &[]));
    lab.registry
        .update_origin(&Origin::settings(), left)
        .unwrap();
    baking.swing_back("as told");
    let report = baking.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped, "it stays");
    assert_eq!(report.warnings[0].code, "core.no_candidate");
    assert_eq!(lab.who(CACHE).await, "b");
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![0]));
    let trail = lab.lifecycle.status(&slot(CACHE)).unwrap().trail;
    assert!(trail.last().unwrap().failure.is_some(), "{trail:?}");
}

#[tokio::test(start_paused = true)]
async fn there_is_no_way_back_to_one_whose_factory_is_denied_by_now() {
    let lab = lab().await;
    let baking = trial(&lab, "b").await;
    let nothing = FactoryPolicy::new(["some.other:part"]).unwrap();
    lab.lifecycle.set_policy(nothing);
    // Nor by a swap.
    let report = lab.lifecycle.swap(to("a")).await.unwrap();
    let Outcome::RolledBack { failure } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(failure.code, "core.factory_denied");
    baking.swing_back("as told");
    let report = baking.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped, "it stays");
    assert_eq!(report.warnings[0].code, "core.factory_denied");
    assert_eq!(lab.who(CACHE).await, "b");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_trial_is_not_retired_while_it_answers_a_probe() {
    let lab = lab().await;
    let (block, open) = Act::thread_gate();
    let (probe, times) = Act::later(block);
    lab.book.script(
        "b",
        Script {
            probe,
            ..Script::default()
        },
    );
    let baking = trial(&lab, "b").await;
    tokio::time::sleep(BAKE / 10).await;
    until(|| times.load(Ordering::SeqCst) == 2).await;
    baking.swing_back("as told");
    until(|| {
        lab.lifecycle
            .serving(&slot(CACHE))
            .unwrap()
            .provider()
            .as_str()
            == "a"
    })
    .await;
    let end = baking.ended();
    tokio::pin!(end);
    for _ in 0..1_000 {
        tokio::select! {
            biased;
            report = &mut end => panic!("{report:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(open);
    assert!(matches!(end.await.outcome, Outcome::SwungBack { .. }));
    assert_eq!(retired(&lab, "b"), [1]);
    nobody_called_what_was_retired(&lab);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_of_service_is_not_on_trial_any_more() {
    let lab = lab().await;
    let (baking, lease) = (
        trial(&lab, "b").await,
        lab.lifecycle.lease(&slot(CACHE)).await.unwrap(),
    );
    let lifecycle = lab.lifecycle.clone();
    let gone = tokio::spawn(async move { lifecycle.deactivate(&slot(CACHE)).await });
    until(|| lab.lifecycle.serving(&slot(CACHE)).is_none()).await;
    let report = baking.ended().await;
    assert_eq!(report.bake.unwrap().ended, Some(BakeEnd::Superseded));
    assert!(!gone.is_finished(), "a call goes on");
    let mut events = lab.lifecycle.events();
    tokio::time::sleep(BAKE / 2).await;
    while let Ok(Some(Streamed::Event(event))) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        assert!(!matches!(event.what, Happening::Probed { .. }), "{event:?}");
    }
    drop(lease);
    gone.await.unwrap().unwrap().unwrap();
    assert_eq!((retired(&lab, "a"), retired(&lab, "b")), (vec![1], vec![1]));
}

/// As for the monitor: what says that it will be back has the policy's grace, and no answer in that counts.
#[tokio::test(start_paused = true)]
async fn answers_within_the_grace_say_nothing() {
    let lab = lab().await;
    let health = Arc::new(Mutex::new(Health::Ok));
    lab.book.script(
        "b",
        Script {
            probe: Act::SayAs(Arc::clone(&health)),
            ..Script::default()
        },
    );
    let entry = json!({ "health_bad": 3, "health_grace_ms": 10_000 });
    lab.lifecycle
        .set_slot_policies(policies(&[("adapter/*", entry)]));
    let baking = trial(&lab, "b").await;
    // Asked each 3 s: four times within the grace, and once after it.
    *health.lock().unwrap() = Health::TemporarilyUnavailable("soon".into());
    soon(until_probed(&baking, 5)).await;
    *health.lock().unwrap() = Health::Ok;
    let report = baking.ended().await;
    assert_eq!(report.outcome, Outcome::Swapped, "{report:?}");
    assert_eq!(report.bake.unwrap().bad_probes, 1);
}

async fn until_probed(baking: &Baking, times: u32) {
    while baking.status().probes < times {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn why_it_was_swung_back_is_redacted_before_it_is_recorded() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| {
        builder.redact(|text| text.replace("hunter2", "[redacted]").into())
    });
    assert_eq!(lab.who(CACHE).await, "a");
    let mut events = lab.lifecycle.events();
    let baking = trial(&lab, "b").await;
    baking.swing_back("it said hunter2");
    let report = baking.ended().await;
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    let mut said = format!("{report:?} {status:?} {:?}", baking.status());
    while let Ok(Some(Streamed::Event(event))) =
        tokio::time::timeout(Duration::from_millis(1), events.next()).await
    {
        said.push_str(&serde_json::to_string(&*event).unwrap());
    }
    assert!(
        said.contains("it said [redacted]") && !said.contains("hunter2"),
        "{said}"
    );
}

/// Writes down that the old one is to serve again, line by line, and waits for a permit in between.
#[derive(Clone)]
struct Pen {
    gate: Arc<Semaphore>,
    written: Arc<Mutex<Vec<String>>>,
}

impl Pen {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            written: Arc::default(),
        }
    }

    fn record(&self) -> impl Fn(&Slot, &Failure) -> BoxFuture<'static, ()> + Send + Sync + 'static {
        let pen = self.clone();
        move |slot, failure| {
            let (pen, line) = (pen.clone(), format!("{slot}: {}", failure.message));
            Box::pin(async move {
                pen.written.lock().unwrap().push(format!("begin {line}"));
                pen.gate.acquire().await.unwrap().forget();
                pen.written.lock().unwrap().push("end".to_owned());
            })
        }
    }

    fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

/// As [`trial`], with what writes down how it ends.
async fn trial_with(lab: &Lab, name: &str, pen: &Pen) -> Baking {
    let request = to(name).bake(BAKE).record_back(pen.record());
    let report = lab.lifecycle.begin_swap(request).await.unwrap();
    report.baking().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn that_the_old_one_serves_again_is_written_down_before_it_does() {
    let lab = lab().await;
    let pen = Pen::new();
    let baking = trial_with(&lab, "b", &pen).await;
    baking.swing_back("as told");
    until(|| !pen.written().is_empty()).await;
    assert_eq!(lab.who(CACHE).await, "b");
    pen.gate.add_permits(1);
    assert!(matches!(
        baking.ended().await.outcome,
        Outcome::SwungBack { .. }
    ));
    assert_eq!(pen.written(), ["begin adapter/cache: as told", "end"]);
    assert_eq!(lab.who(CACHE).await, "a");
    // Nothing is written where nothing goes back.
    let pen = Pen::new();
    trial_with(&lab, "b", &pen).await.ended().await;
    assert!(pen.written().is_empty());
}

#[tokio::test(start_paused = true)]
async fn there_is_no_way_back_to_one_that_is_withdrawn_while_that_is_written_down() {
    let lab = lab().await;
    let pen = Pen::new();
    let baking = trial_with(&lab, "b", &pen).await;
    baking.swing_back("as told");
    until(|| !pen.written().is_empty()).await;
    lab.withdraw(CACHE, "a");
    pen.gate.add_permits(1);
    let report = baking.ended().await;
    assert_eq!(report.bake.unwrap().ended, Some(BakeEnd::Passed));
    assert_eq!(report.warnings[0].code, "core.no_candidate");
    assert_eq!(lab.who(CACHE).await, "b");
    assert_eq!(retired(&lab, "a"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_or_a_writer_that_panics_keeps_nobody_on_what_does_worse() {
    let lab = lab().await;
    let pen = Pen::new();
    let baking = trial_with(&lab, "b", &pen).await;
    baking.swing_back("as told");
    assert!(matches!(
        baking.ended().await.outcome,
        Outcome::SwungBack { .. }
    ));
    assert_eq!(lab.who(CACHE).await, "a");
    pen.gate.add_permits(1);
    until(|| pen.written().len() == 2).await;

    let panics = |_: &Slot, _: &Failure| -> BoxFuture<'static, ()> { panic!("told to") };
    let request = to("b").bake(BAKE).record_back(panics);
    let report = lab.lifecycle.begin_swap(request).await.unwrap();
    let baking = report.baking().unwrap().clone();
    baking.swing_back("as told");
    assert!(matches!(
        baking.ended().await.outcome,
        Outcome::SwungBack { .. }
    ));
    assert_eq!(lab.who(CACHE).await, "a");
}

/// Each slot of a set is on a trial of its own.
#[tokio::test(start_paused = true)]
async fn a_member_of_a_set_swings_back_alone() {
    let other = "adapter/other";
    let lab = Lab::new(&[
        (CACHE, "a", 2, &[]),
        (CACHE, "b", 1, &[]),
        (other, "x", 2, &[]),
        (other, "y", 1, &[]),
    ]);
    assert_eq!(
        (lab.who(CACHE).await, lab.who(other).await),
        ("a".into(), "x".into())
    );
    lab.lifecycle
        .set_slot_policies(policies(&[("adapter/*", json!({ "bake_ms": 30_000 }))]));
    let pen = Pen::new();
    pen.gate.add_permits(1);
    let set = ChangeSet::new()
        .to_provider(slot(CACHE), provider("b"))
        .to_provider(slot(other), provider("y"))
        .record_back(pen.record());
    let report = lab.lifecycle.apply(set).await.unwrap();
    let bakings: Vec<_> = report
        .slots
        .iter()
        .filter_map(|one| one.baking().cloned())
        .collect();
    assert_eq!(bakings.len(), 2);
    bakings[0].swing_back("as told");
    assert!(matches!(
        bakings[0].ended().await.outcome,
        Outcome::SwungBack { .. }
    ));
    assert_eq!(bakings[1].ended().await.outcome, Outcome::Swapped);
    assert_eq!(pen.written(), ["begin adapter/cache: as told", "end"]);
    assert_eq!(
        (lab.who(CACHE).await, lab.who(other).await),
        ("a".into(), "y".into())
    );
}

#[test]
fn names_are_stable() {
    for end in BakeEnd::ALL {
        assert_eq!(serde_json::to_value(end).unwrap(), end.name());
    }
}
