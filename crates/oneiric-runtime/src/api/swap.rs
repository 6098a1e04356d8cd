//! Exchanging what serves a slot.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

use super::{ErrorFields, PlanDoc, RevisionDoc, none, slot};

/// Exchanges what serves a slot: the body of `POST /v1/swap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SwapRequestDoc {
    /// The slot.
    pub slot: Slot,
    /// To whom, as a selection that stays; absent: to whoever ranks best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Puts the new instance in service even if its probe says no.
    #[serde(default)]
    pub force: bool,
    /// For how long the new instance is on trial, the old one kept warm, in milliseconds; 0: not at all; absent: as
    /// the slot's policy says. The answer comes when the new one serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_ms: Option<u64>,
    /// Says what would happen and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Takes the operator's selection back, and swaps to whoever ranks best then.
    #[serde(default)]
    pub clear: bool,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SwapRequestDoc {
    /// Asks for a swap to whoever ranks best.
    pub const fn to_winner(slot: Slot) -> Self {
        Self {
            slot,
            provider: None,
            force: false,
            bake_ms: None,
            dry_run: false,
            clear: false,
            reason: None,
        }
    }

    /// Asks for a swap to `provider`, who is selected from then on.
    pub fn to_provider(slot: Slot, provider: Provider) -> Self {
        Self {
            provider: Some(provider),
            ..Self::to_winner(slot)
        }
    }
}

/// What came of a swap, or would. A rolled back one is answered with status 409 and carries the error's fields too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "SwapDoc")
)]
#[non_exhaustive]
pub struct SwapDoc<R = slot::SwapReport> {
    /// [`schema::SWAP`](super::schema::SWAP).
    pub schema: String,
    /// The slot.
    pub slot: Slot,
    /// What came of it; absent in a dry run.
    #[serde(default = "none::<R>", skip_serializing_if = "Option::is_none")]
    pub report: Option<R>,
    /// The selection that was made or taken back, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionDoc>,
    /// What would happen; only in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanDoc>,
    /// Why it was rolled back, if it was: `code`, `kind`, `message` and so on, as in an [`ErrorDoc`](super::ErrorDoc).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFields>,
}
