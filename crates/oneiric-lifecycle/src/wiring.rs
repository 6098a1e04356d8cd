//! The way from what was built back to the lifecycle, and the one place where transitions begin.

use std::fmt;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use oneiric_core::{BoxFuture, Slot};
use tokio::sync::OwnedMutexGuard;
use tracing::Instrument;

use crate::activity::Effective;
use crate::cell::SlotCell;
use crate::error::LifecycleError;
use crate::facet::FacetType;
use crate::inner::Inner;
use crate::live::Live;
use crate::report::SwapReport;
use crate::state::SlotState;
use crate::transition::{self, Ask};

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

    /// The lifecycle, while there is one.
    pub(crate) fn inner(&self) -> Option<Arc<Inner>> {
        self.inner.upgrade()
    }

    pub(crate) fn live<T: ?Sized + Send + Sync + 'static>(&self, slot: &Slot) -> Live<T> {
        let cell = match self.inner.upgrade() {
            Some(inner) => inner.cell(slot),
            None => {
                let cell = Arc::new(SlotCell::new(slot.clone(), Effective::running()));
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

    /// Makes sure that something serves. What serves already is not waited for, whatever is being done to the slot; else
    /// it is the slot's turn that is waited for, or somebody else who puts something in service.
    pub(crate) async fn use_cell(
        &self,
        cell: &Arc<SlotCell>,
    ) -> Result<SwapReport, LifecycleError> {
        let attempts = cell.ledger().attempts;
        let inner = self.running(cell)?;
        if cell.is_stopped() {
            return Err(stopped(cell));
        }
        let serves = || {
            let published = cell.published()?;
            // What was put in service and is not in the books yet, or is being taken out of service, is waited for.
            let booked = [SlotState::Active, SlotState::Swapping].contains(&cell.ledger().state);
            let stays = booked && !inner.graph.is_leaving(&cell.slot);
            stays.then(|| transition::unchanged(&published.running.candidate))
        };
        if let Some(report) = serves() {
            return Ok(report);
        }
        let waits = cell.waiting.begin(&inner.bell);
        let turn = tokio::select! {
            biased;
            turn = Arc::clone(&cell.turn).lock_owned() => turn,
            report = cell.arrives(serves) => return Ok(report),
        };
        drop(waits);
        let ask = Ask::Use { attempts };
        let span = ask.span(&cell.slot);
        self.with_turn(Arc::clone(cell), turn, |inner, cell, turn| {
            transition::run(inner, cell, ask, turn).instrument(span)
        })
        .await
    }

    pub(crate) async fn run(
        &self,
        cell: Arc<SlotCell>,
        ask: Ask,
    ) -> Result<SwapReport, LifecycleError> {
        let span = ask.span(&cell.slot);
        self.in_turn_to_swap(cell, |inner, cell, turn| {
            transition::run(inner, cell, ask, turn).instrument(span)
        })
        .await
    }

    /// Does `work` on a slot when everything that was asked for before is done, and not too many exchanged instances
    /// are left: what somebody asked for, and not what the slot needs.
    pub(crate) async fn in_turn_to_swap<T, Fut>(
        &self,
        cell: Arc<SlotCell>,
        work: impl FnOnce(Arc<Inner>, Arc<SlotCell>, OwnedMutexGuard<()>) -> Fut,
    ) -> Result<T, LifecycleError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, LifecycleError>> + Send + 'static,
    {
        self.running(&cell)?;
        let turn = cell.turn_to_swap().await;
        self.with_turn(cell, turn, work).await
    }

    /// Does `work` on a slot when everything that was asked for before is done.
    pub(crate) async fn in_turn<T, Fut>(
        &self,
        cell: Arc<SlotCell>,
        work: impl FnOnce(Arc<Inner>, Arc<SlotCell>, OwnedMutexGuard<()>) -> Fut,
    ) -> Result<T, LifecycleError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, LifecycleError>> + Send + 'static,
    {
        self.running(&cell)?;
        // Waited for here and not in the task: the queue then goes by who asked first, and a caller
        // that goes away while it waits leaves nothing behind, for nothing was begun.
        let turn = Arc::clone(&cell.turn).lock_owned().await;
        self.with_turn(cell, turn, work).await
    }

    /// Does `work` in a slot's turn that has come.
    async fn with_turn<T, Fut>(
        &self,
        cell: Arc<SlotCell>,
        turn: OwnedMutexGuard<()>,
        work: impl FnOnce(Arc<Inner>, Arc<SlotCell>, OwnedMutexGuard<()>) -> Fut,
    ) -> Result<T, LifecycleError>
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, LifecycleError>> + Send + 'static,
    {
        let inner = self.inner.upgrade().ok_or_else(|| stopped(&cell))?;
        // A task of its own: a caller that goes away leaves no half-done transition behind.
        match tokio::spawn(work(inner, Arc::clone(&cell), turn)).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The async runtime itself is going down.
            Err(_cancelled) => Err(stopped(&cell)),
        }
    }

    /// The lifecycle, if it is there and not shutting down.
    fn running(&self, cell: &SlotCell) -> Result<Arc<Inner>, LifecycleError> {
        let inner = self.inner.upgrade();
        let running = inner.filter(|inner| !inner.stopping.load(Ordering::Acquire));
        running.ok_or_else(|| stopped(cell))
    }
}

fn stopped(cell: &SlotCell) -> LifecycleError {
    LifecycleError::Stopped {
        slot: cell.slot.clone(),
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wiring")
    }
}
