//! First use: one build, shared by everyone who waits for it.

use std::sync::atomic::Ordering;

use oneiric_core::{Coded, Origin};
use oneiric_lifecycle::{
    BuildError, Factory, FactoryTable, Lifecycle, Outcome, Payload, SlotState, SwapRequest,
    factory_fn,
};

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn p10_five_concurrent_cold_uses_build_exactly_one_instance() {
    let lab = Lab::pair();
    let (build, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            build,
            ..Script::default()
        },
    );
    let uses: Vec<_> = (0..5)
        .map(|_| {
            let lifecycle = lab.lifecycle.clone();
            tokio::spawn(async move { lifecycle.lease(&slot(CACHE)).await.unwrap().instance() })
        })
        .collect();
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) == 1).await;
    gate.add_permits(5);
    for used in uses {
        assert_eq!(used.await.unwrap(), 1);
    }
    assert_eq!(lab.book.all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_those_who_wait_for_a_failing_build_share_its_error() {
    let lab = Lab::pair();
    let (build, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            build,
            probe: Act::Fail,
            ..Script::default()
        },
    );
    let cell_is_waited_for = lab.lifecycle.slot(&slot(CACHE));
    let mut uses: Vec<_> = (0..5)
        .map(|_| {
            let waiting = cell_is_waited_for.clone();
            Box::pin(async move { waiting.ready().await.unwrap_err().code() })
        })
        .collect();
    // Each is polled once, so all five have asked before the build may go on.
    for used in &mut uses {
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(used.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
    }
    gate.add_permits(5);
    for used in uses {
        assert_eq!(used.await, "lifecycle.probe_failed");
    }
    assert_eq!(
        lab.book.builds_begun.load(Ordering::SeqCst),
        1,
        "one build for all five"
    );
    assert_eq!(
        lab.lifecycle.status(&slot(CACHE)).unwrap().state,
        SlotState::Failed
    );
}

#[tokio::test]
async fn a_failed_slot_is_tried_again_by_the_next_use() {
    let lab = Lab::pair();
    lab.book.script(
        "a",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    let error = lab.lifecycle.lease(&slot(CACHE)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.build_failed");
    assert_eq!(
        error.to_string(),
        "adapter/cache: activating a failed at build: build told to fail"
    );
    lab.book.script("a", Script::default());
    assert_eq!(lab.who(CACHE).await, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_asking_for_b_while_a_serves_gives_an_instance_of_b() {
    let lab = Lab::pair();
    assert_eq!(lab.who(CACHE).await, "a");
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    let report = lab.lifecycle.swap(request.clone()).await.unwrap();
    assert_eq!(
        (report.outcome, report.to.as_str()),
        (Outcome::Swapped, "b")
    );
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    assert_eq!(lease.provider().as_str(), "b");
    let said = lease.invoke("who", Payload::empty()).await.unwrap();
    assert_eq!(
        said,
        Payload::json(&"b").unwrap(),
        "the label and the instance agree"
    );
    let again = lab.lifecycle.swap(request).await.unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(lab.book.records_of("b").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_concurrent_swaps_run_one_after_the_other_and_retire_each_instance_once() {
    let lab = Lab::pair();
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    let swaps: Vec<_> = (0..40)
        .map(|swap| {
            let lifecycle = lab.lifecycle.clone();
            let to = provider(if swap % 2 == 0 { "b" } else { "a" });
            tokio::spawn(async move {
                let request = SwapRequest::to_provider(slot(CACHE), to).rebuild(true);
                lifecycle.swap(request).await.unwrap().outcome
            })
        })
        .collect();
    for swap in swaps {
        assert_eq!(swap.await.unwrap(), Outcome::Swapped);
    }
    let retired: Vec<u32> = lab
        .book
        .all()
        .iter()
        .map(|record| record.retired.load(Ordering::SeqCst))
        .collect();
    assert_eq!(retired.len(), 41);
    assert_eq!(
        retired.iter().filter(|count| **count == 1).count(),
        40,
        "{retired:?}"
    );
    assert_eq!(
        retired.iter().filter(|count| **count == 0).count(),
        1,
        "{retired:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_swaps_of_a_slot_run_in_the_order_in_which_they_were_asked_for() {
    for round in 0..50 {
        let lab = Lab::new(&[
            (CACHE, "a", 3, &[]),
            (CACHE, "b", 2, &[]),
            (CACHE, "c", 1, &[]),
        ]);
        lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
        let lifecycle = lab.lifecycle.clone();
        // From a worker of the runtime, where tasks that are spawned last tend to run first.
        let both = tokio::spawn(async move {
            let to = |name| lifecycle.swap(SwapRequest::to_provider(slot(CACHE), provider(name)));
            let (b, c) = tokio::join!(to("b"), to("c"));
            assert!(b.unwrap().serves() && c.unwrap().serves());
        });
        soon(both).await.unwrap();
        assert_eq!(lab.who(CACHE).await, "c", "round {round}");
    }
}

#[tokio::test]
async fn a_name_nobody_registered_leaves_nothing_behind() {
    let lab = Lab::pair();
    for name in ["adapter/unknown", "service/x"] {
        let error = lab.lifecycle.lease(&slot(name)).await.unwrap_err();
        assert_eq!(error.code(), "core.no_candidate");
        let request = SwapRequest::to_winner(slot(name));
        assert_eq!(
            lab.lifecycle.swap(request).await.unwrap_err().code(),
            "core.no_candidate"
        );
        assert!(lab.lifecycle.status(&slot(name)).is_none());
    }
    assert_eq!(lab.lifecycle.statuses().len(), 1);
}

#[tokio::test]
async fn a_candidate_whose_factory_is_missing_or_denied_says_so() {
    let lab = Lab::pair();
    for (path, code) in [
        (Some("oneiric.nowhere:x"), "lifecycle.factory_unknown"),
        (Some("acme.cache:x"), "core.factory_denied"),
        (None, "lifecycle.no_factory"),
    ] {
        let other = slot("adapter/other");
        let mut candidate =
            oneiric_core::Candidate::builder(other.clone(), provider("p"), Origin::settings());
        if let Some(path) = path {
            candidate = candidate.factory(path.parse().unwrap());
        }
        let registration = lab.registry.register(candidate.build());
        assert_eq!(
            lab.lifecycle.activate(&other).await.unwrap_err().code(),
            code
        );
        drop(registration);
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    size: u32,
}

#[tokio::test]
async fn provider_settings_reach_the_factory_and_a_wrong_one_is_named() {
    let lab = Lab::pair();
    let path: oneiric_core::FactoryPath = "oneiric.test:sized".parse().unwrap();
    for (settings, expected) in [
        (serde_json::json!({"size": 3}), "lifecycle.build_failed: 3"),
        (
            serde_json::json!({"size": 3, "sise": 4}),
            "lifecycle.settings_invalid: sise",
        ),
        (
            serde_json::Value::Null,
            "lifecycle.settings_invalid: missing field `size`",
        ),
    ] {
        let factory = factory_fn(async |_, Size { size }| Err(BuildError::failed(size)));
        let mut table = FactoryTable::new();
        assert_eq!(
            factory.check_settings(&settings).is_ok(),
            expected.ends_with('3')
        );
        table.insert(path.clone(), factory);
        let candidate = oneiric_core::Candidate::builder(
            slot("adapter/sized"),
            provider("p"),
            Origin::settings(),
        );
        let registration = lab
            .registry
            .register(candidate.factory(path.clone()).build());
        let lifecycle = Lifecycle::builder(lab.registry.clone())
            .factories(table)
            .settings(move |_: &oneiric_core::Slot, _: &oneiric_core::Provider| {
                Some(settings.clone())
            })
            .build();
        let error = lifecycle
            .activate(&slot("adapter/sized"))
            .await
            .unwrap_err();
        let (code, detail) = expected.split_once(": ").unwrap();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(detail), "{error}");
        drop(registration);
    }
}

#[tokio::test]
async fn a_factory_that_blocks_its_thread_costs_one_thread_however_often_it_is_tried() {
    let limits = serde_json::from_value(serde_json::json!({"activation_ms": 20})).unwrap();
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| builder.limits(limits));
    let (build, open) = Act::thread_gate();
    lab.book.script(
        "a",
        Script {
            build,
            ..Script::default()
        },
    );
    for _ in 0..5 {
        let error = lab.lifecycle.activate(&slot(CACHE)).await.unwrap_err();
        assert_eq!(error.code(), "lifecycle.timed_out");
    }
    assert_eq!(
        lab.book.builds_begun.load(Ordering::SeqCst),
        1,
        "one thread"
    );
    drop(open);
    until(|| lab.book.retirements() == ["a"]).await;
    // Booked as well.
    until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().swaps.retired == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_code_that_blocks_a_thread_in_a_factory_or_probe_holds_up_no_other_slot() {
    let slots: Vec<String> = (0..16)
        .map(|number| format!("adapter/slow{number}"))
        .collect();
    let mut candidates: Vec<(&str, &str, i64, &[&str])> = slots
        .iter()
        .zip(["slow", "asked"].iter().cycle())
        .map(|(name, provider)| (name.as_str(), *provider, 0, &[] as &[&str]))
        .collect();
    candidates.push((CACHE, "a", 0, &[]));
    let lab = Lab::new(&candidates);
    let (block, open) = Act::thread_gate();
    lab.book.script(
        "slow",
        Script {
            build: block.clone(),
            ..Script::default()
        },
    );
    lab.book.script(
        "asked",
        Script {
            probe: block,
            ..Script::default()
        },
    );
    // More blocked builds and probes than the runtime has workers.
    let blocked: Vec<_> = slots
        .iter()
        .map(|name| {
            let (lifecycle, name) = (lab.lifecycle.clone(), slot(name));
            tokio::spawn(async move { lifecycle.activate(&name).await.map(drop) })
        })
        .collect();
    until(|| lab.book.builds_begun.load(Ordering::SeqCst) >= 16).await;
    assert_eq!(lab.who(CACHE).await, "a");
    drop(open);
    for build in blocked {
        build.await.unwrap().unwrap();
    }
}
