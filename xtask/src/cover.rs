//! `cargo xtask cover`: how much of the library crates their tests run through.
//!
//! cargo-tarpaulin measures; this task says of what, adds up by crate, and writes the page. It is no part of CI: it
//! builds everything once more, and a share of lines is something to look at, not something to fail for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::workspace::{BENCH, CLI, Workspace, run as run_command};
use crate::{Failure, files};

pub(crate) const HELP: &str = "\
Runs the tests of the library crates and counts the lines they run through, with cargo-tarpaulin
(`cargo install cargo-tarpaulin --locked`). Takes some minutes, most of them for building.

Usage: cargo xtask cover [--write]

Examples:
  cargo xtask cover            shows the figures
  cargo xtask cover --write    also writes them to docs/reference/coverage.md";

const PAGE: &str = "docs/reference/coverage.md";

/// The share of lines that is aimed at, in percent.
const GOAL: f64 = 85.0;

const HEAD: &str = "\
# Coverage

<!-- Written by `cargo xtask cover --write`. Do not edit. -->

How many lines of the library crates their own tests run through, unit and integration, with all features, as
cargo-tarpaulin counts them. The tests' own lines do not count, nor does what the end-to-end tests of the real binary
run through. The goal is 85 % over all. Which lines are not covered:
`cargo tarpaulin --engine llvm --all-features -p CRATE --out Html`.

| crate | lines | covered | share |
|---|---|---|---|
";

/// Lines, and those of them that were run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lines {
    all: u64,
    covered: u64,
}

impl Lines {
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 lines")]
    fn percent(self) -> f64 {
        if self.all == 0 {
            return 100.0;
        }
        self.covered as f64 * 100.0 / self.all as f64
    }
}

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let write = match words.as_slice() {
        [] => false,
        ["--write"] => true,
        _ => {
            let message = format!("cover takes --write or nothing\n\n{HELP}");
            return Err(Failure::Usage(message));
        }
    };
    let installed = Command::new("cargo")
        .args(["tarpaulin", "--version"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        let message =
            "cargo-tarpaulin is not there; `cargo install cargo-tarpaulin --locked` installs it";
        return Err(Failure::failed(message));
    }
    let crates: Vec<&str> = workspace
        .packages
        .iter()
        .filter(|package| package.is_library() && package.name.starts_with("oneiric-"))
        .map(|package| package.name.as_str())
        .filter(|name| ![BENCH, CLI, "oneiric-tests"].contains(name))
        .collect();
    let out = workspace.root.join("target/cover");
    std::fs::create_dir_all(&out).map_err(Failure::failed)?;
    let mut tarpaulin = workspace.cargo([
        "tarpaulin",
        "--engine",
        "llvm",
        "--locked",
        "--all-features",
        "--lib",
        "--tests",
        "--no-fail-fast",
        "--timeout",
        "600",
        "--out",
        "Lcov",
    ]);
    for name in &crates {
        tarpaulin.args(["--packages", name]);
    }
    // Its own target directory, or the next build of anything begins anew.
    tarpaulin.arg("--output-dir").arg(&out);
    tarpaulin.arg("--target-dir").arg(out.join("build"));
    run_command(&mut tarpaulin)?;
    let report = files::read(&out.join("lcov.info"))?;
    let counted = count(&report, &workspace.root, &crates);
    let page = page(&counted);
    println!("{page}");
    if write {
        files::replace(&workspace.root.join(PAGE), &page)?;
        println!("cover: wrote {PAGE}");
    }
    Ok(())
}

/// Lines by crate, from a report in lcov's form: `SF:` names a file, `DA:LINE,COUNT` a line of it. The report also
/// tells of whatever else the crates' tests were built with.
fn count(report: &str, root: &Path, crates: &[&str]) -> BTreeMap<String, Lines> {
    let mut counted: BTreeMap<String, Lines> = BTreeMap::new();
    let mut current = None;
    for line in report.lines() {
        if let Some(file) = line.strip_prefix("SF:") {
            let file = Path::new(file);
            let file = file.strip_prefix(root).unwrap_or(file);
            let mut parts = file.iter().filter_map(|part| part.to_str());
            // Only what is shipped: `crates/NAME/src/..`, and of that no file of tests.
            let name = match (parts.next(), parts.next(), parts.next()) {
                (Some("crates"), Some(name), Some("src")) if crates.contains(&name) => {
                    Some(name.to_owned())
                }
                _ => None,
            };
            current = name.filter(|_| !file.ends_with("tests.rs"));
        } else if let (Some(data), Some(name)) = (line.strip_prefix("DA:"), &current) {
            let lines = counted.entry(name.clone()).or_default();
            lines.all += 1;
            let hits = data.split(',').nth(1).unwrap_or("0");
            lines.covered += u64::from(hits != "0");
        }
    }
    counted
}

fn page(counted: &BTreeMap<String, Lines>) -> String {
    let mut page = HEAD.to_owned();
    let mut total = Lines::default();
    let row = |name: &str, lines: Lines| {
        let share = lines.percent();
        format!(
            "| {name} | {} | {} | {share:.1} % |\n",
            lines.all, lines.covered
        )
    };
    for (name, lines) in counted {
        page.push_str(&row(&format!("`{name}`"), *lines));
        total.all += lines.all;
        total.covered += lines.covered;
    }
    page.push_str(&row("all", total));
    let met = if total.percent() >= GOAL {
        "met"
    } else {
        "MISSED"
    };
    page.push_str(&format!("\nGoal of {GOAL} %: {met}.\n"));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
TN:
SF:/w/crates/oneiric-core/src/slot.rs
DA:1,3
DA:2,0
end_of_record
SF:/w/crates/oneiric-core/src/state/tests.rs
DA:1,1
end_of_record
SF:/w/crates/oneiric-core/tests/it/main.rs
DA:1,1
end_of_record
SF:crates/oneiric-runtime/src/lib.rs
DA:7,1
end_of_record
SF:crates/oneiric-cli/src/main.rs
DA:1,0
end_of_record
";

    #[test]
    fn only_lines_that_are_shipped_count() {
        let counted = count(
            REPORT,
            Path::new("/w"),
            &["oneiric-core", "oneiric-runtime"],
        );
        let lines = |all, covered| Lines { all, covered };
        let expected = [
            ("oneiric-core", lines(2, 1)),
            ("oneiric-runtime", lines(1, 1)),
        ];
        let expected: BTreeMap<String, Lines> = expected
            .into_iter()
            .map(|(name, lines)| (name.to_owned(), lines))
            .collect();
        assert_eq!(counted, expected);
        let page = page(&counted);
        assert!(
            page.contains("| `oneiric-core` | 2 | 1 | 50.0 % |\n"),
            "{page}"
        );
        assert!(page.contains("| all | 3 | 2 | 66.7 % |\n"), "{page}");
        assert!(page.ends_with("Goal of 85 %: MISSED.\n"), "{page}");
    }
}
