//! What shells complete, asked in a real shell with the real script, and the manual.

use std::os::unix::net::UnixListener;
use std::process::Command;

use oneiric_tests::program::is_there;
use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, binary};

/// A shell that finds `oneiric`.
fn with_path(place: &Place, shell: &str) -> Command {
    let mut command = place.command(shell);
    let beside = binary::path().canonicalize().unwrap();
    let path = format!(
        "{}:{}",
        beside.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    command.env("PATH", path);
    command
}

/// What bash offers at the end of `line`, whose last word is `current` for bash.
fn offered(place: &Place, line: &str, current: &str) -> Vec<String> {
    // As bash itself calls a completion function; only the cursor's word matters to it.
    let script = r#"
        eval "$(oneiric completions bash)"
        complete -p oneiric > /dev/null || exit 9
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(oneiric "$2") COMP_CWORD=1
        _oneiric
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = with_path(place, "bash");
    bash.args(["-c", script, "bash", line, current]);
    let said = Place::answer(&mut bash).ok();
    let lines = said.lines().filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_the_slots_and_providers_of_the_process() {
    let process = Process::start(CACHES);
    let place = process.place();
    assert_eq!(offered(place, "oneiric sw", "sw"), ["swap"]);
    assert_eq!(
        offered(place, "oneiric status ", ""),
        ["adapter/cache", "service/clock"]
    );
    assert_eq!(
        offered(place, "oneiric swap adapter/cache ", ""),
        ["file", "flaky", "memory"]
    );
    assert_eq!(
        offered(place, "oneiric swap adapter/cache fi", "fi"),
        ["file"]
    );
    // bash breaks words at `=` and `:` and replaces only what follows.
    assert_eq!(
        offered(place, "oneiric explain adapter/cache --what-if down=f", "f"),
        ["file", "flaky"]
    );
    assert_eq!(
        offered(place, "oneiric explain adapter/cache --what-if=down=", "="),
        ["file", "flaky", "memory"]
    );
    assert_eq!(
        offered(
            place,
            "oneiric explain adapter/cache --what-if priority:m",
            "m"
        ),
        ["memory="]
    );
}

#[test]
fn without_a_process_bash_completes_what_needs_none() {
    let place = Place::new();
    assert_eq!(offered(&place, "oneiric swap --cl", "--cl"), ["--clear"]);
    assert_eq!(offered(&place, "oneiric status ", ""), [""; 0]);
    assert!(!place.path().join(".oneiric").exists());
    // One that never answers is given up.
    std::fs::create_dir(place.path().join(".oneiric")).unwrap();
    let _silent = UnixListener::bind(place.socket()).unwrap();
    assert_eq!(offered(&place, "oneiric status ", ""), [""; 0]);
}

#[test]
fn every_shell_has_a_script_that_it_can_read() {
    let place = Place::new();
    for (shell, flag) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = place.oneiric(&["completions", shell]).ok();
        assert!(script.contains(" complete "), "{script}");
        place.write("script", &script);
        if !is_there(shell) {
            continue;
        }
        let output = place
            .command(shell)
            .args([flag, "script"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
        // A shell that reads whatever it is given says nothing about a script.
        place.write("script", "if [ (\n");
        let output = place
            .command(shell)
            .args([flag, "script"])
            .output()
            .unwrap();
        assert!(!output.status.success(), "{shell}: {output:?}");
    }
}

#[test]
fn fish_completes_the_slots_of_the_process() {
    if !is_there("fish") {
        return;
    }
    let process = Process::start(CACHES);
    let offered = |line: &str| {
        let script = "oneiric completions fish | source; complete -C $argv[1]";
        let mut fish = with_path(process.place(), "fish");
        fish.args(["--no-config", "-c", script, line]);
        let said = Place::answer(&mut fish).ok();
        let words = said.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(offered("oneiric sw"), ["swap"]);
    assert_eq!(
        offered("oneiric history "),
        ["adapter/cache", "service/clock"]
    );
    assert_eq!(offered("oneiric swap adapter/cache f"), ["file", "flaky"]);
}

#[test]
fn zsh_completes_the_slots_of_the_process() {
    if !is_there("zsh") {
        return;
    }
    let process = Process::start(CACHES);
    // What zsh would add to the line, noted by a stand-in for the one that adds it: without a terminal there is none.
    let script = r#"
        compdef() { : }
        eval "$(oneiric completions zsh)"
        compadd() { shift 2; print -rl -- "$@" }
        words=(oneiric history "") CURRENT=3
        _oneiric
    "#;
    let mut zsh = with_path(process.place(), "zsh");
    zsh.args(["--no-rcs", "-c", script]);
    assert_eq!(
        Place::answer(&mut zsh).ok(),
        "adapter/cache\nservice/clock\n"
    );
}

#[test]
fn the_manual_is_written_whole() {
    let place = Place::new();
    let listed = place.oneiric(&["man", "manual"]).ok();
    assert!(listed.contains("manual/oneiric.1\n") && listed.contains("manual/oneiric-swap.1\n"));
    for file in listed.lines() {
        let page = std::fs::read_to_string(place.path().join(file)).unwrap();
        assert!(
            page.contains(".TH") && page.contains("Examples:"),
            "{file}: {page}"
        );
    }
    let page = place.oneiric(&["man"]).ok();
    assert!(page.contains(".TH ONEIRIC"), "{page}");
}
