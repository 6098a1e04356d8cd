//! `oneiric history`: what became of swaps, who asked for them and why, over restarts.

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process};

/// The lines below the headings, without the times in front.
fn lines(said: &str) -> Vec<String> {
    let lines = said.lines().skip(1);
    let words = lines.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>());
    words.map(|words| words.join(" ")).collect()
}

#[test]
fn what_happened_is_told_with_who_and_why_and_outlives_the_process() {
    let process = Process::start(CACHES);
    let why = "try \u{1b}[31mit";
    process
        .oneiric(&["swap", "adapter/cache", "file", "--reason", why])
        .ok();
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    let said = process.oneiric(&["history", "adapter/cache"]).ok();
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let document = process.oneiric(&["history", "--json"]).json();
    let who = document["revisions"][0]["who"].as_str().unwrap().to_owned();
    assert!(who.starts_with("uid:"), "{document}");
    let expected = [
        "adapter/cache activated - memory - - - -".to_owned(),
        format!("adapter/cache selected - file 1 {who} - try \\u{{1b}}[31mit"),
        "adapter/cache swapped memory file - - - -".to_owned(),
        "adapter/cache retired memory - - - - -".to_owned(),
    ];
    let told = lines(&said);
    assert_eq!(told[..4], expected, "{said}");
    assert!(
        told[5]
            .starts_with("adapter/cache rolled_back file flaky - - lifecycle.probe_failed probe: "),
        "{said}"
    );
    // The one that was not well is gone too.
    assert!(told[4].starts_with("adapter/cache retired flaky"), "{said}");
    // The time is the first word, so that a list of several slots can be read as one.
    let first = said.lines().nth(1).unwrap();
    assert!(
        first.starts_with("20") && first.contains("Z  adapter/cache"),
        "{said}"
    );
    let all = process.oneiric(&["history"]).ok();
    assert!(all.contains("service/clock  activated"), "{all}");

    let last = process
        .oneiric(&["history", "adapter/cache", "--limit", "1"])
        .ok();
    assert!(
        lines(&last)[0].starts_with("adapter/cache rolled_back"),
        "{last}"
    );
    assert!(last.contains("--limit 6 shows them all"), "{last}");
    let document = process
        .oneiric(&["history", "adapter/cache", "--limit", "1", "--json"])
        .json();
    assert_eq!(document["schema"], "oneiric.history/1");
    let entries = document["slots"][0]["entries"].as_array().unwrap();
    assert_eq!(
        (entries.len(), &entries[0]["ended"]),
        (1, &"rolled_back".into())
    );
    assert_eq!(document["revisions"].as_array().unwrap().len(), 0);

    process.signal("KILL");
    let process = Process::start_in(process.into_place(), &["run"]);
    let said = process.oneiric(&["history", "adapter/cache"]).ok();
    assert_eq!(lines(&said)[..4], expected, "{said}");
    let document = process.oneiric(&["history", "--json"]).json();
    assert_eq!(document["run"], 2);
    assert_eq!(document["revisions"][0]["reason"], why);
}

#[test]
fn a_slot_that_nobody_knows_is_refused_with_the_one_that_was_meant() {
    let process = Process::start(CACHES);
    let said = process.oneiric(&["history", "adapter/cahce"]).failed(4);
    assert!(said.contains("(core.no_candidate)"), "{said}");
    assert!(said.contains("did you mean 'adapter/cache'?"), "{said}");
    process.oneiric(&["history", "cache"]).failed(2);
    process.oneiric(&["history", "--limit", "0"]).failed(2);
    let said = Place::with(CACHES).oneiric(&["history"]).failed(8);
    assert!(said.contains("(runtime.not_running)"), "{said}");
}
