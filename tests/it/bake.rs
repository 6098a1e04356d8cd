//! Swaps on trial through the real binary: one that passes, one that goes bad, one that somebody ends.

use std::process::Stdio;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Process, eventually};
use serde_json::Value;

/// `flaky` says that it is well and then fails each fifth call.
fn settings() -> String {
    CACHES.replace("probe = \"critical\"", "call = \"fail\"\ncall_each = 5")
}

fn status(process: &Process) -> Value {
    let words = ["status", "adapter/cache", "--json"];
    process.oneiric(&words).json()["slots"][0].clone()
}

fn serving(process: &Process) -> Value {
    status(process)["active"]["provider"].clone()
}

/// Whether what serves is on trial now.
fn is_on_trial(process: &Process) -> bool {
    let bake = &status(process)["bake"];
    bake.is_object() && bake["ended"].is_null()
}

fn get(process: &Process) -> bool {
    let words = ["call", "adapter/cache", "get", r#"{"key": "k"}"#];
    process.oneiric(&words).code == Some(0)
}

#[test]
fn a_trial_that_passes_is_a_swap_that_says_so() {
    let process = Process::start(&settings());
    let words = ["swap", "adapter/cache", "file", "--bake", "300ms"];
    let answer = process.oneiric(&words);
    assert!(
        answer
            .stderr
            .contains("adapter/cache: file on trial, memory kept warm"),
        "{}",
        answer.stderr
    );
    let said = answer.ok();
    assert!(
        said.contains("\ntrial passed: 0 calls, 0 failed\n"),
        "{said}"
    );
    assert_eq!(serving(&process), "file");
    let said = process.oneiric(&["status", "adapter/cache"]).ok();
    assert!(
        said.contains("bake        file (instance 3) trial passed: 0 calls, 0 failed"),
        "{said}"
    );
}

#[test]
fn a_candidate_that_passes_its_probe_and_fails_a_fifth_of_its_calls_is_swung_back() {
    let process = Process::start(&settings());
    for _ in 0..3 {
        assert!(get(&process));
    }
    let mut swap = process.place().command(oneiric_tests::binary::path());
    swap.args(["swap", "adapter/cache", "flaky", "--bake", "1h", "--json"]);
    swap.stdout(Stdio::piped()).stderr(Stdio::piped());
    let swap = swap.spawn().unwrap();
    eventually("the trial begins", || is_on_trial(&process));
    assert_eq!(serving(&process), "flaky");
    let failed = (0..20).filter(|_| !get(&process)).count();
    assert_eq!(failed, 4);
    let answer = swap.wait_with_output().unwrap();
    assert_eq!(answer.status.code(), Some(7));
    let error: Value = serde_json::from_slice(&answer.stderr).unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("adapter/cache was swung back from flaky to memory: 20.0 % of 20 calls on flaky failed, 0.0 % of 3 before it"),
        "{message}"
    );
    assert_eq!(error["code"], "lifecycle.bake_failed");
    assert_eq!(error["details"]["report"]["outcome"], "swung_back");
    assert_eq!(error["details"]["report"]["bake"]["calls"]["failed"], 4);
    // The selection goes back with the instance.
    assert_eq!(serving(&process), "memory");
    eventually("the selection is taken back", || {
        let said = process.oneiric(&["history", "adapter/cache"]).ok();
        said.contains("revision 1 was swung back")
    });
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(!said.contains("an operator selected"), "{said}");
    assert!(get(&process));
}

/// The selection is on the disk before anybody can see the good one serve again, however long the bad one takes to go.
#[test]
fn whoever_ends_the_process_right_after_the_swing_back_finds_the_good_one_when_it_is_up_again() {
    for signal in ["KILL", "TERM"] {
        let behaves = "call_each = 5\nretire = \"hang\"";
        let settings = settings().replace("call_each = 5", behaves);
        let process = Process::start(&format!("run.grace_ms = 500\n{settings}"));
        let words = ["swap", "adapter/cache", "flaky", "--bake", "1h", "--json"];
        let mut swap = process.place().command(oneiric_tests::binary::path());
        swap.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        let mut swap = swap.spawn().unwrap();
        eventually("the trial begins", || is_on_trial(&process));
        assert_eq!((0..20).filter(|_| !get(&process)).count(), 4);
        eventually("the good one serves", || serving(&process) == "memory");
        process.signal(signal);
        let place = process.into_place();
        swap.wait().unwrap();

        let process = Process::start_in(place, &["run"]);
        assert_eq!(serving(&process), "memory", "{signal}");
        let said = process.oneiric(&["history", "adapter/cache"]).ok();
        assert!(said.contains("revision 1 was swung back"), "{said}");
    }
}

#[test]
fn whoever_stops_looking_leaves_the_trial_alone_and_a_swap_back_builds_nothing() {
    let process = Process::start(&settings());
    let mut swap = process.place().command(oneiric_tests::binary::path());
    swap.args(["swap", "adapter/cache", "file", "--bake", "1h"]);
    swap.stdout(Stdio::piped()).stderr(Stdio::piped());
    let swap = swap.spawn().unwrap();
    eventually("the trial begins", || is_on_trial(&process));
    let before = status(&process)["bake"]["warm_instance"].clone();
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &swap.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let answer = swap.wait_with_output().unwrap();
    assert_eq!(answer.status.code(), Some(8), "{answer:?}");
    let said = String::from_utf8(answer.stderr).unwrap();
    assert!(
        said.contains("interrupted; the trial of file goes on"),
        "{said}"
    );
    assert!(is_on_trial(&process));
    process.oneiric(&["swap", "adapter/cache", "memory"]).ok();
    assert_eq!(status(&process)["active"]["instance"], before);
    // Whoever watches over the trial says how it ended, and the swap does not wait for that.
    eventually("the trial ends", || {
        status(&process)["bake"]["ended"] == "superseded"
    });
}

#[test]
fn settings_say_which_slots_bake() {
    let policy = "\n[slots.\"adapter/*\"]\nbake_ms = 3600000\n";
    let process = Process::start(&format!("{}{policy}", settings()));
    let swap = ["swap", "adapter/cache", "file", "--bake", "0s"];
    process.oneiric(&swap).ok();
    assert!(!is_on_trial(&process), "asked for otherwise");
    // What a reload exchanges bakes too, and the reload does not wait for it.
    let changed = settings().replace("directory = \"entries\"", "directory = \"others\"");
    process
        .place()
        .write("oneiric.toml", &format!("{changed}{policy}"));
    process.oneiric(&["reload"]).ok();
    eventually("the trial begins", || is_on_trial(&process));
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}
