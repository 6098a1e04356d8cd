//! The lifecycle: every slot of a program, and what can be asked of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use oneiric_core::{BoxFuture, FactoryPolicy, Query, Registered, Registry, Slot, WallClock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::{Activity, ActivityState};
use crate::builder::{LifecycleBuilder, ProviderSettings};
use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::facet::{FacetProxy, FacetType};
use crate::factory::FactoryTable;
use crate::graph::Graph;
use crate::health::Health;
use crate::hook::SwapHook;
use crate::instance::Instance;
use crate::lease::Lease;
use crate::limits::Limits;
use crate::live::Live;
use crate::observe::{Announcer, EventStream, Happening, SwapEvent};
use crate::report::{SwapReport, SwapRequest};
use crate::running::{Calls, Published, Running};
use crate::status::{HealthReport, SlotStatus};
use crate::step;
use crate::transition::{self, Ask};

/// Activates, exchanges and retires the components of a program.
///
/// Cheap to clone; all clones are the same lifecycle. Needs a tokio runtime with time enabled for
/// whatever activates, swaps, probes or shuts down.
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

    /// A handle to one slot, for those who call it often.
    pub fn slot(&self, slot: &Slot) -> SlotRef {
        SlotRef {
            wiring: Wiring::of(&self.inner),
            cell: self.inner.cell(slot),
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
    /// As [`Lifecycle::activate`]; `lifecycle.busy` when the slot is paused or draining.
    pub async fn lease(&self, slot: &Slot) -> Result<Lease, LifecycleError> {
        match self.inner.known_cell(slot) {
            Some(cell) => {
                SlotRef {
                    wiring: Wiring::of(&self.inner),
                    cell,
                }
                .ready()
                .await
            }
            // Asking for a name nobody knows must not leave anything behind.
            None => Err(self.inner.unresolved(slot)),
        }
    }

    /// Exchanges what serves a slot. Returns when the old instance is retired. Swaps of one slot run
    /// in the order they were asked for. Cancel-safe: what was begun goes on.
    ///
    /// A swap that fails while something serves is not an error but
    /// [`Outcome::RolledBack`](crate::Outcome::RolledBack).
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`; where and why the build failed if
    /// nothing served before.
    pub async fn swap(&self, request: SwapRequest) -> Result<SwapReport, LifecycleError> {
        match self.inner.known_cell(&request.slot) {
            Some(cell) => Wiring::of(&self.inner).run(cell, Ask::Swap(request)).await,
            None => Err(self.inner.unresolved(&request.slot)),
        }
    }

    /// Asks what serves `slot` how it is. A probe that fails, panics or answers too late is a bad
    /// answer, not an error.
    ///
    /// # Errors
    /// `lifecycle.not_active` when nothing serves.
    pub async fn probe(&self, slot: &Slot) -> Result<HealthReport, LifecycleError> {
        let not_active = || LifecycleError::NotActive { slot: slot.clone() };
        let cell = self.inner.existing_cell(slot).ok_or_else(not_active)?;
        let published = cell.published().ok_or_else(not_active)?;
        let running = Arc::clone(&published.running);
        // Counted like a call, so that the instance is not retired while it answers.
        let entrance = published.enter(0);
        drop(published);
        let report = self
            .inner
            .ask(&running)
            .await
            .unwrap_or_else(|| HealthReport {
                slot: slot.clone(),
                provider: running.candidate.provider().clone(),
                instance: running.number,
                health: None,
                took: Duration::ZERO,
                at: self.inner.clock.now(),
            });
        drop(entrance);
        let mut ledger = cell.ledger();
        let serves = cell
            .published()
            .is_some_and(|now| now.running.number == running.number);
        if serves {
            ledger.health = Some(report.clone());
        }
        drop(ledger);
        Ok(report)
    }

    /// Pauses, drains or resumes a slot, at once for every lease asked for after this returns.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot.
    pub fn set_activity(
        &self,
        slot: &Slot,
        activity: Activity,
        note: Option<String>,
        who: Option<String>,
    ) -> Result<ActivityState, LifecycleError> {
        let cell = self
            .inner
            .known_cell(slot)
            .ok_or_else(|| self.inner.unresolved(slot))?;
        let state = ActivityState {
            activity,
            note,
            who,
            since: Some(self.inner.clock.now()),
        };
        cell.set_activity(state.clone());
        self.inner
            .announce(slot, Happening::ActivityChanged { activity });
        Ok(state)
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

    /// The slots whose instance needs `slot`.
    pub fn holders(&self, slot: &Slot) -> Vec<Slot> {
        self.inner.graph.holders(slot)
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

/// One slot of a lifecycle; cheap to clone, and the quickest way to a lease.
#[derive(Debug, Clone)]
pub struct SlotRef {
    wiring: Wiring,
    cell: Arc<SlotCell>,
}

impl SlotRef {
    /// Which slot.
    pub fn slot(&self) -> &Slot {
        &self.cell.slot
    }

    /// Leases what serves now. Never waits.
    ///
    /// # Errors
    /// `lifecycle.not_active`, `lifecycle.busy`, `lifecycle.stopped`.
    pub fn lease(&self) -> Result<Lease, LifecycleError> {
        match self.cell.enter() {
            Ok(entrance) => Ok(Lease::new(entrance)),
            Err(refusal) => Err(LifecycleError::refused(&self.cell, refusal)),
        }
    }

    /// Leases what serves, activating the slot first if nothing does. Cancel-safe.
    ///
    /// # Errors
    /// As [`SlotRef::lease`], and why the slot could not be activated.
    pub async fn ready(&self) -> Result<Lease, LifecycleError> {
        match self.lease() {
            Err(LifecycleError::NotActive { .. }) => {
                self.wiring.use_cell(&self.cell).await?;
                self.lease()
            }
            other => other,
        }
    }
}

/// The lifecycle as seen from what it built: a reference that does not keep it alive.
#[derive(Clone)]
pub(crate) struct Wiring {
    inner: Weak<Inner>,
}

impl Wiring {
    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self {
            inner: Arc::downgrade(inner),
        }
    }

    pub(crate) fn live<T: ?Sized + Send + Sync + 'static>(&self, slot: &Slot) -> Live<T> {
        let cell = match self.inner.upgrade() {
            Some(inner) => inner.cell(slot),
            None => {
                let cell = Arc::new(SlotCell::new(slot.clone()));
                cell.stop();
                cell
            }
        };
        Live::new(self.clone(), cell.hold(FacetType::of::<T>()))
    }

    /// Boxed because activations call each other: a candidate's dependencies come up first.
    pub(crate) fn activate<'a>(
        &'a self,
        slot: &'a Slot,
    ) -> BoxFuture<'a, Result<SwapReport, LifecycleError>> {
        Box::pin(async move {
            let stopped = || LifecycleError::Stopped { slot: slot.clone() };
            let inner = self.inner.upgrade().ok_or_else(stopped)?;
            let cell = inner
                .known_cell(slot)
                .ok_or_else(|| inner.unresolved(slot))?;
            drop(inner);
            self.use_cell(&cell).await
        })
    }

    async fn use_cell(&self, cell: &Arc<SlotCell>) -> Result<SwapReport, LifecycleError> {
        let attempts = cell.ledger().attempts;
        self.run(Arc::clone(cell), Ask::Use { attempts }).await
    }

    async fn run(&self, cell: Arc<SlotCell>, ask: Ask) -> Result<SwapReport, LifecycleError> {
        let stopped = LifecycleError::Stopped {
            slot: cell.slot.clone(),
        };
        let Some(inner) = self.inner.upgrade() else {
            return Err(stopped);
        };
        if inner.stopping.load(Ordering::Acquire) {
            return Err(stopped);
        }
        // A task of its own: a caller that goes away leaves no half-done transition behind.
        match tokio::spawn(transition::run(inner, cell, ask)).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The async runtime itself is going down.
            Err(_cancelled) => Err(stopped),
        }
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiring")
    }
}

/// What all clones of a lifecycle, its transitions and its live references share.
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    pub(crate) factories: FactoryTable,
    pub(crate) policy: FactoryPolicy,
    pub(crate) settings: Arc<dyn ProviderSettings>,
    pub(crate) limits: Limits,
    pub(crate) proxies: Vec<FacetProxy>,
    pub(crate) hooks: Vec<Arc<dyn SwapHook>>,
    pub(crate) announcer: Announcer,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) slots: DashMap<Slot, Arc<SlotCell>>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) stopping: AtomicBool,
    pub(crate) instances: AtomicU64,
}

impl Inner {
    /// The slot's cell, made if need be: for names that the program itself states.
    fn cell(&self, slot: &Slot) -> Arc<SlotCell> {
        if let Some(cell) = self.existing_cell(slot) {
            return cell;
        }
        let entry = self.slots.entry(slot.clone());
        let cell = Arc::clone(&entry.or_insert_with(|| Arc::new(SlotCell::new(slot.clone()))));
        if self.stopping.load(Ordering::Acquire) {
            cell.stop();
        }
        cell
    }

    pub(crate) fn existing_cell(&self, slot: &Slot) -> Option<Arc<SlotCell>> {
        self.slots.get(slot).map(|cell| Arc::clone(&cell))
    }

    /// The slot's cell, for names that come from outside: only if somebody registered a candidate
    /// or the program uses the slot, so that no caller can fill the memory with names.
    fn known_cell(&self, slot: &Slot) -> Option<Arc<SlotCell>> {
        self.existing_cell(slot)
            .or_else(|| self.is_registered(slot).then(|| self.cell(slot)))
    }

    fn is_registered(&self, slot: &Slot) -> bool {
        let query = Query::new(slot.clone());
        self.registry
            .read(|snapshot| !snapshot.resolve_all(&query).is_empty())
    }

    fn is_known(&self, slot: &Slot) -> bool {
        self.slots.contains_key(slot) || self.is_registered(slot)
    }

    pub(crate) fn known_slots(&self) -> BTreeSet<Slot> {
        let registered = self.registry.snapshot();
        let mut slots: BTreeSet<Slot> = registered.slots().cloned().collect();
        slots.extend(self.slots.iter().map(|entry| entry.key().clone()));
        slots
    }

    fn unresolved(&self, slot: &Slot) -> LifecycleError {
        match self.registry.resolve(&Query::new(slot.clone())) {
            Err(error) => LifecycleError::Unresolved(error),
            // Registered between two looks; whoever asks again finds it.
            Ok(_) => LifecycleError::NotActive { slot: slot.clone() },
        }
    }

    /// Gives a built instance its number.
    pub(crate) fn admit(
        &self,
        candidate: Registered,
        instance: Instance,
        calls: Arc<Calls>,
    ) -> Running {
        let number = self.instances.fetch_add(1, Ordering::Relaxed) + 1;
        Running::new(number, candidate, instance, &self.proxies, calls)
    }

    /// Asks an instance how it is; `None` when it has no probe.
    pub(crate) async fn ask(&self, running: &Arc<Running>) -> Option<HealthReport> {
        let probe = Arc::clone(running.probe.as_ref()?);
        let limit = self.limits.probe;
        let begun = Instant::now();
        let question = move || async move { probe.probe().await };
        let answer = step::run(limit, CancellationToken::new(), question, |_| async {}).await;
        let health = answer.unwrap_or_else(|error| {
            Health::ProbeError(Failure::step(Stage::Probe, limit, error).message)
        });
        let provider = running.candidate.provider().clone();
        self.announce(
            running.candidate.slot(),
            Happening::Probed {
                provider: provider.clone(),
                instance: running.number,
                health: health.clone(),
            },
        );
        Some(HealthReport {
            slot: running.candidate.slot().clone(),
            provider,
            instance: running.number,
            health: Some(health),
            took: begun.elapsed(),
            at: self.clock.now(),
        })
    }

    /// Waits until no lease on `old` is out, for at most `limit`.
    pub(crate) async fn drain(
        &self,
        cell: &SlotCell,
        old: Arc<Published>,
        limit: Duration,
    ) -> Option<Failure> {
        let (term, running, tally) = (Arc::clone(&old.term), Arc::clone(&old.running), old.tally());
        drop(old);
        let ended = tokio::time::timeout(limit, term.over()).await;
        let in_flight = tally.in_flight();
        running.revoke();
        cell.ledger().drained(running.number);
        if ended.is_ok() {
            return None;
        }
        let provider = running.candidate.provider().clone();
        let failure = Failure::new(
            Stage::Drain,
            "lifecycle.drain_abandoned",
            format_args!("{in_flight} call(s) on {provider} were not done in time"),
        );
        let instance = running.number;
        let what = Happening::DrainAbandoned {
            provider,
            instance,
            in_flight,
        };
        self.announce(&cell.slot, what);
        Some(failure)
    }

    /// Lets an instance clean up. Does nothing the second time.
    pub(crate) async fn retire(&self, running: &Running) -> Result<(), Failure> {
        self.retire_within(running, self.limits.retire).await
    }

    pub(crate) async fn retire_within(
        &self,
        running: &Running,
        limit: Duration,
    ) -> Result<(), Failure> {
        let Some(role) = running.take_retirement() else {
            return Ok(());
        };
        running.revoke();
        let result = match role {
            None => Ok(()),
            Some(role) => {
                let clean_up = move || async move { role.retire().await };
                match step::run(limit, CancellationToken::new(), clean_up, |_| async {}).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(message)) => Err(Failure::new(
                        Stage::Retire,
                        "lifecycle.retire_failed",
                        message,
                    )),
                    Err(error) => Err(Failure::step(Stage::Retire, limit, error)),
                }
            }
        };
        let provider = running.candidate.provider().clone();
        let instance = running.number;
        self.announce(
            running.candidate.slot(),
            Happening::Retired { provider, instance },
        );
        result
    }

    pub(crate) fn book_retired(&self, cell: &SlotCell, running: &Running) {
        tracing::debug!(slot = %cell.slot, instance = running.number, "instance retired");
        cell.ledger().swaps.retired += 1;
    }

    pub(crate) fn announce(&self, slot: &Slot, what: Happening) {
        self.announcer.announce(SwapEvent {
            slot: slot.clone(),
            at: self.clock.now(),
            what,
        });
    }
}
