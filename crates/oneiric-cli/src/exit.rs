//! How the process ends. Scripts branch on these, so they are a contract: a number never changes
//! its meaning. An error's kind decides; there is one table.

use std::process::ExitCode;

use oneiric_core::ErrorKind;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exit(u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// A check answered no: `health` found something that is not well, `plan` found something to do. Or a person did,
    /// when asked.
    pub const CHECK_FAILED: Self = Self(1);
    /// The command line, or a call's input, was wrong.
    pub const USAGE: Self = Self(2);
    /// Settings or names are wrong.
    pub const CONFIG: Self = Self(3);
    /// What was asked for is not there.
    pub const NOT_FOUND: Self = Self(4);
    /// A policy refused it.
    pub const DENIED: Self = Self(5);
    /// It is paused, draining or in use; a second process on one state directory.
    pub const BUSY: Self = Self(6);
    /// A swap or a plan failed and was undone, or a plan was outdated; what served before serves still.
    pub const ROLLED_BACK: Self = Self(7);
    /// Nothing is running, the process could not be reached, or what was asked for cannot be had now: a
    /// component failed, could not be activated, or took too long.
    pub const UNAVAILABLE: Self = Self(8);
    /// The process ended, and something was not retired cleanly or in time.
    pub const UNCLEAN: Self = Self(9);
    /// What was asked for was done; only the answer could not be written.
    pub const UNTOLD: Self = Self(10);
    /// A defect of ours.
    pub const INTERNAL: Self = Self(70);

    /// Every code with what it means, for the help text.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::DONE, "done"),
        (
            Self::CHECK_FAILED,
            "a check answered no: `health` found something unwell, `plan` something to do; or you did",
        ),
        (
            Self::USAGE,
            "the command line, or the input of a call, was wrong",
        ),
        (Self::CONFIG, "settings or names are wrong"),
        (Self::NOT_FOUND, "what was asked for is not there"),
        (Self::DENIED, "a policy refused it"),
        (
            Self::BUSY,
            "paused, draining or in use; a second process on one state directory",
        ),
        (
            Self::ROLLED_BACK,
            "a swap or plan failed and was undone, or is outdated; what served before serves still",
        ),
        (
            Self::UNAVAILABLE,
            "nothing is running; or it is, and a component failed, did not start or took too long",
        ),
        (
            Self::UNCLEAN,
            "the process ended, but not everything was retired cleanly in time",
        ),
        (
            Self::UNTOLD,
            "what was asked for was done, but the answer could not be written",
        ),
        (Self::INTERNAL, "a defect in oneiric itself"),
    ];

    /// The code for an error of this kind.
    pub const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Config => Self::CONFIG,
            ErrorKind::NotFound => Self::NOT_FOUND,
            ErrorKind::Denied => Self::DENIED,
            ErrorKind::Busy => Self::BUSY,
            ErrorKind::RolledBack => Self::ROLLED_BACK,
            ErrorKind::Unavailable | ErrorKind::Timeout => Self::UNAVAILABLE,
            ErrorKind::Usage => Self::USAGE,
            _ => Self::INTERNAL,
        }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_numbers_are_the_contract() {
        let numbers: Vec<u8> = Exit::ALL.iter().map(|(exit, _)| exit.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 70]);
    }

    #[test]
    fn every_kind_of_error_has_a_documented_code_that_is_not_success() {
        let documented: BTreeSet<u8> = Exit::ALL.iter().map(|(exit, _)| exit.number()).collect();
        for (kind, number) in [
            (ErrorKind::Config, 3),
            (ErrorKind::NotFound, 4),
            (ErrorKind::Denied, 5),
            (ErrorKind::Busy, 6),
            (ErrorKind::RolledBack, 7),
            (ErrorKind::Unavailable, 8),
            (ErrorKind::Timeout, 8),
            (ErrorKind::Usage, 2),
            (ErrorKind::Internal, 70),
        ] {
            assert_eq!(Exit::of(kind).number(), number, "{kind:?}");
            assert!(documented.contains(&number));
        }
    }
}
