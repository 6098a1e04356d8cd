//! `cargo xtask test`: every test of the workspace, as the README promises it in one command.
//!
//! It is `cargo test` and nothing else, with three things around it: the real `oneiric` binary is
//! built first, because the end-to-end tests start it; the conformance tests say how many cases of
//! each family they ran, since a family that runs no case must not look like one that passes; and
//! the results of all test programs are added up at the end.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Failure;
use crate::workspace::{BENCH, CLI, SCENARIOS, Workspace, cannot_start, finish};

pub(crate) const HELP: &str = "\
Runs the tests with `cargo test`: unit, integration, end-to-end and documentation tests. Arguments
are passed on, so everything that `cargo test` can do works here. Without `-p` it is the whole
workspace except the benchmarks.

Usage: cargo xtask test [CARGO TEST ARGUMENTS]

Examples:
  cargo xtask test                           every test
  cargo xtask test -p oneiric-core           one crate's tests
  cargo xtask test -p oneiric-core p04_      of those, the ones with `p04_` in their name
  cargo xtask test -- --nocapture            with everything the tests print

End-to-end tests start the binary named by the variable ONEIRIC_BIN, which this task sets.";

/// What tells the end-to-end tests which binary to start.
const BINARY_VARIABLE: &str = "ONEIRIC_BIN";

/// The packages that are tested together, with every feature: a test behind one that nothing in the
/// workspace switches on would never run.
const EVERYTHING: &[&str] = &["--workspace", "--exclude", BENCH, "--all-features"];

/// Everything that their tests consist of. Building it in one go, rather than the binary by itself,
/// makes features add up as they do for the tests, so that nothing is built twice.
pub(crate) const ALL_TARGETS: &[&str] = &[
    "--workspace",
    "--exclude",
    BENCH,
    "--all-features",
    "--all-targets",
];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    let whole = chosen_packages(args).is_empty();
    let mut command = workspace.cargo(["test", "--locked", "--no-fail-fast"]);
    command.args(if whole { EVERYTHING } else { &[] });
    if needs_binary(workspace, args) {
        let built = if whole {
            ALL_TARGETS
        } else {
            &["--package", CLI]
        };
        command.env(BINARY_VARIABLE, build_binary(workspace, built)?);
    }
    if args.is_empty() {
        show_conformance(workspace)?;
    }
    test(command.args(args))
}

/// Builds packages with the binary among them, and says where it is.
pub(crate) fn build_binary(workspace: &Workspace, selection: &[&str]) -> Result<PathBuf, Failure> {
    let mut command = workspace.cargo([
        "build",
        "--locked",
        "--message-format=json-render-diagnostics",
    ]);
    command
        .args(selection)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| cannot_start(&command, &error))?;
    finish(output.status)?;
    let messages = String::from_utf8(output.stdout).map_err(Failure::failed)?;
    binary_in(&messages)
        .ok_or_else(|| Failure::failed(format!("building {CLI} made no binary `oneiric`")))
}

/// The path of the binary in cargo's messages about what it built.
fn binary_in(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        // The binary's own unit tests are a program of that name, too.
        .filter(|artifact| !artifact.profile.test)
        .filter(|artifact| artifact.target.name == "oneiric")
        .filter(|artifact| artifact.target.kind.iter().any(|kind| kind == "bin"))
        .find_map(|artifact| artifact.executable)
}

/// The packages that the arguments name: `-p NAME`, `-pNAME`, `--package NAME`, `--package=NAME`.
fn chosen_packages(args: &[String]) -> BTreeSet<&str> {
    let mut packages = BTreeSet::new();
    let mut args = args
        .iter()
        .map(String::as_str)
        .take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "-p" || arg == "--package" {
            packages.extend(args.next());
        } else if let Some(name) = arg.strip_prefix("--package=").or(arg.strip_prefix("-p")) {
            packages.insert(name);
        }
    }
    packages
}

/// Whether tests that start the binary are among the chosen ones.
fn needs_binary(workspace: &Workspace, args: &[String]) -> bool {
    let chosen = chosen_packages(args);
    workspace.package(CLI).is_some() && (chosen.is_empty() || chosen.contains(SCENARIOS))
}

/// Runs the conformance tests once by themselves, for what they print. Their results count in the
/// main run; here only a failure matters, and then the main run shows it with everything else.
fn show_conformance(workspace: &Workspace) -> Result<(), Failure> {
    let mut command = workspace.cargo(["test", "--locked", "--test", "it"]);
    command
        .args(EVERYTHING)
        .args(["--", "conformance", "--nocapture"]);
    let output = command
        .output()
        .map_err(|error| cannot_start(&command, &error))?;
    if output.status.success() {
        for line in printed_by_tests(&String::from_utf8_lossy(&output.stdout)) {
            println!("{line}");
        }
    }
    Ok(())
}

/// What tests themselves printed, without the lines of the test harness around it. On a machine
/// with one core the harness begins the line (`test name ... `) that a test then writes into.
fn printed_by_tests(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .map(|line| {
            match line
                .strip_prefix("test ")
                .and_then(|test| test.split_once(" ... "))
            {
                Some((_, printed)) => printed,
                None => line,
            }
        })
        .filter(|line| !matches!(line.trim(), "" | "ok"))
        .filter(|line| !line.starts_with("running ") && !line.starts_with("test result:"))
}

/// Runs the tests: everything they print passes through, and is added up on the way.
fn test(command: &mut Command) -> Result<(), Failure> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .map_err(Failure::failed)?
            > 0
        {
            std::io::stdout()
                .write_all(&line)
                .map_err(Failure::failed)?;
            tally.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait().map_err(Failure::failed)?;
    println!("{}", tally.summary());
    finish(status)
}

/// The sum over all test programs.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
}

impl Tally {
    /// Takes in a line of the test harness; others mean nothing to it.
    fn add(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|test| test.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        // `ok. 3 passed; 0 failed; 1 ignored; ...`
        for count in counts.split(['.', ';']) {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        if !self.failures.is_empty() {
            text.push_str("failed:\n");
            for name in &self.failures {
                text.push_str(&format!("  {name}\n"));
            }
            text.push_str("run one again with `cargo xtask test -p CRATE NAME`\n\n");
        }
        text.push_str(&format!("{} passed, {} failed", self.passed, self.failed));
        if self.ignored > 0 {
            text.push_str(&format!(", {} skipped", self.ignored));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn results_are_added_up_over_all_test_programs() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test slot::a ... ok",
            "test slot::b ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.add(line);
        }
        let summary = tally.summary();
        assert!(summary.starts_with("failed:\n  slot::b\n"), "{summary}");
        assert!(
            summary.ends_with("\n41 passed, 1 failed, 1 skipped"),
            "{summary}"
        );
    }

    #[test]
    fn a_good_run_ends_in_one_plain_line() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 2 passed; 0 failed; 0 ignored");
        assert_eq!(tally.summary(), "2 passed, 0 failed");
    }

    #[test]
    fn packages_are_found_in_every_spelling_and_only_before_two_dashes() {
        let args = words("-p a --package b --package=c -pd name -- -p e");
        assert_eq!(chosen_packages(&args), BTreeSet::from(["a", "b", "c", "d"]));
    }

    #[test]
    fn only_what_tests_print_is_shown() {
        let output = "\nrunning 2 tests\nresolution: 54 cases\ntest a::resolution ... ok\n\
                      test a::keys ... keys: 12 cases\nok\n\ntest result: ok. 2 passed\n";
        let shown: Vec<_> = printed_by_tests(output).collect();
        assert_eq!(shown, ["resolution: 54 cases", "keys: 12 cases"]);
    }

    #[test]
    fn the_binary_is_told_from_its_unit_tests_and_from_other_programs() {
        let line = |name: &str, test: bool, path: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "target": {"name": name, "kind": ["bin"]},
                "profile": {"test": test},
                "executable": path,
            })
            .to_string()
        };
        let messages = [
            line("oneiric", true, "/t/deps/oneiric-1"),
            line("embed", false, "/t/embed"),
            "{\"reason\":\"build-finished\"}".to_owned(),
            line("oneiric", false, "/t/oneiric"),
        ]
        .join("\n");
        assert_eq!(binary_in(&messages), Some(PathBuf::from("/t/oneiric")));
        assert_eq!(binary_in(""), None);
    }
}
