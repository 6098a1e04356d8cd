//! Candidates: what a source offers for a slot. A candidate is immutable, so that everybody who saw it saw the same
//! thing; a change is a new candidate. Registered, it also has a sequence number, which is all that tells two
//! otherwise equal candidates apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;

use crate::{factory::FactoryPath, name::Provider, origin::Origin, precedence::Score, slot::Slot};

/// One implementation on offer for a slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    slot: Slot,
    provider: Provider,
    origin: Origin,
    priority: Option<i64>,
    stack_level: Option<i64>,
    capabilities: BTreeSet<String>,
    factory: Option<FactoryPath>,
    requires: Vec<Slot>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional_requires: Vec<Slot>,
    metadata: BTreeMap<String, Value>,
    fallback: bool,
}

impl Candidate {
    /// Begins a candidate; everything but these three has a default.
    pub fn builder(slot: Slot, provider: Provider, origin: Origin) -> CandidateBuilder {
        CandidateBuilder {
            candidate: Self {
                slot,
                provider,
                origin,
                priority: None,
                stack_level: None,
                capabilities: BTreeSet::new(),
                factory: None,
                requires: Vec::new(),
                optional_requires: Vec::new(),
                metadata: BTreeMap::new(),
                fallback: false,
            },
        }
    }

    /// Begins a candidate that is like this one.
    pub fn to_builder(&self) -> CandidateBuilder {
        CandidateBuilder {
            candidate: self.clone(),
        }
    }

    pub(crate) fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Returns the slot it is for.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Returns the implementation's name.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Returns the source that offers it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the stated priority; without one the registry's default counts.
    #[must_use]
    pub fn priority(&self) -> Option<i64> {
        self.priority
    }

    /// Returns the stated stack level; without one 0 counts.
    #[must_use]
    pub fn stack_level(&self) -> Option<i64> {
        self.stack_level
    }

    /// Returns what it says it can do, exactly as written: names are not trimmed.
    #[must_use]
    pub fn capabilities(&self) -> &BTreeSet<String> {
        &self.capabilities
    }

    /// Returns the name of the factory that builds it.
    #[must_use]
    pub fn factory(&self) -> Option<&FactoryPath> {
        self.factory.as_ref()
    }

    /// Returns the slots it needs, in the order stated.
    #[must_use]
    pub fn requires(&self) -> &[Slot] {
        &self.requires
    }

    /// Returns the slots it makes use of if somebody serves them, in the order stated; none of them is in
    /// [`Self::requires`] too.
    #[must_use]
    pub fn optional_requires(&self) -> &[Slot] {
        &self.optional_requires
    }

    /// Tells whether it says that it uses `slot`, which it may do without or not.
    #[must_use]
    pub fn uses(&self, slot: &Slot) -> bool {
        self.requires.contains(slot) || self.optional_requires.contains(slot)
    }

    /// Tells whether an instance of it does for `other` as well: one that only ranks otherwise is built no differently.
    #[must_use]
    pub fn is_built_like(&self, other: &Self) -> bool {
        self.factory == other.factory
            && self.requires == other.requires
            && self.optional_requires == other.optional_requires
            && self.metadata == other.metadata
    }

    /// Returns free-form properties, which queries may ask for.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// Tells whether it ranks under every candidate that is no fallback.
    #[must_use]
    pub fn is_fallback(&self) -> bool {
        self.fallback
    }
}

/// Builds a [`Candidate`].
#[derive(Debug, Clone)]
#[must_use = "a candidate is made by build()"]
pub struct CandidateBuilder {
    candidate: Candidate,
}

impl CandidateBuilder {
    /// States a priority; higher wins.
    pub fn priority(mut self, priority: i64) -> Self {
        self.candidate.priority = Some(priority);
        self
    }

    /// States a stack level; higher wins among equal priorities.
    pub fn stack_level(mut self, stack_level: i64) -> Self {
        self.candidate.stack_level = Some(stack_level);
        self
    }

    /// Adds one capability.
    pub fn capability(mut self, name: impl Into<String>) -> Self {
        self.candidate.capabilities.insert(name.into());
        self
    }

    /// Adds capabilities.
    pub fn capabilities(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.candidate
            .capabilities
            .extend(names.into_iter().map(Into::into));
        self
    }

    /// Names the factory that builds it.
    pub fn factory(mut self, factory: FactoryPath) -> Self {
        self.candidate.factory = Some(factory);
        self
    }

    /// Adds a slot that must be active first.
    pub fn requires(mut self, slot: Slot) -> Self {
        if !self.candidate.requires.contains(&slot) {
            self.candidate.optional_requires.retain(|one| *one != slot);
            self.candidate.requires.push(slot);
        }
        self
    }

    /// Adds a slot that is brought up first if anybody can serve it, and done without if not. One that is required
    /// stays required.
    pub fn optionally_requires(mut self, slot: Slot) -> Self {
        if !self.candidate.uses(&slot) {
            self.candidate.optional_requires.push(slot);
        }
        self
    }

    /// Sets one property.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.candidate.metadata.insert(key.into(), value.into());
        self
    }

    /// Puts it into the class below all others, or takes it out again.
    pub fn fallback(mut self, fallback: bool) -> Self {
        self.candidate.fallback = fallback;
        self
    }

    /// Finishes the candidate.
    #[must_use]
    pub fn build(self) -> Candidate {
        self.candidate
    }

    /// Finishes it for the place that `fixed` holds, whatever was edited.
    pub(crate) fn build_in_place_of(self, fixed: &Candidate) -> Candidate {
        Candidate {
            slot: fixed.slot.clone(),
            provider: fixed.provider.clone(),
            origin: fixed.origin.clone(),
            ..self.candidate
        }
    }
}

/// Names one registration for the life of its registry; never used again after it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CandidateId(pub(crate) u64);

impl CandidateId {
    /// Returns the sequence number of the registration.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A candidate as a registry holds it. Cloning shares it; it dereferences to the [`Candidate`].
///
/// It stays readable after the registration ended or was updated: it is what was registered when it was read.
#[derive(Clone)]
pub struct Registered(Arc<Record>);

struct Record {
    candidate: Candidate,
    score: Score,
}

impl Registered {
    pub(crate) fn new(candidate: Candidate, sequence: u64, default_priority: i64) -> Self {
        let score = Score {
            selected: false,
            fallback: candidate.fallback,
            capability_matches: 0,
            priority: candidate.priority.unwrap_or(default_priority),
            stack_level: candidate.stack_level.unwrap_or(0),
            sequence,
        };
        Self(Arc::new(Record { candidate, score }))
    }

    /// Returns the number in order of registration, from 1; it is kept when the registration is updated.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.score.sequence
    }

    /// Returns what names this registration.
    #[must_use]
    pub fn id(&self) -> CandidateId {
        CandidateId(self.0.score.sequence)
    }

    /// Returns what it ranks by when no selection and no query bear on it.
    #[must_use]
    pub fn score(&self) -> Score {
        self.0.score
    }

    /// Returns the candidate; the same as dereferencing.
    #[must_use]
    pub fn candidate(&self) -> &Candidate {
        &self.0.candidate
    }
}

impl Deref for Registered {
    type Target = Candidate;

    fn deref(&self) -> &Candidate {
        &self.0.candidate
    }
}

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.score == other.0.score && self.0.candidate == other.0.candidate)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {} {} from {}",
            self.slot,
            self.provider,
            self.id(),
            self.origin
        )
    }
}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.provider, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_required_or_optional_and_required_wins() {
        let slot = |name: &str| -> Slot { name.parse().unwrap() };
        let begun = || {
            Candidate::builder(
                slot("service/web"),
                Provider::new("web").unwrap(),
                Origin::settings(),
            )
        };
        let (clock, mail) = (slot("service/clock"), slot("service/mail"));
        let plain = begun().requires(clock.clone()).build();
        let one = begun()
            .optionally_requires(clock.clone())
            .optionally_requires(mail.clone())
            .optionally_requires(mail.clone())
            .requires(clock.clone())
            .optionally_requires(clock.clone())
            .build();
        assert_eq!(one.requires(), [clock]);
        assert_eq!(one.optional_requires(), [mail]);
        assert!(!one.is_built_like(&plain));
        assert!(one.is_built_like(&one.to_builder().priority(3).build()));
    }

    #[test]
    fn an_update_cannot_move_a_candidate_elsewhere() {
        let fixed = Candidate::builder(
            "adapter/cache".parse().unwrap(),
            Provider::new("redis").unwrap(),
            Origin::settings(),
        )
        .build();
        let other = Candidate::builder(
            "task/mail".parse().unwrap(),
            Provider::new("smtp").unwrap(),
            Origin::code("x").unwrap(),
        )
        .priority(7);
        let built = other.build_in_place_of(&fixed);
        assert_eq!(
            (
                built.slot().as_str(),
                built.provider().as_str(),
                built.origin(),
                built.priority()
            ),
            ("adapter/cache", "redis", &Origin::settings(), Some(7))
        );
    }
}
