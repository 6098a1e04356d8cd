//! Calling an operation.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Calls an operation: the body of `POST /v1/call`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// The slot to call. It is activated if nothing serves it.
    pub slot: Slot,
    /// The operation's name.
    pub operation: String,
    /// Its input; absent is `null`.
    #[serde(default)]
    pub input: Value,
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CallDoc {
    /// [`schema::CALL`](super::schema::CALL).
    pub schema: String,
    /// The slot that was called.
    pub slot: Slot,
    /// The operation.
    pub operation: String,
    /// Who answered.
    pub provider: Provider,
    /// The number of the instance that answered.
    pub instance: u64,
    /// How `output` is to be read.
    pub encoding: Encoding,
    /// The answer.
    pub output: Value,
}

/// How the output of a call is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Json,
    /// Bytes that are text.
    Text,
    /// Bytes, as base64 (standard alphabet, padded).
    Base64,
}
