//! An instance that is told something (of a dependency, of a pause) is not retired meanwhile, and one that does not
//! serve any more is told nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use oneiric_lifecycle::{ActivityRule, Happening, Stage, SwapEvent, SwapRequest};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Act, CACHE, Lab, Record, Script, policies, provider, slot, soon, until};

const WEB: &str = "service/web";
const CLOCK: &str = "service/clock";

/// `web` needs the cache and the clock, is told when they are exchanged, and could be `other`.
fn lab(script: Script) -> (Lab, Arc<Mutex<Vec<Stage>>>) {
    let warned = Arc::<Mutex<Vec<Stage>>>::default();
    let noted = Arc::clone(&warned);
    let candidates: &[(&str, &str, i64, &[&str])] = &[
        (WEB, "web", 2, &[CACHE, CLOCK]),
        (WEB, "other", 1, &[]),
        (CACHE, "mem", 0, &[]),
        (CLOCK, "sys", 0, &[]),
    ];
    let lab = Lab::with(candidates, |builder| {
        builder
            .slot_policies(policies(&[("*", json!({"on_dependency_change": "tell"}))]))
            .observer(move |event: &SwapEvent| {
                if let Happening::Warned { failure } = &event.what {
                    noted.lock().unwrap().push(failure.stage);
                }
            })
    });
    lab.book.script("web", script);
    (lab, warned)
}

fn only(lab: &Lab) -> Arc<Record> {
    let records = lab.book.records_of("web");
    assert_eq!(records.len(), 1);
    Arc::clone(&records[0])
}

/// Swaps to `other` and returns when that serves; the swap goes on.
async fn exchanged(lab: &Lab) -> tokio::task::JoinHandle<()> {
    let lifecycle = lab.lifecycle.clone();
    let swap = tokio::spawn(async move {
        let request = SwapRequest::to_provider(slot(WEB), provider("other"));
        let report = lifecycle.swap(request).await.unwrap();
        assert_eq!(report.warnings, []);
    });
    let serves = || {
        let active = lab.lifecycle.status(&slot(WEB)).unwrap().active;
        active.is_some_and(|active| active.provider == provider("other"))
    };
    until(serves).await;
    swap
}

async fn patiently() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_that_is_told_of_an_exchange_is_retired_afterwards_and_told_no_more() {
    for fails in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let told = match fails {
            false => Act::Wait(Arc::clone(&gate)),
            true => Act::FailAfter(Arc::clone(&gate)),
        };
        let (lab, warned) = lab(Script {
            told,
            ..Script::default()
        });
        lab.who(WEB).await;
        let record = only(&lab);
        // Both at once.
        lab.lifecycle
            .set_activity(ActivityRule::pause(slot(WEB)))
            .unwrap();
        for of in [CACHE, CLOCK] {
            let request = SwapRequest::to_winner(slot(of)).rebuild(true);
            soon(lab.lifecycle.swap(request)).await.unwrap();
        }
        lab.lifecycle
            .set_activity(ActivityRule::resume(slot(WEB)))
            .unwrap();
        until(|| lab.book.told().len() == 1).await;
        let swap = exchanged(&lab).await;
        patiently().await;
        assert_eq!(record.retired.load(Ordering::SeqCst), 0, "it is at work");
        gate.add_permits(2);
        soon(swap).await.unwrap();
        soon(lab.lifecycle.dependents_settled()).await;
        assert_eq!(lab.book.told().len(), 1, "{:?}", lab.book.told());
        assert!(!record.called_after_retirement.load(Ordering::SeqCst));
        let status = lab.lifecycle.status(&slot(WEB)).unwrap();
        assert!(status.last_error.is_none(), "{:?}", status.last_error);
        let stages = if fails {
            vec![Stage::DependencyChange]
        } else {
            vec![]
        };
        assert_eq!(*warned.lock().unwrap(), stages);
    }
}

#[tokio::test]
async fn one_that_is_told_of_a_pause_is_retired_afterwards() {
    for fails in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let pause = match fails {
            false => Act::Wait(Arc::clone(&gate)),
            true => Act::FailAfter(Arc::clone(&gate)),
        };
        let (lab, warned) = lab(Script {
            pausing: Some((pause, Act::Ok)),
            ..Script::default()
        });
        lab.who(WEB).await;
        let record = only(&lab);
        lab.lifecycle
            .set_activity(ActivityRule::pause(slot(WEB)))
            .unwrap();
        until(|| record.told.lock().unwrap().len() == 1).await;
        let swap = exchanged(&lab).await;
        patiently().await;
        assert_eq!(record.retired.load(Ordering::SeqCst), 0, "it is at work");
        gate.add_permits(1);
        soon(swap).await.unwrap();
        assert!(!record.called_after_retirement.load(Ordering::SeqCst));
        assert_eq!(*record.told.lock().unwrap(), ["pause", "done"]);
        let status = lab.lifecycle.status(&slot(WEB)).unwrap();
        assert!(status.last_error.is_none(), "{:?}", status.last_error);
        let stages = if fails { vec![Stage::Pause] } else { vec![] };
        assert_eq!(*warned.lock().unwrap(), stages);
    }
}
