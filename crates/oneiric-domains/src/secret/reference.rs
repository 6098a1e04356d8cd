//! How settings name a secret: `secret://provider/name`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SecretError;

const SCHEME: &str = "secret://";
/// The longest name of a secret, in bytes.
const MAX_NAME: usize = 256;
/// The longest name of a provider, in bytes.
const MAX_PROVIDER: usize = 64;
/// How much of a refused text an error repeats, in characters.
const SHOWN: usize = 60;

/// Names a secret: `secret://provider/name`.
///
/// A provider is 1 to 64 lower-case ASCII letters, digits, `-` and `_`; a name is 1 to 256 printable
/// ASCII characters without spaces. What a name means beyond that is its provider's to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    provider: String,
    name: String,
}

impl SecretRef {
    /// Whether `text` is meant as a reference, right or wrong.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// Who keeps it.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What it is called there.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    /// # Errors
    /// `domains.secret_ref_invalid`.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let invalid = |fault| SecretError::InvalidRef {
            shown: shorten(text),
            fault,
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| invalid("it does not begin with secret://"))?;
        let (provider, name) = rest
            .split_once('/')
            .ok_or_else(|| invalid("the form is secret://provider/name"))?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if provider.is_empty() || provider.len() > MAX_PROVIDER {
            return Err(invalid("a provider's name has 1 to 64 characters"));
        }
        if !provider
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
        {
            return Err(invalid(
                "a provider's name has lower-case letters, digits, '-' and '_' only",
            ));
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(invalid("a secret's name has 1 to 256 characters"));
        }
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "a secret's name has printable ASCII characters without spaces only",
            ));
        }
        Ok(Self {
            provider: provider.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.provider, self.name)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Quoted and cut, so that no text can flood or forge a line.
fn shorten(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(SHOWN).collect();
    let more = if chars.next().is_some() { "..." } else { "" };
    format!("{head:?}{more}")
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded as _;

    use super::*;

    #[test]
    fn a_reference_is_read_and_written_alike() {
        for text in [
            "secret://env/TOKEN",
            "secret://file/db-password",
            "secret://my_vault-2/kv/data/db#password?version=3",
        ] {
            let reference: SecretRef = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
        let reference: SecretRef = "secret://vault/a/b".parse().unwrap();
        assert_eq!((reference.provider(), reference.name()), ("vault", "a/b"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_its_code() {
        let long = format!("secret://env/{}", "a".repeat(257));
        for text in [
            "secret://",
            "secret://env",
            "secret://env/",
            "secret:///a",
            "secret://Env/a",
            "secret://e.v/a",
            "secret://env/a b",
            "secret://env/a\n",
            "secret://env/\u{e4}",
            " secret://env/a",
            "SECRET://env/a",
            "env/a",
            &long,
        ] {
            let error = text.parse::<SecretRef>().unwrap_err();
            assert_eq!(error.code(), "domains.secret_ref_invalid", "{text}");
            assert!(error.to_string().len() < 200, "{error}");
        }
    }
}
