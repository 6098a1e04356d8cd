//! What is asked of a slot beyond "who wins": one provider, capabilities, properties. A query only narrows the
//! field (and counts capability matches); it never changes the order of precedence.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{candidate::Candidate, name::Provider, slot::Slot};

/// A question about one slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Query {
    slot: Slot,
    provider: Option<Provider>,
    capabilities: Capabilities,
    properties: BTreeMap<String, Value>,
}

impl Query {
    /// Asks who wins `slot`.
    #[must_use]
    pub fn new(slot: Slot) -> Self {
        Self {
            slot,
            provider: None,
            capabilities: Capabilities::default(),
            properties: BTreeMap::new(),
        }
    }

    /// Asks for the best-ranked candidate of one provider.
    #[must_use]
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Requires capabilities: [`all`] or [`any`] of some.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Requires a metadata entry that equals `value`.
    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Returns the slot asked about.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Returns the provider asked for.
    #[must_use]
    pub fn wanted_provider(&self) -> Option<&Provider> {
        self.provider.as_ref()
    }

    /// Returns the required capabilities.
    #[must_use]
    pub fn wanted_capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Returns the required properties.
    #[must_use]
    pub fn properties(&self) -> &BTreeMap<String, Value> {
        &self.properties
    }

    /// Tells whether the query asks for nothing but the slot's winner.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.provider.is_none() && !self.narrows()
    }

    /// Tells whether candidates have to be looked at one by one.
    pub(crate) fn narrows(&self) -> bool {
        !self.capabilities.required.is_empty() || !self.properties.is_empty()
    }

    /// Returns the number of capability matches, or why the candidate is out of the question.
    pub(crate) fn admit(&self, candidate: &Candidate) -> Result<u32, Exclusion> {
        if let Some(wanted) = &self.provider
            && candidate.provider() != wanted
        {
            return Err(Exclusion::OtherProvider {
                wanted: wanted.clone(),
            });
        }
        let matches = self.capabilities.matches(candidate)?;
        for (key, wanted) in &self.properties {
            let found = candidate.metadata().get(key);
            if found != Some(wanted) {
                return Err(Exclusion::Property {
                    key: key.clone(),
                    wanted: wanted.clone(),
                    found: found.cloned(),
                });
            }
        }
        Ok(matches)
    }
}

impl From<Slot> for Query {
    fn from(slot: Slot) -> Self {
        Self::new(slot)
    }
}

/// Capabilities a query requires. Names are trimmed, blank ones dropped; one named twice counts twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Capabilities {
    mode: Mode,
    required: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    All,
    Any,
}

/// Requires every one of these capabilities.
#[must_use]
pub fn all(names: impl IntoIterator<Item = impl AsRef<str>>) -> Capabilities {
    Capabilities {
        mode: Mode::All,
        required: clean(names),
    }
}

/// Requires at least one of these capabilities; more of them rank higher.
#[must_use]
pub fn any(names: impl IntoIterator<Item = impl AsRef<str>>) -> Capabilities {
    Capabilities {
        mode: Mode::Any,
        required: clean(names),
    }
}

fn clean(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let trimmed = names
        .into_iter()
        .map(|name| name.as_ref().trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}

impl Capabilities {
    /// Returns the names, trimmed, duplicates kept.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.required
    }

    /// Tells whether every one is needed, not just one.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        self.mode == Mode::All
    }

    fn matches(&self, candidate: &Candidate) -> Result<u32, Exclusion> {
        let has = |name: &&String| candidate.capabilities().contains(*name);
        let count = self.required.iter().filter(has).count();
        let enough = match self.mode {
            Mode::All => count == self.required.len(),
            Mode::Any => count > 0 || self.required.is_empty(),
        };
        if enough {
            return Ok(u32::try_from(count).unwrap_or(u32::MAX));
        }
        let mut missing: Vec<String> = Vec::new();
        for name in self.required.iter().filter(|name| !has(name)) {
            if !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        Err(Exclusion::Capabilities { missing })
    }
}

/// Why a candidate is out of the question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exclusion {
    /// The query asks for another provider.
    OtherProvider {
        /// The provider asked for.
        wanted: Provider,
    },
    /// It lacks required capabilities.
    Capabilities {
        /// The missing ones.
        missing: Vec<String>,
    },
    /// A property is absent or different.
    Property {
        /// The metadata key.
        key: String,
        /// The value asked for.
        wanted: Value,
        /// The value it has.
        found: Option<Value>,
    },
    /// It is dead in the question that was asked (`down=`).
    Down,
    /// It is taken away in the question that was asked (`without=`).
    Without,
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherProvider { wanted } => write!(f, "the query asks for {wanted}"),
            Self::Capabilities { missing } => {
                write!(f, "lacks {}", missing.join(", ").escape_debug())
            }
            Self::Property {
                key,
                wanted,
                found: None,
            } => write!(f, "has no {key} (wanted {wanted})"),
            Self::Property {
                key,
                wanted,
                found: Some(found),
            } => {
                write!(f, "{key} is {found}, wanted {wanted}")
            }
            Self::Down => f.write_str("down (what if)"),
            Self::Without => f.write_str("taken away (what if)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    fn candidate(capabilities: &[&str]) -> Candidate {
        let slot = "adapter/cache".parse().unwrap();
        Candidate::builder(slot, Provider::new("redis").unwrap(), Origin::settings())
            .capabilities(capabilities.iter().copied())
            .metadata("region", "eu")
            .build()
    }

    #[test]
    fn required_capabilities_are_trimmed_blanks_dropped_and_duplicates_counted() {
        let query = Query::new("adapter/cache".parse().unwrap());
        let wanted = query
            .clone()
            .capabilities(any([" kv ", "kv", "", "  ", "ttl"]));
        assert_eq!(wanted.admit(&candidate(&["kv"])), Ok(2));
        assert_eq!(
            query.capabilities(all(["", " "])).admit(&candidate(&[])),
            Ok(0)
        );
    }

    #[test]
    fn offered_capabilities_are_taken_as_written() {
        let query = Query::new("adapter/cache".parse().unwrap()).capabilities(all(["kv"]));
        let missing = vec!["kv".to_owned()];
        assert_eq!(
            query.admit(&candidate(&[" kv "])),
            Err(Exclusion::Capabilities { missing })
        );
    }

    #[test]
    fn properties_compare_by_value() {
        let query = Query::new("adapter/cache".parse().unwrap());
        assert_eq!(
            query
                .clone()
                .property("region", "eu")
                .admit(&candidate(&[])),
            Ok(0)
        );
        let refused = query
            .clone()
            .property("region", "us")
            .admit(&candidate(&[]))
            .unwrap_err();
        assert_eq!(refused.to_string(), r#"region is "eu", wanted "us""#);
        let absent = query
            .property("zone", 1)
            .admit(&candidate(&[]))
            .unwrap_err();
        assert_eq!(absent.to_string(), "has no zone (wanted 1)");
    }
}
