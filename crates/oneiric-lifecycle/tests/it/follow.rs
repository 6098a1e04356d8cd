//! What a dependent does when what it needs is exchanged: nothing, be told, restart.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_core::Slot;
use oneiric_lifecycle::{
    ActivityRule, DecisionKind, Happening, LifecycleError, Live, Stage, SwapEvent, SwapRequest,
    WhenAbsent,
};
use serde_json::json;

use crate::support::{
    Act, Lab, Named, Script, candidate, policies, provider, slot, soon, until, wanting,
};

const WEB: &str = "service/web";
const CACHE: &str = "adapter/cache";
const CLOCK: &str = "service/clock";

type Events = Arc<Mutex<Vec<SwapEvent>>>;

/// As often as anybody likes; what becomes of too often is in `follow_restarts`.
fn follows(policy: &str) -> serde_json::Value {
    json!({"on_dependency_change": policy, "restarts": 1_000})
}

/// A laboratory in which everybody follows by `policy`, and what happens in it.
fn lab(policy: &str, candidates: &[(&str, &str, i64, &[&str])]) -> (Lab, Events) {
    let events = Events::default();
    let seen = Arc::clone(&events);
    let lab = Lab::with(candidates, |builder| {
        builder
            .slot_policies(policies(&[("*", follows(policy))]))
            .observer(move |event: &SwapEvent| seen.lock().unwrap().push(event.clone()))
    });
    (lab, events)
}

/// `web` needs the cache, of which there are two.
fn pair(policy: &str) -> (Lab, Events) {
    lab(
        policy,
        &[
            (WEB, "web", 0, &[CACHE]),
            (CACHE, "a", 2, &[]),
            (CACHE, "b", 1, &[]),
        ],
    )
}

async fn swap(lab: &Lab, of: &str, to: &str) {
    let request = SwapRequest::to_provider(slot(of), provider(to)).rebuild(true);
    assert!(soon(lab.lifecycle.swap(request)).await.unwrap().serves());
}

/// Everybody whom an exchange concerns has answered.
async fn at_rest(lab: &Lab) {
    soon(lab.lifecycle.dependents_settled()).await;
}

fn restarts(events: &Events, of: &str) -> Vec<(String, bool)> {
    let events = events.lock().unwrap();
    let of = slot(of);
    let decisions = events.iter().filter(|event| event.slot == of);
    decisions
        .filter_map(|event| match &event.what {
            Happening::Decided { decision } => {
                assert_eq!(decision.kind, DecisionKind::RestartDependent);
                Some((decision.text.clone(), decision.failure.is_none()))
            }
            _ => None,
        })
        .collect()
}

fn warnings(events: &Events, of: &str) -> Vec<(Stage, &'static str)> {
    let events = events.lock().unwrap();
    let of = slot(of);
    let warned = events.iter().filter(|event| event.slot == of);
    warned
        .filter_map(|event| match &event.what {
            Happening::Warned { failure } => Some((failure.stage, failure.code)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn by_default_nobody_is_told_and_nothing_restarts() {
    let (lab, events) = pair("nothing");
    lab.who(WEB).await;
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    assert!(lab.book.told().is_empty());
    assert_eq!(lab.book.records_of("web").len(), 1);
    assert!(restarts(&events, WEB).is_empty());
}

#[tokio::test]
async fn whoever_is_to_be_told_is_told_of_old_and_new_after_the_new_one_serves() {
    let (lab, events) = pair("tell");
    lab.who(WEB).await;
    swap(&lab, CACHE, "b").await;
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    let told = lab.book.told();
    let last = "web: adapter/cache b -> b";
    assert!(
        told == ["web: adapter/cache a -> b", last] || told == ["web: adapter/cache a -> b"],
        "{told:?}"
    );
    assert_eq!(lab.book.records_of("web").len(), 1);
    assert!(warnings(&events, WEB).is_empty());
}

#[tokio::test]
async fn several_in_a_row_are_told_as_the_last_and_the_swaps_wait_for_nobody() {
    let (lab, _) = pair("tell");
    let (told, gate) = Act::gate();
    lab.book.script(
        "web",
        Script {
            told,
            ..Script::default()
        },
    );
    lab.who(WEB).await;
    swap(&lab, CACHE, "b").await;
    until(|| lab.book.told().len() == 1).await;
    // It is at work on the first still.
    swap(&lab, CACHE, "a").await;
    swap(&lab, CACHE, "b").await;
    swap(&lab, CACHE, "a").await;
    assert_eq!(lab.book.told().len(), 1);
    gate.add_permits(2);
    at_rest(&lab).await;
    assert_eq!(
        lab.book.told(),
        ["web: adapter/cache a -> b", "web: adapter/cache b -> a"]
    );
}

#[tokio::test]
async fn one_that_fails_panics_or_hangs_when_told_is_warned_of_and_serves_on() {
    for (act, code) in [
        (Act::Fail, "lifecycle.dependency_change_failed"),
        (Act::Panic, "lifecycle.panicked"),
        (Act::Hang, "lifecycle.timed_out"),
    ] {
        let (lab, events) = pair("tell");
        let limits = serde_json::from_value(json!({"hook_ms": 20})).unwrap();
        lab.lifecycle.set_limits(limits);
        lab.book.script(
            "web",
            Script {
                told: act,
                ..Script::default()
            },
        );
        lab.who(WEB).await;
        swap(&lab, CACHE, "b").await;
        at_rest(&lab).await;
        assert_eq!(warnings(&events, WEB), [(Stage::DependencyChange, code)]);
        assert!(warnings(&events, CACHE).is_empty());
        let status = lab.lifecycle.status(&slot(WEB)).unwrap();
        assert_eq!(status.last_error.unwrap().failure.code, code);
        assert_eq!(lab.who(WEB).await, "web");
    }
}

#[tokio::test]
async fn one_without_the_role_is_left_alone() {
    let (lab, events) = pair("tell");
    lab.book.script(
        "web",
        Script {
            without_follow: true,
            ..Script::default()
        },
    );
    lab.who(WEB).await;
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    assert_eq!(lab.book.records_of("web").len(), 1);
    assert!(warnings(&events, WEB).is_empty());
}

#[tokio::test]
async fn what_was_exchanged_while_it_was_being_built_is_answered_to_once_it_serves() {
    for (policy, instances) in [("tell", 1), ("restart", 2)] {
        let (lab, _) = pair(policy);
        let (build, gate) = Act::gate();
        lab.book.script(
            "web",
            Script {
                build,
                ..Script::default()
            },
        );
        let lifecycle = lab.lifecycle.clone();
        let up = tokio::spawn(async move { lifecycle.activate(&slot(WEB)).await });
        until(|| lab.book.builds().contains(&"begin web".to_owned())).await;
        swap(&lab, CACHE, "b").await;
        gate.add_permits(2);
        soon(up).await.unwrap().unwrap();
        at_rest(&lab).await;
        assert_eq!(lab.book.records_of("web").len(), instances, "{policy}");
        let told = (policy == "tell").then(|| "web: adapter/cache a -> b".to_owned());
        assert_eq!(lab.book.told(), Vec::from_iter(told));
    }
}

#[tokio::test]
async fn an_optional_one_that_comes_later_is_answered_to_as_well() {
    let (lab, _) = lab("tell", &[]);
    lab.registry
        .register(wanting(WEB, "web", &[], &[CACHE]))
        .keep();
    lab.who(WEB).await;
    lab.registry
        .register(candidate(CACHE, "mem", 0, &[]))
        .keep();
    lab.who(CACHE).await;
    at_rest(&lab).await;
    assert_eq!(lab.book.told(), ["web: adapter/cache nobody -> mem"]);
}

#[tokio::test]
async fn a_restart_is_a_new_instance_of_the_same_candidate_and_an_explained_decision() {
    let (lab, events) = pair("restart");
    lab.who(WEB).await;
    // Whoever ranks best by now is not asked.
    lab.registry
        .register(candidate(WEB, "better", 9, &[]))
        .keep();
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    assert_eq!(lab.book.records_of("web").len(), 2);
    assert_eq!(lab.book.records_of("better").len(), 0);
    assert_eq!(
        restarts(&events, WEB),
        [(
            "restarted web: adapter/cache was exchanged".to_owned(),
            true
        )]
    );
    let trail = lab.lifecycle.status(&slot(WEB)).unwrap().trail;
    assert_eq!(trail.len(), 1);
}

#[tokio::test]
async fn a_restart_that_fails_is_said_and_tried_again_only_with_the_next_exchange() {
    let (lab, events) = pair("restart");
    lab.who(WEB).await;
    lab.book.script(
        "web",
        Script {
            probe: Act::Fail,
            ..Script::default()
        },
    );
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    let said = restarts(&events, WEB);
    assert_eq!((said.len(), said[0].1), (1, false), "{said:?}");
    assert!(
        said[0].0.contains("restarting web failed at probe"),
        "{said:?}"
    );
    assert_eq!(lab.who(WEB).await, "web");
    lab.book.script("web", Script::default());
    swap(&lab, CACHE, "a").await;
    at_rest(&lab).await;
    assert_eq!(restarts(&events, WEB).len(), 2);
    assert!(restarts(&events, WEB)[1].1);
}

#[tokio::test]
async fn several_that_are_exchanged_during_one_restart_come_to_one_more() {
    let (lab, events) = lab(
        "restart",
        &[
            (WEB, "web", 0, &[CACHE, CLOCK]),
            (CACHE, "mem", 0, &[]),
            (CLOCK, "sys", 0, &[]),
        ],
    );
    lab.who(WEB).await;
    let (build, gate) = Act::gate();
    lab.book.script(
        "web",
        Script {
            build,
            ..Script::default()
        },
    );
    swap(&lab, CACHE, "mem").await;
    until(|| {
        lab.book
            .builds()
            .iter()
            .filter(|one| *one == "begin web")
            .count()
            == 2
    })
    .await;
    swap(&lab, CLOCK, "sys").await;
    swap(&lab, CACHE, "mem").await;
    swap(&lab, CLOCK, "sys").await;
    gate.add_permits(9);
    at_rest(&lab).await;
    assert_eq!(lab.book.records_of("web").len(), 3);
    assert_eq!(restarts(&events, WEB).len(), 2);
}

/// a <- b <- c <- d, and d needs all of them, c also a.
const WOVEN: [(&str, &str, i64, &[&str]); 4] = [
    ("service/a", "a", 0, &[]),
    ("service/b", "b", 0, &["service/a"]),
    ("service/c", "c", 0, &["service/a", "service/b"]),
    (
        "service/d",
        "d",
        0,
        &["service/a", "service/b", "service/c"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_restarts_level_by_level_each_once() {
    for round in 0..100 {
        let (lab, events) = lab("restart", &WOVEN);
        lab.who("service/d").await;
        // Who still looks what the first activations mean for it may see the exchange before the others do.
        at_rest(&lab).await;
        swap(&lab, "service/a", "a").await;
        at_rest(&lab).await;
        for of in ["a", "b", "c", "d"] {
            assert_eq!(lab.book.records_of(of).len(), 2, "{of} in round {round}");
        }
        let builds = lab.book.builds();
        let second: Vec<&str> = builds.iter().skip(8).map(String::as_str).collect();
        let in_order = ["a", "b", "c", "d"].map(|of| [format!("begin {of}"), format!("end {of}")]);
        assert_eq!(second, in_order.concat());
        assert_eq!(restarts(&events, "service/d").len(), 1);
    }
}

#[tokio::test]
async fn who_does_nothing_ends_the_chain() {
    let (lab, _) = lab("restart", &WOVEN);
    lab.lifecycle.set_slot_policies(policies(&[
        ("*", json!({"on_dependency_change": "restart"})),
        ("service/b", json!({"on_dependency_change": "nothing"})),
    ]));
    lab.who("service/d").await;
    swap(&lab, "service/a", "a").await;
    at_rest(&lab).await;
    let instances = ["a", "b", "c", "d"].map(|of| lab.book.records_of(of).len());
    assert_eq!(instances, [2, 1, 2, 2]);
}

#[tokio::test]
async fn a_paused_dependent_answers_when_it_is_resumed() {
    for policy in ["restart", "tell"] {
        let (lab, _) = lab(
            policy,
            &[
                (WEB, "web", 0, &[CACHE]),
                ("service/top", "top", 0, &[WEB, CACHE]),
                (CACHE, "a", 2, &[]),
                (CACHE, "b", 1, &[]),
            ],
        );
        lab.who("service/top").await;
        lab.lifecycle
            .set_activity(ActivityRule::pause(slot(WEB)))
            .unwrap();
        swap(&lab, CACHE, "b").await;
        swap(&lab, CACHE, "a").await;
        at_rest(&lab).await;
        // Others do not wait for it.
        assert_eq!(lab.book.records_of("web").len(), 1);
        let told_web = || {
            lab.book
                .told()
                .iter()
                .filter(|one| one.starts_with("web"))
                .count()
        };
        assert_eq!(told_web(), 0);
        lab.lifecycle
            .set_activity(ActivityRule::resume(slot(WEB)))
            .unwrap();
        at_rest(&lab).await;
        let restarted = policy == "restart";
        assert_eq!(
            lab.book.records_of("web").len(),
            if restarted { 2 } else { 1 }
        );
        assert_eq!(told_web(), usize::from(!restarted));
    }
}

#[tokio::test]
async fn failing_back_to_the_old_one_is_an_exchange_too() {
    let (lab, events) = pair("restart");
    lab.who(WEB).await;
    let bad = Script {
        probe: Act::Fail,
        ..Script::default()
    };
    lab.book.script("b", bad);
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    assert!(!lab.lifecycle.swap(request).await.unwrap().serves());
    at_rest(&lab).await;
    assert!(restarts(&events, WEB).is_empty(), "nothing was exchanged");
    lab.book.script("b", Script::default());
    swap(&lab, CACHE, "b").await;
    at_rest(&lab).await;
    swap(&lab, CACHE, "a").await;
    at_rest(&lab).await;
    assert_eq!(restarts(&events, WEB).len(), 2);
}

#[tokio::test]
async fn swinging_back_from_a_trial_is_an_exchange_too() {
    let (lab, events) = pair("restart");
    lab.who(WEB).await;
    let request = SwapRequest::to_provider(slot(CACHE), provider("b")).keep_old();
    let report = lab.lifecycle.begin_swap(request).await.unwrap();
    at_rest(&lab).await;
    assert_eq!(restarts(&events, WEB).len(), 1);
    let baking = report.baking().unwrap();
    baking.swing_back("told");
    soon(baking.ended()).await;
    at_rest(&lab).await;
    assert_eq!(restarts(&events, WEB).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_chain_that_restarts_under_load_fails_no_call() {
    let (lab, _) = lab("restart", &WOVEN);
    lab.who("service/d").await;
    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = ["service/b", "service/c", "service/d"]
        .into_iter()
        .map(|of| {
            let live: Live<dyn Named> = lab.lifecycle.live(&slot(of));
            // What serves never leaves a gap: nobody has to wait or activate.
            let live = live.when_absent(WhenAbsent::Fail);
            let (done, calls) = (Arc::clone(&done), Arc::clone(&calls));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let name = live.call(|part| async move {
                        tokio::task::yield_now().await;
                        Ok::<_, LifecycleError>(part.name())
                    });
                    name.await.unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..20 {
        let before = calls.load(Ordering::Relaxed);
        swap(&lab, "service/a", "a").await;
        at_rest(&lab).await;
        until(|| calls.load(Ordering::Relaxed) > before).await;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    assert_eq!(lab.book.records_of("d").len(), 21);
    lab.lifecycle.shutdown(Duration::from_secs(60)).await;
    for record in lab.book.all() {
        assert_eq!(record.retired.load(Ordering::SeqCst), 1);
        assert!(!record.called_after_retirement.load(Ordering::SeqCst));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_while_dependents_restart_ends_and_retires_each_once() {
    for round in 0..100_u32 {
        let (lab, _) = lab("restart", &WOVEN);
        lab.who("service/d").await;
        let (lifecycle, a) = (lab.lifecycle.clone(), Slot::clone(&slot("service/a")));
        let swaps = tokio::spawn(async move {
            for _ in 0..3 {
                let request = SwapRequest::to_winner(a.clone()).rebuild(true);
                let _stopped = lifecycle.swap(request).await;
            }
        });
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let report = soon(lab.lifecycle.shutdown(Duration::from_secs(60))).await;
        assert!(report.is_clean(), "{report:?}");
        soon(swaps).await.unwrap();
        at_rest(&lab).await;
        for record in lab.book.all() {
            assert_eq!(record.retired.load(Ordering::SeqCst), 1);
        }
    }
}
