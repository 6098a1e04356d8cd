//! Taking everything down in order: who uses a component goes before the component.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::Slot;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bake::Order;
use crate::care::abandoned;
use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::state::Move;

/// What came of a shutdown.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Slots whose instance was retired, in the order it was done.
    pub retired: Vec<Slot>,
    /// What did not finish, or failed.
    pub unfinished: Vec<Unfinished>,
}

impl ShutdownReport {
    /// Whether everything was retired cleanly and in time.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty()
    }
}

impl ShutdownReport {
    fn note(&mut self, slot: &Slot, failures: Vec<Failure>) {
        let unfinished = |failure| Unfinished {
            slot: slot.clone(),
            failure,
        };
        self.unfinished.extend(failures.into_iter().map(unfinished));
    }
}

/// Something that did not finish in a shutdown.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Unfinished {
    /// Where.
    pub slot: Slot,
    /// What, and why.
    #[serde(flatten)]
    pub failure: Failure,
}

impl Lifecycle {
    /// Refuses new work, lets running work finish, and retires every instance, dependents before
    /// what they depend on, all within `grace`. Whatever is not done by then is told to retire all
    /// the same and reported, and so are calls on instances that were exchanged before. Final: nothing
    /// can be activated afterwards.
    ///
    /// Not cancel-safe: dropped half-way, some instances stay up. A second call finishes the work.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let deadline = Instant::now() + grace;
        let inner = self.inner();
        inner.stopping.store(true, Ordering::Release);
        let slots: BTreeSet<Slot> = inner
            .slots
            .iter()
            .map(|entry| entry.key().clone())
            .collect();
        let mut report = ShutdownReport::default();
        // Nobody needs them, and they may need what serves slots.
        let mut stops = JoinSet::new();
        for cell in inner.keyed_cells(|_| true) {
            stops.spawn(stop(Arc::clone(inner), cell, deadline));
        }
        for (slot, _, failures) in stops.join_all().await {
            report.note(&slot, failures);
        }
        for group in inner.graph.dependents_first(&slots) {
            let mut stops = JoinSet::new();
            for slot in group {
                if let Some(cell) = inner.existing_cell(&slot) {
                    stops.spawn(stop(Arc::clone(inner), cell, deadline));
                }
            }
            for (slot, retired, failures) in stops.join_all().await {
                inner.graph.forget(&slot);
                if retired {
                    report.retired.push(slot.clone());
                }
                report.note(&slot, failures);
            }
        }
        report
    }
}

/// Takes one slot down; says whether there was an instance and what went wrong.
async fn stop(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    deadline: Instant,
) -> (Slot, bool, Vec<Failure>) {
    let mut failures = Vec::new();
    let left = |limit: Duration| limit.min(deadline.saturating_duration_since(Instant::now()));
    cell.ledger().step(Move::Stop, inner.clock.now());
    cell.stop();
    // A transition under way ends by itself: it finds the slot stopped and takes back what it built.
    let turn = tokio::time::timeout_at(deadline, cell.turn.lock()).await;
    // Of earlier swaps: instances that were retired under their leases, and those whose work is waited for by a swap
    // that has not ended. The latter are retired here, because nobody waits for that swap any more.
    let left_behind = cell.ledger().left_behind();
    for (provider, instance, held) in left_behind {
        failures.push(abandoned(&held, &provider, instance));
    }
    let active = cell.published().map(|published| published.running.number);
    let mut finishing = cell.ledger().finishing();
    let warm = cell.bake().map(|bake| bake.warm.number);
    finishing.retain(|running| ![active, warm].contains(&Some(running.number)));
    for running in &finishing {
        failures.extend(inner.abandon(&cell, running));
        let retired = inner.retire_within(running, left(inner.limits().retire));
        failures.extend(retired.await.err());
    }
    if turn.is_err() && finishing.is_empty() {
        failures.push(Failure::new(
            Stage::Publish,
            "lifecycle.timed_out",
            "a transition was still under way when the grace period ended",
        ));
    }
    // A factory that was told to stop and blocks its thread will still hand over an instance.
    for (provider, turn) in cell.builds_under_way() {
        if tokio::time::timeout_at(deadline, turn.lock())
            .await
            .is_err()
        {
            failures.push(Failure::new(
                Stage::Build,
                "lifecycle.timed_out",
                format_args!("the factory of {provider} is still at work"),
            ));
        }
    }
    // What is kept warm goes like what serves.
    if let Some(bake) = cell.take_bake() {
        bake.order(Order::Taken);
        let drained = inner.drain(&cell, &bake.warm, left(inner.limits().drain));
        failures.extend(drained.await);
        let retired = inner.retire_within(&bake.warm, left(inner.limits().retire));
        failures.extend(retired.await.err());
        inner.book_retired(&cell, &bake.warm);
    }
    let published = inner.take_out_of_service(&cell).published;
    let retired = published.is_some();
    if let Some(published) = published {
        let running = Arc::clone(&published.running);
        drop(published);
        failures.extend(
            inner
                .drain(&cell, &running, left(inner.limits().drain))
                .await,
        );
        failures.extend(
            inner
                .retire_within(&running, left(inner.limits().retire))
                .await
                .err(),
        );
        inner.book_retired(&cell, &running);
    }
    cell.ledger().step(Move::Stopped, inner.clock.now());
    (cell.slot.clone(), retired, failures)
}
