//! Plans: what selecting other providers for several slots would come to, and carrying it out as one.

use oneiric_core::{Provider, Slot};
use serde::{Deserialize, Serialize};

use super::{ErrorFields, RevisionDoc, UndoneDoc, slot};

/// Asks what something would come to: the body of `POST /v1/plan`. Either `changes` or `undo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlanRequestDoc {
    /// What is wanted, at most 100 slots, none of them twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeDoc>,
    /// Takes revisions back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoDoc>,
}

/// What is wanted for one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeDoc {
    /// The slot.
    pub slot: Slot,
    /// Who is to be selected; absent: nobody, so that whoever ranks best then serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

/// Which revisions are to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UndoDoc {
    /// All after this one, so that what was selected then is selected again; absent: the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// What something would come to. `POST /v1/apply` takes it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangePlanDoc {
    /// [`schema::PLAN`](super::schema::PLAN).
    pub schema: String,
    /// The number of the last revision when it was made. It is carried out on that one and on no other.
    pub base: u64,
    /// Whether there is anything to do.
    pub changes: bool,
    /// The revisions that it takes back, if it was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<UndoneDoc>,
    /// By name.
    pub slots: Vec<PlannedDoc>,
    /// What is done, in this order.
    pub steps: Vec<PlanStepDoc>,
}

/// What becomes of one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedDoc {
    /// The slot.
    pub slot: Slot,
    /// What is done.
    pub action: PlannedAction,
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
    /// Who is affected: first the slots whose instance needs this one, then those that need these, and so on.
    pub affected: Vec<Vec<Slot>>,
    /// How the slot is looked after.
    pub policy: PlannedPolicyDoc,
    /// What happens if the new one dies.
    pub if_it_dies: IfItDiesDoc,
    /// How the slot would rank then, for a person.
    pub text: String,
}

/// What is done about a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlannedAction {
    /// It is as it is wanted.
    Nothing,
    /// Who is wanted serves; only the selection is written down.
    Select,
    /// Nothing serves; an instance is built.
    Activate,
    /// Another instance takes over.
    Swap,
}

impl PlannedAction {
    /// The name as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Select => "select",
            Self::Activate => "activate",
            Self::Swap => "swap",
        }
    }

    /// Whether an instance is built.
    #[must_use]
    pub const fn builds(self) -> bool {
        matches!(self, Self::Activate | Self::Swap)
    }
}

/// How a slot is looked after, as far as a swap of it goes by that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedPolicyDoc {
    /// For how long the new one is on trial.
    pub bake_ms: u64,
    /// Whether state goes from the old one to the new: `off`, `empty`, `abort`.
    pub handover: String,
    /// What is done when it fails: `report`, `restart`, `fail_over`, `restart_then_fail_over`.
    pub on_failure: String,
}

/// What happens if the one that would serve dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct IfItDiesDoc {
    /// Who is next in rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Provider>,
    /// Whether that one takes over by itself.
    pub takes_over: bool,
    /// The same for a person.
    pub text: String,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlanStepDoc {
    /// `bring_up` (nothing serves, and others of the plan need it), `build`, `record`, `publish`, `retire`.
    pub step: String,
    /// The slots, all at one time.
    pub slots: Vec<Slot>,
}

/// Carries out a plan: the body of `POST /v1/apply`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyRequestDoc {
    /// The plan, as it was answered.
    pub plan: ChangePlanDoc,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Takes revisions back: the body of `POST /v1/undo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UndoRequestDoc {
    /// All after this one; absent: the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The last revision as far as whoever asks knows; refused if there is a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What came of carrying out a plan. One that was rolled back or refused as outdated is answered with status 409 and
/// carries the error's fields too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "ApplyDoc")
)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
#[non_exhaustive]
pub struct ApplyDoc<R = slot::SlotChange> {
    /// [`schema::APPLY`](super::schema::APPLY).
    pub schema: String,
    /// `applied`, `unchanged`, `rolled_back`, `outdated`.
    pub outcome: String,
    /// What became of each slot, by name.
    pub slots: Vec<R>,
    /// From being begun to the last old instance being retired.
    pub took_us: u64,
    /// The number of the revision that was made, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What was selected or taken back by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selections: Vec<RevisionDoc>,
    /// With `outdated`: what was selected since the plan was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub since: Vec<RevisionDoc>,
    /// Why nothing was done, if it was not: `code`, `kind`, `message` and so on, as in an
    /// [`ErrorDoc`](super::ErrorDoc).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFields>,
}
