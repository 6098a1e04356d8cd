//! How a slot is looked after while nobody looks: how often it is probed, what happens when it fails, how long a new
//! instance is on trial, who may take over by itself.
//!
//! A policy is stated for a scope: one slot, a domain, or all. What a slot goes by is put together key by key, the
//! narrowest scope that states a key first.

mod stated;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use stated::{PolicyEntry, PolicyScope, SlotPolicies};

/// How one slot is looked after. `Default` gives the values named at each field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SlotPolicy {
    /// How it is probed.
    pub health: HealthPolicy,
    /// What happens when it fails.
    pub failure: FailurePolicy,
    /// How long and how strictly a new instance is on trial.
    pub bake: BakePolicy,
    /// When somebody else takes over although nothing failed.
    pub rebind: RebindPolicy,
    /// Whether state goes from the old instance to the new.
    pub handover: HandoverPolicy,
    /// What its instance does when a slot that it requires is exchanged.
    pub on_dependency_change: OnDependencyChange,
}

/// How a slot is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthPolicy {
    /// From one probe to the next (10 s); zero: none but those that somebody asks for.
    pub interval: Duration,
    /// By how much an interval is longer or shorter by chance, so that not all are probed at once, in percent of it,
    /// 0 to 100 (10).
    pub jitter_percent: u8,
    /// So many bad answers in a row make it unhealthy (3).
    pub bad: NonZeroU32,
    /// So many good answers in a row make it healthy again (2).
    pub good: NonZeroU32,
    /// How long *temporarily unavailable* counts as neither good nor bad; then it is bad (30 s).
    pub grace: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            jitter_percent: 10,
            bad: count(3),
            good: count(2),
            grace: Duration::from_secs(30),
        }
    }
}

/// What happens when an instance is unhealthy or cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailurePolicy {
    /// What is done (report).
    pub action: OnFailure,
    /// So many restarts within [`within`](Self::within) are tried; then it is given up (5).
    pub restarts: NonZeroU32,
    /// The time in which restarts are counted (60 s).
    pub within: Duration,
    /// Until the first restart is tried again (200 ms); doubled each time.
    pub backoff: Duration,
    /// The longest that `backoff` becomes (30 s).
    pub backoff_max: Duration,
    /// How long the better candidate must have been healthy before it serves again; `None`: not by itself.
    pub fail_back_after: Option<Duration>,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            action: OnFailure::default(),
            restarts: count(5),
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            fail_back_after: None,
        }
    }
}

/// What is done about a slot that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnFailure {
    /// It is said.
    #[default]
    Report,
    /// Another instance of the same candidate is built.
    Restart,
    /// The next-ranked candidate that can be built and is healthy takes over.
    FailOver,
    /// As restart; when that is given up, as fail over.
    RestartThenFailOver,
}

impl OnFailure {
    /// The name as in settings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Restart => "restart",
            Self::FailOver => "fail_over",
            Self::RestartThenFailOver => "restart_then_fail_over",
        }
    }
}

/// How long a new instance is on trial after a swap, the old one kept warm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BakePolicy {
    /// For how long (0: the old one is retired at once).
    pub time: Duration,
    /// So many calls must have ended before their share is looked at (20).
    pub min_calls: NonZeroU32,
    /// By so many points the share of failed calls may be above the old instance's, in percent, 0 to 100 (5).
    pub error_percent: u8,
    /// The share of calls that may panic, in percent, 0 to 100 (1).
    pub panic_percent: u8,
}

impl Default for BakePolicy {
    fn default() -> Self {
        Self {
            time: Duration::ZERO,
            min_calls: count(20),
            error_percent: 5,
            panic_percent: 1,
        }
    }
}

/// When somebody else takes over although nothing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebindPolicy {
    /// On what (on selection).
    pub when: Rebind,
    /// How long who ranks best must have stayed the same before a greedy slot follows (1 s).
    pub settle: Duration,
}

impl Default for RebindPolicy {
    fn default() -> Self {
        Self {
            when: Rebind::default(),
            settle: Duration::from_secs(1),
        }
    }
}

/// On what a slot goes over to another candidate by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rebind {
    /// On nothing: only when an operator asks for a swap.
    Manual,
    /// When a selection changes.
    #[default]
    OnSelection,
    /// Whenever somebody else ranks best, for whatever reason.
    Greedy,
}

impl Rebind {
    /// The name as in settings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::OnSelection => "on_selection",
            Self::Greedy => "greedy",
        }
    }
}

/// Whether and how state goes from the old instance to the new.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandoverPolicy {
    /// Whether, and what happens when there is no time for it (off).
    pub mode: HandoverMode,
    /// How long new calls wait for it at most (500 ms).
    pub block: Duration,
    /// The largest state that is taken over, in bytes (16 MiB).
    pub max_bytes: u64,
}

impl Default for HandoverPolicy {
    fn default() -> Self {
        Self {
            mode: HandoverMode::default(),
            block: Duration::from_millis(500),
            max_bytes: 16 << 20,
        }
    }
}

/// Whether state goes from the old instance to the new, and what happens over budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HandoverMode {
    /// It does not; readers never wait.
    #[default]
    Off,
    /// It does; over budget the new instance begins without it.
    Empty,
    /// It does; over budget the swap is rolled back.
    Abort,
}

impl HandoverMode {
    /// The name as in settings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Empty => "empty",
            Self::Abort => "abort",
        }
    }
}

/// What an instance does when a slot that it requires is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnDependencyChange {
    /// Nothing: its live references follow by themselves.
    #[default]
    Nothing,
    /// It is told.
    Tell,
    /// It is exchanged for a new instance of the same candidate.
    Restart,
}

impl OnDependencyChange {
    /// The name as in settings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Tell => "tell",
            Self::Restart => "restart",
        }
    }
}

/// A count that is stated in this file.
const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}
