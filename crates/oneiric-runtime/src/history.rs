//! From the events of transitions to the store of their history, without a transition ever waiting for a disk.
//!
//! An observer puts what ended into a heap for each slot; one task takes all heaps at once and writes them as one
//! batch, as soon as the batch before is written. A heap keeps exact counts and as many entries as a store would keep,
//! so that nothing which would be remembered is lost, however long a disk takes nothing: what could not be written is
//! put back and offered again. Only with very many slots are entries left out; that is counted and logged.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use oneiric_core::{Coded, Slot};
use oneiric_lifecycle::{
    HISTORY_KEPT, HistoryEntry, SlotHistory, StatusStore, StoreError, SwapEvent,
};
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify, watch},
    task::JoinHandle,
};

use crate::offload::blocking;

/// Entries of all slots that wait to be written.
const MAX_WAITING: usize = 20_000;
/// Until what a store refused is offered again, if nothing new is offered before.
const RETRY: Duration = Duration::from_secs(5);

/// The way of a runtime's history to its store. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct History {
    heap: Arc<Heap>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Heap {
    waiting: Mutex<Waiting>,
    more: Notify,
    /// The number of the last event that the store was asked to keep.
    offered: watch::Sender<u64>,
    /// Held while a batch is neither here nor, for certain, in the store.
    passing: AsyncMutex<()>,
}

#[derive(Default)]
struct Waiting {
    slots: BTreeMap<Slot, SlotHistory>,
    entries: usize,
    /// Events so far.
    events: u64,
    left_out: u64,
    /// Of those, how many the log knows of.
    told: u64,
    writes: bool,
    ending: bool,
    refused: Option<StoreError>,
}

/// What waits to be written, and why it does.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) slots: BTreeMap<Slot, SlotHistory>,
    pub(crate) entries: usize,
    pub(crate) left_out: u64,
    pub(crate) refused: Option<StoreError>,
}

impl History {
    /// Is an observer of the lifecycle.
    pub(crate) fn note(&self, event: &SwapEvent) {
        let Some(entry) = HistoryEntry::of(event) else {
            return;
        };
        self.add(&event.slot, entry);
    }

    fn add(&self, slot: &Slot, entry: HistoryEntry) {
        let mut waiting = self.heap.waiting();
        waiting.events += 1;
        waiting.push(slot, entry);
        drop(waiting);
        self.heap.more.notify_one();
    }

    /// Begins to write to `store`.
    pub(crate) fn begin(&self, store: Arc<dyn StatusStore>) {
        self.heap.waiting().writes = true;
        let heap = Arc::clone(&self.heap);
        *lock(&self.writer) = Some(tokio::spawn(write(heap, store)));
    }

    /// Waits until the store was asked to keep everything that has happened by now; whether it did is in the
    /// [backlog](History::backlog). Cancel-safe.
    pub(crate) async fn offered(&self) {
        let wanted = {
            let waiting = self.heap.waiting();
            if !waiting.writes {
                return;
            }
            waiting.events
        };
        let mut offered = self.heap.offered.subscribe();
        // The sender is in the heap, which is here.
        let _here = offered.wait_for(|offered| *offered >= wanted).await;
    }

    /// Keeps batches from passing to the store: as long as this is held, whatever happened is either in the
    /// [backlog](History::backlog) or in the store, and in one of them only. Cancel-safe.
    pub(crate) async fn hold_still(&self) -> AsyncMutexGuard<'_, ()> {
        self.heap.passing.lock().await
    }

    /// Writes what is left, once, and ends.
    pub(crate) async fn end(&self) {
        self.heap.waiting().ending = true;
        self.heap.more.notify_one();
        let writer = lock(&self.writer).take();
        if let Some(Err(error)) = match writer {
            Some(writer) => Some(writer.await),
            None => None,
        } {
            tracing::error!(
                reason = error.to_string(),
                "the writer of the history failed"
            );
        }
        let left = self.heap.waiting().entries;
        if left > 0 {
            tracing::error!(entries = left, "history that could not be written is lost");
        }
    }

    pub(crate) fn backlog(&self) -> Backlog {
        let waiting = self.heap.waiting();
        Backlog {
            slots: waiting.slots.clone(),
            entries: waiting.entries,
            left_out: waiting.left_out,
            refused: waiting.refused.clone(),
        }
    }
}

async fn write(heap: Arc<Heap>, store: Arc<dyn StatusStore>) {
    let _ended = Ends(Arc::clone(&heap));
    loop {
        let passing = heap.passing.lock().await;
        let (batch, events, ending) = heap.waiting().take();
        let refused = if batch.is_empty() {
            None
        } else {
            offer(&store, &batch).await.err()
        };
        let refuses = refused.is_some();
        heap.written(batch, refused);
        drop(passing);
        heap.offered.send_replace(events);
        if ending {
            return;
        }
        if refuses {
            // What comes meanwhile is another reason to try.
            let _either = tokio::time::timeout(RETRY, heap.more.notified()).await;
        } else {
            heap.more.notified().await;
        }
    }
}

/// However the writer ends, nobody waits for it any more: not those who come later, nor those who wait for what
/// happened during its last batch.
struct Ends(Arc<Heap>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.waiting().writes = false;
        self.0.offered.send_replace(u64::MAX);
    }
}

async fn offer(store: &Arc<dyn StatusStore>, batch: &[SlotHistory]) -> Result<(), StoreError> {
    let (store, batch) = (Arc::clone(store), batch.to_vec());
    blocking(move || store.append(&batch)).await
}

impl Heap {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    fn written(&self, batch: Vec<SlotHistory>, refused: Option<StoreError>) {
        let mut waiting = self.waiting();
        match &refused {
            Some(error) => {
                let known = waiting.refused.as_ref().map(Coded::code) == Some(error.code());
                if !known {
                    let (code, entries) = (error.code(), batch.len());
                    tracing::warn!(
                        code,
                        reason = error.to_string(),
                        slots = entries,
                        "history is not written, and kept to be"
                    );
                }
                waiting.put_back(batch);
            }
            None if waiting.refused.is_some() => tracing::info!("history is written again"),
            None => {}
        }
        waiting.refused = refused;
        let untold = waiting.left_out - waiting.told;
        if untold > 0 {
            waiting.told = waiting.left_out;
            tracing::warn!(
                entries = untold,
                "entries of the history were left out; its counts are right"
            );
        }
    }
}

impl Waiting {
    fn push(&mut self, slot: &Slot, entry: HistoryEntry) {
        let full = self.entries >= MAX_WAITING;
        let heap = self
            .slots
            .entry(slot.clone())
            .or_insert_with(|| SlotHistory::new(slot.clone()));
        heap.push(entry);
        self.entries += 1;
        if heap.entries.len() > HISTORY_KEPT {
            // It would be forgotten as soon as it is written.
            heap.entries.remove(0);
            self.entries -= 1;
        } else if full {
            heap.entries.remove(0);
            self.entries -= 1;
            self.left_out += 1;
        }
    }

    fn take(&mut self) -> (Vec<SlotHistory>, u64, bool) {
        self.entries = 0;
        let batch = std::mem::take(&mut self.slots).into_values().collect();
        (batch, self.events, self.ending)
    }

    /// What was not written goes before what came meanwhile.
    fn put_back(&mut self, batch: Vec<SlotHistory>) {
        for mut earlier in batch {
            let Some(later) = self.slots.remove(&earlier.slot) else {
                self.entries += earlier.entries.len();
                self.slots.insert(earlier.slot.clone(), earlier);
                continue;
            };
            self.entries -= later.entries.len();
            earlier.counts += later.counts;
            earlier.entries.extend(later.entries);
            let too_many = earlier.entries.len().saturating_sub(HISTORY_KEPT);
            earlier.entries.drain(..too_many);
            self.entries += earlier.entries.len();
            self.slots.insert(earlier.slot.clone(), earlier);
        }
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            offered: watch::Sender::new(0),
            passing: AsyncMutex::default(),
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc, time::SystemTime};

    use oneiric_lifecycle::Ended;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;

    /// Says when a batch is there, and takes it when it is told to.
    struct Slow {
        there: UnboundedSender<usize>,
        take: Mutex<mpsc::Receiver<()>>,
    }

    fn slow() -> (Arc<Slow>, UnboundedReceiver<usize>, mpsc::Sender<()>) {
        let ((there, is_there), (taken, take)) = (unbounded_channel(), mpsc::channel());
        let take = Mutex::new(take);
        (Arc::new(Slow { there, take }), is_there, taken)
    }

    impl StatusStore for Slow {
        fn load(&self, _: Option<&Slot>) -> Result<Vec<SlotHistory>, StoreError> {
            Ok(Vec::new())
        }

        fn append(&self, batch: &[SlotHistory]) -> Result<(), StoreError> {
            let _told = self.there.send(batch.len());
            let _taken = lock(&self.take).recv();
            Ok(())
        }
    }

    fn happens(history: &History) {
        let provider = "a".parse().unwrap();
        let entry = HistoryEntry::new(SystemTime::UNIX_EPOCH, Ended::Retired, provider);
        history.add(&"adapter/cache".parse().unwrap(), entry);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_what_happens_during_the_last_batch() {
        let history = History::default();
        let (store, mut is_there, take) = slow();
        happens(&history);
        history.heap.waiting().ending = true;
        history.begin(store);
        assert_eq!(is_there.recv().await, Some(1));
        happens(&history);
        let mut waits = pin!(history.offered());
        tokio::select! {
            biased;
            () = &mut waits => {}
            () = std::future::ready(()) => {}
        }
        take.send(()).unwrap();
        history.end().await;
        let all = async {
            waits.await;
            history.offered().await;
        };
        let outer = Duration::from_secs(30);
        tokio::time::timeout(outer, all).await.unwrap();
        assert_eq!(history.backlog().entries, 1, "it is not hidden either");
    }
}
