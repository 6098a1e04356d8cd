//! Oneiric beside its peers, measured in one run. What others measure with one clock on one idle
//! machine is measured here as ratios on whatever machine there is: every figure has its peer's and a
//! control's of the same seconds beside it.
//!
//! Run it with `cargo xtask bench`, which takes the right profile. It never fails because a goal is
//! missed: a benchmark is not a test.

mod args;
mod clock;
mod harness;
mod machine;
mod outcome;
mod page;
mod report;
mod row;
mod rows;
mod stats;
mod swaps;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::args::Args;
use crate::harness::Plan;
use crate::machine::Machine;
use crate::report::Report;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => return complain(2, &error),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(1, &*error),
    }
}

fn complain(code: u8, error: impl std::fmt::Display) -> ExitCode {
    // When there is nowhere to complain to, the code must do.
    writeln!(io::stderr(), "error: {error}").ok();
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if args.help {
        writeln!(out, "{}", args::HELP)?;
        return Ok(());
    }
    if args.swaps {
        let table = swaps::measure(args.quick)?;
        writeln!(out, "{table}")?;
        if args.write {
            write_page(page::SWAPS, &table)?;
        }
        return Ok(());
    }
    let wanted: Vec<_> = rows::ALL
        .iter()
        .filter(|row| args.wants(row.name))
        .collect();
    if wanted.is_empty() {
        let names: Vec<_> = rows::ALL.iter().map(|row| row.name).collect();
        return Err(format!("no such row; there are {}", names.join(", ")).into());
    }
    let processors = clock::processors()?;
    if processors.len() < 2 {
        writeln!(
            io::stderr(),
            "note: ONE PROCESSOR ONLY: nothing is measured on two threads, and no figure here says \
             how anything scales"
        )?;
    }
    let plan = if args.quick { Plan::QUICK } else { Plan::FULL };
    let mut report = Report {
        schema: report::SCHEMA,
        machine: Machine::this(processors.len()),
        quick: args.quick,
        rows: Vec::new(),
    };
    for row in wanted {
        let outcome = outcome::run((row.set_up)()?, &processors, plan)?;
        if !args.json {
            writeln!(out, "{}", report::plain(&outcome))?;
        }
        report.rows.push(outcome);
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    }
    if args.write {
        write_page(page::FIGURES, &report::markdown(&report))?;
    }
    Ok(())
}

fn write_page(part: page::Part, figures: &str) -> Result<(), String> {
    page::write(&page::path(), part, figures)
        .map_err(|error| format!("docs/reference/performance.md: {error}"))
}
