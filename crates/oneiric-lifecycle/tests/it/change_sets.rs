//! Several slots exchanged as one: all or none.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use oneiric_core::Coded;
use oneiric_lifecycle::{
    ChangeOutcome, ChangeReport, ChangeSet, Happening, LifecycleError, Live, SlotOutcome,
    SlotPolicies, SlotState, Stage, SwapEvent, SwapRequest,
};

use crate::support::{Act, Lab, Named, Script, provider, slot, soon, until};

const FIVE: [&str; 5] = [
    "adapter/a",
    "adapter/b",
    "adapter/c",
    "adapter/d",
    "adapter/e",
];

/// The providers of `adapter/x` are `x1`, which ranks best, and `x2`.
fn named(of: &str, number: u32) -> String {
    format!("{}{number}", of.trim_start_matches("adapter/"))
}

fn candidates<'s>(
    names: &'s [(String, String)],
    requires: &[(&str, &'s [&'s str])],
) -> Vec<(&'s str, &'s str, i64, &'s [&'s str])> {
    let mut all: Vec<(&str, &str, i64, &[&str])> = Vec::new();
    for (of, by) in names {
        let needs = requires.iter().find(|(name, _)| name == by);
        let needs = needs.map_or(&[][..], |(_, needs)| needs);
        let priority = if by.ends_with('1') { 2 } else { 1 };
        all.push((of, by, priority, needs));
    }
    all
}

fn lab_with(slots: &[&str], requires: &[(&str, &[&str])]) -> Lab {
    let names: Vec<(String, String)> = slots
        .iter()
        .flat_map(|of| [1, 2].map(|number| ((*of).to_owned(), named(of, number))))
        .collect();
    let requires: Vec<_> = requires.to_vec();
    Lab::new(&candidates(&names, &requires))
}

/// Five slots in which the first provider of each serves.
async fn five() -> Lab {
    let lab = lab_with(&FIVE, &[]);
    for of in FIVE {
        lab.lifecycle.activate(&slot(of)).await.unwrap();
    }
    lab
}

fn to_second(slots: &[&str]) -> ChangeSet {
    slots.iter().fold(ChangeSet::new(), |set, of| {
        set.to_provider(slot(of), provider(&named(of, 2)))
    })
}

async fn apply(lab: &Lab, set: ChangeSet) -> ChangeReport {
    soon(lab.lifecycle.apply(set)).await.unwrap()
}

fn serving(lab: &Lab, of: &str) -> Option<String> {
    let candidate = lab.lifecycle.serving(&slot(of))?;
    Some(candidate.provider().to_string())
}

fn failing(lab: &Lab, by: &str) {
    let probe = Act::Fail;
    lab.book.script(
        by,
        Script {
            probe,
            ..Script::default()
        },
    );
}

fn gated(lab: &Lab, by: &str) -> Arc<tokio::sync::Semaphore> {
    let (build, gate) = Act::gate();
    lab.book.script(
        by,
        Script {
            build,
            ..Script::default()
        },
    );
    gate
}

fn retired(lab: &Lab, by: &str) -> Vec<u32> {
    let records = lab.book.records_of(by);
    records
        .iter()
        .map(|record| record.retired.load(Ordering::SeqCst))
        .collect()
}

#[tokio::test]
async fn all_five_serve_and_are_recorded_once_before_any_pointer_moves() {
    let lab = five().await;
    let lifecycle = lab.lifecycle.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let set = to_second(&FIVE)
        .record({
            let (lifecycle, seen) = (lifecycle.clone(), Arc::clone(&seen));
            move || {
                let serving = FIVE.map(|of| lifecycle.serving(&slot(of)).unwrap());
                let serving = serving.map(|candidate| candidate.provider().to_string());
                seen.lock().unwrap().push(("record", serving));
                Box::pin(async { Ok(()) })
            }
        })
        .when_published({
            let seen = Arc::clone(&seen);
            move || {
                let serving = FIVE.map(|of| lifecycle.serving(&slot(of)).unwrap());
                let serving = serving.map(|candidate| candidate.provider().to_string());
                seen.lock().unwrap().push(("published", serving));
            }
        });
    let report = apply(&lab, set).await;
    assert_eq!(report.outcome, ChangeOutcome::Applied);
    let outcomes: Vec<_> = report.slots.iter().map(|one| one.outcome.clone()).collect();
    assert_eq!(outcomes, vec![SlotOutcome::Swapped; 5]);
    let expected = [
        ("record", FIVE.map(|of| named(of, 1))),
        ("published", FIVE.map(|of| named(of, 2))),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    for of in FIVE {
        assert_eq!(retired(&lab, &named(of, 1)), [1]);
        assert_eq!(retired(&lab, &named(of, 2)), [0]);
        let status = lab.lifecycle.status(&slot(of)).unwrap();
        assert_eq!((status.state, status.swaps.swapped), (SlotState::Active, 1));
    }
}

#[tokio::test]
async fn the_fourth_fails_its_probe_and_none_moved_and_all_five_new_ones_are_retired_once() {
    let lab = five().await;
    failing(&lab, "d2");
    let recorded = Arc::new(AtomicU32::new(0));
    let set = to_second(&FIVE).record({
        let recorded = Arc::clone(&recorded);
        move || {
            recorded.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }
    });
    let report = apply(&lab, set).await;
    assert_eq!(
        (report.outcome, report.serves()),
        (ChangeOutcome::RolledBack, false)
    );
    assert_eq!(recorded.load(Ordering::SeqCst), 0);
    for (of, change) in FIVE.into_iter().zip(&report.slots) {
        assert_eq!(serving(&lab, of).unwrap(), named(of, 1));
        assert_eq!(retired(&lab, &named(of, 1)), [0], "{of}");
        assert_eq!(retired(&lab, &named(of, 2)), [1], "{of}");
        let status = lab.lifecycle.status(&slot(of)).unwrap();
        assert_eq!(
            (status.state, status.swaps.rolled_back),
            (SlotState::Active, 1)
        );
        let last = status.last_error.unwrap().failure;
        if of == "adapter/d" {
            assert_eq!(last.code, "lifecycle.probe_failed");
            assert!(
                matches!(&change.outcome, SlotOutcome::Failed { failure } if failure.stage == Stage::Probe)
            );
        } else {
            let reached = Stage::BeforeSwap;
            assert_eq!(change.outcome, SlotOutcome::TakenBack { reached });
            assert_eq!(last.code, "lifecycle.set_rolled_back");
            assert!(
                last.message.contains("adapter/d failed at probe"),
                "{}",
                last.message
            );
        }
    }
    let blamed: Vec<_> = report.failures().map(|(one, _)| one.slot.clone()).collect();
    assert_eq!(blamed, [slot("adapter/d")]);
    // All of it can be tried again.
    lab.book.script("d2", Script::default());
    let report = apply(&lab, to_second(&FIVE)).await;
    assert_eq!(report.outcome, ChangeOutcome::Applied);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_put_in_service_anywhere() {
    let lab = five().await;
    let set = to_second(&FIVE[..2])
        .record(|| Box::pin(async { Err(("sqlite.disk_full", "full".to_owned())) }));
    let report = apply(&lab, set).await;
    assert_eq!(report.outcome, ChangeOutcome::RolledBack);
    for (of, change) in FIVE.into_iter().zip(&report.slots) {
        assert_eq!(serving(&lab, of).unwrap(), named(of, 1));
        assert_eq!(retired(&lab, &named(of, 2)), [1]);
        assert!(matches!(&change.outcome, SlotOutcome::Failed { failure }
                if (failure.stage, failure.code) == (Stage::Record, "sqlite.disk_full")));
    }
}

/// The last moment at which anything can go wrong, and then it goes wrong for all.
#[tokio::test]
async fn a_facet_that_comes_into_use_while_it_is_recorded_keeps_all_of_them_out() {
    let lab = five().await;
    let without_facet = true;
    lab.book.script(
        "b2",
        Script {
            without_facet,
            ..Script::default()
        },
    );
    let held: Arc<Mutex<Option<Live<dyn Named>>>> = Arc::default();
    let set = to_second(&FIVE[..3]).record({
        let (lifecycle, held) = (lab.lifecycle.clone(), Arc::clone(&held));
        move || {
            *held.lock().unwrap() = Some(lifecycle.live(&slot("adapter/b")));
            Box::pin(async { Ok(()) })
        }
    });
    let report = apply(&lab, set).await;
    assert_eq!(report.outcome, ChangeOutcome::RolledBack);
    for of in &FIVE[..3] {
        assert_eq!(serving(&lab, of).unwrap(), named(of, 1));
        assert_eq!(retired(&lab, &named(of, 2)), [1]);
    }
    let codes: Vec<_> = report.failures().map(|(_, failure)| failure.code).collect();
    assert_eq!(codes, ["lifecycle.facet_missing"]);
    let reached = Stage::Record;
    assert_eq!(report.slots[0].outcome, SlotOutcome::TakenBack { reached });
}

#[tokio::test]
async fn members_that_serve_already_stay_and_a_set_of_only_such_ones_is_not_recorded() {
    let lab = five().await;
    let set = ChangeSet::new()
        .to_winner(slot("adapter/a"))
        .to_provider(slot("adapter/b"), provider("b1"));
    let set = set.record(|| panic!("nothing is exchanged"));
    let report = apply(&lab, set.clone()).await;
    assert_eq!(report.outcome, ChangeOutcome::Unchanged);
    let with_another = to_second(&["adapter/c"]).to_winner(slot("adapter/a"));
    let report = apply(&lab, with_another).await;
    let outcomes: Vec<_> = report.slots.iter().map(|one| one.outcome.name()).collect();
    assert_eq!(outcomes, ["unchanged", "swapped"]);
    assert_eq!(retired(&lab, "a1"), [0]);
    assert_eq!(apply(&lab, ChangeSet::new()).await.slots.len(), 0);
}

#[tokio::test]
async fn a_member_that_is_on_trial_holds_up_no_other() {
    let lab = five().await;
    let entry = serde_json::from_value(serde_json::json!({"bake_ms": 3_600_000})).unwrap();
    let policies = SlotPolicies::new().with("adapter/b".parse().unwrap(), entry);
    lab.lifecycle.set_slot_policies(policies);
    let report = apply(&lab, to_second(&FIVE[..3])).await;
    assert_eq!(report.outcome, ChangeOutcome::Applied);
    let on_trial: Vec<bool> = report.slots.iter().map(|one| one.bake.is_some()).collect();
    assert_eq!(on_trial, [false, true, false]);
    assert_eq!(
        (retired(&lab, "a1"), retired(&lab, "b1")),
        (vec![1], vec![0])
    );
    // One that is kept warm goes back without being built, by a set as well.
    let back = ["adapter/a", "adapter/b"]
        .iter()
        .fold(ChangeSet::new(), |set, of| {
            set.to_provider(slot(of), provider(&named(of, 1)))
        });
    assert_eq!(apply(&lab, back).await.outcome, ChangeOutcome::Applied);
    assert_eq!(
        (retired(&lab, "b1"), retired(&lab, "b2")),
        (vec![0], vec![1])
    );
    assert_eq!(retired(&lab, "a1"), [1, 0]);
}

/// What is kept warm is not the set's to retire.
#[tokio::test]
async fn a_set_that_fails_leaves_alone_what_is_kept_warm() {
    let lab = five().await;
    let entry = serde_json::from_value(serde_json::json!({"bake_ms": 3_600_000})).unwrap();
    let policies = SlotPolicies::new().with("adapter/b".parse().unwrap(), entry);
    lab.lifecycle.set_slot_policies(policies);
    apply(&lab, to_second(&FIVE[1..2])).await;
    failing(&lab, "c2");
    let set = to_second(&FIVE[2..3]).to_provider(slot("adapter/b"), provider("b1"));
    assert_eq!(apply(&lab, set).await.outcome, ChangeOutcome::RolledBack);
    assert_eq!(serving(&lab, "adapter/b").unwrap(), "b2");
    assert_eq!(
        (retired(&lab, "b1"), retired(&lab, "b2")),
        (vec![0], vec![0])
    );
    assert!(
        lab.lifecycle
            .status(&slot("adapter/b"))
            .unwrap()
            .bake
            .is_some()
    );
}

#[tokio::test]
async fn a_slot_that_nobody_knows_keeps_the_others_from_being_touched() {
    let lab = five().await;
    let set = to_second(&FIVE).to_winner(slot("adapter/nowhere"));
    let error = lab.lifecycle.apply(set).await.unwrap_err();
    assert_eq!(error.code(), "core.no_candidate");
    let set = to_second(&FIVE).to_provider(slot("adapter/e"), provider("nobody"));
    let error = lab.lifecycle.apply(set).await.unwrap_err();
    assert_eq!(error.code(), "core.no_candidate");
    assert_eq!(lab.book.all().len(), 5);
    let status = lab.lifecycle.status(&slot("adapter/a")).unwrap();
    assert_eq!(status.state, SlotState::Active);
}

/// `a2` requires `b`, in which nothing serves, and `b2` requires `c`, which is in nobody's hands and requires `d`, which
/// is in the set too. Every turn but that of `c` is the set's.
fn chain() -> Lab {
    lab_with(
        &FIVE,
        &[
            ("a2", &["adapter/b"]),
            ("b2", &["adapter/c"]),
            ("c1", &["adapter/d"]),
        ],
    )
}

const CHAIN: [&str; 3] = ["adapter/a", "adapter/b", "adapter/d"];

#[tokio::test]
async fn members_that_others_require_come_up_first_also_by_way_of_slots_that_are_no_members() {
    let lab = chain();
    lab.lifecycle.activate(&slot("adapter/a")).await.unwrap();
    let report = apply(&lab, to_second(&CHAIN)).await;
    assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
    for (of, by) in [("a", "a2"), ("b", "b2"), ("c", "c1"), ("d", "d2")] {
        assert_eq!(serving(&lab, &format!("adapter/{of}")).unwrap(), by);
    }
}

#[tokio::test]
async fn members_that_came_up_first_are_taken_down_again_unless_somebody_needs_them() {
    let lab = chain();
    lab.lifecycle.activate(&slot("adapter/a")).await.unwrap();
    failing(&lab, "a2");
    let report = apply(&lab, to_second(&CHAIN)).await;
    assert_eq!(report.outcome, ChangeOutcome::RolledBack);
    assert_eq!(serving(&lab, "adapter/a").unwrap(), "a1");
    assert_eq!(serving(&lab, "adapter/b"), None);
    assert_eq!(
        (retired(&lab, "a2"), retired(&lab, "b2")),
        (vec![1], vec![1])
    );
    let status = lab.lifecycle.status(&slot("adapter/b")).unwrap();
    assert_eq!(status.state, SlotState::Inactive);
    // What was activated on the way, outside of the set, stays, and so does what that needs.
    assert_eq!(serving(&lab, "adapter/c").unwrap(), "c1");
    assert_eq!(serving(&lab, "adapter/d").unwrap(), "d2");
    let holders = vec![slot("adapter/c")];
    assert_eq!(
        report.slots[2].outcome,
        SlotOutcome::LeftServing { holders }
    );
    let reached = Stage::Publish;
    assert_eq!(report.slots[1].outcome, SlotOutcome::TakenBack { reached });
}

#[tokio::test]
async fn a_member_that_fails_is_told_to_those_who_wait_for_it() {
    let lab = chain();
    lab.lifecycle.activate(&slot("adapter/a")).await.unwrap();
    // Begun only when `a2` waits for `b`, `b2` for `c`, and `c1` for `d`.
    let gate = fails_later(&lab, "d2");
    let lifecycle = lab.lifecycle.clone();
    let applied = tokio::spawn(async move { lifecycle.apply(to_second(&CHAIN)).await });
    let waits = |of: &str| {
        let status = lab.lifecycle.status(&slot(of)).unwrap();
        status.state == SlotState::Activating
    };
    until(|| waits("adapter/c")).await;
    gate.add_permits(1);
    let report = soon(applied).await.unwrap().unwrap();
    let failures: Vec<_> = report
        .failures()
        .map(|(one, failure)| (one.slot.as_str(), failure.code))
        .collect();
    assert_eq!(
        failures,
        [
            ("adapter/a", "lifecycle.dependency_failed"),
            ("adapter/b", "lifecycle.dependency_failed"),
            ("adapter/d", "lifecycle.build_failed")
        ]
    );
    assert_eq!(serving(&lab, "adapter/a").unwrap(), "a1");
    assert_eq!(lab.book.all().len(), 1);
}

/// Its build waits for a permit and then fails.
fn fails_later(lab: &Lab, by: &str) -> Arc<tokio::sync::Semaphore> {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let build = Act::FailAfter(Arc::clone(&gate));
    lab.book.script(
        by,
        Script {
            build,
            ..Script::default()
        },
    );
    gate
}

#[tokio::test]
async fn a_ring_among_the_members_is_refused_with_its_path() {
    let lab = lab_with(&FIVE, &[("a2", &["adapter/b"]), ("b2", &["adapter/a"])]);
    for of in ["adapter/a", "adapter/b"] {
        lab.lifecycle.activate(&slot(of)).await.unwrap();
    }
    let report = apply(&lab, to_second(&FIVE[..2])).await;
    assert_eq!(report.outcome, ChangeOutcome::RolledBack);
    let codes: Vec<_> = report.failures().map(|(_, failure)| failure.code).collect();
    assert_eq!(codes, ["lifecycle.dependency_cycle"]);
    for by in ["a1", "b1"] {
        assert_eq!(retired(&lab, by), [0]);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_has_begun_nothing_and_later_all_is_done() {
    let lab = five().await;
    let gate = gated(&lab, "a2");
    let swap = SwapRequest::to_provider(slot("adapter/a"), provider("a2"));
    let lifecycle = lab.lifecycle.clone();
    let swap = tokio::spawn(async move { lifecycle.swap(swap).await });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 6).await;
    let lifecycle = lab.lifecycle.clone();
    let waits = tokio::spawn(async move { lifecycle.apply(to_second(&FIVE)).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    swap.await.unwrap().unwrap();
    assert_eq!(lab.book.all().len(), 6, "only the swap built something");

    let gate = gated(&lab, "b2");
    let lifecycle = lab.lifecycle.clone();
    let begun = tokio::spawn(async move { lifecycle.apply(to_second(&FIVE)).await });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 10).await;
    begun.abort();
    assert!(begun.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    // In turn after it.
    for of in FIVE {
        soon(lab.lifecycle.settled(&slot(of))).await;
        assert_eq!(serving(&lab, of).unwrap(), named(of, 2));
        assert_eq!(retired(&lab, &named(of, 1)), [1]);
    }
}

#[tokio::test]
async fn a_shutdown_under_way_ends_it_with_nothing_left_over() {
    let lab = five().await;
    let gate = gated(&lab, "c2");
    let lifecycle = lab.lifecycle.clone();
    let applied = tokio::spawn(async move { lifecycle.apply(to_second(&FIVE)).await });
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 10).await;
    let report = soon(lab.lifecycle.shutdown(std::time::Duration::from_secs(30))).await;
    assert!(report.is_clean(), "{report:?}");
    let report = soon(applied).await.unwrap().unwrap();
    assert_eq!(report.outcome, ChangeOutcome::RolledBack);
    gate.add_permits(1);
    for record in lab.book.all() {
        assert_eq!(record.retired.load(Ordering::SeqCst), 1);
    }
    let error = lab.lifecycle.apply(to_second(&FIVE)).await.unwrap_err();
    assert!(matches!(error, LifecycleError::Stopped { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_fails_while_sets_are_applied_and_rolled_back() {
    let lab = five().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..8 {
        let handle = lab.lifecycle.slot(&slot(FIVE[caller % 5]));
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let lease = handle.lease().unwrap();
                tokio::task::yield_now().await;
                let payload = oneiric_lifecycle::Payload::empty();
                lease.invoke("who", payload).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }));
    }
    for round in 0..30 {
        let number = 2 - round % 2;
        let fails = round % 3 == 2;
        if fails {
            failing(&lab, &named(FIVE[2], number));
        }
        let set = FIVE.iter().fold(ChangeSet::new(), |set, of| {
            set.to_provider(slot(of), provider(&named(of, number)))
        });
        let before = serving(&lab, FIVE[0]);
        let report = apply(&lab, set).await;
        let after = serving(&lab, FIVE[0]);
        if fails && report.outcome == ChangeOutcome::RolledBack {
            assert_eq!(before, after);
        } else {
            assert!(report.serves(), "{report:?}");
        }
        lab.book.script(&named(FIVE[2], number), Script::default());
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(done.load(Ordering::Relaxed) > 0);
    let records = lab.book.all();
    let alive = records
        .iter()
        .filter(|record| record.retired.load(Ordering::SeqCst) == 0);
    assert_eq!(alive.count(), 5);
    for record in &records {
        assert!(record.retired.load(Ordering::SeqCst) <= 1);
        assert!(!record.called_after_retirement.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn observers_hear_all_publishes_before_the_first_retirement() {
    let heard: Arc<Mutex<Vec<(String, &'static str)>>> = Arc::default();
    let names: Vec<(String, String)> = FIVE
        .iter()
        .flat_map(|of| [1, 2].map(|number| ((*of).to_owned(), named(of, number))))
        .collect();
    let lab = Lab::with(&candidates(&names, &[]), |builder| {
        let heard = Arc::clone(&heard);
        builder.observer(move |event: &SwapEvent| {
            let what = match &event.what {
                Happening::Published { .. } => "published",
                Happening::Retired { .. } => "retired",
                _ => return,
            };
            heard.lock().unwrap().push((event.slot.to_string(), what));
        })
    });
    for of in FIVE {
        lab.lifecycle.activate(&slot(of)).await.unwrap();
    }
    heard.lock().unwrap().clear();
    apply(&lab, to_second(&FIVE)).await;
    let heard = heard.lock().unwrap();
    let (first, then) = heard.split_at(5);
    assert!(
        first.iter().all(|(_, what)| *what == "published"),
        "{heard:?}"
    );
    assert!(then.iter().all(|(_, what)| *what == "retired"), "{heard:?}");
}
