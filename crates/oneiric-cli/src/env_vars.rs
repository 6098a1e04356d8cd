//! Every variable of the environment that is read, with its meaning: the help text is made from
//! this list, and what begins with `ONEIRIC_` and is not on it is warned about, because a misspelt
//! variable would otherwise be a setting that silently does nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use oneiric_runtime::Sources;

/// A variable that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// The settings file.
pub(crate) const CONFIG: Variable = Variable {
    name: "ONEIRIC_CONFIG",
    doc: "the settings file, in place of those in /etc, ~/.config and here, unless --config is given",
};
/// The state directory.
pub(crate) const STATE_DIR: Variable = Variable {
    name: "ONEIRIC_STATE_DIR",
    doc: "the state directory, unless --state-dir is given",
};
/// The state directory that a service manager made.
pub(crate) const STATE_DIRECTORY: Variable = Variable {
    name: "STATE_DIRECTORY",
    doc: "the state directory where neither of those names one; systemd sets it (StateDirectory=)",
};
/// Where the service manager listens.
pub(crate) const NOTIFY_SOCKET: Variable = Variable {
    name: "NOTIFY_SOCKET",
    doc: "where `run` says that it is ready, reloading, stopping; systemd sets it (Type=notify-reload)",
};
/// How often the service manager wants to hear of us.
pub(crate) const WATCHDOG_USEC: Variable = Variable {
    name: "WATCHDOG_USEC",
    doc: "after how many microseconds without a sign of life systemd gives `run` up (WatchdogSec=)",
};
/// Whom the service manager watches.
pub(crate) const WATCHDOG_PID: Variable = Variable {
    name: "WATCHDOG_PID",
    doc: "the process that WATCHDOG_USEC is meant for",
};
/// What `run` logs.
pub(crate) const LOG: Variable = Variable {
    name: "ONEIRIC_LOG",
    doc: "what `run` logs to stderr: error, warn, info, debug, trace, or a filter such as \
          `warn,oneiric=info` (default)",
};
/// Which factories may be used.
pub(crate) const FACTORY_ALLOWLIST: Variable = Variable {
    name: "ONEIRIC_FACTORY_ALLOWLIST",
    doc: "factories that candidates may name, separated by commas, in place of \
          security.factory_allowlist",
};
/// Priorities of packages.
pub(crate) const STACK_ORDER: Variable = Variable {
    name: "ONEIRIC_STACK_ORDER",
    doc: "priorities of packages, `name:number` or `name`, separated by commas; `run` refuses a wrong \
          one, and has no packages yet to apply it to",
};
/// A process elsewhere.
pub(crate) const URL: Variable = Variable {
    name: "ONEIRIC_URL",
    doc: "a process that serves TCP, unless --url or --socket is given",
};
/// The bearer token for it.
pub(crate) const TOKEN_FILE: Variable = Variable {
    name: "ONEIRIC_TOKEN_FILE",
    doc: "with a URL: the file of the bearer token, unless --token-file is given",
};
/// Whom to trust there.
pub(crate) const CA_FILE: Variable = Variable {
    name: "ONEIRIC_CA_FILE",
    doc: "with a URL: the authorities its certificate must come from, unless --ca-file is given",
};
/// A client certificate for it.
pub(crate) const CERT_FILE: Variable = Variable {
    name: "ONEIRIC_CERT_FILE",
    doc: "with a URL: a client certificate, unless --cert is given",
};
/// Its key.
pub(crate) const KEY_FILE: Variable = Variable {
    name: "ONEIRIC_KEY_FILE",
    doc: "with a URL: the key of that certificate, unless --key is given",
};
/// Any setting. No variable has this very name.
const SETTING: Variable = Variable {
    name: "ONEIRIC_SECTION__KEY",
    doc: "any setting, such as ONEIRIC_RUN__GRACE_MS or ONEIRIC_ADMIN__TCP__LISTEN; two underscores \
          stand between the parts",
};
/// No colours.
pub(crate) const NO_COLOR: Variable = Variable {
    name: "NO_COLOR",
    doc: "if set and not empty, no colours, unless --color always",
};

/// What the terminal can do.
pub(crate) const TERM: Variable = Variable {
    name: "TERM",
    doc: "if `dumb`, no colours, unless --color always",
};

/// All of them, in the order of the help text.
pub const ALL: [Variable; 17] = [
    CONFIG,
    STATE_DIR,
    STATE_DIRECTORY,
    LOG,
    FACTORY_ALLOWLIST,
    STACK_ORDER,
    URL,
    TOKEN_FILE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    SETTING,
    NO_COLOR,
    TERM,
    NOTIFY_SOCKET,
    WATCHDOG_USEC,
    WATCHDOG_PID,
];

/// Names that mean something elsewhere: to the tests, or to commands that other builds have.
const RESERVED: [&str; 4] = [
    "ONEIRIC_TRUSTED_PUBLIC_KEYS",
    "ONEIRIC_VECTORS_DIR",
    "ONEIRIC_SECURITY_DIR",
    "ONEIRIC_BIN",
];

/// The environment, as a value.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

impl fmt::Debug for Env {
    /// Without values: many a secret is kept in a variable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Env {
    /// From pairs, such as `std::env::vars_os()`.
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// All of it, for the one who keeps secrets in it.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (OsString, OsString)> + '_ {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.clone(), value.clone()))
    }

    /// The variable's value; an empty one counts as absent.
    pub fn value(&self, variable: Variable) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(variable.name))?;
        (!value.is_empty()).then_some(value)
    }

    /// A variable that holds an absolute path; others are none, as the XDG directories say.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.0.get(OsStr::new(name))?);
        path.is_absolute().then_some(path)
    }

    /// Variables that are settings: `ONEIRIC_SECTION__FIELD`.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        let named = self.0.iter();
        named
            .filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str())))
            .filter(|(name, _)| Sources::is_variable(name))
    }

    /// Variables that look like ours and that nobody reads, sorted.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let known = |name: &str| {
            ALL.iter().any(|variable| variable.name == name)
                || RESERVED.contains(&name)
                || Sources::is_variable(name)
        };
        let names = self.0.keys().filter_map(|name| name.to_str());
        names
            .filter(|name| name.starts_with("ONEIRIC_"))
            .filter(move |name| !known(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::new(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        assert_eq!(env(&[("NO_COLOR", "")]).value(NO_COLOR), None);
        assert_eq!(
            env(&[("NO_COLOR", "1")]).value(NO_COLOR),
            Some(OsStr::new("1"))
        );
    }

    #[test]
    fn only_what_nobody_reads_is_unknown() {
        let env = env(&[
            ("ONEIRIC_CONFIG", "a"),
            ("ONEIRIC_CONFG", "a"),
            ("ONEIRIC_ADMIN__SOCKET", "a"),
            ("ONEIRIC_VECTORS_DIR", "a"),
            ("PATH", "a"),
        ]);
        assert_eq!(env.unknown().collect::<Vec<_>>(), ["ONEIRIC_CONFG"]);
    }
}
