//! The keys that have an instance, those of which one is still going, and what is left behind.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use oneiric_core::Slot;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::Effective;
use crate::cell::SlotCell;

/// What there is by key.
pub(super) struct Entries {
    /// Those that are handed out, or are going to be. As many as there may be instances, and no more.
    pub(super) live: LruCache<Arc<str>, Arc<Entry>>,
    /// Those that nobody is handed any more, the latest last, until nothing is left of them.
    pub(super) going: Vec<Arc<Entry>>,
    /// Whose leases are out, or whose factory is at work, although nobody waits for that any more.
    left: Vec<Arc<SlotCell>>,
}

/// One key.
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    pub(super) cell: Arc<SlotCell>,
    times: Mutex<Times>,
    /// How often the slot was renewed when its instance began to be built.
    pub(super) renewals: AtomicU64,
    /// Cancelled when it is handed out no more: nothing is built in it from then on.
    pub(super) gone: CancellationToken,
    /// One of as many as there may be instances; from before one is built until it is retired.
    place: Mutex<Option<OwnedSemaphorePermit>>,
    /// Cancelled when nothing is left of the instance that the key had before, if that is still going.
    pub(super) before: Option<CancellationToken>,
    /// Cancelled when nothing is left of this.
    pub(super) over: CancellationToken,
}

pub(super) struct Times {
    pub(super) built: Instant,
    pub(super) used: Instant,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self {
            // What may be alive is bounded by entries that are made room for before they are put in.
            live: LruCache::unbounded(),
            going: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Cancelled when nothing is left of the instance of `key` that is going; `None` when none is.
    pub(super) fn going_for(&self, key: &str) -> Option<CancellationToken> {
        let of_key = |entry: &&Arc<Entry>| *entry.key == *key;
        let latest = self.going.iter().rev().find(of_key);
        latest.map(|entry| entry.over.clone())
    }

    /// Every cell in which something may be at work.
    pub(super) fn cells(&mut self) -> Vec<Arc<SlotCell>> {
        self.left.retain(|cell| is_at_work(cell));
        let live = self.live.iter().map(|(_, entry)| &entry.cell);
        let going = self.going.iter().map(|entry| &entry.cell);
        live.chain(going).chain(&self.left).cloned().collect()
    }

    /// Nobody waits any more for what may be left of it.
    pub(super) fn remove(&mut self, entry: &Arc<Entry>) {
        self.going.retain(|one| !Arc::ptr_eq(one, entry));
        self.left.retain(|cell| is_at_work(cell));
        if is_at_work(&entry.cell) {
            self.left.push(Arc::clone(&entry.cell));
        }
    }
}

/// Whether calls run on an instance that was retired under them, or a factory still builds one that nobody wants.
fn is_at_work(cell: &SlotCell) -> bool {
    !cell.builds_under_way().is_empty() || !cell.ledger().left_behind().is_empty()
}

impl Entry {
    pub(super) fn new(
        slot: &Slot,
        key: &Arc<str>,
        activity: Effective,
        before: Option<CancellationToken>,
    ) -> Self {
        let now = Instant::now();
        let cell = SlotCell::of_key(slot.clone(), Arc::clone(key), activity);
        Self {
            key: Arc::clone(key),
            cell: Arc::new(cell),
            times: Mutex::new(Times {
                built: now,
                used: now,
            }),
            renewals: AtomicU64::new(0),
            gone: CancellationToken::new(),
            place: Mutex::default(),
            before,
            over: CancellationToken::new(),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    pub(super) fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its turn, if nobody builds in it or has a lease; for whoever has the rules and the entries locked, so that
    /// nobody puts an instance in service or takes it out meanwhile.
    pub(super) fn unused(&self) -> Option<OwnedMutexGuard<()>> {
        let turn = Arc::clone(&self.cell.turn).try_lock_owned().ok()?;
        let published = self.cell.published();
        let in_use = published.is_some_and(|published| published.in_flight() > 0);
        // Whoever waited for one whose factory never ends would wait as long.
        let used = in_use || !self.cell.builds_under_way().is_empty();
        (!used).then_some(turn)
    }
}
