//! `cargo xtask loom`: runs the models of our own lock-free primitives through every schedule.
//!
//! A model is built with another configuration than the code that ships, so it has a target folder
//! of its own. The configuration is not called `loom`, because other crates change themselves under
//! that name.

use crate::Failure;
use crate::workspace::{Workspace, run as run_command};

pub(crate) const HELP: &str = "\
Runs the loom models: every schedule of the primitives that threads share without a lock.

Usage: cargo xtask loom [TEST ARGS...]

Examples:
  cargo xtask loom                 all models
  cargo xtask loom -- --nocapture  with what they print";

/// The crates that have models, in modules named `model`.
const MODELLED: &[&str] = &["oneiric-lifecycle", "oneiric-resilience"];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    for package in MODELLED {
        let mut command =
            workspace.cargo(["test", "--locked", "--package", package, "--lib", "model::"]);
        command
            .env("RUSTFLAGS", "--cfg oneiric_loom")
            .env("CARGO_TARGET_DIR", workspace.root.join("target/loom"))
            .args(args);
        run_command(&mut command)?;
    }
    Ok(())
}
