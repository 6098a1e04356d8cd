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

#[test]
fn p85_in_development_the_causes_stand_below_an_error() {
    for (mode, shown) in [("production", false), ("development", true)] {
        let process = Process::start(&settings(mode));
        // A directory in the place of the file is unreadable for everybody.
        let file = process.place().path().join("oneiric.toml");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let reload = ["reload", "--socket", ".oneiric/admin.sock"];
        let said = process.oneiric(&reload).failed(3);
        let below = said.lines().nth(1).unwrap_or_default();
        assert_eq!(below.starts_with("  cannot read "), shown, "{said}");
        let document = process.oneiric(&[&reload[..], &["--json"]].concat());
        let document = document.failed_json(3);
        assert_eq!(document["detail"].is_string(), shown, "{document}");
    }
}
