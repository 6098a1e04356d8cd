//! Keys are asked for, taken down, renewed and exchanged at the same time, by callers some of whom go away, with builds
//! that fail. Held against what anybody would expect of a box with so many places: no more keys in it than places, a key
//! in it once (twice while it is exchanged), nothing handed out that is of the past, and each taken down once.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use oneiric_core::{BoxFuture, Coded, Provider, Registry, Slot};
use oneiric_lifecycle::{
    ActivityRule, BuildContext, BuildError, CallError, Factory, FactoryTable, Instance, Invoke,
    Keyed, KeyedLimits, Lifecycle, Operation, Payload, Retire, SwapRequest,
};
use serde_json::{Value, json};

use super::{one_of, soak_rounds};
use crate::support::{CACHE, candidate, factory_path, provider, slot, soon};

/// Schedules of one round.
const SCHEDULES: u64 = 50;
const KEYS: [&str; 5] = ["one", "two", "three", "four", "five"];

/// What anybody would expect.
#[derive(Default)]
struct Model {
    places: usize,
    /// Of each key, how many there are and how many of them are being taken down.
    there: BTreeMap<String, (u32, u32)>,
    wrong: Vec<String>,
}

impl Model {
    fn begins(&mut self, key: &str) {
        let (there, going) = self.there.get(key).copied().unwrap_or_default();
        if there > 1 || going > 0 {
            let said = format!("{key} is built while {there} are there, {going} going");
            self.wrong.push(said);
        }
        self.there.insert(key.to_owned(), (there + 1, going));
        if self.there.len() > self.places {
            let said = format!("{} keys in {} places", self.there.len(), self.places);
            self.wrong.push(said);
        }
    }

    fn goes(&mut self, key: &str) {
        self.there.entry(key.to_owned()).or_default().1 += 1;
    }

    fn ends(&mut self, key: &str, going: u32) {
        let (there, were) = self.there.remove(key).unwrap();
        if there > 1 {
            self.there.insert(key.to_owned(), (there - 1, were - going));
        }
    }
}

/// Builds what the model counts.
#[derive(Clone)]
struct Maker {
    model: Arc<Mutex<Model>>,
    chance: Arc<Mutex<Rng>>,
    retired: Arc<Mutex<Vec<Arc<AtomicU32>>>>,
}

impl Factory for Maker {
    fn build(&self, context: BuildContext) -> BoxFuture<'static, Result<Instance, BuildError>> {
        let this = self.clone();
        Box::pin(async move {
            let key = context.key().map(str::to_owned);
            let settings: Value = context.settings()?;
            let (fails, hops) = {
                let mut chance = this.chance.lock().unwrap();
                (chance.u8(..10) == 0, chance.u8(..5))
            };
            if let Some(key) = &key {
                this.model.lock().unwrap().begins(key);
            }
            for _ in 0..hops {
                tokio::task::yield_now().await;
            }
            if let (true, Some(key)) = (fails, &key) {
                this.model.lock().unwrap().ends(key, 0);
                return Err(BuildError::failed("told to fail"));
            }
            let retired = Arc::new(AtomicU32::new(0));
            this.retired.lock().unwrap().push(Arc::clone(&retired));
            let made = Arc::new(Made {
                key,
                settings,
                retired,
                maker: this,
                hops,
            });
            Ok(Instance::new(made.clone()).retire(made))
        })
    }
}

struct Made {
    key: Option<String>,
    settings: Value,
    retired: Arc<AtomicU32>,
    maker: Maker,
    hops: u8,
}

impl Invoke for Made {
    fn invoke<'a>(
        &'a self,
        _operation: &'a str,
        _input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            if self.retired.load(Ordering::SeqCst) > 0 {
                return Err(CallError::failed("called when it was retired already"));
            }
            Payload::json(&json!({"key": self.key, "settings": self.settings}))
        })
    }

    fn operations(&self) -> Vec<Operation> {
        Vec::new()
    }
}

impl Retire for Made {
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.retired.fetch_add(1, Ordering::SeqCst);
            let Some(key) = &self.key else {
                return Ok(());
            };
            self.maker.model.lock().unwrap().goes(key);
            for _ in 0..self.hops {
                tokio::task::yield_now().await;
            }
            self.maker.model.lock().unwrap().ends(key, 1);
            Ok(())
        })
    }
}

/// A lifecycle whose settings are a number, and the last of them of which everybody was told.
#[derive(Clone)]
struct Stage {
    lifecycle: Lifecycle,
    keyed: Keyed,
    number: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
}

impl Stage {
    async fn asks(&self, key: &str, hops: u8) {
        let told = self.told.load(Ordering::SeqCst);
        let lease = match self.keyed.lease(key).await {
            Ok(lease) => lease,
            Err(error) => {
                let expected = [
                    "lifecycle.keys_exhausted",
                    "lifecycle.build_failed",
                    "lifecycle.busy",
                ];
                assert!(expected.contains(&error.code()), "{error}");
                return;
            }
        };
        for _ in 0..hops {
            tokio::task::yield_now().await;
        }
        let Payload::Json(said) = lease.invoke("who", Payload::empty()).await.unwrap() else {
            panic!("no words");
        };
        assert_eq!(said["key"], key);
        assert!(said["settings"].as_u64().unwrap() >= told, "{said} {told}");
    }

    async fn does(&self, what: u8, key: &str, by: Provider, hops: u8) {
        let cache: Slot = slot(CACHE);
        match what {
            0 => {
                let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
                self.lifecycle.settings_changed(&cache);
                self.told.fetch_max(number, Ordering::SeqCst);
            }
            1 => drop(self.lifecycle.reconfigure(&cache).await.unwrap()),
            2 => drop(
                self.lifecycle
                    .swap(SwapRequest::to_provider(cache, by))
                    .await,
            ),
            3 => {
                let rule = match hops % 2 {
                    0 => ActivityRule::pause(cache),
                    _ => ActivityRule::resume(cache),
                };
                self.lifecycle.set_activity(rule).unwrap();
            }
            4 => self.lifecycle.retire_outdated(&cache).await,
            5 | 6 => drop(self.keyed.retire(key).await),
            _ => self.asks(key, hops).await,
        }
    }
}

async fn schedule(seed: u64) {
    let mut chance = Rng::with_seed(seed);
    let places = chance.usize(1..=3);
    let model = Arc::new(Mutex::new(Model {
        places,
        ..Model::default()
    }));
    let retired: Arc<Mutex<Vec<Arc<AtomicU32>>>> = Arc::default();
    let mut table = FactoryTable::new();
    let maker = Maker {
        model: Arc::clone(&model),
        chance: Arc::new(Mutex::new(chance.fork())),
        retired: Arc::clone(&retired),
    };
    table.insert(factory_path(), maker);
    let registry = Registry::new();
    for by in ["a", "b"] {
        registry.register(candidate(CACHE, by, 0, &[])).keep();
    }
    let number = Arc::new(AtomicU64::new(0));
    let handed = Arc::clone(&number);
    let lifecycle = Lifecycle::builder(registry)
        .factories(table)
        .settings(move |_: &Slot, _: &Provider| Some(json!(handed.load(Ordering::SeqCst))))
        .build();
    let mut limits = KeyedLimits::default();
    limits.instances = NonZeroUsize::new(places).unwrap();
    limits.idle = (chance.u8(..2) == 0).then_some(Duration::from_millis(1));
    let stage = Stage {
        keyed: lifecycle.keyed(&slot(CACHE), limits),
        lifecycle,
        number,
        told: Arc::default(),
    };
    let mut work = Vec::new();
    for _ in 0..40 {
        let (what, hops) = (chance.u8(..16), chance.u8(..20));
        let (key, by) = (
            *one_of(&mut chance, &KEYS),
            *one_of(&mut chance, &["a", "b"]),
        );
        let goes_away = (chance.u8(..4) == 0).then(|| chance.u8(..20));
        let stage = stage.clone();
        let task = tokio::spawn(async move { stage.does(what, key, provider(by), hops).await });
        if let Some(hops) = goes_away {
            for _ in 0..hops {
                tokio::task::yield_now().await;
            }
            task.abort();
        } else if chance.u8(..3) == 0 {
            tokio::task::yield_now().await;
        }
        work.push(task);
    }
    for task in work {
        if let Err(error) = soon(task).await {
            assert!(error.is_cancelled(), "seed {seed}: {error}");
        }
    }
    let resume = ActivityRule::resume(slot(CACHE));
    stage.lifecycle.set_activity(resume).unwrap();
    let report = soon(stage.lifecycle.shutdown(Duration::from_secs(60))).await;
    assert!(report.is_clean(), "seed {seed}: {report:?}");
    let model = model.lock().unwrap();
    assert!(model.wrong.is_empty(), "seed {seed}: {:?}", model.wrong);
    assert!(model.there.is_empty(), "seed {seed}: {:?}", model.there);
    let retired = retired.lock().unwrap();
    let once = retired.iter().all(|one| one.load(Ordering::SeqCst) == 1);
    assert!(once, "seed {seed}: {retired:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn there_are_as_many_as_may_be_each_key_once_and_none_of_the_past() {
    for round in soak_rounds(1) {
        for nth in 0..SCHEDULES {
            schedule(round * SCHEDULES + nth).await;
        }
    }
}
