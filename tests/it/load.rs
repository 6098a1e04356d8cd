//! A swap under load loses nothing: clients that call without pause through the real socket, while
//! the slot is swapped again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oneiric_runtime::Client;
use oneiric_runtime::api::{CallRequest, SwapRequestDoc};
use oneiric_tests::Process;
use oneiric_tests::settings::CACHES;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const CALLERS: usize = 8;
const SWAPS: usize = 200;

/// Clients that call without pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Calls>>,
}

/// What became of calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) made: u64,
    /// Code and message of each that failed.
    pub(crate) failed: Vec<String>,
    /// When the last of them was begun.
    pub(crate) last_failed: Option<Instant>,
}

impl Load {
    /// Begins to call. Must be called within a runtime.
    pub(crate) fn begin(socket: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS)
            .map(|caller| {
                let (socket, stop) = (socket.to_owned(), Arc::clone(&stop));
                tokio::spawn(async move { call_without_pause(&socket, caller, &stop).await })
            })
            .collect();
        Self { stop, callers }
    }

    /// Lets the calls under way end, and makes no more.
    pub(crate) async fn end(self) -> Calls {
        self.stop.store(true, Ordering::Release);
        let mut all = Calls::default();
        for caller in self.callers {
            let calls = caller.await.unwrap();
            all.made += calls.made;
            all.failed.extend(calls.failed);
            all.last_failed = all.last_failed.max(calls.last_failed);
        }
        all
    }
}

impl Calls {
    /// # Panics
    /// When one failed, or there were hardly any.
    #[track_caller]
    pub(crate) fn all_succeeded(&self) {
        assert!(
            self.failed.is_empty(),
            "{} of {} calls failed: {:?}",
            self.failed.len(),
            self.made,
            self.failed.first()
        );
        assert!(
            self.made > CALLERS as u64,
            "{} calls are no load",
            self.made
        );
    }
}

/// Calls until told to stop.
async fn call_without_pause(socket: &Path, caller: usize, stop: &AtomicBool) -> Calls {
    let mut client = Client::connect(socket).await.unwrap();
    let mut calls = Calls::default();
    while !stop.load(Ordering::Acquire) {
        let (operation, input) = if calls.made % 2 == 0 {
            (
                "put",
                json!({"key": format!("caller-{caller}"), "value": calls.made.to_string()}),
            )
        } else {
            ("get", json!({"key": format!("caller-{caller}")}))
        };
        let slot = "adapter/cache".parse().unwrap();
        let request = CallRequest {
            slot,
            operation: operation.to_owned(),
            input,
        };
        let begun = Instant::now();
        if let Err(error) = client.call(&request).await {
            calls.last_failed = Some(begun);
            calls.failed.push(format!("{} {error}", error.code()));
        }
        calls.made += 1;
    }
    calls
}

/// Swaps the cache to one after the other of `providers`, so many times.
pub(crate) async fn swap(socket: &Path, providers: &[&str], times: usize) {
    let mut client = Client::connect(socket).await.unwrap();
    for provider in providers.iter().cycle().take(times) {
        let slot = "adapter/cache".parse().unwrap();
        let request = SwapRequestDoc::to_provider(slot, provider.parse().unwrap());
        let reply = client.swap(&request).await.unwrap();
        assert_eq!(reply.json["report"]["outcome"], "swapped", "{}", reply.json);
    }
}

#[test]
fn p17_no_call_fails_while_200_swaps_are_made() {
    let process = Process::start(CACHES);
    let socket: PathBuf = process.place().socket();
    let calls = Runtime::new().unwrap().block_on(async {
        let load = Load::begin(&socket);
        swap(&socket, &["file", "memory"], SWAPS).await;
        load.end().await
    });
    calls.all_succeeded();

    let slot = process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json()["slots"][0]
        .clone();
    assert_eq!(slot["swaps"]["swapped"], SWAPS, "{slot}");
    assert_eq!(
        slot["swaps"]["retired"], SWAPS,
        "every old instance once: {slot}"
    );
    assert_eq!(slot["calls"]["succeeded"], calls.made, "{slot}");
    assert_eq!(slot["calls"]["failed"], 0, "{slot}");
    assert_eq!(slot.get("draining"), None, "{slot}");
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}
