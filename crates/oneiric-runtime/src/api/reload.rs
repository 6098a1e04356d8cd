//! What comes of reading the settings again: `POST /v1/reload`, and what `status` says about it.

use std::fmt;

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

use super::ErrorFields;

/// Asks for the settings to be read again: the body of `POST /v1/reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Says what would happen and does nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of reading the settings again, or would. One that was not applied carries the error's fields too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReloadDoc {
    /// [`schema::RELOAD`](super::schema::RELOAD).
    pub schema: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: ReloadOutcome,
    /// The single values that differ; those that cannot be reloaded among them.
    pub keys: Vec<KeyChange>,
    /// What is done to slots, in this order; to none when only the ranking of candidates changed.
    pub slots: Vec<SlotChange>,
    /// How long it took.
    pub took_us: u64,
    /// Why it was not applied: `code`, `kind`, `message` and so on, as in an [`ErrorDoc`](super::ErrorDoc).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFields>,
}

/// How reading the settings again ended. Whoever reads it has to decide on each: it is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// They say what they said before.
    Unchanged,
    /// This is what would be done; nothing was.
    Planned,
    /// They are in force.
    Applied,
    /// Something failed on the way, and everything is as it was before. In a dry run: it would, as far as that is known
    /// beforehand.
    Restored {
        /// What failed.
        failed: ReloadFailure,
    },
    /// They change what only a new process can take: the `keys` that are not reloadable. Nothing was done.
    Refused,
    /// Something failed on the way, and so did the way back.
    Broken {
        /// What failed first.
        failed: ReloadFailure,
        /// What is not as it was before.
        left: Vec<ReloadFailure>,
    },
}

impl ReloadOutcome {
    /// The name as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Planned => "planned",
            Self::Applied => "applied",
            Self::Restored { .. } => "restored",
            Self::Refused => "refused",
            Self::Broken { .. } => "broken",
        }
    }
}

/// Something that failed while settings were put in force, or back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReloadFailure {
    /// Where; absent when it is about no slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Its code.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// A single value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// Whether a running process can take another value.
    pub reloadable: bool,
    /// The value in force.
    pub before: String,
    /// Where that came from, `oneiric.toml:3`; absent when nobody stated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_at: Option<String>,
    /// The value that was read.
    pub after: String,
    /// Where that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_at: Option<String>,
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |at: &Option<String>| at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
        let (was, is) = (at(&self.before_at), at(&self.after_at));
        write!(
            f,
            "{}: {}{was} -> {}{is}",
            self.key, self.before, self.after
        )
    }
}

/// What is done to a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotChange {
    /// The slot.
    pub slot: Slot,
    /// What.
    pub action: SlotAction,
    /// Why: `selection`, `candidate`, `settings`, `withdrawn`, `new`.
    pub why: Vec<String>,
    /// Who serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who is to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Provider>,
    /// That it waits until the slot is resumed (`paused`, `draining`), or until a trial is over (`baking`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// What can be done to a slot when settings change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SlotAction {
    /// Another instance takes the place of the one that serves.
    Swap,
    /// The instance is told its new settings, or exchanged for one that has them.
    Reconfigure,
    /// A first instance is put in service.
    Activate,
    /// The instance is retired: nobody is a candidate any more.
    Retire,
}

impl SlotAction {
    /// The name as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Reconfigure => "reconfigure",
            Self::Activate => "activate",
            Self::Retire => "retire",
        }
    }
}

/// How the settings in force and those in the files stand to each other, in a [`ProcessDoc`](super::ProcessDoc).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct SettingsStateDoc {
    /// Since when those in force are.
    pub good_since_unix_ms: u64,
    /// Why the files as they are now are not in force; absent when they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedSettingsDoc>,
    /// How changes of the files are noticed: `events`, `polling`, or `off`.
    pub watching: String,
    /// Changes that wait until their slot is resumed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldDoc>,
}

/// Settings that were read and are not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RefusedSettingsDoc {
    /// The code of the reason.
    pub code: String,
    /// The reason.
    pub message: String,
    /// Since when.
    pub since_unix_ms: u64,
    /// How often they were tried since.
    pub attempts: u64,
}

/// A change that waits until its slot is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HeldDoc {
    /// The slot.
    pub slot: Slot,
    /// Since when.
    pub since_unix_ms: u64,
    /// That it was tried after the slot was resumed, and failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<ReloadFailure>,
}
