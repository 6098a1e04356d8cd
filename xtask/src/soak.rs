//! `cargo xtask soak`: the randomised and kill tests, with many more rounds than every CI run can afford.
//!
//! They are the same tests: a round is a round, and whatever fails here can be tried again in the ordinary test run, the
//! changes with their seed, and the steps of the stores as `proptest` keeps them. The number of rounds goes to them as
//! `ONEIRIC_SOAK_ROUNDS`, a seed as `ONEIRIC_SOAK_SEED`. A test that asks for either and is not run from here fails a
//! test below: nobody would miss it otherwise.

use crate::Failure;
use crate::tests_run::{self, ALL_TARGETS};
use crate::workspace::{Workspace, run as run_command};

pub(crate) const HELP: &str = "\
Runs the randomised and kill tests with many rounds, 100 if nothing else is said. A round is: two
kill -9 at random instants of swaps, bakes, change sets, pauses and settings edits (so 200 in all),
two interrupted commands; random schedules over slots that need each other, a thousand steps a round
(so 100,000) and some hundred short ones in which much happens at one time; random steps of the
stores of state; and programs of waiters, scopes and clean-ups that are cancelled at random, a
thousand a round. The seed is printed; ONEIRIC_SOAK_SEED=N makes the same rounds again, as far as
instants can be the same; a run of the stores that fails prints the fewest steps that do, and keeps
their seed.

Usage: cargo xtask soak [ROUNDS]

Examples:
  cargo xtask soak           100 rounds, some ten minutes
  cargo xtask soak 1000
  ONEIRIC_SOAK_SEED=7 cargo xtask soak 20";

/// Tests that are run with many rounds.
struct Soaked {
    package: &'static str,
    /// The test program of it.
    program: &'static str,
    /// Parts of the names of tests in that, any of which will do; none for all tests.
    tests: &'static [&'static str],
    /// What is done so many times where others do it once.
    times: u32,
}

const SOAKED: [Soaked; 4] = [
    Soaked {
        package: "oneiric-tests",
        program: "it",
        tests: &["kills::", "plans::", "interrupts::"],
        times: 2,
    },
    Soaked {
        package: "oneiric-lifecycle",
        program: "it",
        tests: &["schedules::"],
        times: 1,
    },
    Soaked {
        package: "oneiric-sqlite",
        program: "it",
        tests: &["models::"],
        times: 1,
    },
    Soaked {
        package: "oneiric-resilience",
        program: "cancellation",
        tests: &[],
        times: 1,
    },
];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    let rounds = rounds(args)?;
    tests_run::build_binary(workspace, ALL_TARGETS)?;
    for soaked in &SOAKED {
        let mut command = workspace.cargo([
            "test",
            "--locked",
            "--all-features",
            "--package",
            soaked.package,
            "--test",
            soaked.program,
            "--",
            "--nocapture",
        ]);
        let rounds = rounds.saturating_mul(soaked.times).to_string();
        command
            .args(soaked.tests)
            .env("ONEIRIC_SOAK_ROUNDS", rounds);
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
    use std::path::Path;

    use super::*;
    use crate::files;

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

    /// Whether a file of tests, given by its path below the folder of its package's tests, is run.
    fn is_soaked(package: &str, file: &Path) -> bool {
        let mut names = file.iter().map(|name| name.to_str().expect("a plain name"));
        let program = names.next().expect("a path has a beginning");
        let modules: Vec<&str> = names.map(|name| name.trim_end_matches(".rs")).collect();
        let tests = format!("{}::", modules.join("::"));
        SOAKED.iter().any(|soaked| {
            let by_name = soaked.tests.iter().any(|part| tests.contains(part));
            soaked.package == package
                && soaked.program == program
                && (soaked.tests.is_empty() || by_name)
        })
    }

    #[test]
    fn modules_are_found_by_parts_of_their_names() {
        let lifecycle = |file: &str| is_soaked("oneiric-lifecycle", Path::new(file));
        assert!(lifecycle("it/schedules/follow.rs") && lifecycle("it/schedules.rs"));
        assert!(!lifecycle("it/follow_schedule.rs") && !lifecycle("other/schedules.rs"));
        assert!(is_soaked(
            "oneiric-resilience",
            Path::new("cancellation/main.rs")
        ));
    }

    /// Whoever wants more rounds than usual asks a function of this name for them.
    const ASKS: &str = "soak_rounds(";

    #[test]
    fn every_test_that_has_rounds_is_run() {
        let workspace = Workspace::load().expect("the manifests can be read");
        let mut found = 0;
        for package in &workspace.packages {
            let folder = package.manifest_path.parent().expect("in a folder");
            let tests = match package.name.as_str() {
                "oneiric-tests" => folder.to_owned(),
                _ => folder.join("tests"),
            };
            for path in files::below(&tests).expect("can be listed") {
                let Ok(text) = files::read(&path) else {
                    continue;
                };
                let asks = text.matches(ASKS).count() > text.matches("fn soak_rounds(").count();
                let by_itself = text.contains("ONEIRIC_SOAK_ROUNDS") && !text.contains(ASKS);
                assert!(!by_itself, "{}: ask `{ASKS}..)`", path.display());
                if asks {
                    found += 1;
                    let file = path.strip_prefix(&tests).expect("below it");
                    let message = format!("`cargo xtask soak` does not run {}", path.display());
                    assert!(is_soaked(&package.name, file), "{message}");
                }
            }
        }
        assert!(found > 6, "{found} found");
    }
}
