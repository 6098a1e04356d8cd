//! Secrets through the real binary: careless components, files that change, files that lie open.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use oneiric_tests::{Answer, Place, Process};
use serde_json::Value;

const IN_FILE: &str = "hunter2-\"file\"/?&\\end";
const IN_VARIABLE: &str = "correct horse battery staple";

/// Two careless caches, one with a secret from a file, one with one from a variable.
fn settings(format: &str) -> String {
    let mut text = format!(
        "[log]\nformat = \"{format}\"\nfilter = \"trace\"\n[secrets]\ndirectory = \"kept\"\n"
    );
    for (slot, token, behaviour) in [
        (
            "adapter/fails",
            "secret://file/token",
            "call = \"fail\"\nprobe = \"warn\"\nretire = \"fail\"",
        ),
        (
            "adapter/panics",
            "secret://env/TOKEN",
            "call = \"panic\"\nretire = \"panic\"",
        ),
        ("adapter/never", "secret://file/token", "build = \"fail\""),
        ("adapter/cannot", "secret://env/TOKEN", "build = \"panic\""),
        ("adapter/ill", "secret://file/token", "probe = \"critical\""),
    ] {
        text.push_str(&format!(
            "[[candidates]]\nslot = \"{slot}\"\nprovider = \"flaky\"\nfactory = \"oneiric.builtins:flaky_cache\"\n\
             [providers.\"{slot}\".flaky]\ntoken = \"{token}\"\n{behaviour}\n"
        ));
    }
    text
}

fn keep(place: &Place, name: &str, value: &str) {
    place.write(&format!("kept/{name}"), value);
    chmod(place, &format!("kept/{name}"), 0o600);
    chmod(place, "kept", 0o700);
}

fn chmod(place: &Place, name: &str, mode: u32) {
    std::fs::set_permissions(place.path().join(name), Permissions::from_mode(mode)).unwrap();
}

fn start(settings: &str) -> Process {
    let place = Place::with(settings);
    keep(&place, "token", &format!("{IN_FILE}\n"));
    Process::start_with(
        place,
        &["run"],
        &[("TOKEN", IN_VARIABLE), ("RUST_BACKTRACE", "1")],
    )
}

/// Nothing of the secrets is in `text`, in whatever form.
#[track_caller]
fn check(text: &str) {
    for word in ["hunter2", "battery", IN_FILE, IN_VARIABLE] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    for encoded in ["aHVudGVyMi", "Y29ycmVjdCBob3JzZ"] {
        assert!(!text.contains(encoded), "{encoded} in {text}");
    }
}

#[test]
fn p86_no_secret_is_said_by_a_process_whose_components_say_theirs() {
    for format in ["human", "json"] {
        let process = start(&settings(format));
        let ask = |words: &[&str]| -> String {
            let Answer { stdout, stderr, .. } = process.oneiric(words);
            stdout + &stderr
        };
        let mut said = String::new();
        for slot in ["fails", "panics", "never", "cannot", "ill"] {
            let slot = format!("adapter/{slot}");
            for words in [
                &["call", &slot, "get", "\"a\""][..],
                &["call", &slot, "get", "\"a\"", "--json"],
                &["swap", &slot],
                &["swap", &slot, "--json"],
                &["explain", &slot],
                &["explain", &slot, "--json"],
                &["status", &slot],
            ] {
                said.push_str(&ask(words));
            }
        }
        for words in [
            &["status", "--json"][..],
            &["health", "--probe", "--json"],
            &["health"],
            &["list", "--shadowed", "--json"],
            &["config", "show", "--json"],
            &["config", "show", "--origin"],
            &["secrets", "list"],
            &["secrets", "list", "--json"],
        ] {
            said.push_str(&ask(words));
        }
        check(&said);
        let redacted = said
            .matches("told to fail by its settings, with [redacted]")
            .count();
        assert!(redacted > 10, "{redacted} in {said}");
        let (_, stderr) = process.stop();
        check(&stderr);
        // A panic is in the log as well, and what it said is covered there too.
        assert!(stderr.contains("panicked"), "{stderr}");
        assert!(stderr.contains("with [redacted]"), "{stderr}");
        if format == "json" {
            let lines = stderr.lines().filter(|line| line.starts_with('{'));
            for line in lines {
                assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
            }
        }
    }
}

/// A cache that tells of its secret's length by what it says when it fails: it is covered, so the test looks at who
/// serves in place of what.
fn quiet() -> String {
    "[secrets]\ndirectory = \"kept\"\n[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"flaky\"\n\
     factory = \"oneiric.builtins:flaky_cache\"\n[providers.\"adapter/cache\".flaky]\ntoken = \"secret://file/token\"\n"
        .to_owned()
}

fn instance(process: &Process) -> Value {
    let status = process
        .oneiric(&["status", "adapter/cache", "--json"])
        .json();
    status["slots"][0]["active"]["instance"].clone()
}

#[test]
fn a_secret_that_was_exchanged_reaches_its_user_on_rotate() {
    let process = start(&quiet());
    let listed = process.oneiric(&["secrets", "list"]).ok();
    assert!(listed.contains("secret://file/token  good"), "{listed}");
    assert!(listed.contains("adapter/cache flaky (token)"), "{listed}");
    let before = instance(&process);
    let said = process.oneiric(&["secrets", "rotate"]).ok();
    assert_eq!(said, "secret://file/token: unchanged\n");
    assert_eq!(instance(&process), before);

    keep(process.place(), "token", "another one");
    let words = [
        "secrets",
        "rotate",
        "secret://file/token",
        "--reason",
        "quarterly",
    ];
    let said = process.oneiric(&words).ok();
    assert_eq!(
        said,
        "secret://file/token: changed\nadapter/cache flaky: exchanged for a new instance\n"
    );
    assert_ne!(instance(&process), before);

    // One that lies open is not taken, and the old one stays with who has it.
    let before = instance(&process);
    chmod(process.place(), "kept/token", 0o644);
    let said = process
        .oneiric(&["secrets", "rotate", "--json"])
        .failed_json(8);
    assert_eq!(said["code"], "domains.secret_unsafe");
    assert_eq!(said["details"]["secrets"][0]["outcome"], "failed");
    assert_eq!(instance(&process), before);
    let listed = process.oneiric(&["secrets", "list"]).ok();
    assert!(listed.contains(" unsafe "), "{listed}");
    assert!(
        listed.contains("chmod 600 (domains.secret_unsafe)"),
        "{listed}"
    );

    let said = process
        .oneiric(&["secrets", "rotate", "secret://file/x"])
        .failed(4);
    assert!(said.contains("(runtime.secret_unused)"), "{said}");
    let said = process.oneiric(&["secrets", "rotate", "token"]).failed(2);
    assert!(said.contains("(domains.secret_ref_invalid)"), "{said}");
}

#[test]
fn a_reference_that_cannot_be_right_is_found_before_anything_runs() {
    let text = quiet().replace("secret://file/token", "secret://valut/token");
    let place = Place::with(&text);
    for words in [&["config", "check"][..], &["run"]] {
        let said = place.oneiric(words).failed(3);
        assert!(said.contains("oneiric.toml:8"), "{said}");
        assert!(said.contains("there is env, file"), "{said}");
        assert!(said.contains("(domains.secret_provider_unknown)"), "{said}");
    }
}
