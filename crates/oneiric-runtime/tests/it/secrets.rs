//! Secrets in a running process: fetched once, kept, rotated under load, and said by nobody.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use oneiric_core::{BoxFuture, Coded};
use oneiric_domains::{Secret, SecretError, SecretProvider, SecretRef};
use oneiric_lifecycle::{
    Activity, ActivityRule, ActivityScope, BakeEnd, BuildError, CallError, FactoryTable, Health,
    Instance, Invoke, KeyedLimits, Payload, Probe, Reconfigure, SwapRequest, factory_fn,
};
use oneiric_runtime::{
    Redactor, Runtime, RuntimeBuilder, RuntimeError, Settings, Sources,
    api::{CallRequest, RotateDoc, RotateRequest, SwapRequestDoc},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use crate::support::{CAST, Scene, Stage, slot, soon};

/// A keeper of secrets whose every answer the test decides.
#[derive(Clone, Default)]
struct Vault {
    secrets: Arc<Mutex<BTreeMap<String, Result<String, SecretError>>>>,
    fetches: Arc<AtomicU64>,
    /// While it is closed, fetches wait.
    gate: Arc<Mutex<Option<Arc<Semaphore>>>>,
    begun: Arc<tokio::sync::Notify>,
}

impl Vault {
    fn with(name: &str, value: &str) -> Self {
        let vault = Self::default();
        vault.set(name, value);
        vault
    }

    fn set(&self, name: &str, value: &str) {
        let mut secrets = self.secrets.lock().unwrap();
        secrets.insert(name.to_owned(), Ok(value.to_owned()));
    }

    fn fail(&self, name: &str, error: SecretError) {
        self.secrets
            .lock()
            .unwrap()
            .insert(name.to_owned(), Err(error));
    }

    fn away(&self, name: &str) {
        self.fail(
            name,
            SecretError::Unavailable {
                name: name.to_owned(),
                message: "the vault is away".to_owned(),
            },
        );
    }

    fn close(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl SecretProvider for Vault {
    fn name(&self) -> &str {
        "vault"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            self.begun.notify_one();
            let gate = self.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            assert_ne!(name, "panics", "the vault panics over hunter2-panic");
            match self.secrets.lock().unwrap().get(name) {
                Some(Ok(value)) => Ok(Secret::new(value.clone())),
                Some(Err(error)) => Err(error.clone()),
                None => Err(SecretError::NotFound {
                    name: name.to_owned(),
                    message: "the vault has none".to_owned(),
                }),
            }
        })
    }
}

/// A component that has a secret and says it wherever it can.
struct Gossip {
    token: Mutex<String>,
    built: u64,
    ill: Arc<AtomicBool>,
    log: Option<tracing::Dispatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GossipSettings {
    token: Secret,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    told: bool,
    #[serde(default)]
    fails: bool,
}

impl Invoke for Gossip {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        _: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        let token = self.token.lock().unwrap().clone();
        Box::pin(async move {
            match operation {
                "length" => Payload::json(&token.len()),
                "built" => Payload::json(&self.built),
                "fail" => Err(CallError::failed(format!("no luck with {token}"))),
                "away" => Err(CallError::unavailable(format!("{token:?} is refused"))),
                "long" => Err(CallError::failed(format!("{}{token}", "x".repeat(2045)))),
                _ => panic!("panics over {token}"),
            }
        })
    }
}

impl Probe for Gossip {
    fn probe(&self) -> BoxFuture<'_, Health> {
        let token = self.token.lock().unwrap().clone();
        // Probes run on threads of the blocking pool, which have not the test's subscriber.
        if let Some(log) = &self.log {
            tracing::dispatcher::with_default(log, || tracing::warn!(token, "probed"));
        }
        let health = if self.ill.load(Ordering::SeqCst) {
            Health::critical(format!("cannot log in with {token}"))
        } else {
            Health::warn(format!("logged in with {token}"))
        };
        Box::pin(std::future::ready(health))
    }
}

impl Reconfigure for Gossip {
    fn reconfigure(&self, settings: Value) -> BoxFuture<'_, Result<(), String>> {
        let settings: GossipSettings = serde_json::from_value(settings).unwrap();
        *self.token.lock().unwrap() = settings.token.expose().to_owned();
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Clone, Default)]
struct Bench {
    vault: Vault,
    ill: Arc<AtomicBool>,
    builds: Arc<AtomicU64>,
    /// Builds that were begun.
    attempts: Arc<AtomicU64>,
    lists: Arc<Mutex<Vec<Vec<String>>>>,
    log: Option<tracing::Dispatch>,
}

impl Bench {
    fn new(vault: Vault) -> Self {
        Self {
            vault,
            ..Self::default()
        }
    }

    fn factories(&self) -> FactoryTable {
        let mut table = FactoryTable::new();
        let bench = self.clone();
        let gossip = factory_fn(move |_, settings: GossipSettings| {
            let bench = bench.clone();
            bench.attempts.fetch_add(1, Ordering::SeqCst);
            async move {
                let token = settings.token.expose().to_owned();
                if settings.fails || token == "unusable-token" {
                    return Err(BuildError::failed(format!("no use for {token}")));
                }
                bench.lists.lock().unwrap().push(settings.list);
                let gossip = Arc::new(Gossip {
                    token: Mutex::new(token),
                    built: bench.builds.fetch_add(1, Ordering::SeqCst) + 1,
                    ill: bench.ill,
                    log: bench.log,
                });
                let instance = Instance::new(gossip.clone()).probe(gossip.clone());
                Ok(if settings.told {
                    instance.reconfigure(gossip)
                } else {
                    instance
                })
            }
        });
        table.insert("oneiric.test:gossip".parse().unwrap(), gossip);
        table
    }

    fn builder(&self, settings: &str) -> RuntimeBuilder {
        let settings = Settings::parse(settings, "oneiric.toml").unwrap();
        RuntimeBuilder::new(settings)
            .factories(self.factories())
            .secret_provider(self.vault.clone())
    }

    fn runtime(&self, settings: &str) -> Runtime {
        self.builder(settings).build().unwrap()
    }
}

const TOKEN: &str = "hunter2-\"\u{e4}/?&";

/// Settings with one component for each of `slots`, all with the same token.
fn settings(slots: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (slot, more) in slots {
        write!(
            text,
            "[[candidates]]\nslot = \"{slot}\"\nprovider = \"gossip\"\nfactory = \"oneiric.test:gossip\"\n\
             [providers.\"{slot}\".gossip]\ntoken = \"secret://vault/token\"\n{more}\n"
        )
        .unwrap();
    }
    text
}

fn call(slot: &str, operation: &str) -> CallRequest {
    serde_json::from_value(json!({"slot": slot, "operation": operation})).unwrap()
}

fn reference(name: &str) -> SecretRef {
    format!("secret://vault/{name}").parse().unwrap()
}

fn all() -> RotateRequest {
    RotateRequest::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_who_ask_at_once_make_one_fetch() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let runtime = bench.runtime(&settings(&[]));
    let gate = bench.vault.close();
    let askers: Vec<_> = (0..64)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.secret(&reference("token")).await.unwrap() })
        })
        .collect();
    soon(bench.vault.begun.notified()).await;
    gate.add_permits(64);
    for asker in askers {
        assert_eq!(soon(asker).await.unwrap().expose(), TOKEN);
    }
    assert_eq!(bench.vault.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_by_those_who_waited_and_soon_forgotten() {
    let bench = Bench::new(Vault::default());
    bench.vault.away("token");
    let runtime = bench.runtime("");
    let gate = bench.vault.close();
    let askers: Vec<_> = (0..8)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.secret(&reference("token")).await })
        })
        .collect();
    soon(bench.vault.begun.notified()).await;
    gate.add_permits(64);
    for asker in askers {
        let error = soon(asker).await.unwrap().unwrap_err();
        assert_eq!(error.code(), "domains.secret_unavailable");
    }
    assert_eq!(bench.vault.fetches(), 1);
    bench.vault.set("token", TOKEN);
    tokio::time::advance(Duration::from_millis(1_001)).await;
    let secret = runtime.secret(&reference("token")).await.unwrap();
    assert_eq!(secret.expose(), TOKEN);
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_mended_a_secret_is_not_told_what_was_wrong_before() {
    let bench = Bench::new(Vault::default());
    let runtime = bench.runtime(&settings(&[("adapter/a", "")]));
    let swap = async || {
        let to = SwapRequestDoc::to_winner("adapter/a".parse().unwrap());
        runtime.swap(to, "test").await
    };
    let error = swap().await.unwrap_err();
    assert!(error.to_string().contains("there is no secret"), "{error}");
    // Whoever only calls is answered from what is known.
    runtime.call(call("adapter/a", "length")).await.unwrap_err();
    assert_eq!(bench.vault.fetches(), 1);
    bench.vault.set("token", TOKEN);
    swap().await.unwrap();
    assert_eq!(bench.vault.fetches(), 2);
}

#[tokio::test]
async fn whoever_asked_first_may_go_away() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let runtime = bench.runtime("");
    let gate = bench.vault.close();
    let first = {
        let runtime = runtime.clone();
        tokio::spawn(async move { drop(runtime.secret(&reference("token")).await) })
    };
    soon(bench.vault.begun.notified()).await;
    first.abort();
    assert!(soon(first).await.unwrap_err().is_cancelled());
    gate.add_permits(64);
    let secret = soon(runtime.secret(&reference("token"))).await.unwrap();
    assert_eq!((secret.expose(), bench.vault.fetches()), (TOKEN, 1));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_kept_for_its_time_and_then_fetched_anew() {
    let bench = Bench::new(Vault::with("token", "first"));
    let runtime = bench.runtime("[secrets]\nttl_ms = 60000\n");
    let token = async || {
        let secret = runtime.secret(&reference("token")).await;
        secret.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(token().await.unwrap(), "first");
    bench.vault.set("token", "second");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(
        (token().await.unwrap().as_str(), bench.vault.fetches()),
        ("first", 1)
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        (token().await.unwrap().as_str(), bench.vault.fetches()),
        ("second", 2)
    );

    // Silence is no answer: the last value is served on, and asked for again now and then.
    bench.vault.away("token");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(
        (token().await.unwrap().as_str(), bench.vault.fetches()),
        ("second", 3)
    );
    assert_eq!(
        (token().await.unwrap().as_str(), bench.vault.fetches()),
        ("second", 3)
    );
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(
        (token().await.unwrap().as_str(), bench.vault.fetches()),
        ("second", 4)
    );

    // That there is none any more is one.
    bench.vault.secrets.lock().unwrap().clear();
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(
        token().await.unwrap_err().code(),
        "domains.secret_not_found"
    );
    bench.vault.set("token", "third");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(token().await.unwrap(), "third");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_hangs_or_panics_is_an_error_and_nothing_of_it_is_repeated() {
    let bench = Bench::new(Vault::with("token", "first"));
    let runtime = bench.runtime("");
    let error = runtime.secret(&reference("panics")).await.unwrap_err();
    assert_eq!(error.code(), "domains.secret_provider_panicked");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    bench.vault.close();
    let error = runtime.secret(&reference("token")).await.unwrap_err();
    assert_eq!(error.code(), "domains.secret_unavailable");
    let error = runtime.secret(&"secret://nobody/x".parse().unwrap()).await;
    assert_eq!(error.unwrap_err().code(), "domains.secret_provider_unknown");
}

#[tokio::test]
async fn references_are_replaced_wherever_they_stand_alone() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    bench.vault.set("other", "other value");
    let list = "list = [\"secret://vault/other\", \"see secret://vault/other\", \"plain\"]";
    let runtime = bench.runtime(&settings(&[("adapter/a", list)]));
    let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
    assert_eq!(answer.output, TOKEN.len());
    let lists = bench.lists.lock().unwrap().clone();
    assert_eq!(
        lists,
        [["other value", "see secret://vault/other", "plain"]]
    );
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_fails_the_build_and_names_slot_setting_and_reference() {
    let bench = Bench::new(Vault::default());
    let runtime = bench.runtime(&settings(&[("adapter/a", "")]));
    let error = runtime.call(call("adapter/a", "length")).await.unwrap_err();
    assert_eq!(error.code(), "domains.secret_not_found");
    let message = error.to_string();
    for named in ["adapter/a", "gossip.token", "secret://vault/token"] {
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn a_reference_that_is_none_or_that_nobody_keeps_is_a_fault_of_the_settings() {
    let bench = Bench::new(Vault::default());
    let text = settings(&[(
        "adapter/a",
        "list = [\"secret://nobody/x\", \"secret://vault\"]",
    )]);
    let error = bench.builder(&text).build().unwrap_err();
    assert_eq!(error.code(), "runtime.settings_invalid");
    let RuntimeError::Settings(error) = error else {
        panic!("{error}");
    };
    let faults: Vec<_> = error
        .faults()
        .iter()
        .map(|fault| {
            (
                fault.code,
                fault.at.map(|(line, _)| line),
                fault.key.as_str(),
            )
        })
        .collect();
    let key = |at| format!("providers.\"adapter/a\".gossip.list[{at}]");
    assert_eq!(
        faults,
        [
            ("domains.secret_provider_unknown", Some(7), key(0).as_str()),
            ("domains.secret_ref_invalid", Some(7), key(1).as_str()),
        ]
    );
    assert!(error.to_string().contains("there is vault"), "{error}");
}

#[tokio::test]
async fn beside_a_reference_a_misspelt_key_is_found_at_once_and_a_type_when_it_is_built() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let error = bench
        .builder(&settings(&[("adapter/a", "tolt = true")]))
        .build();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("unknown field `tolt`"), "{error}");
    let runtime = bench.runtime(&settings(&[(
        "adapter/a",
        "told = \"secret://vault/token\"",
    )]));
    let error = runtime.call(call("adapter/a", "length")).await.unwrap_err();
    assert_eq!(error.code(), "lifecycle.settings_invalid");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_under_load_reaches_everybody_and_fails_no_call() {
    let bench = Bench::new(Vault::with("token", "t-"));
    let runtime = bench.runtime(&settings(&[
        ("adapter/exchanged", ""),
        ("adapter/told", "told = true"),
        ("adapter/unused", ""),
    ]));
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..6)
        .map(|number| {
            let (runtime, over) = (runtime.clone(), over.clone());
            tokio::spawn(async move {
                let slot = ["adapter/exchanged", "adapter/told"][number % 2];
                let mut calls = 0_u64;
                while !over.load(Ordering::SeqCst) || calls == 0 {
                    runtime.call(call(slot, "length")).await.unwrap();
                    calls += 1;
                }
            })
        })
        .collect();
    for slot in ["adapter/exchanged", "adapter/told"] {
        runtime.call(call(slot, "length")).await.unwrap();
    }
    for round in 1..=20 {
        bench
            .vault
            .set("token", &format!("t-{}", "x".repeat(round)));
        let doc = soon(runtime.rotate_secrets(all(), "test")).await.unwrap();
        assert!(doc.complete, "{doc:?}");
        assert_eq!(doc.secrets[0].outcome, "changed");
        let told: Vec<_> = doc
            .slots
            .iter()
            .map(|told| (told.slot.as_str(), told.outcome.as_str()))
            .collect();
        assert_eq!(
            told,
            [("adapter/exchanged", "exchanged"), ("adapter/told", "told")]
        );
        for slot in ["adapter/exchanged", "adapter/told"] {
            let answer = runtime.call(call(slot, "length")).await.unwrap();
            assert_eq!(answer.output, 2 + round);
        }
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    let told = runtime.call(call("adapter/told", "built")).await.unwrap();
    assert!(told.output.as_u64().unwrap() <= 2, "{told:?}");
    let doc = soon(runtime.rotate_secrets(all(), "test")).await.unwrap();
    assert_eq!(doc.secrets[0].outcome, "unchanged");
    assert!(doc.complete && doc.slots.is_empty(), "{doc:?}");
}

/// That whoever was told of a change was told whom it reached: both components use the one secret.
#[track_caller]
fn says_whom(doc: &RotateDoc) -> bool {
    assert!(doc.complete, "{doc:?}");
    let changed = doc.secrets[0].outcome == "changed";
    let slots: Vec<&str> = doc.slots.iter().map(|told| told.slot.as_str()).collect();
    if changed {
        assert_eq!(slots, ["adapter/exchanged", "adapter/told"], "{doc:?}");
    }
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_tells_of_a_change_tells_whom_it_reached_whoever_told_them() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "0"));
    let text = format!(
        "state_dir = {:?}\n{}[secrets]\nttl_ms = 1000\n",
        dir.path().join("state"),
        settings(&[("adapter/exchanged", ""), ("adapter/told", "told = true")]),
    );
    let runtime = bench.runtime(&text);
    while_running(&runtime, async {
        let over = Arc::new(AtomicBool::new(false));
        // The value changes with every fetch or two; others swap, and look at what is too old.
        let others: Vec<_> = ["adapter/exchanged", "adapter/told"]
            .into_iter()
            .map(|name| {
                let (runtime, over) = (runtime.clone(), over.clone());
                tokio::spawn(async move {
                    while !over.load(Ordering::SeqCst) {
                        let swap = SwapRequest::to_winner(slot(name)).rebuild(true);
                        runtime.lifecycle().swap(swap).await.unwrap();
                    }
                })
            })
            .collect();
        let rotators: Vec<_> = (0..4)
            .map(|number| {
                let (runtime, vault) = (runtime.clone(), bench.vault.clone());
                tokio::spawn(async move {
                    let mut changes = 0;
                    for round in 0..40 {
                        vault.set("token", &format!("{number}-{round}"));
                        let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
                        changes += u32::from(says_whom(&doc));
                    }
                    changes
                })
            })
            .collect();
        let mut changes = 0;
        for rotator in rotators {
            changes += soon(rotator).await.unwrap();
        }
        over.store(true, Ordering::SeqCst);
        for other in others {
            soon(other).await.unwrap();
        }
        assert!(changes > 100, "{changes} of 160");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_joins_a_change_others_noticed_tells_whom_it_reached() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "0"));
    let text = format!(
        "state_dir = {:?}\n{}[secrets]\nttl_ms = 60000\n",
        dir.path().join("state"),
        settings(&[("adapter/exchanged", ""), ("adapter/told", "told = true")]),
    );
    let runtime = bench.runtime(&text);
    while_running(&runtime, async {
        // The process itself looks at what is too old, and is kept waiting for the answer.
        let gate = bench.vault.close();
        bench.vault.set("token", "1");
        bench.vault.begun.notified().await;
        bench.vault.begun.notified().await;
        let rotations: Vec<_> = (0..3)
            .map(|_| {
                let runtime = runtime.clone();
                tokio::spawn(async move { runtime.rotate_secrets(all(), "test").await.unwrap() })
            })
            .collect();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1_000);
        for rotation in rotations {
            let doc = soon(rotation).await.unwrap();
            assert!(says_whom(&doc), "each asked before there was another value");
        }
        let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
        assert!(!says_whom(&doc) && doc.slots.is_empty(), "{doc:?}");
    })
    .await;
}

#[tokio::test]
async fn a_rotation_waits_for_who_is_being_built_with_the_old_value() {
    let bench = Bench::new(Vault::with("token", "first"));
    let runtime = bench.runtime(&settings(&[
        ("adapter/exchanged", ""),
        ("adapter/told", ""),
    ]));
    for name in ["adapter/exchanged", "adapter/told"] {
        runtime.call(call(name, "length")).await.unwrap();
    }
    let (hold, held) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let swap = tokio::spawn({
        let (lifecycle, hold, held) = (runtime.lifecycle().clone(), hold.clone(), held.clone());
        let record = move || {
            let (hold, held) = (hold.clone(), held.clone());
            let record: BoxFuture<'static, Result<(), (&'static str, String)>> =
                Box::pin(async move {
                    held.add_permits(1);
                    hold.acquire().await.unwrap().forget();
                    Ok(())
                });
            record
        };
        let swap = SwapRequest::to_winner(slot("adapter/told")).rebuild(true);
        async move { lifecycle.swap(swap.record(record)).await.unwrap() }
    });
    // Built with the old value, and not in service yet.
    soon(held.acquire()).await.unwrap().forget();
    bench.vault.set("token", "second");
    let rotation = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.rotate_secrets(all(), "test").await.unwrap() }
    });
    while bench.builds.load(Ordering::SeqCst) < 4 {
        tokio::task::yield_now().await;
    }
    hold.add_permits(1);
    assert!(soon(swap).await.unwrap().serves());
    assert!(says_whom(&soon(rotation).await.unwrap()));
    for name in ["adapter/exchanged", "adapter/told"] {
        let answer = runtime.call(call(name, "length")).await.unwrap();
        assert_eq!(answer.output, 6, "{name}");
    }
}

#[tokio::test]
async fn what_could_not_be_told_is_told_the_next_time() {
    let bench = Bench::new(Vault::with("token", "first value"));
    let runtime = bench.runtime(&settings(&[("adapter/a", "")]));
    runtime.call(call("adapter/a", "length")).await.unwrap();
    bench.vault.set("token", "unusable-token");
    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert!(!doc.complete);
    assert_eq!(doc.slots[0].outcome, "failed");
    let error = doc.slots[0].error.clone().unwrap();
    assert_eq!(error.code, "lifecycle.build_failed");
    assert!(error.message.contains("no use for [redacted]"), "{error:?}");
    runtime.call(call("adapter/a", "length")).await.unwrap();

    // Nothing changed since, and still the instance has not got it.
    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert_eq!(
        (doc.secrets[0].outcome.as_str(), doc.slots.len()),
        ("unchanged", 1)
    );
    bench.vault.set("token", "third");
    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert!(doc.complete, "{doc:?}");
    let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
    assert_eq!(answer.output, 5);
}

#[tokio::test]
async fn only_what_settings_name_can_be_rotated_and_a_failure_is_in_the_answer() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let runtime = bench.runtime(&settings(&[("adapter/a", "")]));
    for (name, code) in [
        ("secret://vault/other", "runtime.secret_unused"),
        ("vault/token", "domains.secret_ref_invalid"),
    ] {
        let request = RotateRequest {
            reference: Some(name.to_owned()),
            ..all()
        };
        let error = runtime.rotate_secrets(request, "test").await.unwrap_err();
        assert_eq!(error.code(), code);
    }
    bench.vault.away("token");
    let request = RotateRequest {
        reference: Some("secret://vault/token".to_owned()),
        ..all()
    };
    let doc = runtime.rotate_secrets(request, "test").await.unwrap();
    assert!(!doc.complete);
    assert_eq!(doc.secrets[0].outcome, "failed");
}

#[tokio::test]
async fn the_list_says_who_uses_a_secret_and_how_old_it_is_and_not_what_it_is() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let runtime = bench.runtime(&settings(&[("adapter/a", ""), ("adapter/b", "")]));
    let doc = runtime.secrets();
    assert_eq!(doc.keepers, ["vault"]);
    assert_eq!(
        (doc.secrets.len(), doc.secrets[0].fetched_unix_ms),
        (1, None)
    );
    runtime.call(call("adapter/a", "length")).await.unwrap();
    bench.vault.away("token");
    runtime.rotate_secrets(all(), "test").await.unwrap();
    let doc = runtime.secrets();
    let secret = &doc.secrets[0];
    assert_eq!(secret.reference, "secret://vault/token");
    let settings: Vec<_> = secret
        .used_by
        .iter()
        .map(|one| one.setting.as_str())
        .collect();
    assert_eq!(
        settings,
        [
            "providers.\"adapter/a\".gossip.token",
            "providers.\"adapter/b\".gossip.token"
        ]
    );
    let age = secret.expires_unix_ms.unwrap() - secret.fetched_unix_ms.unwrap();
    assert_eq!(age, 300_000);
    assert!(secret.stale);
    assert_eq!(
        secret.error.as_ref().unwrap().code,
        "domains.secret_unavailable"
    );
    assert!(!serde_json::to_string(&doc).unwrap().contains("hunter2"));
}

/// Runs `runtime` until `work` is done.
async fn while_running(runtime: &Runtime, work: impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let running = runtime.clone();
    let run = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        running
            .run_with(until, |_| started.send(()).unwrap_or_default())
            .await
            .unwrap()
    });
    has_started.await.unwrap();
    work.await;
    drop(stop);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_reaches_its_users_without_anybody_asking() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "1"));
    let text = format!(
        "state_dir = {:?}\n{}[secrets]\nttl_ms = 60000\n",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    while_running(&runtime, async {
        let mut events = runtime.lifecycle().events();
        bench.vault.set("token", "22");
        // Time passes by itself, for everybody waits; the loop looks again, and the instance is exchanged.
        let mut length = 1;
        while length != 2 {
            events.next().await.unwrap();
            let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
            length = answer.output.as_u64().unwrap();
        }

        // A slot that is paused is left alone until it is resumed.
        let scope = ActivityScope::Slot(slot("adapter/a"));
        let lifecycle = runtime.lifecycle();
        let pause = |activity| lifecycle.set_activity(ActivityRule::new(scope.clone(), activity));
        pause(Activity::Paused).unwrap();
        bench.vault.set("token", "333");
        let before = bench.vault.fetches();
        while bench.vault.fetches() < before + 2 {
            bench.vault.begun.notified().await;
        }
        assert_eq!(bench.builds.load(Ordering::SeqCst), 2);
        pause(Activity::Running).unwrap();
        while bench.builds.load(Ordering::SeqCst) < 3 {
            events.next().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_had_is_asked_for_every_thirty_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "first value"));
    let text = format!(
        "state_dir = {:?}\n{}",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    while_running(&runtime, async {
        for gone in [false, true] {
            if gone {
                bench.vault.secrets.lock().unwrap().clear();
            } else {
                bench.vault.away("token");
            }
            // By then its time is up. Time passes by itself, for everybody waits.
            tokio::time::sleep(Duration::from_secs(301)).await;
            let before = bench.vault.fetches();
            tokio::time::sleep(Duration::from_secs(300)).await;
            let asked = bench.vault.fetches() - before;
            assert!((9..=10).contains(&asked), "{asked} times in 300 s");
        }
        bench.vault.set("token", "second value");
        tokio::time::sleep(Duration::from_secs(31)).await;
        let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
        assert_eq!(answer.output, "second value".len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_its_component_refuses_is_tried_again_after_five_minutes_or_when_it_changes()
{
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "first value"));
    let text = format!(
        "state_dir = {:?}\n{}[secrets]\nttl_ms = 10000\n",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    let attempts = || bench.attempts.load(Ordering::SeqCst);
    while_running(&runtime, async {
        let first = attempts();
        bench.vault.set("token", "unusable-token");
        let length = async || {
            let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
            answer.output.as_u64().unwrap()
        };
        // Whatever else happens to other slots or to this one is no reason to try it again.
        let activity = |activity| {
            let rule = ActivityRule::new(slot("adapter/a"), activity);
            runtime.lifecycle().set_activity(rule).unwrap();
        };
        for _ in 0..14 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            activity(Activity::Draining);
            activity(Activity::Running);
        }
        assert_eq!((attempts() - first, length().await), (1, 11));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((attempts() - first, length().await), (2, 11));
        // An operator need not wait.
        let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
        assert_eq!((doc.complete, attempts() - first), (false, 3));
        // Nor need another value.
        bench.vault.set("token", "the third one");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!((attempts() - first, length().await), (4, 13));
    })
    .await;
}

/// Trials of an hour.
const BAKES: &str = "[slots.\"adapter/a\"]\nbake_ms = 3600000\n";

/// What was kept warm has the values that it was built with, whatever its successor was given.
#[tokio::test]
async fn what_serves_again_after_a_trial_is_told_what_it_missed() {
    let bench = Bench::new(Vault::with("token", "first value"));
    let runtime = bench.runtime(&format!("{}{BAKES}", settings(&[("adapter/a", "")])));
    let length = async || {
        runtime
            .call(call("adapter/a", "length"))
            .await
            .unwrap()
            .output
    };
    assert_eq!(length().await, 11);
    bench.vault.set("token", "second");
    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert_eq!(doc.slots[0].outcome, "exchanged");
    assert_eq!(length().await, 6);
    let baking = runtime.lifecycle().baking(&slot("adapter/a")).unwrap();
    baking.swing_back("the other one is wanted");
    soon(baking.ended()).await;
    assert_eq!(length().await, 11);

    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    let told: Vec<_> = doc.slots.iter().map(|one| one.outcome.as_str()).collect();
    assert_eq!(
        (doc.secrets[0].outcome.as_str(), told),
        ("unchanged", vec!["exchanged"])
    );
    assert_eq!(length().await, 6);
}

#[tokio::test(start_paused = true)]
async fn what_serves_again_because_somebody_wants_it_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "1"));
    let text = format!(
        "state_dir = {:?}\n{}{BAKES}[secrets]\nttl_ms = 60000\n",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    while_running(&runtime, async {
        bench.vault.set("token", "22");
        let lifecycle = runtime.lifecycle();
        let baking = loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(baking) = lifecycle.baking(&slot("adapter/a")) {
                break baking;
            }
        };
        let builds = bench.builds.load(Ordering::SeqCst);
        baking.swing_back("as told");
        soon(baking.ended()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.builds.load(Ordering::SeqCst), builds + 1);
        let answer = runtime.call(call("adapter/a", "length")).await.unwrap();
        assert_eq!(answer.output, 2);
    })
    .await;
}

/// It may be the new value that made it worse.
#[tokio::test(start_paused = true)]
async fn what_did_worse_with_a_new_value_is_tried_again_after_five_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "first value"));
    let text = format!(
        "state_dir = {:?}\n{}{BAKES}[secrets]\nttl_ms = 10000\n",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    let attempts = || bench.attempts.load(Ordering::SeqCst);
    while_running(&runtime, async {
        let first = attempts();
        bench.vault.set("token", "second");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(attempts() - first, 1);
        for _ in 0..20 {
            runtime.call(call("adapter/a", "fail")).await.unwrap_err();
        }
        let length = async || {
            runtime
                .call(call("adapter/a", "length"))
                .await
                .unwrap()
                .output
        };
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert_eq!((length().await, attempts() - first), (json!(11), 1));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!((length().await, attempts() - first), (json!(6), 2));
    })
    .await;
}

/// What an instance by key was given says nothing about the one that serves the slot.
#[tokio::test(start_paused = true)]
async fn what_is_built_for_a_key_is_not_taken_for_what_serves() {
    let bench = Bench::new(Vault::with("token", "first value"));
    let runtime = bench.runtime(&format!(
        "{}[secrets]\nttl_ms = 60000\n",
        settings(&[("adapter/a", "")])
    ));
    let length = async || {
        runtime
            .call(call("adapter/a", "length"))
            .await
            .unwrap()
            .output
    };
    assert_eq!(length().await, 11);
    bench.vault.set("token", "second");
    tokio::time::advance(Duration::from_secs(60)).await;
    let keyed = runtime
        .lifecycle()
        .keyed(&slot("adapter/a"), KeyedLimits::default());
    drop(keyed.lease("one").await.unwrap());
    assert_eq!((length().await, bench.vault.fetches()), (json!(11), 2));

    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert_eq!(doc.slots.len(), 1, "{doc:?}");
    assert_eq!(length().await, 6);
}

/// By itself nobody ends a trial that an operator asked for; what cannot be told is exchanged when that is over.
#[tokio::test(start_paused = true)]
async fn a_new_value_that_cannot_be_told_waits_for_the_end_of_a_trial() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(Vault::with("token", "first value"));
    let text = format!(
        "state_dir = {:?}\n{}[secrets]\nttl_ms = 10000\n",
        dir.path().join("state"),
        settings(&[("adapter/a", "")]),
    );
    let runtime = bench.runtime(&text);
    let attempts = || bench.attempts.load(Ordering::SeqCst);
    while_running(&runtime, async {
        let of = slot("adapter/a");
        let trial = SwapRequest::to_winner(of.clone()).rebuild(true);
        let trial = trial.bake(Duration::from_secs(100));
        let report = runtime.lifecycle().begin_swap(trial).await.unwrap();
        bench.vault.set("token", "second");
        let first = attempts();
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(attempts(), first);
        let ended = report.settled().await.bake.unwrap().ended;
        assert_eq!(ended, Some(BakeEnd::Passed));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(attempts(), first + 1);
        // Somebody who asks for it does not wait.
        let trial = SwapRequest::to_winner(of).rebuild(true);
        let trial = trial.bake(Duration::from_secs(100));
        let report = runtime.lifecycle().begin_swap(trial).await.unwrap();
        bench.vault.set("token", "the third one");
        let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
        assert_eq!(doc.slots[0].outcome, "exchanged");
        let ended = report.settled().await.bake.unwrap().ended;
        assert_eq!(ended, Some(BakeEnd::Superseded));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p86_many_that_come_at_once_are_covered_before_anybody_has_them() {
    let bench = Bench::new(Vault::default());
    let runtime = bench.runtime("");
    let value = |number: usize| format!("-----BEGIN-----\nline one of {number}\nline two of it\n");
    let gate = bench.vault.close();
    let askers: Vec<_> = (0..200)
        .map(|number| {
            bench.vault.set(&number.to_string(), &value(number));
            let runtime = runtime.clone();
            tokio::spawn(async move {
                let secret = runtime.secret(&reference(&number.to_string())).await;
                let shown = runtime
                    .redactor()
                    .redact(secret.unwrap().expose())
                    .into_owned();
                assert_eq!(shown, "[redacted]");
            })
        })
        .collect();
    gate.add_permits(200);
    for asker in askers {
        soon(asker).await.unwrap();
    }
}

/// A place for the log to go.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn p86_a_component_that_says_its_secret_everywhere_is_not_repeated_anywhere() {
    for json in [false, true] {
        let log = Log::default();
        let redactor = Redactor::new();
        let writer = {
            let (redactor, log) = (redactor.clone(), log.clone());
            move || redactor.writer(log.clone())
        };
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(writer);
        let log_of_process = if json {
            tracing::Dispatch::new(subscriber.json().finish())
        } else {
            tracing::Dispatch::new(subscriber.finish())
        };
        let _logging = tracing::dispatcher::set_default(&log_of_process);
        let said = said_by_gossip(redactor, log_of_process).await;
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(
            logged.contains("probed") && logged.contains("[redacted]"),
            "{logged}"
        );
        for text in [&said, &logged] {
            for form in [
                TOKEN.to_owned(),
                Value::from(TOKEN).to_string(),
                format!("{TOKEN:?}"),
                "hunter2".to_owned(),
                "unusable-token".to_owned(),
            ] {
                assert!(!text.contains(&form), "{form} in {text}");
            }
        }
        for part in [
            "no luck with [redacted]",
            "logged in with [redacted]",
            "panics over [redacted]",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
    }
}

/// Has a component say its secret in every way it can; gives everything that a client, an operator or an embedder
/// could read afterwards.
async fn said_by_gossip(redactor: Redactor, log: tracing::Dispatch) -> String {
    let mut bench = Bench::new(Vault::with("token", TOKEN));
    bench.log = Some(log);
    let text = settings(&[
        ("adapter/a", ""),
        ("adapter/b", "fails = true"),
        ("adapter/c", ""),
    ]);
    let runtime = bench.builder(&text).redactor(redactor).build().unwrap();
    let mut events = runtime.lifecycle().events();
    let mut said = Vec::new();
    for operation in ["length", "fail", "away", "long", "panic"] {
        match runtime.call(call("adapter/a", operation)).await {
            Ok(doc) => said.push(format!("{doc:?}")),
            Err(error) => said.push(format!("{error} {error:?} {:?}", error.hint())),
        }
    }
    let error = runtime.call(call("adapter/b", "length")).await.unwrap_err();
    said.push(format!("{error} {error:?}"));
    bench.ill.store(true, Ordering::SeqCst);
    let error = runtime.call(call("adapter/c", "length")).await.unwrap_err();
    said.push(format!("{error} {error:?}"));
    said.push(serde_json::to_string(&runtime.probe(None).await.unwrap()).unwrap());
    bench.vault.set("token", "unusable-token");
    let doc = runtime.rotate_secrets(all(), "test").await.unwrap();
    assert!(!doc.complete, "{doc:?}");
    said.push(serde_json::to_string(&doc).unwrap());
    said.push(serde_json::to_string(&runtime.status(None).unwrap()).unwrap());
    said.push(serde_json::to_string(&runtime.health(None).unwrap()).unwrap());
    said.push(serde_json::to_string(&runtime.secrets()).unwrap());
    said.push(serde_json::to_string(&runtime.ready()).unwrap());
    let query = oneiric_core::Query::new(slot("adapter/a"));
    said.push(serde_json::to_string(&runtime.explain(&query, &[]).unwrap()).unwrap());
    let report = runtime.lifecycle().shutdown(Duration::from_secs(60)).await;
    said.push(serde_json::to_string(&report).unwrap());
    said.push(format!(
        "{runtime:?} {:?} {:?}",
        runtime.settings(),
        runtime.redactor()
    ));
    drop(runtime);
    while let Some(event) = events.next().await {
        said.push(format!("{event:?}"));
    }
    said.join("\n")
}

#[test]
fn p86_the_debug_form_of_sources_has_no_values() {
    let sources = Sources::new()
        .variables([("ONEIRIC_PROVIDERS__X__Y__PASSWORD", "hunter2")])
        .flag("providers.\"a/b\".c.token=hunter2");
    let shown = format!("{sources:?}");
    assert!(
        shown.contains("PASSWORD") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[tokio::test]
async fn p86_a_secret_that_stands_in_the_settings_is_covered_too() {
    let bench = Bench::new(Vault::default());
    let text = settings(&[("adapter/a", "")]).replace("secret://vault/token", "plain-password");
    let runtime = bench.runtime(&text);
    let error = runtime.call(call("adapter/a", "fail")).await.unwrap_err();
    assert!(
        error.to_string().contains("no luck with [redacted]"),
        "{error}"
    );
}

#[tokio::test]
async fn p86_a_secret_that_settings_bring_later_is_covered_from_then_on() {
    let bench = Bench::new(Vault::default());
    let text =
        |password: &str| settings(&[("adapter/a", "")]).replace("secret://vault/token", password);
    let runtime = bench.runtime(&text("plain-password"));
    let later = Settings::parse(&text("another-password"), "oneiric.toml").unwrap();
    let redactor = runtime.redactor();
    assert_eq!(redactor.redact("another-password"), "another-password");
    runtime.reload_to(later, "test").await.unwrap();
    for password in ["plain-password", "another-password"] {
        assert_eq!(redactor.redact(password), "[redacted]");
    }
}

#[tokio::test]
async fn p86_a_keeper_that_says_a_secret_in_its_error_is_not_repeated() {
    let bench = Bench::new(Vault::with("token", TOKEN));
    let runtime = bench.runtime(&settings(&[("adapter/a", "")]));
    runtime.call(call("adapter/a", "length")).await.unwrap();
    let error = SecretError::Unavailable {
        name: "token".to_owned(),
        message: format!("{TOKEN} is not taken any more"),
    };
    bench.vault.fail("token", error);
    let rotated = runtime.rotate_secrets(all(), "test").await.unwrap();
    for said in [
        serde_json::to_string(&rotated).unwrap(),
        serde_json::to_string(&runtime.secrets()).unwrap(),
    ] {
        assert!(said.contains("[redacted] is not taken any more"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// What a client sends may be quoted in its refusal, and it may be a secret that others know.
#[tokio::test]
async fn p86_a_refusal_quotes_no_secret_even_to_whoever_sent_it() {
    let dir = tempfile::tempdir().unwrap();
    let redactor = Redactor::new();
    redactor.protect("the token", vec![Secret::new("hunter2-known".to_owned())]);
    let mut settings = Settings::parse(CAST, "oneiric.toml").unwrap();
    settings.state_dir = dir.path().join("state");
    let stage = Stage::new();
    let runtime = RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .redactor(redactor)
        .build()
        .unwrap();
    let scene = Scene::run(stage, runtime, dir).await;
    let body = r#"{"slot": "adapter/cache", "operation": "who", "hunter2-known": 1}"#;
    let refused = scene.post("/v1/call", body).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.contains("[redacted]"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    scene.stop().await;
}
