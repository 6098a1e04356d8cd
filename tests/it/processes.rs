//! One process and those around it: none, a second one, and its end.

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Answer, Place, Process, eventually};

/// A cache whose calls take a moment, so that one can be in flight at the end.
const SLOW: &str = r#"
[[candidates]]
slot = "adapter/cache"
provider = "slow"
factory = "oneiric.builtins:flaky_cache"

[providers."adapter/cache".slow]
call = "slow"
delay_ms = 1500
"#;

fn with_retire(behaviour: &str) -> String {
    format!(
        r#"
[[candidates]]
slot = "adapter/cache"
provider = "flaky"
factory = "oneiric.builtins:flaky_cache"

[providers."adapter/cache".flaky]
retire = "{behaviour}"
"#
    )
}

#[test]
fn a_process_that_serves_another_socket_is_not_taken_for_none() {
    let process = Process::start_in(Place::with(CACHES), &["run", "--socket", "other.sock"]);
    let said = process.oneiric(&["status"]).failed(8);
    assert!(said.contains(", although process "), "{said}");
    assert!(
        said.contains(" holds the state directory .oneiric (runtime.not_running)"),
        "{said}"
    );
    assert!(said.contains("--socket PATH"), "{said}");
    process.oneiric(&["status", "--socket", "other.sock"]).ok();
    let (code, _, place) = process.stop_in_place();
    assert_eq!(code, Some(0));
    // A lock that nobody holds any more names nobody.
    let said = place.oneiric(&["status"]).failed(8);
    assert!(!said.contains("although"), "{said}");
}

#[test]
fn a_process_is_found_where_its_settings_put_it() {
    let place = Place::with(&format!(
        "state_dir = \"elsewhere\"\n{CACHES}\n[admin]\nsocket = \"other.sock\"\n"
    ));
    let process = Process::start_in(place, &["run"]);
    process.oneiric(&["status"]).ok();
    // A fault in the file does not hide the process, and a file that is not there is not passed over.
    let settings = format!(
        "state_dir = \"elsewhere\"\nnobody_knows = 1\n{CACHES}\n[admin]\nsocket = \"other.sock\"\n"
    );
    process.place().write("oneiric.toml", &settings);
    process.oneiric(&["status"]).ok();
    let said = process
        .oneiric(&["status", "--config", "no.toml"])
        .failed(3);
    assert!(said.contains("runtime.settings_not_found"), "{said}");
}

#[test]
fn broken_settings_hide_no_process_and_are_warned_of() {
    let process = Process::start(CACHES);
    let place = process.place();
    let file = place.path().join("oneiric.toml");
    let warned = |words: &[&str], why: &str| {
        let answer = process.oneiric(words);
        let warning = format!("warning: {why}");
        assert!(answer.stderr.starts_with(&warning), "{words:?}: {answer:?}");
        assert!(
            answer
                .stderr
                .ends_with("; asking whoever serves .oneiric/admin.sock\n"),
            "{words:?}: {answer:?}"
        );
        answer.ok()
    };
    let commands = [
        &["status"][..],
        &["list"],
        &["history"],
        &["activity"],
        &["explain", "adapter/cache"],
        &["call", "adapter/cache", "get", "key=a"],
        &["swap", "adapter/cache", "file"],
        &["pause", "adapter/cache"],
        &["config", "show"],
        &["secrets", "list"],
        &["state", "show"],
        &["watch", "--timeout", "1ms"],
    ];
    for (text, why) in [
        ("[run\n", "oneiric.toml:1:"),
        ("nobody_knows = 1\n", "oneiric.toml:1:1: nobody_knows: "),
    ] {
        place.write("oneiric.toml", text);
        for words in commands {
            warned(words, why);
        }
        process.oneiric(&["resume", "adapter/cache"]);
    }
    // For root every file is readable; a directory in its place is not, for anybody.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for words in commands {
        warned(words, "cannot read oneiric.toml: ");
    }
    // For programs there is the document and nothing else, and so for what asks no process.
    let answer = process.oneiric(&["status", "--json"]);
    assert_eq!(answer.stderr, "");
    answer.json();
    assert_eq!(process.oneiric(&["metrics", "--reference"]).stderr, "");
    let said = process.oneiric(&["config", "check"]).failed(3);
    assert!(
        said.starts_with("error: cannot read oneiric.toml"),
        "{said}"
    );
    // One that was named and is not there means another process than this.
    let said = process
        .oneiric(&["status", "--config", "no.toml"])
        .failed(3);
    assert!(said.contains("runtime.settings_not_found"), "{said}");
    // With nobody there, the warning is followed by the error and where else to look.
    process.signal("KILL");
    let place = process.into_place();
    let said = place.oneiric(&["status"]).failed(8);
    assert!(
        said.contains("(runtime.not_running)") && said.contains("--state-dir DIR"),
        "{said}"
    );
}

#[test]
fn a_process_is_found_by_what_a_broken_file_still_says() {
    let settings = format!("state_dir = \"elsewhere\"\n{CACHES}");
    let process = Process::start_in(Place::with(&settings), &["run"]);
    // Somebody saves while they type.
    let half = format!("{settings}\n[admin]\nmax_connections = \n[run\n");
    process.place().write("oneiric.toml", &half);
    let answer = process.oneiric(&["status"]);
    assert!(answer.stderr.starts_with("warning: "), "{answer:?}");
    assert!(answer.stderr.contains("elsewhere/admin.sock"), "{answer:?}");
    answer.ok();
}

#[test]
fn a_start_that_activates_nothing_says_so_and_names_selections_of_nobody() {
    let settings = "[[candidates]]\nslot = \"adapter/cache\"\nprovider = \"flaky\"\n\
                    factory = \"oneiric.builtins:flaky_cache\"\n\
                    [providers.\"adapter/cache\".flaky]\nbuild = \"fail\"\n\
                    [selections]\n\"adapter/cache\" = \"flakey\"\n";
    let process = Process::start(settings);
    process.wait_for_line("stop it with");
    let said = process.stderr();
    assert!(
        said.contains("oneiric is running: 0 of 1 slot active\n"),
        "{said}"
    );
    let warning = "  warning: adapter/cache: the settings selection flakey names nobody";
    assert!(said.contains(warning), "{said}");
    let answer = process.oneiric(&["health"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(
        answer.stdout.contains("see `oneiric status adapter/cache`"),
        "{answer:?}"
    );
}

#[test]
fn p22_without_a_process_every_command_says_so_and_writes_nothing() {
    for words in [
        &["list"][..],
        &["explain", "adapter/cache"],
        &["status"],
        &["call", "adapter/cache", "get", "\"a\""],
        &["swap", "adapter/cache", "file"],
        &["health", "--probe"],
    ] {
        let place = Place::with(CACHES);
        let said = place.oneiric(words).failed(8);
        let lines: Vec<&str> = said.lines().collect();
        let [error, "", hint] = lines[..] else {
            panic!("{words:?}: {said}")
        };
        assert!(
            error.starts_with("error: nothing is running at .oneiric/admin.sock"),
            "{said}"
        );
        assert!(error.ends_with("(runtime.not_running)"), "{said}");
        assert!(
            hint.starts_with("hint: start it with `oneiric run"),
            "{said}"
        );
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{words:?} left {left:?}");

        let document = place.oneiric(&[words, &["--json"]].concat()).failed_json(8);
        assert_eq!(document["code"], "runtime.not_running");
        assert_eq!(document["exit_code"], 8);
    }
}

#[test]
fn p22_what_a_killed_process_left_behind_is_not_taken_for_a_running_one() {
    let process = Process::start(CACHES);
    process.signal("KILL");
    let place = process.into_place();
    assert!(place.socket().exists());
    let said = place.oneiric(&["status"]).failed(8);
    assert!(said.contains("(runtime.not_running)"), "{said}");
    // The next one is not kept from starting by it either.
    let process = Process::start_in(place, &["run"]);
    process.oneiric(&["status"]).ok();
}

#[test]
fn p21_a_second_process_is_refused_and_the_first_goes_on() {
    let process = Process::start(CACHES);
    let said = process.oneiric(&["run"]).failed(6);
    assert!(
        said.contains("(runtime.already_running)") && said.contains("hint:"),
        "{said}"
    );
    let document = process.oneiric(&["run", "--json"]).failed_json(6);
    assert_eq!(document["code"], "runtime.already_running");
    process.oneiric(&["status"]).ok();
}

#[test]
fn the_first_lines_say_what_is_active_where_and_how_to_stop() {
    let process = Process::start(CACHES);
    let said = process.stderr();
    let pattern = "oneiric is running: adapter/cache (memory), service/clock (system) active";
    assert!(said.starts_with(pattern), "{said}");
    process.wait_for_line("stop it with Ctrl-C");
    assert!(
        process.stderr().contains("socket .oneiric/admin.sock"),
        "{}",
        process.stderr()
    );
}

#[test]
fn p19_sigterm_lets_the_call_under_way_finish_and_exits_0() {
    let answer = interrupted_call("TERM");
    assert_eq!(answer.ok(), "null\n");
}

#[test]
fn ctrl_c_does_the_same() {
    let answer = interrupted_call("INT");
    assert_eq!(answer.ok(), "null\n");
}

/// Stops a process with this signal while a call is in flight; gives what the caller got.
fn interrupted_call(signal: &str) -> Answer {
    let process = Process::start(SLOW);
    let in_flight = || process.oneiric(&["status", "--json"]).json()["slots"][0]["in_flight"] == 1;
    let call = std::thread::scope(|scope| {
        let call = || process.oneiric(&["call", "adapter/cache", "get", "key=a"]);
        let mut caller = scope.spawn(call);
        // On a crowded machine a call may be over before anybody looks; then the next one is it.
        eventually("a call is in flight", || {
            if caller.is_finished() {
                caller = scope.spawn(call);
            }
            in_flight()
        });
        process.signal(signal);
        process.wait_for_line("oneiric is stopping");
        caller.join().unwrap()
    });
    let (code, said) = process.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.ends_with("oneiric has stopped: 1 slot retired\n"),
        "{said}"
    );
    call
}

#[test]
fn a_clean_end_leaves_no_socket_and_a_next_start_works() {
    let process = Process::start(CACHES);
    let (code, said, place) = process.stop_in_place();
    assert_eq!(code, Some(0), "{said}");
    assert!(!place.socket().exists());
    let process = Process::start_in(place, &["run"]);
    process.oneiric(&["status"]).ok();
}

#[test]
fn an_unclean_end_exits_9_and_names_what_was_not_retired() {
    let (code, said) = Process::start(&with_retire("fail")).stop();
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("1 slot not retired cleanly"), "{said}");
    assert!(said.contains("adapter/cache: retire: "), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let process = Process::start(&with_retire("hang"));
    process.signal("TERM");
    process.wait_for_line("once more ends it at once");
    process.signal("TERM");
    let (code, said) = process.wait();
    assert_eq!(code, Some(9), "{said}");
    assert!(
        said.contains("ended before everything was retired"),
        "{said}"
    );
}

#[test]
fn options_and_variables_say_where_it_runs() {
    let place = Place::new();
    place.write("elsewhere.toml", CACHES);
    let words = [
        "run",
        "--config",
        "elsewhere.toml",
        "--state-dir",
        "s",
        "--socket",
        "here.sock",
    ];
    let process = Process::start_in(place, &words);
    process.oneiric(&["status"]).failed(8);
    process.oneiric(&["status", "--state-dir", "s"]).failed(8);
    process.oneiric(&["--socket", "here.sock", "status"]).ok();
    drop(process);

    let place = Place::new();
    place.write("elsewhere.toml", CACHES);
    let process = Process::start_with(
        place,
        &["run"],
        &[
            ("ONEIRIC_CONFIG", "elsewhere.toml"),
            ("ONEIRIC_STATE_DIR", "t"),
            ("ONEIRIC_STATE_DRI", "u"),
        ],
    );
    process.oneiric(&["status", "--state-dir", "t"]).ok();
    process.wait_for_line("ONEIRIC_STATE_DRI");
}
