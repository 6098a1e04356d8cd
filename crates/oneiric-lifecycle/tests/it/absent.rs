//! References to a slot in which nothing serves: activate, fail or wait, by choice.

use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{Coded, ErrorKind};
use oneiric_lifecycle::{ActivityRule, LifecycleError, Live, WhenAbsent};
use tokio::sync::Barrier;

use crate::support::{Act, CACHE, Lab, Named, Script, slot, soon, until};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn by_choice_a_reference_fails_at_once_and_activates_nothing() {
    let lab = Lab::pair();
    let live: Live<dyn Named> = lab.lifecycle.live(&slot(CACHE));
    let live = live.when_absent(WhenAbsent::Fail);
    let slot_ref = lab
        .lifecycle
        .slot(&slot(CACHE))
        .when_absent(WhenAbsent::Fail);
    let called: Result<String, LifecycleError> = live.call(|_| async { Ok(String::new()) }).await;
    for code in [
        live.ready().await.unwrap_err().code(),
        slot_ref.ready().await.unwrap_err().code(),
        called.unwrap_err().code(),
    ] {
        assert_eq!(code, "lifecycle.not_active");
    }
    assert!(lab.book.all().is_empty());
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    assert_eq!(live.ready().await.unwrap().name(), "a");
}

#[tokio::test]
async fn by_choice_it_waits_until_somebody_else_activates_the_slot() {
    let lab = Lab::pair();
    let live: Live<dyn Named> = lab.lifecycle.live(&slot(CACHE));
    let live = live.when_absent(WhenAbsent::Wait(LONG));
    let waiter = live.clone();
    let called = tokio::spawn(async move {
        waiter
            .call(|cache| async move { Ok::<_, LifecycleError>(cache.name()) })
            .await
    });
    // One activation that fails does not end it.
    let fails = Script {
        build: Act::Fail,
        ..Script::default()
    };
    lab.book.script("a", fails);
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
    assert!(!called.is_finished());
    lab.book.script("a", Script::default());
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    assert_eq!(soon(called).await.unwrap().unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn waiting_in_vain_ends_with_its_own_error() {
    let lab = Lab::pair();
    let slot_ref = lab.lifecycle.slot(&slot(CACHE));
    let error = slot_ref
        .when_absent(WhenAbsent::Wait(Duration::from_millis(250)))
        .ready()
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("lifecycle.absent", ErrorKind::Timeout)
    );
    assert_eq!(
        error.to_string(),
        "nothing serves adapter/cache, and nothing came within 250 ms"
    );
    assert!(lab.book.all().is_empty());
}

#[tokio::test]
async fn the_end_of_the_process_ends_the_waiting_and_a_paused_slot_is_not_waited_for() {
    let lab = Lab::pair();
    let waiting = lab
        .lifecycle
        .slot(&slot(CACHE))
        .when_absent(WhenAbsent::Wait(LONG));
    lab.lifecycle
        .set_activity(ActivityRule::pause(slot(CACHE)))
        .unwrap();
    assert_eq!(waiting.ready().await.unwrap_err().code(), "lifecycle.busy");
    lab.lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    let waiter = waiting.clone();
    let waits = tokio::spawn(async move { waiter.ready().await.unwrap_err().code() });
    tokio::task::yield_now().await;
    lab.lifecycle.shutdown(Duration::from_secs(60)).await;
    assert_eq!(soon(waits).await.unwrap(), "lifecycle.stopped");
    assert_eq!(
        waiting.ready().await.unwrap_err().code(),
        "lifecycle.stopped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_waiter_is_missed_however_it_races_with_the_publish() {
    const WAITERS: usize = 24;
    for _ in 0..300 {
        let lab = Lab::pair();
        let start = Arc::new(Barrier::new(WAITERS + 1));
        let waiters: Vec<_> = (0..WAITERS)
            .map(|nth| {
                let slot_ref = lab.lifecycle.slot(&slot(CACHE));
                let waiting = slot_ref.when_absent(WhenAbsent::Wait(LONG));
                let start = Arc::clone(&start);
                tokio::spawn(async move {
                    start.wait().await;
                    if nth % 3 == 0 {
                        // Gives up, and must take nobody's wake-up along.
                        let gave_up = tokio::select! {
                            biased;
                            lease = waiting.ready() => lease.is_ok(),
                            () = tokio::task::yield_now() => true,
                        };
                        return gave_up;
                    }
                    waiting.ready().await.is_ok()
                })
            })
            .collect();
        start.wait().await;
        lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
        for waiter in waiters {
            assert!(soon(waiter).await.unwrap());
        }
        assert_eq!(lab.book.all().len(), 1);
        until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().in_flight == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_gets_through_while_the_slot_comes_and_goes() {
    let lab = Lab::pair();
    let waiting = lab
        .lifecycle
        .slot(&slot(CACHE))
        .when_absent(WhenAbsent::Wait(LONG));
    let lifecycle = lab.lifecycle.clone();
    let flapping = tokio::spawn(async move {
        loop {
            lifecycle.activate(&slot(CACHE)).await.unwrap();
            lifecycle.deactivate(&slot(CACHE)).await.unwrap();
        }
    });
    for _ in 0..500 {
        drop(soon(waiting.ready()).await.unwrap());
    }
    flapping.abort();
}
