//! Factory paths and the policy that admits them. A path is only a name: nothing is looked up by symbol. It is
//! checked all the same as if it were, because the same manifests feed systems where the name is imported.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    code::{Coded, ErrorKind},
    name::shorten,
};

/// The longest factory path, in bytes.
pub const MAX_FACTORY_BYTES: usize = 256;

/// The allowlist that holds when none is configured.
pub const DEFAULT_ALLOWLIST: [&str; 1] = ["oneiric."];

/// Modules no allowlist can open: each reaches the host (files, processes, sockets, imports) by itself. Their names
/// are refused as attributes too, or a module that imported one would hand it out.
const BLOCKED: [&str; 19] = [
    "os",
    "subprocess",
    "sys",
    "importlib",
    "builtins",
    "__builtin__",
    "shutil",
    "pathlib",
    "tempfile",
    "posix",
    "pty",
    "ctypes",
    "pickle",
    "runpy",
    "code",
    "socket",
    "webbrowser",
    "nt",
    "_posixsubprocess",
];

/// The name of a factory, `dotted.module:function`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FactoryPath {
    text: Arc<str>,
}

impl FactoryPath {
    /// Takes a path: dotted identifiers, one `:`, one public identifier; no spaces; at most 256 characters.
    ///
    /// # Errors
    /// `core.invalid_factory`.
    pub fn new(path: impl AsRef<str>) -> Result<Self, InvalidFactory> {
        let text = path.as_ref();
        let fault = if text.len() > MAX_FACTORY_BYTES {
            "it is longer than 256 characters"
        } else {
            match text.split_once(':') {
                None => "expected 'dotted.module:function'",
                Some((module, _)) if !module.split('.').all(is_identifier) => {
                    "the module must be identifiers separated by single dots"
                }
                Some((_, function)) if !is_identifier(function) => {
                    "the function must be one identifier"
                }
                Some((_, function)) if function.starts_with('_') => {
                    "the function must be public (no leading '_')"
                }
                Some(_) => return Ok(Self { text: text.into() }),
            }
        };
        Err(InvalidFactory {
            shown: shorten(text),
            fault,
        })
    }

    /// Returns the module, `a.b` of `a.b:c`.
    #[must_use]
    pub fn module(&self) -> &str {
        self.text.split_once(':').map_or("", |(module, _)| module)
    }

    /// Returns the function, `c` of `a.b:c`.
    #[must_use]
    pub fn function(&self) -> &str {
        self.text
            .split_once(':')
            .map_or("", |(_, function)| function)
    }

    /// Returns the whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

impl fmt::Display for FactoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for FactoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl FromStr for FactoryPath {
    type Err = InvalidFactory;

    fn from_str(text: &str) -> Result<Self, InvalidFactory> {
        Self::new(text)
    }
}

impl TryFrom<String> for FactoryPath {
    type Error = InvalidFactory;

    fn try_from(text: String) -> Result<Self, InvalidFactory> {
        Self::new(text)
    }
}

impl From<FactoryPath> for String {
    fn from(path: FactoryPath) -> Self {
        path.text.as_ref().into()
    }
}

/// A text that is no factory path, or an allowlist entry that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid factory {shown}: {fault}")]
pub struct InvalidFactory {
    shown: String,
    fault: &'static str,
}

impl Coded for InvalidFactory {
    fn code(&self) -> &'static str {
        "core.invalid_factory"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Which factories may be used: exact paths and module prefixes that end at module boundaries.
///
/// `a.b:c` admits that path; `a.b` admits `a.b` and everything below it; `a.b.` only what is below it. Blocked
/// modules stay blocked whatever the list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactoryPolicy {
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Path(FactoryPath),
    Module(String),
    Below(String),
}

impl FactoryPolicy {
    /// Takes an allowlist; an empty one admits nothing.
    ///
    /// # Errors
    /// `core.invalid_factory` for the first entry that is neither a factory path nor a module prefix: the empty
    /// one above all, which would read as "everything".
    pub fn new(entries: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidFactory> {
        let parse = |entry: &str| {
            if entry.contains(':') {
                return FactoryPath::new(entry).map(Allowed::Path);
            }
            let (module, below) = match entry.strip_suffix('.') {
                Some(module) => (module, true),
                None => (entry, false),
            };
            if module.len() > MAX_FACTORY_BYTES || !module.split('.').all(is_identifier) {
                return Err(InvalidFactory {
                    shown: shorten(entry),
                    fault: "an allowlist entry is 'module', 'module.' or 'module:function'",
                });
            }
            Ok(if below {
                Allowed::Below(module.into())
            } else {
                Allowed::Module(module.into())
            })
        };
        let allowed = entries
            .into_iter()
            .map(|entry| parse(entry.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { allowed })
    }

    /// Splits the text of an environment variable into allowlist entries; not set means the default list.
    ///
    /// Entries are separated by commas and trimmed, blank ones dropped; a module gets the trailing dot that makes
    /// it a prefix. Nothing is checked here: hand the entries to [`FactoryPolicy::new`].
    #[must_use]
    pub fn parse_env(text: Option<&str>) -> Vec<String> {
        let Some(text) = text else {
            return DEFAULT_ALLOWLIST.map(String::from).to_vec();
        };
        let complete = |entry: &str| {
            if entry.ends_with('.') || entry.contains(':') {
                entry.to_owned()
            } else {
                format!("{entry}.")
            }
        };
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(complete)
            .collect()
    }

    /// Checks one path.
    ///
    /// # Errors
    /// `core.factory_denied`, saying whether it is blocked for everybody or only not on this list.
    pub fn check(&self, path: &FactoryPath) -> Result<(), FactoryDenied> {
        let root = path.module().split('.').next().unwrap_or_default();
        let denied = |blocked| FactoryDenied {
            path: path.clone(),
            blocked,
        };
        if BLOCKED.contains(&root) || BLOCKED.contains(&path.function()) {
            return Err(denied(true));
        }
        if self.allowed.iter().any(|allowed| allowed.admits(path)) {
            Ok(())
        } else {
            Err(denied(false))
        }
    }
}

impl Allowed {
    fn admits(&self, path: &FactoryPath) -> bool {
        let below = |prefix: &str| {
            path.module()
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        match self {
            Self::Path(exact) => exact == path,
            Self::Module(module) => path.module() == module || below(module),
            Self::Below(module) => below(module),
        }
    }
}

impl Default for FactoryPolicy {
    fn default() -> Self {
        let below = |entry: &str| Allowed::Below(entry.trim_end_matches('.').to_owned());
        Self {
            allowed: DEFAULT_ALLOWLIST.map(below).to_vec(),
        }
    }
}

/// A factory that the policy does not admit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactoryDenied {
    path: FactoryPath,
    blocked: bool,
}

impl FactoryDenied {
    /// Returns the refused path.
    #[must_use]
    pub fn path(&self) -> &FactoryPath {
        &self.path
    }

    /// Tells whether no allowlist can admit it.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }
}

impl fmt::Display for FactoryDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blocked {
            write!(
                f,
                "factory '{}' names a module that is always blocked",
                self.path
            )
        } else {
            write!(f, "factory '{}' is not on the allowlist", self.path)
        }
    }
}

impl std::error::Error for FactoryDenied {}

impl Coded for FactoryDenied {
    fn code(&self) -> &'static str {
        "core.factory_denied"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FactoryPath {
        FactoryPath::new(text).unwrap()
    }

    #[test]
    fn p07_a_trailing_newline_is_refused_in_factories() {
        for text in [
            "a.b:c\n", "a.b\n:c", "\na.b:c", "a.b:c ", "a.b :c", "a.b: c", "a.b:_c", "a.b:c:d",
        ] {
            assert_eq!(
                FactoryPath::new(text).unwrap_err().code(),
                "core.invalid_factory",
                "{text:?}"
            );
        }
    }

    #[test]
    fn prefixes_end_at_module_boundaries() {
        let policy = FactoryPolicy::new(["app", "lib.", "one.two:make"]).unwrap();
        for admitted in ["app:x", "app.sub:x", "lib.a:x", "one.two:make"] {
            assert_eq!(policy.check(&path(admitted)), Ok(()), "{admitted}");
        }
        for denied in [
            "apps:x",
            "app_evil.a:x",
            "lib:x",
            "libs.a:x",
            "one.two:make2",
            "one.two.x:make",
        ] {
            let error = policy.check(&path(denied)).unwrap_err();
            assert_eq!(
                (error.code(), error.is_blocked()),
                ("core.factory_denied", false),
                "{denied}"
            );
        }
    }

    #[test]
    fn blocked_modules_stay_blocked_when_they_are_listed() {
        let policy = FactoryPolicy::new(["os", "posix:system", "app"]).unwrap();
        for denied in [
            "os:system",
            "os.path:join",
            "posix:system",
            "app.config:os",
            "app:code",
        ] {
            assert!(
                policy.check(&path(denied)).unwrap_err().is_blocked(),
                "{denied}"
            );
        }
    }

    #[test]
    fn an_entry_that_would_admit_everything_is_refused() {
        for entry in ["", ".", "*", "*.", "a..", " a", "a:b:c", "a:_b"] {
            assert_eq!(
                FactoryPolicy::new([entry]).unwrap_err().code(),
                "core.invalid_factory",
                "{entry:?}"
            );
        }
    }

    #[test]
    fn an_exact_path_in_the_environment_stays_exact() {
        assert_eq!(FactoryPolicy::parse_env(Some("a.b:c, d")), ["a.b:c", "d."]);
    }
}
