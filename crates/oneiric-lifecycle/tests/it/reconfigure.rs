//! Settings that are fetched, that change, and that must not be repeated.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use oneiric_core::{BoxFuture, Candidate, Coded, FactoryPath, Origin, Registry, SelectionLayer};
use oneiric_lifecycle::{
    Baking, BuildError, CallError, FactoryTable, Happening, Health, Instance, Invoke, Lifecycle,
    LifecycleBuilder, Outcome, Payload, Probe, ProviderSettings, Receiver, Reconfigure,
    Reconfigured, SettingsUnavailable, Stage, Streamed, SwapRequest, factory_fn,
};
use serde_json::{Value, json};

use crate::support::{provider, slot};

const SLOT: &str = "adapter/vault";

/// What the component says and does, decided by the test.
#[derive(Default)]
struct Plan {
    has_role: AtomicBool,
    refuses: AtomicBool,
    panics: AtomicBool,
    ill: AtomicBool,
    /// Holds the thread of the next one that is told, until the other end is dropped.
    door: Mutex<Option<mpsc::Receiver<()>>>,
    asked: AtomicU64,
    told: AtomicU64,
    built: AtomicU64,
}

/// Answers with its token.
struct Holder {
    token: Mutex<String>,
    plan: Arc<Plan>,
}

impl Invoke for Holder {
    fn invoke<'a>(&'a self, _: &'a str, _: Payload) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async { Payload::json(&*self.token.lock().unwrap()) })
    }
}

impl Probe for Holder {
    fn probe(&self) -> BoxFuture<'_, Health> {
        let token = self.token.lock().unwrap().clone();
        Box::pin(async move {
            if self.plan.ill.load(Ordering::SeqCst) {
                Health::critical(format!("cannot log in with {token}"))
            } else {
                Health::Ok
            }
        })
    }
}

impl Reconfigure for Holder {
    fn reconfigure(&self, settings: Value) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let token = settings["token"].as_str().unwrap().to_owned();
            self.plan.asked.fetch_add(1, Ordering::SeqCst);
            let door = self.plan.door.lock().unwrap().take();
            if let Some(door) = door {
                assert!(door.recv().is_err(), "it is opened by dropping it");
            }
            assert!(!self.plan.panics.load(Ordering::SeqCst), "told to panic");
            if self.plan.refuses.load(Ordering::SeqCst) {
                return Err(format!("will not have {token}"));
            }
            self.plan.told.fetch_add(1, Ordering::SeqCst);
            *self.token.lock().unwrap() = token;
            Ok(())
        })
    }
}

#[derive(serde::Deserialize)]
struct Settings {
    token: String,
}

/// Settings that are kept elsewhere.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Option<Result<String, ()>>>>);

impl Keeper {
    fn set(&self, token: &str) {
        *self.0.lock().unwrap() = Some(Ok(token.to_owned()));
    }
}

impl ProviderSettings for Keeper {
    fn settings<'a>(
        &'a self,
        _: Receiver<'a>,
    ) -> BoxFuture<'a, Result<Option<Value>, SettingsUnavailable>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            let kept = self.0.lock().unwrap().clone();
            match kept {
                Some(Ok(token)) => Ok(Some(json!({ "token": token }))),
                Some(Err(())) => Err(SettingsUnavailable::new("test.away", "the vault is away")),
                None => std::future::pending().await,
            }
        })
    }
}

struct Bench {
    lifecycle: Lifecycle,
    keeper: Keeper,
    plan: Arc<Plan>,
}

fn bench(extend: impl FnOnce(LifecycleBuilder) -> LifecycleBuilder) -> Bench {
    let (keeper, plan) = (Keeper::default(), Arc::new(Plan::default()));
    keeper.set("first");
    let path: FactoryPath = "oneiric.test:holder".parse().unwrap();
    let mut factories = FactoryTable::new();
    let planned = Arc::clone(&plan);
    factories.insert(
        path.clone(),
        factory_fn(move |_, Settings { token }| {
            let plan = Arc::clone(&planned);
            async move {
                plan.built.fetch_add(1, Ordering::SeqCst);
                if token == "unusable" {
                    return Err(BuildError::failed(format!("{token} is no token")));
                }
                let has_role = plan.has_role.load(Ordering::SeqCst);
                let holder = Arc::new(Holder {
                    token: Mutex::new(token),
                    plan,
                });
                let instance = Instance::new(holder.clone()).probe(holder.clone());
                Ok(if has_role {
                    instance.reconfigure(holder)
                } else {
                    instance
                })
            }
        }),
    );
    let registry = Registry::new();
    for (name, priority) in [("best", 2), ("other", 1)] {
        let candidate = Candidate::builder(slot(SLOT), provider(name), Origin::settings());
        registry
            .register(candidate.factory(path.clone()).priority(priority).build())
            .keep();
    }
    let builder = Lifecycle::builder(registry)
        .factories(factories)
        .settings(keeper.clone());
    Bench {
        lifecycle: extend(builder).build(),
        keeper,
        plan,
    }
}

impl Bench {
    async fn token(&self) -> String {
        let lease = self.lifecycle.lease(&slot(SLOT)).await.unwrap();
        let Payload::Json(Value::String(token)) = lease
            .invoke("token", Payload::Json(Value::Null))
            .await
            .unwrap()
        else {
            panic!("no text");
        };
        token
    }

    async fn reconfigure(&self) -> Reconfigured {
        self.lifecycle.reconfigure(&slot(SLOT)).await.unwrap()
    }

    fn built(&self) -> u64 {
        self.plan.built.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_instance_with_the_role_is_told_and_serves_on() {
    let bench = bench(|builder| builder);
    bench.plan.has_role.store(true, Ordering::SeqCst);
    assert_eq!(bench.token().await, "first");
    let mut events = bench.lifecycle.events();
    bench.keeper.set("second");
    assert!(matches!(bench.reconfigure().await, Reconfigured::Told));
    assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 1));
    let Some(Streamed::Event(event)) = events.next().await else {
        panic!("nothing happened");
    };
    assert!(matches!(
        event.what,
        Happening::Reconfigured { instance: 1, .. }
    ));
}

/// Another instance with the same settings is on trial.
async fn on_trial(bench: &Bench) -> Baking {
    assert_eq!(bench.token().await, "first");
    let trial = SwapRequest::to_winner(slot(SLOT)).rebuild(true);
    let trial = trial.bake(Duration::from_secs(30));
    let report = bench.lifecycle.begin_swap(trial).await.unwrap();
    report.baking().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn being_told_ends_no_trial_and_what_was_warm_is_told_when_it_serves_again() {
    let bench = bench(|builder| builder);
    bench.plan.has_role.store(true, Ordering::SeqCst);
    let baking = on_trial(&bench).await;
    bench.keeper.set("second");
    assert!(matches!(bench.reconfigure().await, Reconfigured::Told));
    assert_eq!(bench.token().await, "second");
    assert_eq!(bench.plan.told.load(Ordering::SeqCst), 1);
    let status = bench.lifecycle.status(&slot(SLOT)).unwrap();
    assert_eq!(status.bake.unwrap().ended, None, "the trial goes on");
    baking.swing_back("as told");
    let report = baking.ended().await;
    assert!(matches!(report.outcome, Outcome::SwungBack { .. }));
    assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 2));
    let active = bench.lifecycle.status(&slot(SLOT)).unwrap().active;
    assert_eq!(active.unwrap().instance, 1, "the one of before");
}

#[tokio::test(start_paused = true)]
async fn what_was_warm_and_cannot_be_told_is_exchanged_when_it_serves_again() {
    let bench = bench(|builder| builder);
    assert_eq!(bench.token().await, "first");
    bench.plan.has_role.store(true, Ordering::SeqCst);
    let baking = on_trial(&bench).await;
    bench.keeper.set("second");
    assert!(matches!(bench.reconfigure().await, Reconfigured::Told));
    baking.swing_back("as told");
    let report = baking.ended().await;
    assert!(matches!(report.outcome, Outcome::SwungBack { .. }));
    assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 3));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_renewed_in_the_place_of_another_and_no_trial_is_ended_by_it() {
    let bench = bench(|builder| builder);
    let baking = on_trial(&bench).await;
    bench.keeper.set("second");
    let renew = async |instance| bench.lifecycle.renew(&slot(SLOT), instance).await.unwrap();
    assert!(matches!(renew(1).await, Reconfigured::NotActive));
    assert!(matches!(renew(2).await, Reconfigured::OnTrial));
    assert_eq!((bench.token().await.as_str(), bench.built()), ("first", 2));
    baking.release();
    baking.ended().await;
    assert!(matches!(renew(2).await, Reconfigured::Swapped(_)));
    assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 3));
}

/// To hand it what was handed to it before would be to go back on what it was told.
#[tokio::test(start_paused = true)]
async fn a_swap_to_a_warm_one_with_settings_of_before_builds_it_anew() {
    let bench = bench(|builder| builder);
    bench.plan.has_role.store(true, Ordering::SeqCst);
    assert_eq!(bench.token().await, "first");
    let to = |name: &str| SwapRequest::to_provider(slot(SLOT), provider(name));
    let trial = to("other").bake(Duration::from_secs(30));
    bench.lifecycle.begin_swap(trial).await.unwrap();
    bench.keeper.set("second");
    assert!(matches!(bench.reconfigure().await, Reconfigured::Told));
    let report = bench.lifecycle.swap(to("best")).await.unwrap();
    assert!(report.serves());
    assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 3));
}

#[tokio::test]
async fn an_instance_that_cannot_be_told_or_will_not_have_it_is_exchanged() {
    for (has_role, refuses, panics) in [
        (false, false, false),
        (true, true, false),
        (true, false, true),
    ] {
        let bench = bench(|builder| builder);
        bench.plan.has_role.store(has_role, Ordering::SeqCst);
        bench.plan.refuses.store(refuses, Ordering::SeqCst);
        bench.plan.panics.store(panics, Ordering::SeqCst);
        assert_eq!(bench.token().await, "first");
        let mut events = bench.lifecycle.events();
        bench.keeper.set("second");
        let Reconfigured::Swapped(report) = bench.reconfigure().await else {
            panic!("not exchanged");
        };
        assert_eq!(report.outcome, Outcome::Swapped);
        assert_eq!((bench.token().await.as_str(), bench.built()), ("second", 2));
        let Some(Streamed::Event(event)) = events.next().await else {
            panic!("nothing happened");
        };
        if let Happening::Warned { failure } = &event.what {
            assert_eq!(failure.stage, Stage::Reconfigure);
            let code = if panics {
                "lifecycle.panicked"
            } else {
                "lifecycle.reconfigure_failed"
            };
            assert_eq!(failure.code, code);
        } else {
            assert!(!has_role, "{event:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_not_told_again_while_it_is_still_being_told() {
    let limits = serde_json::from_value(json!({"activation_ms": 100})).unwrap();
    let bench = bench(|builder| builder.limits(limits));
    bench.plan.has_role.store(true, Ordering::SeqCst);
    let soon = Duration::from_secs(60);
    // On a busy machine even that may take longer.
    let activated = async { while bench.lifecycle.activate(&slot(SLOT)).await.is_err() {} };
    tokio::time::timeout(soon, activated).await.unwrap();
    let (open, door) = mpsc::channel();
    *bench.plan.door.lock().unwrap() = Some(door);
    bench.keeper.set("unusable");
    for round in 0..3 {
        let Reconfigured::Swapped(report) = bench.reconfigure().await else {
            panic!("told in round {round}");
        };
        assert!(
            matches!(report.outcome, Outcome::RolledBack { .. }),
            "{report:?}"
        );
    }
    assert_eq!(bench.plan.asked.load(Ordering::SeqCst), 1);
    drop(open);
    bench.keeper.set("second");
    let told = async { while !matches!(bench.reconfigure().await, Reconfigured::Told) {} };
    tokio::time::timeout(soon, told).await.unwrap();
    assert_eq!(bench.token().await, "second");
}

#[tokio::test]
async fn the_one_that_serves_is_rebuilt_whoever_ranks_best() {
    let bench = bench(|builder| builder);
    let registry = bench.lifecycle.registry();
    let other = [(slot(SLOT), provider("other"))];
    registry.set_selections(SelectionLayer::Operator, other);
    assert_eq!(bench.token().await, "first");
    registry.set_selections(SelectionLayer::Operator, []);
    bench.keeper.set("second");
    let Reconfigured::Swapped(report) = bench.reconfigure().await else {
        panic!("not exchanged");
    };
    assert_eq!(report.to, provider("other"));
    assert_eq!(bench.token().await, "second");
}

#[tokio::test]
async fn settings_that_do_not_work_leave_the_instance_that_serves() {
    let bench = bench(|builder| builder);
    assert_eq!(bench.token().await, "first");
    bench.keeper.set("unusable");
    let Reconfigured::Swapped(report) = bench.reconfigure().await else {
        panic!("not tried");
    };
    let Outcome::RolledBack { failure } = report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!(failure.code, "lifecycle.build_failed");
    assert_eq!(bench.token().await, "first");
}

#[tokio::test]
async fn a_slot_in_which_nothing_serves_gets_them_when_it_is_used() {
    let bench = bench(|builder| builder);
    assert!(matches!(bench.reconfigure().await, Reconfigured::NotActive));
    bench.keeper.set("second");
    assert_eq!(bench.token().await, "second");
    let error = bench.lifecycle.reconfigure(&slot("adapter/none")).await;
    assert_eq!(error.unwrap_err().code(), "core.no_candidate");
    bench.lifecycle.shutdown(Duration::from_secs(60)).await;
    let error = bench.lifecycle.reconfigure(&slot(SLOT)).await;
    assert_eq!(error.unwrap_err().code(), "lifecycle.stopped");
}

#[tokio::test]
async fn settings_that_cannot_be_had_fail_the_build_with_their_own_code() {
    let bench = bench(|builder| builder);
    *bench.keeper.0.lock().unwrap() = Some(Err(()));
    let error = bench.lifecycle.activate(&slot(SLOT)).await.unwrap_err();
    assert_eq!(error.code(), "test.away");
    assert!(error.to_string().contains("the vault is away"), "{error}");
    assert_eq!(bench.built(), 0);
}

#[tokio::test(start_paused = true)]
async fn settings_that_never_come_are_given_up_when_the_time_is_up() {
    let bench = bench(|builder| builder);
    *bench.keeper.0.lock().unwrap() = None;
    let error = bench.lifecycle.activate(&slot(SLOT)).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn p86_no_call_fails_while_settings_change() {
    let bench = Arc::new(bench(|builder| builder));
    bench.token().await;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (bench, over) = (Arc::clone(&bench), Arc::clone(&over));
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while !over.load(Ordering::SeqCst) || calls == 0 {
                    bench.token().await;
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for round in 0..60 {
        bench.plan.has_role.store(round % 3 > 0, Ordering::SeqCst);
        bench.plan.refuses.store(round % 3 == 2, Ordering::SeqCst);
        bench.keeper.set(&format!("token {round}"));
        bench.reconfigure().await;
        assert_eq!(bench.token().await, format!("token {round}"));
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        // Each call unwraps what it gets.
        assert!(caller.await.unwrap() > 0);
    }
    let told = bench.plan.told.load(Ordering::SeqCst);
    assert!(told > 0 && bench.built() > 1, "{told} told");
}

#[tokio::test]
async fn p86_what_a_component_says_is_redacted_before_it_is_recorded() {
    let cover = |text: &str| text.replace("unusable", "***").replace("first", "***");
    let bench = bench(|builder| {
        builder.redact(move |text| match cover(text) {
            covered if covered == text => Cow::Borrowed(text),
            covered => Cow::Owned(covered),
        })
    });
    let mut events = bench.lifecycle.events();
    bench.plan.ill.store(true, Ordering::SeqCst);
    let refused = bench.lifecycle.activate(&slot(SLOT)).await.unwrap_err();
    bench.plan.ill.store(false, Ordering::SeqCst);
    bench.lifecycle.activate(&slot(SLOT)).await.unwrap();
    bench.plan.ill.store(true, Ordering::SeqCst);
    let health = bench.lifecycle.probe(&slot(SLOT)).await.unwrap();
    bench.keeper.set("unusable");
    let rolled_back = bench.reconfigure().await;
    let mut said = vec![
        format!("{refused} {refused:?}"),
        format!("{health:?}"),
        format!("{rolled_back:?}"),
        serde_json::to_string(&bench.lifecycle.status(&slot(SLOT))).unwrap(),
    ];
    bench.lifecycle.shutdown(Duration::from_secs(60)).await;
    let mut rolled_back = false;
    while !rolled_back {
        let Some(Streamed::Event(event)) = events.next().await else {
            panic!("the stream ended");
        };
        rolled_back = matches!(event.what, Happening::RolledBack { .. });
        said.push(serde_json::to_string(&event).unwrap());
    }
    let said = said.join("\n");
    assert!(said.contains("cannot log in with ***"), "{said}");
    assert!(said.contains("*** is no token"), "{said}");
    assert!(
        !said.contains("unusable") && !said.contains("first"),
        "{said}"
    );
}
