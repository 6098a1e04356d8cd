//! Hand-overs that go wrong: each a named error, the old instance as before, the slot usable afterwards.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use oneiric_lifecycle::{HandoverMode, Health, Outcome, SlotPolicies, Stage, SwapRequest};

use crate::handover::{FORMAT, LONG, able, handover, lab, swap_to, took};
use crate::support::{Act, CACHE, Lab, Script, State, provider, slot, soon, until};

/// Where it goes wrong: the script of the old one, that of the new one, and what is said of it.
struct Case {
    name: &'static str,
    old: State,
    new: State,
    failure: (Stage, &'static str),
    /// Whether the new instance may serve without the state, where the policy says so.
    dispensable: bool,
    /// Whether it is a matter of time.
    late: bool,
}

fn cases() -> Vec<Case> {
    let ok = State::default;
    let case = |name, old, new, failure| Case {
        name,
        old,
        new,
        failure,
        dispensable: true,
        late: false,
    };
    let export = |export| State { export, ..ok() };
    let import = |import| State { import, ..ok() };
    let ten_gb = State {
        mebibytes: 10 << 10,
        ..ok()
    };
    let budget = "lifecycle.handover_over_budget";
    let panicked = "lifecycle.panicked";
    vec![
        case(
            "export fails",
            export(Act::Fail),
            ok(),
            (Stage::Export, "lifecycle.export_failed"),
        ),
        case(
            "export panics",
            export(Act::Panic),
            ok(),
            (Stage::Export, panicked),
        ),
        case(
            "10 GB",
            ten_gb,
            ok(),
            (Stage::Export, "lifecycle.handover_too_large"),
        ),
        Case {
            late: true,
            ..case(
                "export hangs",
                export(Act::Hang),
                ok(),
                (Stage::Export, budget),
            )
        },
        Case {
            late: true,
            ..case(
                "import hangs",
                ok(),
                import(Act::Hang),
                (Stage::Import, budget),
            )
        },
        Case {
            dispensable: false,
            ..case(
                "import fails",
                ok(),
                import(Act::Fail),
                (Stage::Import, "lifecycle.import_failed"),
            )
        },
        Case {
            dispensable: false,
            ..case(
                "import panics",
                ok(),
                import(Act::Panic),
                (Stage::Import, panicked),
            )
        },
        Case {
            dispensable: false,
            ..case(
                "sick of the state",
                ok(),
                State {
                    sick_of_it: true,
                    ..ok()
                },
                (Stage::Probe, "lifecycle.probe_failed"),
            )
        },
    ]
}

/// The slot does all that it did before.
async fn is_usable(lab: &Lab, name: &str) {
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    let serves = status.active.unwrap().provider;
    let to = if serves.as_str() == "a" { "b" } else { "a" };
    let report = swap_to(lab, to).await;
    assert!(report.serves(), "{name}: {report:?}");
    assert_eq!(lab.who(CACHE).await, to, "{name}");
}

#[tokio::test]
async fn each_is_a_named_failure_and_leaves_the_slot_as_it_was() {
    for mode in [HandoverMode::Abort, HandoverMode::Empty] {
        for case in cases() {
            let Case {
                name,
                old,
                new,
                failure: (stage, code),
                dispensable,
                late,
            } = case;
            let block = if late {
                Duration::from_millis(30)
            } else {
                LONG
            };
            let lab = lab(mode, block);
            lab.book.script("a", able(old));
            lab.book.script("b", able(new));
            lab.who(CACHE).await;
            let report = swap_to(&lab, "b").await;
            let told = handover(&report);
            let failure = told.failure.clone().unwrap();
            assert_eq!(
                (failure.stage, failure.code),
                (stage, code),
                "{name}: {failure}"
            );
            assert!(!told.handed_over);
            let goes_on = mode == HandoverMode::Empty && dispensable;
            let expected = if goes_on {
                Outcome::Swapped
            } else {
                Outcome::RolledBack { failure }
            };
            assert_eq!(report.outcome, expected, "{name} {mode:?}");
            let serves = if goes_on { "b" } else { "a" };
            assert_eq!(lab.who(CACHE).await, serves, "{name} {mode:?}");
            if goes_on {
                // One that was perhaps given half of it does not serve.
                assert_eq!(took(&lab, "b"), None, "{name}");
            }
            let gone = lab.book.all().len() - 1;
            let retired = lab
                .book
                .all()
                .iter()
                .map(|one| one.retired.load(SeqCst))
                .sum::<u32>();
            assert_eq!(retired as usize, gone, "{name} {mode:?}: each once");
            // The old one may never be able to export; without a hand-over it still goes.
            lab.lifecycle.set_slot_policies(SlotPolicies::new());
            is_usable(&lab, name).await;
        }
    }
}

#[tokio::test]
async fn a_state_that_the_new_one_does_not_read_keeps_nobody_waiting() {
    for mode in [HandoverMode::Abort, HandoverMode::Empty] {
        let lab = lab(mode, LONG);
        let other = State {
            format: "test.names/2",
            ..State::default()
        };
        lab.book.script(
            "b",
            Script {
                state: Some(other),
                ..Script::default()
            },
        );
        lab.who(CACHE).await;
        let report = swap_to(&lab, "b").await;
        let told = handover(&report);
        assert_eq!(told.blocked, Duration::ZERO);
        let failure = told.failure.clone().unwrap();
        assert_eq!(failure.code, "lifecycle.handover_format");
        assert!(failure.message.contains(FORMAT), "{failure}");
        let serves = if mode == HandoverMode::Empty {
            "b"
        } else {
            "a"
        };
        assert_eq!(lab.who(CACHE).await, serves);
        assert_eq!(lab.book.records_of("a")[0].exports.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn one_that_was_found_bad_is_not_asked_and_keeps_nobody_from_replacing_it() {
    let lab = lab(HandoverMode::Abort, LONG);
    let probe = Act::Say(Health::Critical("disk gone".into()));
    let export = Act::Hang;
    let state = able(State {
        export,
        ..State::default()
    });
    lab.book.script("a", Script { probe, ..state });
    let request = SwapRequest::to_provider(slot(CACHE), provider("a"));
    lab.lifecycle.swap(request.force(true)).await.unwrap();
    let report = swap_to(&lab, "b").await;
    assert_eq!(report.outcome, Outcome::Swapped);
    let failure = handover(&report).failure.clone().unwrap();
    assert_eq!(failure.code, "lifecycle.handover_unhealthy");
    assert!(failure.message.contains("disk gone"), "{failure}");
    assert_eq!(lab.book.records_of("a")[0].exports.load(SeqCst), 0);
}

#[tokio::test]
async fn an_export_that_blocks_its_thread_for_ever_costs_one_thread() {
    let lab = lab(HandoverMode::Abort, Duration::from_millis(30));
    let (export, open) = Act::thread_gate();
    lab.book.script(
        "a",
        able(State {
            export,
            ..State::default()
        }),
    );
    lab.who(CACHE).await;
    for _ in 0..5 {
        let report = swap_to(&lab, "b").await;
        let failure = handover(&report).failure.clone().unwrap();
        assert_eq!(failure.code, "lifecycle.handover_over_budget");
        assert_eq!(lab.who(CACHE).await, "a");
    }
    let old = lab.book.records_of("a").pop().unwrap();
    assert_eq!(old.exports.load(SeqCst), 1);
    drop(open);
    soon(async { while !swap_to(&lab, "b").await.serves() {} }).await;
    until(|| old.retired.load(SeqCst) == 1).await;
    assert_eq!(took(&lab, "b").as_deref(), Some("a\n"));
}
