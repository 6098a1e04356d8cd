//! Pausing and draining slots, providers and domains, as callers and onlookers see it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use oneiric_core::Coded;
use oneiric_lifecycle::{
    Activity, ActivityRule, ActivityScope, Difference, DrainEnd, Happening, Lifecycle,
    LifecycleError, SwapEvent, SwapRequest,
};

use crate::support::{Act, CACHE, Lab, Script, provider, slot, soon};

const QUEUE: &str = "adapter/queue";

fn scope(text: &str) -> ActivityScope {
    text.parse().unwrap()
}

/// What an observer is told of activity: `slot event scope activity`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, event: &SwapEvent) {
        let line = match &event.what {
            Happening::ActivityChanged {
                scope, activity, ..
            } => {
                format!("{} {} by {scope}", event.slot, activity.name())
            }
            Happening::Drained { scope } => format!("{} drained {scope}", event.slot),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn told_lab(candidates: &[(&str, &str, i64, &[&str])]) -> (Lab, Told) {
    let told = Told::default();
    let observer = told.clone();
    let lab = Lab::with(candidates, |builder| {
        builder.observer(move |event: &SwapEvent| observer.note(event))
    });
    (lab, told)
}

fn pair() -> (Lab, Told) {
    told_lab(&[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])])
}

fn set(lifecycle: &Lifecycle, text: &str, activity: Activity) {
    lifecycle
        .set_activity(ActivityRule::new(scope(text), activity))
        .unwrap();
}

async fn swap_to(lab: &Lab, to: &str) {
    let request = SwapRequest::to_provider(slot(CACHE), provider(to));
    assert!(lab.lifecycle.swap(request).await.unwrap().serves(), "{to}");
}

/// What a lease gets: the provider, or which scope refuses it.
fn asked(lab: &Lab, of: &str) -> String {
    match lab.lifecycle.slot(&slot(of)).lease() {
        Ok(lease) => lease.provider().to_string(),
        Err(LifecycleError::Busy { state, .. }) => {
            format!("{} by {}", state.activity.name(), state.scope.unwrap())
        }
        Err(other) => other.code().to_owned(),
    }
}

#[tokio::test]
async fn p68_pause_acts_at_once_for_every_lease_asked_for_after_it() {
    let (lab, told) = pair();
    lab.who(CACHE).await;
    let live = lab
        .lifecycle
        .live::<dyn crate::support::Named>(&slot(CACHE));
    let handle = lab.lifecycle.slot(&slot(CACHE));
    let held = handle.lease().unwrap();
    set(&lab.lifecycle, CACHE, Activity::Paused);
    assert_eq!(handle.lease().unwrap_err().code(), "lifecycle.busy");
    assert_eq!(live.lease().unwrap_err().code(), "lifecycle.busy");
    assert_eq!(
        lab.lifecycle.lease(&slot(CACHE)).await.unwrap_err().code(),
        "lifecycle.busy"
    );
    // What was begun goes on.
    held.invoke("who", oneiric_lifecycle::Payload::empty())
        .await
        .unwrap();
    set(&lab.lifecycle, CACHE, Activity::Running);
    assert_eq!(asked(&lab, CACHE), "a");
    assert_eq!(
        told.take(),
        [
            "adapter/cache paused by adapter/cache",
            "adapter/cache running by adapter/cache"
        ]
    );
}

#[tokio::test]
async fn the_most_restrictive_rule_holds_and_is_named() {
    let (lab, _) = pair();
    lab.who(CACHE).await;
    set(&lab.lifecycle, "adapter/*", Activity::Paused);
    assert_eq!(asked(&lab, CACHE), "paused by adapter/*");
    set(&lab.lifecycle, "adapter/cache:a", Activity::Draining);
    assert_eq!(asked(&lab, CACHE), "draining by adapter/cache:a");
    set(&lab.lifecycle, CACHE, Activity::Paused);
    assert_eq!(asked(&lab, CACHE), "draining by adapter/cache:a");
    // Lifting one lifts no other.
    set(&lab.lifecycle, "adapter/cache:a", Activity::Running);
    assert_eq!(asked(&lab, CACHE), "paused by adapter/*");
    set(&lab.lifecycle, "adapter/*", Activity::Running);
    assert_eq!(asked(&lab, CACHE), "paused by adapter/cache");
    set(&lab.lifecycle, "service/*", Activity::Draining);
    set(&lab.lifecycle, "adapter/cache:b", Activity::Draining);
    set(&lab.lifecycle, CACHE, Activity::Running);
    assert_eq!(asked(&lab, CACHE), "a");
    let rules = lab.lifecycle.activity_rules();
    let scopes: Vec<String> = rules.iter().map(|rule| rule.scope.to_string()).collect();
    assert_eq!(scopes, ["service/*", "adapter/cache:b"]);
}

#[tokio::test]
async fn a_refusal_says_who_why_until_when_and_which_scope() {
    let (lab, _) = pair();
    lab.who(CACHE).await;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let pause = ActivityRule::pause(scope("adapter/*")).note("migrating the index");
    lab.lifecycle
        .set_activity(pause.who("alice").since(at(0)).until(at(1_800)))
        .unwrap();
    let refused = || lab.lifecycle.slot(&slot(CACHE)).lease().unwrap_err();
    assert_eq!(
        refused().to_string(),
        "adapter/cache is paused (adapter/*) by alice since 1970-01-01T00:00:00Z: migrating the \
         index; until 1970-01-01T00:30:00Z"
    );
    let opens = || match refused() {
        LifecycleError::Busy { opens, .. } => opens,
        other => panic!("{other}"),
    };
    assert_eq!(opens(), Some(at(1_800)));
    // Told is when the last rule that applies is lifted, and nothing if that is not known.
    let rule = ActivityRule::pause(slot(CACHE)).since(at(0));
    lab.lifecycle
        .set_activity(rule.clone().until(at(60)))
        .unwrap();
    assert_eq!(opens(), Some(at(1_800)));
    lab.lifecycle.set_activity(rule).unwrap();
    assert_eq!(opens(), None);
    assert_eq!(
        refused().to_string(),
        "adapter/cache is paused since 1970-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn a_domains_rule_holds_for_slots_that_appear_later() {
    let (lab, told) = pair();
    set(&lab.lifecycle, "adapter/*", Activity::Paused);
    assert_eq!(told.take(), ["adapter/cache paused by adapter/*"]);
    // Nothing was activated in it, and nothing will be just to be refused.
    assert_eq!(asked(&lab, CACHE), "paused by adapter/*");
    assert_eq!(lab.book.all().len(), 0);
    lab.registry
        .register(crate::support::candidate(QUEUE, "q", 0, &[]))
        .keep();
    let status = lab.lifecycle.status(&slot(QUEUE)).unwrap();
    assert_eq!(status.activity.scope, Some(scope("adapter/*")));
    assert!(lab.lifecycle.lease(&slot(QUEUE)).await.is_err());
    lab.lifecycle.activate(&slot(QUEUE)).await.unwrap();
    assert_eq!(asked(&lab, QUEUE), "paused by adapter/*");
    set(&lab.lifecycle, "adapter/*", Activity::Running);
    assert_eq!(asked(&lab, QUEUE), "q");
}

#[tokio::test]
async fn a_swap_away_from_a_paused_provider_opens_the_slot_and_one_onto_it_closes_it() {
    let (lab, told) = pair();
    lab.who(CACHE).await;
    set(&lab.lifecycle, "adapter/cache:a", Activity::Paused);
    assert_eq!(asked(&lab, CACHE), "paused by adapter/cache:a");
    swap_to(&lab, "b").await;
    assert_eq!(asked(&lab, CACHE), "b");
    swap_to(&lab, "a").await;
    assert_eq!(asked(&lab, CACHE), "paused by adapter/cache:a");
    set(&lab.lifecycle, "adapter/cache:a", Activity::Running);
    assert_eq!(asked(&lab, CACHE), "a");
    assert_eq!(
        told.take(),
        [
            "adapter/cache paused by adapter/cache:a",
            "adapter/cache running by adapter/cache:a",
            "adapter/cache paused by adapter/cache:a",
            "adapter/cache running by adapter/cache:a",
        ]
    );
}

#[tokio::test]
async fn a_provider_that_is_taken_out_of_service_leaves_its_rule_behind() {
    let (lab, _) = pair();
    lab.who(CACHE).await;
    set(&lab.lifecycle, "adapter/cache:a", Activity::Paused);
    lab.lifecycle.deactivate(&slot(CACHE)).await.unwrap();
    assert_eq!(asked(&lab, CACHE), "lifecycle.not_active");
    lab.lifecycle.activate(&slot(CACHE)).await.unwrap();
    assert_eq!(asked(&lab, CACHE), "paused by adapter/cache:a");
}

#[tokio::test]
async fn nobody_fills_the_memory_with_rules_for_slots_that_are_not_there() {
    let (lab, _) = pair();
    for text in ["adapter/nobody", "adapter/nobody:x"] {
        let error = lab
            .lifecycle
            .set_activity(ActivityRule::pause(scope(text)))
            .unwrap_err();
        assert_eq!(error.code(), "core.no_candidate");
    }
    assert_eq!(lab.lifecycle.activity_rules(), []);
    // What was kept from before is put in force all the same, and can be lifted.
    lab.lifecycle
        .restore_activity([ActivityRule::pause(scope("adapter/nobody"))]);
    assert_eq!(lab.lifecycle.activity_rules().len(), 1);
    set(&lab.lifecycle, "adapter/nobody", Activity::Running);
    assert_eq!(lab.lifecycle.activity_rules(), []);
}

#[tokio::test]
async fn a_paused_slot_that_is_outranked_is_held() {
    let (lab, _) = pair();
    lab.who(CACHE).await;
    set(&lab.lifecycle, "adapter/*", Activity::Paused);
    lab.registry
        .register(crate::support::candidate(CACHE, "c", 9, &[]))
        .keep();
    let differs = lab.lifecycle.status(&slot(CACHE)).unwrap().differs;
    assert_eq!(differs, Some(Difference::Held { activity: "paused" }));
}

#[tokio::test]
async fn p69_drain_refuses_new_work_and_reports_when_the_last_call_ends() {
    let (lab, told) = pair();
    lab.who(CACHE).await;
    let handle = lab.lifecycle.slot(&slot(CACHE));
    let (first, second) = (handle.lease().unwrap(), handle.lease().unwrap());
    let cache = scope(CACHE);
    set(&lab.lifecycle, CACHE, Activity::Draining);
    assert_eq!(asked(&lab, CACHE), "draining by adapter/cache");
    assert_eq!(told.take(), ["adapter/cache draining by adapter/cache"]);
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.in_flight, status.draining.len()), (2, 0));
    assert_eq!(lab.lifecycle.in_flight(&cache), 2);
    // Whoever stops waiting takes nothing away.
    let waits = tokio::time::timeout(Duration::ZERO, lab.lifecycle.drained(&cache));
    assert!(waits.await.is_err());
    drop(first);
    assert_eq!((lab.lifecycle.in_flight(&cache), told.take().len()), (1, 0));
    assert!(!lab.lifecycle.is_drained(&cache));
    second
        .invoke("who", oneiric_lifecycle::Payload::empty())
        .await
        .unwrap();
    drop(second);
    // Told in the moment in which the last one ends, to nobody's asking.
    assert_eq!(told.take(), ["adapter/cache drained adapter/cache"]);
    assert_eq!(soon(lab.lifecycle.drained(&cache)).await, DrainEnd::Empty);
    assert!(lab.lifecycle.is_drained(&cache));
    // It stays closed, and what was counted is still counted.
    assert_eq!(asked(&lab, CACHE), "draining by adapter/cache");
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.calls.succeeded, status.in_flight), (2, 0));
    set(&lab.lifecycle, CACHE, Activity::Running);
    assert_eq!(asked(&lab, CACHE), "a");
    assert!(!lab.lifecycle.is_drained(&cache));
}

#[tokio::test]
async fn p69_an_idle_slot_is_drained_at_once() {
    let (lab, told) = pair();
    set(&lab.lifecycle, CACHE, Activity::Draining);
    assert_eq!(
        told.take(),
        [
            "adapter/cache draining by adapter/cache",
            "adapter/cache drained adapter/cache"
        ]
    );
    assert_eq!(lab.lifecycle.drained(&scope(CACHE)).await, DrainEnd::Empty);
    set(&lab.lifecycle, "task/*", Activity::Draining);
    assert_eq!(
        lab.lifecycle.drained(&scope("task/*")).await,
        DrainEnd::Empty
    );
}

#[tokio::test]
async fn p69_a_domain_is_drained_when_all_its_slots_are_old_instances_included() {
    let (lab, told) = told_lab(&[
        (CACHE, "a", 2, &[]),
        (CACHE, "b", 1, &[]),
        (QUEUE, "q", 0, &[]),
        ("task/mail", "m", 0, &[]),
    ]);
    for of in [CACHE, QUEUE, "task/mail"] {
        lab.who(of).await;
    }
    let old = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    let others = lab.lifecycle.slot(&slot("task/mail")).lease().unwrap();
    // The swap waits for the lease on the old instance; the new one serves already.
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move {
            lifecycle
                .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
                .await
        }
    });
    crate::support::until(|| asked(&lab, CACHE) == "b").await;
    let new = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    let queue = lab.lifecycle.slot(&slot(QUEUE)).lease().unwrap();
    set(&lab.lifecycle, "adapter/*", Activity::Draining);
    set(&lab.lifecycle, "adapter/cache:a", Activity::Draining);
    told.take();
    assert_eq!(lab.lifecycle.in_flight(&scope("adapter/*")), 3);
    assert_eq!(lab.lifecycle.in_flight(&scope("adapter/cache:a")), 1);
    drop((queue, new));
    assert_eq!(told.take(), [""; 0]);
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!((status.in_flight, status.draining[0].in_flight), (0, 1));
    drop(old);
    let mut all = told.take();
    all.sort();
    assert_eq!(
        all,
        [
            "adapter/cache drained adapter/*",
            "adapter/cache drained adapter/cache:a",
            "adapter/queue drained adapter/*",
        ]
    );
    drop(others);
    assert!(soon(swap).await.unwrap().unwrap().serves());
}

#[tokio::test(start_paused = true)]
async fn a_draining_slot_can_be_swapped_and_its_old_instance_is_not_retired_under_its_work() {
    let (lab, told) = pair();
    lab.who(CACHE).await;
    let work = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    set(&lab.lifecycle, CACHE, Activity::Draining);
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move {
            lifecycle
                .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
                .await
        }
    });
    let serves = || {
        lab.lifecycle
            .status(&slot(CACHE))
            .unwrap()
            .active
            .unwrap()
            .provider
    };
    crate::support::until(|| serves().as_str() == "b").await;
    told.take();
    // The clock stands still until everything else has come to rest.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!swap.is_finished() && !work.is_retired());
    assert_eq!(lab.book.retirements(), [""; 0]);
    drop(work);
    assert_eq!(told.take(), ["adapter/cache drained adapter/cache"]);
    assert_eq!(soon(swap).await.unwrap().unwrap().warnings, []);
    assert_eq!(lab.book.retirements(), ["a"]);
    assert_eq!(asked(&lab, CACHE), "draining by adapter/cache");
}

#[tokio::test]
async fn a_drain_that_is_lifted_reports_nothing_and_ends_the_waiting() {
    let (lab, told) = pair();
    lab.who(CACHE).await;
    let work = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    let cache = scope(CACHE);
    assert_eq!(lab.lifecycle.drained(&cache).await, DrainEnd::Lifted);
    set(&lab.lifecycle, CACHE, Activity::Draining);
    let waiting = tokio::spawn({
        let (lifecycle, cache) = (lab.lifecycle.clone(), cache.clone());
        async move { lifecycle.drained(&cache).await }
    });
    tokio::task::yield_now().await;
    // Drained anew, with another note: whoever waits goes on waiting.
    set(&lab.lifecycle, CACHE, Activity::Draining);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    set(&lab.lifecycle, CACHE, Activity::Paused);
    assert_eq!(soon(waiting).await.unwrap(), DrainEnd::Lifted);
    told.take();
    drop(work);
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test]
async fn work_that_outlived_its_instance_is_waited_for_too() {
    let mut limits = oneiric_lifecycle::Limits::default();
    limits.drain = Duration::ZERO;
    let lab = Lab::with(&[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])], |b| {
        b.limits(limits)
    });
    lab.who(CACHE).await;
    let work = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    swap_to(&lab, "b").await;
    assert!(work.is_retired());
    set(&lab.lifecycle, CACHE, Activity::Draining);
    assert_eq!(lab.lifecycle.in_flight(&scope(CACHE)), 1);
    assert!(!lab.lifecycle.is_drained(&scope(CACHE)));
    drop(work);
    assert!(lab.lifecycle.is_drained(&scope(CACHE)));
}

#[tokio::test]
async fn an_observer_may_ask_the_lifecycle_about_what_it_is_told() {
    let asks: Arc<Mutex<Option<Lifecycle>>> = Arc::default();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let observer = (Arc::clone(&asks), Arc::clone(&answers));
    let lab = Lab::with(&[(CACHE, "a", 0, &[])], |builder| {
        builder.observer(move |event: &SwapEvent| {
            let (asks, answers) = &observer;
            let lifecycle = asks.lock().unwrap().clone();
            if let (Some(lifecycle), Happening::Drained { scope }) = (lifecycle, &event.what) {
                let status = lifecycle.status(&event.slot).unwrap();
                answers
                    .lock()
                    .unwrap()
                    .push((status.in_flight, lifecycle.in_flight(scope)));
                // It may even resume it.
                lifecycle.set_activity(ActivityRule::resume(scope)).unwrap();
            }
        })
    });
    *asks.lock().unwrap() = Some(lab.lifecycle.clone());
    lab.who(CACHE).await;
    let work = lab.lifecycle.slot(&slot(CACHE)).lease().unwrap();
    set(&lab.lifecycle, CACHE, Activity::Draining);
    drop(work);
    assert_eq!(*answers.lock().unwrap(), [(0, 0)]);
    assert_eq!(asked(&lab, CACHE), "a");
    *asks.lock().unwrap() = None;
}

#[tokio::test]
async fn a_provider_that_is_built_while_its_pause_is_set_is_closed_when_it_serves() {
    let (lab, _) = pair();
    lab.who(CACHE).await;
    let (build, gate) = Act::gate();
    lab.book.script(
        "b",
        Script {
            build,
            ..Script::default()
        },
    );
    let swap = tokio::spawn({
        let lifecycle = lab.lifecycle.clone();
        async move {
            lifecycle
                .swap(SwapRequest::to_provider(slot(CACHE), provider("b")))
                .await
        }
    });
    let begun = Arc::clone(&lab.book.builds_begun);
    crate::support::until(|| begun.load(std::sync::atomic::Ordering::SeqCst) == 2).await;
    set(&lab.lifecycle, "adapter/cache:b", Activity::Paused);
    assert_eq!(asked(&lab, CACHE), "a");
    gate.add_permits(1);
    assert!(soon(swap).await.unwrap().unwrap().serves());
    assert_eq!(asked(&lab, CACHE), "paused by adapter/cache:b");
}
