//! The pages on settings against the process itself: where a key is not known, the process names
//! those that are, and each of them has to be on a page. The page on components is written by hand.

use std::collections::BTreeSet;

use oneiric_tests::Place;

const PAGES: [&str; 2] = [
    include_str!("../../docs/reference/settings.md"),
    include_str!("../../docs/reference/components.md"),
];

/// One key that nobody knows in every table that can be written.
fn settings() -> String {
    let mut text = "nobody_knows = 1\n".to_owned();
    for table in [
        "admin",
        "admin.tcp",
        "lifecycle",
        "log",
        "reload",
        "resolution",
        "run",
        "secrets",
        "security",
    ] {
        text.push_str(&format!("[{table}]\nnobody_knows = 1\n"));
    }
    text.push_str(&candidates("nobody_knows = 1\n"));
    text
}

fn candidates(more: &str) -> String {
    let mut text = String::new();
    for factory in [
        "memory_cache",
        "file_cache",
        "redis_cache",
        "system_clock",
        "flaky_cache",
    ] {
        text.push_str(&format!(
            "[[candidates]]\nslot = \"a/b\"\nprovider = \"{factory}\"\n\
             factory = \"oneiric.builtins:{factory}\"\n{more}\
             [providers.\"a/b\".{factory}]\nnobody_knows = 1\n"
        ));
    }
    text
}

/// What follows `known here:` and `expected one of` in what is said about the faults.
fn known(settings: &str) -> BTreeSet<String> {
    let document = Place::with(settings)
        .oneiric(&["run", "--json"])
        .failed_json(3);
    let mut known = BTreeSet::new();
    for fault in document["details"]["faults"].as_array().unwrap() {
        for said in ["help", "message"].map(|field| fault[field].as_str().unwrap_or_default()) {
            if let Some((_, list)) = said.split_once("known here: ") {
                known.extend(list.split(", ").map(str::to_owned));
            }
            if let Some((_, list)) = said.split_once(", expected ") {
                known.extend(list.split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }
    known
}

#[test]
fn every_key_that_the_process_knows_is_on_a_page() {
    let mut keys = known(&settings());
    // Settings of providers are read only when the rest of the file is right.
    keys.extend(known(&candidates("")));
    for expected in [
        "state_dir",
        "requires",
        "drain_ms",
        "directory",
        "max_value_bytes",
        "offset_ms",
    ] {
        assert!(keys.contains(expected), "{keys:?}");
    }
    for key in &keys {
        let is_told = [
            format!("`{key}`"),
            format!(".{key}`"),
            format!("[{key}]"),
            format!("[{key}."),
            format!("`{key}."),
            format!(".{key}."),
            format!(".{key}[]."),
        ]
        .iter()
        .any(|form| PAGES.iter().any(|page| page.contains(form)));
        assert!(is_told, "{key} is on no page");
    }
}

#[test]
fn the_page_states_the_defaults_of_the_library() {
    let settings = oneiric_runtime::Settings::default();
    let limits = &settings.limits;
    for (key, default) in [
        ("lifecycle.activation_ms", limits.activation),
        ("lifecycle.probe_ms", limits.probe),
        ("lifecycle.hook_ms", limits.hook),
        ("lifecycle.drain_ms", limits.drain),
        ("lifecycle.retire_ms", limits.retire),
        ("run.grace_ms", settings.grace),
    ] {
        let row = PAGES[0]
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap_or_else(|| panic!("no row of {key}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(
            cells.get(3).copied(),
            Some(default.as_millis().to_string().as_str())
        );
    }
}
