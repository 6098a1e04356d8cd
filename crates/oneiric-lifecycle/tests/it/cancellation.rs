//! Callers that go away and steps that take too long leave nothing behind.

use std::sync::atomic::Ordering;

use oneiric_core::Coded;
use oneiric_lifecycle::{Health, Limits, Outcome, SlotState, SwapRequest};

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

fn limits(limits: serde_json::Value) -> Limits {
    serde_json::from_value(limits).unwrap()
}

fn impatient() -> Limits {
    limits(serde_json::json!({"activation_ms": 1, "probe_ms": 1, "retire_ms": 1}))
}

fn pair(limits: Limits) -> Lab {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    Lab::with(&candidates, |builder| builder.limits(limits))
}

#[tokio::test]
async fn p13_a_caller_that_goes_away_leaves_the_activation_going_and_no_orphan() {
    let lab = Lab::pair();
    let (build, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            build,
            ..Script::default()
        },
    );
    let handle = lab.lifecycle.slot(&slot(CACHE));
    let mut waiting = Box::pin(async { handle.ready().await.map(drop) });
    let poll = std::future::poll_fn(|context| {
        std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
    });
    assert!(poll.await);
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 1).await;
    drop(waiting);
    gate.add_permits(1);
    until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().state == SlotState::Active).await;
    assert_eq!(lab.who(CACHE).await, "a");
    assert_eq!(lab.book.all().len(), 1);
}

#[tokio::test]
async fn p13_a_swap_can_be_dropped_at_every_await_and_always_ends_whole() {
    // Polls the caller's future `polls` times and drops it, for more polls than it ever needs.
    for polls in 0..6 {
        let lab = Lab::pair();
        assert_eq!(lab.who(CACHE).await, "a");
        let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
        let mut swap = Box::pin(lab.lifecycle.swap(request));
        for _ in 0..polls {
            let done = std::future::poll_fn(|context| {
                std::task::Poll::Ready(swap.as_mut().poll(context).is_ready())
            });
            if done.await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(swap);
        // Whatever was begun ends: the slot can be swapped again and nothing is left over.
        let request = SwapRequest::to_provider(slot(CACHE), provider("b")).rebuild(true);
        assert!(lab.lifecycle.swap(request).await.unwrap().serves());
        let alive = |record: &&std::sync::Arc<crate::support::Record>| {
            record.retired.load(Ordering::SeqCst) == 0
        };
        assert_eq!(
            lab.book.all().iter().filter(alive).count(),
            1,
            "after {polls} polls"
        );
    }
}

#[tokio::test]
async fn p13_a_build_that_hangs_times_out_and_the_slot_is_not_stuck() {
    let lab = pair(impatient());
    lab.book.script(
        "a",
        Script {
            build: Act::Hang,
            ..Script::default()
        },
    );
    let error = lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.timed_out");
    assert_eq!(
        error.to_string(),
        "adapter/cache: activating a failed at build: not done within 1 ms"
    );
    assert_eq!(
        lab.lifecycle.status(&slot(CACHE)).unwrap().state,
        SlotState::Failed
    );
}

#[tokio::test]
async fn p13_a_product_that_comes_after_its_time_is_retired_when_it_comes() {
    let lab = pair(impatient());
    let (build, open) = Act::thread_gate();
    lab.book.script(
        "a",
        Script {
            build,
            ..Script::default()
        },
    );
    let error = lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.timed_out");
    assert_eq!(lab.book.all().len(), 0, "not built yet");
    drop(open);
    until(|| lab.book.retirements() == ["a"]).await;
    assert_eq!(lab.book.all()[0].retired.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_probe_that_blocks_its_thread_costs_one_thread_however_often_it_is_asked() {
    let limits: Limits = serde_json::from_value(serde_json::json!({"probe_ms": 20})).unwrap();
    let lab = pair(limits);
    let (probe, open) = Act::thread_gate();
    lab.book.script(
        "b",
        Script {
            probe,
            ..Script::default()
        },
    );
    let request = SwapRequest::to_provider(slot(CACHE), provider("b")).force(true);
    // Swapped in although its probe has not answered and still holds its thread.
    lab.lifecycle.swap(request).await.unwrap();
    for _ in 0..5 {
        let report = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
        let said = report.health.unwrap().to_string();
        assert_eq!(said, "probe_error: an earlier probe has not answered yet");
    }
    drop(open);
    until_answered(&lab).await;
}

async fn until_answered(lab: &Lab) {
    let answered = async {
        while lab.lifecycle.probe(&slot(CACHE)).await.unwrap().health != Some(Health::Ok) {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), answered)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_probe_that_hangs_rolls_back() {
    let lab = pair(limits(serde_json::json!({"probe_ms": 20})));
    lab.book.script(
        "b",
        Script {
            probe: Act::Hang,
            ..Script::default()
        },
    );
    // On a busy machine even the probe of `a` may take longer than that.
    soon(async { while lab.lifecycle.activate(&slot(CACHE)).await.is_err() {} }).await;
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    let report = lab.lifecycle.swap(request).await.unwrap();
    let Outcome::RolledBack { failure } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(
        (failure.stage.name(), failure.code),
        ("probe", "lifecycle.probe_error")
    );
    assert_eq!(lab.who(CACHE).await, "a");
}

#[tokio::test]
async fn p12_a_retirement_that_hangs_leaves_the_new_one_serving() {
    let lab = pair(limits(serde_json::json!({"retire_ms": 1})));
    lab.book.script(
        "a",
        Script {
            retire: Act::Hang,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    let report = lab.lifecycle.swap(request).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    assert_eq!(report.warnings[0].code, "lifecycle.timed_out");
    assert_eq!(lab.who(CACHE).await, "b");
}

#[tokio::test]
async fn an_answer_of_an_instance_that_was_exchanged_is_not_the_slots_health() {
    let lab = pair(Limits::default());
    assert_eq!(lab.who(CACHE).await, "a");
    let (probe, gate) = Act::gate();
    lab.book.script(
        "b",
        Script {
            probe,
            ..Script::default()
        },
    );
    gate.add_permits(1);
    let swap_to = |name: &str| {
        let (lifecycle, to) = (lab.lifecycle.clone(), provider(name));
        tokio::spawn(async move {
            lifecycle
                .swap(SwapRequest::to_provider(slot(CACHE), to))
                .await
                .unwrap()
        })
    };
    assert!(soon(swap_to("b")).await.unwrap().serves());
    let asked = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.probe(&slot(CACHE)).await.unwrap() }
    });
    let in_flight = || lab.lifecycle.status(&slot(CACHE)).unwrap().in_flight == 1;
    until(in_flight).await;
    let back = swap_to("a");
    let published = || lab.lifecycle.status(&slot(CACHE)).unwrap().draining.len() == 1;
    until(published).await;
    gate.add_permits(1);
    assert_eq!(soon(asked).await.unwrap().provider.as_str(), "b");
    assert!(soon(back).await.unwrap().serves());
    let health = lab.lifecycle.status(&slot(CACHE)).unwrap().health.unwrap();
    assert_eq!(health.provider.as_str(), "a");
}
