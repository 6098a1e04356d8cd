//! The workspace as `cargo metadata` describes it, and the one way to run cargo in it.
//!
//! Only the members are read (`--no-deps`): what they declare is all that the checks ask about, and
//! so they need neither a network nor an up-to-date lock file. The few fields in use are declared
//! here rather than taken from a crate that models all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Failure;

/// The root package of the benchmarks: heavy to build, so tests and per-crate checks leave it out.
pub(crate) const BENCH: &str = "oneiric-bench";
/// The package with the `oneiric` binary.
pub(crate) const CLI: &str = "oneiric-cli";
/// The package with the end-to-end tests.
pub(crate) const SCENARIOS: &str = "oneiric-tests";

/// The members of the workspace and where it lives.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
    /// The ids of those that a plain `cargo build` takes.
    #[serde(default)]
    pub(crate) workspace_default_members: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
}

impl Workspace {
    /// Asks cargo about the workspace that this very crate belongs to.
    ///
    /// # Errors
    /// Cargo's own message when it cannot read one of the manifests.
    pub(crate) fn load() -> Result<Self, Failure> {
        let output = Command::new(cargo_program())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            // Asked from the folder of a member, it would call that one the default.
            .current_dir(Path::new(&own_folder()).join(".."))
            .output()
            .map_err(|error| Failure::failed(format!("cannot start cargo: {error}")))?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::failed(format!("cargo metadata:\n{message}")));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::failed(format!("cannot read cargo metadata: {error}")))
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// A cargo command that runs at the root of the workspace.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(args).current_dir(&self.root);
        command
    }

    /// A path as people write it: from the root of the workspace.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

impl Package {
    /// Whether other crates can depend on it.
    pub(crate) fn is_library(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "lib"))
    }
}

/// The folder of this crate, as the cargo that runs us says. What it was when we were built is the
/// second choice: two clones that share a target folder share the program as well.
fn own_folder() -> OsString {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
}

/// The cargo that runs us, so that a chosen toolchain stays the same all the way down.
fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command with our own terminal.
///
/// # Errors
/// The exit code of the command when it is not 0; a message when it could not be started.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command
        .status()
        .map_err(|error| cannot_start(command, &error))?;
    finish(status)
}

/// Turns the end of a program into the end of ours; a program killed by a signal counts as 1.
pub(crate) fn finish(status: std::process::ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failure::Exit(code.unwrap_or(1)))
}

pub(crate) fn cannot_start(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    Failure::failed(format!("cannot start `{program}`: {error}"))
}
