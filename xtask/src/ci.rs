//! `cargo xtask ci`: the one list of checks that CI runs after the tests.
//!
//! Everything CI does can be done here by the same words, so a red check is never a riddle. All
//! steps run even when one fails: a person who waits for a build wants to know everything it has
//! to say. Every step uses the same target folder and, where it can, `clippy` in place of `check`,
//! so that dependencies are built once.

use std::time::Duration;

use crate::workspace::{BENCH, Dependency, Package, Workspace, run as run_command};
use crate::{Failure, cli_reference, codes, layers, models};

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
        run: alone,
    },
    Step {
        name: "bare",
        about: "what a library can do without its features passes its tests without them",
        run: bare,
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

/// A build of the whole workspace hides features that one crate borrows from another; so each is
/// built by itself. With clippy, which also sees what becomes unused when a feature is off.
fn alone(workspace: &Workspace) -> Result<Verdict, Failure> {
    let mut failed = Vec::new();
    for package in workspace
        .packages
        .iter()
        .filter(|package| is_published_library(package))
    {
        for features in feature_sets(package) {
            let mut args = vec![
                "clippy",
                "--quiet",
                "--locked",
                "--no-deps",
                "--lib",
                "-p",
                &package.name,
            ];
            args.extend(features.iter().map(String::as_str));
            println!("{} {}", package.name, features.join(" "));
            args.extend(["--", "-D", "warnings"]);
            if cargo(workspace, &args).is_err() {
                failed.push(format!("{} {}", package.name, features.join(" ")));
            }
        }
    }
    if failed.is_empty() {
        return Ok(Verdict::Passed);
    }
    Err(Failure::failed(format!(
        "not clean by itself: {}",
        failed.join(", ")
    )))
}

/// The libraries that others take: those under `crates/`, but not the benchmarks.
fn is_published_library(package: &Package) -> bool {
    let in_crates = package.manifest_path.iter().any(|part| part == "crates");
    in_crates && package.is_library() && package.name != BENCH
}

/// The sets of features to build a crate with, without repeating one that is the same: what a program that
/// takes only one of them gets is built nowhere else.
fn feature_sets(package: &Package) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let none = words(&["--no-default-features"]);
    let single = single_features(package);
    let mut sets: Vec<Vec<String>> = vec![none];
    if has_default(package) {
        sets.push(Vec::new());
    }
    if single.len() > 1 {
        sets.extend(
            single
                .iter()
                .map(|name| words(&["--no-default-features", "--features", name])),
        );
    }
    if !single.is_empty() {
        sets.push(words(&["--all-features"]));
    }
    sets
}

/// The features that switch something on by themselves, and do not only name others.
fn single_features(package: &Package) -> Vec<&str> {
    let names_others =
        |on: &[String]| on.len() > 1 && on.iter().all(|other| package.features.contains_key(other));
    package
        .features
        .iter()
        .filter(|(name, on)| *name != "default" && !names_others(on))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn has_default(package: &Package) -> bool {
    let on = package.features.get("default");
    on.is_some_and(|on| !on.is_empty())
}

/// The tests run with every feature on, and there code that stands in for a missing one is not compiled. One
/// library at a time, or one would switch on what another is tested without.
fn bare(workspace: &Workspace) -> Result<Verdict, Failure> {
    let mut failed = Vec::new();
    for package in workspace
        .packages
        .iter()
        .filter(|package| is_tested_bare(package))
    {
        let args = [
            "test",
            "--locked",
            "--no-default-features",
            "-p",
            &package.name,
        ];
        if cargo(workspace, &args).is_err() {
            failed.push(package.name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(Verdict::Passed);
    }
    let failed = failed.join(", ");
    Err(Failure::failed(format!("without features: {failed}")))
}

/// Those that have features, all off by default; but not one whose tests switch them on by depending on
/// the library itself.
fn is_tested_bare(package: &Package) -> bool {
    let own = |dependency: &Dependency| dependency.name == package.name;
    is_published_library(package)
        && !has_default(package)
        && !package.features.is_empty()
        && !package.dependencies.iter().any(own)
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

    fn package(features: serde_json::Value, kind: &str, manifest: &str) -> Package {
        serde_json::from_value(serde_json::json!({
            "name": "x", "manifest_path": manifest, "dependencies": [],
            "features": features, "targets": [{"kind": [kind]}],
        }))
        .expect("the shape of cargo metadata")
    }

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

    #[test]
    fn a_crate_is_built_with_none_with_each_and_with_all_of_its_features() {
        let sets = |features| -> Vec<String> {
            let package = package(features, "lib", "/w/crates/x/Cargo.toml");
            let sets = feature_sets(&package);
            sets.iter()
                .map(|set| set.join(" ").replace("--no-default-features", "none"))
                .collect()
        };
        assert_eq!(sets(serde_json::json!({})), ["none"]);
        assert_eq!(
            sets(serde_json::json!({"default": [], "http": ["dep:http"]})),
            ["none", "--all-features"]
        );
        assert_eq!(
            sets(serde_json::json!({
                "default": ["http"], "full": ["http", "log"], "http": ["dep:http"], "log": [],
            })),
            [
                "none",
                "",
                "none --features http",
                "none --features log",
                "--all-features"
            ]
        );
    }

    #[test]
    fn a_library_is_tested_without_features_where_it_has_some_and_none_is_forced_on() {
        let bare = |features, dependencies: &[&str]| {
            let mut package = package(features, "lib", "/w/crates/x/Cargo.toml");
            let named = |name: &&str| serde_json::json!({"name": name, "kind": "dev"});
            let json: Vec<_> = dependencies.iter().map(named).collect();
            package.dependencies = serde_json::from_value(json.into()).expect("dependencies");
            is_tested_bare(&package)
        };
        assert!(bare(serde_json::json!({"http": []}), &["y"]));
        assert!(!bare(serde_json::json!({}), &[]), "it has none");
        assert!(!bare(
            serde_json::json!({"default": ["http"], "http": []}),
            &[]
        ));
        assert!(!bare(serde_json::json!({"http": []}), &["x"]), "itself");
    }

    #[test]
    fn only_libraries_under_crates_are_built_alone() {
        let library = |kind: &str, manifest: &str| {
            is_published_library(&package(serde_json::json!({}), kind, manifest))
        };
        assert!(library("lib", "/w/crates/x/Cargo.toml"));
        assert!(!library("bin", "/w/crates/x/Cargo.toml"));
        assert!(!library("lib", "/w/tests/Cargo.toml"));
    }
}
