//! A running runtime in a directory of its own, and a factory whose every step can be watched and held.

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oneiric_core::BoxFuture;
use oneiric_domains::{Secret, SecretError, SecretProvider};
use oneiric_lifecycle::{
    BuildError, CallError, FactoryTable, Health, Instance, Invoke, Operation, Payload, Probe,
    Reconfigure, Retire, ShutdownReport, factory_fn,
};
use oneiric_runtime::{Client, Runtime, RuntimeBuilder, RuntimeError, Settings};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

/// Nothing here takes long; this only keeps a broken test from hanging for ever.
pub(crate) const OUTER: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(OUTER, what).await.unwrap()
}

/// What instances did, in order, and the gates that hold them.
#[derive(Clone)]
pub(crate) struct Stage {
    events: Arc<Mutex<Vec<String>>>,
    /// Calls of `wait` that have begun.
    pub(crate) begun: Arc<Semaphore>,
    /// Lets calls of `wait` end.
    pub(crate) gate: Arc<Semaphore>,
    /// Holds the threads of calls of `block`.
    pub(crate) door: Door,
    failing: Arc<AtomicBool>,
    refusing: Arc<AtomicBool>,
    /// Keeps the secrets of actors.
    pub(crate) safe: Safe,
}

/// Keeps secrets: `secret://safe/NAME`.
#[derive(Clone, Default)]
pub(crate) struct Safe(Arc<Mutex<BTreeMap<String, String>>>);

impl Safe {
    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut secrets = self.0.lock().unwrap();
        secrets.insert(name.to_owned(), value.to_owned());
    }
}

impl SecretProvider for Safe {
    fn name(&self) -> &str {
        "safe"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let value = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async move {
            value.map(Secret::new).ok_or_else(|| SecretError::NotFound {
                name: name.to_owned(),
                message: "the safe has none".to_owned(),
            })
        })
    }
}

/// Blocks threads until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    pub(crate) fn wait(&self) {
        let (open, opened) = &*self.0;
        drop(
            opened
                .wait_while(open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
    }

    pub(crate) fn open(&self) {
        let (open, opened) = &*self.0;
        *open.lock().unwrap() = true;
        opened.notify_all();
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            events: Arc::default(),
            begun: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
            door: Door::default(),
            failing: Arc::default(),
            refusing: Arc::default(),
            safe: Safe::default(),
        }
    }

    /// Nothing can be built any more.
    pub(crate) fn fail_from_now_on(&self) {
        self.failing.store(true, Ordering::SeqCst);
    }

    /// Nobody takes new settings any more.
    pub(crate) fn refuse_from_now_on(&self) {
        self.refusing.store(true, Ordering::SeqCst);
    }

    fn note(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn factories(&self) -> FactoryTable {
        let mut table = FactoryTable::new();
        let stage = self.clone();
        let actor = factory_fn(move |_, part: Part| {
            let stage = stage.clone();
            async move {
                if part.build == "fail" {
                    return Err(BuildError::failed(part.fails_with));
                }
                if part.build == "wait" {
                    stage.begun.add_permits(1);
                    stage.gate.acquire().await.unwrap().forget();
                }
                if stage.failing.load(Ordering::SeqCst) {
                    return Err(BuildError::failed("nothing can be built"));
                }
                stage.note(format!("built {}", part.name));
                let (probed, told) = (part.probe != "none", part.told);
                let part = Mutex::new(part);
                let actor = Arc::new(Actor { stage, part });
                let mut instance = Instance::new(actor.clone()).retire(actor.clone());
                if probed {
                    instance = instance.probe(actor.clone());
                }
                if told {
                    instance = instance.reconfigure(actor);
                }
                Ok(instance)
            }
        });
        table.insert("oneiric.test:actor".parse().unwrap(), actor);
        table
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    #[serde(default)]
    build: String,
    /// `critical`, `none` for no probe at all; otherwise it is well.
    #[serde(default)]
    probe: String,
    #[serde(default)]
    token: String,
    /// Whether it takes new settings while it serves.
    #[serde(default)]
    told: bool,
    /// What it says when it fails.
    #[serde(default = "told_to_fail")]
    fails_with: String,
}

fn told_to_fail() -> String {
    "told to fail".to_owned()
}

struct Actor {
    stage: Stage,
    part: Mutex<Part>,
}

impl Actor {
    fn name(&self) -> String {
        self.part.lock().unwrap().name.clone()
    }
}

impl Invoke for Actor {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            match operation {
                "who" => Payload::json(&self.name()),
                "token" => Payload::json(&self.part.lock().unwrap().token.clone()),
                "echo" => Ok(input),
                "bytes" => Ok(Payload::Bytes(bytes::Bytes::from_static(b"\xff\xfe"))),
                "block" => {
                    self.stage.begun.add_permits(1);
                    self.stage.door.wait();
                    Ok(Payload::empty())
                }
                "fail" => Err(CallError::failed(&self.part.lock().unwrap().fails_with)),
                "boom" => panic!("boom"),
                "forge" => panic!("\n2026-01-01T00:00:00Z ERROR forged"),
                "wait" => {
                    self.stage.begun.add_permits(1);
                    self.stage.gate.acquire().await.unwrap().forget();
                    self.stage.note(format!("answered {}", self.name()));
                    Payload::json(&self.name())
                }
                other => Err(CallError::unknown_operation(other, self)),
            }
        })
    }

    fn operations(&self) -> Vec<Operation> {
        vec![Operation::new("who", "null -> the name")]
    }
}

impl Probe for Actor {
    fn probe(&self) -> BoxFuture<'_, Health> {
        let part = self.part.lock().unwrap();
        let health = match part.probe.as_str() {
            "critical" => Health::critical(part.fails_with.clone()),
            _ => Health::Ok,
        };
        Box::pin(std::future::ready(health))
    }
}

impl Retire for Actor {
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        self.stage.note(format!("retired {}", self.name()));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Reconfigure for Actor {
    fn reconfigure(&self, settings: serde_json::Value) -> BoxFuture<'_, Result<(), String>> {
        if self.stage.refusing.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err("refused".to_owned())));
        }
        let part: Result<Part, _> = serde_json::from_value(settings);
        let taken = part.map_err(|error| error.to_string()).map(|part| {
            self.stage.note(format!("told {}", part.name));
            *self.part.lock().unwrap() = part;
        });
        Box::pin(std::future::ready(taken))
    }
}

/// Two that work, one that says it does not, one that cannot be built.
pub(crate) const CAST: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "first"
factory = "oneiric.test:actor"
priority = 10
capabilities = ["ttl"]

[[candidates]]
slot = "adapter/cache"
provider = "second"
factory = "oneiric.test:actor"
priority = 5

[[candidates]]
slot = "adapter/cache"
provider = "sick"
factory = "oneiric.test:actor"

[[candidates]]
slot = "adapter/cache"
provider = "broken"
factory = "oneiric.test:actor"
fallback = true

[providers."adapter/cache"]
first = { name = "first" }
second = { name = "second" }
sick = { name = "sick", probe = "critical" }
broken = { name = "broken", build = "fail" }
"#;

/// A runtime that runs.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) runtime: Runtime,
    pub(crate) socket: PathBuf,
    pub(crate) address: Option<std::net::SocketAddr>,
    pub(crate) dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<ShutdownReport, RuntimeError>>,
}

pub(crate) fn build(stage: &Stage, text: &str, dir: &std::path::Path) -> Runtime {
    let mut settings = Settings::parse(text, "oneiric.toml").unwrap();
    settings.state_dir = dir.join("state");
    RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .secret_provider(stage.safe.clone())
        .build()
        .unwrap()
}

impl Scene {
    pub(crate) async fn start(text: &str) -> Self {
        let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
        let runtime = build(&stage, text, dir.path());
        Self::run(stage, runtime, dir).await
    }

    pub(crate) async fn run(stage: Stage, runtime: Runtime, dir: tempfile::TempDir) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, has_started) = oneshot::channel();
        let running = runtime.clone();
        let run = tokio::spawn(async move {
            let until = async { drop(stopped.await) };
            running
                .run_with(until, |now| {
                    drop(started.send((now.socket.clone(), now.address)));
                })
                .await
        });
        let (socket, address) = soon(has_started).await.unwrap();
        let socket = socket.unwrap();
        Self {
            stage,
            runtime,
            socket,
            address,
            dir,
            stop: Some(stop),
            run,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        soon(Client::connect(&self.socket)).await.unwrap()
    }

    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn stop(mut self) -> ShutdownReport {
        self.tell_to_stop();
        soon(self.run).await.unwrap().unwrap()
    }

    /// Stops it, and leaves what it kept.
    pub(crate) async fn stop_in_place(mut self) -> tempfile::TempDir {
        self.tell_to_stop();
        soon(self.run).await.unwrap().unwrap();
        self.dir
    }

    /// Sends bytes as they are and returns everything that comes back until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The server may hang up in the middle of what it does not want; what it said before counts.
        drop(soon(stream.write_all(bytes)).await);
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        let head = "host: x\r\nconnection: close";
        let length = body.len();
        let text =
            format!("POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.raw(text.as_bytes()).await
    }

    /// That the process is there and does its work.
    pub(crate) async fn still_serves(&self) {
        let mut client = self.client().await;
        let request =
            serde_json::from_str(r#"{"slot": "adapter/cache", "operation": "who"}"#).unwrap();
        soon(client.call(&request)).await.unwrap();
    }
}

pub(crate) fn slot(text: &str) -> oneiric_core::Slot {
    text.parse().unwrap()
}
