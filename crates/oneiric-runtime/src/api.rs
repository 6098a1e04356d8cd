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

pub mod kind;
pub mod query;
pub mod slot;

use oneiric_core::{Origin, Provider, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// [`ReadyDoc`](super::ReadyDoc).
    pub const READY: &str = "oneiric.ready/1";
    /// [`AliveDoc`](super::AliveDoc).
    pub const ALIVE: &str = "oneiric.alive/1";
    /// [`ErrorDoc`](super::ErrorDoc).
    pub const ERROR: &str = "oneiric.error/1";
}

/// Every slot with its candidates, best first: `GET /v1/list[?domain=adapter]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListDoc {
    /// [`schema::LIST`].
    pub schema: String,
    /// By domain, then in the order of first registration.
    pub slots: Vec<ListedSlot>,
}

/// One slot in a [`ListDoc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListedSlot {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life: `active`, `inactive`, `failed`, ...
    pub state: String,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Provider>,
    /// Who ranks best; nobody when the best are tied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Provider>,
    /// The selection that holds, whether or not anybody has that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<ListedSelection>,
    /// Best first.
    pub candidates: Vec<ListedCandidate>,
}

/// One candidate in a [`ListedSlot`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListedCandidate {
    /// The provider.
    pub provider: Provider,
    /// Where it was registered.
    pub origin: Origin,
    /// Its priority, or the default one.
    pub priority: i64,
    /// Its stack level, or 0.
    pub stack_level: i64,
    /// Its registration number.
    pub sequence: u64,
    /// Whether it ranks in the class below all others.
    pub fallback: bool,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What builds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factory: Option<String>,
    /// Whether its instance serves.
    pub active: bool,
    /// Whether it ranks best. All others are shadowed.
    pub winner: bool,
}

/// The selection that holds for a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListedSelection {
    /// The provider it names.
    pub provider: Provider,
    /// `settings` or `operator`.
    pub layer: String,
    /// Whether a candidate has that name; if not, the selection chooses nobody.
    pub known: bool,
}

/// Why somebody wins a slot: `GET /v1/explain?slot=..`.
///
/// The fields of the registry's explanation stand at the top level; they are documented with
/// [`oneiric_core::Explanation`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExplainDoc<E = Value, D = slot::Difference> {
    /// The explanation; its `schema` is [`schema::EXPLAIN`].
    #[serde(flatten)]
    pub explanation: E,
    /// The explanation for a person.
    pub text: String,
    /// What the lifecycle has in the slot.
    pub serving: Serving<D>,
}

/// What serves a slot, and why it is not the winner where it is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Serving<D = slot::Difference> {
    /// Where the slot is in its life.
    pub state: String,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Why it is not the winner.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub differs: Option<D>,
}

/// `#[serde(default)]` asks for `D: Default` on generic fields; this does not.
const fn none<T>() -> Option<T> {
    None
}

/// The process and its slots: `GET /v1/status[?slot=..]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatusDoc<S = slot::SlotStatus> {
    /// [`schema::STATUS`].
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
}

/// A selection that names a provider nobody registered for the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// How the instances that serve are: `GET /v1/health[?slot=..]` as last heard, `POST /v1/health` asked now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthDoc<H = slot::HealthReport> {
    /// [`schema::HEALTH`].
    pub schema: String,
    /// Whether the instances were asked for this answer.
    pub probed: bool,
    /// Whether no slot is `bad`.
    pub healthy: bool,
    /// By name.
    pub slots: Vec<SlotHealth<H>>,
}

/// One slot in a [`HealthDoc`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotHealth<H = slot::HealthReport> {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: String,
    /// Whose instance serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What follows from state and report.
    pub verdict: Verdict,
    /// What the instance said.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub report: Option<H>,
}

/// What is to be thought of a slot's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It serves and says so.
    Good,
    /// It serves, and somebody should look at it.
    Warn,
    /// It serves; nobody asked it yet, or it cannot be asked.
    Unknown,
    /// Nothing was activated in it, and nothing failed.
    Inactive,
    /// It does not serve although it should, or says that it does not work.
    Bad,
}

/// Asks for health now: the body of `POST /v1/health`. Without a slot, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthRequest {
    /// The slot to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// Calls an operation: the body of `POST /v1/call`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// The slot to call. It is activated if nothing serves it.
    pub slot: Slot,
    /// The operation's name.
    pub operation: String,
    /// Its input; absent is `null`.
    #[serde(default)]
    pub input: Value,
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallDoc {
    /// [`schema::CALL`].
    pub schema: String,
    /// The slot that was called.
    pub slot: Slot,
    /// The operation.
    pub operation: String,
    /// Who answered.
    pub provider: Provider,
    /// The number of the instance that answered.
    pub instance: u64,
    /// How `output` is to be read.
    pub encoding: Encoding,
    /// The answer.
    pub output: Value,
}

/// How the output of a call is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Json,
    /// Bytes that are text.
    Text,
    /// Bytes, as base64 (standard alphabet, padded).
    Base64,
}

/// Exchanges what serves a slot: the body of `POST /v1/swap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapRequestDoc {
    /// The slot.
    pub slot: Slot,
    /// To whom, as a selection that stays; absent: to whoever ranks best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Puts the new instance in service even if its probe says no.
    #[serde(default)]
    pub force: bool,
    /// Says what would happen and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Takes the operator's selection back, and swaps to whoever ranks best then.
    #[serde(default)]
    pub clear: bool,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl SwapRequestDoc {
    /// Asks for a swap to whoever ranks best.
    pub const fn to_winner(slot: Slot) -> Self {
        Self {
            slot,
            provider: None,
            force: false,
            dry_run: false,
            clear: false,
            reason: None,
        }
    }

    /// Asks for a swap to `provider`, who is selected from then on.
    pub fn to_provider(slot: Slot, provider: Provider) -> Self {
        Self {
            provider: Some(provider),
            ..Self::to_winner(slot)
        }
    }
}

/// What came of a swap, or would. A rolled back one is answered with status 409 and carries the error's fields too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SwapDoc<R = slot::SwapReport> {
    /// [`schema::SWAP`].
    pub schema: String,
    /// The slot.
    pub slot: Slot,
    /// What came of it; absent in a dry run.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub report: Option<R>,
    /// The selection that was made or taken back, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionDoc>,
    /// What would happen; only in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanDoc>,
    /// Why it was rolled back, if it was: `code`, `kind`, `message` and so on, as in an [`ErrorDoc`].
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorFields>,
}

/// What a swap would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Whether every slot serves: `GET /readyz`, status 503 when not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReadyDoc {
    /// [`schema::READY`].
    pub schema: String,
    /// Whether it is.
    pub ready: bool,
    /// The slots that do not serve.
    pub not_active: Vec<NotActiveDoc>,
}

/// A slot that does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotActiveDoc {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: String,
    /// The code of what failed last, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// That the process answers: `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AliveDoc {
    /// [`schema::ALIVE`].
    pub schema: String,
    /// `true`.
    pub alive: bool,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorDoc {
    /// [`schema::ERROR`].
    pub schema: String,
    /// What it says.
    #[serde(flatten)]
    pub error: ErrorFields,
}

/// What an error says, whichever document carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorFields {
    /// The code, `layer.reason`.
    pub code: String,
    /// What to do next, as [`kind`] spells it.
    pub kind: String,
    /// What happened, for the operator.
    pub message: String,
    /// Finds the request in the log.
    pub request_id: String,
    /// A next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
