//! What a swap would do.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

/// What a swap would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanDoc {
    /// Who serves now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who would serve.
    pub to: Provider,
    /// The factory that would build it; absent when it serves already or names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Whose instance would be retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire: Option<Provider>,
    /// The operator's selection as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_before: Option<Provider>,
    /// The operator's selection as it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection_after: Option<Provider>,
    /// Slots whose instance needs this one and would follow the swap.
    pub holders: Vec<Slot>,
    /// How the slot would rank then, for a person.
    pub text: String,
}
