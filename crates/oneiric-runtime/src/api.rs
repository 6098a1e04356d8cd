//! The documents of the admin API, as both ends see them.
//!
//! Every document names its schema (`oneiric.status/1`) and only ever grows; a reader ignores fields it does not
//! know. Documents that carry what the lifecycle says are generic over it: the server fills in the lifecycle's own
//! types, so that nothing it learns to say is lost on the way, and a client reads the mirrors in [`slot`], which hold
//! the part that this version knows. A test sends every document from one form to the other.
//!
//! Documents are for reading, so they are non-exhaustive. Requests are written by callers, field by field: a new
//! field is a new question, and whoever asks should see it. A reader has to decide on every [`Verdict`] and
//! [`Encoding`], so these are complete.
//!
//! One file an area; a new area adds its file, one line of `pub use`, and its schemas below.

mod activity;
mod call;
mod changes;
mod config;
mod dependencies;
mod error;
mod event;
mod explain;
mod health;
mod history;
pub mod kind;
mod list;
mod plan;
mod process_event;
pub mod query;
mod ready;
mod reload;
mod secrets;
pub mod slot;
mod state;
mod status;
mod swap;

pub use self::{
    activity::{ActivityChangeDoc, ActivityDoc, ActivityRequest, ScopeDoc},
    call::{CallDoc, CallRequest, Encoding},
    changes::{
        ApplyDoc, ApplyRequestDoc, ChangeDoc, ChangePlanDoc, IfItDiesDoc, PlanRequestDoc,
        PlanStepDoc, PlannedAction, PlannedDoc, PlannedPolicyDoc, UndoDoc, UndoRequestDoc,
    },
    config::{ConfigDoc, ConfigExplainDoc, ConfigKeyDoc, ConfigLayerDoc, SetByDoc},
    dependencies::DependencyFaultDoc,
    error::{ErrorDoc, ErrorFields},
    event::{EventDoc, MissedDoc},
    explain::{ExplainDoc, Serving},
    health::{HealthDoc, HealthRequest, SlotHealth, Verdict},
    history::{HistoryDoc, HistoryEntryDoc, PastDecisionDoc, PastFailureDoc, SlotHistoryDoc},
    list::{ListDoc, ListedCandidate, ListedSelection, ListedSlot},
    plan::PlanDoc,
    process_event::ProcessEvent,
    ready::{AliveDoc, NotActiveDoc, ReadyDoc},
    reload::{
        HeldDoc, KeyChange, RefusedSettingsDoc, ReloadDoc, ReloadFailure, ReloadOutcome,
        ReloadRequest, SettingsStateDoc, SlotAction, SlotChange,
    },
    secrets::{
        RotateDoc, RotateRequest, RotatedDoc, SecretDoc, SecretErrorDoc, SecretToldDoc,
        SecretUseDoc, SecretsDoc,
    },
    state::{DatabaseDoc, RefusedDoc, StateDoc},
    status::{Became, ProcessDoc, RevisionDoc, StatusDoc, UndoneDoc, UnknownSelectionDoc},
    swap::{SwapDoc, SwapRequestDoc},
};

/// The schemas of the documents.
pub mod schema {
    /// [`ListDoc`](super::ListDoc).
    pub const LIST: &str = "oneiric.list/1";
    /// [`ExplainDoc`](super::ExplainDoc).
    pub const EXPLAIN: &str = "oneiric.explain/1";
    /// [`StatusDoc`](super::StatusDoc).
    pub const STATUS: &str = "oneiric.status/1";
    /// [`HealthDoc`](super::HealthDoc).
    pub const HEALTH: &str = "oneiric.health/1";
    /// [`CallDoc`](super::CallDoc).
    pub const CALL: &str = "oneiric.call/1";
    /// [`SwapDoc`](super::SwapDoc).
    pub const SWAP: &str = "oneiric.swap/1";
    /// [`ChangePlanDoc`](super::ChangePlanDoc).
    pub const PLAN: &str = "oneiric.plan/1";
    /// [`ApplyDoc`](super::ApplyDoc).
    pub const APPLY: &str = "oneiric.apply/1";
    /// [`ReadyDoc`](super::ReadyDoc).
    pub const READY: &str = "oneiric.ready/1";
    /// [`AliveDoc`](super::AliveDoc).
    pub const ALIVE: &str = "oneiric.alive/1";
    /// [`ActivityDoc`](super::ActivityDoc).
    pub const ACTIVITY: &str = "oneiric.activity/1";
    /// [`ActivityChangeDoc`](super::ActivityChangeDoc).
    pub const ACTIVITY_CHANGE: &str = "oneiric.activity_change/1";
    /// [`EventDoc`](super::EventDoc).
    pub const EVENT: &str = "oneiric.event/1";
    /// [`MissedDoc`](super::MissedDoc).
    pub const MISSED: &str = "oneiric.missed/1";
    /// [`HistoryDoc`](super::HistoryDoc).
    pub const HISTORY: &str = "oneiric.history/1";
    /// [`StateDoc`](super::StateDoc).
    pub const STATE: &str = "oneiric.state/1";
    /// [`ReloadDoc`](super::ReloadDoc).
    pub const RELOAD: &str = "oneiric.reload/1";
    /// [`ConfigDoc`](super::ConfigDoc).
    pub const CONFIG: &str = "oneiric.config/1";
    /// [`ConfigExplainDoc`](super::ConfigExplainDoc).
    pub const CONFIG_EXPLAIN: &str = "oneiric.config_explain/1";
    /// [`SecretsDoc`](super::SecretsDoc).
    pub const SECRETS: &str = "oneiric.secrets/1";
    /// [`RotateDoc`](super::RotateDoc).
    pub const ROTATE: &str = "oneiric.rotate/1";
    /// [`ErrorDoc`](super::ErrorDoc).
    pub const ERROR: &str = "oneiric.error/1";
}

/// `#[serde(default)]` asks for `D: Default` on generic fields; this does not.
const fn none<T>() -> Option<T> {
    None
}
