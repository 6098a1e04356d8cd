//! A bake as others see it.

use std::time::SystemTime;

use oneiric_core::Provider;
use serde::Serialize;

use crate::status::{CallCounts, unix_ms};

/// A bake, as told by `status` and by the report of its swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BakeStatus {
    /// Whose instance is on trial.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// Whose instance is kept warm.
    pub warm: Provider,
    /// Its number.
    pub warm_instance: u64,
    /// Since when.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::plain")]
    pub since: SystemTime,
    /// When it is over if nothing goes wrong; absent while the old instance is kept until somebody lets it go.
    #[serde(rename = "until_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
    /// Calls that ended on the instance on trial.
    pub calls: CallCounts,
    /// Calls that ended on the warm one before it was exchanged.
    pub calls_before: CallCounts,
    /// So many calls must have ended before their share is looked at.
    pub min_calls: u32,
    /// By so many points the share of failed calls may be above the one before, in percent.
    pub error_percent: u8,
    /// The share of calls that may panic, in percent.
    pub panic_percent: u8,
    /// Probes that were answered.
    pub probes: u32,
    /// Of those, bad answers.
    pub bad_probes: u32,
    /// How it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<BakeEnd>,
}

/// How a bake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BakeEnd {
    /// Its time was over and nothing was wrong.
    Passed,
    /// The old instance serves again.
    SwungBack,
    /// Something else was put in service meanwhile, a new instance with new settings for one.
    Superseded,
}

impl BakeEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::SwungBack, Self::Superseded];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::SwungBack => "swung_back",
            Self::Superseded => "superseded",
        }
    }
}
