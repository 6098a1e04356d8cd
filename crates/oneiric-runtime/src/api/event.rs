//! What happened, as a stream tells it.

use oneiric_core::Slot;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Something that happened: the data of each event of `GET /v1/events[?slot=..]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct EventDoc {
    /// [`schema::EVENT`](super::schema::EVENT).
    pub schema: String,
    /// Names this event; a stream can go on after it. Differs from process to process.
    pub id: String,
    /// What. Of instances and activity: `building`, `probed`, `published`, `draining`, `drain_abandoned`,
    /// `retired`, `rolled_back`, `activation_failed`, `warned`, `reconfigured`, `activity_changed`, `drained`,
    /// `instance_paused`, `instance_resumed`, `handed_over`. Of the process: those
    /// of [`ProcessEvent`](super::ProcessEvent). Others as they are added.
    pub event: String,
    /// To which slot; absent where it is about the whole process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// When.
    pub at_unix_ms: u64,
    /// What else belongs to it, as `provider`, `from`, `to`, `failure`; `key` where it is about one of the slot's
    /// instances by key.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// Events that went by unread: the data of the event `missed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MissedDoc {
    /// [`schema::MISSED`](super::schema::MISSED).
    pub schema: String,
    /// How many, of all slots; absent when they were those of a process before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}
