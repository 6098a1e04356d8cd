//! Where state is kept: `GET /v1/state`; a copy of it: `GET /v1/state/backup`.

use serde::{Deserialize, Serialize};

/// Where state is kept, and what waits to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StateDoc {
    /// [`schema::STATE`](super::schema::STATE).
    pub schema: String,
    /// Whether it is there after a restart.
    pub persists: bool,
    /// `sqlite`, `memory`, or `own` for stores of the program's own.
    pub kind: String,
    /// The state directory.
    pub state_dir: String,
    /// The database; only of the kind `sqlite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseDoc>,
    /// Entries of the history that wait to be written.
    pub history_waiting: u64,
    /// Entries of the history that were left out, because too many waited. Its counts are right all the same.
    pub history_left_out: u64,
    /// Why history is not written now, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedDoc>,
}

/// What is in a database of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DatabaseDoc {
    /// The file.
    pub path: String,
    /// Its size, without its log.
    pub bytes: u64,
    /// The version of its schema.
    pub schema_version: u32,
    /// The number of the last run that wrote to it.
    pub run: u64,
    /// The number of the last revision.
    pub last_revision: u64,
    /// Selections in force.
    pub selections: u64,
    /// Scopes that are paused or draining.
    pub activity: u64,
    /// Slots with a history.
    pub slots: u64,
    /// Entries of all histories.
    pub history: u64,
    /// Keys with a value.
    pub keys: u64,
    /// When it was backed up last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_unix_ms: Option<u64>,
}

/// Why a store takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RefusedDoc {
    /// The error code.
    pub code: String,
    /// What happened.
    pub message: String,
}

#[cfg(feature = "sqlite")]
impl From<oneiric_sqlite::Summary> for DatabaseDoc {
    fn from(summary: oneiric_sqlite::Summary) -> Self {
        Self {
            path: summary.path.display().to_string(),
            bytes: summary.bytes,
            schema_version: summary.schema,
            run: summary.run,
            last_revision: summary.last_revision,
            selections: summary.selections,
            activity: summary.activity,
            slots: summary.slots,
            history: summary.history,
            keys: summary.keys,
            last_backup_unix_ms: summary.last_backup_unix_ms,
        }
    }
}
