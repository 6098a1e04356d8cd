//! `cargo xtask layers`: who may depend on whom.
//!
//! The layering of the crates is a promise to embedders (a program that wants only resolution gets
//! no runtime, no HTTP and no database), and one careless line in a manifest breaks it for
//! everybody. So every allowed edge is written down once, in `EDGES`, and a crate or an edge that
//! is not in the table fails: adding one is a decision that a reviewer sees, here. `OWNERS` does
//! the same for heavy third parties, and `PURE` for the crates that must stay free of I/O.
//!
//! The check reads what manifests declare, so it also sees optional dependencies and those of other
//! platforms, which a look at a built graph would miss.

use crate::Failure;
use crate::files;
use crate::workspace::{BENCH, Package, Workspace};

pub(crate) const HELP: &str = "\
Checks every dependency between the workspace's crates, and on heavy third parties, against the
tables in xtask/src/layers.rs; that every crate takes the workspace's lints; and that a plain
`cargo build` takes every crate but the benchmarks.

Usage: cargo xtask layers

Examples:
  cargo xtask layers    says nothing but a count when all is well";

const TABLE: &str = "xtask/src/layers.rs";

/// What a crate may use of the workspace.
#[derive(Debug, Clone, Copy)]
enum Uses {
    /// Nothing but these.
    Only(&'static [&'static str]),
    /// Whatever it likes: nothing may depend on such a crate in turn, except another one of them.
    Everything,
}

use Uses::{Everything, Only};

/// Every allowed edge between crates, lowest layer first. Rows of crates that are still to be
/// written stand here already, because the layers were decided together.
const EDGES: &[(&str, Uses)] = &[
    ("oneiric-core", Only(&[])),
    ("oneiric-resilience", Only(&[])),
    ("oneiric-net", Only(&["oneiric-resilience"])),
    (
        "oneiric-lifecycle",
        Only(&["oneiric-core", "oneiric-resilience"]),
    ),
    (
        "oneiric-remote",
        Only(&["oneiric-core", "oneiric-resilience", "oneiric-net"]),
    ),
    (
        "oneiric-domains",
        Only(&["oneiric-core", "oneiric-lifecycle", "oneiric-resilience"]),
    ),
    (
        "oneiric-sqlite",
        Only(&["oneiric-core", "oneiric-lifecycle", "oneiric-domains"]),
    ),
    (
        "oneiric-builtins",
        Only(&[
            "oneiric-core",
            "oneiric-lifecycle",
            "oneiric-domains",
            "oneiric-net",
            "oneiric-sqlite",
            "oneiric-resilience",
        ]),
    ),
    // Its host functions reach HTTP, storage and secrets through the domains' narrow traits.
    (
        "oneiric-wasm",
        Only(&["oneiric-core", "oneiric-lifecycle", "oneiric-domains"]),
    ),
    // Never builtins or wasm: the binary, or an embedder, hands those in.
    (
        "oneiric-runtime",
        Only(&[
            "oneiric-core",
            "oneiric-resilience",
            "oneiric-net",
            "oneiric-lifecycle",
            "oneiric-remote",
            "oneiric-domains",
            "oneiric-sqlite",
        ]),
    ),
    ("oneiric-cli", Everything),
    // Components that run inside a sandbox see the world only through its interface.
    ("oneiric-sdk", Only(&[])),
    // The example shows how little an embedder needs.
    ("embed", Only(&["oneiric-core", "oneiric-lifecycle"])),
    ("oneiric-bench", Everything),
    ("oneiric-tests", Everything),
    ("xtask", Everything),
];

/// A heavy third party and the only crates that may declare it.
#[derive(Debug)]
struct Owned {
    name: &'static str,
    /// The rule is about this feature only; without it the crate is free.
    feature: Option<&'static str>,
    owners: &'static [&'static str],
    why: &'static str,
}

const OWNERS: &[Owned] = &[
    Owned {
        name: "clap",
        feature: None,
        owners: &["oneiric-cli"],
        why: "arguments are the binary's business; embedders bring their own",
    },
    Owned {
        name: "anyhow",
        feature: None,
        owners: &["oneiric-cli"],
        why: "libraries have errors with codes",
    },
    Owned {
        name: "tracing-subscriber",
        feature: None,
        owners: &["oneiric-runtime", "oneiric-cli"],
        why: "libraries emit events; who reads them is the program's choice",
    },
    Owned {
        name: "hyper",
        feature: None,
        owners: &["oneiric-net", "oneiric-runtime", "oneiric-cli"],
        why: "HTTP goes out through one client and comes in through one admin API",
    },
    Owned {
        name: "hyper-util",
        feature: None,
        owners: &["oneiric-net", "oneiric-runtime", "oneiric-cli"],
        why: "HTTP goes out through one client and comes in through one admin API",
    },
    Owned {
        name: "hyper",
        feature: Some("server"),
        owners: &["oneiric-runtime"],
        why: "the admin API is the only thing that listens",
    },
    Owned {
        name: "rustls",
        feature: None,
        owners: &["oneiric-net", "oneiric-runtime"],
        why: "one place decides about certificates on the way out, one on the way in",
    },
    Owned {
        name: "hyper-rustls",
        feature: None,
        owners: &["oneiric-net", "oneiric-runtime"],
        why: "one place decides about certificates on the way out, one on the way in",
    },
    Owned {
        name: "ring",
        feature: None,
        owners: &["oneiric-net", "oneiric-remote", "oneiric-runtime"],
        why: "signatures and bearer tokens are checked at the trust boundary and nowhere else",
    },
    Owned {
        name: "serde_yaml",
        feature: None,
        owners: &["oneiric-remote", "oneiric-runtime"],
        why: "YAML is parsed behind one capped module",
    },
    Owned {
        name: "rusqlite",
        feature: None,
        owners: &["oneiric-sqlite"],
        why: "the database sits behind store traits",
    },
    Owned {
        name: "wasmtime",
        feature: None,
        owners: &["oneiric-wasm"],
        why: "programs without sandboxed components do not pay for a compiler",
    },
    Owned {
        name: "notify",
        feature: None,
        owners: &["oneiric-runtime"],
        why: "only the composition root watches files",
    },
    Owned {
        name: "metrics-exporter-prometheus",
        feature: None,
        owners: &["oneiric-runtime"],
        why: "libraries record metrics; the composition root exports them",
    },
    Owned {
        name: "redis",
        feature: None,
        owners: &["oneiric-builtins"],
        why: "a client of one service is a component",
    },
];

/// Crates that neither wait nor touch the world, with every third party they may declare.
const PURE: &[(&str, &[&str])] = &[(
    "oneiric-core",
    &[
        "arc-swap",
        "foldhash",
        "hashbrown",
        "rpds",
        "schemars",
        "serde",
        "serde_json",
        "thiserror",
    ],
)];

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Failure> {
    if let Some(unknown) = args.first() {
        return Err(Failure::Usage(format!(
            "layers takes no arguments, got `{unknown}`"
        )));
    }
    let mut faults = check(&workspace.packages);
    for package in &workspace.packages {
        if !takes_the_workspace_lints(&files::read(&package.manifest_path)?) {
            faults.push(format!(
                "{}: the manifest lacks `[lints]` with `workspace = true`, so nothing forbids \
                 unsafe code there",
                package.name
            ));
        }
    }
    faults.extend(default_member_faults(workspace));
    if !faults.is_empty() {
        return Err(Failure::failed(faults.join("\nerror: ")));
    }
    println!(
        "layers: {} crates keep to the tables in {TABLE}",
        workspace.packages.len()
    );
    Ok(())
}

/// Every broken rule, in words; empty when all is well.
fn check(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let Some(uses) = row(&package.name) else {
            faults.push(format!(
                "crate `{}` has no row in EDGES ({TABLE}): decide its layer and add one",
                package.name
            ));
            continue;
        };
        faults.extend(edge_faults(packages, package, uses));
        if matches!(uses, Only(_)) || package.name == "oneiric-cli" {
            faults.extend(third_party_faults(packages, package));
        }
    }
    faults
}

/// What a plain `cargo build` takes is everything but the benchmarks: those bring the peers that they
/// compare with, and nobody else should have to build them. Cargo has no word for "all but".
fn default_member_faults(workspace: &Workspace) -> Vec<String> {
    let taken = |package: &&Package| workspace.workspace_default_members.contains(&package.id);
    let wrong = workspace
        .packages
        .iter()
        .filter(|package| taken(package) == (package.name == BENCH));
    let told = wrong.map(|package| match package.name.as_str() {
        BENCH => format!("{BENCH} is among `default-members` (Cargo.toml): nobody else needs it"),
        name => format!("{name} is missing from `default-members` (Cargo.toml)"),
    });
    told.collect()
}

fn row(name: &str) -> Option<Uses> {
    EDGES
        .iter()
        .find(|(krate, _)| *krate == name)
        .map(|(_, uses)| *uses)
}

/// Edges between crates of the workspace; of tests too, for a test that needs a higher layer
/// belongs in that layer. A crate may name itself, to switch on a feature for its own tests.
fn edge_faults(packages: &[Package], package: &Package, uses: Uses) -> Vec<String> {
    let Only(allowed) = uses else {
        return Vec::new();
    };
    let is_member = |name: &str| packages.iter().any(|member| member.name == name);
    package
        .dependencies
        .iter()
        .filter(|dependency| is_member(&dependency.name) && dependency.name != package.name)
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            let may = match allowed {
                [] => "no crate of the workspace".to_owned(),
                names => names.join(", "),
            };
            format!(
                "{} -> {}{}: {0} may use {may} (EDGES in {TABLE})",
                package.name,
                dependency.name,
                dependency
                    .kind
                    .as_deref()
                    .map(|kind| format!(" ({kind})"))
                    .unwrap_or_default(),
            )
        })
        .collect()
}

/// Third parties that belong to somebody else. Not those of tests: they reach no user.
fn third_party_faults(packages: &[Package], package: &Package) -> Vec<String> {
    let is_member = |name: &str| packages.iter().any(|member| member.name == name);
    let pure = PURE
        .iter()
        .find(|(name, _)| *name == package.name)
        .map(|(_, allowed)| *allowed);
    let mut faults = Vec::new();
    for dependency in &package.dependencies {
        if dependency.kind.as_deref() == Some("dev") || is_member(&dependency.name) {
            continue;
        }
        let edge = format!("{} -> {}", package.name, dependency.name);
        if let Some(allowed) = pure
            && !allowed.contains(&dependency.name.as_str())
        {
            faults.push(format!(
                "{edge}: {} stays free of I/O and waiting, so each of its dependencies is named \
                 (PURE in {TABLE})",
                package.name
            ));
        }
        for owned in OWNERS.iter().filter(|owned| owned.name == dependency.name) {
            let touches = owned
                .feature
                .is_none_or(|feature| dependency.features.iter().any(|used| used == feature));
            if touches && !owned.owners.contains(&package.name.as_str()) {
                let what = owned
                    .feature
                    .map(|f| format!(" (feature {f})"))
                    .unwrap_or_default();
                faults.push(format!(
                    "{edge}{what}: only {} may, because {} (OWNERS in {TABLE})",
                    owned.owners.join(", "),
                    owned.why
                ));
            }
        }
    }
    faults
}

/// Whether a manifest has the table `[lints]` with `workspace = true`.
fn takes_the_workspace_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod tests;
