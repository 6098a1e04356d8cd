//! What somebody meets who has just begun: nothing runs yet, a home that is not theirs, keys half remembered.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Answer, Place, Process, binary};

#[test]
fn a_key_is_explained_where_nothing_runs_and_that_is_said() {
    let place = Place::with(CACHES);
    let answer = place.oneiric(&["config", "explain", "run.grace_ms"]);
    assert!(
        answer
            .stderr
            .starts_with("note: nothing serves .oneiric/admin.sock; read here and now"),
        "{answer:?}"
    );
    let said = answer.ok();
    assert!(said.contains("run.grace_ms = 45000"), "{said}");
    let process = Process::start_in(place, &["run"]);
    let answer = process.oneiric(&["config", "explain", "run.grace_ms"]);
    assert!(answer.stderr.is_empty(), "{answer:?}");
    // Elsewhere is not here.
    let url = [
        "--url",
        "https://127.0.0.1:1",
        "config",
        "explain",
        "run.grace_ms",
    ];
    let answer = process.oneiric(&url);
    assert_ne!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn a_key_that_is_almost_right_leads_to_the_right_one() {
    let place = Place::with("grace_ms = 1\n");
    let said = place.oneiric(&["config", "check"]).failed(3);
    assert!(said.contains("did you mean 'run.grace_ms'?"), "{said}");
    std::fs::remove_file(place.path().join("oneiric.toml")).unwrap();
    let explain = |key: &str| {
        place
            .oneiric(&["config", "explain", key, "--offline"])
            .failed(4)
    };
    for (key, hint) in [
        ("grace_ms", "did you mean 'run.grace_ms'?"),
        ("providers", "known here: providers.<slot>.<provider>"),
        ("candidates", "candidates[].slot"),
        ("admin.tokens", "admin.tokens[].name"),
        ("run", "run.grace_ms"),
    ] {
        let said = explain(key);
        assert!(
            said.contains("hint: ") && said.contains(hint),
            "{key}: {said}"
        );
    }
    let said = place
        .oneiric(&["config", "check", "--set", "run.garce_ms=1"])
        .failed(3);
    assert_eq!(said.matches("run.garce_ms").count(), 1, "{said}");
    place.write(
        "oneiric.toml",
        &format!("{CACHES}[providers.\"adapter/cache\".memory]\nmax_entries = 0\n"),
    );
    let said = place.oneiric(&["config", "check"]).failed(3);
    assert!(
        said.contains("expected a whole number of 1 or more"),
        "{said}"
    );
}

#[test]
fn a_process_without_slots_says_how_to_get_some_and_one_without_its_file_what_to_do() {
    let place = Place::with("[reload]\nwatch = false\n");
    let process = Process::start_in(place, &["run"]);
    process.wait_for_line("stop it with");
    let said = process.stderr();
    assert!(
        said.contains("it has no slots\n  hint: [[candidates]]"),
        "{said}"
    );
    std::fs::remove_file(process.place().path().join("oneiric.toml")).unwrap();
    let said = process.oneiric(&["reload"]).failed(3);
    assert!(said.contains("hint: put the file back"), "{said}");
}

#[test]
fn the_schema_says_what_sections_are_and_in_which_unit_numbers_count() {
    let schema = Place::new().oneiric(&["config", "schema"]).json();
    let run = &schema["properties"]["run"];
    assert!(
        run["description"]
            .as_str()
            .unwrap()
            .starts_with("How the process begins and ends."),
        "{run}"
    );
    let grace = run["properties"]["grace_ms"]["description"]
        .as_str()
        .unwrap();
    assert!(grace.ends_with("In milliseconds."), "{grace}");
    for section in schema["properties"].as_object().unwrap().values() {
        assert!(section["description"].is_string(), "{section:#}");
    }
}

/// As a user who is not root, to whom nothing is closed.
fn as_nobody(place: &Place, words: &[&str], home: &str) -> Answer {
    // Where the binary was built may be closed to them. Copied by a process of its own: what this one writes, a command
    // that another test starts meanwhile holds open too, and then it is busy.
    let program = place.path().join("program");
    let copied = place
        .command("cp")
        .arg(binary::path())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut command = place.command(program);
    command
        .args(words)
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", home);
    let me = std::fs::metadata(place.path()).unwrap().uid();
    if me == 0 {
        command.uid(65_534).gid(65_534);
    }
    Place::answer(&mut command)
}

#[test]
fn a_home_that_is_closed_is_told_and_stops_nobody_and_settings_that_are_closed_do() {
    let place = Place::new();
    let open = |name: &str, mode| {
        set_permissions(place.path().join(name), Permissions::from_mode(mode)).unwrap();
    };
    place.write("oneiric.toml", CACHES);
    place.write("home/.config/oneiric/config.toml", "[run]\ngrace_ms = 7\n");
    open("", 0o755);
    open("oneiric.toml", 0o644);
    let home = place.path().join("home");
    let home = home.to_str().unwrap();
    // Whether there is anything, one may not even look.
    open("home", 0o000);
    let answer = as_nobody(&place, &["config", "check"], home);
    let said = answer.ok();
    assert!(
        said.contains("warning: ") && said.contains("may not look"),
        "{said}"
    );
    // A directory of ours that is there and closed is settings that cannot be read.
    open("home", 0o755);
    open("home/.config/oneiric", 0o000);
    for words in [&["config", "check"][..], &["run"]] {
        let said = as_nobody(&place, words, home).failed(3);
        assert!(said.contains("(runtime.settings_unreadable)"), "{said}");
    }
    // Who only asks the process finds it all the same.
    let said = as_nobody(&place, &["status"], home).failed(8);
    assert!(said.contains("(runtime.not_running)"), "{said}");
    open("home/.config/oneiric", 0o755);
}
