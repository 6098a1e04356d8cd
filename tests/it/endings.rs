//! How a process ends when something does not want to: what is waited for, what is named, and how it exits.

use oneiric_tests::{Process, eventually};
use serde_json::{Value, json};

/// A job that needs a cache and behaves as told, and a clock that nobody needs.
fn parts(job: &str, more: &str) -> String {
    format!(
        r#"
{more}
[[candidates]]
slot = "adapter/cache"
provider = "memory"
factory = "oneiric.builtins:memory_cache"

[[candidates]]
slot = "service/clock"
provider = "system"
factory = "oneiric.builtins:system_clock"

[[candidates]]
slot = "task/job"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"
requires = ["adapter/cache"]

[providers."task/job"]
flaky = {{ {job} }}

"#
    )
}

/// The slots in a list, sorted.
fn slots(document: &Value, list: &str) -> Vec<String> {
    let items = document[list].as_array().unwrap().iter();
    let mut slots: Vec<String> = items
        .map(|item| {
            item.get("slot")
                .unwrap_or(item)
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    slots.sort();
    slots
}

const ALL: [&str; 3] = ["adapter/cache", "service/clock", "task/job"];

#[test]
fn p19_what_is_not_done_in_the_grace_period_is_named_and_nothing_else() {
    let process = Process::start_json(&parts("retire = \"hang\"", "run.grace_ms = 300"));
    let (code, document) = process.stop_json();
    assert_eq!(code, Some(9), "{document}");
    assert_eq!(document["clean"], false);
    assert_eq!(document["cut_short"], false);
    assert_eq!(slots(&document, "unfinished"), ["task/job"]);
    let failure = &document["unfinished"][0];
    assert_eq!(failure["stage"], "retire");
    assert_eq!(failure["code"], "lifecycle.timed_out");
    // The cache waited for the job, and goes all the same.
    assert_eq!(slots(&document, "retired"), ALL);
}

#[test]
fn p19_a_second_signal_says_what_it_cuts_short() {
    let process = Process::start_json(&parts("retire = \"hang\"", ""));
    process.signal("TERM");
    process.wait_for_line("once more ends it at once");
    process.signal("INT");
    let (code, document) = process.wait_json();
    assert_eq!(code, Some(9), "{document}");
    assert_eq!(document["cut_short"], true);
    assert_eq!(document["clean"], false);
    assert_eq!(slots(&document, "unfinished"), ["task/job"]);
    assert_eq!(slots(&document, "retired"), ALL);

    let process = Process::start(&parts("retire = \"hang\"", ""));
    process.signal("TERM");
    process.wait_for_line("once more ends it at once");
    process.signal("TERM");
    let (code, said) = process.wait();
    assert_eq!(code, Some(9), "{said}");
    let end = "oneiric was ended before everything was retired\n  task/job: retire: not done when the time of the \
               shutdown was up\n";
    assert!(said.ends_with(end), "{said}");
}

#[test]
fn p19_a_second_signal_ends_a_call_and_a_slow_one_is_named_with_its_calls() {
    let process = Process::start(&parts("call = \"hang\"", ""));
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| process.oneiric(&["call", "task/job", "get", "key=a"]));
        eventually("a call is in flight", || {
            let status = process.oneiric(&["status", "task/job", "--json"]).json();
            status["slots"][0]["in_flight"] == json!(1)
        });
        process.signal("TERM");
        process.wait_for_line("once more ends it at once");
        process.signal("TERM");
        let answer = calling.join().unwrap();
        assert_ne!(answer.code, Some(0), "{answer:?}");
    });
    let (code, said) = process.wait();
    assert_eq!(code, Some(9), "{said}");
    let line = "  task/job: drain: 1 call was not done in time on flaky (instance ";
    assert!(said.contains(line), "{said}");
}

#[test]
fn p19_a_component_that_is_still_being_built_keeps_no_process_from_ending() {
    let process = Process::start(&parts("build = \"hang\"", "run.activate = \"on_use\""));
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| process.oneiric(&["call", "task/job", "get", "key=a"]));
        eventually("it is being built", || {
            let status = process.oneiric(&["status", "task/job", "--json"]).json();
            status["slots"][0]["state"] == json!("activating")
        });
        process.signal("TERM");
        let answer = calling.join().unwrap();
        assert!(answer.stderr.contains("(lifecycle.stopped)"), "{answer:?}");
    });
    let (code, said) = process.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.ends_with("oneiric has stopped: 1 slot retired\n"),
        "{said}"
    );
}
