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

    pub(crate) async fn use_cell(
        &self,
        cell: &Arc<SlotCell>,
    ) -> Result<SwapReport, LifecycleError> {
        let attempts = cell.ledger().attempts;
        self.run(Arc::clone(cell), Ask::Use { attempts }).await
    }

    pub(crate) async fn run(
        &self,
        cell: Arc<SlotCell>,
        ask: Ask,
    ) -> Result<SwapReport, LifecycleError> {
        let span = ask.span(&cell.slot);
        self.in_turn(cell, |inner, cell, turn| {
            transition::run(inner, cell, ask, turn).instrument(span)
        })
        .await
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
        let stopped = LifecycleError::Stopped {
            slot: cell.slot.clone(),
        };
        let Some(inner) = self.inner.upgrade() else {
            return Err(stopped);
        };
        if inner.stopping.load(Ordering::Acquire) {
            return Err(stopped);
        }
        // Waited for here and not in the task: the queue then goes by who asked first, and a caller
        // that goes away while it waits leaves nothing behind, for nothing was begun.
        let turn = Arc::clone(&cell.turn).lock_owned().await;
        // A task of its own: a caller that goes away leaves no half-done transition behind.
        match tokio::spawn(work(inner, cell, turn)).await {
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
