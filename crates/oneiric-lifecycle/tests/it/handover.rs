//! State that goes from the old instance to the new, while new calls wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{
    Activity, ActivityRule, HandoverMode, HandoverReport, Outcome, Payload, PolicyEntry,
    PolicyScope, SlotPolicies, Streamed, SwapReport, SwapRequest,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{Act, CACHE, Lab, Script, State, provider, slot, soon, until};

pub(crate) const FORMAT: &str = "test.names/1";

pub(crate) fn able(state: State) -> Script {
    Script {
        state: Some(State {
            format: FORMAT,
            ..state
        }),
        ..Script::default()
    }
}

/// `a` and `b`, which both can; new calls wait for at most `block`.
pub(crate) fn lab(mode: HandoverMode, block: Duration) -> Lab {
    let entry: PolicyEntry = serde_json::from_value(serde_json::json!({
        "handover": mode,
        "handover_block_ms": u64::try_from(block.as_millis()).unwrap(),
    }))
    .unwrap();
    let candidates: &[(&str, &str, i64, &[&str])] = &[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::new(candidates);
    let policies = SlotPolicies::new().with(PolicyScope::All, entry);
    lab.lifecycle.set_slot_policies(policies);
    for of in ["a", "b"] {
        lab.book.script(of, able(State::default()));
    }
    lab
}

/// Far beyond any machine's slowness.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn swap_to(lab: &Lab, to: &str) -> SwapReport {
    let request = SwapRequest::to_provider(slot(CACHE), provider(to));
    soon(lab.lifecycle.swap(request)).await.unwrap()
}

fn swapping_to(lab: &Lab, to: &str) -> JoinHandle<SwapReport> {
    let lifecycle = lab.lifecycle.clone();
    let request = SwapRequest::to_provider(slot(CACHE), provider(to));
    tokio::spawn(async move { lifecycle.swap(request).await.unwrap() })
}

/// Somebody who wants to call and may wait: who they get, or the code of their refusal.
fn caller(lab: &Lab) -> JoinHandle<String> {
    let lifecycle = lab.lifecycle.clone();
    tokio::spawn(async move {
        match lifecycle.lease(&slot(CACHE)).await {
            Ok(lease) => lease.provider().to_string(),
            Err(error) => error.code().to_owned(),
        }
    })
}

/// Somebody who cannot wait.
fn at_once(lab: &Lab) -> String {
    match lab.lifecycle.slot(&slot(CACHE)).lease() {
        Ok(lease) => lease.provider().to_string(),
        Err(error) => error.code().to_owned(),
    }
}

/// What the last instance of `of` took.
pub(crate) fn took(lab: &Lab, of: &str) -> Option<String> {
    let record = lab.book.records_of(of).pop().unwrap();
    record.took.lock().unwrap().clone()
}

pub(crate) fn handover(report: &SwapReport) -> &HandoverReport {
    report.handover.as_ref().unwrap()
}

#[tokio::test]
async fn callers_wait_until_the_new_instance_has_the_state_of_the_old() {
    let lab = lab(HandoverMode::Abort, LONG);
    let (export, open) = Act::gate();
    lab.book.script(
        "a",
        able(State {
            export,
            ..State::default()
        }),
    );
    lab.who(CACHE).await;
    let mut events = lab.lifecycle.events();
    let old = lab.book.records_of("a").pop().unwrap();
    let swap = swapping_to(&lab, "b");
    until(|| old.exports.load(SeqCst) == 1).await;
    assert_eq!(at_once(&lab), "lifecycle.handing_over");
    let callers: Vec<_> = (0..10).map(|_| caller(&lab)).collect();
    tokio::task::yield_now().await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    open.add_permits(1);
    for caller in callers {
        assert_eq!(soon(caller).await.unwrap(), "b");
    }
    let report = soon(swap).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    let told = handover(&report);
    assert!(told.handed_over && told.failure.is_none(), "{told:?}");
    assert_eq!(
        (told.format.as_deref(), told.bytes),
        (Some(FORMAT), Some(2))
    );
    assert_eq!(took(&lab, "b").as_deref(), Some("a\n"));
    assert_eq!(old.retired.load(SeqCst), 1);
    let mut order = Vec::new();
    while !order.contains(&"retired".to_owned()) {
        let Some(Streamed::Event(event)) = soon(events.next()).await else {
            panic!("no more events: {order:?}");
        };
        let event = serde_json::to_value(&*event).unwrap();
        order.push(event["event"].as_str().unwrap().to_owned());
    }
    let at = |name: &str| order.iter().position(|event| event == name).unwrap();
    assert!(at("handed_over") < at("published"), "{order:?}");
    assert_eq!(
        order.iter().filter(|event| *event == "probed").count(),
        2,
        "once with the state"
    );
}

#[tokio::test]
async fn nothing_is_exported_while_a_call_still_runs_on_the_old_instance() {
    let lab = lab(HandoverMode::Abort, LONG);
    lab.who(CACHE).await;
    let old = lab.book.records_of("a").pop().unwrap();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let swap = swapping_to(&lab, "b");
    until(|| at_once(&lab) == "lifecycle.handing_over").await;
    lease.invoke("who", Payload::empty()).await.unwrap();
    assert_eq!(old.exports.load(SeqCst), 0);
    drop(lease);
    assert!(handover(&soon(swap).await.unwrap()).handed_over);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_budget_and_then_the_old_one_serves() {
    for mode in [HandoverMode::Abort, HandoverMode::Empty] {
        let block = Duration::from_millis(500);
        let lab = lab(mode, block);
        lab.who(CACHE).await;
        let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
        let begun = Instant::now();
        let swap = swapping_to(&lab, "b");
        until(|| at_once(&lab) == "lifecycle.handing_over").await;
        let served = soon(caller(&lab)).await.unwrap();
        assert_eq!(begun.elapsed(), block, "told the moment it is over");
        // Without the state the new one may be there as soon as the old one is.
        let either = mode == HandoverMode::Empty && served == "b";
        assert!(served == "a" || either, "{mode:?}: {served}");
        drop(lease);
        let report = soon(swap).await.unwrap();
        let told = handover(&report);
        assert_eq!(told.blocked, block);
        let failure = told.failure.clone().unwrap();
        assert_eq!(failure.code, "lifecycle.handover_over_budget");
        assert!(
            failure.message.contains("out for at least 500 ms"),
            "{failure}"
        );
        match mode {
            HandoverMode::Abort => assert_eq!(report.outcome, Outcome::RolledBack { failure }),
            _ => assert_eq!(report.outcome, Outcome::Swapped),
        }
        assert_eq!(took(&lab, "b"), None);
    }
}

#[tokio::test]
async fn where_one_has_no_state_the_swap_is_a_plain_one_and_says_so() {
    for without in ["a", "b"] {
        let lab = lab(HandoverMode::Abort, LONG);
        lab.book.script(without, Script::default());
        lab.who(CACHE).await;
        let report = swap_to(&lab, "b").await;
        assert_eq!(report.outcome, Outcome::Swapped);
        let failure = handover(&report).failure.clone().unwrap();
        assert_eq!(failure.code, "lifecycle.handover_unsupported");
        assert!(failure.message.starts_with(without), "{failure}");
    }
    // Nothing serves: there is nothing to hand over. And nobody asked.
    let lab = lab(HandoverMode::Abort, LONG);
    let report = lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    assert_eq!(report.handover, None);
    lab.lifecycle.set_slot_policies(SlotPolicies::new());
    assert_eq!(swap_to(&lab, "b").await.handover, None);
    assert_eq!(took(&lab, "b"), None);
}

#[tokio::test]
async fn a_paused_slot_hands_over_and_stays_closed() {
    let lab = lab(HandoverMode::Abort, LONG);
    lab.who(CACHE).await;
    lab.lifecycle
        .set_activity(ActivityRule::pause(slot(CACHE)))
        .unwrap();
    assert!(handover(&swap_to(&lab, "b").await).handed_over);
    assert_eq!(at_once(&lab), "lifecycle.busy");
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    assert_eq!(at_once(&lab), "b");
}

#[tokio::test]
async fn what_operators_say_meanwhile_holds_afterwards() {
    let lab = lab(HandoverMode::Abort, LONG);
    let (export, open) = Act::gate();
    lab.book.script(
        "a",
        able(State {
            export,
            ..State::default()
        }),
    );
    lab.who(CACHE).await;
    let swap = swapping_to(&lab, "b");
    until(|| at_once(&lab) == "lifecycle.handing_over").await;
    let waiting = caller(&lab);
    tokio::task::yield_now().await;
    for activity in [
        Activity::Paused,
        Activity::Draining,
        Activity::Running,
        Activity::Draining,
    ] {
        let rule = ActivityRule::new(slot(CACHE), activity);
        lab.lifecycle.set_activity(rule).unwrap();
    }
    open.add_permits(1);
    assert!(handover(&soon(swap).await.unwrap()).handed_over);
    assert_eq!(soon(waiting).await.unwrap(), "lifecycle.busy");
    soon(lab.lifecycle.drained(&slot(CACHE).into())).await;
}

#[tokio::test]
async fn a_swap_whose_caller_leaves_and_callers_that_leave_change_nothing() {
    let lab = lab(HandoverMode::Abort, LONG);
    let (export, open) = Act::gate();
    lab.book.script(
        "a",
        able(State {
            export,
            ..State::default()
        }),
    );
    lab.who(CACHE).await;
    let swap = swapping_to(&lab, "b");
    until(|| lab.book.records_of("a")[0].exports.load(SeqCst) == 1).await;
    let callers: Vec<_> = (0..4).map(|_| caller(&lab)).collect();
    tokio::task::yield_now().await;
    for leaves in &callers[..2] {
        leaves.abort();
    }
    swap.abort();
    open.add_permits(1);
    for stays in callers.into_iter().skip(2) {
        assert_eq!(soon(stays).await.unwrap(), "b");
    }
    soon(lab.lifecycle.settled(&slot(CACHE))).await;
    assert_eq!(took(&lab, "b").as_deref(), Some("a\n"));
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.in_flight, status.draining.len()), (0, 0));
    assert_eq!(lab.book.retirements(), ["a"]);
}

#[tokio::test]
async fn swaps_that_queue_hand_on_one_after_the_other() {
    let lab = lab(HandoverMode::Abort, LONG);
    let (export, open) = Act::gate();
    lab.book.script(
        "a",
        able(State {
            export,
            ..State::default()
        }),
    );
    lab.who(CACHE).await;
    let first = swapping_to(&lab, "b");
    until(|| lab.book.records_of("a")[0].exports.load(SeqCst) == 1).await;
    let second = swapping_to(&lab, "a");
    let waiting = caller(&lab);
    tokio::task::yield_now().await;
    open.add_permits(1);
    assert!(handover(&soon(first).await.unwrap()).handed_over);
    assert!(handover(&soon(second).await.unwrap()).handed_over);
    let served = soon(waiting).await.unwrap();
    assert!(["a", "b"].contains(&served.as_str()), "{served}");
    assert_eq!(took(&lab, "a").as_deref(), Some("a\nb\n"));
}

#[tokio::test]
async fn a_shutdown_ends_a_hand_over_and_those_who_wait_for_it() {
    for hangs in ["export", "import", "work"] {
        let lab = lab(HandoverMode::Abort, LONG);
        let act = |step| if step == hangs { Act::Hang } else { Act::Ok };
        let state = |step| State {
            export: act("export"),
            import: act(step),
            ..State::default()
        };
        lab.book.script("a", able(state("-")));
        lab.book.script(
            "b",
            able(State {
                import: act("import"),
                ..State::default()
            }),
        );
        lab.who(CACHE).await;
        let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
        let held = (hangs == "work").then_some(lease);
        let swap = swapping_to(&lab, "b");
        until(|| at_once(&lab) == "lifecycle.handing_over").await;
        let waiting = caller(&lab);
        tokio::task::yield_now().await;
        let shutdown = tokio::spawn({
            let lifecycle = lab.lifecycle.clone();
            async move { lifecycle.shutdown(LONG).await }
        });
        assert_eq!(soon(waiting).await.unwrap(), "lifecycle.stopped");
        let report = soon(swap).await.unwrap();
        let Outcome::RolledBack { failure } = report.outcome else {
            panic!("{report:?}");
        };
        assert_eq!(failure.code, "lifecycle.stopped", "{hangs}");
        drop(held);
        assert!(soon(shutdown).await.unwrap().is_clean(), "{hangs}");
        let mut retired = lab.book.retirements();
        retired.sort();
        assert_eq!(retired, ["a", "b"], "{hangs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_call_fails_and_none_is_on_an_instance_that_gave_its_state_away() {
    let lab = Arc::new(lab(HandoverMode::Abort, LONG));
    lab.who(CACHE).await;
    let (done, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (lab, done, calls) = (Arc::clone(&lab), Arc::clone(&done), Arc::clone(&calls));
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    lab.who(CACHE).await;
                    calls.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let swaps = 40;
    for number in 0..swaps {
        let before = calls.load(SeqCst);
        let report = swap_to(&lab, if number % 2 == 0 { "b" } else { "a" }).await;
        assert!(handover(&report).handed_over, "{report:?}");
        until(|| calls.load(SeqCst) > before + 8).await;
    }
    done.store(true, SeqCst);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    let state = took(&lab, "a").unwrap();
    assert_eq!(state.lines().count(), swaps, "nothing was lost on the way");
    for record in lab.book.all() {
        assert!(record.retired.load(SeqCst) <= 1);
        assert!(!record.called_after_retirement.load(SeqCst));
        assert!(!record.called_after_export.load(SeqCst));
    }
}

/// Leases that are held for random times, swaps at random times, callers at all times: each of those is served, or
/// refused by name, and none of them waits longer than the budget.
#[tokio::test(start_paused = true)]
async fn whatever_the_schedule_no_caller_waits_longer_than_the_budget() {
    let block = Duration::from_millis(50);
    for seed in 1..=8_u64 {
        let mode = if seed % 2 == 0 {
            HandoverMode::Abort
        } else {
            HandoverMode::Empty
        };
        let lab = Arc::new(lab(mode, block));
        lab.who(CACHE).await;
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut tasks = Vec::new();
        for _ in 0..60 {
            let (at, held) = (next(1_000), next(120));
            let lab = Arc::clone(&lab);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                let begun = Instant::now();
                let lease = lab.lifecycle.lease(&slot(CACHE)).await;
                assert!(begun.elapsed() <= block, "waited {:?}", begun.elapsed());
                match lease {
                    Ok(lease) => {
                        tokio::time::sleep(Duration::from_millis(held)).await;
                        assert!(!lease.is_retired());
                    }
                    Err(error) => assert_eq!(error.code(), "lifecycle.handing_over"),
                }
            }));
        }
        for number in 0..12 {
            let (at, lab) = (next(1_000), Arc::clone(&lab));
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                swap_to(&lab, if number % 2 == 0 { "b" } else { "a" }).await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!at_once(&lab).contains('.'), "open at the end");
        let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
        assert_eq!(
            (status.in_flight, status.draining.len()),
            (0, 0),
            "seed {seed}"
        );
        let instances = lab.book.all();
        let retired = instances.iter().map(|one| one.retired.load(SeqCst));
        assert_eq!(
            retired.sum::<u32>() as usize,
            instances.len() - 1,
            "seed {seed}"
        );
    }
}
