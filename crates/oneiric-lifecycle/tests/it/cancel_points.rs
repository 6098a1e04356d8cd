//! Every public async function, dropped at every point at which it waits: what is left is whole.
//!
//! Each case is run again and again on a slot of its own: its future is polled once, twice, ... and then dropped, until
//! it ends by itself. What must hold afterwards is the same for all of them. What dropping each of them does is in
//! `docs/spec/cancel-safety.md`; a test holds that page, the sources and the names here against each other.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use oneiric_core::{BoxFuture, Candidate, Origin};
use oneiric_lifecycle::{
    Activity, ActivityRule, ActivityScope, Baking, BuildContext, BuildError, ChangeSet,
    EventStream, Factory, Instance, KeyedLimits, Lease, LifecycleError, Live, Payload, SlotState,
    Streamed, SwapReport, SwapRequest,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{Act, CACHE, Lab, Named, Record, Script, provider, slot, soon, until};

const CLOCK: &str = "service/clock";

/// No future here is woken so often before it ends.
const MANY: usize = 100;

/// How often others get a turn before what a future waits for happens.
const TURNS: usize = 30;

/// How a slot stands when the future is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Nothing serves.
    Empty,
    /// `a` serves.
    Serving,
    /// `a` serves, and a swap to `c` is building.
    Swapping,
    /// `b` is on trial, `a` is kept warm.
    Baking,
    /// `a` serves, and a call of somebody else's keeps the slot from being drained.
    Draining,
}

/// A slot in the state that a case asks for.
struct Bench {
    lab: Lab,
    lease: Mutex<Option<Lease>>,
    baking: Option<Baking>,
    report: Mutex<Option<SwapReport>>,
    live: Live<dyn Named>,
    events: tokio::sync::Mutex<EventStream>,
    /// What is held up by this ends when somebody opens it.
    gate: Arc<Semaphore>,
    swap: Option<JoinHandle<Result<SwapReport, LifecycleError>>>,
}

impl Bench {
    async fn new(stand: Stand) -> Self {
        let lab = Lab::new(&[
            (CACHE, "a", 3, &[CLOCK]),
            (CACHE, "b", 2, &[CLOCK]),
            (CACHE, "c", 1, &[]),
            (CLOCK, "clock", 0, &[]),
        ]);
        let events = tokio::sync::Mutex::new(lab.lifecycle.events());
        let (act, gate) = Act::gate();
        let mut bench = Self {
            live: lab.lifecycle.live(&slot(CACHE)),
            lab,
            lease: Mutex::default(),
            baking: None,
            report: Mutex::default(),
            events,
            gate,
            swap: None,
        };
        let lifecycle = &bench.lab.lifecycle;
        if stand != Stand::Empty {
            *bench.lease.lock().unwrap() = Some(lifecycle.lease(&slot(CACHE)).await.unwrap());
        }
        match stand {
            Stand::Empty | Stand::Serving => {}
            Stand::Swapping => {
                let begun = || bench.lab.book.builds_begun.load(Ordering::SeqCst);
                let before = begun();
                bench.lab.book.script(
                    "c",
                    Script {
                        build: act,
                        ..Script::default()
                    },
                );
                let lifecycle = lifecycle.clone();
                let to_c = tokio::spawn(async move { lifecycle.swap(to("c")).await });
                until(|| begun() > before).await;
                bench.lease.lock().unwrap().take();
                bench.swap = Some(to_c);
            }
            Stand::Baking => {
                bench.lease.lock().unwrap().take();
                let on_trial = to("b").bake(Duration::from_secs(3_600));
                let report = lifecycle.begin_swap(on_trial).await.unwrap();
                bench.baking = report.baking().cloned();
                *bench.report.lock().unwrap() = Some(report);
            }
            Stand::Draining => {
                let rule = ActivityRule::new(slot(CACHE), Activity::Draining);
                lifecycle.set_activity(rule).unwrap();
            }
        }
        bench
    }

    /// Lets what is held up go on, after others had their turn.
    fn let_go_soon(self: &Arc<Self>) -> JoinHandle<()> {
        let bench = Arc::clone(self);
        tokio::spawn(async move {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            bench.gate.add_permits(10);
            if let Some(baking) = &bench.baking {
                baking.swing_back("enough");
            }
            bench.lease.lock().unwrap().take();
        })
    }
}

fn to(name: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider(name))
}

fn scope(of: &str) -> ActivityScope {
    ActivityScope::from(slot(of))
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Case {
    name: &'static str,
    stand: Stand,
    work: fn(Arc<Bench>) -> Work,
}

fn set() -> ChangeSet {
    ChangeSet::new().to_provider(slot(CACHE), provider("b"))
}

/// What it came to is somebody else's concern.
fn ended_with<T>(_: T) {}

/// `"Type::function", Stand => |bench| what is awaited`.
macro_rules! cases {
    ($($name:literal, $stand:ident => |$bench:ident| $work:expr;)*) => {
        [$(Case {
            name: $name,
            stand: Stand::$stand,
            work: |$bench| Box::pin(async move { ended_with($work.await); }),
        }),*]
    };
}

fn cases() -> Vec<Case> {
    let cases = cases! {
        "Lifecycle::activate", Empty => |bench| bench.lab.lifecycle.activate(&slot(CACHE));
        "Lifecycle::activate", Swapping => |bench| bench.lab.lifecycle.activate(&slot(CACHE));
        "Lifecycle::lease", Empty => |bench| bench.lab.lifecycle.lease(&slot(CACHE));
        "Lifecycle::lease", Serving => |bench| bench.lab.lifecycle.lease(&slot(CACHE));
        "Lifecycle::swap", Empty => |bench| bench.lab.lifecycle.swap(to("b"));
        "Lifecycle::swap", Serving => |bench| bench.lab.lifecycle.swap(to("b").rebuild(true));
        "Lifecycle::swap", Swapping => |bench| bench.lab.lifecycle.swap(to("b"));
        "Lifecycle::swap", Baking => |bench| bench.lab.lifecycle.swap(to("a"));
        "Lifecycle::begin_swap", Serving => |bench| bench.lab.lifecycle.begin_swap(to("b"));
        "Lifecycle::begin_swap", Swapping => |bench| {
            bench.lab.lifecycle.begin_swap(to("b").bake(Duration::from_secs(3_600)))
        };
        "Lifecycle::begin_swap", Serving => |bench| {
            bench.lab.lifecycle.begin_swap(to("b").keep_old())
        };
        "Lifecycle::apply", Empty => |bench| bench.lab.lifecycle.apply(set());
        "Lifecycle::apply", Serving => |bench| bench.lab.lifecycle.apply(set());
        "Lifecycle::apply", Swapping => |bench| bench.lab.lifecycle.apply(set());
        "Lifecycle::probe", Serving => |bench| bench.lab.lifecycle.probe(&slot(CACHE));
        "Lifecycle::probe", Baking => |bench| bench.lab.lifecycle.probe(&slot(CACHE));
        "Lifecycle::reconfigure", Serving => |bench| bench.lab.lifecycle.reconfigure(&slot(CACHE));
        "Lifecycle::reconfigure", Swapping => |bench| bench.lab.lifecycle.reconfigure(&slot(CACHE));
        "Lifecycle::renew", Serving => |bench| async move {
            bench.lab.lifecycle.renew(&slot(CACHE), 1).await
        };
        "Lifecycle::renew", Swapping => |bench| async move {
            bench.lab.lifecycle.renew(&slot(CACHE), 1).await
        };
        "Lifecycle::reconfigure_keeping", Serving => |bench| async move {
            bench.lab.lifecycle.reconfigure_keeping(&slot(CACHE)).await
        };
        "Lifecycle::told", Draining => |bench| bench.lab.lifecycle.told(&scope(CACHE));
        "Lifecycle::dependents_settled", Swapping => |bench| {
            bench.lab.lifecycle.dependents_settled()
        };
        "Lifecycle::deactivate", Serving => |bench| bench.lab.lifecycle.deactivate(&slot(CACHE));
        "Lifecycle::deactivate", Swapping => |bench| bench.lab.lifecycle.deactivate(&slot(CACHE));
        "Lifecycle::deactivate", Baking => |bench| bench.lab.lifecycle.deactivate(&slot(CACHE));
        "Lifecycle::settled", Swapping => |bench| bench.lab.lifecycle.settled(&slot(CACHE));
        "Lifecycle::drained", Draining => |bench| bench.lab.lifecycle.drained(&scope(CACHE));
        "SwapReport::settled", Baking => |bench| {
            let report = bench.report.lock().unwrap().take();
            report.unwrap().settled()
        };
        "Baking::ended", Baking => |bench| bench.baking.as_ref().unwrap().ended();
        "SlotRef::ready", Empty => |bench| bench.lab.lifecycle.slot(&slot(CACHE)).ready();
        "Live::ready", Empty => |bench| bench.live.ready();
        "Live::call", Empty => |bench| bench.live.call(|named| work(named, Arc::clone(&bench)));
        "Live::call", Serving => |bench| bench.live.call(|named| work(named, Arc::clone(&bench)));
        "Live::call_judged", Serving => |bench| {
            bench.live.call_judged(|named| work(named, Arc::clone(&bench)), |_| None)
        };
        "Lease::invoke", Serving => |bench| {
            let lease = bench.lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
            async move { lease.invoke("who", Payload::empty()).await }
        };
        "NotedLease::invoke", Serving => |bench| {
            let lease = bench.lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
            async move { lease.noted("work", None).invoke("who", Payload::empty()).await }
        };
        "Lease::retired", Baking => |bench| {
            // Of the one on trial, which is retired when it is swung back and this lease is back.
            let lease = bench.lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
            let over = bench.baking.clone().unwrap();
            async move {
                tokio::select! {
                    () = lease.retired() => {}
                    _ = over.ended() => {}
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        };
        "EventStream::next", Swapping => |bench| async move {
            let mut events = bench.events.lock().await;
            // Those of the activation, and then those of the swap.
            loop {
                let Some(Streamed::Event(event)) = events.next().await else { continue };
                if format!("{:?}", event.what).contains("Published") && event.slot == slot(CACHE) {
                    let Some(Streamed::Event(_)) = events.next().await else { continue };
                    return;
                }
            }
        };
    };
    cases.into()
}

/// A call that is held up.
async fn work(
    named: oneiric_lifecycle::Leased<dyn Named>,
    bench: Arc<Bench>,
) -> Result<String, LifecycleError> {
    bench.gate.acquire().await.unwrap().forget();
    Ok(named.name())
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

#[tokio::test]
async fn p13_whatever_is_dropped_at_whatever_await_what_is_left_is_whole() {
    for case in cases() {
        for polls in 0.. {
            assert!(polls < MANY, "{} does not end", case.name);
            let bench = Arc::new(Bench::new(case.stand).await);
            let going = bench.let_go_soon();
            let ended = soon(polled(polls, (case.work)(Arc::clone(&bench)))).await;
            soon(going).await.unwrap();
            let bench = Arc::into_inner(bench).unwrap();
            let what = format!("{} ({:?}) after {polls} polls", case.name, case.stand);
            whole(bench, &what).await;
            if ended {
                break;
            }
        }
    }
}

/// Holds of a slot whatever was dropped: it can be used, exchanged and taken down, nobody is counted who is not there,
/// nothing needs what it does not have, and every instance that was built is retired once.
async fn whole(bench: Bench, what: &str) {
    let Bench {
        lab, lease, swap, ..
    } = bench;
    let lifecycle = &lab.lifecycle;
    drop(lease);
    if let Some(swap) = swap {
        drop(soon(swap).await);
    }
    lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    soon(lab.who(CACHE)).await;
    let of_cache = || lifecycle.status(&slot(CACHE)).unwrap();
    let again = soon(lifecycle.swap(to("b").rebuild(true).bake(Duration::ZERO))).await;
    assert!(again.unwrap().serves(), "{what}");
    assert_eq!(soon(lab.who(CACHE)).await, "b", "{what}");
    // What was kept warm or on trial goes by itself, and a moment later.
    let alive = || {
        let records = lab.book.all();
        let alive = |one: &&Arc<Record>| one.retired.load(Ordering::SeqCst) == 0;
        records.iter().filter(alive).count()
    };
    until(|| alive() == 2 && of_cache().draining.is_empty()).await;
    let status = of_cache();
    assert_eq!(status.state, SlotState::Active, "{what}");
    assert_eq!(status.in_flight, 0, "{what}");
    assert_eq!(lifecycle.in_flight(&scope(CACHE)), 0, "{what}");
    assert_eq!(lifecycle.holders(&slot(CLOCK)), [slot(CACHE)], "{what}");
    for of in [CACHE, CLOCK] {
        let gone = soon(lifecycle.deactivate(&slot(of))).await.unwrap();
        assert!(gone.is_some_and(|gone| gone.warnings.is_empty()), "{what}");
    }
    ended(&lab, what).await;
}

/// Shut down, everything is retired, once.
async fn ended(lab: &Lab, what: &str) {
    let report = soon(lab.lifecycle.shutdown(Duration::from_secs(60))).await;
    assert!(report.is_clean(), "{what}: {report:?}");
    for record in lab.book.all() {
        assert_eq!(record.retired.load(Ordering::SeqCst), 1, "{what}");
        let late = record.called_after_retirement.load(Ordering::SeqCst);
        assert!(!late, "{what}");
    }
}

#[tokio::test]
async fn p13_a_shutdown_that_is_dropped_at_any_await_goes_on_or_has_not_begun() {
    // "Lifecycle::shutdown", with something in every state beside it.
    let stands = [Stand::Empty, Stand::Serving, Stand::Swapping, Stand::Baking];
    for stand in stands {
        for polls in 0.. {
            assert!(polls < MANY);
            let bench = Arc::new(Bench::new(stand).await);
            let going = bench.let_go_soon();
            let lifecycle = bench.lab.lifecycle.clone();
            let shutdown = async move {
                lifecycle.shutdown(Duration::from_secs(60)).await;
            };
            bench.lease.lock().unwrap().take();
            let over = soon(polled(polls, shutdown)).await;
            soon(going).await.unwrap();
            let what = format!("shutdown ({stand:?}) after {polls} polls");
            if polls > 0 {
                // It was begun, so nobody has to ask again.
                let gone = || {
                    let records = bench.lab.book.all();
                    let gone = |one: &Arc<Record>| one.retired.load(Ordering::SeqCst) == 1;
                    records.iter().all(gone)
                };
                until(gone).await;
            }
            ended(&bench.lab, &what).await;
            if over {
                break;
            }
        }
    }
}

/// Hands its context out, and builds when it is told to.
struct Inside(Mutex<Option<tokio::sync::oneshot::Sender<BuildContext>>>);

impl Factory for Inside {
    fn build(&self, context: BuildContext) -> BoxFuture<'static, Result<Instance, BuildError>> {
        let out = self.0.lock().unwrap().take();
        Box::pin(async move {
            drop(out.map(|out| out.send(context)));
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn p13_waiting_to_be_told_to_stop_building_can_be_dropped() {
    // "BuildContext::cancelled", of a build that a shutdown ends.
    for polls in 0..2 {
        let (out, context) = tokio::sync::oneshot::channel();
        let factory = Inside(Mutex::new(Some(out)));
        let lab = Lab::with(&[], |builder| {
            let mut factories = oneiric_lifecycle::FactoryTable::new();
            factories.insert("oneiric.test:inside".parse().unwrap(), factory);
            builder.factories(factories)
        });
        let candidate = Candidate::builder(slot(CACHE), provider("a"), Origin::settings())
            .factory("oneiric.test:inside".parse().unwrap());
        lab.registry.register(candidate.build()).keep();
        let lifecycle = lab.lifecycle.clone();
        let building = tokio::spawn(async move { lifecycle.activate(&slot(CACHE)).await });
        let context = soon(context).await.unwrap();
        assert!(!polled(polls, context.cancelled()).await);
        let report = soon(lab.lifecycle.shutdown(Duration::from_secs(60))).await;
        assert!(report.is_clean(), "{report:?}");
        soon(context.cancelled()).await;
        assert!(soon(building).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn p13_a_stream_that_is_dropped_while_it_waits_loses_nothing() {
    let lab = Lab::pair();
    let mut events = lab.lifecycle.events();
    for _ in 0..3 {
        assert!(!polled(1, async { drop(events.next().await) }).await);
    }
    lab.who(CACHE).await;
    let mut said = BTreeSet::new();
    while !said.contains("Published") {
        let Some(Streamed::Event(event)) = soon(events.next()).await else {
            panic!("nothing was missed and nothing has ended");
        };
        let what = format!("{:?}", event.what);
        said.insert(what.split([' ', '{']).next().unwrap().to_owned());
    }
    assert!(said.contains("Building"), "{said:?}");
}

#[tokio::test]
async fn p13_a_probe_whose_caller_goes_away_is_given_up() {
    let limits = serde_json::from_value(serde_json::json!({"probe_ms": 50})).unwrap();
    let pair: [(&str, &str, i64, &[&str]); 1] = [(CACHE, "a", 2, &[])];
    let lab = Lab::with(&pair, |builder| builder.limits(limits));
    lab.book.script(
        "a",
        Script {
            probe: Act::Hang,
            ..Script::default()
        },
    );
    let by_force = SwapRequest::to_winner(slot(CACHE)).force(true);
    lab.lifecycle.swap(by_force).await.unwrap();
    let probe = async {
        drop(lab.lifecycle.probe(&slot(CACHE)).await);
    };
    assert!(!polled(1, probe).await);
    // One that nobody gave up would never let the next one have its turn.
    let asked_again = async {
        loop {
            let report = lab.lifecycle.probe(&slot(CACHE)).await.unwrap();
            let said = report.health.unwrap().to_string();
            if said == "probe_error: not done within 50 ms" {
                break;
            }
            assert_eq!(said, "probe_error: an earlier probe has not answered yet");
        }
    };
    soon(asked_again).await;
}

#[tokio::test]
async fn p13_an_instance_for_a_key_can_be_asked_for_and_let_go_by_those_who_leave() {
    // "Keyed::lease", "Keyed::retire" and "Lifecycle::retire_outdated"
    for does in ["lease", "retire", "retire_outdated"] {
        for polls in 0.. {
            assert!(polls < MANY);
            let lab = Lab::pair();
            let keyed = lab.lifecycle.keyed(&slot(CACHE), KeyedLimits::default());
            let cache = slot(CACHE);
            if does != "lease" {
                drop(keyed.lease("one").await.unwrap());
            }
            if does == "retire_outdated" {
                lab.lifecycle.settings_changed(&cache);
            }
            let work = async {
                match does {
                    "retire" => ended_with(keyed.retire("one").await),
                    "retire_outdated" => lab.lifecycle.retire_outdated(&cache).await,
                    _ => ended_with(keyed.lease("one").await.unwrap()),
                }
            };
            let over = soon(polled(polls, work)).await;
            let what = format!("keyed, {does}, after {polls} polls");
            drop(soon(keyed.lease("one")).await.unwrap());
            assert_eq!(keyed.len(), 1, "{what}");
            ended(&lab, &what).await;
            if over {
                break;
            }
        }
    }
}
