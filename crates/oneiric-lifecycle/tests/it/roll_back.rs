//! What fails before the new instance is published leads back; what fails after it does not.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use oneiric_core::{BoxFuture, CandidateBuilder};
use oneiric_lifecycle::{
    Difference, FacetProxy, Health, Lifecycle, Limits, Live, Outcome, SlotState, SwapContext,
    SwapHook, SwapRequest,
};

use crate::support::{Act, CACHE, Lab, Named, Script, candidate, provider, slot, soon};

fn to_b() -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider("b"))
}

async fn swap_to_b_rolls_back(lab: &Lab) -> (String, &'static str) {
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.swap(to_b()).await.unwrap();
    let Outcome::RolledBack { failure } = report.outcome else {
        panic!("not rolled back: {report:?}")
    };
    assert_eq!(lab.who(CACHE).await, "a", "the old one serves");
    assert_eq!(
        lab.book.records_of("a").len(),
        1,
        "and is the same instance"
    );
    for record in lab.book.records_of("b") {
        assert_eq!(
            record.retired.load(Ordering::SeqCst),
            1,
            "what was built is retired"
        );
    }
    (failure.stage.name().to_owned(), failure.code)
}

#[tokio::test]
async fn each_failing_step_before_the_publish_rolls_back_with_its_stage() {
    let cases = [
        (
            Script {
                build: Act::Fail,
                ..Script::default()
            },
            "build",
            "lifecycle.build_failed",
        ),
        (
            Script {
                build: Act::Panic,
                ..Script::default()
            },
            "build",
            "lifecycle.panicked",
        ),
        (
            Script {
                probe: Act::Fail,
                ..Script::default()
            },
            "probe",
            "lifecycle.probe_failed",
        ),
        (
            Script {
                probe: Act::Panic,
                ..Script::default()
            },
            "probe",
            "lifecycle.probe_error",
        ),
    ];
    for (script, stage, code) in cases {
        let lab = Lab::pair();
        lab.book.script("b", script);
        assert_eq!(swap_to_b_rolls_back(&lab).await, (stage.to_owned(), code));
    }
}

#[tokio::test]
async fn p16_after_a_clean_roll_back_the_slot_reads_active_with_last_error() {
    let lab = Lab::pair();
    lab.book.script(
        "b",
        Script {
            probe: Act::Fail,
            ..Script::default()
        },
    );
    swap_to_b_rolls_back(&lab).await;
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(status.state, SlotState::Active);
    assert_eq!(status.active.unwrap().provider.as_str(), "a");
    let last = status.last_error.unwrap();
    assert_eq!(
        (last.provider.as_str(), last.failure.code),
        ("b", "lifecycle.probe_failed")
    );
    let health = status.health.unwrap();
    assert_eq!(
        (health.provider.as_str(), health.health),
        ("a", Some(Health::Ok)),
        "the health shown is of the one who serves"
    );
    assert_eq!(status.swaps.rolled_back, 1);
    assert_eq!(status.differs, None, "a still ranks best");
}

#[tokio::test]
async fn a_winner_that_failed_is_named_with_its_reason() {
    let lab = Lab::pair();
    assert_eq!(lab.who(CACHE).await, "a");
    lab.registry
        .register(candidate(CACHE, "better", 9, &[]))
        .keep();
    let differs = || lab.lifecycle.status(&slot(CACHE)).unwrap().differs;
    assert_eq!(differs(), Some(Difference::NotApplied));
    lab.book.script(
        "better",
        Script {
            probe: Act::Fail,
            ..Script::default()
        },
    );
    let report = lab
        .lifecycle
        .swap(SwapRequest::to_winner(slot(CACHE)))
        .await
        .unwrap();
    assert!(!report.serves());
    assert!(
        matches!(differs(), Some(Difference::SwapFailed { .. })),
        "{:?}",
        differs()
    );
}

#[tokio::test]
async fn p15_only_an_explicit_healthy_answer_is_swapped_in() {
    for (health, serves) in [
        (Health::Ok, true),
        (Health::warn("slow"), true),
        (Health::temporarily_unavailable("starting"), false),
        (Health::critical("broken"), false),
        (Health::probe_error("?"), false),
    ] {
        let lab = Lab::pair();
        lab.book.script(
            "b",
            Script {
                probe: Act::Say(health.clone()),
                ..Script::default()
            },
        );
        assert_eq!(lab.who(CACHE).await, "a");
        assert_eq!(
            lab.lifecycle.swap(to_b()).await.unwrap().serves(),
            serves,
            "{health}"
        );
    }
}

#[tokio::test]
async fn p15_an_instance_without_a_probe_may_serve_but_never_reads_ok() {
    let lab = Lab::pair();
    lab.book.script(
        "a",
        Script {
            without_probe: true,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
    assert_eq!(report.health, None);
    assert!(
        lab.lifecycle
            .status(&slot(CACHE))
            .unwrap()
            .health
            .is_none_or(|one| one.health.is_none())
    );
}

#[tokio::test]
async fn p15_force_skips_a_failing_probe_and_says_so() {
    let lab = Lab::pair();
    lab.book.script(
        "b",
        Script {
            probe: Act::Fail,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.swap(to_b().force(true)).await.unwrap();
    let Outcome::Forced { failure } = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(failure.code, "lifecycle.probe_failed");
    let active = lab.lifecycle.status(&slot(CACHE)).unwrap().active.unwrap();
    assert_eq!(
        (active.provider.as_str(), active.forced),
        ("b", Some(failure))
    );
}

#[tokio::test]
async fn p15_force_never_hides_a_factory_error() {
    let lab = Lab::pair();
    lab.book.script(
        "b",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.swap(to_b().force(true)).await.unwrap();
    assert!(
        matches!(report.outcome, Outcome::RolledBack { .. }),
        "{report:?}"
    );
}

#[tokio::test]
async fn p18_a_probe_asks_who_serves_and_not_who_ranks_best() {
    let lab = Lab::pair();
    assert_eq!(lab.who(CACHE).await, "a");
    lab.registry
        .register(candidate(CACHE, "better", 9, &[]))
        .keep();
    let report = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
    assert_eq!(
        (report.provider.as_str(), report.health),
        ("a", Some(Health::Ok))
    );
}

#[tokio::test]
async fn p18_a_probe_that_panics_is_an_unhealthy_answer() {
    let lab = Lab::pair();
    assert_eq!(lab.who(CACHE).await, "a");
    lab.book.script(
        "b",
        Script {
            probe: Act::Panic,
            ..Script::default()
        },
    );
    lab.lifecycle.swap(to_b().force(true)).await.unwrap();
    let report = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
    assert!(
        matches!(report.health, Some(Health::ProbeError(_))),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_swap_to_an_instance_without_a_facet_that_is_in_use_is_rolled_back() {
    let lab = Lab::pair();
    let live = lab.lifecycle.live::<dyn Named>(&slot(CACHE));
    assert_eq!(live.ready().await.unwrap().name(), "a");
    lab.book.script(
        "b",
        Script {
            without_facet: true,
            ..Script::default()
        },
    );
    let found = swap_to_b_rolls_back(&lab).await;
    assert_eq!(found, ("facets".to_owned(), "lifecycle.facet_missing"));
    drop(live);
    assert!(
        lab.lifecycle.swap(to_b()).await.unwrap().serves(),
        "nobody holds it any more"
    );
}

/// Fails before or after.
struct Veto {
    before: bool,
}

impl SwapHook for Veto {
    fn before(&self, swap: SwapContext) -> BoxFuture<'_, Result<(), String>> {
        let refuse = self.before && swap.from.is_some();
        Box::pin(async move {
            if refuse {
                Err("not today".to_owned())
            } else {
                Ok(())
            }
        })
    }

    fn after(&self, swap: SwapContext) -> BoxFuture<'_, Result<(), String>> {
        let refuse = !self.before && swap.from.is_some();
        Box::pin(async move {
            if refuse {
                Err("too late".to_owned())
            } else {
                Ok(())
            }
        })
    }
}

#[tokio::test]
async fn a_hook_before_the_swap_can_refuse_it() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| builder.hook(Veto { before: true }));
    let found = swap_to_b_rolls_back(&lab).await;
    assert_eq!(found, ("before_swap".to_owned(), "lifecycle.hook_failed"));
}

#[tokio::test]
async fn p12_a_hook_or_a_retirement_that_fails_after_the_publish_leaves_the_new_one_serving() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| builder.hook(Veto { before: false }));
    lab.book.script(
        "a",
        Script {
            retire: Act::Fail,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    let report = lab.lifecycle.swap(to_b()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    let codes: Vec<&str> = report.warnings.iter().map(|failure| failure.code).collect();
    assert_eq!(codes, ["lifecycle.retire_failed", "lifecycle.hook_failed"]);
    assert_eq!(lab.who(CACHE).await, "b", "usable");
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(status.state, SlotState::Active);
    let last = status.last_error.unwrap();
    assert_eq!(
        (last.provider.as_str(), last.failure.code),
        ("b", "lifecycle.hook_failed")
    );
    assert_eq!(
        lab.book.records_of("a")[0].retired.load(Ordering::SeqCst),
        1
    );
}

#[tokio::test]
async fn a_retirement_that_fails_is_about_the_instance_that_was_retired() {
    let lab = Lab::pair();
    lab.book.script(
        "a",
        Script {
            retire: Act::Fail,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    assert!(lab.lifecycle.swap(to_b()).await.unwrap().serves());
    let last = lab
        .lifecycle
        .status(&slot(CACHE))
        .unwrap()
        .last_error
        .unwrap();
    assert_eq!(
        (last.provider.as_str(), last.failure.code),
        ("a", "lifecycle.retire_failed")
    );
}

/// Begins to rely on a facet when the new instance was checked already.
struct LateConsumer {
    lifecycle: Arc<Mutex<Option<Lifecycle>>>,
    live: Mutex<Option<Live<dyn Named>>>,
}

impl SwapHook for LateConsumer {
    fn before(&self, swap: SwapContext) -> BoxFuture<'_, Result<(), String>> {
        if let Some(lifecycle) = &*self.lifecycle.lock().unwrap() {
            *self.live.lock().unwrap() = Some(lifecycle.live(&swap.slot));
        }
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_facet_that_comes_into_use_in_the_last_moment_is_seen() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let later = Arc::new(Mutex::new(None));
    let hook = LateConsumer {
        lifecycle: Arc::clone(&later),
        live: Mutex::default(),
    };
    let lab = Lab::with(&candidates, |builder| builder.hook(hook));
    lab.book.script(
        "b",
        Script {
            without_facet: true,
            ..Script::default()
        },
    );
    assert_eq!(lab.who(CACHE).await, "a");
    *later.lock().unwrap() = Some(lab.lifecycle.clone());
    let found = swap_to_b_rolls_back(&lab).await;
    assert_eq!(found, ("facets".to_owned(), "lifecycle.facet_missing"));
    *later.lock().unwrap() = None;
}

#[tokio::test]
async fn an_instance_that_panics_when_asked_what_it_answers_is_retired_all_the_same() {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| {
        builder.proxy(FacetProxy::new::<str>(["who"], |_| Arc::from("a facet")))
    });
    lab.book.script(
        "b",
        Script {
            operations_panic: true,
            ..Script::default()
        },
    );
    let found = swap_to_b_rolls_back(&lab).await;
    assert_eq!(found, ("build".to_owned(), "lifecycle.panicked"));
    assert_eq!(lab.book.records_of("b").len(), 1, "it was built");
}

#[tokio::test]
async fn a_candidate_that_changed_shows_and_is_built_anew() {
    let lab = Lab::new(&[]);
    let registration = lab.registry.register(candidate(CACHE, "a", 1, &[]));
    assert_eq!(lab.who(CACHE).await, "a");
    let differs = || lab.lifecycle.status(&slot(CACHE)).unwrap().differs;
    registration
        .update(|candidate| candidate.priority(7))
        .unwrap();
    assert_eq!(differs(), None, "only ranked anew");
    let changes: [fn(CandidateBuilder) -> CandidateBuilder; 2] = [
        |candidate| candidate.metadata("region", serde_json::json!("north")),
        |candidate| candidate.requires(slot("service/other")),
    ];
    lab.registry
        .register(candidate("service/other", "o", 1, &[]))
        .keep();
    for change in changes {
        registration.update(change).unwrap();
        assert_eq!(differs(), Some(Difference::NotApplied));
        let report = lab
            .lifecycle
            .swap(SwapRequest::to_winner(slot(CACHE)))
            .await
            .unwrap();
        assert_eq!(report.outcome, Outcome::Swapped);
        assert_eq!(differs(), None);
    }
}

#[tokio::test]
async fn whoever_asks_is_told_of_the_publish_before_the_old_one_is_drained() {
    let lab = Lab::pair();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let (told, published) = tokio::sync::oneshot::channel();
    let told = Mutex::new(Some(told));
    let request = to_b().when_published(move || {
        told.lock().unwrap().take().unwrap().send(()).unwrap();
    });
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.swap(request).await.unwrap() }
    });
    soon(published).await.unwrap();
    assert!(!swap.is_finished(), "a lease on the old one is out");
    drop(lease);
    assert!(soon(swap).await.unwrap().serves());
}

#[tokio::test]
async fn a_swap_that_cannot_be_recorded_is_rolled_back_and_what_was_built_is_retired() {
    for panics in [false, true] {
        let lab = Lab::pair();
        let request = to_b().record(move || {
            assert!(!panics, "no pen");
            Box::pin(async { Err(("sqlite.full", "no space left".to_owned())) })
        });
        drop(lab.lifecycle.lease(&slot(CACHE)).await.unwrap());
        let report = lab.lifecycle.swap(request).await.unwrap();
        let Outcome::RolledBack { failure } = report.outcome else {
            panic!("{report:?}");
        };
        let code = if panics {
            "lifecycle.panicked"
        } else {
            "sqlite.full"
        };
        assert_eq!((failure.stage.name(), failure.code), ("record", code));
        let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
        assert_eq!(status.active.unwrap().provider.as_str(), "a");
        assert_eq!(
            lab.book.records_of("b")[0].retired.load(Ordering::SeqCst),
            1
        );
    }
}

#[tokio::test]
async fn a_swap_is_recorded_once_before_it_is_published_and_never_when_it_failed_before() {
    let lab = Lab::pair();
    drop(lab.lifecycle.lease(&slot(CACHE)).await.unwrap());
    let recorded = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let request = || {
        let (lifecycle, recorded) = (lab.lifecycle.clone(), Arc::clone(&recorded));
        to_b().record(move || {
            let (lifecycle, recorded) = (lifecycle.clone(), Arc::clone(&recorded));
            Box::pin(async move {
                let active = lifecycle.status(&slot(CACHE)).unwrap().active.unwrap();
                assert_eq!(active.provider.as_str(), "a");
                recorded.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        })
    };
    lab.book.script(
        "b",
        Script {
            build: Act::Fail,
            ..Script::default()
        },
    );
    assert!(!lab.lifecycle.swap(request()).await.unwrap().serves());
    assert_eq!(recorded.load(Ordering::SeqCst), 0);
    lab.book.script("b", Script::default());
    assert!(lab.lifecycle.swap(request()).await.unwrap().serves());
    assert_eq!(recorded.load(Ordering::SeqCst), 1);
    assert!(lab.lifecycle.swap(request()).await.unwrap().serves());
    assert_eq!(recorded.load(Ordering::SeqCst), 1, "nothing was exchanged");
}

#[tokio::test]
async fn p17_work_in_flight_finishes_before_the_old_instance_is_retired() {
    let lab = Lab::pair();
    let (call, gate) = Act::gate();
    lab.book.script(
        "a",
        Script {
            call,
            ..Script::default()
        },
    );
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move { lifecycle.swap(to_b()).await.unwrap() }
    });
    let old = Arc::clone(&lab.book.records_of("a")[0]);
    crate::support::until(|| lab.lifecycle.status(&slot(CACHE)).unwrap().draining.len() == 1).await;
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(status.draining[0].in_flight, 1);
    assert_eq!(
        status.active.unwrap().provider.as_str(),
        "b",
        "new work goes to the new one"
    );
    assert_eq!(old.retired.load(Ordering::SeqCst), 0);
    gate.add_permits(1);
    lease
        .invoke("who", oneiric_lifecycle::Payload::empty())
        .await
        .unwrap();
    drop(lease);
    assert_eq!(swap.await.unwrap().outcome, Outcome::Swapped);
    assert_eq!(old.retired.load(Ordering::SeqCst), 1);
    assert!(!old.called_after_retirement.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_call_in_flight_when_the_drain_deadline_passes_frees_its_caller() {
    let limits: Limits = serde_json::from_value(serde_json::json!({"drain_ms": 1})).unwrap();
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| builder.limits(limits));
    lab.book.script(
        "a",
        Script {
            call: Act::Hang,
            ..Script::default()
        },
    );
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let call = tokio::spawn(async move {
        lease
            .invoke("who", oneiric_lifecycle::Payload::empty())
            .await
            .unwrap_err()
    });
    crate::support::until(|| lab.book.records_of("a")[0].calls.load(Ordering::SeqCst) == 1).await;
    lab.lifecycle.swap(to_b()).await.unwrap();
    assert_eq!(
        oneiric_core::Coded::code(&soon(call).await.unwrap()),
        "lifecycle.retired"
    );
}

#[tokio::test]
async fn after_the_drain_deadline_the_old_instance_is_retired_and_its_callers_are_told() {
    let limits: Limits = serde_json::from_value(serde_json::json!({"drain_ms": 1})).unwrap();
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| builder.limits(limits));
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let report = lab.lifecycle.swap(to_b()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Swapped);
    assert_eq!(report.warnings[0].code, "lifecycle.drain_abandoned");
    lease.retired().await;
    let error = lease
        .invoke("who", oneiric_lifecycle::Payload::empty())
        .await
        .unwrap_err();
    assert_eq!(oneiric_core::Coded::code(&error), "lifecycle.retired");
    let old = &lab.book.records_of("a")[0];
    assert_eq!(old.retired.load(Ordering::SeqCst), 1);
    assert!(
        !old.called_after_retirement.load(Ordering::SeqCst),
        "the call did not reach it"
    );
}
