//! Every error of the workspace answers two questions: which failure is this (a code that never changes), and
//! what should be done next (a kind). Programs branch on the kind, people search for the code, and metrics may
//! carry either, because both sets are bounded.

use serde::Serialize;

/// An error with a stable code and a kind.
pub trait Coded {
    /// Returns the code, `layer.reason` in ASCII snake case. Codes are only ever added.
    fn code(&self) -> &'static str;

    /// Returns what can be done about it.
    fn kind(&self) -> ErrorKind;
}

fn _dyn_ok(_: &dyn Coded) {}

/// What to do next about an error; the command line derives its exit codes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Settings or names are wrong; a person has to change them.
    Config,
    /// The thing asked for is not there.
    NotFound,
    /// A policy, signature or limit refused it.
    Denied,
    /// It is paused, draining or in use; later may work.
    Busy,
    /// A change was tried and undone; what ran before runs still.
    RolledBack,
    /// Something needed could not be reached; a retry may help.
    Unavailable,
    /// It took too long; a retry may help.
    Timeout,
    /// The caller used the interface wrongly.
    Usage,
    /// A defect of ours.
    Internal,
}
