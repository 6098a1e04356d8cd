//! Swaps through the real binary: done, undone, forced, planned, taken back, and many at once.

use oneiric_tests::Process;
use oneiric_tests::settings::CACHES;
use serde_json::Value;

/// Who serves the cache now.
fn serving(process: &Process) -> Value {
    status(process)["active"]["provider"].clone()
}

fn status(process: &Process) -> Value {
    process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json()["slots"][0]
        .clone()
}

#[test]
fn a_swap_is_done_selected_and_recorded() {
    let process = Process::start(CACHES);
    let words = [
        "swap",
        "adapter/cache",
        "file",
        "--reason",
        "memory is full",
    ];
    let said = process.oneiric(&words).ok();
    assert!(
        said.starts_with("adapter/cache: memory -> file ("),
        "{said}"
    );
    assert!(said.ends_with("), selection revision 1\n"), "{said}");
    assert_eq!(serving(&process), "file");
    let said = process.oneiric(&["status", "adapter/cache"]).ok();
    assert!(said.contains("file, revision 1, by uid:"), "{said}");
    assert!(said.contains(": memory is full\n"), "{said}");
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(said.contains("an operator selected 'file'"), "{said}");

    let said = process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    assert!(
        said.starts_with("adapter/cache: file serves already"),
        "{said}"
    );

    let said = process.oneiric(&["swap", "adapter/cache", "--clear"]).ok();
    assert!(
        said.starts_with("adapter/cache: file -> memory ("),
        "{said}"
    );
    assert!(said.contains("selection taken back"), "{said}");
    assert_eq!(serving(&process), "memory");
}

#[test]
fn a_swap_that_fails_is_rolled_back_with_stage_reason_and_exit_7() {
    let process = Process::start(CACHES);
    process
        .oneiric(&["call", "adapter/cache", "put", "key=a", "value=1"])
        .ok();
    let said = process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    let expected = "\
error: swap of adapter/cache to flaky was rolled back at probe: critical: told to fail by its \
settings (lifecycle.probe_failed)

hint: memory still serves adapter/cache
";
    assert_eq!(said, expected);

    let document = process
        .oneiric(&["swap", "adapter/cache", "flaky", "--json"])
        .failed_json(7);
    assert_eq!(document["schema"], "oneiric.error/1");
    assert_eq!(document["code"], "lifecycle.probe_failed");
    assert_eq!(document["kind"], "rolled_back");
    let report = &document["details"]["report"];
    assert_eq!(
        (&report["from"], &report["to"]),
        (&"memory".into(), &"flaky".into())
    );
    assert_eq!(report["failure"]["stage"], "probe");

    // What served before serves on, with what it held, and nothing was selected.
    assert_eq!(
        process
            .oneiric(&["call", "adapter/cache", "get", "key=a"])
            .ok(),
        "\"1\"\n"
    );
    let slot = status(&process);
    assert_eq!(
        (&slot["state"], &slot["winner"]),
        (&"active".into(), &"memory".into())
    );
    assert_eq!(slot["last_error"]["stage"], "probe");
    assert_eq!(slot["swaps"]["rolled_back"], 2);
    let selections = &process.oneiric(&["status", "--json"]).json()["selections"];
    assert_eq!(selections.as_array().map(Vec::len), Some(0));
}

#[test]
fn p18_a_rejected_instance_does_not_make_the_slot_look_unwell() {
    let process = Process::start(CACHES);
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    let said = process.oneiric(&["health"]).ok();
    assert!(!said.contains("critical"), "{said}");
}

#[test]
fn p15_force_skips_a_failing_probe_and_status_says_so() {
    let process = Process::start(CACHES);
    let said = process
        .oneiric(&["swap", "adapter/cache", "flaky", "--force", "--yes"])
        .ok();
    assert!(
        said.starts_with("adapter/cache: memory -> flaky ("),
        "{said}"
    );
    assert!(said.contains("forced past: probe: critical"), "{said}");
    let said = process.oneiric(&["status"]).ok();
    assert!(
        said.contains("adapter/cache: was forced past probe: critical"),
        "{said}"
    );
    // And a check of its health is not fooled.
    let answer = process.oneiric(&["health", "--probe"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(
        answer.stdout.contains("critical: told to fail"),
        "{answer:?}"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let process = Process::start(CACHES);
    let before = status(&process);
    let said = process
        .oneiric(&["swap", "adapter/cache", "file", "--dry-run"])
        .ok();
    assert!(said.contains("would swap memory -> file"), "{said}");
    assert!(
        said.contains("builds      oneiric.builtins:file_cache"),
        "{said}"
    );
    let after = status(&process);
    for field in ["active", "swaps", "winner", "state"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert!(!process.place().path().join("entries").exists());
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_no_name_is_said() {
    let process = Process::start(CACHES);
    for (words, exit, code) in [
        (
            &["swap", "adapter/cache", "redis"][..],
            4,
            "runtime.provider_unknown",
        ),
        (&["swap", "adapter/cash", "file"], 4, "core.no_candidate"),
        (&["list", "Adapter"], 2, "core.invalid_name"),
        (&["call", "adapter/cash", "get"], 4, "core.no_candidate"),
        (
            &["call", "adapter/cache", "got"],
            4,
            "lifecycle.unknown_operation",
        ),
        (
            &["call", "adapter/cache", "get", "7"],
            2,
            "lifecycle.invalid_payload",
        ),
        (
            &["call", "adapter/cache", "get", "a"],
            2,
            "cli.invalid_input",
        ),
        (&["explain", "cache"], 2, "core.invalid_slot"),
        (&["explain", "adapter/ca che"], 2, "core.invalid_slot"),
        (&["swap", "adapter/cache", "fi le"], 2, "core.invalid_name"),
        (
            &["explain", "adapter/cache", "--what-if", "up=file"],
            2,
            "core.invalid_change",
        ),
        (
            &["explain", "adapter/cache", "--what-if", "down=redis"],
            2,
            "core.invalid_change",
        ),
        (&["status", "adapter/cash"], 4, "core.no_candidate"),
    ] {
        let said = process.oneiric(words);
        assert_eq!(said.code, Some(exit), "{words:?}: {said:?}");
        assert!(
            said.stderr.contains(&format!("({code})")),
            "{words:?}: {}",
            said.stderr
        );
        let document = process
            .oneiric(&[words, &["--json"]].concat())
            .failed_json(exit);
        assert_eq!(document["code"], code, "{words:?}");
    }
    let said = process.oneiric(&["call", "adapter/cache", "gte"]).failed(4);
    assert!(said.starts_with("error: adapter/cache gte: "), "{said}");
    process
        .oneiric(&["call", "adapter/cache", "get", "key=a"])
        .ok();
}

#[test]
fn p10_swaps_from_many_terminals_queue() {
    let process = Process::start(CACHES);
    let providers = ["file", "memory"];
    std::thread::scope(|scope| {
        for turn in 0..8 {
            let process = &process;
            scope.spawn(move || {
                process
                    .oneiric(&["swap", "adapter/cache", providers[turn % 2]])
                    .ok()
            });
        }
    });
    let slot = status(&process);
    let (active, winner) = (&slot["active"]["provider"], &slot["winner"]);
    assert_eq!(active, winner, "{slot}");
    assert_eq!(slot.get("differs"), None, "{slot}");
    // Every instance but the one that serves was retired, each once.
    let count = |name: &str| slot["swaps"][name].as_u64().unwrap();
    assert_eq!(
        count("retired"),
        count("activated") + count("swapped") - 1,
        "{slot}"
    );
    assert_eq!(count("rolled_back"), 0, "{slot}");
}

#[test]
fn force_is_refused_where_nobody_can_be_asked() {
    let process = Process::start(CACHES);
    let said = process
        .oneiric(&["swap", "adapter/cache", "flaky", "--force"])
        .failed(2);
    assert!(
        said.contains("cli.not_confirmed") && said.contains("add --yes"),
        "{said}"
    );
    let status = process.oneiric(&["status", "--json"]).json();
    assert_eq!(
        status["slots"][0]["active"]["provider"], "memory",
        "{status}"
    );
}

#[test]
fn whoever_waits_for_a_drain_reads_what_it_waits_for() {
    let hangs = CACHES.replace("probe = \"critical\"", "call = \"hang\"");
    let process = Process::start(&format!("{hangs}\n[lifecycle]\ndrain_ms = 5000\n"));
    process.oneiric(&["swap", "adapter/cache", "flaky"]).ok();
    let words = ["call", "adapter/cache", "get", "key=a"];
    let mut call = process
        .place()
        .command(oneiric_tests::binary::path())
        .args(words)
        .spawn()
        .unwrap();
    oneiric_tests::eventually("the call runs", || status(&process)["in_flight"] == 1);
    let answer = process.oneiric(&["swap", "adapter/cache", "memory"]);
    assert!(
        answer
            .stderr
            .contains("adapter/cache: waiting for 1 call on flaky"),
        "{answer:?}"
    );
    let said = answer.ok();
    assert!(said.contains("): get by uid:"), "{said}");
    call.wait().unwrap();
}
