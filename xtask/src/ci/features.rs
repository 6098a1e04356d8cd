//! Libraries by themselves: what a program gets that takes one of them, with some of its features.

use super::{Verdict, cargo};
use crate::Failure;
use crate::workspace::{BENCH, Dependency, Package, Workspace};

/// A build of the whole workspace hides features that one crate borrows from another; so each is
/// built by itself. With clippy, which also sees what becomes unused when a feature is off.
pub(super) fn alone(workspace: &Workspace) -> Result<Verdict, Failure> {
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
pub(super) fn bare(workspace: &Workspace) -> Result<Verdict, Failure> {
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
