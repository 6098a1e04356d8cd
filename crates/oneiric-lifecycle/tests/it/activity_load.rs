//! Activity against callers on threads of their own: no call slips past it, none is refused without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use oneiric_core::Coded;
use oneiric_lifecycle::{Activity, ActivityRule, ActivityScope, DrainEnd, SwapRequest};

use crate::support::{CACHE, Lab, provider, slot, soon};

const CALLERS: usize = 8;

/// What is certain of a phase; in all others a swap is under way.
const A_SERVES: u64 = 0;
const B_SERVES: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_reaches_a_paused_provider_and_none_is_refused_while_the_other_serves() {
    let lab = Lab::pair();
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let paused: ActivityScope = "adapter/cache:b".parse().unwrap();
    lab.lifecycle
        .set_activity(ActivityRule::pause(&paused))
        .unwrap();
    // Counts up with every step, so that a caller sees whether anything changed while it asked.
    let phase = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let handle = lab.lifecycle.slot(&slot(CACHE));
            let (phase, stop) = (Arc::clone(&phase), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut let_in, mut refused) = (0_u64, 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let before = phase.load(Ordering::SeqCst);
                    let lease = handle.lease();
                    thread::yield_now();
                    let certain = (phase.load(Ordering::SeqCst) == before).then_some(before % 4);
                    match lease {
                        Ok(lease) => {
                            assert_eq!(lease.provider().as_str(), "a", "a call on what is paused");
                            assert_ne!(certain, Some(B_SERVES), "let in while b serves");
                            let_in += 1;
                        }
                        Err(error) => {
                            assert_eq!(error.code(), "lifecycle.busy");
                            assert_ne!(certain, Some(A_SERVES), "refused while a serves");
                            refused += 1;
                        }
                    }
                }
                (let_in, refused)
            })
        })
        .collect();
    for swap in 0_u64..200 {
        let to = if swap % 2 == 0 { "b" } else { "a" };
        phase.fetch_add(1, Ordering::SeqCst);
        let request = SwapRequest::to_provider(slot(CACHE), provider(to));
        assert!(soon(lab.lifecycle.swap(request)).await.unwrap().serves());
        phase.fetch_add(1, Ordering::SeqCst);
    }
    stop.store(true, Ordering::Relaxed);
    let counts: Vec<(u64, u64)> = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .collect();
    let let_in: u64 = counts.iter().map(|(let_in, _)| let_in).sum();
    let refused: u64 = counts.iter().map(|(_, refused)| refused).sum();
    assert!(
        let_in > 0 && refused > 0,
        "{let_in} let in, {refused} refused"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p69_nothing_runs_any_more_when_a_scope_is_reported_drained() {
    let lab = Lab::pair();
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let scope: ActivityScope = "adapter/*".parse().unwrap();
    let held = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // Odd from when draining is set to when it is lifted.
    let closed = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let handle = lab.lifecycle.slot(&slot(CACHE));
            let (held, stop, closed) = (Arc::clone(&held), Arc::clone(&stop), Arc::clone(&closed));
            thread::spawn(move || {
                let mut served = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let before = closed.load(Ordering::SeqCst);
                    let lease = handle.lease();
                    let during = closed.load(Ordering::SeqCst) == before && before % 2 == 1;
                    if let Ok(lease) = lease {
                        assert!(!during, "let in while it drains");
                        held.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                        served += 1;
                    }
                }
                served
            })
        })
        .collect();
    for round in 0..120 {
        lab.lifecycle
            .set_activity(ActivityRule::drain(&scope))
            .unwrap();
        closed.fetch_add(1, Ordering::SeqCst);
        if round % 3 == 0 {
            // A swap in the middle: what drains is then on an instance that is being retired.
            let to = provider(if round % 2 == 0 { "b" } else { "a" });
            soon(
                lab.lifecycle
                    .swap(SwapRequest::to_provider(slot(CACHE), to)),
            )
            .await
            .unwrap();
        }
        assert_eq!(soon(lab.lifecycle.drained(&scope)).await, DrainEnd::Empty);
        assert_eq!(held.load(Ordering::SeqCst), 0, "round {round}");
        assert_eq!(lab.lifecycle.in_flight(&scope), 0, "round {round}");
        closed.fetch_add(1, Ordering::SeqCst);
        lab.lifecycle
            .set_activity(ActivityRule::new(&scope, Activity::Running))
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let served: u64 = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .sum();
    assert!(served > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_are_set_on_many_threads_are_all_there() {
    let lab = Lab::pair();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let lifecycle = lab.lifecycle.clone();
            thread::spawn(move || {
                for round in 0..100 {
                    let domain = format!("w{writer}r{round}/*");
                    let scope: ActivityScope = domain.parse().unwrap();
                    lifecycle.set_activity(ActivityRule::pause(scope)).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(lab.lifecycle.activity_rules().len(), 800);
}
