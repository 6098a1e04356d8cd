//! Whether a slot takes work: running, paused or draining.
//!
//! The flag lives here because every new lease looks at it; who remembers it across restarts is the
//! domains' business. It gates calls, not the lifecycle: a paused slot can be swapped by hand.

use std::time::SystemTime;

use serde::Serialize;

use crate::status::unix_ms;

/// Whether a slot takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// Takes work.
    #[default]
    Running,
    /// Refuses new work until it is resumed.
    Paused,
    /// Refuses new work and finishes what runs.
    Draining,
}

impl Activity {
    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

/// A slot's activity with the why and the who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActivityState {
    /// Whether it takes work.
    pub activity: Activity,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who changed it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it was changed last; absent for a slot that always ran.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
}

impl ActivityState {
    pub(crate) const fn running() -> Self {
        Self {
            activity: Activity::Running,
            note: None,
            who: None,
            since: None,
        }
    }
}
