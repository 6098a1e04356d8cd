//! The secrets that settings name: `GET /v1/secrets`, and fetching them anew: `POST /v1/secrets/rotate`. No document
//! has room for a value.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

/// Every secret that settings name, and who keeps secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SecretsDoc {
    /// [`schema::SECRETS`](super::schema::SECRETS).
    pub schema: String,
    /// Who keeps secrets in this process, by name.
    pub keepers: Vec<String>,
    /// By reference.
    pub secrets: Vec<SecretDoc>,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SecretDoc {
    /// `secret://keeper/name`.
    pub reference: String,
    /// The settings that name it.
    pub used_by: Vec<SecretUseDoc>,
    /// When it was fetched; absent for one that nobody needed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_unix_ms: Option<u64>,
    /// Until when it is used without being looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// Whether the value is served on although it could not be looked at again.
    pub stale: bool,
    /// Why the last fetch failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SecretErrorDoc>,
}

/// A setting that names a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SecretUseDoc {
    /// The setting's key.
    pub setting: String,
    /// The slot whose provider's setting it is; absent for a setting of the process itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

/// Why a secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SecretErrorDoc {
    /// The error code.
    pub code: String,
    /// Why.
    pub message: String,
}

/// Fetches secrets anew: the body of `POST /v1/secrets/rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RotateRequest {
    /// `secret://keeper/name`; without it, every one that settings name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why, for the log; at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What came of a [`RotateRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RotateDoc {
    /// [`schema::ROTATE`](super::schema::ROTATE).
    pub schema: String,
    /// Whether every secret was fetched, and reached everybody who was to have it.
    pub complete: bool,
    /// The secrets, by reference.
    pub secrets: Vec<RotatedDoc>,
    /// The slots that were to have another value, by name.
    pub slots: Vec<SecretToldDoc>,
}

/// What came of fetching one secret anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RotatedDoc {
    /// `secret://keeper/name`.
    pub reference: String,
    /// `changed`, `unchanged` or `failed`.
    pub outcome: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SecretErrorDoc>,
}

/// How a new value reached what serves a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SecretToldDoc {
    /// The slot.
    pub slot: Slot,
    /// Who served it.
    pub provider: Provider,
    /// `told`: the instance took it; `exchanged`: another instance was built with it; `failed`: the old one serves on
    /// with the old value; `inactive`: nothing serves any more.
    pub outcome: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SecretErrorDoc>,
}
