//! The lifecycle: every slot of a program, and what can be asked of them.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use oneiric_core::{Candidate, DependencyFaults, FactoryPolicy, Registered, Registry, Slot};

use crate::bake::Baking;
use crate::builder::LifecycleBuilder;
use crate::error::LifecycleError;
use crate::factory::FactoryTable;
use crate::inner::Inner;
use crate::lease::Lease;
use crate::limits::Limits;
use crate::live::Live;
use crate::observe::EventStream;
use crate::report::{SwapReport, SwapRequest};
use crate::slot_policy::{SlotPolicies, SlotPolicy};
use crate::slot_ref::SlotRef;
use crate::status::{HealthReport, SlotStatus};
use crate::step::StepLoad;
use crate::transition::Ask;
use crate::when_absent::WhenAbsent;
use crate::wiring::Wiring;

/// Activates, exchanges and retires the components of a program.
///
/// Cheap to clone; all clones are the same lifecycle. Needs a tokio runtime with time enabled for
/// whatever activates, swaps, probes or shuts down. Dropping the last clone retires nothing: end with
/// [`Lifecycle::shutdown`].
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

impl Lifecycle {
    /// Begins to put a lifecycle together over the candidates in `registry`.
    pub fn builder(registry: Registry) -> LifecycleBuilder {
        LifecycleBuilder::new(registry)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The registry it follows.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The factories it builds with.
    pub fn factories(&self) -> &FactoryTable {
        &self.inner.factories
    }

    /// How long each step may take now.
    pub fn limits(&self) -> Limits {
        self.inner.limits()
    }

    /// Says how long each step may take from now on. A step under way keeps the limit with which it began.
    pub fn set_limits(&self, limits: Limits) {
        self.inner.limits.store(Arc::new(limits));
    }

    /// How `slot` is looked after now.
    pub fn slot_policy(&self, slot: &Slot) -> SlotPolicy {
        self.inner.policy_of(slot)
    }

    /// Says how slots are looked after from now on. A swap or a bake under way keeps to the policy with which it began.
    pub fn set_slot_policies(&self, policies: SlotPolicies) {
        self.inner.policies.store(Arc::new(policies));
        for cell in &self.inner.slots {
            cell.news.notify_one();
        }
    }

    /// How many slots are probed at one time while nobody asks.
    pub fn probes_at_once(&self) -> NonZeroUsize {
        let probes = self.inner.probes_at_once.load(Ordering::Relaxed);
        NonZeroUsize::new(probes).unwrap_or(NonZeroUsize::MIN)
    }

    /// Says how many slots are probed at one time from now on. Probes under way are not called off.
    pub fn set_probes_at_once(&self, probes: NonZeroUsize) {
        self.inner
            .probes_at_once
            .store(probes.get(), Ordering::Relaxed);
    }

    /// Says which factory names are allowed from now on. What serves is left alone: a factory is asked for when
    /// something is built.
    pub fn set_policy(&self, policy: FactoryPolicy) {
        self.inner.policy.store(Arc::new(policy));
    }

    /// A handle to one slot, for those who call it often.
    pub fn slot(&self, slot: &Slot) -> SlotRef {
        SlotRef {
            wiring: Wiring::of(&self.inner),
            cell: self.inner.cell(slot),
            when_absent: WhenAbsent::default(),
        }
    }

    /// A reference to facet `T` of whatever serves `slot`, now and after every swap.
    pub fn live<T: ?Sized + Send + Sync + 'static>(&self, slot: &Slot) -> Live<T> {
        Wiring::of(&self.inner).live(slot)
    }

    /// Makes sure that something serves `slot`; builds the winner if nothing does. Concurrent calls
    /// share one build and its error. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`, or where and why the build failed.
    pub async fn activate(&self, slot: &Slot) -> Result<SwapReport, LifecycleError> {
        Wiring::of(&self.inner).activate(slot).await
    }

    /// Leases what serves `slot`, activating it first if nothing does. Cancel-safe.
    ///
    /// # Errors
    /// As [`Lifecycle::activate`]; `lifecycle.busy` when the slot is paused or draining, `lifecycle.handing_over` when
    /// state goes to the next instance and that takes longer than anybody waits.
    pub async fn lease(&self, slot: &Slot) -> Result<Lease, LifecycleError> {
        match self.inner.known_cell(slot) {
            Some(cell) => {
                SlotRef {
                    wiring: Wiring::of(&self.inner),
                    cell,
                    when_absent: WhenAbsent::default(),
                }
                .ready()
                .await
            }
            // Asking for a name nobody knows must not leave anything behind.
            None => Err(self.inner.unresolved(slot)),
        }
    }

    /// Exchanges what serves a slot. Returns when the old instance is retired, after the new one's trial
    /// if there is one. Swaps of one slot run in the order they were asked for. Cancel-safe: what was
    /// begun goes on.
    ///
    /// A swap that fails while something serves is not an error but
    /// [`Outcome::RolledBack`](crate::Outcome::RolledBack) or, after a trial,
    /// [`Outcome::SwungBack`](crate::Outcome::SwungBack).
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`; where and why the build failed if
    /// nothing served before.
    pub async fn swap(&self, request: SwapRequest) -> Result<SwapReport, LifecycleError> {
        Ok(self.begin_swap(request).await?.settled().await)
    }

    /// As [`Lifecycle::swap`], but of a swap that bakes it returns as soon as the new instance serves; the
    /// report's [`baking`](SwapReport::baking) is there to follow it. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// As [`Lifecycle::swap`].
    pub async fn begin_swap(&self, request: SwapRequest) -> Result<SwapReport, LifecycleError> {
        match self.inner.known_cell(&request.slot) {
            Some(cell) => Wiring::of(&self.inner).run(cell, Ask::Swap(request)).await,
            None => Err(self.inner.unresolved(&request.slot)),
        }
    }

    /// The trial of what serves `slot`, while it is on one.
    pub fn baking(&self, slot: &Slot) -> Option<Baking> {
        let cell = self.inner.existing_cell(slot)?;
        let bake = cell.bake()?;
        Some(Baking {
            bake,
            cell,
            _held: None,
        })
    }

    /// Asks what serves `slot` how it is. A probe that fails, panics or answers too late is a bad
    /// answer, not an error.
    ///
    /// # Errors
    /// `lifecycle.not_active` when nothing serves.
    pub async fn probe(&self, slot: &Slot) -> Result<HealthReport, LifecycleError> {
        let not_active = || LifecycleError::NotActive { slot: slot.clone() };
        let cell = self.inner.existing_cell(slot).ok_or_else(not_active)?;
        let (report, _) = self.inner.ask_serving(&cell).await.ok_or_else(not_active)?;
        Ok(report)
    }

    /// Everything about `slot`; `None` when nobody knows it.
    pub fn status(&self, slot: &Slot) -> Option<SlotStatus> {
        self.inner.is_known(slot).then(|| self.inner.status(slot))
    }

    /// The status of every slot that has candidates or an instance, by name.
    pub fn statuses(&self) -> Vec<SlotStatus> {
        self.inner
            .known_slots()
            .iter()
            .map(|slot| self.inner.status(slot))
            .collect()
    }

    /// The candidate that what serves `slot` was built from, as it was then: it may have been changed or withdrawn
    /// since. `None` when nothing serves.
    pub fn serving(&self, slot: &Slot) -> Option<Registered> {
        let published = self.inner.existing_cell(slot)?.published()?;
        Some(published.running.candidate.clone())
    }

    /// The slots whose instance, serving or finishing its work, needs `slot`, optionally or not.
    pub fn holders(&self, slot: &Slot) -> Vec<Slot> {
        self.inner.graph.holders(slot)
    }

    /// The slots that are affected by what happens to `slot`, in levels: its holders, their holders, and so on. Each
    /// stands once, behind everything of these that it needs.
    pub fn dependents_of(&self, slot: &Slot) -> Vec<Vec<Slot>> {
        self.inner.graph.in_use().dependents_of(slot)
    }

    /// What of those who would win now can never come up, because of what it needs: known without starting anything.
    pub fn dependency_faults(&self) -> DependencyFaults {
        let policy = self.inner.policy.load();
        let can_build = |candidate: &Candidate| {
            candidate.factory().is_some_and(|path| {
                policy.check(path).is_ok() && self.inner.factories.get(path).is_some()
            })
        };
        DependencyFaults::of(&self.inner.registry.snapshot(), can_build)
    }

    /// How many steps there are now, of each kind.
    pub fn steps(&self) -> Vec<StepLoad> {
        self.inner.steps.load()
    }

    /// What happens from now on.
    pub fn events(&self) -> EventStream {
        self.inner.announcer.stream()
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("slots", &self.inner.slots.len())
            .finish_non_exhaustive()
    }
}
