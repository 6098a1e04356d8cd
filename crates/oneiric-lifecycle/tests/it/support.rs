//! Components whose every step the test decides, and a book of what happened to each instance.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use oneiric_core::{BoxFuture, Candidate, FactoryPath, Origin, Provider, Query, Registry, Slot};
use oneiric_lifecycle::{
    BuildContext, BuildError, CallError, DependencyChange, Factory, FactoryTable, FollowDependency,
    Handover, HandoverState, Health, Instance, Invoke, Lifecycle, LifecycleBuilder, Pause, Payload,
    PolicyEntry, Probe, Reconfigure, Retire, SlotPolicies, SlotTurns, StateWriter,
};
use tokio::sync::{Barrier, Semaphore};

pub(crate) const CACHE: &str = "adapter/cache";

pub(crate) fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

pub(crate) fn provider(text: &str) -> Provider {
    text.parse().unwrap()
}

/// A typed side for tests.
pub(crate) trait Named: Send + Sync {
    fn name(&self) -> String;
}

/// What one step of a component does.
#[derive(Clone, Default)]
pub(crate) enum Act {
    #[default]
    Ok,
    Fail,
    Panic,
    /// Waits for a permit, then goes on.
    Wait(Arc<Semaphore>),
    /// Waits for a permit, then fails.
    FailAfter(Arc<Semaphore>),
    /// Blocks its thread until the sender is dropped, then goes on.
    BlockThread(Arc<Mutex<std::sync::mpsc::Receiver<()>>>),
    /// Answers a health other than Ok.
    Say(Health),
    /// Waits until so many do, then goes on.
    Meet(Arc<Barrier>),
    /// Never ends.
    Hang,
    /// Fails each so-manieth time.
    FailEach(Arc<AtomicU64>, u64),
    /// As [`Act::Say`], what it is told meanwhile.
    SayAs(Arc<Mutex<Health>>),
    /// Waits for a permit, then goes on; counts how many are at it.
    Count(Arc<Meter>),
    /// Goes on the first time, and does this from the second on.
    Later(Arc<AtomicU64>, Box<Self>),
}

/// How many are at one thing at once.
pub(crate) struct Meter {
    pub(crate) gate: Semaphore,
    now: AtomicU64,
    pub(crate) most: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(0),
            now: AtomicU64::new(0),
            most: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    async fn attend(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Act {
    pub(crate) fn gate() -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        (Self::Wait(Arc::clone(&gate)), gate)
    }

    pub(crate) fn thread_gate() -> (Self, std::sync::mpsc::Sender<()>) {
        let (open, wait) = std::sync::mpsc::channel();
        (Self::BlockThread(Arc::new(Mutex::new(wait))), open)
    }

    pub(crate) fn later(act: Self) -> (Self, Arc<AtomicU64>) {
        let times = Arc::new(AtomicU64::new(0));
        (Self::Later(Arc::clone(&times), Box::new(act)), times)
    }

    async fn play(&self, what: &str) -> Result<(), String> {
        match self {
            Self::Later(times, act) => match times.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(()),
                _ => Box::pin(act.play(what)).await,
            },
            Self::Ok | Self::Say(_) => Ok(()),
            Self::Fail => Err(format!("{what} told to fail")),
            Self::Panic => panic!("{what} told to panic"),
            Self::Wait(gate) => {
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
            Self::FailAfter(gate) => {
                gate.acquire().await.unwrap().forget();
                Err(format!("{what} told to fail"))
            }
            Self::BlockThread(wait) => {
                assert!(
                    wait.lock().unwrap().recv().is_err(),
                    "opened by dropping the sender"
                );
                Ok(())
            }
            Self::Meet(barrier) => {
                barrier.wait().await;
                Ok(())
            }
            Self::Hang => std::future::pending().await,
            Self::Count(meter) => {
                meter.attend().await;
                Ok(())
            }
            Self::FailEach(times, each) => {
                let time = times.fetch_add(1, Ordering::SeqCst) + 1;
                match time % each {
                    0 => Err(format!("{what} told to fail the {time}th time")),
                    _ => Ok(()),
                }
            }
            Self::SayAs(_) => Ok(()),
        }
    }
}

/// How the next instances of a provider behave.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) build: Act,
    pub(crate) probe: Act,
    pub(crate) call: Act,
    pub(crate) retire: Act,
    /// Being told of an exchanged dependency.
    pub(crate) told: Act,
    pub(crate) without_follow: bool,
    pub(crate) without_facet: bool,
    pub(crate) without_probe: bool,
    pub(crate) operations_panic: bool,
    /// It takes new settings while it serves.
    pub(crate) takes_settings: bool,
    /// What being paused and being resumed does, for one that wants to be told.
    pub(crate) pausing: Option<(Act, Act)>,
    /// How state is handed over, for one that can.
    pub(crate) state: Option<State>,
}

/// How a component hands over its state: the names of those that had it before, a line each.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) format: &'static str,
    pub(crate) export: Act,
    pub(crate) import: Act,
    /// Writes so many times a MiB instead, and does not look whether that is taken.
    pub(crate) mebibytes: u64,
    /// Probed well only before it has a state.
    pub(crate) sick_of_it: bool,
}

/// What happened to one instance.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) calls: AtomicU64,
    pub(crate) retired: AtomicU32,
    /// The state it took.
    pub(crate) took: Mutex<Option<String>>,
    /// How often it was asked for its state.
    pub(crate) exports: AtomicU32,
    /// A call began on it when it had given its state away.
    pub(crate) called_after_export: AtomicBool,
    /// What it was told of pauses: each when it began, and `done` when that ended.
    pub(crate) told: Mutex<Vec<&'static str>>,
    /// A call began or ended on it when it was retired already.
    pub(crate) called_after_retirement: AtomicBool,
}

type Entry = (Provider, Arc<Record>);

/// What happened to all of them.
#[derive(Clone, Default)]
pub(crate) struct Book {
    records: Arc<Mutex<Vec<Entry>>>,
    scripts: Arc<Mutex<BTreeMap<Provider, Script>>>,
    order: Arc<Mutex<Vec<String>>>,
    builds: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    pub(crate) builds_begun: Arc<AtomicU64>,
}

impl Book {
    pub(crate) fn script(&self, of: &str, script: Script) {
        self.scripts.lock().unwrap().insert(provider(of), script);
    }

    pub(crate) fn records_of(&self, of: &str) -> Vec<Arc<Record>> {
        let records = self.records.lock().unwrap();
        let of = provider(of);
        records
            .iter()
            .filter(|(who, _)| *who == of)
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        self.records
            .lock()
            .unwrap()
            .iter()
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    /// Providers in the order in which their instances were retired.
    pub(crate) fn retirements(&self) -> Vec<String> {
        self.order.lock().unwrap().clone()
    }

    /// `begin x` and `end x` for each instance of x that was built, in order.
    pub(crate) fn builds(&self) -> Vec<String> {
        self.builds.lock().unwrap().clone()
    }

    /// Who was told of which exchange, as `web: adapter/cache a -> b`, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn of(&self, of: &Provider) -> Script {
        self.scripts
            .lock()
            .unwrap()
            .get(of)
            .cloned()
            .unwrap_or_default()
    }
}

/// A component under a test's control.
struct Part {
    provider: Provider,
    script: Script,
    record: Arc<Record>,
    book: Book,
}

impl Part {
    fn note_if_retired(&self) {
        if self.record.retired.load(Ordering::SeqCst) > 0 {
            self.record
                .called_after_retirement
                .store(true, Ordering::SeqCst);
        }
    }
}

impl Part {
    async fn told(&self, what: &'static str) -> Result<(), String> {
        self.record.told.lock().unwrap().push(what);
        self.note_if_retired();
        let (pause, resume) = self.script.pausing.as_ref().unwrap();
        let act = if what == "pause" { pause } else { resume };
        let told = act.play(what).await;
        self.note_if_retired();
        self.record.told.lock().unwrap().push("done");
        told
    }
}

impl Invoke for Part {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        _input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            self.note_if_retired();
            if self.record.exports.load(Ordering::SeqCst) > 0 {
                let late = &self.record.called_after_export;
                late.store(true, Ordering::SeqCst);
            }
            self.record.calls.fetch_add(1, Ordering::SeqCst);
            let result = match operation {
                "who" => self
                    .script
                    .call
                    .play("call")
                    .await
                    .map_err(CallError::failed),
                other => Err(CallError::unknown_operation(other, self)),
            };
            self.note_if_retired();
            result?;
            Payload::json(&self.provider.as_str())
        })
    }

    fn operations(&self) -> Vec<oneiric_lifecycle::Operation> {
        assert!(!self.script.operations_panic, "operations told to panic");
        vec![oneiric_lifecycle::Operation::new("who", "-> the provider")]
    }
}

impl Named for Part {
    fn name(&self) -> String {
        self.note_if_retired();
        self.record.calls.fetch_add(1, Ordering::SeqCst);
        self.provider.to_string()
    }
}

impl Probe for Part {
    fn probe(&self) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            let sick = self
                .script
                .state
                .as_ref()
                .is_some_and(|state| state.sick_of_it);
            if sick && self.record.took.lock().unwrap().is_some() {
                return Health::critical("sick of the state");
            }
            let played = self.script.probe.play("probe").await;
            self.note_if_retired();
            match (&self.script.probe, played) {
                (Act::Say(health), _) => health.clone(),
                (Act::SayAs(health), _) => health.lock().unwrap().clone(),
                (_, Ok(())) => Health::Ok,
                (_, Err(message)) => Health::critical(message),
            }
        })
    }
}

impl Handover for Part {
    fn writes(&self) -> Vec<String> {
        let format = self.script.state.as_ref().unwrap().format;
        vec!["test.unheard_of/7".to_owned(), format.to_owned()]
    }

    fn reads(&self, format: &str) -> bool {
        self.script.state.as_ref().unwrap().format == format
    }

    fn export<'a>(
        &'a self,
        format: &'a str,
        into: &'a mut StateWriter,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let state = self.script.state.as_ref().unwrap();
            assert_eq!(format, state.format);
            self.record.exports.fetch_add(1, Ordering::SeqCst);
            state.export.play("export").await?;
            for _ in 0..state.mebibytes {
                let _refused = into.put(&[0; 1 << 20]);
            }
            let had = self.record.took.lock().unwrap().clone();
            let text = format!("{}{}\n", had.unwrap_or_default(), self.provider);
            into.put(text.as_bytes()).map_err(|error| error.to_string())
        })
    }

    fn import(&self, state: HandoverState) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let text = String::from_utf8(state.bytes().to_vec()).unwrap();
            *self.record.took.lock().unwrap() = Some(text);
            self.script
                .state
                .as_ref()
                .unwrap()
                .import
                .play("import")
                .await
        })
    }
}

impl Pause for Part {
    fn pause(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.told("pause"))
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.told("resume"))
    }
}

impl FollowDependency for Part {
    fn dependency_changed(&self, change: DependencyChange) -> BoxFuture<'_, Result<(), String>> {
        let from = change.from.map(|from| from.to_string());
        let text = format!(
            "{}: {} {} -> {}",
            self.provider,
            change.slot,
            from.as_deref().unwrap_or("nobody"),
            change.to
        );
        self.book.told.lock().unwrap().push(text);
        Box::pin(async move {
            self.note_if_retired();
            let told = self.script.told.play("told").await;
            self.note_if_retired();
            told
        })
    }
}

impl Reconfigure for Part {
    fn reconfigure(&self, _: serde_json::Value) -> BoxFuture<'_, Result<(), String>> {
        self.note_if_retired();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Retire for Part {
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.record.retired.fetch_add(1, Ordering::SeqCst);
            self.book
                .order
                .lock()
                .unwrap()
                .push(self.provider.to_string());
            self.script.retire.play("retire").await
        })
    }
}

#[derive(Clone)]
struct PartFactory(Book);

impl Factory for PartFactory {
    fn build(&self, context: BuildContext) -> BoxFuture<'static, Result<Instance, BuildError>> {
        let book = self.0.clone();
        Box::pin(async move {
            book.builds_begun.fetch_add(1, Ordering::SeqCst);
            let provider = context.candidate().provider().clone();
            let note = |what: &str| {
                book.builds
                    .lock()
                    .unwrap()
                    .push(format!("{what} {provider}"))
            };
            note("begin");
            for need in context.candidate().optional_requires() {
                assert!(context.live::<dyn Named>(need).is_ok());
            }
            let script = book.of(&provider);
            script
                .build
                .play("build")
                .await
                .map_err(BuildError::failed)?;
            note("end");
            let record = Arc::new(Record::default());
            book.records
                .lock()
                .unwrap()
                .push((provider.clone(), Arc::clone(&record)));
            let (told, hands_over) = (script.pausing.is_some(), script.state.is_some());
            let (without_facet, without_probe) = (script.without_facet, script.without_probe);
            let (without_follow, takes_settings) = (script.without_follow, script.takes_settings);
            let part = Arc::new(Part {
                provider,
                script,
                record,
                book,
            });
            let mut instance = Instance::new(part.clone()).retire(part.clone());
            if !without_probe {
                instance = instance.probe(part.clone());
            }
            if hands_over {
                instance = instance.handover(part.clone());
            }
            if told {
                instance = instance.pause(part.clone());
            }
            if takes_settings {
                instance = instance.reconfigure(part.clone());
            }
            if !without_follow {
                instance = instance.on_dependency_changed(part.clone());
            }
            Ok(if without_facet {
                instance
            } else {
                instance.facet::<dyn Named>(part)
            })
        })
    }
}

/// One turn for all slots, which is somebody else's at first.
#[derive(Clone)]
pub(crate) struct OneTurn {
    turn: Arc<Semaphore>,
    asked: Arc<AtomicU64>,
}

impl OneTurn {
    pub(crate) fn taken() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(0)),
            asked: Arc::default(),
        }
    }

    pub(crate) fn give(&self) {
        self.turn.add_permits(1);
    }

    pub(crate) async fn take(&self) {
        self.turn.acquire().await.unwrap().forget();
    }

    pub(crate) fn is_free(&self) -> bool {
        self.turn.available_permits() == 1
    }

    /// How often it was asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl SlotTurns for OneTurn {
    fn acquire<'a>(&'a self, _: &'a Slot) -> BoxFuture<'a, Box<dyn Any + Send>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let turn = Arc::clone(&self.turn);
        Box::pin(async move { Box::new(turn.acquire_owned().await.unwrap()) as _ })
    }
}

/// A registry, a lifecycle over it, and the book.
pub(crate) struct Lab {
    pub(crate) registry: Registry,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) book: Book,
}

impl Lab {
    /// Candidates as (slot, provider, priority, required slots).
    pub(crate) fn new(candidates: &[(&str, &str, i64, &[&str])]) -> Self {
        Self::with(candidates, |builder| builder)
    }

    pub(crate) fn with(
        candidates: &[(&str, &str, i64, &[&str])],
        adjust: impl FnOnce(LifecycleBuilder) -> LifecycleBuilder,
    ) -> Self {
        let registry = Registry::new();
        for (of, by, priority, requires) in candidates {
            registry
                .register(candidate(of, by, *priority, requires))
                .keep();
        }
        let book = Book::default();
        let mut table = FactoryTable::new();
        table.insert(factory_path(), PartFactory(book.clone()));
        let builder = Lifecycle::builder(registry.clone()).factories(table);
        Self {
            lifecycle: adjust(builder).build(),
            registry,
            book,
        }
    }

    /// Two providers for one slot; `a` ranks best.
    pub(crate) fn pair() -> Self {
        Self::new(&[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])])
    }

    /// Takes every registration of a provider back.
    pub(crate) fn withdraw(&self, of: &str, by: &str) {
        for held in self.registry.resolve_all(&Query::new(slot(of))) {
            if *held.provider() == provider(by) {
                self.registry.unregister(held.id());
            }
        }
    }

    pub(crate) async fn who(&self, of: &str) -> String {
        let lease = self.lifecycle.lease(&slot(of)).await.unwrap();
        match lease.invoke("who", Payload::empty()).await.unwrap() {
            Payload::Json(name) => name.as_str().unwrap().to_owned(),
            other => panic!("not a name: {other:?}"),
        }
    }
}

pub(crate) fn factory_path() -> FactoryPath {
    "oneiric.test:part".parse().unwrap()
}

pub(crate) fn candidate(of: &str, by: &str, priority: i64, requires: &[&str]) -> Candidate {
    let builder = Candidate::builder(slot(of), provider(by), Origin::settings());
    let builder = builder.factory(factory_path()).priority(priority);
    requires
        .iter()
        .fold(builder, |builder, need| builder.requires(slot(need)))
        .build()
}

/// As `candidate`, with slots it can do without.
pub(crate) fn wanting(of: &str, by: &str, requires: &[&str], optional: &[&str]) -> Candidate {
    let builder = candidate(of, by, 0, requires).to_builder();
    optional
        .iter()
        .fold(builder, |builder, need| {
            builder.optionally_requires(slot(need))
        })
        .build()
}

/// Policies by scope, as settings state them.
pub(crate) fn policies(entries: &[(&str, serde_json::Value)]) -> SlotPolicies {
    let entry = |(scope, entry): &(&str, serde_json::Value)| {
        let entry: PolicyEntry = serde_json::from_value(entry.clone()).unwrap();
        (scope.parse().unwrap(), entry)
    };
    entries.iter().map(entry).collect()
}

/// Waits for what must end by itself, far beyond any machine's slowness.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), work)
        .await
        .unwrap()
}

/// Waits until `condition` holds; for what has no event of its own. Gives up far beyond any
/// machine's slowness.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
