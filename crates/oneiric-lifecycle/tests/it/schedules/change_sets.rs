//! Sets, swaps, activations and deactivations over slots that require each other, in orders that nobody chose: all of
//! it ends, and every instance is retired once or serves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;
use oneiric_lifecycle::{ChangeSet, SwapRequest};

use super::soak_rounds;
use crate::support::{Act, Lab, Script, provider, slot, soon};

const SLOTS: [&str; 4] = ["adapter/a", "adapter/b", "adapter/c", "adapter/d"];

/// Requirements in both directions, so that what is required depends on who is asked for; some would close a ring.
const CANDIDATES: [(&str, &str, i64, &[&str]); 10] = [
    ("adapter/a", "a1", 2, &["adapter/b"]),
    ("adapter/a", "a2", 1, &[]),
    ("adapter/b", "b1", 2, &["adapter/c"]),
    ("adapter/b", "b2", 1, &["adapter/a", "adapter/d"]),
    ("adapter/c", "c1", 2, &["adapter/d"]),
    ("adapter/c", "c2", 1, &["adapter/a"]),
    ("adapter/d", "d1", 2, &[]),
    ("adapter/d", "d2", 1, &["adapter/b", "adapter/c"]),
    ("adapter/c", "bad", 0, &["adapter/d"]),
    ("adapter/d", "bad", 0, &[]),
];

/// One of a few things, at random; that it is refused is an end like any other.
async fn do_something(lab: &Lab, chance: &mut Rng) {
    let of = slot(SLOTS[chance.usize(..4)]);
    match chance.usize(..8) {
        0..3 => {
            let mut set = ChangeSet::new();
            for _ in 0..=chance.usize(..4) {
                let (of, by, ..) = CANDIDATES[chance.usize(..CANDIDATES.len())];
                set = set.to_provider(slot(of), provider(by));
            }
            let _refused = lab.lifecycle.apply(set).await;
        }
        3..5 => {
            let (of, by, ..) = CANDIDATES[chance.usize(..CANDIDATES.len())];
            let swap = SwapRequest::to_provider(slot(of), provider(by));
            let _refused = lab.lifecycle.swap(swap).await;
        }
        5 => drop(lab.lifecycle.activate(&of).await),
        6 => drop(lab.lifecycle.lease(&of).await),
        _ => drop(lab.lifecycle.deactivate(&of).await),
    }
}

async fn round(seed: u64) {
    let lab = Arc::new(Lab::new(&CANDIDATES));
    let script = Script {
        probe: Act::Fail,
        ..Script::default()
    };
    lab.book.script("bad", script);
    let mut workers = Vec::new();
    for worker in 0..5 {
        let lab = Arc::clone(&lab);
        let mut chance = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(worker));
        workers.push(tokio::spawn(async move {
            for _ in 0..10 {
                do_something(&lab, &mut chance).await;
            }
        }));
    }
    for worker in workers {
        soon(worker).await.unwrap();
    }
    for of in SLOTS {
        soon(lab.lifecycle.settled(&slot(of))).await;
    }
    let serving = SLOTS
        .iter()
        .filter(|of| lab.lifecycle.serving(&slot(of)).is_some())
        .count();
    let records = lab.book.all();
    let alive = records
        .iter()
        .filter(|record| record.retired.load(Ordering::SeqCst) == 0);
    assert_eq!(alive.count(), serving, "seed {seed}");
    for record in &records {
        assert!(record.retired.load(Ordering::SeqCst) <= 1, "seed {seed}");
    }
    let report = soon(lab.lifecycle.shutdown(std::time::Duration::from_secs(30))).await;
    assert!(report.is_clean(), "seed {seed}: {report:?}");
    for record in &records {
        assert_eq!(record.retired.load(Ordering::SeqCst), 1, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn whatever_is_asked_for_at_one_time_ends() {
    for seed in soak_rounds(40) {
        round(seed).await;
    }
}

/// All on one thread: another set of orders.
#[tokio::test]
async fn whatever_is_asked_for_at_one_time_ends_on_one_thread_too() {
    for seed in soak_rounds(40) {
        round(seed).await;
    }
}

/// Whoever takes turns from under each other in step would do so for ever.
#[tokio::test]
async fn sets_over_the_same_slots_at_one_time_all_have_their_turn() {
    let lab = Arc::new(Lab::new(&CANDIDATES));
    let mut workers = Vec::new();
    for worker in 0..6 {
        let lab = Arc::clone(&lab);
        let mut chance = Rng::with_seed(worker);
        workers.push(tokio::spawn(async move {
            for _ in 0..40 {
                let mut set = ChangeSet::new();
                for _ in 0..=chance.usize(..4) {
                    let (of, by, ..) = CANDIDATES[chance.usize(..8)];
                    set = set.to_provider(slot(of), provider(by));
                }
                let _refused = lab.lifecycle.apply(set).await;
            }
        }));
    }
    for worker in workers {
        soon(worker).await.unwrap();
    }
}
