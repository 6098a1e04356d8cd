//! The checker finds what it must, on made-up crates; and the real workspace is clean.

use super::*;

/// What `cargo metadata` would say about these crates: name, then `dependency[:kind]`.
fn packages(list: &[(&str, &[&str])]) -> Vec<Package> {
    let json = list
        .iter()
        .map(|(name, dependencies)| {
            let dependencies: Vec<_> = dependencies
                .iter()
                .map(|text| match text.split_once(':') {
                    Some((name, kind)) => serde_json::json!({"name": name, "kind": kind}),
                    None => serde_json::json!({"name": text, "kind": null}),
                })
                .collect();
            serde_json::json!({
                "name": name, "manifest_path": "Cargo.toml", "dependencies": dependencies,
            })
        })
        .collect();
    serde_json::from_value(json).expect("the shape of cargo metadata")
}

#[test]
fn the_workspace_keeps_its_layers() {
    let workspace = Workspace::load().expect("cargo metadata");
    if let Err(failure) = run(&workspace, &[]) {
        panic!("{failure:?}");
    }
}

#[test]
fn all_but_the_benchmarks_are_built_by_default() {
    let workspace = |default: &[&str]| {
        let package = |name| serde_json::json!({"id": name, "name": name, "manifest_path": "Cargo.toml", "dependencies": []});
        let json = serde_json::json!({
            "workspace_root": ".",
            "packages": [package("xtask"), package("oneiric-bench")],
            "workspace_default_members": default,
        });
        serde_json::from_value::<Workspace>(json).expect("the shape of cargo metadata")
    };
    assert!(default_member_faults(&workspace(&["xtask"])).is_empty());
    let faults = default_member_faults(&workspace(&["oneiric-bench"]));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("xtask is missing"), "{faults:?}");
    assert!(
        faults[1].starts_with("oneiric-bench is among"),
        "{faults:?}"
    );
}

#[test]
fn a_forbidden_edge_is_named_with_what_is_allowed() {
    let faults = check(&packages(&[
        ("oneiric-core", &["oneiric-lifecycle"]),
        ("oneiric-lifecycle", &["oneiric-core"]),
    ]));
    assert_eq!(
        faults,
        [
            "oneiric-core -> oneiric-lifecycle: oneiric-core may use no crate of the workspace \
          (EDGES in xtask/src/layers.rs)"
        ]
    );
}

#[test]
fn an_edge_for_tests_only_counts_like_any_other_except_to_itself() {
    let faults = check(&packages(&[
        ("oneiric-core", &[]),
        (
            "oneiric-lifecycle",
            &["oneiric-core:dev", "oneiric-lifecycle:dev"],
        ),
        ("oneiric-domains", &["oneiric-runtime:dev"]),
        ("oneiric-runtime", &[]),
    ]));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with("oneiric-domains -> oneiric-runtime (dev)"),
        "{faults:?}"
    );
}

#[test]
fn nothing_may_depend_on_the_top() {
    for top in ["oneiric-cli", "oneiric-bench", "oneiric-tests", "xtask"] {
        let faults = check(&packages(&[("oneiric-runtime", &[top]), (top, &[])]));
        assert_eq!(faults.len(), 1, "{top}: {faults:?}");
    }
}

#[test]
fn an_unknown_crate_asks_for_a_row() {
    let faults = check(&packages(&[("oneiric-extra", &[])]));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("has no row in EDGES"), "{faults:?}");
}

#[test]
fn a_heavy_third_party_belongs_to_its_owner_except_in_tests() {
    let faults = check(&packages(&[
        ("oneiric-builtins", &["clap", "hyper:build", "rustls:dev"]),
        ("oneiric-cli", &["clap", "rusqlite"]),
        ("oneiric-bench", &["clap"]),
    ]));
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("oneiric-builtins -> clap: only oneiric-cli may"));
    assert!(
        faults[1].starts_with("oneiric-builtins -> hyper: only"),
        "{faults:?}"
    );
    assert!(faults[2].starts_with("oneiric-cli -> rusqlite: only oneiric-sqlite"));
}

#[test]
fn only_the_runtime_listens() {
    let mut crates = packages(&[("oneiric-cli", &["hyper"]), ("oneiric-runtime", &["hyper"])]);
    assert!(check(&crates).is_empty());
    for package in &mut crates {
        package.dependencies[0].features = vec!["server".to_owned()];
    }
    let faults = check(&crates);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with("oneiric-cli -> hyper (feature server)"),
        "{faults:?}"
    );
}

#[test]
fn core_stays_pure() {
    let faults = check(&packages(&[(
        "oneiric-core",
        &["serde", "tokio", "proptest:dev"],
    )]));
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with("oneiric-core -> tokio: "),
        "{faults:?}"
    );
}

#[test]
fn every_row_names_crates_that_have_rows() {
    for (name, uses) in EDGES {
        if let Only(allowed) = uses {
            for other in *allowed {
                assert!(
                    row(other).is_some(),
                    "{name} may use {other}, which has no row"
                );
            }
        }
    }
}

#[test]
fn lints_must_be_taken_from_the_workspace() {
    assert!(takes_the_workspace_lints(
        "[package]\n\n[lints]\nworkspace = true\n"
    ));
    assert!(!takes_the_workspace_lints("[package]\nname = \"x\"\n"));
    assert!(!takes_the_workspace_lints(
        "[lints]\n\n[other]\nworkspace = true\n"
    ));
}
