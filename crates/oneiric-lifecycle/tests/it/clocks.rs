//! Clocks that panic, and clocks that ask the lifecycle something when they are asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::WallClock;
use oneiric_lifecycle::{ActivityRule, ActivityScope, ChangeSet, Lifecycle, SwapRequest};

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon};

/// Does something when it is asked.
struct Does<F>(F);

impl<F: Fn() + Send + Sync> WallClock for Does<F> {
    fn now(&self) -> SystemTime {
        (self.0)();
        UNIX_EPOCH
    }
}

fn lab(does: impl Fn() + Send + Sync + 'static) -> Lab {
    let candidates: [(&str, &str, i64, &[&str]); 2] = [(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(&candidates, |builder| {
        builder.wall_clock(Arc::new(Does(does)))
    });
    for name in ["a", "b"] {
        let script = Script {
            pausing: Some((Act::Ok, Act::Ok)),
            ..Script::default()
        };
        lab.book.script(name, script);
    }
    lab
}

fn to(name: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(CACHE), provider(name)).rebuild(true)
}

/// Everything that moves a pointer, or closes a term.
async fn all_that_there_is(lab: &Lab) {
    let lifecycle = &lab.lifecycle;
    let scope = ActivityScope::Slot(slot(CACHE));
    soon(lifecycle.activate(&slot(CACHE))).await.unwrap();
    assert!(soon(lifecycle.swap(to("b"))).await.unwrap().serves());
    lifecycle
        .set_activity(ActivityRule::drain(slot(CACHE)))
        .unwrap();
    soon(lifecycle.told(&scope)).await;
    lifecycle
        .set_activity(ActivityRule::resume(slot(CACHE)))
        .unwrap();
    soon(lifecycle.told(&scope)).await;
    let baking = to("a").bake(Duration::from_secs(60));
    let report = soon(lifecycle.begin_swap(baking)).await.unwrap();
    report.baking().unwrap().swing_back("asked for");
    soon(report.settled()).await;
    let set = ChangeSet::new().to_provider(slot(CACHE), provider("a"));
    assert!(soon(lifecycle.apply(set)).await.unwrap().serves());
    soon(lifecycle.reconfigure(&slot(CACHE))).await.unwrap();
    soon(lifecycle.probe(&slot(CACHE))).await.unwrap();
    soon(lifecycle.deactivate(&slot(CACHE))).await.unwrap();
    assert_eq!(soon(lab.who(CACHE)).await, "a");
    let report = soon(lifecycle.shutdown(Duration::from_secs(60))).await;
    assert!(report.is_clean(), "{report:?}");
    let all = lab.book.all();
    let retired = all.iter().map(|one| one.retired.load(Ordering::SeqCst));
    assert!(
        retired.clone().all(|times| times == 1),
        "{:?}",
        retired.collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_panics_once_costs_nothing_wherever_that_is() {
    let counted = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&counted);
    let counts = move || {
        counts.fetch_add(1, Ordering::SeqCst);
    };
    all_that_there_is(&lab(counts)).await;
    let times = counted.load(Ordering::SeqCst);
    assert!(times > 30, "asked {times} times");
    for nth in 0..times {
        let asked = AtomicU64::new(0);
        let lab = lab(move || assert_ne!(asked.fetch_add(1, Ordering::SeqCst), nth, "told to"));
        all_that_there_is(&lab).await;
    }
}

#[test]
fn a_clock_may_ask_the_lifecycle_what_it_likes() {
    // On a thread of its own: what waits for itself must not keep the test from ending.
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let of: Arc<OnceLock<Lifecycle>> = Arc::default();
        let asks = Arc::clone(&of);
        let lab = lab(move || {
            if let Some(lifecycle) = asks.get() {
                drop((lifecycle.statuses(), lifecycle.activity_rules()));
                let scope = ActivityScope::Slot(slot(CACHE));
                let _held = (lifecycle.in_flight(&scope), lifecycle.is_drained(&scope));
            }
        });
        of.set(lab.lifecycle.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(all_that_there_is(&lab));
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()));
}

#[test]
fn an_instance_whose_runtime_is_gone_is_resumed_all_the_same() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let lab = lab(|| {});
    let scope = ActivityScope::Slot(slot(CACHE));
    let (lifecycle, cache) = (&lab.lifecycle, || slot(CACHE));
    let first = runtime();
    first.block_on(async {
        assert_eq!(lab.who(CACHE).await, "a");
        lifecycle
            .set_activity(ActivityRule::pause(cache()))
            .unwrap();
        soon(lifecycle.told(&scope)).await;
    });
    drop(first);
    // From where there is none at all, first; that reaches nobody, and keeps nobody from it.
    lifecycle
        .set_activity(ActivityRule::resume(cache()))
        .unwrap();
    runtime().block_on(async {
        lifecycle
            .set_activity(ActivityRule::resume(cache()))
            .unwrap();
        soon(lifecycle.told(&scope)).await;
        assert!(lifecycle.activity_of(&scope).is_running());
        assert_eq!(lab.who(CACHE).await, "a");
    });
    assert_eq!(
        *lab.book.all()[0].told.lock().unwrap(),
        ["pause", "done", "resume", "done"]
    );
}
