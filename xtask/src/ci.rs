//! `cargo xtask ci`: the one list of checks that CI runs after the tests.
//!
//! Everything CI does can be done here by the same words, so a red check is never a riddle. All
//! steps run even when one fails: a person who waits for a build wants to know everything it has
//! to say. Every step uses the same target folder and, where it can, `clippy` in place of `check`,
//! so that dependencies are built once.

use std::time::Duration;

use crate::workspace::{BENCH, Workspace, run as run_command};
use crate::{Failure, cli_reference, codes, layers, models};

mod features;

pub(crate) const HELP: &str = "\
Runs every check except the tests, all of them even if one fails, and ends with a table.

Usage: cargo xtask ci [STEP...]
       cargo xtask ci --list

Examples:
  cargo xtask ci                everything
  cargo xtask ci fmt clippy     only these steps
  cargo xtask ci --list         the steps and what each of them is for";

/// One check.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<Verdict, Failure>,
}

/// How a step can end well.
#[derive(Debug)]
enum Verdict {
    Passed,
    /// It did not run, and why; shown in the table, so that nobody takes it for passed.
    Skipped(&'static str),
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "every file is formatted",
        run: fmt,
    },
    Step {
        name: "layers",
        about: "crates depend only on what the table allows",
        run: layers_step,
    },
    Step {
        name: "codes",
        about: "every error code is explained and tested",
        run: codes_step,
    },
    Step {
        name: "clippy",
        about: "no lint fires, anywhere, with every feature on",
        run: clippy,
    },
    Step {
        name: "alone",
        about: "each library is clean by itself: without features, with each of them, with all",
        run: features::alone,
    },
    Step {
        name: "bare",
        about: "what a library can do without its features passes its tests without them",
        run: features::bare,
    },
    Step {
        name: "loom",
        about: "the models of what threads share without a lock hold in every schedule",
        run: loom,
    },
    Step {
        name: "bench",
        about: "the benchmarks compile, and measure what they say",
        run: bench,
    },
    Step {
        name: "rustdoc",
        about: "the documentation builds without a warning",
        run: rustdoc,
    },
    Step {
        name: "docs",
        about: "the generated references are up to date",
        run: docs,
    },
    Step {
        name: "deny",
        about: "licences and sources of all dependencies",
        run: deny,
    },
];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    if args.iter().any(|arg| arg == "--list") {
        for step in STEPS {
            println!("{:<9}{}", step.name, step.about);
        }
        return Ok(());
    }
    let steps = chosen(args)?;
    let mut results = Vec::new();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.about);
        let (outcome, took) = timed(|| (step.run)(workspace));
        if let Err(Failure::Failed(message) | Failure::Usage(message)) = &outcome {
            eprintln!("error: {message}");
        }
        results.push((step.name, outcome, took));
    }
    println!("\n{}", table(&results));
    let failed: Vec<_> = results
        .iter()
        .filter(|(_, outcome, _)| outcome.is_err())
        .map(|(name, ..)| *name)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names = failed.join(" ");
    Err(Failure::failed(format!(
        "failed: {names}\nrun again with: cargo xtask ci {names}"
    )))
}

/// The steps that the arguments name, in the order of the list; all of them for no arguments.
fn chosen(args: &[String]) -> Result<Vec<&'static Step>, Failure> {
    if let Some(unknown) = args
        .iter()
        .find(|arg| STEPS.iter().all(|step| step.name != **arg))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        let names = names.join(", ");
        return Err(Failure::Usage(format!(
            "there is no step `{unknown}`; there are: {names}"
        )));
    }
    let wanted = |step: &&Step| args.is_empty() || args.iter().any(|arg| arg == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

/// What `run` prints last: step, result, seconds.
fn table(results: &[(&str, Result<Verdict, Failure>, Duration)]) -> String {
    let mut text = format!("{:<9}{:<8}{:>7}\n", "step", "result", "seconds");
    for (name, outcome, took) in results {
        let (result, note) = match outcome {
            Ok(Verdict::Passed) => ("ok", String::new()),
            Ok(Verdict::Skipped(why)) => ("SKIPPED", format!("  {why}")),
            Err(_) => ("FAILED", String::new()),
        };
        text.push_str(&format!(
            "{name:<9}{result:<8}{:>7.1}{note}\n",
            took.as_secs_f64()
        ));
    }
    text
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step took is for people to read only"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn fmt(workspace: &Workspace) -> Result<Verdict, Failure> {
    cargo(workspace, &["fmt", "--all", "--check"])
}

fn layers_step(workspace: &Workspace) -> Result<Verdict, Failure> {
    layers::run(workspace, &[]).map(|()| Verdict::Passed)
}

fn codes_step(workspace: &Workspace) -> Result<Verdict, Failure> {
    codes::run(workspace, &["--check".to_owned()]).map(|()| Verdict::Passed)
}

fn clippy(workspace: &Workspace) -> Result<Verdict, Failure> {
    let args = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
    ];
    cargo(workspace, &[&args[..], &["--", "-D", "warnings"]].concat())
}

fn loom(workspace: &Workspace) -> Result<Verdict, Failure> {
    models::run(workspace, &[]).map(|()| Verdict::Passed)
}

fn bench(workspace: &Workspace) -> Result<Verdict, Failure> {
    if workspace.package(BENCH).is_none() {
        return Ok(Verdict::Skipped("there is no crate of benchmarks"));
    }
    cargo(workspace, &["test", "--quiet", "--locked", "-p", BENCH])
}

fn rustdoc(workspace: &Workspace) -> Result<Verdict, Failure> {
    let args = [
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--all-features",
    ];
    let mut command = workspace.cargo(args);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings")).map(|()| Verdict::Passed)
}

fn docs(workspace: &Workspace) -> Result<Verdict, Failure> {
    cli_reference::run(workspace, &["--check".to_owned()]).map(|()| Verdict::Passed)
}

/// CI installs it; a person need not, because building it takes minutes. What of it matters most, who
/// owns which third party, is also checked by `layers`.
fn deny(workspace: &Workspace) -> Result<Verdict, Failure> {
    let is_installed = workspace.cargo(["deny", "--version"]).output();
    if !is_installed.is_ok_and(|output| output.status.success()) {
        return Ok(Verdict::Skipped("cargo-deny is not installed"));
    }
    // Rows of deny.toml for crates that are not in the tree yet are no news.
    let quiet = ["--hide-inclusion-graph", "--allow", "unused-wrapper"];
    let args = [
        &["deny", "check"],
        &quiet[..],
        &["bans", "licenses", "sources"],
    ];
    cargo(workspace, &args.concat())
}

fn cargo(workspace: &Workspace, args: &[&str]) -> Result<Verdict, Failure> {
    run_command(&mut workspace.cargo(args.iter().copied())).map(|()| Verdict::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_step_is_a_usage_error_that_lists_the_steps() {
        let Err(Failure::Usage(message)) = chosen(&["clipy".to_owned()]) else {
            panic!("an unknown step was accepted");
        };
        assert!(
            message.contains("`clipy`") && message.contains("fmt, layers"),
            "{message}"
        );
    }

    #[test]
    fn steps_run_in_the_order_of_the_list() {
        let names = |args: &[&str]| -> Vec<&str> {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            chosen(&args)
                .expect("known steps")
                .iter()
                .map(|step| step.name)
                .collect()
        };
        assert_eq!(names(&["clippy", "fmt"]), ["fmt", "clippy"]);
        assert_eq!(names(&[]).len(), STEPS.len());
    }

    #[test]
    fn the_table_tells_failed_and_skipped_from_passed() {
        let second = Duration::from_secs(1);
        let text = table(&[
            ("fmt", Ok(Verdict::Passed), second),
            ("deny", Ok(Verdict::Skipped("not installed")), second),
            ("clippy", Err(Failure::Exit(101)), second),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "fmt      ok          1.0");
        assert_eq!(lines[2], "deny     SKIPPED     1.0  not installed");
        assert_eq!(lines[3], "clippy   FAILED      1.0");
    }
}
