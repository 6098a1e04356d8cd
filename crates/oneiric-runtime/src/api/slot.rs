//! What the lifecycle says about a slot, as a client reads it: mirrors of `oneiric-lifecycle`'s types with every
//! field a reader can do without optional, so that an older or newer process can still be talked to. What each field
//! means is documented there.

use std::collections::BTreeMap;

use oneiric_core::{Origin, Provider, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything about one slot at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotStatus {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: String,
    /// Who serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveStatus>,
    /// Since when it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Whether it takes work.
    pub activity: Activity,
    /// Who ranks best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Provider>,
    /// Why the one who serves is not the one who ranks best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<Difference>,
    /// The last step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Leases that are out.
    #[serde(default)]
    pub in_flight: u64,
    /// Instances that are finishing their work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<Draining>,
    /// The trial of what serves, or the last one that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Box<Bake>>,
    /// Calls that ended.
    #[serde(default)]
    pub calls: Calls,
    /// Transitions that ended.
    #[serde(default)]
    pub swaps: Swaps,
    /// How long the last swaps took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_duration: Option<Percentiles>,
    /// Its instances by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed: Option<Keyed>,
    /// Slots whose instance needs this one.
    #[serde(default)]
    pub holders: Vec<Slot>,
    /// Live references to it.
    #[serde(default)]
    pub live_references: u64,
    /// The last answer to a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthReport>,
    /// What is thought of the instance that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// The last decisions that nobody asked for, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Decision>,
}

/// The instances by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Keyed {
    /// How many there are.
    pub instances: u64,
    /// How many there may be.
    pub limit: u64,
    /// Leases that are out on them.
    #[serde(default)]
    pub in_flight: u64,
    /// The keys used last, the latest first; not all, and each shortened and without what is secret.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// The instance that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ActiveStatus {
    /// Whose.
    pub provider: Provider,
    /// Where its candidate came from.
    pub origin: Origin,
    /// Its candidate's registration number.
    pub sequence: u64,
    /// Its number.
    pub instance: u64,
    /// The probe that was skipped by force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Failure>,
    /// The decision by which it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// What is thought of the instance that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Judgement {
    /// `unknown`, `healthy`, `unhealthy`.
    pub judged: String,
    /// Bad answers in a row.
    #[serde(default)]
    pub bad: u32,
    /// Good answers in a row.
    #[serde(default)]
    pub good: u32,
}

/// Something that was decided without anybody asking for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Decision {
    /// What: `unhealthy`, `healthy`, `restart`, `gave_up`, `fail_over`, `none_left`, `fail_back`, `swing_back`, `rebind`,
    /// `restart_dependent`, `held`.
    pub kind: String,
    /// When.
    pub at_unix_ms: u64,
    /// Whose instance it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who took over, or was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Provider>,
    /// The number of the instance that gave cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Why, as data; its `reason` says what else there is.
    #[serde(default)]
    pub because: Value,
    /// Why it could not be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// All of it in words. Times of day are UTC.
    pub text: String,
}

/// Whether a slot takes work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Activity {
    /// `running`, `paused` or `draining`.
    pub activity: String,
    /// The scope whose rule holds, such as `adapter/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// When it is going to be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
}

/// An instance that finishes its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Draining {
    /// Whose.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// Leases still out.
    pub in_flight: u64,
    /// Since when nobody is let in to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// For how long the oldest lease has been out, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_lease_ms: Option<u64>,
}

/// Why active and winner differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Difference {
    /// `swap_failed`, `swung_back`, `failed_over`, `held`, `withdrawn`, `not_applied`.
    pub why: String,
    /// With `swap_failed` and `swung_back`: where and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// With `held`: `paused` or `draining`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// With `failed_over`: whose instance failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// With `failed_over`: why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `failed_over`: when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_unix_ms: Option<u64>,
}

/// One step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Failure {
    /// The step.
    pub stage: String,
    /// The error code.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// The last step that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LastError {
    /// Whose instance it was about.
    pub provider: Provider,
    /// Where and why.
    #[serde(flatten)]
    pub failure: Failure,
    /// When.
    pub at_unix_ms: u64,
}

/// Calls that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Calls {
    /// Did their work.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Of those that failed: panicked.
    pub panicked: u64,
}

/// A new instance on trial, the old one kept warm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Bake {
    /// Whose instance is on trial.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// Whose instance is kept warm.
    pub warm: Provider,
    /// Its number.
    pub warm_instance: u64,
    /// Since when.
    pub since_unix_ms: u64,
    /// When it is over if nothing goes wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
    /// Calls that ended on the instance on trial.
    #[serde(default)]
    pub calls: Calls,
    /// Calls that ended on the warm one before it was exchanged.
    #[serde(default)]
    pub calls_before: Calls,
    /// So many calls must have ended before their share is looked at.
    #[serde(default)]
    pub min_calls: u32,
    /// By so many points the share of failed calls may be above the one before, in percent.
    #[serde(default)]
    pub error_percent: u8,
    /// The share of calls that may panic, in percent.
    #[serde(default)]
    pub panic_percent: u8,
    /// Probes that were answered.
    #[serde(default)]
    pub probes: u32,
    /// Of those, bad answers.
    #[serde(default)]
    pub bad_probes: u32,
    /// `passed`, `swung_back`, `superseded`; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// Transitions that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Swaps {
    /// First instances put in service.
    pub activated: u64,
    /// Instances exchanged.
    pub swapped: u64,
    /// Of both, those that skipped a failing probe.
    pub forced: u64,
    /// Swaps that failed while the old instance served on.
    pub rolled_back: u64,
    /// Activations that failed.
    pub failed: u64,
    /// Instances retired.
    pub retired: u64,
}

/// Percentiles of durations, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Half were at most this.
    pub p50_us: u64,
    /// Nine of ten were at most this.
    pub p90_us: u64,
    /// 99 of 100 were at most this.
    pub p99_us: u64,
    /// All were at most this.
    pub max_us: u64,
}

/// What an instance said when probed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HealthReport {
    /// The slot.
    pub slot: Slot,
    /// Who was asked.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// `ok`, `warn`, `temporarily_unavailable`, `critical`, `probe_error`, `not_asked`; absent when it has no probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What it said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it said about it as data, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// How long the answer took.
    pub took_us: u64,
    /// When.
    pub at_unix_ms: u64,
}

/// What came of a swap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SwapReport {
    /// The slot.
    pub slot: Slot,
    /// `swapped`, `unchanged`, `rolled_back`, `swung_back`, `forced`.
    pub outcome: String,
    /// With `rolled_back`, `swung_back` and `forced`: where and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Who served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who was to serve.
    pub to: Provider,
    /// What failed after the new instance was in service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
    /// From being begun to the old instance being retired; of a swap that bakes, to being published.
    pub took_us: u64,
    /// How the new instance does on trial, where it is on one. The trial goes on while it has not `ended`; the slot's
    /// status tells how it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Box<Bake>>,
    /// What came of handing over state, where the slot's policy asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
}

/// What came of handing over state from the old instance to the new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Handover {
    /// Whether the new instance has the state of the old one.
    pub handed_over: bool,
    /// What the state was, as in `oneiric.cache/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// For how long new calls had to wait at most.
    #[serde(default)]
    pub blocked_us: u64,
    /// Why not, where it was not handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl SwapReport {
    /// Whether the one asked for serves now.
    #[must_use]
    pub fn serves(&self) -> bool {
        !matches!(self.outcome.as_str(), "rolled_back" | "swung_back")
    }
}

/// What became of one slot of a change set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SlotChange {
    /// The slot.
    pub slot: Slot,
    /// `swapped`, `unchanged`, `failed`, `taken_back`, `left_serving`.
    pub outcome: String,
    /// With `failed`: where and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// With `taken_back`: the last step that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    /// With `left_serving`: who needs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Slot>,
    /// Who served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who was to serve.
    pub to: Provider,
    /// What failed after the new instance was in service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
    /// From being begun to the old instance being retired; of one that bakes, to being published.
    pub took_us: u64,
    /// The trial that the new instance is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Box<Bake>>,
    /// What came of handing over state, where the slot's policy asks for that; also of one that was not put in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Handover>,
}
