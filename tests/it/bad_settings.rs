//! Settings that cannot work: refused at start, with file, line, key and code, all at once.

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary};

fn refused(settings: &str, exit: i32, code: &str, says: &[&str]) {
    let place = Place::with(settings);
    let said = place.oneiric(&["run"]).failed(exit);
    for text in says {
        assert!(said.contains(text), "no `{text}` in: {said}");
    }
    let document = place.oneiric(&["run", "--json"]).failed_json(exit);
    assert_eq!(document["code"], code, "{document}");
    assert!(
        !place.path().join(".oneiric").exists(),
        "a refused start leaves nothing behind"
    );
}

fn candidate(factory: &str) -> String {
    format!("[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"x\"\nfactory = \"{factory}\"\n")
}

#[test]
fn p80_a_file_that_is_not_there_is_named() {
    let place = Place::new();
    let said = place
        .oneiric(&["run", "--config", "nowhere.toml"])
        .failed(3);
    assert!(
        said.contains("nowhere.toml") && said.contains("(runtime.settings_not_found)"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    let said = place.oneiric(&["run"]).failed(3);
    assert!(said.contains("oneiric.toml"), "{said}");
}

#[test]
fn p80_broken_toml_is_refused_with_its_line() {
    refused(
        "[admin]\nsocket = \"a\n",
        3,
        "runtime.settings_invalid",
        &["oneiric.toml:2:", "(runtime.settings_invalid)"],
    );
}

#[test]
fn p80_an_unknown_key_is_refused_with_what_was_probably_meant() {
    refused(
        "[[candidates]]\nslot = \"adapter/cache\"\nproviderr = \"x\"\nfactory = \"a:b\"\n",
        3,
        "runtime.settings_invalid",
        &["oneiric.toml:3:1", "providerr", "provider"],
    );
}

#[test]
fn a_factory_that_is_not_there_is_refused() {
    refused(
        &candidate("oneiric.builtins:memory_cash"),
        3,
        "runtime.settings_invalid",
        &[
            "oneiric.toml:4:",
            "(lifecycle.factory_unknown)",
            "oneiric.builtins:memory_cache",
        ],
    );
}

#[test]
fn p39_a_factory_that_is_not_allowed_is_refused() {
    let says = ["oneiric.toml:4:", "(core.factory_denied)"];
    refused(
        &candidate("elsewhere.module:build"),
        3,
        "runtime.settings_invalid",
        &says,
    );
    refused(
        &candidate("os:system"),
        3,
        "runtime.settings_invalid",
        &says,
    );
}

#[test]
fn wrong_settings_of_a_provider_are_refused_where_they_stand() {
    let settings = format!(
        "{}[providers.\"adapter/cache\".x]\nmax_entires = 3\n",
        candidate("oneiric.builtins:memory_cache")
    );
    let says = [
        "oneiric.toml:",
        "(lifecycle.settings_invalid)",
        "max_entires",
    ];
    refused(&settings, 3, "runtime.settings_invalid", &says);
}

#[test]
fn all_faults_are_told_at_once_and_as_data() {
    let settings = "\
[[candidates]]
slot = \"adapter cache\"
provider = \"x\"
factory = \"oneiric.builtins:memory_cache\"

[[candidates]]
slot = \"adapter/cache\"
provider = \"x\"
factory = \"oneiric.builtins:memory_cache\"
priority = 100000
";
    let place = Place::with(settings);
    let said = place.oneiric(&["run"]).failed(3);
    assert!(
        said.contains("2 faults in oneiric.toml (runtime.settings_invalid)\n"),
        "{said}"
    );
    assert!(said.contains("\n  oneiric.toml:2:"), "{said}");
    assert!(said.contains("\n  oneiric.toml:10:"), "{said}");
    let document = place.oneiric(&["run", "--json"]).failed_json(3);
    let faults = document["details"]["faults"].as_array().unwrap();
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| fault["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [2, 10]);
    assert!(
        faults
            .iter()
            .all(|fault| fault["code"].as_str().unwrap().contains('.')),
        "{document}"
    );
}

#[test]
fn wrong_variables_are_refused() {
    let place = Place::with(CACHES);
    let with = |name: &str, value: &str| {
        let mut command = place.command(binary::path());
        Place::answer(command.arg("run").env(name, value)).failed(3)
    };
    let said = with("ONEIRIC_FACTORY_ALLOWLIST", "elsewhere.module");
    assert!(said.contains("(core.factory_denied)"), "{said}");
    let said = with("ONEIRIC_LOG", "a=b=c");
    assert!(
        said.contains("(runtime.settings_invalid)") && said.contains("a filter is "),
        "{said}"
    );
}

#[test]
fn p05_a_bad_stack_order_is_one_clear_error_at_start() {
    let place = Place::with(CACHES);
    let run = |json: bool| {
        let mut command = place.command(binary::path());
        command
            .arg("run")
            .args(json.then_some("--json"))
            .env("ONEIRIC_STACK_ORDER", "core:5,app:x,lib:9");
        Place::answer(&mut command)
    };
    let said = run(false).failed(3);
    assert!(said.contains("\"app:x\""), "{said}");
    assert!(said.contains("(core.stack_order_invalid)"), "{said}");
    assert!(
        said.contains("hint: correct or unset the variable"),
        "{said}"
    );
    assert_eq!(run(true).failed_json(3)["code"], "core.stack_order_invalid");
    assert!(!place.path().join(".oneiric").exists());

    // A good one is neither refused nor taken for a misspelt variable.
    let variables = [("ONEIRIC_STACK_ORDER", "core:5,app")];
    let process = Process::start_with(place, &["run"], &variables);
    assert!(
        !process.stderr().contains("ONEIRIC_STACK_ORDER"),
        "{}",
        process.stderr()
    );
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_the_limit() {
    let place = Place::with(CACHES);
    let long = "x".repeat(200);
    let said = place.oneiric(&["run", "--state-dir", &long]).failed(3);
    assert!(
        said.contains("(runtime.socket_path_too_long)") && said.contains("hint: "),
        "{said}"
    );
    // The other end says nothing less clear.
    let said = place.oneiric(&["status", "--state-dir", &long]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.starts_with("error: "), "{said:?}");
}

#[test]
fn a_circle_of_requirements_is_named_and_the_rest_goes_on() {
    let circle = |key: &str, needs: &str| {
        format!(
            "[[candidates]]\nslot = \"service/{key}\"\nprovider = \"x\"\n\
             factory = \"oneiric.builtins:system_clock\"\nrequires = [\"service/{needs}\"]\n"
        )
    };
    let settings = format!("{CACHES}{}{}", circle("a", "b"), circle("b", "a"));
    let process = Process::start(&settings);
    process.wait_for_line("stop it with");
    let said = process.stderr();
    assert!(
        said.contains("oneiric is running: 2 of 4 slots active"),
        "{said}"
    );
    let line = "  not active: service/a (lifecycle.dependency_cycle), service/b (";
    assert!(said.contains(line), "{said}");
    let said = process.oneiric(&["call", "service/a", "now"]).failed(3);
    // Where the circle begins is as good as anywhere.
    let circles = [
        "service/a -> service/b -> service/a",
        "service/b -> service/a -> service/b",
    ];
    assert!(circles.iter().any(|circle| said.contains(circle)), "{said}");
    process.oneiric(&["call", "service/clock", "now"]).ok();
    let answer = process.oneiric(&["health"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
}
