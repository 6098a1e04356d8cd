//! How a transition ended, as something to remember: an entry of a slot's history.
//!
//! Entries are made of the events that observers are told, so that history and events cannot disagree.

use std::ops::AddAssign;
use std::time::SystemTime;

use oneiric_core::Provider;
use serde::Serialize;

use crate::decision::Decision;
use crate::error::Failure;
use crate::observe::{Happening, SwapEvent};
use crate::status::{SwapCounts, unix_ms};

/// One transition that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Which run of the program it happened in, from 1; set by the store.
    pub run: u64,
    /// When, to the millisecond.
    #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
    pub at: SystemTime,
    /// How it ended.
    pub ended: Ended,
    /// Whose instance it was about.
    pub provider: Provider,
    /// Who served before, or still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// The number of the instance in its run, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    /// Whether a failing probe was skipped by force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Why it failed, or what was skipped by force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<PastFailure>,
    /// What was decided, where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<PastDecision>,
}

/// How a transition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// A first instance was put in service.
    Activated,
    /// An instance was exchanged.
    Swapped,
    /// A swap failed and the old instance served on.
    RolledBack,
    /// An activation failed and nothing served.
    Failed,
    /// An instance was retired.
    Retired,
    /// Something was decided without anybody asking for it. What it took to carry it out is remembered as well.
    Decided,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Activated,
        Self::Swapped,
        Self::RolledBack,
        Self::Failed,
        Self::Retired,
        Self::Decided,
    ];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activated => "activated",
            Self::Swapped => "swapped",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Retired => "retired",
            Self::Decided => "decided",
        }
    }
}

/// A failure as it is remembered. Unlike a [`Failure`] it may come from another version of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastFailure {
    /// The step, as [`Stage::name`](crate::Stage::name) spells it.
    pub stage: String,
    /// The error code.
    pub code: String,
    /// What happened, for the operator.
    pub message: String,
}

/// A decision as it is remembered. Unlike a [`Decision`] it may come from another version of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastDecision {
    /// What it was, as [`DecisionKind::name`](crate::DecisionKind::name) spells it.
    pub kind: String,
    /// What and why, in words.
    pub text: String,
}

impl From<&Decision> for PastDecision {
    fn from(decision: &Decision) -> Self {
        Self {
            kind: decision.kind.name().to_owned(),
            text: decision.text.clone(),
        }
    }
}

impl From<&Failure> for PastFailure {
    fn from(failure: &Failure) -> Self {
        Self {
            stage: failure.stage.name().to_owned(),
            code: failure.code.to_owned(),
            message: failure.message.clone(),
        }
    }
}

impl HistoryEntry {
    /// An entry without details.
    pub const fn new(at: SystemTime, ended: Ended, provider: Provider) -> Self {
        Self {
            run: 0,
            at,
            ended,
            provider,
            from: None,
            instance: None,
            forced: false,
            failure: None,
            decision: None,
        }
    }

    /// What is to be remembered of an event; `None` for one that ends nothing.
    pub fn of(event: &SwapEvent) -> Option<Self> {
        // There may be very many by key; a slot's history is of what serves it.
        if event.key.is_some() {
            return None;
        }
        let new = |ended, provider: &Provider| Self::new(event.at, ended, provider.clone());
        Some(match &event.what {
            Happening::Published {
                from,
                to,
                instance,
                forced,
            } => Self {
                from: from.clone(),
                instance: Some(*instance),
                forced: forced.is_some(),
                failure: forced.as_ref().map(PastFailure::from),
                ..new(
                    if from.is_some() {
                        Ended::Swapped
                    } else {
                        Ended::Activated
                    },
                    to,
                )
            },
            Happening::RolledBack {
                active,
                provider,
                failure,
            } => Self {
                from: Some(active.clone()),
                failure: Some(failure.into()),
                ..new(Ended::RolledBack, provider)
            },
            Happening::ActivationFailed { provider, failure } => Self {
                failure: Some(failure.into()),
                ..new(Ended::Failed, provider)
            },
            Happening::Retired { provider, instance } => Self {
                instance: Some(*instance),
                ..new(Ended::Retired, provider)
            },
            Happening::Decided { decision } => Self {
                from: decision.from.clone(),
                instance: decision.instance,
                failure: decision.failure.as_ref().map(PastFailure::from),
                decision: Some((&**decision).into()),
                ..new(
                    Ended::Decided,
                    decision.to.as_ref().or(decision.from.as_ref())?,
                )
            },
            _ => return None,
        })
    }
}

impl SwapCounts {
    /// Counts an entry.
    pub const fn count(&mut self, entry: &HistoryEntry) {
        match entry.ended {
            Ended::Activated => self.activated += 1,
            Ended::Swapped => self.swapped += 1,
            Ended::RolledBack => self.rolled_back += 1,
            Ended::Failed => self.failed += 1,
            Ended::Retired => self.retired += 1,
            // What it took is counted for itself.
            Ended::Decided => {}
        }
        if entry.forced {
            self.forced += 1;
        }
    }
}

impl AddAssign for SwapCounts {
    fn add_assign(&mut self, other: Self) {
        self.activated += other.activated;
        self.swapped += other.swapped;
        self.forced += other.forced;
        self.rolled_back += other.rolled_back;
        self.failed += other.failed;
        self.retired += other.retired;
    }
}
