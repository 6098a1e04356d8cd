//! What is told of settings is the same whoever tells it, told at once, and true.

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};
use serde_json::Value;

/// A misspelt key, a filter that is none, a factory and a keeper that nobody knows, settings that a factory refuses.
const FAULTS: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "memory"
factory = "oneiric.builtins:memroy_cache"

[[candidates]]
slot = "adapter/other"
provider = "memory"
factory = "oneiric.builtins:memory_cache"

[providers."adapter/other".memory]
max_entires = 10

[providers."adapter/cache".memory]
password = "secret://vault/p"

[log]
filter = "foo=bar=baz"

[run]
garce_ms = 1
"#;

/// The lines of an error that tell of single faults.
fn faults(said: &str) -> Vec<String> {
    let lines = said.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("oneiric.toml:"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn p80_every_fault_is_told_at_once_and_alike_by_check_run_reload_and_doctor() {
    let place = Place::with(FAULTS);
    let told = faults(&place.oneiric(&["config", "check"]).failed(3));
    let keys = [
        "candidates[0].factory",
        "providers.\"adapter/other\".memory",
        "providers.\"adapter/cache\".memory.password",
        "log.filter",
        "run.garce_ms",
    ];
    assert_eq!(told.len(), keys.len(), "{told:#?}");
    for (line, key) in told.iter().zip(keys) {
        assert!(line.contains(&format!(" {key}: ")), "{key}: {line}");
    }
    assert_eq!(faults(&place.oneiric(&["run"]).failed(3)), told);
    assert_eq!(
        faults(&place.oneiric(&["list", "--offline"]).failed(3)),
        told
    );
    let answer = place.oneiric(&["doctor"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for line in &told {
        assert!(answer.stdout.contains(line), "{line}: {}", answer.stdout);
    }
    let process = Process::start(CACHES);
    process.place().write("oneiric.toml", FAULTS);
    assert_eq!(faults(&process.oneiric(&["reload"]).failed(3)), told);
    let dry = process.oneiric(&["reload", "--dry-run"]).failed(3);
    assert_eq!(faults(&dry), told);
}

#[test]
fn what_only_follows_from_another_fault_is_not_told() {
    for (settings, key) in [
        // Where the allowlist is misspelt, nobody knows what is allowed.
        (
            "[security]\nfactory_alowlist = [\"mine.\"]\n[[candidates]]\nslot = \"a/b\"\n\
             provider = \"x\"\nfactory = \"mine.factory:build\"\n",
            "security.factory_alowlist",
        ),
        // Where a value is none, what a factory says of the rest is about a table that nobody wrote.
        (
            "[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"memory\"\n\
             factory = \"oneiric.builtins:memory_cache\"\n[providers.\"adapter/cache\".memory]\n\
             max_entries = inf\n",
            "providers.\"adapter/cache\".memory.max_entries",
        ),
    ] {
        let said = Place::with(settings)
            .oneiric(&["config", "check"])
            .failed(3);
        let told: Vec<String> = faults(&said.replace("error: ", ""))
            .into_iter()
            .filter(|line| !line.contains("factory_unknown"))
            .collect();
        assert_eq!(told.len(), 1, "{said}");
        assert!(told[0].contains(key), "{said}");
    }
}

#[test]
fn a_filter_in_the_variable_is_a_fault_like_any_other() {
    let place = Place::with(CACHES);
    for words in [&["config", "check"][..], &["run"]] {
        let said = place
            .oneiric_with(words, &[("ONEIRIC_LOG", "a=b=c")])
            .failed(3);
        assert!(
            said.contains("ONEIRIC_LOG: log.filter: not a log filter"),
            "{said}"
        );
        assert!(said.contains("a filter is error, warn"), "{said}");
    }
}

/// A reference to a secret that is not there: nobody has to have it to look at what would be.
const WITH_SECRET: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "redis"
factory = "oneiric.builtins:redis_cache"
requires = ["service/clock"]

[[candidates]]
slot = "service/clock"
provider = "system"
factory = "oneiric.builtins:system_clock"

[providers."adapter/cache".redis]
url = "redis://127.0.0.1:1"
password = "secret://file/redis-password"
"#;

#[test]
fn references_to_secrets_keep_nobody_from_looking_without_a_process() {
    let place = Place::with(WITH_SECRET);
    place.oneiric(&["config", "check"]).ok();
    let said = place.oneiric(&["list", "--offline"]).ok();
    assert!(said.contains("redis"), "{said}");
    let said = place
        .oneiric(&["explain", "adapter/cache", "--offline"])
        .ok();
    assert!(said.contains("redis"), "{said}");
    let document: Value =
        serde_json::from_str(&place.oneiric(&["doctor", "--json"]).stdout).unwrap();
    for check in ["settings", "factories", "selections", "dependencies"] {
        let checks = document["checks"].as_array().unwrap();
        let found = checks.iter().find(|one| one["check"] == check).unwrap();
        assert_eq!(found["verdict"], "good", "{document:#}");
    }
}

#[test]
fn with_faults_doctor_says_which_checks_it_could_not_make() {
    let place = Place::with(FAULTS);
    let document: Value =
        serde_json::from_str(&place.oneiric(&["doctor", "--json"]).stdout).unwrap();
    for check in ["factories", "selections", "dependencies"] {
        let checks = document["checks"].as_array().unwrap();
        let found = checks.iter().find(|one| one["check"] == check).unwrap();
        assert_eq!(found["verdict"], "unknown", "{document:#}");
    }
}

/// Each of them is allowed, for candidates may come from elsewhere, and hardly meant.
const HARDLY_MEANT: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "memory"
factory = "oneiric.builtins:memory_cache"
requires = ["service/clcok"]

[[candidates]]
slot = "service/clock"
provider = "system"
factory = "oneiric.builtins:system_clock"

[[candidates]]
slot = "adapter/store"
provider = "file"
factory = "oneiric.builtins:file_cache"

[selections]
"adapter/cache" = "memroy"

[providers."adapter/cahce".memory]
max_entries = 1

[providers."adapter/cache".redis]
password = "secret:/env/X"

[providers."adapter/store".file]
directory = "secret//file/directory"
"#;

#[test]
fn what_is_hardly_meant_is_a_warning_that_says_what_may_have_been() {
    let place = Place::with(HARDLY_MEANT);
    let said = place.oneiric(&["config", "check"]).ok();
    let warnings = [
        "oneiric.toml:6:13: candidates[0].requires[0]: there is no candidate for service/clcok; did you mean \
         'service/clock'?",
        "oneiric.toml:19:19: selections.\"adapter/cache\": adapter/cache has no candidate of 'memroy'; did you mean \
         'memory'?",
        "oneiric.toml:21:28: providers.\"adapter/cahce\".memory: there is no candidate for adapter/cahce; did you \
         mean 'adapter/cache'?",
        "oneiric.toml:24:28: providers.\"adapter/cache\".redis: adapter/cache has no candidate of 'redis'; it has memory",
        "oneiric.toml:25:12: providers.\"adapter/cache\".redis.password: the text is taken as it stands, although it \
         begins like a reference to a secret; a reference is secret://PROVIDER/NAME",
        "oneiric.toml:28:13: providers.\"adapter/store\".file.directory: the text is taken",
    ];
    let found: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("warning: "))
        .collect();
    assert_eq!(found.len(), warnings.len(), "{said}");
    for (found, expected) in found.iter().zip(warnings) {
        assert!(found.starts_with(expected), "{expected}\n{found}");
    }
    let document = place.oneiric(&["config", "check", "--json"]).json();
    let first = &document["warnings"][0];
    assert_eq!(
        (&first["file"], &first["line"], &first["key"]),
        (
            &"oneiric.toml".into(),
            &6.into(),
            &"candidates[0].requires[0]".into()
        )
    );
    assert_eq!(first["help"], "did you mean 'service/clock'?");
    assert_eq!(document["warnings"].as_array().unwrap().len(), 6);
    let said = place.oneiric(&["doctor"]).stdout;
    assert!(said.contains("service/clcok; did you mean"), "{said}");
}

#[test]
fn run_and_reload_log_what_is_hardly_meant() {
    let process = Process::start(CACHES);
    let quiet = process.stderr();
    assert!(!quiet.contains("hardly meant"), "{quiet}");
    process.place().write(
        "oneiric.toml",
        &format!("{CACHES}\n[providers.\"adapter/cahce\".x]\n"),
    );
    process.oneiric(&["reload"]).ok();
    process.wait_for_line("adapter/cahce");
    let started = Process::start(&format!("{CACHES}\n[providers.\"adapter/cahce\".x]\n"));
    started.wait_for_line("adapter/cahce");
}
