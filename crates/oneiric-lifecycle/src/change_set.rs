//! Several slots exchanged as one: all new instances are built and healthy before any pointer moves, or none moves.
//!
//! What it holds to is in `docs/spec/change-sets.md`.

mod hand_over;
mod member;
mod run;
mod turns;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::{BoxFuture, Provider, Slot};
use serde::Serialize;

use crate::bake::RecordBack;
use crate::error::{Failure, LifecycleError, Stage};
use crate::lifecycle::Lifecycle;
use crate::report::{Outcome, Record, SlotReport};

/// Asks for other instances in several slots at once.
#[derive(Clone, Default)]
pub struct ChangeSet {
    wanted: BTreeMap<Slot, Option<Provider>>,
    record: Option<Arc<Record>>,
    record_back: Option<Arc<RecordBack>>,
    when_published: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl ChangeSet {
    /// Asks for nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wants the best-ranked candidate of `provider` in `slot`, in the place of what was wanted there.
    #[must_use]
    pub fn to_provider(mut self, slot: Slot, provider: Provider) -> Self {
        self.wanted.insert(slot, Some(provider));
        self
    }

    /// Wants whoever ranks best in `slot`, in the place of what was wanted there.
    #[must_use]
    pub fn to_winner(mut self, slot: Slot) -> Self {
        self.wanted.insert(slot, None);
        self
    }

    /// Has `record` write down, when all new instances are built and healthy and none serves, that they are about to
    /// be put in service: once for all of them. As for [`SwapRequest::record`](crate::SwapRequest::record), it has no
    /// time limit, is not called when nothing is exchanged, and in rare cases the set fails all the same.
    #[must_use]
    pub fn record(
        mut self,
        record: impl Fn() -> BoxFuture<'static, Result<(), (&'static str, String)>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.record = Some(Arc::new(record));
        self
    }

    /// Has `record` write down that the old instance of one slot is to serve again, where the trial of its new one ends
    /// so: as for [`SwapRequest::record_back`](crate::SwapRequest::record_back), for each slot by itself.
    #[must_use]
    pub fn record_back(
        mut self,
        record: impl Fn(&Slot, &Failure) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.record_back = Some(Arc::new(record));
        self
    }

    /// Has `told` called right after all were put in service, before the old ones are drained. Must not block.
    #[must_use]
    pub fn when_published(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.when_published = Some(Arc::new(told));
        self
    }
}

impl fmt::Debug for ChangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeSet")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// What came of a change set.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ChangeReport {
    /// How it ended.
    pub outcome: ChangeOutcome,
    /// What became of each slot, by name.
    pub slots: Vec<SlotChange>,
    /// From being begun to the last old instance being retired.
    #[serde(rename = "took_us", serialize_with = "crate::status::micros")]
    pub took: Duration,
}

impl ChangeReport {
    /// Whether those asked for serve now.
    pub fn serves(&self) -> bool {
        self.outcome != ChangeOutcome::RolledBack
    }

    /// The slots due to which nothing was exchanged, with where and why.
    pub fn failures(&self) -> impl Iterator<Item = (&SlotChange, &Failure)> {
        self.slots
            .iter()
            .filter_map(|change| Some((change, change.failure()?)))
    }
}

/// How a change set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeOutcome {
    /// All those asked for serve.
    Applied,
    /// They served already.
    Unchanged,
    /// A step failed for one of them; all that served before serve as before.
    RolledBack,
}

impl ChangeOutcome {
    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// What became of one slot of a change set. The trial that its new instance is on, if it is on one, is the slot's own
/// affair.
pub type SlotChange = SlotReport<SlotOutcome>;

impl SlotChange {
    /// Where and why a step failed here, if one did.
    pub const fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            SlotOutcome::Failed { failure } => Some(failure),
            _ => None,
        }
    }
}

/// How a change set ended for one of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SlotOutcome {
    /// The new instance serves.
    Swapped,
    /// The one asked for served already, and serves on.
    Unchanged,
    /// A step failed here: nothing was exchanged because of it.
    Failed {
        /// Where and why.
        failure: Failure,
    },
    /// All was well here; the new instance was retired because another slot failed.
    TakenBack {
        /// The last step that was done.
        reached: Stage,
    },
    /// Nothing served here before, another one of the set needed it, and by the time the set failed somebody else
    /// needed it too: the new instance serves on.
    LeftServing {
        /// Who needs it.
        holders: Vec<Slot>,
    },
}

impl From<Outcome> for SlotOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Unchanged => Self::Unchanged,
            Outcome::RolledBack { failure } => Self::Failed { failure },
            Outcome::Swapped | Outcome::SwungBack { .. } | Outcome::Forced { .. } => Self::Swapped,
        }
    }
}

impl SlotOutcome {
    /// The name as in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Unchanged => "unchanged",
            Self::Failed { .. } => "failed",
            Self::TakenBack { .. } => "taken_back",
            Self::LeftServing { .. } => "left_serving",
        }
    }
}

impl Lifecycle {
    /// Exchanges what serves several slots, all or none. Returns when the old instances are retired.
    ///
    /// All new instances are built, one beside the other, and found healthy before any is put in service; then all
    /// are, in one step. If anything fails before that, whatever was built is retired, and that is no error but a report
    /// of [`ChangeOutcome::RolledBack`]. A slot in which nothing served and which another one of the set requires gets
    /// its instance first, and is emptied again if the set fails, unless somebody else needs it by then.
    ///
    /// Begins when everything that was asked for before in any of the slots is done. Cancel-safe: a set that waits
    /// for that has begun nothing when it is dropped; what was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`; then nothing was begun.
    pub async fn apply(&self, set: ChangeSet) -> Result<ChangeReport, LifecycleError> {
        let inner = self.inner();
        let known = |slot: &Slot| inner.known_cell(slot).ok_or_else(|| inner.unresolved(slot));
        let cells = set.wanted.keys().map(known);
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = cells.first() else {
            return Ok(run::unchanged(Vec::new()));
        };
        let stopped = LifecycleError::Stopped {
            slot: first.slot.clone(),
        };
        if inner.stopping.load(Ordering::Acquire) {
            return Err(stopped);
        }
        let turns = turns::take(&inner.sets_waiting, &cells).await;
        let seats = cells.into_iter().zip(turns).collect();
        match tokio::spawn(run::run(Arc::clone(inner), seats, set)).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The async runtime itself is going down.
            Err(_cancelled) => Err(stopped),
        }
    }
}
