//! What clients are told when something goes wrong, in production and in development.

use oneiric_tests::Process;

fn settings(mode: &str) -> String {
    format!(
        r#"
[run]
error_mode = "{mode}"

[[candidates]]
slot = "adapter/cache"
provider = "memory"
factory = "oneiric.builtins:memory_cache"
priority = 9

[[candidates]]
slot = "adapter/cache"
provider = "file"
factory = "oneiric.builtins:file_cache"

[providers."adapter/cache".file]
directory = "/dev/null/entries"
"#
    )
}

#[test]
fn p85_in_production_an_error_names_no_place_and_the_log_does() {
    let process = Process::start(&settings("production"));
    let error = process
        .oneiric(&["swap", "adapter/cache", "file", "--json"])
        .failed_json(7);
    let text = error.to_string();
    assert!(!text.contains("/dev/null"), "{text}");
    // What it is about is still there, and how to find the rest.
    assert!(
        error["message"].as_str().unwrap().contains("entries"),
        "{text}"
    );
    assert!(error["request_id"].is_string(), "{text}");
    process.wait_for_line("/dev/null/entries");
}

#[test]
fn p85_in_development_an_error_names_everything() {
    let process = Process::start(&settings("development"));
    let said = process
        .oneiric(&["swap", "adapter/cache", "file"])
        .failed(7);
    assert!(said.contains("/dev/null/entries"), "{said}");
}
