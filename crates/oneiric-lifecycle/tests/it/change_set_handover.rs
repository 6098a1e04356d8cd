//! Several slots exchanged as one, with state that goes over in more than one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use oneiric_core::Coded;
use oneiric_lifecycle::{
    ChangeOutcome, ChangeReport, ChangeSet, Happening, SlotChange, SlotOutcome, Stage, Streamed,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::handover::{LONG, able, took};
use crate::support::{Act, Lab, Script, State, policies, provider, slot, soon, until};

const A: &str = "adapter/a";
const B: &str = "adapter/b";
const X: &str = "adapter/x";

/// How a slot hands over: `empty` or `abort`, and for how many milliseconds new calls wait at most.
type Manner = (&'static str, &'static str, u64);

/// Slots with two providers each, `a1` and `a2` in `adapter/a`, which all can hand over; the first ones serve.
async fn lab(slots: &[&str], requires: &[(&str, &[&str])], manners: &[Manner]) -> Lab {
    let named = |of: &str, number: u32| format!("{}{number}", of.trim_start_matches("adapter/"));
    let names: Vec<(&str, String, i64)> = slots
        .iter()
        .flat_map(|of| [(*of, named(of, 1), 2), (*of, named(of, 2), 1)])
        .collect();
    let candidates: Vec<(&str, &str, i64, &[&str])> = names
        .iter()
        .map(|(of, by, rank)| {
            let needs = requires.iter().find(|(who, _)| who == of);
            (
                *of,
                &**by,
                *rank,
                needs.map_or(&[][..], |(_, needs)| *needs),
            )
        })
        .collect();
    let lab = Lab::new(&candidates);
    let entries: Vec<_> = manners
        .iter()
        .map(|(of, mode, block)| {
            let entry = serde_json::json!({"handover": mode, "handover_block_ms": block});
            (*of, entry)
        })
        .collect();
    lab.lifecycle.set_slot_policies(policies(&entries));
    for (_, by, _) in &names {
        lab.book.script(by, able(State::default()));
    }
    for of in slots {
        lab.lifecycle.activate(&slot(of)).await.unwrap();
    }
    lab
}

fn to(slots: &[&str], number: u32) -> ChangeSet {
    slots.iter().fold(ChangeSet::new(), |set, of| {
        let by = format!("{}{number}", of.trim_start_matches("adapter/"));
        set.to_provider(slot(of), provider(&by))
    })
}

fn applying(lab: &Lab, slots: &[&str]) -> JoinHandle<ChangeReport> {
    let (lifecycle, set) = (lab.lifecycle.clone(), to(slots, 2));
    tokio::spawn(async move { lifecycle.apply(set).await.unwrap() })
}

/// Whom somebody gets who cannot wait, or the code of their refusal.
fn at_once(lab: &Lab, of: &str) -> String {
    match lab.lifecycle.slot(&slot(of)).lease() {
        Ok(lease) => lease.provider().to_string(),
        Err(error) => error.code().to_owned(),
    }
}

fn is_closed(lab: &Lab, of: &str) -> bool {
    at_once(lab, of) == "lifecycle.handing_over"
}

/// Gives everything that could go on the time to do so.
async fn stays(condition: impl Fn() -> bool) {
    for _ in 0..200 {
        assert!(condition());
        tokio::task::yield_now().await;
    }
}

fn of<'r>(report: &'r ChangeReport, name: &str) -> &'r SlotChange {
    let mut slots = report.slots.iter();
    slots.find(|change| change.slot.as_str() == name).unwrap()
}

fn handed_over(report: &ChangeReport, name: &str) -> bool {
    of(report, name).handover.as_ref().unwrap().handed_over
}

#[tokio::test]
async fn what_a_dependent_still_does_is_done_before_what_it_needs_is_closed() {
    // By way of a slot that is no member, too.
    for (slots, requires) in [
        (&[A, B][..], &[(A, &[B][..])][..]),
        (&[A, B, X][..], &[(A, &[X][..]), (X, &[B][..])][..]),
    ] {
        let manners = [(A, "abort", 60_000), (B, "abort", 60_000)];
        let lab = lab(slots, requires, &manners).await;
        let (import, open) = Act::gate();
        let state = State {
            import,
            ..State::default()
        };
        lab.book.script("a2", able(state));
        let call = lab.lifecycle.lease(&slot(A)).await.unwrap();
        let applied = applying(&lab, &[A, B]);
        until(|| is_closed(&lab, A)).await;
        // The call on `a1` calls `b1`.
        stays(|| at_once(&lab, B) == "b1").await;
        drop(call);
        // So may an instance that exports or imports.
        until(|| lab.book.records_of("a1")[0].exports.load(SeqCst) == 1).await;
        stays(|| at_once(&lab, B) == "b1").await;
        open.add_permits(1);
        let report = soon(applied).await.unwrap();
        assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
        assert!(handed_over(&report, A) && handed_over(&report, B));
        assert_eq!(took(&lab, "a2").as_deref(), Some("a1\n"));
        assert_eq!(took(&lab, "b2").as_deref(), Some("b1\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_through_a_dependent_no_call_fails_and_all_states_go_over() {
    let manners = [(A, "abort", 20_000), (B, "abort", 20_000)];
    let lab = Arc::new(lab(&[A, B], &[(A, &[B])], &manners).await);
    let (done, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (lab, done, calls) = (Arc::clone(&lab), Arc::clone(&done), Arc::clone(&calls));
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    let outer = lab.lifecycle.lease(&slot(A)).await.unwrap();
                    tokio::task::yield_now().await;
                    lab.who(B).await;
                    drop(outer);
                    calls.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let sets = 20;
    for number in 0..sets {
        let before = calls.load(SeqCst);
        let set = to(&[A, B], 2 - number % 2);
        let report = soon(lab.lifecycle.apply(set)).await.unwrap();
        assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
        assert!(
            handed_over(&report, A) && handed_over(&report, B),
            "{report:?}"
        );
        until(|| calls.load(SeqCst) > before + 8).await;
    }
    done.store(true, SeqCst);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    for by in ["a1", "b1"] {
        let state = took(&lab, by).unwrap();
        assert_eq!(
            state.lines().count(),
            sets as usize,
            "nothing was lost on the way"
        );
    }
    for record in lab.book.all() {
        assert!(!record.called_after_retirement.load(SeqCst));
        assert!(!record.called_after_export.load(SeqCst));
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_member_is_built_anew_the_others_serve_and_then_hand_over_what_came_of_it() {
    let manners = [(A, "empty", 500), (B, "empty", 500)];
    let lab = lab(&[A, B], &[], &manners).await;
    let hangs = State {
        import: Act::Hang,
        ..State::default()
    };
    lab.book.script("b2", able(hangs));
    let mut events = lab.lifecycle.events();
    let mut probes = lab.lifecycle.events();
    let applied = applying(&lab, &[A, B]);
    // The second time with the state.
    for _ in 0..2 {
        probed(&mut probes, "a2").await;
    }
    until(|| {
        let records = lab.book.records_of("b2");
        records.iter().any(|one| one.took.lock().unwrap().is_some())
    })
    .await;
    assert!(is_closed(&lab, A) && is_closed(&lab, B));
    let (build, open) = Act::gate();
    let script = able(State::default());
    lab.book.script("b2", Script { build, ..script });
    let begun = lab.book.builds().len();
    tokio::time::advance(Duration::from_millis(500)).await;
    // `a2`, too: what it took is not the state any more once `a1` serves again.
    until(|| lab.book.builds().len() >= begun + 3).await;
    assert_eq!(
        (at_once(&lab, A), at_once(&lab, B)),
        ("a1".into(), "b1".into())
    );
    open.add_permits(1);
    let report = soon(applied).await.unwrap();
    assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
    assert!(handed_over(&report, A) && !handed_over(&report, B));
    let failure = of(&report, B).handover.as_ref().unwrap().failure.clone();
    assert_eq!(failure.unwrap().code, "lifecycle.handover_over_budget");
    assert_eq!(took(&lab, "a2").as_deref(), Some("a1\n"));
    assert_eq!(took(&lab, "b2"), None);
    for by in ["a2", "b2"] {
        let gone = lab
            .book
            .records_of(by)
            .iter()
            .map(|one| one.retired.load(SeqCst))
            .collect::<Vec<_>>();
        assert_eq!(gone, [1, 0], "{by}");
    }
    assert_eq!(told_of_hand_overs(&mut events).await, [A]);
}

/// Waits until an instance of `by` has answered a probe.
async fn probed(events: &mut oneiric_lifecycle::EventStream, by: &str) {
    loop {
        let Some(Streamed::Event(event)) = soon(events.next()).await else {
            panic!("no more events");
        };
        match &event.what {
            Happening::Probed { provider, .. } if provider.as_str() == by => return,
            _ => {}
        }
    }
}

/// The slots of which it was told that state went over, until an old instance is retired.
async fn told_of_hand_overs(events: &mut oneiric_lifecycle::EventStream) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let Some(Streamed::Event(event)) = soon(events.next()).await else {
            panic!("no more events");
        };
        match &event.what {
            Happening::HandedOver { .. } => told.push(event.slot.to_string()),
            Happening::Published { .. } if told.is_empty() => panic!("published before"),
            Happening::Retired { provider, .. } if provider.as_str().ends_with('1') => return told,
            _ => {}
        }
    }
}

#[tokio::test]
async fn when_one_member_fails_the_others_serve_before_anything_is_taken_down() {
    for mode in ["abort", "empty"] {
        let manners = [(A, mode, 60_000), (B, mode, 60_000)];
        let lab = lab(&[A, B], &[], &manners).await;
        let mut events = lab.lifecycle.events();
        let fails = State {
            import: Act::Fail,
            ..State::default()
        };
        let (retire, open) = Act::gate();
        lab.book.script(
            "b2",
            Script {
                retire,
                ..able(fails)
            },
        );
        let applied = applying(&lab, &[A, B]);
        let retiring = |by: &str| {
            let records = lab.book.records_of(by);
            records.iter().any(|one| one.retired.load(SeqCst) == 1)
        };
        until(|| retiring("b2")).await;
        assert_eq!(
            (at_once(&lab, A), at_once(&lab, B)),
            ("a1".into(), "b1".into())
        );
        open.add_permits(1);
        let report = soon(applied).await.unwrap();
        assert_eq!(report.outcome, ChangeOutcome::RolledBack);
        // What was known of either stays in the report.
        let (taken_back, failed) = (of(&report, A), of(&report, B));
        assert!(matches!(taken_back.outcome, SlotOutcome::TakenBack { .. }));
        let told = taken_back.handover.as_ref().unwrap();
        assert_eq!((told.handed_over, told.bytes), (true, Some(3)), "{told:?}");
        let told = failed.handover.as_ref().unwrap().failure.clone().unwrap();
        assert_eq!(
            (told.stage, told.code),
            (Stage::Import, "lifecycle.import_failed")
        );
        assert_eq!(failed.outcome, SlotOutcome::Failed { failure: told });
        // It is told of what serves with it, and nothing does.
        let shutdown = soon(lab.lifecycle.shutdown(LONG)).await;
        assert!(shutdown.is_clean());
        assert_eq!(told_of_hand_overs(&mut events).await, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_closed_for_longer_than_its_own_block() {
    // Beside each other: one that may be closed for longer waits for one that may not.
    let manners = [(A, "empty", 50), (B, "empty", 500)];
    let lab = lab(&[A, B], &[], &manners).await;
    let begun = Instant::now();
    let call = lab.lifecycle.lease(&slot(B)).await.unwrap();
    let report = soon(applying(&lab, &[A, B])).await.unwrap();
    drop(call);
    assert_eq!(report.outcome, ChangeOutcome::Applied);
    let (of_a, of_b) = (of(&report, A), of(&report, B));
    let (of_a, of_b) = (
        of_a.handover.as_ref().unwrap(),
        of_b.handover.as_ref().unwrap(),
    );
    let block = Duration::from_millis(50);
    assert_eq!((of_a.handed_over, of_a.blocked), (true, block));
    assert_eq!((of_b.handed_over, of_b.blocked), (false, block));
    let failure = of_b.failure.clone().unwrap();
    assert!(
        failure
            .message
            .starts_with("no longer than 50 ms may calls wait"),
        "{failure}"
    );
    // The rest is the drain of `b1`.
    assert!(begun.elapsed() >= block);
}

#[tokio::test(start_paused = true)]
async fn what_is_needed_is_closed_later_and_has_its_own_time() {
    let manners = [(A, "abort", 500), (B, "abort", 50)];
    let lab = lab(&[A, B], &[(A, &[B])], &manners).await;
    let (on_a, on_b) = (
        lab.lifecycle.lease(&slot(A)).await.unwrap(),
        lab.lifecycle.lease(&slot(B)).await.unwrap(),
    );
    let applied = applying(&lab, &[A, B]);
    until(|| is_closed(&lab, A)).await;
    tokio::time::advance(Duration::from_millis(100)).await;
    drop(on_a);
    until(|| is_closed(&lab, B)).await;
    tokio::time::advance(Duration::from_millis(40)).await;
    drop(on_b);
    let report = soon(applied).await.unwrap();
    assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
    let blocked = |name| of(&report, name).handover.as_ref().unwrap().blocked;
    // The clock goes on by itself only while everybody waits.
    assert_eq!(blocked(A), Duration::from_millis(140));
    assert_eq!(blocked(B), Duration::from_millis(40));

    // The other way round the time of the one that waits is what counts.
    let manners = [(A, "abort", 50), (B, "empty", 500)];
    let lab = self::lab(&[A, B], &[(A, &[B])], &manners).await;
    let on_b = lab.lifecycle.lease(&slot(B)).await.unwrap();
    let applied = applying(&lab, &[A, B]);
    let report = soon(applied).await.unwrap();
    drop(on_b);
    assert!(
        handed_over(&report, A) && !handed_over(&report, B),
        "{report:?}"
    );
    for name in [A, B] {
        let told = of(&report, name).handover.as_ref().unwrap();
        assert_eq!(told.blocked, Duration::from_millis(50), "{name}");
    }
}

/// `b`, in which nothing serves, is wanted by a call that a member has to finish.
#[tokio::test]
async fn a_member_that_a_call_waits_for_serves_while_the_call_is_waited_for() {
    let manners = [(A, "abort", 60_000), (B, "abort", 60_000)];
    let lab = lab(&[A, B], &[], &manners).await;
    lab.lifecycle.deactivate(&slot(B)).await.unwrap();
    let call = lab.lifecycle.lease(&slot(A)).await.unwrap();
    let applied = applying(&lab, &[A, B]);
    until(|| is_closed(&lab, A)).await;
    assert_eq!(soon(lab.who(B)).await, "b2");
    drop(call);
    let report = soon(applied).await.unwrap();
    assert_eq!(report.outcome, ChangeOutcome::Applied, "{report:?}");
    assert!(handed_over(&report, A));
}
