//! What can go wrong, and at which stage.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_core::{Coded, ErrorKind, Provider, ResolveError, Slot, rfc3339};
use serde::Serialize;

use crate::activity::{ActivityScope, ActivityState};
use crate::cell::{Refusal, SlotCell};
use crate::health::Health;
use crate::step::StepError;

/// The step of a transition at which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Looking up the candidate's factory.
    Factory,
    /// Bringing up what the candidate requires.
    Dependencies,
    /// The factory built.
    Build,
    /// The new instance's facets were held against those that are in use.
    Facets,
    /// The new instance was asked for its health.
    Probe,
    /// A hook before the swap.
    BeforeSwap,
    /// Whoever asked for the swap wrote down that they did.
    Record,
    /// The new instance was put in service.
    Publish,
    /// The new instance was on trial, the old one kept warm.
    Bake,
    /// New calls wait while state goes from the old instance to the new: the work on the old one is finished.
    HandOver,
    /// The old instance wrote its state.
    Export,
    /// The new instance took the state.
    Import,
    /// Work on the old instance was given time to finish.
    Drain,
    /// The old instance cleaned up.
    Retire,
    /// A hook after the swap.
    AfterSwap,
    /// The instance that serves was given new settings.
    Reconfigure,
    /// The instance that serves was told that its slot takes no work.
    Pause,
    /// The instance that serves was told that its slot is going to take work again.
    Resume,
    /// The instance that serves was told that a slot it needs was exchanged.
    DependencyChange,
}

impl Stage {
    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Dependencies => "dependencies",
            Self::Build => "build",
            Self::Facets => "facets",
            Self::Probe => "probe",
            Self::BeforeSwap => "before_swap",
            Self::Record => "record",
            Self::Publish => "publish",
            Self::Bake => "bake",
            Self::HandOver => "hand_over",
            Self::Export => "export",
            Self::Import => "import",
            Self::Drain => "drain",
            Self::Retire => "retire",
            Self::AfterSwap => "after_swap",
            Self::Reconfigure => "reconfigure",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::DependencyChange => "dependency_change",
        }
    }
}

/// One step that failed: where, with which code, and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// The step.
    pub stage: Stage,
    /// The error code, `layer.reason`.
    pub code: &'static str,
    /// What happened, for the operator.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(stage: Stage, code: &'static str, message: impl fmt::Display) -> Self {
        Self {
            stage,
            code,
            message: message.to_string(),
        }
    }

    /// An answer with which nobody takes over from one that works.
    pub(crate) fn probe(health: Health) -> Self {
        let code = match &health {
            Health::ProbeError(_) => "lifecycle.probe_error",
            Health::NotAsked(_) => "lifecycle.not_begun",
            _ => "lifecycle.probe_failed",
        };
        Self::new(Stage::Probe, code, health)
    }

    /// A step that had no product.
    pub(crate) fn step(stage: Stage, limit: Duration, error: StepError) -> Self {
        match error {
            StepError::TimedOut => Self::new(
                stage,
                "lifecycle.timed_out",
                format_args!("not done within {}", Millis(limit)),
            ),
            StepError::NotBegun(wait) => Self::new(
                stage,
                "lifecycle.not_begun",
                format_args!(
                    "not begun within {}: there was no thread for it",
                    Millis(wait)
                ),
            ),
            StepError::Abandoned => Self::new(
                stage,
                "lifecycle.stopped",
                "given up: the slot is being shut down",
            ),
            StepError::Panicked(message) => Self::new(
                stage,
                "lifecycle.panicked",
                format_args!("panicked: {message}"),
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.name(), self.message)
    }
}

/// A duration as people read it: `250 ms`, `30 s`.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms >= 1_000 && ms.is_multiple_of(1_000) {
            write!(f, "{} s", ms / 1_000)
        } else {
            write!(f, "{ms} ms")
        }
    }
}

/// Why there is no instance to call.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// No candidate answers.
    #[error(transparent)]
    Unresolved(ResolveError),
    /// The slot could not be activated and nothing serves it.
    #[error("{slot}: activating {provider} failed at {failure}")]
    ActivationFailed {
        /// The slot.
        slot: Slot,
        /// The provider that was tried.
        provider: Provider,
        /// Where and why.
        failure: Failure,
    },
    /// Nothing was activated in this slot yet.
    #[error("{slot} is not active")]
    NotActive {
        /// The slot.
        slot: Slot,
    },
    /// Nothing came into service for as long as the caller would wait.
    #[error("nothing serves {slot}, and nothing came within {}", Millis(*waited))]
    Absent {
        /// The slot.
        slot: Slot,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The slot refuses work because an operator said so.
    #[error("{slot} is {}", Said(state, slot))]
    Busy {
        /// The slot.
        slot: Slot,
        /// What was said, by whom, and for which scope.
        state: Box<ActivityState>,
        /// When it is going to take work again, if that is known. Later than the state's `until` when
        /// other rules apply to the slot as well.
        opens: Option<SystemTime>,
    },
    /// State goes from the instance that served to the next one; new calls wait for that. Whoever cannot wait, or has
    /// waited as long as anybody does, gets this.
    #[error("{slot} hands its state over to another instance; try again in {}", Millis(*left))]
    HandingOver {
        /// The slot.
        slot: Slot,
        /// For how much longer at most.
        left: Duration,
    },
    /// The instance that serves has no such facet.
    #[error("{slot}: {provider} does not offer {facet}")]
    FacetMissing {
        /// The slot.
        slot: Slot,
        /// The provider that serves.
        provider: Provider,
        /// The facet that was asked for.
        facet: String,
    },
    /// The caller's own work, or the component in it, panicked.
    #[error("{slot}: the call panicked: {message}")]
    Panicked {
        /// The slot that was called.
        slot: Slot,
        /// The panic's message.
        message: String,
    },
    /// The instance was retired under the call, because the drain deadline passed.
    #[error("{slot}: this instance of {provider} was retired; take a new lease")]
    Retired {
        /// The slot that was called.
        slot: Slot,
        /// Whose instance it was.
        provider: Provider,
    },
    /// The slot cannot be taken out of service, because others need it.
    #[error("{slot} is needed by {}", list(holders))]
    InUse {
        /// The slot.
        slot: Slot,
        /// The slots whose instance needs it.
        holders: Vec<Slot>,
    },
    /// All the instances by key that a slot may have are leased.
    #[error("{slot}: all of the {limit} instances by key that there may be are in use")]
    KeysExhausted {
        /// The slot.
        slot: Slot,
        /// How many there may be.
        limit: NonZeroUsize,
    },
    /// The process is shutting down.
    #[error("{slot} is shut down")]
    Stopped {
        /// The slot.
        slot: Slot,
    },
}

impl LifecycleError {
    #[cold]
    #[expect(
        clippy::boxed_local,
        reason = "it is taken apart here, so that the callers, who are hot, need not"
    )]
    pub(crate) fn refused(cell: &SlotCell, refusal: Box<Refusal>) -> Self {
        let slot = cell.slot.clone();
        match *refusal {
            Refusal::NotActive => Self::NotActive { slot },
            Refusal::Stopped => Self::Stopped { slot },
            Refusal::HandingOver(handing) => Self::HandingOver {
                slot,
                left: handing.left(),
            },
            Refusal::Busy(why) => Self::Busy {
                slot,
                state: Box::new(why.state.clone()),
                opens: why.opens,
            },
        }
    }

    /// The step that failed, where one did.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::ActivationFailed { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

impl Coded for LifecycleError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unresolved(error) => error.code(),
            Self::ActivationFailed { failure, .. } => failure.code,
            Self::NotActive { .. } => "lifecycle.not_active",
            Self::Absent { .. } => "lifecycle.absent",
            Self::Busy { .. } => "lifecycle.busy",
            Self::HandingOver { .. } => "lifecycle.handing_over",
            Self::FacetMissing { .. } => "lifecycle.facet_missing",
            Self::Panicked { .. } => "lifecycle.panicked",
            Self::Retired { .. } => "lifecycle.retired",
            Self::InUse { .. } => "lifecycle.in_use",
            Self::KeysExhausted { .. } => "lifecycle.keys_exhausted",
            Self::Stopped { .. } => "lifecycle.stopped",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unresolved(error) => error.kind(),
            Self::ActivationFailed { failure, .. } => match failure.code {
                "lifecycle.no_factory"
                | "lifecycle.factory_unknown"
                | "lifecycle.settings_invalid"
                | "lifecycle.dependency_cycle" => ErrorKind::Config,
                "core.factory_denied" => ErrorKind::Denied,
                "lifecycle.timed_out" => ErrorKind::Timeout,
                _ => ErrorKind::Unavailable,
            },
            Self::NotActive { .. }
            | Self::Retired { .. }
            | Self::Stopped { .. }
            | Self::HandingOver { .. } => ErrorKind::Unavailable,
            Self::Absent { .. } => ErrorKind::Timeout,
            Self::Busy { .. } | Self::InUse { .. } | Self::KeysExhausted { .. } => ErrorKind::Busy,
            Self::FacetMissing { .. } => ErrorKind::NotFound,
            // The component's defect, not ours: to a caller it is a call that failed.
            Self::Panicked { .. } => ErrorKind::Unavailable,
        }
    }
}

fn list(slots: &[Slot]) -> String {
    let names: Vec<&str> = slots.iter().map(Slot::as_str).collect();
    names.join(", ")
}

/// What an operator said: `paused (adapter/*) by ann since 2026-11-22T15:00:00Z: repairs; until ...`.
struct Said<'a>(&'a ActivityState, &'a Slot);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(state, slot) = self;
        f.write_str(state.activity.name())?;
        match &state.scope {
            Some(ActivityScope::Slot(scope)) if scope == *slot => {}
            Some(scope) => write!(f, " ({scope})")?,
            None => {}
        }
        if let Some(who) = &state.who {
            write!(f, " by {who}")?;
        }
        if let Some(since) = state.since.and_then(utc) {
            write!(f, " since {since}")?;
        }
        if let Some(note) = &state.note {
            write!(f, ": {note}")?;
        }
        if let Some(until) = state.until.and_then(utc) {
            write!(f, "; until {until}")?;
        }
        Ok(())
    }
}

/// `2026-11-22T12:38:38Z`; nobody plans a pause by the millisecond.
fn utc(at: SystemTime) -> Option<String> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    let ms = i64::try_from(since.as_millis()).ok()?;
    let text = rfc3339::format(ms)?;
    let seconds = text.split_once('.').map(|(seconds, _)| seconds)?;
    Some(format!("{seconds}Z"))
}
