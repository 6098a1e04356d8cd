//! What is paused, draining or running: `GET /v1/activity[?scope=]`, and changing it: `POST /v1/activity`.
//!
//! Scopes are text (`adapter/*`, `adapter/cache`, `adapter/cache:redis`), as the lifecycle's `ActivityScope` reads it.

use oneiric_core::Slot;
use oneiric_lifecycle::{Activity, ActivityScope};
use serde::{Deserialize, Serialize};

/// Every scope that does not run, by name; with `?scope=` that one, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActivityDoc {
    /// [`schema::ACTIVITY`](super::schema::ACTIVITY).
    pub schema: String,
    /// By name.
    pub scopes: Vec<ScopeDoc>,
}

/// One scope, and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ScopeDoc {
    /// The scope.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scope: ActivityScope,
    /// Whether work is taken.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub activity: Activity,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who said so: `uid:1000` over the socket, `timer` when the time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
    /// The slots it is about now, by name. A domain's may grow.
    pub slots: Vec<Slot>,
    /// Leases that are out on its slots or its provider, on instances that finish their work among them.
    pub in_flight: u64,
    /// For how long the oldest of that has run, in ms: of calls of `POST /v1/call` and
    /// [`Runtime::call`](crate::Runtime::call) exactly; of what else the program does, at least since nothing new is let
    /// in. Absent where nothing runs, or nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Whether it is draining and nothing runs in it any more.
    #[serde(default)]
    pub drained: bool,
    /// The wider or narrower scope whose rule holds here, where it is not this one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub held_by: Option<ActivityScope>,
}

/// Pauses, drains or resumes a scope: the body of `POST /v1/activity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ActivityRequest {
    /// The scope.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub scope: ActivityScope,
    /// `running`, `paused` or `draining`.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub activity: Activity,
    /// Why; at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For how long, from 1 s to 30 days; without it until it is resumed. Not with `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl ActivityRequest {
    /// Asks for an activity, without a why and until it is resumed.
    pub const fn new(scope: ActivityScope, activity: Activity) -> Self {
        Self {
            scope,
            activity,
            note: None,
            for_ms: None,
        }
    }
}

/// What came of an [`ActivityRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActivityChangeDoc {
    /// [`schema::ACTIVITY_CHANGE`](super::schema::ACTIVITY_CHANGE).
    pub schema: String,
    /// The scope as it is now.
    pub now: ScopeDoc,
    /// What was said about it before; `running` if nothing was.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub before: Activity,
}
