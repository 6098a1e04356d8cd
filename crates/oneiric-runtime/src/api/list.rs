//! What there is: slots and their candidates.

use oneiric_core::{Origin, Provider, Slot};
use serde::{Deserialize, Serialize};

/// Every slot with its candidates, best first: `GET /v1/list[?domain=adapter]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListDoc {
    /// [`schema::LIST`](super::schema::LIST).
    pub schema: String,
    /// By domain, then in the order of first registration.
    pub slots: Vec<ListedSlot>,
}

/// One slot in a [`ListDoc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListedSlot {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life: `active`, `inactive`, `failed`, ...
    pub state: String,
    /// `paused` or `draining`, where it takes no work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Provider>,
    /// Who ranks best; nobody when the best are tied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Provider>,
    /// The selection that holds, whether or not anybody has that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<ListedSelection>,
    /// Best first.
    pub candidates: Vec<ListedCandidate>,
}

/// One candidate in a [`ListedSlot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListedCandidate {
    /// The provider.
    pub provider: Provider,
    /// Where it was registered.
    pub origin: Origin,
    /// Its priority, or the default one.
    pub priority: i64,
    /// Its stack level, or 0.
    pub stack_level: i64,
    /// Its registration number.
    pub sequence: u64,
    /// Whether it ranks in the class below all others.
    pub fallback: bool,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What builds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factory: Option<String>,
    /// The slots that it cannot be built without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Slot>,
    /// Those that it can do without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional_requires: Vec<Slot>,
    /// Whether its instance serves.
    pub active: bool,
    /// Whether it ranks best. All others are shadowed.
    pub winner: bool,
}

/// The selection that holds for a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ListedSelection {
    /// The provider it names.
    pub provider: Provider,
    /// `settings` or `operator`.
    pub layer: String,
    /// Whether a candidate has that name; if not, the selection chooses nobody.
    pub known: bool,
}
