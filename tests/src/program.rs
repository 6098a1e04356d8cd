//! Programs that tests need and that not every machine has.
//!
//! Without one a test says so and does nothing; where `CI` is set it fails, for `.ci/run` installs them.
//! This file is also a module of the tests of `oneiric-builtins`.

use std::io::Write;

/// Whether `program` is on the path. Says so loudly when it is not.
///
/// # Panics
/// When it is not there and `CI` is set.
#[track_caller]
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(
        is_there || !is_ci,
        "{program} is missing, and where CI is set that is a failure"
    );
    if !is_there {
        // Not by a macro: what those print, the harness keeps to itself when a test passes.
        let said = format!("SKIPPED: {program} is not installed\n");
        drop(std::io::stderr().write_all(said.as_bytes()));
    }
    is_there
}
