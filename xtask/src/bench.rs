//! `cargo xtask bench`: starts the benchmark program as it is meant to be built.
//!
//! What is measured, and how, belongs to the crate `oneiric-bench`; this task only makes sure that
//! nobody measures a debug build by accident.

mod start;

use crate::Failure;
use crate::workspace::{BENCH, Workspace, run as run_command};

pub(crate) const HELP: &str = "\
Builds and runs the benchmarks, with the optimised profile `bench`. Peers run beside ours in the
same process, and the figures are ratios to a control. Options are passed on to the benchmarks.

With --start it measures instead what starting the program costs, of the release build, in time, CPU
and memory.

Usage: cargo xtask bench [OPTIONS] [NAME...]
       cargo xtask bench --start [--write]
       cargo xtask bench --swaps [--write]

Examples:
  cargo xtask bench            every row
  cargo xtask bench resilience  only rows of that name
  cargo xtask bench --quick    fewer samples: does it still run, is it roughly right?
  cargo xtask bench --start    what a start costs
  cargo xtask bench --swaps    what callers notice of swaps
  cargo xtask bench --write    also writes the figures to docs/reference/performance.md";

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    if args.iter().any(|arg| arg == "--start") {
        return start::run(workspace, args.iter().any(|arg| arg == "--write"));
    }
    if workspace.package(BENCH).is_none() {
        return Err(Failure::failed(format!(
            "the workspace has no crate `{BENCH}`"
        )));
    }
    let mut command = workspace.cargo([
        "run",
        "--quiet",
        "--locked",
        "--profile",
        "bench",
        "--package",
        BENCH,
        "--",
    ]);
    run_command(command.args(args))
}
