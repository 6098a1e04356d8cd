//! Secrets: a text that is not shown, where one is kept, and who is asked for it.
//!
//! Settings name secrets and never hold them. Whoever keeps them is behind one narrow trait, so that a
//! program can ask its own vault; the environment and private files come with `oneiric-builtins`.

mod error;
mod reference;

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use oneiric_core::BoxFuture;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use zeroize::Zeroizing;

pub use error::SecretError;
pub use reference::SecretRef;

/// The longest secret, in bytes (64 KiB).
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

/// What is shown in the place of a secret.
const REDACTED: &str = "[redacted]";

/// A text that is not shown: neither `Debug` nor `Display` has it, and it is overwritten when its last
/// clone is dropped.
///
/// Made from text by serde, so a component's settings type can have fields of it. There is no way back
/// into serde: a secret is never written.
///
/// ```
/// use oneiric_domains::Secret;
///
/// let token: Secret = serde_json::from_str("\"s3cr3t\"")?;
/// assert_eq!(format!("{token:?} {token}"), "Secret([redacted]) [redacted]");
/// assert_eq!(token.expose(), "s3cr3t");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a text over. Copies that the caller made before are the caller's to overwrite.
    #[must_use]
    pub fn new(text: impl Into<Zeroizing<String>>) -> Self {
        Self(Arc::new(text.into()))
    }

    /// The text itself. Every call of this is a place to look at.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// Whether this is `other`, in a time that depends on their lengths only: for what a client
    /// presents.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        let (left, right) = (self.0.as_bytes(), other.as_bytes());
        if left.len() != right.len() {
            return false;
        }
        let pairs = left.iter().zip(right);
        let differing = pairs.fold(0_u8, |bits, (left, right)| black_box(bits | (left ^ right)));
        black_box(differing) == 0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({REDACTED})")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
        }

        deserializer.deserialize_string(Text)
    }
}

/// Keeps secrets under names.
pub trait SecretProvider: Send + Sync {
    /// The name under which settings refer to it, `vault` in `secret://vault/db`.
    fn name(&self) -> &str;

    /// Fetches the secret called `name` from where it is kept, not from a cache. Must be cancel-safe;
    /// is asked by one caller at a time for each name, however many want it. Must not block.
    ///
    /// A panic is that fetch's error. Its message goes to the program's panic hook and nowhere else, so it
    /// must not quote the secret either, unless that hook is one that knows.
    ///
    /// # Errors
    /// [`SecretError`], which must not quote the secret.
    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>>;
}

fn _secret_provider_is_dyn_safe(_: &dyn SecretProvider) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_as_a_whole() {
        let secret = Secret::new("abc".to_owned());
        assert!(secret.matches("abc"));
        for other in ["", "ab", "abd", "xbc", "abcd"] {
            assert!(!secret.matches(other), "{other}");
        }
    }

    #[test]
    fn p86_a_secret_is_not_shown_by_any_formatting() {
        let secret = Secret::new("hunter2".to_owned());
        for shown in [
            format!("{secret}"),
            format!("{secret:?}"),
            format!("{secret:#?}"),
            format!("{:>40}", secret),
            format!("{:?}", Some(&secret)),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    /// That dropping overwrites is the type's doing; this fails to compile without it.
    #[test]
    fn a_secret_is_kept_in_memory_that_is_overwritten() {
        fn overwritten(_: &impl zeroize::ZeroizeOnDrop) {}
        overwritten(&*Secret::new("abc".to_owned()).0);
    }
}
