//! What an operator pauses or drains, and how it is written.

use std::fmt;
use std::str::FromStr;

use oneiric_core::{Coded, Domain, ErrorKind, Provider, Slot};
use serde::{Deserialize, Serialize};

/// How much of a refused text an error repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// What is paused, drained or resumed: `adapter/*`, `adapter/cache`, `adapter/cache:redis`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ActivityScope {
    /// Every slot of a domain, those that appear later among them.
    Domain(Domain),
    /// One slot, whoever serves it.
    Slot(Slot),
    /// One slot while this provider serves it.
    Provider(Slot, Provider),
}

impl ActivityScope {
    /// The domain it is in.
    pub fn domain(&self) -> &Domain {
        match self {
            Self::Domain(domain) => domain,
            Self::Slot(slot) | Self::Provider(slot, _) => slot.domain(),
        }
    }

    /// The one slot it is about; `None` for a domain.
    pub const fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Domain(_) => None,
            Self::Slot(slot) | Self::Provider(slot, _) => Some(slot),
        }
    }

    /// Whether it is about `slot`, whoever serves that.
    pub fn concerns(&self, slot: &Slot) -> bool {
        match self {
            Self::Domain(domain) => domain == slot.domain(),
            Self::Slot(one) | Self::Provider(one, _) => one == slot,
        }
    }

    /// Whether `provider` in `slot` is in it.
    pub fn covers(&self, slot: &Slot, provider: &Provider) -> bool {
        match self {
            Self::Provider(_, one) => self.concerns(slot) && one == provider,
            _ => self.concerns(slot),
        }
    }
}

impl fmt::Display for ActivityScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.pad(&format!("{domain}/*")),
            Self::Slot(slot) => f.pad(slot.as_str()),
            Self::Provider(slot, provider) => f.pad(&format!("{slot}:{provider}")),
        }
    }
}

impl FromStr for ActivityScope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = |fault: &dyn fmt::Display| InvalidScope::new(text, fault);
        if let Some(domain) = text.strip_suffix("/*") {
            let domain = Domain::new(domain).map_err(|fault| invalid(&fault))?;
            return Ok(Self::Domain(domain));
        }
        let (slot, provider) = match text.split_once(':') {
            Some((slot, provider)) => (slot, Some(provider)),
            None => (text, None),
        };
        if !slot.contains('/') {
            let expected = "expected a slot such as 'adapter/cache', one provider in it such as \
                            'adapter/cache:redis', or a domain such as 'adapter/*'";
            return Err(invalid(&expected));
        }
        let slot: Slot = slot.parse().map_err(|fault| invalid(&fault))?;
        match provider.map(str::parse).transpose() {
            Ok(None) => Ok(Self::Slot(slot)),
            Ok(Some(provider)) => Ok(Self::Provider(slot, provider)),
            Err(fault) => Err(invalid(&fault)),
        }
    }
}

impl TryFrom<String> for ActivityScope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<ActivityScope> for String {
    fn from(scope: ActivityScope) -> Self {
        scope.to_string()
    }
}

impl From<Slot> for ActivityScope {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl From<&Slot> for ActivityScope {
    fn from(slot: &Slot) -> Self {
        Self::Slot(slot.clone())
    }
}

impl From<Domain> for ActivityScope {
    fn from(domain: Domain) -> Self {
        Self::Domain(domain)
    }
}

impl From<&Self> for ActivityScope {
    fn from(scope: &Self) -> Self {
        scope.clone()
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope {shown}: {fault}")]
pub struct InvalidScope {
    shown: String,
    fault: String,
}

impl InvalidScope {
    pub(crate) fn new(text: &str, fault: &dyn fmt::Display) -> Self {
        // Escaped and cut, so that hostile input cannot flood or forge a log line.
        let head: String = text.chars().take(SHOWN_CHARS).collect();
        let rest = if head.len() < text.len() { "..." } else { "" };
        Self {
            shown: format!("{head:?}{rest}"),
            fault: fault.to_string(),
        }
    }
}

impl Coded for InvalidScope {
    fn code(&self) -> &'static str {
        "lifecycle.invalid_scope"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["adapter/*", "adapter/cache", "adapter/cache:redis", "x-y/*"] {
            let scope: ActivityScope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            let json = serde_json::to_value(&scope).unwrap();
            assert_eq!(json, text);
            assert_eq!(
                serde_json::from_value::<ActivityScope>(json).unwrap(),
                scope
            );
        }
    }

    #[test]
    fn what_is_no_scope_is_refused_with_what_would_be_one() {
        for text in [
            "",
            "*",
            "adapter",
            "*/*",
            "adapter/",
            "adapter/c:",
            "adapter/c:a:b",
            "adapter/*:x",
            "A/b",
            "adapter/c\n",
            "adapter/*/*",
            ":x",
            "adapter:x",
        ] {
            let error = text.parse::<ActivityScope>().unwrap_err();
            assert_eq!(error.code(), "lifecycle.invalid_scope", "{text}");
            assert!(!error.to_string().contains('\n'), "{text}");
        }
        let error = "adapter".parse::<ActivityScope>().unwrap_err();
        assert!(error.to_string().contains("'adapter/*'"), "{error}");
        let long = "x".repeat(1_000).parse::<ActivityScope>().unwrap_err();
        assert!(long.to_string().len() < 300, "{long}");
    }

    #[test]
    fn a_scope_covers_what_is_in_it() {
        let slot: Slot = "adapter/cache".parse().unwrap();
        let other: Slot = "adapter/queue".parse().unwrap();
        let (redis, file) = ("redis".parse().unwrap(), "file".parse().unwrap());
        let covers = |scope: &str, slot: &Slot, provider: &Provider| {
            scope
                .parse::<ActivityScope>()
                .unwrap()
                .covers(slot, provider)
        };
        assert!(covers("adapter/*", &slot, &redis) && covers("adapter/*", &other, &file));
        assert!(!covers("service/*", &slot, &redis));
        assert!(covers("adapter/cache", &slot, &file));
        assert!(!covers("adapter/cache", &other, &file));
        assert!(covers("adapter/cache:redis", &slot, &redis));
        assert!(!covers("adapter/cache:redis", &slot, &file));
    }
}
