//! Settings that change under a running process: by hand, by signal, by themselves, under load, and broken in every way
//! in which a file on a disk can be.

use std::fs;
use std::os::unix::fs::symlink;

use oneiric_runtime::Client;
use oneiric_runtime::api::{ReloadOutcome, ReloadRequest};
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::load::Load;

const RELOADS: usize = 50;

/// With nobody watching, so that a test says when.
const BY_HAND: &str = "\n[reload]\nwatch = false\n";
/// With somebody watching who is quick.
const BY_ITSELF: &str = "\n[reload]\ndebounce_ms = 20\nretry_ms = 20\n";
const SELECT_FILE: &str = "\n[selections]\n\"adapter/cache\" = \"file\"\n";
const SELECT_FLAKY: &str = "\n[selections]\n\"adapter/cache\" = \"flaky\"\n";

fn status(process: &Process) -> Value {
    // Named, because commands look for it where the settings say, which cannot be read now and then.
    let socket = ["--socket", ".oneiric/admin.sock"];
    let words = [&["status", "--json"][..], &socket].concat();
    process.oneiric(&words).json()
}

fn serving(process: &Process) -> Value {
    status(process)["slots"][0]["active"]["provider"].clone()
}

#[test]
fn a_reload_says_what_it_did_would_do_and_why_not() {
    let settings = format!("{CACHES}{BY_HAND}");
    let process = Process::start(&settings);
    let write = |more: &str| {
        process
            .place()
            .write("oneiric.toml", &format!("{settings}{more}"));
    };
    let said = process.oneiric(&["reload"]).ok();
    assert_eq!(said, "the settings say what they said before\n");

    write(SELECT_FILE);
    let said = process.oneiric(&["reload", "--dry-run"]).ok();
    assert_eq!(
        said,
        "would reload\n  adapter/cache: memory -> file (selection)\nnothing was changed\n"
    );
    assert_eq!(serving(&process), "memory");
    let said = process.oneiric(&["reload"]).ok();
    assert!(said.starts_with("settings reloaded ("), "{said}");
    assert!(
        said.ends_with("\n  adapter/cache: memory -> file (selection)\n"),
        "{said}"
    );
    assert_eq!(serving(&process), "file");

    write(&format!(
        "{SELECT_FILE}[run]\ngrace_ms = 7\n[admin]\nmax_connections = 65\n"
    ));
    let said = process.oneiric(&["reload"]).failed(3);
    assert!(
        said.contains("admin.max_connections: 64 -> 65 (oneiric.toml:"),
        "{said}"
    );
    assert!(said.contains("(runtime.reload_refused)"), "{said}");
    assert!(said.contains("hint: restart the process"), "{said}");

    write(SELECT_FLAKY);
    let document = process.oneiric(&["reload", "--json"]).failed_json(7);
    assert_eq!(document["code"], "runtime.reload_restored");
    assert_eq!(document["details"]["outcome"], "restored");
    assert_eq!(
        document["details"]["failed"]["code"],
        "lifecycle.probe_failed"
    );
    assert_eq!(serving(&process), "file");
    let said = process.oneiric(&["status"]).ok();
    assert!(
        said.contains("the files as they are now are refused"),
        "{said}"
    );

    write(SELECT_FILE);
    process.oneiric(&["reload"]).ok();
    let said = process.oneiric(&["status"]).ok();
    assert!(!said.contains("refused"), "{said}");
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_hangup_reads_the_settings_again() {
    let settings = format!("{CACHES}{BY_HAND}");
    let place = Place::with(&settings);
    let process = Process::start_with(place, &["run"], &[("ONEIRIC_LOG", "info")]);
    process
        .place()
        .write("oneiric.toml", &format!("{settings}{SELECT_FILE}"));
    process.signal("HUP");
    process.wait_for_line("settings reloaded");
    assert_eq!(serving(&process), "file");
}

#[test]
fn p81_a_file_that_is_half_written_then_unreadable_then_good_is_never_lost() {
    let settings = format!("{CACHES}{BY_ITSELF}");
    let place = Place::with(&settings);
    let process = Process::start_with(place, &["run"], &[("ONEIRIC_LOG", "info")]);
    let file = process.place().path().join("oneiric.toml");
    let refused = |code: &str| {
        oneiric_tests::eventually(code, || {
            status(&process)["process"]["settings"]["refused"]["code"] == code
        });
        assert_eq!(serving(&process), "memory");
    };

    let half = settings.split_at(settings.len() / 2).0;
    process.place().write("oneiric.toml", half);
    process.wait_for_line("settings not reloaded");
    refused("runtime.settings_invalid");
    oneiric_tests::eventually("it is tried again", || {
        let now = &status(&process)["process"]["settings"]["refused"]["attempts"];
        now.as_u64().is_some_and(|attempts| attempts > 3)
    });
    let said = process.stderr();
    assert_eq!(said.matches("settings not reloaded").count(), 1, "{said}");

    // For root every file is readable; a directory in its place is not, for anybody.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("runtime.settings_unreadable");
    fs::remove_dir(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    refused("runtime.settings_not_found");

    fs::remove_file(&file).unwrap();
    process
        .place()
        .write("oneiric.toml", &format!("{settings}{SELECT_FILE}"));
    process.wait_for_line("settings reloaded");
    oneiric_tests::eventually("the file's cache serves", || serving(&process) == "file");
    assert_eq!(status(&process)["process"]["settings"].get("refused"), None);
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn no_call_fails_while_50_reloads_exchange_settings_and_selection() {
    let settings = format!("{CACHES}{BY_HAND}");
    let process = Process::start(&settings);
    let socket = process.place().socket();
    let calls = Runtime::new().unwrap().block_on(async {
        let load = Load::begin(&socket);
        let mut client = Client::connect(&socket).await.unwrap();
        for turn in 1..=RELOADS {
            let select = if turn % 3 == 0 { SELECT_FILE } else { "" };
            let size = 1_000 + turn;
            let memory = format!("[providers.\"adapter/cache\".memory]\nmax_entries = {size}\n");
            process
                .place()
                .write("oneiric.toml", &format!("{settings}{memory}{select}"));
            let reply = client.reload(&ReloadRequest::default()).await.unwrap();
            assert_eq!(reply.doc.outcome, ReloadOutcome::Applied, "{}", reply.json);
        }
        load.end().await
    });
    calls.all_succeeded();
    let slot = status(&process)["slots"][0].clone();
    assert_eq!(slot["calls"]["failed"], 0, "{slot}");
    assert_eq!(slot["swaps"]["rolled_back"], 0, "{slot}");
    assert_eq!(slot["swaps"]["retired"], slot["swaps"]["swapped"], "{slot}");
    let (code, said) = process.stop();
    assert_eq!(code, Some(0), "{said}");
}
