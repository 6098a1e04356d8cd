//! Whether the process is there, and whether every slot serves.

use oneiric_core::Slot;
use serde::{Deserialize, Serialize};

/// Whether every slot serves: `GET /readyz`, status 503 when not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReadyDoc {
    /// [`schema::READY`](super::schema::READY).
    pub schema: String,
    /// Whether it is.
    pub ready: bool,
    /// The slots that do not serve.
    pub not_active: Vec<NotActiveDoc>,
}

/// A slot that does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NotActiveDoc {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: String,
    /// The code of what failed last, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// That the process answers: `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AliveDoc {
    /// [`schema::ALIVE`](super::schema::ALIVE).
    pub schema: String,
    /// `true`.
    pub alive: bool,
}
