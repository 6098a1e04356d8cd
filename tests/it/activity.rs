//! Pausing, draining and resuming from one shell, while others call (docs/spec/activity.md).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Answer, Place, Process, binary, eventually};
use serde_json::Value;

/// `slow` answers after a while, `stuck` never.
const SLOW: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "slow"
factory = "oneiric.builtins:flaky_cache"

[[candidates]]
slot = "adapter/stuck"
provider = "stuck"
factory = "oneiric.builtins:flaky_cache"

[providers."adapter/cache".slow]
call = "slow"
delay_ms = 1500

[providers."adapter/stuck".stuck]
call = "hang"
"#;

const GET: [&str; 4] = ["call", "adapter/cache", "get", "\"a\""];

fn shown(process: &Process, scope: &str) -> Value {
    let document = process.oneiric(&["activity", scope, "--json"]).json();
    document["scopes"][0].clone()
}

/// A command that runs beside the test.
fn begin(process: &Process, words: &[&str]) -> Child {
    let mut command = process.place().command(binary::path());
    command
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// A call that has begun.
fn call_in_flight(process: &Process, slot: &str) -> Child {
    let call = begin(process, &["call", slot, "get", "\"a\""]);
    eventually("the call is in flight", || {
        shown(process, slot)["in_flight"] == 1
    });
    call
}

fn end(child: Child) -> Answer {
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn p68_a_pause_in_one_shell_refuses_the_next_call_in_another() {
    let process = Process::start(CACHES);
    process.oneiric(&GET).ok();
    let words = [
        "pause",
        "adapter/cache",
        "--note",
        "migrating the index",
        "--for",
        "30m",
    ];
    let said = process.oneiric(&words).ok();
    assert_eq!(said, "adapter/cache: paused, resumes by itself in 30 min\n");

    let said = process.oneiric(&GET).failed(6);
    assert!(
        said.starts_with("error: adapter/cache is paused by uid:"),
        "{said}"
    );
    assert!(said.contains("Z: migrating the index; until 20"), "{said}");
    assert!(
        said.contains("hint: it resumes by itself then; `oneiric resume adapter/cache`"),
        "{said}"
    );
    let document = process
        .oneiric(&[&GET[..], &["--json"]].concat())
        .failed_json(6);
    assert_eq!(
        (&document["code"], &document["kind"]),
        (&"lifecycle.busy".into(), &"busy".into())
    );
    let wait = document["retry_after_ms"].as_u64().unwrap();
    assert!((1_000_000..=1_800_000).contains(&wait), "{document}");
    // Other slots do not notice.
    process.oneiric(&["call", "service/clock", "now"]).ok();
    let said = process.oneiric(&["status"]).ok();
    assert!(
        said.contains("active, paused  ") && said.contains("\nadapter/cache: paused by uid:"),
        "{said}"
    );
    assert!(said.contains(": migrating the index\n"), "{said}");
    assert!(process.oneiric(&["list"]).ok().contains("active, paused"));
    let said = process.oneiric(&["activity"]).ok();
    let row: Vec<&str> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[1]), ("adapter/cache", "paused"), "{said}");
    // An operator's swap goes ahead, and resumes nothing.
    process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    process.oneiric(&GET).failed(6);

    let said = process
        .oneiric(&["resume", "adapter/cache", "--note", "done"])
        .ok();
    assert_eq!(said, "adapter/cache: resumed, was paused\n");
    process.oneiric(&GET).ok();
    assert_eq!(process.oneiric(&["activity"]).ok(), "everything runs\n");
    let said = process.oneiric(&["resume", "adapter/cache"]).ok();
    assert_eq!(said, "adapter/cache: was not paused\n");
}

#[test]
fn a_provider_is_paused_for_as_long_as_it_serves() {
    let process = Process::start(CACHES);
    process
        .oneiric(&["pause", "adapter/cache", "--provider", "memory"])
        .ok();
    let said = process.oneiric(&GET).failed(6);
    assert!(said.contains("paused (adapter/cache:memory)"), "{said}");
    process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    process.oneiric(&GET).ok();
    process.oneiric(&["swap", "adapter/cache", "memory"]).ok();
    process.oneiric(&GET).failed(6);
    process.oneiric(&["resume", "adapter/cache:memory"]).ok();
    process.oneiric(&GET).ok();
}

#[test]
fn a_whole_domain_is_closed_only_by_somebody_who_was_told_what_that_is() {
    let process = Process::start(CACHES);
    let said = process.oneiric(&["drain", "adapter/*"]).failed(2);
    let effect = "error: this drains adapter/* (1 slot now, and those that appear later): new calls \
                  are refused until it is resumed; nobody can be asked";
    assert!(said.starts_with(effect), "{said}");
    assert!(
        said.contains("(cli.not_confirmed)") && said.contains("add --yes"),
        "{said}"
    );
    process.oneiric(&GET).ok();
    process.oneiric(&["drain", "adapter/*", "--yes"]).ok();
    process.oneiric(&GET).failed(6);
    let said = process.oneiric(&["resume", "adapter/cache"]).ok();
    assert!(
        said.ends_with("it still takes no work: adapter/* does not run\n"),
        "{said}"
    );
    process.oneiric(&["resume", "adapter/*"]).ok();
    process.oneiric(&GET).ok();
}

#[test]
fn a_star_that_a_shell_replaced_is_recognised() {
    let process = Process::start(CACHES);
    process.place().write("adapter/one.rs", "");
    process.place().write("adapter/two.rs", "");
    let script = format!("{} pause adapter/* --yes", binary::path().display());
    let said = Place::answer(process.place().command("sh").args(["-c", &script])).failed(2);
    assert!(
        said.contains("put the scope in quotes: 'adapter/*'"),
        "{said}"
    );
    assert_eq!(process.oneiric(&["activity"]).ok(), "everything runs\n");
}

#[test]
fn names_that_are_not_there_are_refused_with_what_may_be_meant() {
    let process = Process::start(CACHES);
    let said = process.oneiric(&["pause", "adapter/cahce"]).failed(4);
    assert!(said.contains("(runtime.scope_unknown)"), "{said}");
    assert!(
        said.contains("hint: did you mean 'adapter/cache'?"),
        "{said}"
    );
    let said = process.oneiric(&["pause", "cache"]).failed(2);
    assert!(said.contains("(lifecycle.invalid_scope)"), "{said}");
    let said = process
        .oneiric(&["pause", "adapter/cache", "--for", "31d"])
        .failed(2);
    assert!(said.contains("from 1s to 30d"), "{said}");
    let note = "n".repeat(2_000);
    process
        .oneiric(&["pause", "adapter/cache", "--note", &note])
        .failed(2);
    assert_eq!(process.oneiric(&["activity"]).ok(), "everything runs\n");
}

#[test]
fn p69_drain_waits_for_the_call_that_runs() {
    let process = Process::start(SLOW);
    let call = call_in_flight(&process, "adapter/cache");
    let said = process
        .oneiric(&["drain", "adapter/cache", "--note", "moving"])
        .ok();
    assert_eq!(said, "adapter/cache: draining, 1 call to finish\n");
    process.oneiric(&GET).failed(6);
    let answer = process.oneiric(&["drain", "adapter/cache", "--wait"]);
    // A log is not filled with what changes by itself.
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:?}");
    assert!(
        answer
            .stderr
            .starts_with("adapter/cache: waiting for 1 call, oldest "),
        "{answer:?}"
    );
    assert_eq!(
        answer.ok(),
        "adapter/cache: drained, nothing runs any more\n"
    );
    end(call).ok();
    // Waiting took nothing from what was said, and the slot stays closed.
    let scope = shown(&process, "adapter/cache");
    assert_eq!(
        (&scope["note"], &scope["drained"]),
        (&"moving".into(), &true.into())
    );
    process.oneiric(&GET).failed(6);
    let document = process
        .oneiric(&["drain", "adapter/cache", "--wait", "--json"])
        .json();
    // As without waiting.
    assert_eq!(document["schema"], "oneiric.activity_change/1");
    assert_eq!(
        (&document["now"]["drained"], &document["before"]),
        (&true.into(), &"draining".into())
    );
    process.oneiric(&["resume", "adapter/cache"]).ok();
}

#[test]
fn p69_a_drain_that_takes_too_long_says_what_still_runs_and_goes_on() {
    let process = Process::start(SLOW);
    let mut call = call_in_flight(&process, "adapter/stuck");
    let words = ["drain", "adapter/stuck", "--wait", "--timeout", "1s"];
    let said = process.oneiric(&words).failed(8);
    assert!(
        said.contains(
            "error: adapter/stuck is not empty after 1 s; it goes on draining, with 1 call in flight, oldest "
        ) && said.contains(" s (cli.timed_out)\n  adapter/stuck: 1 call on stuck (instance "),
        "{said}"
    );
    assert!(
        said.contains("`oneiric resume adapter/stuck` takes work again"),
        "{said}"
    );
    assert_eq!(shown(&process, "adapter/stuck")["activity"], "draining");
    // It ran for as long as the drain was waited for, at least.
    let now = shown(&process, "adapter/stuck");
    assert!(now["oldest_ms"].as_u64().unwrap() >= 1_000, "{now}");
    let said = process.oneiric(&["activity", "adapter/stuck"]).ok();
    assert!(said.contains("  1, oldest "), "{said}");
    call.kill().unwrap();
    call.wait().unwrap();
}

#[test]
fn whoever_stops_waiting_leaves_the_slot_draining_and_is_told_so() {
    let process = Process::start(SLOW);
    let mut call = call_in_flight(&process, "adapter/stuck");
    // By Ctrl-C.
    let mut drain = begin(&process, &["drain", "adapter/stuck", "--wait"]);
    let mut stderr = BufReader::new(drain.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(
        line.starts_with("adapter/stuck: waiting for 1 call, oldest "),
        "{line}"
    );
    let script = format!("kill -INT {}", drain.id());
    Place::answer(process.place().command("sh").args(["-c", &script])).ok();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(drain.wait().unwrap().code(), Some(8), "{said}");
    assert!(
        said.contains("interrupted; adapter/stuck goes on draining"),
        "{said}"
    );
    assert!(
        said.contains("(cli.interrupted)") && said.contains("oneiric resume"),
        "{said}"
    );
    assert_eq!(shown(&process, "adapter/stuck")["activity"], "draining");
    // Because somebody else resumed it.
    let mut drain = begin(&process, &["drain", "adapter/stuck", "--wait"]);
    let mut stderr = BufReader::new(drain.stderr.take().unwrap());
    line.clear();
    stderr.read_line(&mut line).unwrap();
    process.oneiric(&["resume", "adapter/stuck"]).ok();
    said.clear();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(drain.wait().unwrap().code(), Some(8), "{said}");
    assert!(
        said.contains("does not drain any more") && said.contains("(cli.drain_lifted)"),
        "{said}"
    );
    call.kill().unwrap();
    call.wait().unwrap();
}

#[test]
fn what_is_paused_for_a_time_resumes_by_itself() {
    let process = Process::start(CACHES);
    process
        .oneiric(&["pause", "adapter/cache", "--for", "1s"])
        .ok();
    eventually("the time is up", || {
        process.oneiric(&["activity"]).ok() == "everything runs\n"
    });
    process.oneiric(&GET).ok();
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_afterwards_and_nothing_else() {
    let mut place = Place::with(CACHES);
    let slots = [
        "adapter/cache",
        "service/clock",
        "adapter/cache:file",
        "task/*",
        "adapter/*",
    ];
    for round in 0..4 {
        let process = Process::start_in(place, &["run"]);
        let before = process.oneiric(&["activity", "--json"]).json();
        if round > 0 {
            // As the last round left it.
            assert_eq!(before["scopes"].as_array().unwrap().len(), 4, "{before}");
            process.oneiric(&GET).failed(6);
        }
        for (number, scope) in slots.iter().enumerate() {
            let command = if (number + round) % 2 == 0 {
                "pause"
            } else {
                "drain"
            };
            let note = format!("round {round}");
            process
                .oneiric(&[command, scope, "--yes", "--note", &note])
                .ok();
        }
        process.oneiric(&["resume", "task/*"]).ok();
        // Killed in the middle of one more change, which nobody was told of.
        let mut last = begin(&process, &["pause", "task/*", "--yes", "--for", "1s"]);
        process.signal("KILL");
        let acknowledged = last.wait().unwrap().success();
        place = process.into_place();
        let process = Process::start_in(place, &["run"]);
        let document = process.oneiric(&["activity", "--json"]).json();
        for scope in document["scopes"].as_array().unwrap() {
            let is_last = scope["scope"] == "task/*";
            assert!(
                is_last || scope["note"] == format!("round {round}"),
                "{scope}"
            );
        }
        let there = document["scopes"].as_array().unwrap().iter();
        let there = there.filter(|scope| scope["scope"] != "task/*").count();
        assert_eq!(there, 4, "{document}");
        if acknowledged {
            eventually("its time is up", || {
                shown(&process, "task/*")["activity"] == "running"
            });
        }
        eventually("only what lasts is left", || {
            let document = process.oneiric(&["activity", "--json"]).json();
            document["scopes"].as_array().unwrap().len() == 4
        });
        process.signal("KILL");
        place = process.into_place();
    }
}

#[test]
fn a_call_outlives_whoever_stops_waiting_for_it_and_a_swap_ends_it() {
    let process = Process::start(&format!(
        "{SLOW}\n[lifecycle]\ndrain_ms = 100\n[[candidates]]\nslot = \"adapter/stuck\"\nprovider = \"memory\"\n\
         factory = \"oneiric.builtins:memory_cache\"\npriority = -1\n"
    ));
    let words = [
        "call",
        "adapter/stuck",
        "get",
        "\"a\"",
        "--timeout",
        "200ms",
    ];
    let said = process.oneiric(&words).failed(8);
    assert!(
        said.contains("no answer within 200 ms; the call goes on (cli.timed_out)"),
        "{said}"
    );
    assert_eq!(shown(&process, "adapter/stuck")["in_flight"], 1);
    // Interrupted, too.
    let mut call = begin(&process, &words[..4]);
    eventually("the second call is in flight", || {
        shown(&process, "adapter/stuck")["in_flight"] == 2
    });
    call.kill().unwrap();
    call.wait().unwrap();
    process.oneiric(&["swap", "adapter/stuck", "memory"]).ok();
    eventually("nothing is in flight", || {
        shown(&process, "adapter/stuck")["in_flight"] == 0
    });
}

#[test]
fn a_name_that_nobody_knows_is_not_found_and_what_may_be_meant_is_told() {
    let process = Process::start(CACHES);
    for (words, meant) in [
        (vec!["list", "adaptor"], "adapter"),
        (vec!["list", "adaptor", "--offline"], "adapter"),
        (vec!["watch", "adapter/cahce"], "adapter/cache"),
        (vec!["status", "adapter/cahce"], "adapter/cache"),
        (vec!["resume", "adapter/cahce"], "adapter/cache"),
    ] {
        let said = process.oneiric(&words).failed(4);
        assert!(
            said.contains(meant) && said.contains("hint: "),
            "{words:?}: {said}"
        );
        assert!(!said.contains("pause"), "{words:?}: {said}");
    }
    // A domain that every program knows may be empty.
    let said = process.oneiric(&["list", "task"]).ok();
    assert!(said.contains("nothing is registered in task"), "{said}");
    let said = process
        .oneiric(&["pause", "adapter/cache", "--for", "0s"])
        .failed(2);
    assert!(
        said.contains("from 1s to 30d") && !said.contains("for_ms"),
        "{said}"
    );
}
