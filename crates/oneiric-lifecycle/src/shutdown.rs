//! Taking everything down in order: who uses a component goes before the component.

mod ending;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oneiric_core::Slot;
use serde::Serialize;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ending::Ending;
use self::slot::{Stopped, stop};
use crate::cell::SlotCell;
use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;

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
    /// Takes down what came of one cell; the instance of a slot is named, one of its keys is not.
    fn note(&mut self, inner: &Inner, cell: &SlotCell, Stopped { retired, failures }: Stopped) {
        if retired && cell.key.is_none() {
            self.retired.push(cell.slot.clone());
        }
        let unfinished = failures.into_iter();
        let unfinished = unfinished.map(|failure| Unfinished::of(inner, cell, failure));
        self.unfinished.extend(unfinished);
    }
}

/// Something that did not finish in a shutdown.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Unfinished {
    /// Where.
    pub slot: Slot,
    /// Which of the slot's instances by key it is about, as it is shown; absent for the one that served the slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What, and why.
    #[serde(flatten)]
    pub failure: Failure,
}

impl Unfinished {
    fn of(inner: &Inner, cell: &SlotCell, failure: Failure) -> Self {
        Self {
            slot: cell.slot.clone(),
            key: cell.key.as_deref().map(|key| inner.redact.key(key)),
            failure,
        }
    }
}

impl Lifecycle {
    /// Refuses new work, lets running work finish, and retires every instance. A slot goes when all that need it are
    /// gone, so slots that have nothing to do with each other go at the same time, and one that hangs takes time only
    /// from those that it needs. No step takes longer than its own limit, and all together no longer than `grace` and a
    /// moment (50 ms for a step that is still to be told): what is not done by then is told to retire all the same and
    /// reported, and so are calls on instances that were exchanged before.
    ///
    /// Final: nothing can be activated afterwards. Whoever asks a second time waits for the same end and gets the same
    /// report. Of several grace periods the one that ends first holds, so `shutdown(Duration::ZERO)` cuts short what is
    /// under way.
    ///
    /// Cancel-safe: what was begun goes on.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let inner = self.inner();
        inner.stopping.store(true, Ordering::Release);
        inner.ending.within(grace);
        let mut turn = Arc::clone(&inner.ending.turn).lock_owned().await;
        if let Some(report) = &*turn {
            return report.clone();
        }
        // A task of its own: a caller that goes away leaves no half-retired instance behind.
        let all = Arc::clone(inner);
        let ended = tokio::spawn(async move {
            let report = stop_all(&all).await;
            *turn = Some(report.clone());
            report
        });
        match ended.await {
            Ok(report) => report,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_cancelled) => cut_off(inner),
        }
    }
}

async fn stop_all(inner: &Arc<Inner>) -> ShutdownReport {
    let mut report = ShutdownReport::default();
    let slots: BTreeSet<Slot> = inner
        .slots
        .iter()
        .map(|entry| entry.key().clone())
        .collect();
    let mut ended: BTreeMap<Slot, CancellationToken> = BTreeMap::new();
    let mut stops = JoinSet::new();
    for group in inner.graph.dependents_first(&slots) {
        // Nothing in a group waits for another of the same group.
        let mut ends = Vec::new();
        for slot in group {
            let Some(cell) = inner.existing_cell(&slot) else {
                continue;
            };
            let dependents = inner.graph.needed_by(&slot).into_iter();
            let before: Vec<_> = dependents
                .filter_map(|holder| ended.get(&holder).cloned())
                .collect();
            let end = CancellationToken::new();
            ends.push((slot, end.clone()));
            let inner = Arc::clone(inner);
            stops.spawn(async move {
                // Dropped in any case: whoever waits for this one must not wait for ever.
                let _ended = end.drop_guard();
                for dependent in before {
                    dependent.cancelled().await;
                }
                let stopped = stop_with_keys(&inner, &cell).await;
                inner.graph.forget(&cell.slot);
                stopped
            });
        }
        ended.extend(ends);
    }
    while let Some(stopped) = stops.join_next().await {
        for (cell, stopped) in ended_well(stopped).into_iter().flatten() {
            report.note(inner, &cell, stopped);
        }
    }
    report
}

/// Takes down what serves a slot, and its instances by key, which have the same place in the order.
async fn stop_with_keys(inner: &Arc<Inner>, cell: &Arc<SlotCell>) -> Vec<(Arc<SlotCell>, Stopped)> {
    let mut stops = JoinSet::new();
    let keys = inner.keyed_cells(|slot| *slot == cell.slot);
    for cell in keys.into_iter().chain([Arc::clone(cell)]) {
        let inner = Arc::clone(inner);
        stops.spawn(async move {
            let stopped = stop(&inner, &cell).await;
            (cell, stopped)
        });
    }
    let mut all = Vec::new();
    while let Some(stopped) = stops.join_next().await {
        all.extend(ended_well(stopped));
    }
    all
}

/// What a task of the shutdown came to; nothing, if the async runtime itself is going down.
fn ended_well<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(ended) => Some(ended),
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_cancelled) => None,
    }
}

/// The async runtime itself went down first: what served is named, for nobody retired it.
fn cut_off(inner: &Inner) -> ShutdownReport {
    let mut cells = inner.keyed_cells(|_| true);
    cells.extend(inner.slots.iter().map(|entry| Arc::clone(entry.value())));
    let serving = cells.iter().filter(|cell| cell.published().is_some());
    let unfinished = serving.map(|cell| {
        let failure = Failure::new(
            Stage::Retire,
            "lifecycle.stopped",
            "the async runtime went down first",
        );
        Unfinished::of(inner, cell, failure)
    });
    ShutdownReport {
        retired: Vec::new(),
        unfinished: unfinished.collect(),
    }
}
