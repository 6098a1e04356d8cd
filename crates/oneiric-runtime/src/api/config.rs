//! The settings in force and where they come from: `GET /v1/config`, `GET /v1/config/explain?key=`. Secrets are not in
//! them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RevisionDoc;

/// Every setting that has a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConfigDoc {
    /// [`schema::CONFIG`](super::schema::CONFIG).
    pub schema: String,
    /// The files that were read, later ones above earlier ones.
    pub files: Vec<PathBuf>,
    /// By section, in the order of the reference.
    pub keys: Vec<ConfigKeyDoc>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConfigKeyDoc {
    /// The whole key, as `config explain` takes it.
    pub key: String,
    /// Its value; `"***"` for a secret.
    pub value: Value,
    /// Who set it.
    pub set_by: SetByDoc,
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SetByDoc {
    /// `default`, `file`, `variable`, `flag` or `program`.
    pub layer: String,
    /// The file, the variable's name, or the option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

/// One setting with everything that is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConfigExplainDoc {
    /// [`schema::CONFIG_EXPLAIN`](super::schema::CONFIG_EXPLAIN).
    pub schema: String,
    /// The whole key.
    pub key: String,
    /// The value that holds; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Everybody who set it, the one that holds first, the default last.
    pub layers: Vec<ConfigLayerDoc>,
    /// What it means.
    pub doc: String,
    /// What may stand there, in words.
    pub takes: String,
    /// The unit of its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What holds where nothing is set, in words.
    pub default: String,
    /// Whether a change holds after a reload; if not, only after a new start.
    pub reload: bool,
    /// The version that had it first.
    pub since: String,
    /// The variable that sets it, if one can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// What an operator selected, which stands above all settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<RevisionDoc>,
}

/// What one layer says about a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConfigLayerDoc {
    /// The key under which it is said, where that is another one: of a slot's policy, what is said of its domain or of
    /// every slot holds too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value; `"***"` for a secret.
    pub value: Value,
    /// Who says it.
    pub set_by: SetByDoc,
}
