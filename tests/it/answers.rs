//! What commands answer, for people and for programs.

use std::process::Stdio;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary, eventually};

#[test]
fn with_json_every_command_prints_one_document_with_its_schema() {
    let process = Process::start_json(CACHES);
    for (words, schema) in [
        (&["list"][..], "oneiric.list/1"),
        (&["list", "adapter", "--shadowed"], "oneiric.list/1"),
        (&["explain", "adapter/cache"], "oneiric.explain/1"),
        (
            &["explain", "adapter/cache", "--what-if", "down=memory"],
            "oneiric.explain/1",
        ),
        (&["status"], "oneiric.status/1"),
        (&["status", "adapter/cache"], "oneiric.status/1"),
        (&["call", "service/clock", "now"], "oneiric.call/1"),
        (
            &["swap", "adapter/cache", "file", "--dry-run"],
            "oneiric.swap/1",
        ),
        (&["swap", "adapter/cache", "file"], "oneiric.swap/1"),
        (&["swap", "adapter/cache", "--clear"], "oneiric.swap/1"),
        (&["health"], "oneiric.health/1"),
        (&["health", "--probe"], "oneiric.health/1"),
    ] {
        let document = process.oneiric(&[words, &["--json"]].concat()).json();
        assert_eq!(document["schema"], schema, "{words:?}");
        // Before the command it means the same.
        let document = process.oneiric(&[&["--json"], words].concat()).json();
        assert_eq!(document["schema"], schema, "{words:?}");
    }
    let (code, document) = process.stop_json();
    assert_eq!(code, Some(0));
    assert_eq!(document["schema"], "oneiric.shutdown/1");
    assert_eq!(document["clean"], true);
    assert_eq!(document["retired"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_if_names_who_takes_over_and_changes_nothing() {
    let process = Process::start(CACHES);
    for (change, expected) in [
        ("down=memory", "file wins instead of memory"),
        ("without=memory", "file wins instead of memory"),
        ("select=flaky", "flaky wins instead of memory"),
        ("priority:file=99", "file wins instead of memory"),
    ] {
        let said = process
            .oneiric(&["explain", "adapter/cache", "--what-if", change])
            .ok();
        assert!(said.contains(expected), "{change}: {said}");
    }
    let both = ["--what-if", "down=memory", "--what-if", "down=file"];
    let said = process
        .oneiric(&[&["explain", "adapter/cache"], &both[..]].concat())
        .ok();
    assert!(said.contains("flaky wins instead of memory"), "{said}");
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(said.starts_with("adapter/cache -> memory"), "{said}");
}

#[test]
fn p06_a_selection_of_nobody_shows_in_list_explain_and_status() {
    let process = Process::start(&format!(
        "{CACHES}\n[selections]\n\"adapter/cache\" = \"memroy\"\n"
    ));
    let note = "adapter/cache: the settings selection memroy names nobody who is registered";
    assert!(process.oneiric(&["list"]).ok().contains(note));
    assert!(process.oneiric(&["status"]).ok().contains(note));
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(
        said.contains("memroy") && said.contains("did you mean 'memory'?"),
        "{said}"
    );
    let document = process.oneiric(&["status", "--json"]).json();
    assert_eq!(document["unknown_selections"][0]["provider"], "memroy");
    // Whoever ranks best without it serves.
    let said = process.oneiric(&["list"]).ok();
    assert!(said.contains("active"), "{said}");
}

#[test]
fn input_comes_as_words_json_or_stdin() {
    let process = Process::start(CACHES);
    let cache = |words: &[&str]| process.oneiric(&[&["call", "adapter/cache"], words].concat());
    cache(&["put", "key=a", "value=text", "ttl_ms:=60000"]).ok();
    assert_eq!(cache(&["get", "key=a"]).ok(), "\"text\"\n");
    cache(&["put", r#"{"key": "b", "value": "json"}"#]).ok();
    assert_eq!(cache(&["get", "\"b\""]).ok(), "\"json\"\n");
    let mut command = process.place().command("sh");
    let script = format!(
        "echo '\"b\"' | '{}' call adapter/cache get -",
        binary::path().display()
    );
    assert_eq!(
        Place::answer(command.args(["-c", &script])).ok(),
        "\"json\"\n"
    );
    let said = cache(&["get", "b"]).failed(2);
    assert!(
        said.contains("hint: text is quoted twice: '\"b\"'"),
        "{said}"
    );
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let process = Process::start(CACHES);
    let mut command = process.place().command(binary::path());
    command
        .args(["status", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn colours_are_for_terminals_or_those_who_ask() {
    let process = Process::start(CACHES);
    let escape = '\u{1b}';
    assert!(!process.oneiric(&["list"]).ok().contains(escape));
    assert!(
        process
            .oneiric(&["list", "--color", "always"])
            .ok()
            .contains(escape)
    );
    assert!(
        !process
            .oneiric(&["list", "--json", "--color", "always"])
            .ok()
            .contains(escape)
    );
}

#[test]
fn a_healthy_process_passes_the_check() {
    let process = Process::start(CACHES);
    let said = process.oneiric(&["health", "--probe"]).ok();
    assert_eq!(
        said.lines()
            .filter(|line| line.contains("  good  "))
            .count(),
        2,
        "{said}"
    );
}

#[test]
fn explain_says_what_failed_where_nothing_serves() {
    let process = Process::start(&format!(
        "{CACHES}\n[selections]\n\"adapter/cache\" = \"flaky\"\n"
    ));
    let failed = "nothing serves: flaky failed to activate at probe: critical: told to fail by its \
                  settings (lifecycle.probe_failed)\n";
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(said.starts_with("adapter/cache -> flaky"), "{said}");
    assert!(said.ends_with(&format!("\n\n  {failed}")), "{said}");
    let said = process
        .oneiric(&["explain", "adapter/cache", "--what-if", "down=flaky"])
        .ok();
    assert!(
        said.ends_with(&format!("  as things are, {failed}")),
        "{said}"
    );

    process.oneiric(&["swap", "adapter/cache", "memory"]).ok();
    let said = process.oneiric(&["explain", "adapter/cache"]).ok();
    assert!(said.starts_with("adapter/cache -> memory"), "{said}");
    assert!(!said.contains("serves"), "{said}");
}

#[test]
fn explain_says_who_serves_in_the_winners_place() {
    // Whoever wins once the operator's selection is taken back is never done with being built.
    let settings = format!(
        "{CACHES}\n[selections]\n\"adapter/cache\" = \"flaky\"\n[run]\nactivate = \"on_use\"\n"
    )
    .replace("probe = \"critical\"", "build = \"hang\"");
    let process = Process::start(&settings);
    let explain = || process.oneiric(&["explain", "adapter/cache"]).ok();
    let said = explain();
    assert!(
        said.ends_with("\n\n  nothing serves yet: the first call activates it\n"),
        "{said}"
    );
    process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    assert!(!explain().contains("serves"), "{}", explain());
    let mut swap = process.place().command(binary::path());
    swap.args(["swap", "adapter/cache", "--clear"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut swap = swap.spawn().unwrap();
    eventually(
        "the selection is taken back before the swap is done",
        || explain().ends_with("\n\n  flaky wins but file serves: a swap is under way\n"),
    );
    swap.kill().unwrap();
    swap.wait().unwrap();
}

#[test]
fn health_waits_until_all_is_well_or_the_time_is_up() {
    let place = Place::new();
    // Nobody is there, and nobody comes.
    let said = place
        .oneiric(&["health", "--wait", "--timeout", "300ms"])
        .failed(8);
    assert!(
        said.contains("waiting: ") && said.contains("runtime.not_running"),
        "{said}"
    );
    let process = Process::start(CACHES);
    let asked = ["health", "--wait", "--timeout", "60s"];
    assert!(process.oneiric(&asked).ok().contains("adapter/cache"));
    process
        .oneiric(&["swap", "adapter/cache", "flaky", "--force", "--yes"])
        .ok();
    let answer = process.oneiric(&["health", "--wait", "--timeout", "300ms"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.stderr, "waiting for adapter/cache (active)\n");
    assert!(answer.stdout.contains("critical"), "{answer:?}");
}

#[test]
fn waiting_for_a_process_that_never_answers_ends_with_the_time() {
    let place = Place::new();
    std::fs::create_dir(place.path().join(".oneiric")).unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let said = place
        .oneiric(&["health", "--wait", "--timeout", "200ms"])
        .failed(8);
    assert!(said.contains("cli.timed_out"), "{said}");
}

#[test]
fn a_misspelt_slot_is_answered_with_the_one_that_was_meant() {
    let process = Process::start(CACHES);
    for words in [
        &["status", "adapter/cahce"][..],
        &["explain", "adapter/cahce"],
        &["call", "adapter/cahce", "get", "\"a\""],
        &["swap", "adapter/cahce", "file"],
        &["health", "adapter/cahce"],
    ] {
        let said = process.oneiric(words).failed(4);
        assert!(
            said.contains("hint: did you mean 'adapter/cache'?"),
            "{words:?}: {said}"
        );
    }
    let said = process.oneiric(&["status", "nothing/like-it"]).failed(4);
    assert!(
        said.contains("`oneiric list` shows the slots there are"),
        "{said}"
    );
}
