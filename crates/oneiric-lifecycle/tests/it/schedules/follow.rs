//! Slots that need each other are exchanged, paused, resumed and called at the same time, whatever they do about it.
//! Nothing hangs, nothing is retired twice or not at all, and everybody knows of the last.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use oneiric_lifecycle::{ActivityRule, SwapRequest};
use serde_json::json;

use super::{one_of, soak_rounds};
use crate::support::{Lab, policies, slot, soon, until};

/// Firm requirements go down; the optional ones go up and close rings.
const SLOTS: [(&str, &[&str], &[&str]); 5] = [
    ("service/s0", &[], &["service/s3"]),
    ("service/s1", &["service/s0"], &[]),
    ("service/s2", &["service/s0", "service/s1"], &["service/s4"]),
    ("service/s3", &["service/s1"], &[]),
    ("service/s4", &["service/s2", "service/s3"], &[]),
];

/// Schedules of one round.
const SCHEDULES: u64 = 100;

/// Whether what serves `slot`, if anything does, is younger than what serves `need`.
fn is_built_after(lab: &Lab, of: &str, need: &str) -> bool {
    let number = |of: &str| Some(lab.lifecycle.status(&slot(of))?.active?.instance);
    number(of).is_none() || number(of) > number(need)
}

async fn schedule(seed: u64) {
    let mut chance = Rng::with_seed(seed);
    let words = ["nothing", "tell", "restart", "restart"];
    let entries: Vec<_> = SLOTS
        .iter()
        .map(|(name, ..)| {
            (
                *name,
                json!({"on_dependency_change": one_of(&mut chance, &words), "restarts": 1_000}),
            )
        })
        .collect();
    let lab = Lab::with(&[], |builder| builder.slot_policies(policies(&entries)));
    for (nth, (name, requires, optional)) in SLOTS.iter().enumerate() {
        for by in ["x", "y"] {
            let by = format!("{by}{nth}");
            let candidate = crate::support::wanting(name, &by, requires, optional);
            lab.registry.register(candidate).keep();
        }
    }
    let mut work = Vec::new();
    for _ in 0..12 {
        let (name, ..) = *one_of(&mut chance, &SLOTS);
        let (what, by) = (chance.u8(..8), *one_of(&mut chance, &["x", "y"]));
        let by = format!("{by}{}", name.trim_start_matches("service/s"))
            .parse()
            .unwrap();
        let (lifecycle, slot) = (lab.lifecycle.clone(), slot(name));
        let hops = chance.u8(..20);
        work.push(tokio::spawn(async move {
            for _ in 0..hops {
                tokio::task::yield_now().await;
            }
            match what {
                0 => drop(lifecycle.set_activity(ActivityRule::pause(slot))),
                1 => drop(lifecycle.set_activity(ActivityRule::resume(slot))),
                2 => drop(lifecycle.lease(&slot).await),
                3 => drop(lifecycle.deactivate(&slot).await),
                4 => drop(lifecycle.activate(&slot).await),
                _ => drop(
                    lifecycle
                        .swap(SwapRequest::to_provider(slot, by).rebuild(true))
                        .await,
                ),
            }
        }));
    }
    for task in work {
        soon(task).await.unwrap();
    }
    for (name, ..) in SLOTS {
        drop(lab.lifecycle.set_activity(ActivityRule::resume(slot(name))));
    }
    // Somebody who stopped waiting for an optional requirement left its activation to itself; that one may have begun
    // another, and so on down; and so may a dependent that is restarted.
    for (name, ..) in SLOTS.iter().cycle().take(SLOTS.len() * SLOTS.len()) {
        soon(lab.lifecycle.settled(&slot(name))).await;
        soon(lab.lifecycle.dependents_settled()).await;
    }
    for ((name, requires, _), (_, policy)) in SLOTS.iter().zip(&entries) {
        for need in *requires {
            if policy["on_dependency_change"] == "restart" {
                assert!(
                    is_built_after(&lab, name, need),
                    "{name}, {need}: seed {seed}"
                );
            }
        }
    }
    // Half of them in the middle of the next exchange.
    if chance.u8(..2) == 0 {
        let lifecycle = lab.lifecycle.clone();
        let swap = async move {
            let request = SwapRequest::to_winner(slot("service/s0")).rebuild(true);
            drop(lifecycle.swap(request).await);
        };
        tokio::spawn(swap);
        tokio::task::yield_now().await;
    }
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(60))).await;
    assert!(report.is_clean(), "seed {seed}: {report:?}");
    soon(lab.lifecycle.dependents_settled()).await;
    until(|| {
        lab.book
            .all()
            .iter()
            .all(|one| one.retired.load(Ordering::SeqCst) == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exchanges_of_slots_that_need_each_other_end_in_every_order() {
    let mut running = tokio::task::JoinSet::new();
    for seed in soak_rounds(10) {
        for nth in 0..SCHEDULES {
            if running.len() == 8 {
                soon(running.join_next()).await.unwrap().unwrap();
            }
            running.spawn(schedule(seed.wrapping_mul(SCHEDULES).wrapping_add(nth)));
        }
    }
    while let Some(ended) = soon(running.join_next()).await {
        ended.unwrap();
    }
}
