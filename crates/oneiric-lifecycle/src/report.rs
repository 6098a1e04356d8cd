//! What is asked of a slot, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oneiric_core::{BoxFuture, Provider, Slot};
use serde::Serialize;

use crate::bake::{BakeStatus, Baking, Keep, RecordBack};
use crate::error::Failure;
use crate::handover::HandoverReport;

/// Asks for another instance in a slot.
#[derive(Clone)]
pub struct SwapRequest {
    pub(crate) slot: Slot,
    pub(crate) provider: Option<Provider>,
    pub(crate) force: bool,
    pub(crate) rebuild: bool,
    pub(crate) keep: Keep,
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) record_back: Option<Arc<RecordBack>>,
    pub(crate) when_published: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Writes down that a swap is about to take place, or gives a code and a message why it cannot.
pub(crate) type Record =
    dyn Fn() -> BoxFuture<'static, Result<(), (&'static str, String)>> + Send + Sync;

impl SwapRequest {
    /// To whoever ranks best.
    pub const fn to_winner(slot: Slot) -> Self {
        Self {
            slot,
            provider: None,
            force: false,
            rebuild: false,
            keep: Keep::AsPolicy,
            record: None,
            record_back: None,
            when_published: None,
        }
    }

    /// To the best-ranked candidate of `provider`.
    pub const fn to_provider(slot: Slot, provider: Provider) -> Self {
        Self {
            slot,
            provider: Some(provider),
            force: false,
            rebuild: false,
            keep: Keep::AsPolicy,
            record: None,
            record_back: None,
            when_published: None,
        }
    }

    /// Puts the new instance in service even if its probe says no. Everything else that fails, a
    /// factory above all, still rolls back.
    #[must_use]
    pub const fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Keeps the old instance warm for so long, whatever the slot's policy says, and swings back to it if the new one
    /// does worse; zero: not at all.
    #[must_use]
    pub const fn bake(mut self, time: Duration) -> Self {
        self.keep = Keep::For(time);
        self
    }

    /// Keeps the old instance warm until whoever asked for the swap [says](crate::Baking::release) that it may go, or
    /// [has it serve again](crate::Baking::swing_back). For those who do several things of which each may fail. Ask with
    /// [`Lifecycle::begin_swap`](crate::Lifecycle::begin_swap), for a plain swap would wait for ever. If the report and
    /// every [`Baking`](crate::Baking) of it are dropped, it is released.
    #[must_use]
    pub const fn keep_old(mut self) -> Self {
        self.keep = Keep::UntilTold;
        self
    }

    /// Has `record` write down, as the last step before the new instance is put in service, that this
    /// is about to happen: built, healthy and wanted. If it cannot, the swap is rolled back with its
    /// code and message at [`Stage::Record`](crate::Stage::Record). Not called when nothing is
    /// exchanged.
    ///
    /// It has no time limit, because one that is given up may still have written: it must end by itself.
    /// In rare cases the swap fails after all although it was recorded (the slot is being shut down, or
    /// somebody meanwhile relies on a facet that the new instance lacks); the report says so, and what
    /// was written is for whoever asked for the swap to take back.
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

    /// Has `record` write down that the old instance is to serve again, and why, right before it does, where the trial of
    /// the new one ends so. Until it is done the new one serves on, for at most 2 s: the old one serves again then all
    /// the same, and `record` goes on. In rare cases (the slot is being shut down, or somebody has just begun to rely on
    /// a facet that the old one lacks) the new one stays after all; the report says so.
    #[must_use]
    pub fn record_back(
        mut self,
        record: impl Fn(&Slot, &Failure) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.record_back = Some(Arc::new(record));
        self
    }

    /// Has `told` called right after the new instance was put in service, before the old one is
    /// drained, which can take long. Not called when nothing is exchanged. Must not block.
    #[must_use]
    pub fn when_published(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.when_published = Some(Arc::new(told));
        self
    }

    /// Builds a new instance even if one of the same candidate serves already.
    #[must_use]
    pub const fn rebuild(mut self, rebuild: bool) -> Self {
        self.rebuild = rebuild;
        self
    }
}

impl fmt::Debug for SwapRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwapRequest")
            .field("slot", &self.slot)
            .field("provider", &self.provider)
            .field("force", &self.force)
            .field("rebuild", &self.rebuild)
            .finish_non_exhaustive()
    }
}

/// What came of exchanging, or not, what serves a slot; how that ended is told by `outcome`.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SlotReport<O> {
    /// The slot.
    pub slot: Slot,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: O,
    /// Who served before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Provider>,
    /// Who was to serve, and does unless that did not come about.
    pub to: Provider,
    /// What failed after the new instance was in service. It stays all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
    /// From being begun to the old instance being retired; of a swap that bakes, to being published.
    #[serde(rename = "took_us", serialize_with = "crate::status::micros")]
    pub took: Duration,
    /// How the new instance did on trial, where it was or is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<Box<BakeStatus>>,
    /// What came of handing over state, where the slot's policy asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover: Option<Box<HandoverReport>>,
    /// While it is on trial.
    #[serde(skip)]
    pub(crate) baking: Option<Baking>,
}

/// What came of a swap.
pub type SwapReport = SlotReport<Outcome>;

impl<O> SlotReport<O> {
    /// Of a slot that stays as it is, or was never anything else.
    pub(crate) const fn new(slot: Slot, outcome: O, from: Option<Provider>, to: Provider) -> Self {
        Self {
            slot,
            outcome,
            from,
            to,
            warnings: Vec::new(),
            took: Duration::ZERO,
            bake: None,
            handover: None,
            baking: None,
        }
    }

    /// The same, with another outcome.
    pub(crate) fn map<P>(self, outcome: impl FnOnce(O) -> P) -> SlotReport<P> {
        SlotReport {
            slot: self.slot,
            outcome: outcome(self.outcome),
            from: self.from,
            to: self.to,
            warnings: self.warnings,
            took: self.took,
            bake: self.bake,
            handover: self.handover,
            baking: self.baking,
        }
    }

    /// The trial of the new instance, while it goes on; `None` when the exchange is over.
    pub const fn baking(&self) -> Option<&Baking> {
        self.baking.as_ref()
    }
}

impl SwapReport {
    /// Whether the one asked for serves now.
    pub const fn serves(&self) -> bool {
        !matches!(
            self.outcome,
            Outcome::RolledBack { .. } | Outcome::SwungBack { .. }
        )
    }

    /// Waits until the swap is over, the trial of the new instance with it. Cancel-safe: it goes on all the same.
    pub async fn settled(self) -> Self {
        match self.baking {
            Some(baking) => baking.ended().await,
            None => self,
        }
    }
}

/// How a swap ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The new instance serves.
    Swapped,
    /// The one asked for served already.
    Unchanged,
    /// A step failed; the old instance serves as before.
    RolledBack {
        /// Where and why.
        failure: Failure,
    },
    /// The new instance served and did worse than the old one, which serves again.
    SwungBack {
        /// What went wrong, with the numbers.
        failure: Failure,
    },
    /// The new instance serves although its probe said no.
    Forced {
        /// What the probe said.
        failure: Failure,
    },
}
