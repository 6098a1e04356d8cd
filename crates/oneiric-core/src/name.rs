//! The one rule for keys and providers. Both end up in file names, metric labels, settings keys and URLs, so the
//! rule is what is safe in all of them, and a value that exists has passed it.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::code::{Coded, ErrorKind};

/// The longest name, in bytes (all of them ASCII).
pub const MAX_NAME_BYTES: usize = 128;

/// How much of a refused text an error repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// A name that breaks the rule for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {shown}: {fault}")]
pub struct InvalidName {
    what: &'static str,
    shown: String,
    fault: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, text: &str, fault: &'static str) -> Self {
        Self {
            what,
            shown: shorten(text),
            fault,
        }
    }

    /// Returns the clause of the rule that was broken.
    #[must_use]
    pub fn fault(&self) -> &'static str {
        self.fault
    }
}

impl Coded for InvalidName {
    fn code(&self) -> &'static str {
        "core.invalid_name"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Quotes `text` for an error message, escaped and cut, so that hostile input cannot flood or forge a log line.
pub(crate) fn shorten(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_none() {
        format!("{head:?}")
    } else {
        format!("{head:?}... ({} bytes)", text.len())
    }
}

/// Returns the clause that `text` breaks, if any.
pub(crate) fn fault_in(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else {
        return Some("it is empty");
    };
    if bytes.len() > MAX_NAME_BYTES {
        return Some("it is longer than 128 characters");
    }
    if !first.is_ascii_alphanumeric() && *first != b'_' {
        return Some("it must begin with a letter, a digit or '_'");
    }
    if !bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        return Some("only letters, digits, '_', '-' and '.' are allowed");
    }
    if text.contains("..") {
        return Some("'..' is not allowed");
    }
    if text.ends_with('.') {
        return Some("it must not end with '.'");
    }
    if is_device_name(text) {
        return Some("it is a reserved device name on some systems");
    }
    None
}

/// Tells whether some systems would open a device instead of a file of this name, whatever its extension.
fn is_device_name(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or(text);
    if ["con", "prn", "aux", "nul"]
        .iter()
        .any(|name| stem.eq_ignore_ascii_case(name))
    {
        return true;
    }
    let (Some(prefix), Some(suffix)) = (stem.get(..3), stem.get(3..)) else {
        return false;
    };
    let port = prefix.eq_ignore_ascii_case("com") || prefix.eq_ignore_ascii_case("lpt");
    port && matches!(suffix.as_bytes(), [b'1'..=b'9'])
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`, no `..`, no trailing dot, no device name.
            ///
            /// # Errors
            /// `core.invalid_name`, saying which clause is broken.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = name.as_ref();
                match fault_in(text) {
                    Some(fault) => Err(InvalidName::new($what, text, fault)),
                    None => Ok(Self(text.into())),
                }
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type! {
    /// What is asked for within a domain: `cache` in `adapter/cache`. Cheap to clone.
    Key, "key"
}

name_type! {
    /// The name of an implementation: `redis`. Cheap to clone.
    Provider, "provider"
}

impl Key {
    /// Takes a key that must hold no dot, for places where a dot separates names.
    ///
    /// # Errors
    /// `core.invalid_name`.
    pub fn undotted(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let text = name.as_ref();
        if text.contains('.') {
            return Err(InvalidName::new("key", text, "'.' is not allowed here"));
        }
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p07_a_trailing_newline_is_refused_in_keys_and_providers() {
        for text in [
            "cache\n",
            "cache\r\n",
            "\ncache",
            "ca\nche",
            "cache\u{0}",
            "cache\u{2028}",
        ] {
            assert_eq!(
                Key::new(text).unwrap_err().code(),
                "core.invalid_name",
                "{text:?}"
            );
            assert_eq!(
                Provider::new(text).unwrap_err().code(),
                "core.invalid_name",
                "{text:?}"
            );
        }
    }

    #[test]
    fn length_is_bounded_at_128() {
        assert!(Key::new("x".repeat(128)).is_ok());
        assert!(Key::new("x".repeat(129)).is_err());
    }

    #[test]
    fn device_names_are_refused_with_and_without_extension() {
        for text in ["con", "NUL", "Aux", "com1", "LPT9", "nul.txt", "com1.a.b"] {
            assert!(Key::new(text).is_err(), "{text}");
        }
        for text in ["console", "com0", "com10", "com", "lpt", "x.nul", "null"] {
            assert!(Key::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_error_never_repeats_a_huge_name_whole() {
        let shown = Key::new("a b".repeat(1_000_000)).unwrap_err().to_string();
        assert!(shown.len() < 300, "{}", shown.len());
    }

    #[test]
    fn multibyte_text_never_panics() {
        for text in ["é", "aé", "comé", "日本語", "co\u{301}m1"] {
            assert!(Key::new(text).is_err());
        }
    }
}
