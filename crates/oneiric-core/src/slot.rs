//! Slots: what a program asks for. A slot is looked up far more often than it is made, so it computes its hash once
//! and lookups compare pointers before text.
//!
//! The hash is seeded at random once per process: keys may come from remote manifests, and with a known seed a
//! hostile one could choose keys that all collide. One seed for the process (not one per table) is what lets a slot
//! carry its hash from registry to registry.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    code::{Coded, ErrorKind},
    name::{InvalidName, Key, shorten},
};

static SEED: LazyLock<foldhash::quality::RandomState> =
    LazyLock::new(foldhash::quality::RandomState::default);

/// Hashes a slot from its parts; equal parts always give the hash that [`Slot`] carries.
pub(crate) fn hash_parts(domain: &str, key: &str) -> u64 {
    let mut hasher = SEED.build_hasher();
    hasher.write(domain.as_bytes());
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// A family of parts. Six are known; others are declared by name. Cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(DomainName);

/// A known domain borrows its name, a declared one shares it.
#[derive(Clone)]
enum DomainName {
    Known(&'static str),
    Declared(Arc<str>),
}

impl Domain {
    /// Adapters: technical parts such as caches and databases.
    pub const ADAPTER: Self = Self(DomainName::Known("adapter"));
    /// Services: long-lived logic.
    pub const SERVICE: Self = Self(DomainName::Known("service"));
    /// Tasks: work that is run or queued.
    pub const TASK: Self = Self(DomainName::Known("task"));
    /// Event handlers.
    pub const EVENT: Self = Self(DomainName::Known("event"));
    /// Workflows: graphs of tasks.
    pub const WORKFLOW: Self = Self(DomainName::Known("workflow"));
    /// Actions: single operations invoked by name.
    pub const ACTION: Self = Self(DomainName::Known("action"));

    /// The known domains.
    pub const KNOWN: [Self; 6] = [
        Self::ADAPTER,
        Self::SERVICE,
        Self::TASK,
        Self::EVENT,
        Self::WORKFLOW,
        Self::ACTION,
    ];

    /// Takes a known domain, or declares one: `[a-z][a-z0-9_-]{0,31}`.
    ///
    /// # Errors
    /// `core.invalid_name`.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        if let Some(known) = Self::KNOWN.into_iter().find(|known| known.as_str() == name) {
            return Ok(known);
        }
        let bytes = name.as_bytes();
        let fault = match bytes.first() {
            None => "it is empty",
            Some(first) if !first.is_ascii_lowercase() => "it must begin with a lower-case letter",
            _ if bytes.len() > 32 => "it is longer than 32 characters",
            _ if !bytes.iter().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')
            }) =>
            {
                "only lower-case letters, digits, '_' and '-' are allowed"
            }
            _ => return Ok(Self(DomainName::Declared(name.into()))),
        };
        Err(InvalidName::new("domain", name, fault))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            DomainName::Known(name) => name,
            DomainName::Declared(name) => name,
        }
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Domain {}

impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Domain {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Domain {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Domain {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.as_str().into()
    }
}

/// What is resolved: a domain and a key, written `adapter/cache`. Cloning shares one allocation.
///
/// Keep the slots you ask for often: a lookup with the very slot that was registered compares one pointer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot(Arc<Parts>);

struct Parts {
    hash: u64,
    domain: Domain,
    key: Key,
    text: Box<str>,
}

impl Slot {
    /// Makes the slot of `domain` and `key`.
    #[must_use]
    pub fn new(domain: Domain, key: Key) -> Self {
        let hash = hash_parts(domain.as_str(), key.as_str());
        let text = format!("{domain}/{key}").into();
        Self(Arc::new(Parts {
            hash,
            domain,
            key,
            text,
        }))
    }

    /// Returns the domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.0.domain
    }

    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Returns `domain/key`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    #[inline]
    pub(crate) fn cached_hash(&self) -> u64 {
        self.0.hash
    }

    /// Tells whether this is the slot of these parts, looking at one text only.
    pub(crate) fn is(&self, domain: &str, key: &str) -> bool {
        let rest = self.0.text.strip_prefix(domain);
        rest.and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| rest == key)
    }
}

impl PartialEq for Slot {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.text == other.0.text)
    }
}

impl Eq for Slot {}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.text.cmp(&other.0.text)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.text, f)
    }
}

impl FromStr for Slot {
    type Err = InvalidSlot;

    fn from_str(text: &str) -> Result<Self, InvalidSlot> {
        let invalid = |fault: String| InvalidSlot {
            shown: shorten(text),
            fault,
        };
        let Some((domain, key)) = text.split_once('/') else {
            return Err(invalid(
                "expected 'domain/key', such as 'adapter/cache'".to_owned(),
            ));
        };
        let domain = Domain::new(domain).map_err(|fault| invalid(fault.to_string()))?;
        let key = Key::new(key).map_err(|fault| invalid(fault.to_string()))?;
        Ok(Self::new(domain, key))
    }
}

impl TryFrom<&str> for Slot {
    type Error = InvalidSlot;

    fn try_from(text: &str) -> Result<Self, InvalidSlot> {
        text.parse()
    }
}

impl TryFrom<String> for Slot {
    type Error = InvalidSlot;

    fn try_from(text: String) -> Result<Self, InvalidSlot> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.as_str().into()
    }
}

/// A text that names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid slot {shown}: {fault}")]
pub struct InvalidSlot {
    shown: String,
    fault: String,
}

impl Coded for InvalidSlot {
    fn code(&self) -> &'static str {
        "core.invalid_slot"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// Counts who holds the slot: how tests see that nothing keeps what was replaced.
#[cfg(test)]
pub(crate) fn holders(slot: &Slot) -> usize {
    Arc::strong_count(&slot.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_reads_as_it_is_written() {
        let slot: Slot = "adapter/db.main".parse().unwrap();
        assert_eq!(slot.domain(), &Domain::ADAPTER);
        assert_eq!(slot.key().as_str(), "db.main");
        assert_eq!(slot.to_string(), "adapter/db.main");
    }

    #[test]
    fn what_names_no_slot_is_refused() {
        for text in [
            "",
            "adapter",
            "adapter/",
            "/cache",
            "Adapter/cache",
            "adapter/a/b",
            "adapter/cache\n",
        ] {
            assert_eq!(
                text.parse::<Slot>().unwrap_err().code(),
                "core.invalid_slot",
                "{text:?}"
            );
        }
    }

    #[test]
    fn equal_slots_are_equal_whoever_made_them() {
        let one: Slot = "task/mail".parse().unwrap();
        let two = Slot::new(Domain::new("task").unwrap(), Key::new("mail").unwrap());
        assert_eq!(one, two);
        assert_eq!(one.cached_hash(), two.cached_hash());
        assert!(one.is("task", "mail") && !one.is("task", "mai"));
    }

    #[test]
    fn a_declared_domain_keeps_to_its_rule() {
        assert_eq!(Domain::new("probe-2").unwrap().as_str(), "probe-2");
        for text in ["", "Probe", "2probe", "pro be", "probe\n", &"x".repeat(33)] {
            assert!(Domain::new(text).is_err(), "{text:?}");
        }
    }
}
