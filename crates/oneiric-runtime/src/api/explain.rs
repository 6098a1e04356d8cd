//! Why somebody wins a slot, and what serves it meanwhile.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{none, slot};

/// Why somebody wins a slot: `GET /v1/explain?slot=..`.
///
/// The fields of the registry's explanation stand at the top level; they are documented with
/// [`oneiric_core::Explanation`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "ExplainDoc")
)]
#[non_exhaustive]
pub struct ExplainDoc<E = Value, D = slot::Difference> {
    /// The explanation; its `schema` is [`schema::EXPLAIN`](super::schema::EXPLAIN).
    #[serde(flatten)]
    pub explanation: E,
    /// The explanation for a person.
    pub text: String,
    /// What the lifecycle has in the slot.
    pub serving: Serving<D>,
}

/// What serves a slot, and why it is not the winner where it is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "Serving")
)]
#[non_exhaustive]
pub struct Serving<D = slot::Difference> {
    /// Where the slot is in its life.
    pub state: String,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// By which decision it came, in words, where nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is not the winner.
    #[serde(default = "none::<D>", skip_serializing_if = "Option::is_none")]
    pub differs: Option<D>,
    /// Slots whose instance needs this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Slot>,
}
