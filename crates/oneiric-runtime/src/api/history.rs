//! How transitions ended, and how selections came about: `GET /v1/history[?slot=..]`.
//!
//! History is of what ended. That an instance serves now is said by the status, and by nothing here.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

use super::{RevisionDoc, slot};

/// What is remembered of slots and selections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HistoryDoc {
    /// [`schema::HISTORY`](super::schema::HISTORY).
    pub schema: String,
    /// Whether it is there after a restart.
    pub persists: bool,
    /// Which run of the program this is, from 1; 0 where nobody counts.
    pub run: u64,
    /// By name.
    pub slots: Vec<SlotHistoryDoc>,
    /// The last changes of the operator's selections, oldest first.
    pub revisions: Vec<RevisionDoc>,
}

/// What is remembered of one slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotHistoryDoc {
    /// The slot.
    pub slot: Slot,
    /// How many transitions ended how, in all runs.
    pub counts: slot::Swaps,
    /// The last 100 of them, oldest first.
    pub entries: Vec<HistoryEntryDoc>,
}

/// One transition that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HistoryEntryDoc {
    /// Which run of the program it happened in.
    pub run: u64,
    /// When.
    pub at_unix_ms: u64,
    /// `activated`, `swapped`, `rolled_back`, `failed`, `retired` or `decided`.
    pub ended: String,
    /// Whose instance it was about.
    pub provider: Provider,
    /// Who served before, or still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// The number of the instance in its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Whether a failing probe was skipped by force.
    #[serde(default)]
    pub forced: bool,
    /// Why it failed, or what was skipped by force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PastFailureDoc>,
    /// What was decided without anybody asking for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<PastDecisionDoc>,
}

/// A decision as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PastDecisionDoc {
    /// What: see [`slot::Decision::kind`].
    pub kind: String,
    /// What and why, in words.
    pub text: String,
}

/// A failure as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PastFailureDoc {
    /// The step.
    pub stage: String,
    /// The error code.
    pub code: String,
    /// What happened.
    pub message: String,
}
