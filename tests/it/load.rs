//! A swap under load loses nothing: clients that call without pause through the real socket, while
//! the slot is swapped again and again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use oneiric_runtime::Client;
use oneiric_runtime::api::{CallRequest, SwapRequestDoc};
use oneiric_tests::Process;
use oneiric_tests::settings::CACHES;
use serde_json::json;
use tokio::runtime::Runtime;

const CALLERS: usize = 8;
const SWAPS: u64 = 200;

/// Calls until told to stop; gives how many calls it made and what failed.
async fn call_without_pause(socket: &Path, caller: usize, stop: &AtomicBool) -> (u64, Vec<String>) {
    let mut client = Client::connect(socket).await.unwrap();
    let (mut made, mut failed) = (0, Vec::new());
    while !stop.load(Ordering::Acquire) {
        let (operation, input) = if made % 2 == 0 {
            (
                "put",
                json!({"key": format!("caller-{caller}"), "value": made.to_string()}),
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
        if let Err(error) = client.call(&request).await {
            failed.push(format!("{} {error}", error.code()));
        }
        made += 1;
    }
    (made, failed)
}

async fn swap(socket: &Path, times: u64) {
    let mut client = Client::connect(socket).await.unwrap();
    for turn in 0..times {
        let provider = if turn % 2 == 0 { "file" } else { "memory" };
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
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let tokio = Runtime::new().unwrap();
    let (made, failed) = tokio.block_on(async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let socket = socket.clone();
                tokio::spawn(async move { call_without_pause(&socket, caller, stop).await })
            })
            .collect();
        swap(&socket, SWAPS).await;
        stop.store(true, Ordering::Release);
        let (mut made, mut failed) = (0, Vec::new());
        for caller in callers {
            let (calls, failures) = caller.await.unwrap();
            made += calls;
            failed.extend(failures);
        }
        (made, failed)
    });
    assert!(
        failed.is_empty(),
        "{} of {made} calls failed: {:?}",
        failed.len(),
        failed.first()
    );
    assert!(made > CALLERS as u64, "{made} calls are no load");

    let slot = process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json()["slots"][0]
        .clone();
    assert_eq!(slot["swaps"]["swapped"], SWAPS, "{slot}");
    assert_eq!(
        slot["swaps"]["retired"], SWAPS,
        "every old instance once: {slot}"
    );
    assert_eq!(slot["calls"]["succeeded"], made, "{slot}");
    assert_eq!(slot["calls"]["failed"], 0, "{slot}");
    assert_eq!(slot.get("draining"), None, "{slot}");
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}
