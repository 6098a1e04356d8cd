//! What is known of work that a swap or an operator waits for.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_lifecycle::{
    ActivityScope, Happening, Held, Payload, SwapEvent, SwapReport, SwapRequest,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{Act, CACHE, Lab, Script, provider, slot, until};

/// What an observer hears of drains.
type Heard = Arc<Mutex<Vec<(&'static str, Held)>>>;

fn lab() -> (Lab, Heard) {
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    let candidates: &[(&str, &str, i64, &[&str])] = &[(CACHE, "a", 2, &[]), (CACHE, "b", 1, &[])];
    let lab = Lab::with(candidates, |builder| {
        builder.observer(move |event: &SwapEvent| match &event.what {
            Happening::Draining { held, .. } => {
                hears.lock().unwrap().push(("draining", held.clone()));
            }
            Happening::DrainAbandoned { held, .. } => {
                hears.lock().unwrap().push(("abandoned", held.clone()));
            }
            _ => {}
        })
    });
    let call = Act::Hang;
    lab.book.script(
        "a",
        Script {
            call,
            ..Script::default()
        },
    );
    (lab, heard)
}

fn swap(lab: &Lab) -> JoinHandle<SwapReport> {
    let lifecycle = lab.lifecycle.clone();
    let request = SwapRequest::to_provider(slot(CACHE), provider("b"));
    tokio::spawn(async move { lifecycle.swap(request).await.unwrap() })
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn what_held_a_drain_past_its_deadline_is_named_with_its_age() {
    let (lab, heard) = lab();
    let ready = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let noted = ready.noted("report", Some("uid:7"));
    tokio::time::advance(secs(12)).await;
    let hangs = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let hangs = tokio::spawn(async move { hangs.invoke("who", Payload::empty()).await });
    until(|| lab.book.records_of("a")[0].calls.load(SeqCst) == 1).await;
    tokio::time::advance(secs(3)).await;
    let unknown = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let scope = ActivityScope::from(slot(CACHE));
    assert_eq!(lab.lifecycle.oldest_work(&scope), Some(secs(15)));

    let swap = swap(&lab);
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let status = lab.lifecycle.status(&slot(CACHE)).unwrap();
    assert_eq!(status.draining[0].in_flight, 3);
    let oldest = status.draining[0].oldest_lease.unwrap();
    assert!(oldest >= secs(25) && oldest < secs(26), "{oldest:?}");
    assert!(heard.lock().unwrap().len() <= 10, "about one each second");

    let report = swap.await.unwrap();
    assert_eq!(report.warnings.len(), 1);
    assert_eq!(report.warnings[0].code, "lifecycle.drain_abandoned");
    let message = &report.warnings[0].message;
    assert!(
        message.starts_with("3 calls were not done in time on a (instance 1): report by uid:7 for 45 s, who for 33 s")
            && message.ends_with(" and 1 more"),
        "{message}"
    );
    let (what, held) = heard.lock().unwrap().pop().unwrap();
    assert_eq!((what, held.in_flight, held.unknown), ("abandoned", 3, 1));
    let held = serde_json::to_value(&held).unwrap();
    assert_eq!(held["work"][0]["operation"], "report");
    assert_eq!(held["work"][0]["who"], "uid:7");
    assert!(
        held["oldest_lease_ms"].as_u64().unwrap() >= 45_000,
        "{held}"
    );
    assert!(hangs.await.unwrap().is_err());
    drop((noted, unknown));
    assert_eq!(lab.lifecycle.oldest_work(&scope), None);
}

#[tokio::test(start_paused = true)]
async fn a_drain_says_how_it_goes_and_that_it_is_over() {
    let (lab, heard) = lab();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let swap = swap(&lab);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    drop(lease);
    assert!(swap.await.unwrap().warnings.is_empty());
    let heard = heard.lock().unwrap().clone();
    let counts: Vec<_> = heard
        .iter()
        .map(|(what, held)| (*what, held.in_flight))
        .collect();
    assert_eq!(counts, [("draining", 1), ("draining", 1), ("draining", 0)]);
    // Nothing is known of a lease but that it was taken before the swap.
    assert_eq!(heard[1].1.oldest.as_secs(), 2);
    assert_eq!(heard[1].1.unknown, 1);
    assert_eq!(heard[2].1.oldest, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_over_at_once_says_nothing() {
    let (lab, heard) = lab();
    drop(lab.lifecycle.lease(&slot(CACHE)).await.unwrap());
    swap(&lab).await.unwrap();
    assert_eq!(heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_event_reads_flat() {
    let (lab, _) = lab();
    let mut events = lab.lifecycle.events();
    let lease = lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
    let lease = lease.noted("get", None);
    let mut limits = lab.lifecycle.limits();
    limits.drain = Duration::from_millis(1);
    lab.lifecycle.set_limits(limits);
    swap(&lab).await.unwrap();
    drop(lease);
    let abandoned = loop {
        let Some(oneiric_lifecycle::Streamed::Event(event)) = events.next().await else {
            panic!("no such event");
        };
        let event = serde_json::to_value(&*event).unwrap();
        if event["event"] == "drain_abandoned" {
            break event;
        }
    };
    assert_eq!(abandoned["in_flight"], json!(1));
    assert_eq!(abandoned["work"][0]["operation"], "get");
    assert_eq!(abandoned["unknown"], 0);
}
