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
fn p85_the_owner_is_told_the_full_words_everywhere_alike() {
    let process = Process::start(&settings("production"));
    let error = process
        .oneiric(&["swap", "adapter/cache", "file", "--json"])
        .failed_json(7);
    // Somebody who reads "the directory entries" would look for one beside the settings.
    let place = "/dev/null/entries";
    for said in [&error["message"], &error["details"]] {
        assert!(said.to_string().contains(place), "{error}");
    }
    assert!(error["request_id"].is_string(), "{error}");
    let said = process.oneiric(&["status", "adapter/cache"]).ok();
    assert!(said.contains(place), "{said}");
    process.wait_for_line(place);
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
fn p85_to_the_owner_the_causes_stand_below_an_error_in_every_mode() {
    for mode in ["production", "development"] {
        let process = Process::start(&settings(mode));
        // A directory in the place of the file is unreadable for everybody.
        let file = process.place().path().join("oneiric.toml");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let reload = ["reload", "--socket", ".oneiric/admin.sock"];
        let said = process.oneiric(&reload).failed(3);
        let below = said.lines().nth(1).unwrap_or_default();
        assert!(below.starts_with("  cannot read "), "{said}");
        let document = process.oneiric(&[&reload[..], &["--json"]].concat());
        let document = document.failed_json(3);
        assert!(document["detail"].is_string(), "{document}");
    }
}
