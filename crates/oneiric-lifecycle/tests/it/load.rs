//! Swaps under load: nothing is lost, nothing is called after it was retired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oneiric_lifecycle::{Outcome, Payload, SwapRequest};

use crate::support::{CACHE, Lab, Named, provider, slot};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p17_two_hundred_swaps_under_eight_callers_fail_no_call() {
    let lab = Lab::pair();
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..8 {
        let handle = lab.lifecycle.slot(&slot(CACHE));
        let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if caller % 2 == 0 {
                    let lease = handle.lease().unwrap();
                    // Another task may run, and a swap begin, in the middle of the call.
                    tokio::task::yield_now().await;
                    lease.invoke("who", Payload::empty()).await.unwrap();
                } else {
                    let leased = live.lease().unwrap();
                    tokio::task::yield_now().await;
                    assert!(["a", "b"].contains(&leased.name().as_str()));
                }
                done.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }));
    }
    for swap in 0..200 {
        let to = provider(if swap % 2 == 0 { "b" } else { "a" });
        let report = lab
            .lifecycle
            .swap(SwapRequest::to_provider(slot(CACHE), to))
            .await
            .unwrap();
        assert_eq!(report.outcome, Outcome::Swapped, "swap {swap}");
        assert_eq!(report.warnings, [], "swap {swap}");
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let records = lab.book.all();
    assert_eq!(records.len(), 201);
    let (serving, old): (Vec<_>, Vec<_>) = records
        .iter()
        .partition(|record| record.retired.load(Ordering::SeqCst) == 0);
    assert_eq!(serving.len(), 1, "exactly one instance serves");
    assert!(
        old.iter()
            .all(|record| record.retired.load(Ordering::SeqCst) == 1)
    );
    assert!(
        !records
            .iter()
            .any(|record| record.called_after_retirement.load(Ordering::SeqCst))
    );
    let called: u64 = records
        .iter()
        .map(|record| record.calls.load(Ordering::SeqCst))
        .sum();
    assert_eq!(
        called,
        done.load(Ordering::Relaxed),
        "every call reached an instance"
    );
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.swaps.swapped, status.swaps.retired), (200, 200));
    assert_eq!((status.in_flight, status.calls.failed), (0, 0));
}

#[test]
fn a_lease_asked_for_after_a_swap_is_never_on_the_old_instance() {
    // Plain threads, so that each has its own memory of the slot, and no task moves between them.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    let lab = Lab::pair();
    runtime
        .block_on(lab.lifecycle.activate(&slot(CACHE)))
        .unwrap();
    let newest = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let handle = lab.lifecycle.slot(&slot(CACHE));
            let (newest, stop) = (Arc::clone(&newest), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let at_least = newest.load(Ordering::SeqCst);
                    let number = handle.lease().unwrap().instance();
                    assert!(
                        number >= at_least,
                        "leased {number} after {at_least} was published"
                    );
                    newest.fetch_max(number, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for swap in 0..300 {
        let to = provider(if swap % 2 == 0 { "b" } else { "a" });
        let request = SwapRequest::to_provider(slot(CACHE), to);
        assert!(
            runtime
                .block_on(lab.lifecycle.swap(request))
                .unwrap()
                .serves()
        );
        newest.fetch_max(
            u64::try_from(lab.book.all().len()).unwrap(),
            Ordering::SeqCst,
        );
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}
