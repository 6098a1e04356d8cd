//! Where candidates come from. An origin owns what it registered: replacing one origin's candidates can never touch
//! another's, and `explain` can say whose a candidate is.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    code::{Coded, ErrorKind},
    name::{fault_in, shorten},
};

/// One source of candidates: `settings`, `plugin:<crate>`, `folder:<name>`, `remote:<source-id>` or `code:<name>`.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(Arc<str>);

impl Origin {
    /// Candidates declared in settings.
    #[must_use]
    pub fn settings() -> Self {
        Self("settings".into())
    }

    /// Candidates of a crate that was compiled in.
    ///
    /// # Errors
    /// `core.invalid_origin` when `name` breaks the rule for names.
    pub fn plugin(name: &str) -> Result<Self, InvalidOrigin> {
        Self::of("plugin", name)
    }

    /// Candidates of a plugin folder.
    ///
    /// # Errors
    /// `core.invalid_origin` when `name` breaks the rule for names.
    pub fn folder(name: &str) -> Result<Self, InvalidOrigin> {
        Self::of("folder", name)
    }

    /// Candidates of a signed remote source.
    ///
    /// # Errors
    /// `core.invalid_origin` when `name` breaks the rule for names.
    pub fn remote(name: &str) -> Result<Self, InvalidOrigin> {
        Self::of("remote", name)
    }

    /// Candidates registered by a program itself.
    ///
    /// # Errors
    /// `core.invalid_origin` when `name` breaks the rule for names.
    pub fn code(name: &str) -> Result<Self, InvalidOrigin> {
        Self::of("code", name)
    }

    fn of(kind: &str, name: &str) -> Result<Self, InvalidOrigin> {
        match fault_in(name) {
            Some(fault) => Err(InvalidOrigin {
                shown: shorten(&format!("{kind}:{name}")),
                fault,
            }),
            None => Ok(Self(format!("{kind}:{name}").into())),
        }
    }

    /// Returns the origin as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind, the part before the colon.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Returns the name, the part after the colon; `settings` has none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.split_once(':').map(|(_, name)| name)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        match text.split_once(':') {
            None if text == "settings" => Ok(Self::settings()),
            Some((kind @ ("plugin" | "folder" | "remote" | "code"), name)) => Self::of(kind, name),
            _ => Err(InvalidOrigin {
                shown: shorten(text),
                fault: "expected 'settings', or 'plugin:', 'folder:', 'remote:' or 'code:' and a name",
            }),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0.as_ref().into()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid origin {shown}: {fault}")]
pub struct InvalidOrigin {
    shown: String,
    fault: &'static str,
}

impl Coded for InvalidOrigin {
    fn code(&self) -> &'static str {
        "core.invalid_origin"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_origin_reads_back() {
        for text in [
            "settings",
            "plugin:my-crate",
            "folder:site",
            "remote:main",
            "code:tests",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        assert_eq!(Origin::code("tests").unwrap().name(), Some("tests"));
        assert_eq!(
            (Origin::settings().kind(), Origin::settings().name()),
            ("settings", None)
        );
    }

    #[test]
    fn what_names_no_origin_is_refused() {
        for text in [
            "",
            "code",
            "code:",
            "code:a b",
            "settings:x",
            "disk:x",
            "code:a\n",
            "settings\n",
        ] {
            assert_eq!(
                text.parse::<Origin>().unwrap_err().code(),
                "core.invalid_origin",
                "{text:?}"
            );
        }
    }
}
