//! What becomes of steps when the pool of threads that they run on is full.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::Coded as _;
use oneiric_lifecycle::{Judged, Outcome, Stage, StepKind, StepLoad, SwapRequest};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::self_healing::Ward;
use crate::support::{Act, CACHE, Lab, Script, provider, slot, until};

/// Time is paused, and does not pass by itself while anything is on a thread of the pool.
fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    builder.max_blocking_threads(threads).build().unwrap()
}

/// Takes so many threads until what it gives is dropped.
async fn taken(threads: usize) -> Vec<std::sync::mpsc::Sender<()>> {
    let mut held = Vec::new();
    for _ in 0..threads {
        let (open, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            begun.send(()).unwrap();
            wait.recv().unwrap_err();
        });
        begins.await.unwrap();
        held.push(open);
    }
    held
}

/// Lets time pass, and everybody do what it brings who needs no thread for that: threads take their own time.
async fn pass(seconds: u64) {
    for _ in 0..seconds * 10 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn p14_a_full_pool_is_held_against_nobody() {
    runtime(2).block_on(async {
        let policy = serde_json::json!({
            "health_interval_ms": 1_000, "health_bad": 3, "on_failure": "restart_then_fail_over",
        });
        let (ward, _supervision) = Ward::begun(policy).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(ward.status().judgement.judged, Judged::Healthy);
        let held = taken(2).await;
        pass(60).await;
        assert_eq!(ward.texts(), Vec::<String>::new());
        let probes = ward.probes();
        drop(held);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(ward.probes() > probes + 20);
        assert_eq!(ward.status().judgement.judged, Judged::Healthy);
        assert_eq!((ward.serves().as_str(), ward.builds()), ("a", 1));
        assert_eq!(ward.texts(), Vec::<String>::new());
    });
}

#[test]
fn whoever_was_not_asked_gave_no_answer_and_can_be_asked_again_at_once() {
    runtime(1).block_on(async {
        let lab = Lab::pair();
        assert_eq!(lab.who(CACHE).await, "a");
        let held = taken(1).await;
        let cache = slot(CACHE);
        let (asked, ()) = tokio::join!(lab.lifecycle.probe(&cache), pass(11));
        let health = asked.unwrap().health.unwrap();
        assert_eq!(
            health.to_string(),
            "not_asked: not begun within 5 s: there was no thread for it"
        );
        assert!(!health.may_serve());
        let again = lab.lifecycle.probe(&cache);
        let (again, ()) = tokio::join!(again, async { drop(held) });
        assert_eq!(again.unwrap().health.unwrap().name(), "ok");
    });
}

#[test]
fn whoever_waits_behind_one_that_was_not_asked_was_not_asked_either() {
    runtime(1).block_on(async {
        let lab = Lab::pair();
        assert_eq!(lab.who(CACHE).await, "a");
        let held = taken(1).await;
        let cache = slot(CACHE);
        let ask = || lab.lifecycle.probe(&cache);
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), pass(21));
        for asked in [first, second, third] {
            assert_eq!(asked.unwrap().health.unwrap().name(), "not_asked");
        }
        assert_eq!(lab.lifecycle.status(&cache).unwrap().judgement.bad, 0);
        drop(held);
    });
}

#[test]
fn what_never_began_in_time_never_begins() {
    runtime(1).block_on(async {
        let lab = Lab::pair();
        assert_eq!(lab.who(CACHE).await, "a");
        let held = taken(1).await;
        let to_b = || SwapRequest::to_provider(slot(CACHE), provider("b"));
        let (report, ()) = tokio::join!(lab.lifecycle.swap(to_b()), pass(31));
        let Outcome::RolledBack { failure } = report.unwrap().outcome else {
            panic!("swapped without a thread");
        };
        assert_eq!(
            (failure.stage, failure.code),
            (Stage::Build, "lifecycle.not_begun")
        );
        drop(held);
        // The pool is at work on what was left in it before it is at work on this.
        tokio::task::spawn_blocking(|| {}).await.unwrap();
        assert_eq!(lab.book.builds_begun.load(Ordering::SeqCst), 1);
        assert!(lab.lifecycle.swap(to_b()).await.unwrap().serves());
        assert_eq!(lab.who(CACHE).await, "b");
    });
}

#[test]
fn the_time_of_a_step_begins_when_the_step_does() {
    runtime(1).block_on(async {
        let lab = Lab::pair();
        let (build, gate) = Act::gate();
        let script = Script {
            build,
            ..Script::default()
        };
        lab.book.script("a", script);
        let held = taken(1).await;
        let begun = || lab.book.builds_begun.load(Ordering::SeqCst);
        let waits = async {
            pass(20).await;
            assert_eq!(begun(), 0);
            drop(held);
            until(|| begun() == 1).await;
            pass(20).await;
            gate.add_permits(1);
        };
        let cache = slot(CACHE);
        let (report, ()) = tokio::join!(lab.lifecycle.activate(&cache), waits);
        report.unwrap();
        assert_eq!(lab.who(CACHE).await, "a");
    });
}

#[test]
fn p19_what_could_not_be_retired_in_time_is_retired_when_there_is_a_thread() {
    runtime(1).block_on(async {
        let lab = Lab::pair();
        let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
        let (published, is_published) = oneshot::channel();
        let published = std::sync::Mutex::new(Some(published));
        let to_b = SwapRequest::to_provider(slot(CACHE), provider("b")).when_published(move || {
            let published = published.lock().unwrap().take();
            published.unwrap().send(()).unwrap();
        });
        let full = async {
            is_published.await.unwrap();
            let held = taken(1).await;
            drop(lease);
            pass(11).await;
            held
        };
        let (report, held) = tokio::join!(lab.lifecycle.swap(to_b), full);
        let report = report.unwrap();
        assert_eq!(report.outcome, Outcome::Swapped);
        let warnings: Vec<_> = report
            .warnings
            .iter()
            .map(|warning| (warning.stage, warning.code))
            .collect();
        assert_eq!(warnings, [(Stage::Retire, "lifecycle.not_begun")]);
        assert_eq!(lab.book.retirements(), Vec::<String>::new());
        drop(held);
        until(|| lab.book.retirements() == ["a"]).await;
        pass(60).await;
        assert_eq!(
            lab.book.records_of("a")[0].retired.load(Ordering::SeqCst),
            1
        );
    });
}

#[test]
fn p14_however_many_factories_hang_instances_are_probed_and_exchanged_ones_retired() {
    runtime(300).block_on(async {
        let slots: Vec<String> = (0..310).map(|one| format!("adapter/x{one}")).collect();
        let mut candidates: Vec<(&str, &str, i64, &[&str])> = vec![(CACHE, "a", 1, &[])];
        candidates.extend(
            slots
                .iter()
                .map(|slot| (slot.as_str(), "hangs", 1, &[][..])),
        );
        let lab = Lab::new(&candidates);
        let script = Script {
            build: Act::Hang,
            ..Script::default()
        };
        lab.book.script("hangs", script);
        assert_eq!(lab.who(CACHE).await, "a");
        let mut activations = JoinSet::new();
        for name in slots {
            let lifecycle = lab.lifecycle.clone();
            activations.spawn(async move { lifecycle.activate(&slot(&name)).await });
        }
        let begun = || lab.book.builds_begun.load(Ordering::SeqCst);
        until(|| begun() >= 256).await;
        let cache = slot(CACHE);
        // No time passes while they hang: this answers, or never.
        let health = lab.lifecycle.probe(&cache).await.unwrap().health.unwrap();
        assert_eq!(health.name(), "ok");
        lab.lifecycle.deactivate(&cache).await.unwrap();
        assert_eq!(lab.book.retirements(), ["a"]);
        // Those that wait begin, or not, but they end.
        let (ended, ()) = tokio::join!(activations.join_all(), pass(62));
        for ended in ended {
            let code = ended.unwrap_err().code();
            assert!(
                ["lifecycle.timed_out", "lifecycle.not_begun"].contains(&code),
                "{code}"
            );
        }
        let idle = |load: StepLoad| (load.at_work, load.waiting) == (0, 0);
        until(|| lab.lifecycle.steps().into_iter().all(idle)).await;
    });
}

#[test]
fn p14_a_provider_whose_probes_block_for_ever_takes_no_thread_of_others() {
    runtime(300).block_on(async {
        let lab = Lab::new(&[
            (CACHE, "a", 1, &[]),
            (CACHE, "blocks", 0, &[]),
            ("adapter/other", "c", 1, &[]),
        ]);
        let (probe, open) = Act::thread_gate();
        let script = Script {
            probe,
            ..Script::default()
        };
        lab.book.script("blocks", script);
        assert_eq!(lab.who(CACHE).await, "a");
        assert_eq!(lab.who("adapter/other").await, "c");
        let probes = |load: &StepLoad| (load.kind == StepKind::Probe).then_some(load.at_work);
        let at_work = || lab.lifecycle.steps().iter().find_map(probes).unwrap();
        let to_blocks = || SwapRequest::to_provider(slot(CACHE), provider("blocks"));
        let code = |outcome| match outcome {
            Outcome::RolledBack { failure } => failure.code,
            outcome => panic!("{outcome:?} without an answer"),
        };
        for one in 1..=4 {
            let given_up = async {
                until(|| at_work() == one).await;
                pass(6).await;
            };
            let (report, ()) = tokio::join!(lab.lifecycle.swap(to_blocks()), given_up);
            assert_eq!(code(report.unwrap().outcome), "lifecycle.probe_error");
        }
        for _ in 0..4 {
            let report = lab.lifecycle.swap(to_blocks()).await.unwrap();
            assert_eq!(code(report.outcome), "lifecycle.hung");
        }
        assert_eq!(at_work(), 4);
        let health = lab.lifecycle.probe(&slot("adapter/other")).await.unwrap();
        assert_eq!(health.health.unwrap().name(), "ok");
        assert_eq!(lab.who(CACHE).await, "a");
        // It may be tried again when they have ended.
        drop(open);
        until(|| at_work() == 0).await;
        assert!(lab.lifecycle.swap(to_blocks()).await.unwrap().serves());
    });
}

#[test]
fn p14_however_many_probes_block_the_next_slot_is_asked() {
    runtime(300).block_on(async {
        let slots: Vec<String> = (0..64).map(|one| format!("adapter/x{one}")).collect();
        let mut candidates: Vec<(&str, &str, i64, &[&str])> = vec![(CACHE, "a", 1, &[])];
        candidates.extend(
            slots
                .iter()
                .map(|slot| (slot.as_str(), "blocks", 1, &[][..])),
        );
        let lab = Lab::new(&candidates);
        let (probe, open) = Act::thread_gate();
        let script = Script {
            probe,
            ..Script::default()
        };
        lab.book.script("blocks", script);
        assert_eq!(lab.who(CACHE).await, "a");
        let mut activations = JoinSet::new();
        for name in slots {
            let lifecycle = lab.lifecycle.clone();
            activations.spawn(async move { lifecycle.activate(&slot(&name)).await });
        }
        let probes = |load: &StepLoad| (load.kind == StepKind::Probe).then_some(load.at_work);
        until(|| lab.lifecycle.steps().iter().find_map(probes) == Some(64)).await;
        let (ended, ()) = tokio::join!(activations.join_all(), pass(6));
        assert!(ended.iter().all(Result::is_err));
        let health = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
        assert_eq!(health.health.unwrap().name(), "ok");
        drop(open);
    });
}
