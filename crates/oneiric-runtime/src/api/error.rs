//! Why a request was not done.

use serde::{Deserialize, Serialize};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ErrorDoc {
    /// [`schema::ERROR`](super::schema::ERROR).
    pub schema: String,
    /// What it says.
    #[serde(flatten)]
    pub error: ErrorFields,
}

/// What an error says, whichever document carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ErrorFields {
    /// The code, `layer.reason`.
    pub code: String,
    /// What to do next, as [`kind`](super::kind) spells it.
    pub kind: String,
    /// What happened, for the operator.
    pub message: String,
    /// Finds the request in the log.
    pub request_id: String,
    /// A next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// After how many milliseconds the same request is going to be taken, where that is known: a slot that is paused
    /// until then. The header `Retry-After` says it in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What is behind it; only over the Unix socket, or where the settings say `run.error_mode = "development"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
