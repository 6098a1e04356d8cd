//! Whether work is taken: running, paused or draining.
//!
//! An operator says it for a [scope](ActivityScope): a slot, one provider in it, or a whole domain.
//! What a slot does follows from all rules that apply to it and to whoever serves it; the most
//! restrictive one holds. The flag lives here because every new lease looks at it; who remembers the
//! rules across restarts is the domains' business. They gate calls, not the lifecycle: a paused slot
//! can be swapped by hand.

mod rules;
mod scope;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::status::unix_ms;

pub(crate) use rules::{Effective, Rules};
pub use scope::{ActivityScope, InvalidScope};

/// Whether work is taken. The greater, the more restrictive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
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

/// What was said about a scope: pause it, drain it, let it run.
///
/// A rule that says *running* takes the scope's rule away; no other rule is lifted by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActivityRule {
    /// What it is about.
    pub scope: ActivityScope,
    /// Whether work is taken.
    pub activity: Activity,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it was said.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
    /// When somebody is going to lift it. The lifecycle only tells callers; it lifts nothing by itself.
    #[serde(rename = "until_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
}

impl ActivityRule {
    /// A rule without a why and a who.
    pub fn new(scope: impl Into<ActivityScope>, activity: Activity) -> Self {
        Self {
            scope: scope.into(),
            activity,
            note: None,
            who: None,
            since: None,
            until: None,
        }
    }

    /// Pauses `scope`.
    pub fn pause(scope: impl Into<ActivityScope>) -> Self {
        Self::new(scope, Activity::Paused)
    }

    /// Drains `scope`.
    pub fn drain(scope: impl Into<ActivityScope>) -> Self {
        Self::new(scope, Activity::Draining)
    }

    /// Lets `scope` run.
    pub fn resume(scope: impl Into<ActivityScope>) -> Self {
        Self::new(scope, Activity::Running)
    }

    /// Says why.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Says who.
    #[must_use]
    pub fn who(mut self, who: impl Into<String>) -> Self {
        self.who = Some(who.into());
        self
    }

    /// Says since when; without it, since the lifecycle is told.
    #[must_use]
    pub const fn since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Says until when.
    #[must_use]
    pub const fn until(mut self, until: SystemTime) -> Self {
        self.until = Some(until);
        self
    }
}

/// A slot's activity, as it follows from all rules, with the why and the who of the one that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActivityState {
    /// Whether it takes work.
    pub activity: Activity,
    /// The scope whose rule holds; absent for a slot that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<ActivityScope>,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it was said.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
    /// When the rule that holds is going to be lifted, if that is known.
    #[serde(rename = "until_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
}

impl ActivityState {
    pub(crate) const fn running() -> Self {
        Self {
            activity: Activity::Running,
            scope: None,
            note: None,
            who: None,
            since: None,
            until: None,
        }
    }

    /// Whether it takes work.
    pub fn is_running(&self) -> bool {
        self.activity == Activity::Running
    }
}

impl From<&ActivityRule> for ActivityState {
    fn from(rule: &ActivityRule) -> Self {
        Self {
            activity: rule.activity,
            scope: Some(rule.scope.clone()),
            note: rule.note.clone(),
            who: rule.who.clone(),
            since: rule.since,
            until: rule.until,
        }
    }
}
