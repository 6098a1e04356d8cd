//! `cargo xtask`: everything a person or CI does to this repository, as one program.
//!
//! Tasks are Rust rather than scripts, so that they run on every machine the project builds on and
//! have tests of their own. The list in `TASKS` is the only one: the help, the usage error for an
//! unknown task and the dispatch all read it. Dependencies are kept few, because every `cargo
//! xtask` on a fresh machine begins by building this crate.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: its output is the terminal"
)]

#[cfg(test)]
mod architecture;
mod bench;
mod ci;
mod cli_reference;
mod codes;
mod codes_table;
mod cover;
mod files;
mod layers;
mod models;
mod rust_source;
mod soak;
mod tests_run;
mod workspace;

use std::fmt;
use std::process::ExitCode;

use crate::workspace::Workspace;

/// How a task can end other than well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The task was called wrongly; exits 2.
    Usage(String),
    /// The task did its work and the answer is no, or it could not do it; exits 1.
    Failed(String),
    /// A program that the task ran has said everything already; exits with that program's code.
    Exit(u8),
}

impl Failure {
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }
}

/// One task: what it is called, what it says about itself, what it does.
struct Task {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&Workspace, &[String]) -> Result<(), Failure>,
}

const TASKS: &[Task] = &[
    Task {
        name: "test",
        summary: "run the tests: unit, integration, end to end, documentation",
        help: tests_run::HELP,
        run: tests_run::run,
    },
    Task {
        name: "ci",
        summary: "run every other check that CI runs",
        help: ci::HELP,
        run: ci::run,
    },
    Task {
        name: "layers",
        summary: "check who depends on whom against the table of allowed edges",
        help: layers::HELP,
        run: layers::run,
    },
    Task {
        name: "codes",
        summary: "check that every error code is documented and tested",
        help: codes::HELP,
        run: codes::run,
    },
    Task {
        name: "docs",
        summary: "write the generated references, or check that they are up to date",
        help: cli_reference::HELP,
        run: cli_reference::run,
    },
    Task {
        name: "loom",
        summary: "run the models of what threads share without a lock",
        help: models::HELP,
        run: models::run,
    },
    Task {
        name: "soak",
        summary: "run the randomised and kill tests with many rounds",
        help: soak::HELP,
        run: soak::run,
    },
    Task {
        name: "cover",
        summary: "count the lines of the library crates that tests run through",
        help: cover::HELP,
        run: cover::run,
    },
    Task {
        name: "bench",
        summary: "run the benchmarks beside their peers",
        help: bench::HELP,
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Exit(code)) => ExitCode::from(code),
    }
}

fn dispatch(args: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = args.split_first() else {
        return Err(Failure::Usage(format!("no task given\n\n{}", overview())));
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        let text = match rest.first() {
            Some(topic) => find(topic)?.help.to_owned(),
            None => overview(),
        };
        println!("{text}");
        return Ok(());
    }
    let task = find(name)?;
    if asks_for_help(rest) {
        println!("{}", task.help);
        return Ok(());
    }
    (task.run)(&Workspace::load()?, rest)
}

/// Whether `--help` is meant for the task: what follows `--` belongs to the program it runs.
fn asks_for_help(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "-h" || arg == "--help")
}

fn find(name: &str) -> Result<&'static Task, Failure> {
    TASKS
        .iter()
        .find(|task| task.name == name)
        .ok_or_else(|| Failure::Usage(format!("there is no task `{name}`\n\n{}", overview())))
}

fn overview() -> String {
    let mut text = String::from("Usage: cargo xtask TASK [OPTIONS]\n\nTasks:\n");
    for task in TASKS {
        text.push_str(&format!("  {:<8}{}\n", task.name, task.summary));
    }
    text.push_str(
        "\nExamples:\n  \
         cargo xtask test                  every test\n  \
         cargo xtask test -p oneiric-core  one crate's tests\n  \
         cargo xtask ci                    what CI runs after the tests\n  \
         cargo xtask help ci               more about one task",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn an_unknown_task_is_a_usage_error_that_lists_the_tasks() {
        let Err(Failure::Usage(message)) = dispatch(&words("tset")) else {
            panic!("an unknown task was accepted");
        };
        assert!(message.starts_with("there is no task `tset`"), "{message}");
        for task in TASKS {
            assert!(message.contains(task.summary), "{message}");
        }
    }

    #[test]
    fn no_task_is_a_usage_error() {
        assert!(matches!(dispatch(&[]), Err(Failure::Usage(_))));
    }

    #[test]
    fn every_help_text_shows_its_usage_and_an_example() {
        for task in TASKS {
            let usage = format!("Usage: cargo xtask {}", task.name);
            assert!(task.help.contains(&usage), "{}", task.name);
            assert!(task.help.contains("\nExamples:\n"), "{}", task.name);
        }
    }

    #[test]
    fn help_after_two_dashes_belongs_to_the_program_that_is_run() {
        assert!(asks_for_help(&words("-p core --help")));
        assert!(!asks_for_help(&words("-p core -- --help")));
    }
}
