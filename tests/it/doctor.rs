//! What `doctor` finds and what is known without a process, with and without one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use serde_json::Value;

/// What came of one check: its verdict, what it says, and the fix.
fn check(document: &Value, name: &str) -> (String, String, String) {
    let checks = document["checks"].as_array().unwrap();
    let found: Vec<&Value> = checks.iter().filter(|one| one["check"] == name).collect();
    let [one] = found[..] else {
        panic!("{} checks are named {name}: {document:#}", found.len());
    };
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("says"), text("fix"))
}

fn verdict(document: &Value, name: &str) -> String {
    check(document, name).0
}

#[test]
fn without_a_process_it_checks_what_can_be_checked_and_touches_nothing() {
    let place = Place::with(CACHES);
    let said = place.oneiric(&["doctor"]).ok();
    assert!(
        said.contains("none runs here") && said.contains("0 bad"),
        "{said}"
    );
    let document = place.oneiric(&["doctor", "--json"]).json();
    assert_eq!(document["schema"], "oneiric.doctor/1");
    for name in [
        "settings",
        "variables",
        "factories",
        "dependencies",
        "state_dir",
        "database",
    ] {
        assert_eq!(verdict(&document, name), "good", "{document:#}");
    }
    assert_eq!(check(&document, "secrets").1, "no setting names one");
    for name in [
        "process",
        "ready",
        "slots",
        "dependencies_used",
        "settings_used",
        "secrets_used",
    ] {
        assert_eq!(verdict(&document, name), "unknown", "{document:#}");
    }
    assert!(!place.path().join(".oneiric").exists());
}

#[test]
fn each_trouble_is_found_with_what_to_do_about_it() {
    let place = Place::with(
        r#"
[[candidates]]
slot = "service/one"
provider = "a"
factory = "oneiric.builtins:system_clock"
requires = ["service/two", "service/nobody"]

[[candidates]]
slot = "service/two"
provider = "b"
factory = "oneiric.builtins:system_clock"
requires = ["service/one"]

[selections]
"service/two" = "z"
"#,
    );
    let state = place.path().join(".oneiric");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    place.write(".oneiric/state.db", &"not a database ".repeat(100));
    place.write(".oneiric/secrets/token", "hunter2");
    drop(UnixListener::bind(place.socket()).unwrap());
    let mut command = place.command(oneiric_tests::binary::path());
    command.args(["doctor", "--json"]).env("ONEIRIC_CONFG", "x");
    let answer = Place::answer(&mut command);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(document["healthy"], false);
    for (name, expected, says, fix) in [
        ("variables", "warning", "ONEIRIC_CONFG", "unset"),
        (
            "dependencies",
            "bad",
            "needs service/nobody, which nobody provides",
            "explain",
        ),
        (
            "dependencies",
            "bad",
            "service/one -> service/two -> service/one",
            "",
        ),
        (
            "selections",
            "warning",
            "service/two selects z",
            "[selections]",
        ),
        ("state_dir", "bad", "mode 755", "chmod 700 .oneiric"),
        ("secret_files", "bad", "token", "chmod 600"),
        ("database", "bad", "(sqlite.", ""),
        (
            "process",
            "warning",
            "none runs; one that ended without a farewell",
            "next start",
        ),
    ] {
        let found = check(&document, name);
        assert!(
            found.0 == expected && found.1.contains(says) && found.2.contains(fix),
            "{name}: {found:?}"
        );
    }
    // Nothing of it was changed.
    assert_eq!(
        fs::metadata(&state).unwrap().permissions().mode() & 0o777,
        0o755
    );
    // Settings that cannot be read keep nothing else from being checked.
    place.write("oneiric.toml", "[run]\ngrace_mss = 1\n");
    let answer = place.oneiric(&["doctor", "--json"]);
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    let settings = check(&document, "settings");
    assert!(
        settings.0 == "bad" && settings.1.contains("grace_mss"),
        "{settings:?}"
    );
    assert_eq!(verdict(&document, "state_dir"), "bad");
}

#[test]
fn a_process_is_asked_how_it_is() {
    let process = Process::start(CACHES);
    let document = process.oneiric(&["doctor", "--json"]).json();
    for name in [
        "process",
        "ready",
        "slots",
        "dependencies_used",
        "settings_used",
        "secrets_used",
    ] {
        assert_eq!(verdict(&document, name), "good", "{document:#}");
    }
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    let document = process.oneiric(&["doctor", "--json"]).json();
    let slots = check(&document, "slots");
    assert!(
        slots.0 == "warning" && slots.1.contains("lifecycle.probe_failed"),
        "{slots:?}"
    );
}

#[test]
fn secrets_are_fetched_to_see_whether_they_can_be_and_never_shown() {
    let place = Place::with(
        r#"
[[candidates]]
slot = "adapter/cache"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"

[[candidates]]
slot = "adapter/other"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"

[providers."adapter/cache".flaky]
token = "secret://file/token"

[providers."adapter/other".flaky]
token = "secret://env/TOKEN"
"#,
    );
    let doctor = |variables: &[(&str, &str)]| {
        let answer = place.oneiric_with(&["doctor", "--json"], variables);
        assert!(!answer.stdout.contains("hunter2"), "{answer:?}");
        serde_json::from_str::<Value>(&answer.stdout).unwrap()
    };
    let found = check(&doctor(&[]), "secrets");
    assert_eq!(found.0, "bad");
    for text in [
        "secret://file/token (providers.\"adapter/cache\".flaky.token): ",
        "(domains.secret_not_found)",
        "secret://env/TOKEN (",
    ] {
        assert!(found.1.contains(text), "{found:?}");
    }
    assert!(!place.path().join(".oneiric").exists());
    // A variable may be set where the process is started, and not here.
    place.write(".oneiric/secrets/token", "hunter2-file");
    for name in [".oneiric", ".oneiric/secrets", ".oneiric/secrets/token"] {
        let mode = if name.ends_with("token") {
            0o600
        } else {
            0o700
        };
        fs::set_permissions(place.path().join(name), Permissions::from_mode(mode)).unwrap();
    }
    let found = check(&doctor(&[]), "secrets");
    assert!(
        found.0 == "warning" && !found.1.contains("file/token"),
        "{found:?}"
    );
    let variables = [("TOKEN", "hunter2-variable")];
    let found = check(&doctor(&variables), "secrets");
    assert_eq!((&*found.0, &*found.1), ("good", "2 can be fetched"));
    // Nothing else that is known without a process stumbles over them.
    place.oneiric(&["list", "--offline"]).ok();

    let process = Process::start_with(place, &["run"], &variables);
    let asked = |verdict: &str| {
        let answer = process.oneiric(&["doctor", "--json"]);
        let document: Value = serde_json::from_str(&answer.stdout).unwrap();
        let found = check(&document, "secrets_used");
        assert_eq!(found.0, verdict, "{found:?}");
        found.1
    };
    asked("good");
    fs::remove_file(process.place().path().join(".oneiric/secrets/token")).unwrap();
    process.oneiric(&["secrets", "rotate"]).failed(8);
    let says = asked("bad");
    assert!(says.contains("secret://file/token: "), "{says}");
}

#[test]
fn a_process_whose_slots_failed_is_not_well() {
    let settings = "[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"flaky\"\n\
                    factory = \"oneiric.builtins:flaky_cache\"\n\
                    [providers.\"adapter/cache\".flaky]\nbuild = \"fail\"\n";
    let process = Process::start(settings);
    let answer = process.oneiric(&["doctor", "--json"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    let ready = check(&document, "ready");
    assert!(
        ready.0 == "bad" && ready.1.contains("adapter/cache is failed"),
        "{ready:?}"
    );
}

#[test]
fn without_a_process_list_and_explain_say_what_one_would_have() {
    let place = Place::with(CACHES);
    let said = place.oneiric(&["list"]).failed(8);
    assert!(said.contains("--offline"), "{said}");
    let said = place.oneiric(&["list", "--offline", "--shadowed"]).ok();
    assert!(said.contains("memory") && said.contains("flaky"), "{said}");
    assert!(said.contains("not from a running process"), "{said}");
    let document = place
        .oneiric(&["list", "adapter", "--offline", "--json"])
        .json();
    assert_eq!(document["schema"], "oneiric.list/1");
    assert_eq!(document["offline"], true);
    assert_eq!(document["slots"].as_array().unwrap().len(), 1);
    let said = place
        .oneiric(&[
            "explain",
            "adapter/cache",
            "--offline",
            "--what-if",
            "down=memory",
        ])
        .ok();
    assert!(said.contains("file wins instead of memory"), "{said}");
    assert!(said.contains("not from a running process"), "{said}");
    // A status there is not; what comes near to one is named.
    for words in [&["status"][..], &["status", "adapter/cache", "--offline"]] {
        let answer = place.oneiric(words);
        assert!([Some(2), Some(8)].contains(&answer.code), "{answer:?}");
        assert!(
            answer.stderr.contains("`oneiric list --offline`"),
            "{answer:?}"
        );
    }
    let said = place.oneiric(&["explain", "a/b", "--offline"]).failed(4);
    assert!(said.contains("core.no_candidate"), "{said}");
    assert!(!place.path().join(".oneiric").exists());
}
