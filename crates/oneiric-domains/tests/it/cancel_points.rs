//! The bridge's async functions, dropped at every point at which they wait; see `docs/spec/cancel-safety.md`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use oneiric_core::{Key, Slot};
use oneiric_domains::{Adapters, Cache, cache_instance};
use oneiric_lifecycle::{Instance, Lifecycle, Payload};

use crate::support::{Make, Map, Wrong, lifecycle};

fn map() -> Instance {
    cache_instance(Arc::new(Map::default()))
}

fn hanging() -> Instance {
    cache_instance(Arc::new(Wrong::Hanging))
}

fn program(make: Make) -> (Lifecycle, Adapters, Key) {
    let lifecycle = lifecycle(&[("adapter/cache", "map", make)]).build();
    let adapters = Adapters::new(lifecycle.clone());
    (lifecycle, adapters, "cache".parse().unwrap())
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

/// Nobody is counted who is not there, the slot can be used, and it goes down cleanly.
async fn whole(lifecycle: &Lifecycle, adapters: &Adapters, key: &Key) {
    let slot: Slot = "adapter/cache".parse().unwrap();
    drop(adapters.lease::<dyn Cache>(key).await.unwrap());
    assert_eq!(lifecycle.status(&slot).unwrap().in_flight, 0);
    assert_eq!(lifecycle.status(&slot).unwrap().swaps.activated, 1);
    let report = lifecycle.shutdown(Duration::from_secs(60)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.retired, [slot]);
}

#[tokio::test]
async fn p13_a_lease_through_a_bridge_can_be_dropped_wherever_it_waits() {
    // "Bridge::lease"
    for polls in 0.. {
        let (lifecycle, adapters, key) = program(map);
        let lease = async {
            drop(adapters.lease::<dyn Cache>(&key).await.unwrap());
        };
        let ended = polled(polls, lease).await;
        whole(&lifecycle, &adapters, &key).await;
        if ended {
            break;
        }
    }
}

#[tokio::test]
async fn p13_a_call_through_a_bridge_can_be_dropped_wherever_it_waits() {
    // "Bridge::invoke"
    let get = || Payload::json(&"a").unwrap();
    for polls in 0.. {
        let (lifecycle, adapters, key) = program(map);
        let call = async {
            drop(adapters.invoke(&key, "get", get()).await.unwrap());
        };
        let ended = polled(polls, call).await;
        whole(&lifecycle, &adapters, &key).await;
        if ended {
            break;
        }
    }
    // In the component itself.
    let (lifecycle, adapters, key) = program(hanging);
    drop(adapters.lease::<dyn Cache>(&key).await.unwrap());
    let call = async {
        drop(adapters.invoke(&key, "get", get()).await);
    };
    assert!(!polled(1, call).await);
    let calls = lifecycle.status(&"adapter/cache".parse().unwrap()).unwrap();
    assert_eq!((calls.calls.succeeded, calls.calls.failed), (0, 0));
    whole(&lifecycle, &adapters, &key).await;
}
