//! `cargo xtask soak`: the randomised and kill tests, with many more rounds than every CI run can afford.
//!
//! They are the same tests: a round is a round, and whatever fails here can be tried again in the ordinary test run,
//! the changes with their seed, and the steps of the stores as `proptest` keeps them. The number of rounds goes to them as `ONEIRIC_SOAK_ROUNDS`, a seed as `ONEIRIC_SOAK_SEED`.

use crate::Failure;
use crate::tests_run::{self, ALL_TARGETS};
use crate::workspace::{Workspace, run as run_command};

pub(crate) const HELP: &str = "\
Runs the randomised and kill tests with many rounds, 100 if nothing else is said: kill -9 at random
instants of swaps, pauses and settings edits; random schedules over slots that need each other, a
thousand steps a round; random steps of the stores of state; and programs of
waiters, scopes and clean-ups that are cancelled at random, a thousand a round. The seed is printed;
ONEIRIC_SOAK_SEED=N makes the same rounds of kill -9 and of cancellations again, as far as instants
can be the same; a run of the stores that fails prints the fewest steps that do, and keeps their seed.

Usage: cargo xtask soak [ROUNDS]

Examples:
  cargo xtask soak           100 rounds, half a minute to a few minutes
  cargo xtask soak 1000
  ONEIRIC_SOAK_SEED=7 cargo xtask soak 20";

/// What is run: a package, a test program of it, and the tests in that by a part of their name.
const SOAKED: &[(&str, &str, &str)] = &[
    ("oneiric-tests", "it", "kills::"),
    ("oneiric-lifecycle", "it", "schedule::"),
    ("oneiric-sqlite", "it", "models::"),
    ("oneiric-resilience", "cancellation", ""),
];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    let rounds = rounds(args)?.to_string();
    tests_run::build_binary(workspace, ALL_TARGETS)?;
    for (package, program, tests) in SOAKED {
        let mut command = workspace.cargo([
            "test",
            "--locked",
            "--all-features",
            "--package",
            package,
            "--test",
            program,
            tests,
        ]);
        command
            .args(["--", "--nocapture"])
            .env("ONEIRIC_SOAK_ROUNDS", &rounds);
        run_command(&mut command)?;
    }
    Ok(())
}

fn rounds(args: &[String]) -> Result<u32, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "soak takes a number of rounds or nothing\n\n{HELP}"
        ))
    };
    match args {
        [] => Ok(100),
        [rounds] => rounds
            .parse()
            .ok()
            .filter(|rounds| *rounds > 0)
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_rounds_or_nothing_is_taken() {
        let rounds = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            rounds(&words).ok()
        };
        assert_eq!((rounds(&[]), rounds(&["7"])), (Some(100), Some(7)));
        assert_eq!(
            (rounds(&["0"]), rounds(&["many"]), rounds(&["1", "2"])),
            (None, None, None)
        );
    }
}
