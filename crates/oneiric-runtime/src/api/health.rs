//! How the instances that serve are.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

use super::{none, slot};

/// How the instances that serve are: `GET /v1/health[?slot=..]` as last heard, `POST /v1/health` asked now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "HealthDoc")
)]
#[non_exhaustive]
pub struct HealthDoc<H = slot::HealthReport> {
    /// [`schema::HEALTH`](super::schema::HEALTH).
    pub schema: String,
    /// Whether the instances were asked for this answer.
    pub probed: bool,
    /// Whether no slot is `bad`.
    pub healthy: bool,
    /// By name.
    pub slots: Vec<SlotHealth<H>>,
}

/// One slot in a [`HealthDoc`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "SlotHealth")
)]
#[non_exhaustive]
pub struct SlotHealth<H = slot::HealthReport> {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: String,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What follows from state and report.
    pub verdict: Verdict,
    /// What is thought of the instance after all its answers: `unknown`, `healthy`, `unhealthy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<String>,
    /// What the instance said.
    #[serde(default = "none::<H>", skip_serializing_if = "Option::is_none")]
    pub report: Option<H>,
}

/// What is to be thought of a slot's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It serves and says so.
    Good,
    /// It serves, and somebody should look at it.
    Warn,
    /// It serves; nobody asked it yet, or it cannot be asked.
    Unknown,
    /// Nothing was activated in it, and nothing failed.
    Inactive,
    /// It does not serve although it should, or says that it does not work.
    Bad,
}

/// Asks for health now: the body of `POST /v1/health`. Without a slot, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HealthRequest {
    /// The slot to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}
