//! The process and its slots.

use oneiric_core::{Provider, Slot};
use oneiric_domains::Undone;
use serde::{Deserialize, Serialize};

use super::{DependencyFaultDoc, SettingsStateDoc, slot};

/// The process and its slots: `GET /v1/status[?slot=..]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "StatusDoc")
)]
#[non_exhaustive]
pub struct StatusDoc<S = slot::SlotStatus> {
    /// [`schema::STATUS`](super::schema::STATUS).
    pub schema: String,
    /// The process that answers.
    pub process: ProcessDoc,
    /// By name.
    pub slots: Vec<S>,
    /// Selections that name a provider nobody registered.
    pub unknown_selections: Vec<UnknownSelectionDoc>,
    /// The operator selections in force, by slot.
    pub selections: Vec<RevisionDoc>,
}

/// The process that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ProcessDoc {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When its runtime was put together.
    pub since_unix_ms: u64,
    /// The settings file it read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_file: Option<String>,
    /// Its state directory.
    pub state_dir: String,
    /// Whether selections, activity and history are there after a restart.
    #[serde(default)]
    pub state_persists: bool,
    /// How the settings in force and those in the files stand to each other.
    #[serde(default)]
    pub settings: SettingsStateDoc,
    /// What of those who would win can never come up because of what it needs: rings and requirements that nobody can
    /// serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependency_faults: Vec<DependencyFaultDoc>,
}

/// A selection that names a provider nobody registered for the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnknownSelectionDoc {
    /// The slot.
    pub slot: Slot,
    /// The provider that is not there.
    pub provider: Provider,
    /// `settings` or `operator`.
    pub layer: String,
}

/// One numbered change of the operator's selections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RevisionDoc {
    /// From 1, in the order they were made.
    pub revision: u64,
    /// The slot.
    pub slot: Slot,
    /// What was selected; absent when the selection was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What was selected before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Provider>,
    /// Who asked: `uid:1000` over the socket, or what an embedder says.
    pub who: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub at_unix_ms: u64,
    /// The revisions that it takes back, if it was made to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<UndoneDoc>,
    /// What became of it; only in a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub became: Option<Became>,
    /// The revision that replaced it or took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
}

/// Revisions that another one takes back: all from one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UndoneDoc {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl From<Undone> for UndoneDoc {
    fn from(Undone { first, last }: Undone) -> Self {
        Self { first, last }
    }
}

impl From<UndoneDoc> for Undone {
    fn from(UndoneDoc { first, last }: UndoneDoc) -> Self {
        Self { first, last }
    }
}

/// What became of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Became {
    /// It is as it says.
    InForce,
    /// A later revision says something else of the slot.
    Replaced,
    /// A later revision was made to take it back.
    Undone,
}

impl Became {
    /// The name as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Replaced => "replaced",
            Self::Undone => "undone",
        }
    }
}
