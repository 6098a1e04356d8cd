//! Taking one slot's instance out of service while the others go on: what becomes of a slot that nobody has a
//! candidate for any more. Unlike a shutdown it is not for good: whoever uses the slot activates it anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use oneiric_core::{Provider, Slot};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use crate::bake::Order;
use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError};
use crate::inner::Inner;
use crate::judge::Judge;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::state::Move;

/// An instance that was taken out of service.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Deactivated {
    /// The slot, which has no instance now.
    pub slot: Slot,
    /// Whose it was.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// What went wrong while it was drained and retired. It is gone all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Failure>,
}

impl Lifecycle {
    /// Returns when whatever was being done to `slot` when this was asked for is over, and the instances that were
    /// exchanged are retired, but for one that is kept warm. Cancel-safe.
    pub async fn settled(&self, slot: &Slot) {
        if let Some(cell) = self.inner().existing_cell(slot) {
            drop(cell.turn.lock().await);
            cell.left().await;
        }
    }

    /// Takes what serves `slot` out of service, lets its work finish, and retires it; `None` when nothing serves.
    /// Runs in turn with swaps of the slot. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// `lifecycle.in_use` when the instance of another slot needs this one; `lifecycle.stopped`.
    pub async fn deactivate(&self, slot: &Slot) -> Result<Option<Deactivated>, LifecycleError> {
        let inner = self.inner();
        let Some(cell) = inner.existing_cell(slot) else {
            return Ok(None);
        };
        let stopped = LifecycleError::Stopped { slot: slot.clone() };
        if inner.stopping.load(Ordering::Acquire) {
            return Err(stopped);
        }
        let turn = Arc::clone(&cell.turn).lock_owned().await;
        // A task of its own: a caller that goes away leaves no half-retired instance behind.
        match tokio::spawn(run(Arc::clone(inner), cell, turn)).await {
            Ok(result) => result,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The async runtime itself is going down.
            Err(_cancelled) => Err(stopped),
        }
    }
}

/// Takes out of service what serves a slot whose turn has come.
pub(crate) async fn run(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    _turn: OwnedMutexGuard<()>,
) -> Result<Option<Deactivated>, LifecycleError> {
    let slot = cell.slot.clone();
    if cell.is_stopped() {
        return Err(LifecycleError::Stopped { slot });
    }
    if cell.published().is_none() {
        return Ok(None);
    }
    let leaving = match inner.graph.leave(&slot) {
        Ok(leaving) => leaving,
        Err(holders) => return Err(LifecycleError::InUse { slot, holders }),
    };
    let was = inner.take_out_of_service(&cell);
    let Some(published) = was.published else {
        return Ok(None);
    };
    let running = Arc::clone(&published.running);
    drop(published);
    // What is kept warm has nothing to take over any more, and what leaves is not asked how it is.
    let bake = cell.take_bake();
    if let Some(bake) = &bake {
        bake.order(Order::Taken);
    }
    book(&inner, &cell);
    inner.announce_if_changed(&cell, &was.activity);
    let mut warnings = Vec::new();
    warnings.extend(inner.drain(&cell, &running, inner.limits().drain).await);
    warnings.extend(inner.retire(&running).await.err());
    inner.book_retired(&cell, &running);
    if let Some(bake) = bake {
        let drained = inner.drain(&cell, &bake.warm, inner.limits().drain);
        warnings.extend(drained.await);
        warnings.extend(inner.retire(&bake.warm).await.err());
        inner.book_retired(&cell, &bake.warm);
    }
    drop(leaving);
    for failure in &warnings {
        let failure = failure.clone();
        inner.announce(&slot, Happening::Warned { failure });
    }
    Ok(Some(Deactivated {
        slot,
        provider: running.candidate.provider().clone(),
        instance: running.number,
        warnings,
    }))
}

/// Nothing serves any more, and what served finishes its work.
fn book(inner: &Inner, cell: &SlotCell) {
    let at = inner.clock.now();
    let mut ledger = cell.ledger();
    ledger.step(Move::Deactivate, at);
    ledger.health = None;
    ledger.forced = None;
    ledger.judge = Judge::default();
    ledger.placed = None;
    ledger.failed_over = None;
    ledger.hands += 1;
}
