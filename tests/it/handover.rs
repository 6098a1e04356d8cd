//! State that survives a swap, through the real binary: a cache in memory hands its entries to one in files, and back.

use oneiric_runtime::Client;
use oneiric_runtime::api::{CallRequest, SwapRequestDoc};
use oneiric_tests::Process;
use oneiric_tests::settings::CACHES;
use serde_json::{Value, json};

use crate::load::Load;

/// Far beyond any machine's slowness.
const PATIENT: &str =
    "\n[slots.\"adapter/cache\"]\nhandover = \"abort\"\nhandover_block_ms = 60000\n";

const KEYS: usize = 200;

async fn call(client: &mut Client, operation: &str, input: Value) -> Value {
    let request = CallRequest {
        slot: "adapter/cache".parse().unwrap(),
        operation: operation.to_owned(),
        input,
    };
    client.call(&request).await.unwrap().json["output"].clone()
}

async fn fill(process: &Process) {
    let mut client = Client::connect(&process.place().socket()).await.unwrap();
    for key in 0..KEYS {
        let (key, value) = (format!("kept-{key}"), format!("value {key}"));
        call(&mut client, "put", json!({"key": key, "value": value})).await;
    }
}

async fn is_full(process: &Process) {
    let mut client = Client::connect(&process.place().socket()).await.unwrap();
    for key in 0..KEYS {
        let got = call(&mut client, "get", json!({"key": format!("kept-{key}")})).await;
        assert_eq!(got, format!("value {key}"), "kept-{key}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn entries_survive_a_swap_from_memory_to_files_and_the_answer_says_so() {
    let process = Process::start(&format!("{CACHES}{PATIENT}"));
    let runtime = runtime();
    runtime.block_on(fill(&process));
    let said = process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    assert!(said.contains("\nstate handed over: "), "{said}");
    runtime.block_on(is_full(&process));
    let report = process
        .oneiric(&["swap", "adapter/cache", "memory", "--json"])
        .json();
    let handover = &report["report"]["handover"];
    assert_eq!(handover["handed_over"], true, "{report}");
    assert_eq!(handover["format"], "oneiric.cache/1");
    runtime.block_on(is_full(&process));
}

#[test]
fn under_load_no_call_fails_while_state_goes_to_and_fro() {
    let process = Process::start(&format!("{CACHES}{PATIENT}"));
    let socket = process.place().socket();
    let calls = runtime().block_on(async {
        fill(&process).await;
        let load = Load::begin(&socket);
        let mut client = Client::connect(&socket).await.unwrap();
        for provider in ["file", "memory"].iter().cycle().take(10) {
            let slot = "adapter/cache".parse().unwrap();
            let request = SwapRequestDoc::to_provider(slot, provider.parse().unwrap());
            let doc = client.swap(&request).await.unwrap().doc;
            let handover = doc.report.unwrap().handover.unwrap();
            assert!(handover.handed_over, "{handover:?}");
        }
        let calls = load.end().await;
        is_full(&process).await;
        calls
    });
    calls.all_succeeded();
}

#[test]
fn a_state_larger_than_the_limit_keeps_the_old_one_in_service_and_is_named() {
    let process = Process::start(&format!("{CACHES}{PATIENT}handover_max_bytes = 100\n"));
    runtime().block_on(fill(&process));
    let said = process
        .oneiric(&["swap", "adapter/cache", "file"])
        .failed(7);
    assert!(said.contains("lifecycle.handover_too_large"), "{said}");
    runtime().block_on(is_full(&process));
    let status = process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json();
    assert_eq!(status["slots"][0]["active"]["provider"], "memory");
}
