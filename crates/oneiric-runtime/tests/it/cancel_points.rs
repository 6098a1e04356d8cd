//! Every public async function of the runtime and of its client, dropped at every point at which it waits: what is left
//! is whole. What dropping each of them does is in `docs/spec/cancel-safety.md`; a test holds that page, the sources and
//! the names here against each other.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use oneiric_lifecycle::Activity;
use oneiric_runtime::{
    Client, ClientBuilder, ExplainQuery, Runtime, Settings,
    api::{
        ActivityRequest, ApplyRequestDoc, CallRequest, ChangeDoc, PlanRequestDoc, ReloadRequest,
        RotateRequest, SwapRequestDoc, UndoRequestDoc,
    },
};

use crate::support::{CAST, Scene, Stage, build, slot, soon};

const CACHE: &str = "adapter/cache";

/// No future here is woken so often before it ends.
const MANY: usize = 200;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime, and a client that was connected before.
struct Bench {
    scene: Scene,
    runtime: Runtime,
    client: tokio::sync::Mutex<Client>,
    copies: Mutex<usize>,
}

impl Bench {
    fn apply_request(&self) -> ApplyRequestDoc {
        ApplyRequestDoc {
            plan: self.runtime.plan(&wanted()).unwrap(),
            reason: None,
        }
    }

    async fn new() -> Arc<Self> {
        let scene = Scene::start(CAST).await;
        scene.stage.safe.set("x", "hunter2");
        let client = tokio::sync::Mutex::new(scene.client().await);
        Arc::new(Self {
            runtime: scene.runtime.clone(),
            scene,
            client,
            copies: Mutex::default(),
        })
    }

    /// A file that is not there.
    fn copy(&self) -> std::path::PathBuf {
        let mut copies = self.copies.lock().unwrap();
        *copies += 1;
        self.scene.dir.path().join(format!("copy-{copies}"))
    }

    fn settings(&self, more: &str) -> Settings {
        let mut settings = Settings::parse(&format!("{CAST}\n{more}"), "oneiric.toml").unwrap();
        settings.state_dir = self.runtime.settings().state_dir.clone();
        settings
    }
}

fn to(provider: &str) -> SwapRequestDoc {
    SwapRequestDoc::to_provider(slot(CACHE), provider.parse().unwrap())
}

fn wanted() -> PlanRequestDoc {
    let change = ChangeDoc {
        slot: slot(CACHE),
        provider: Some("second".parse().unwrap()),
    };
    PlanRequestDoc {
        changes: vec![change],
        undo: None,
    }
}

fn who() -> CallRequest {
    CallRequest {
        slot: slot(CACHE),
        operation: "who".into(),
        input: serde_json::Value::Null,
    }
}

fn pause() -> ActivityRequest {
    ActivityRequest::new(CACHE.parse().unwrap(), Activity::Paused)
}

fn resume() -> ActivityRequest {
    ActivityRequest::new(CACHE.parse().unwrap(), Activity::Running)
}

struct Case {
    name: &'static str,
    work: fn(Arc<Bench>) -> Work,
}

/// What it came to is somebody else's concern.
fn ended_with<T>(_: T) {}

/// `"Type::function" => |bench| what is awaited`.
macro_rules! cases {
    ($($name:literal => |$bench:ident| $work:expr;)*) => {
        vec![$(Case {
            name: $name,
            work: |$bench| Box::pin(async move { ended_with($work.await); }),
        }),*]
    };
}

fn of_runtime() -> Vec<Case> {
    cases! {
        "Runtime::swap" => |bench| bench.runtime.swap(to("second"), "test");
        "Runtime::apply" => |bench| async move {
            let request = bench.apply_request();
            bench.runtime.apply(request, "test").await
        };
        "Runtime::undo" => |bench| async move {
            drop(bench.runtime.swap(to("second"), "test").await);
            bench.runtime.undo(UndoRequestDoc::default(), "test").await
        };
        "Runtime::set_activity" => |bench| bench.runtime.set_activity(pause(), "test");
        "Runtime::reload" => |bench| bench.runtime.reload("test");
        "Runtime::reload_to" => |bench| {
            let changed = bench.settings("[selections]\n'adapter/cache' = 'second'");
            bench.runtime.reload_to(changed, "test")
        };
        "Runtime::plan_reload" => |bench| bench.runtime.plan_reload();
        "Runtime::probe" => |bench| bench.runtime.probe(None);
        "Runtime::call" => |bench| bench.runtime.call(who());
        "Runtime::call_as" => |bench| bench.runtime.call_as(who(), Some("test"));
        "Runtime::history" => |bench| bench.runtime.history(None);
        "Runtime::state" => |bench| bench.runtime.state();
        "Runtime::backup" => |bench| async move {
            let to = bench.copy();
            bench.runtime.backup(&to).await
        };
        "Runtime::secret" => |bench| async move {
            let reference = "secret://safe/x".parse().unwrap();
            bench.runtime.secret(&reference).await
        };
        "Runtime::rotate_secrets" => |bench| {
            bench.runtime.rotate_secrets(RotateRequest::default(), "test")
        };
        "EventStream::next" => |bench| async move {
            let mut events = bench.runtime.events(None, None);
            let runtime = bench.runtime.clone();
            tokio::spawn(async move { runtime.swap(to("second"), "test").await });
            ended_with(events.next().await);
        };
    }
}

fn of_client() -> Vec<Case> {
    cases! {
        "Client::connect" => |bench| Client::connect(&bench.scene.socket);
        "ClientBuilder::connect" => |bench| ClientBuilder::socket(&bench.scene.socket).connect();
        "Client::list" => |bench| async move { bench.client.lock().await.list(None).await };
        "Client::explain" => |bench| async move {
            let query = ExplainQuery::new(slot(CACHE));
            bench.client.lock().await.explain(&query).await
        };
        "Client::status" => |bench| async move { bench.client.lock().await.status(None).await };
        "Client::config" => |bench| async move { bench.client.lock().await.config().await };
        "Client::config_explain" => |bench| async move {
            bench.client.lock().await.config_explain("run.grace_ms").await
        };
        "Client::health" => |bench| async move { bench.client.lock().await.health(None).await };
        "Client::probe" => |bench| async move { bench.client.lock().await.probe(None).await };
        "Client::call" => |bench| async move { bench.client.lock().await.call(&who()).await };
        "Client::swap" => |bench| async move {
            bench.client.lock().await.swap(&to("second")).await
        };
        "Client::plan" => |bench| async move {
            bench.client.lock().await.plan(&wanted()).await
        };
        "Client::apply" => |bench| async move {
            let request = bench.apply_request();
            bench.client.lock().await.apply(&request).await
        };
        "Client::undo" => |bench| async move {
            bench.client.lock().await.undo(&UndoRequestDoc::default()).await
        };
        "Client::history" => |bench| async move { bench.client.lock().await.history(None).await };
        "Client::state" => |bench| async move { bench.client.lock().await.state().await };
        "Client::backup" => |bench| async move {
            bench.client.lock().await.backup(&mut Vec::new()).await
        };
        "Client::reload" => |bench| async move {
            bench.client.lock().await.reload(&ReloadRequest::default()).await
        };
        "Client::activity" => |bench| async move { bench.client.lock().await.activity(None).await };
        "Client::set_activity" => |bench| async move {
            bench.client.lock().await.set_activity(&pause()).await
        };
        "Client::secrets" => |bench| async move { bench.client.lock().await.secrets().await };
        "Client::rotate_secrets" => |bench| async move {
            bench.client.lock().await.rotate_secrets(&RotateRequest::default()).await
        };
        "Client::alive" => |bench| async move { bench.client.lock().await.alive().await };
        "Client::ready" => |bench| async move { bench.client.lock().await.ready().await };
        "Client::metrics" => |bench| async move { bench.client.lock().await.metrics().await };
        "Client::events" => |bench| async move {
            bench.client.lock().await.events(None, None).await.map(drop)
        };
        "EventSource::next" => |bench| async move {
            let mut events = bench.client.lock().await.events(None, None).await.unwrap();
            let runtime = bench.runtime.clone();
            tokio::spawn(async move { runtime.swap(to("second"), "test").await });
            ended_with(events.next().await);
        };
    }
}

/// Polls a future so many times, each time when it asks for it, and drops it. Says whether it ended.
async fn polled(times: usize, work: impl Future<Output = ()>) -> bool {
    let mut work = pin!(work);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn at_every_point(cases: Vec<Case>) {
    for case in cases {
        for polls in 0.. {
            assert!(polls < MANY, "{} does not end", case.name);
            let bench = Bench::new().await;
            let ended = soon(polled(polls, (case.work)(Arc::clone(&bench)))).await;
            whole(bench, &format!("{} after {polls} polls", case.name)).await;
            if ended {
                break;
            }
        }
    }
}

/// Holds of a runtime whatever was dropped: it can be asked and changed, by the same client too and with the answer to
/// what was asked; what it did is written down; it ends, and every instance that was built is retired once.
async fn whole(bench: Arc<Bench>, what: &str) {
    {
        let mut client = bench.client.lock().await;
        let list = soon(client.list(None)).await.unwrap();
        assert_eq!(list.doc.schema, "oneiric.list/1", "{what}");
        soon(client.set_activity(&resume())).await.unwrap();
        let reply = soon(client.swap(&to("first"))).await.unwrap();
        assert_eq!(reply.doc.schema, "oneiric.swap/1", "{what}");
        let again = soon(client.call(&who())).await.unwrap();
        assert_eq!(again.doc.output, "first", "{what}");
    }
    let lifecycle = bench.runtime.lifecycle();
    soon(lifecycle.settled(&slot(CACHE))).await;
    let idle = async {
        while lifecycle.in_flight(&CACHE.parse().unwrap()) > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(idle).await;
    let selected = bench.runtime.revisions();
    let last = selected.last().and_then(|one| one.provider.clone());
    assert_eq!(
        last.map(|name| name.to_string()).as_deref(),
        Some("first"),
        "{what}"
    );
    let doc = soon(
        bench
            .runtime
            .reload_to(bench.settings("[run]\ngrace_ms = 7000"), "test"),
    );
    assert!(doc.await.unwrap().error.is_none(), "{what}");
    // What it spawned for itself may still hold on to it.
    let bench = async {
        let mut bench = bench;
        loop {
            match Arc::try_unwrap(bench) {
                Ok(bench) => return bench,
                Err(held) => bench = held,
            }
            tokio::task::yield_now().await;
        }
    };
    let Bench { scene, client, .. } = soon(bench).await;
    drop(client);
    let stage = scene.stage.clone();
    let report = scene.stop().await;
    assert!(report.is_clean(), "{what}: {report:?}");
    all_retired(&stage, what);
}

fn all_retired(stage: &Stage, what: &str) {
    let events = stage.events();
    let count = |begins: &str| events.iter().filter(|one| one.starts_with(begins)).count();
    assert_eq!(count("built"), count("retired"), "{what}: {events:?}");
}

#[tokio::test]
async fn p13_whatever_of_a_runtime_is_dropped_at_whatever_await_what_is_left_is_whole() {
    at_every_point(of_runtime()).await;
}

#[tokio::test]
async fn p13_whatever_of_a_client_is_dropped_the_next_answer_is_to_the_next_request() {
    at_every_point(of_client()).await;
}

#[tokio::test]
async fn p13_a_run_that_is_dropped_can_be_taken_down() {
    // "Runtime::run" is "Runtime::run_with" for those who need not be told.
    for polls in 0..30 {
        let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
        let runtime = build(&stage, CAST, dir.path());
        let started = Mutex::new(false);
        let (running, told) = (runtime.clone(), &started);
        let run = async move {
            let never = std::future::pending();
            let run = running.run_with(never, |_| *told.lock().unwrap() = true);
            ended_with(run.await);
        };
        // Once it runs nothing wakes it any more.
        let cut = tokio::time::timeout(Duration::from_secs(2), polled(polls, run)).await;
        let what = format!("run after {polls} polls");
        let report = soon(runtime.lifecycle().shutdown(Duration::from_secs(60))).await;
        assert!(report.is_clean(), "{what}: {report:?}");
        all_retired(&stage, &what);
        if cut.is_err() {
            assert!(*started.lock().unwrap(), "{what}");
            return;
        }
    }
}
