//! The components under a lifecycle: exchanged while they are called.

use std::sync::Arc;

use bytes::Bytes;
use oneiric_builtins::{FILE_CACHE, FLAKY_CACHE, MEMORY_CACHE};
use oneiric_domains::{Adapters, Cache};
use oneiric_lifecycle::{Lifecycle, Outcome, SwapRequest};
use serde_json::{Value, json};

use crate::support::{lifecycle, slot};

fn three(directory: &std::path::Path) -> Lifecycle {
    lifecycle(&[
        ("memory", MEMORY_CACHE, Value::Null),
        ("file", FILE_CACHE, json!({"directory": directory})),
        ("flaky", FLAKY_CACHE, json!({"probe": "critical"})),
    ])
    .build()
}

fn to(provider: &str) -> SwapRequest {
    SwapRequest::to_provider(slot(), provider.parse().unwrap())
}

#[tokio::test]
async fn a_consumer_follows_from_memory_to_files_and_never_to_the_flaky_one() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = three(directory.path());
    let adapters = Adapters::new(lifecycle.clone());
    let cache: Arc<dyn Cache> = Arc::new(adapters.live::<dyn Cache>(slot().key()));

    cache
        .put("a", Bytes::from_static(b"in memory"), None)
        .await
        .unwrap();
    let report = lifecycle.swap(to("file")).await.unwrap();
    assert!(matches!(report.outcome, Outcome::Swapped), "{report:?}");
    assert_eq!(
        cache.get("a").await.unwrap(),
        None,
        "files are another place"
    );
    cache
        .put("a", Bytes::from_static(b"in files"), None)
        .await
        .unwrap();

    let report = lifecycle.swap(to("flaky")).await.unwrap();
    assert!(
        matches!(report.outcome, Outcome::RolledBack { .. }),
        "{report:?}"
    );
    assert_eq!(cache.get("a").await.unwrap().unwrap(), "in files");
}

#[tokio::test]
async fn a_rebuilt_file_cache_has_what_the_old_one_wrote_last() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = three(directory.path());
    let cache = lifecycle.live::<dyn Cache>(&slot());
    lifecycle.swap(to("file")).await.unwrap();
    for round in 0..5_u8 {
        cache
            .put("round", Bytes::from(vec![round]), None)
            .await
            .unwrap();
        lifecycle.swap(to("file").rebuild(true)).await.unwrap();
        assert_eq!(
            cache.get("round").await.unwrap().unwrap(),
            [round].as_slice()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p17_calls_on_a_file_cache_never_fail_while_it_is_exchanged() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = three(directory.path());
    lifecycle.activate(&slot()).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (cache, stopped) = (lifecycle.live::<dyn Cache>(&slot()), stopped.clone());
            tokio::spawn(async move {
                let key = format!("caller {caller}");
                let mut calls = 0_u32;
                while !*stopped.borrow() {
                    cache
                        .put(&key, Bytes::from_static(b"1"), None)
                        .await
                        .unwrap();
                    cache.get(&key).await.unwrap();
                    calls += 2;
                }
                calls
            })
        })
        .collect();
    for round in 0..40 {
        let provider = if round % 2 == 0 { "file" } else { "memory" };
        let report = lifecycle.swap(to(provider)).await.unwrap();
        assert!(matches!(report.outcome, Outcome::Swapped), "{report:?}");
        assert!(report.warnings.is_empty(), "{report:?}");
    }
    stop.send(true).unwrap();
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
}
