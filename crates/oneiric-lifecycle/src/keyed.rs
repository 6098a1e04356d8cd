//! One instance for each key (a tenant, a file, a connection), for components of which one serves one key.
//!
//! Each key has a cell of its own, like a slot: leases are counted, an instance is built once however many wait for it,
//! drained before it is retired, and retired once. The cells are in no map of slots: what there is of them is bounded,
//! the least recently used goes when another is wanted, and what is not used for a time goes by itself. What is built
//! is what serves the slot, or would: after a swap each key gets an instance of the new candidate when it is next
//! asked for.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lru::LruCache;
use oneiric_core::{Coded, Query, Registered, Slot};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::inner::Inner;
use crate::lease::Lease;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::running::{Published, Running};
use crate::state::Move;
use crate::transition::same_component;
use crate::wiring::Wiring;

/// How many instances by key there may be, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedLimits {
    /// So many at most, those that are being built or retired among them (64); one that is exchanged for a new one
    /// while it is leased is one more until its leases are back.
    pub instances: NonZeroUsize,
    /// One that nobody has leased for so long is retired (5 min); `None`: none is because of that.
    pub idle: Option<Duration>,
    /// One that is so old is exchanged for a new one when its key is next asked for, and retired when nobody does
    /// (`None`: never).
    pub age: Option<Duration>,
}

impl Default for KeyedLimits {
    fn default() -> Self {
        Self {
            instances: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            idle: Some(Duration::from_secs(300)),
            age: None,
        }
    }
}

/// The instances of a slot by key. Cheap to clone; all clones have the same instances.
///
/// Instances stay when the last clone goes, until their time is up or the lifecycle is shut down.
#[derive(Clone)]
pub struct Keyed {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    wiring: Wiring,
    slot: Slot,
    limits: KeyedLimits,
    entries: Mutex<LruCache<Arc<str>, Arc<Entry>>>,
    /// Somebody looks after those that are not used.
    swept: AtomicBool,
}

/// One key.
struct Entry {
    key: Arc<str>,
    cell: Arc<SlotCell>,
    times: Mutex<Times>,
    /// It is to be built anew when it is next asked for.
    stale: AtomicBool,
    /// It is not in the map any more: nothing is built in it.
    gone: AtomicBool,
    /// Cancelled when whoever made room for it is retired.
    room: CancellationToken,
}

struct Times {
    built: Instant,
    used: Instant,
}

/// An entry that was taken out of the map, and the turn in which nobody builds in it.
type Evicted = (Arc<Entry>, OwnedMutexGuard<()>);

impl Lifecycle {
    /// One instance of what serves `slot` for each key, within `limits`.
    pub fn keyed(&self, slot: &Slot, limits: KeyedLimits) -> Keyed {
        let shared = Arc::new(Shared {
            wiring: Wiring::of(self.inner()),
            slot: slot.clone(),
            // What may be alive is bounded by entries that are made room for before they are put in.
            entries: Mutex::new(LruCache::unbounded()),
            limits,
            swept: AtomicBool::new(false),
        });
        let mut keyed = self.inner().keyed();
        // Those that nobody has any more, and that have nothing any more.
        keyed.retain(|keyed| Arc::strong_count(keyed) > 1 || !keyed.entries().is_empty());
        keyed.push(Arc::clone(&shared));
        drop(keyed);
        Keyed { shared }
    }
}

impl Keyed {
    /// Leases the instance for `key`, which is built if there is none. Concurrent calls for one key share one build and
    /// its error. Where there are as many as may be, the least recently used one that nobody has leased makes room; it
    /// is retired before the new one is built. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `lifecycle.stopped`, `lifecycle.busy` when the slot is paused or draining,
    /// `lifecycle.keys_exhausted` when all that there may be are leased, or where and why the build failed.
    pub async fn lease(&self, key: &str) -> Result<Lease, LifecycleError> {
        loop {
            let entry = self.shared.entry(key)?;
            if !self.shared.is_current(&entry)? {
                self.shared.bring_up(&entry).await?;
            }
            match entry.cell.enter() {
                Ok(entrance) => {
                    entry.times().used = Instant::now();
                    return Ok(Lease::new(entrance));
                }
                // It made room for another in this very moment.
                Err(_) if entry.gone.load(Ordering::Acquire) => {}
                Err(refusal) => return Err(LifecycleError::refused(&entry.cell, refusal)),
            }
        }
    }

    /// How many keys have an instance, or are going to have one.
    pub fn len(&self) -> usize {
        self.shared.entries().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, the most recently used first.
    pub fn keys(&self) -> Vec<String> {
        let entries = self.shared.entries();
        entries.iter().map(|(key, _)| key.to_string()).collect()
    }

    /// Drains and retires the instance for `key`; `false` when there is none. Cancel-safe: what was begun goes on.
    pub async fn retire(&self, key: &str) -> bool {
        let Ok(inner) = self.shared.inner() else {
            return false;
        };
        let Some(entry) = self.shared.entries().pop(key) else {
            return false;
        };
        let retired = tokio::spawn(async move {
            entry.gone.store(true, Ordering::Release);
            // One that is being built is waited for.
            let turn = Arc::clone(&entry.cell.turn).lock_owned().await;
            retire(&inner, (entry, turn)).await;
        });
        retired.await.is_ok()
    }

    /// Has every key's instance built anew when it is next asked for, as after new settings.
    pub fn renew(&self) {
        self.shared.renew();
    }
}

impl Shared {
    fn inner(&self) -> Result<Arc<Inner>, LifecycleError> {
        let stopped = || LifecycleError::Stopped {
            slot: self.slot.clone(),
        };
        let inner = self.wiring.inner().ok_or_else(stopped)?;
        if inner.stopping.load(Ordering::Acquire) {
            return Err(stopped());
        }
        Ok(inner)
    }

    fn entries(&self) -> MutexGuard<'_, LruCache<Arc<str>, Arc<Entry>>> {
        // No foreign code runs under this lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn cells(&self) -> Vec<Arc<SlotCell>> {
        let entries = self.entries();
        entries
            .iter()
            .map(|(_, entry)| Arc::clone(&entry.cell))
            .collect()
    }

    pub(crate) fn renew(&self) {
        for (_, entry) in self.entries().iter() {
            entry.stale.store(true, Ordering::Release);
        }
    }

    /// The key's entry, made if need be.
    fn entry(self: &Arc<Self>, key: &str) -> Result<Arc<Entry>, LifecycleError> {
        if let Some(entry) = self.entries().get(key) {
            return Ok(Arc::clone(entry));
        }
        let inner = self.inner()?;
        // Locked until the cell can be found, so that no rule that is set meanwhile misses it.
        let rules = inner.rules();
        let mut entries = self.entries();
        if let Some(entry) = entries.get(key) {
            return Ok(Arc::clone(entry));
        }
        let evicted = if entries.len() >= self.limits.instances.get() {
            let evicted = entries.iter().rev().find_map(|(_, entry)| entry.evict());
            let evicted = evicted.ok_or_else(|| LifecycleError::KeysExhausted {
                slot: self.slot.clone(),
                limit: self.limits.instances,
            })?;
            entries.pop(&evicted.0.key);
            Some(evicted)
        } else {
            None
        };
        let key: Arc<str> = Arc::from(key);
        let now = Instant::now();
        let activity = rules.effective(&self.slot, None);
        let entry = Arc::new(Entry {
            key: Arc::clone(&key),
            cell: Arc::new(SlotCell::new(self.slot.clone(), activity)),
            times: Mutex::new(Times {
                built: now,
                used: now,
            }),
            stale: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            room: CancellationToken::new(),
        });
        entries.put(key, Arc::clone(&entry));
        drop((entries, rules));
        let room = entry.room.clone().drop_guard();
        if let Some(evicted) = evicted {
            // Whoever asked may go away meanwhile.
            tokio::spawn(async move {
                retire(&inner, evicted).await;
                drop(room);
            });
        }
        self.sweep();
        Ok(entry)
    }

    /// Who is to serve: whoever serves the slot, or would.
    fn target(&self, inner: &Inner) -> Result<Registered, LifecycleError> {
        let serving = inner
            .existing_cell(&self.slot)
            .and_then(|cell| cell.published());
        if let Some(published) = serving {
            return Ok(published.running.candidate.clone());
        }
        let query = Query::new(self.slot.clone());
        inner
            .registry
            .resolve(&query)
            .map_err(LifecycleError::Unresolved)
    }

    /// Whether the entry's instance is what it should be.
    fn is_current(&self, entry: &Entry) -> Result<bool, LifecycleError> {
        let Some(published) = entry.cell.published() else {
            return Ok(false);
        };
        let target = self.target(&*self.inner()?)?;
        Ok(same_component(&published.running.candidate, &target)
            && !entry.stale.load(Ordering::Acquire)
            && !self.is_old(entry))
    }

    fn is_old(&self, entry: &Entry) -> bool {
        self.limits
            .age
            .is_some_and(|age| entry.times().built.elapsed() >= age)
    }

    /// Builds the entry's instance in its turn, unless somebody just has.
    async fn bring_up(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<(), LifecycleError> {
        let attempts = entry.cell.ledger().attempts;
        let (shared, entry) = (Arc::clone(self), Arc::clone(entry));
        let cell = Arc::clone(&entry.cell);
        let work = move |inner, cell: Arc<SlotCell>, turn| async move {
            let _turn: OwnedMutexGuard<()> = turn;
            if entry.gone.load(Ordering::Acquire) || shared.is_current(&entry)? {
                return Ok(());
            }
            if let Some(failure) = cell.ledger().failure_since(attempts) {
                return Err(failure);
            }
            shared.build(&inner, &entry).await
        };
        self.wiring.in_turn(cell, work).await
    }

    async fn build(&self, inner: &Arc<Inner>, entry: &Entry) -> Result<(), LifecycleError> {
        let cell = &entry.cell;
        if cell.is_stopped() {
            let slot = self.slot.clone();
            return Err(LifecycleError::Stopped { slot });
        }
        entry.room.cancelled().await;
        let candidate = self.target(inner)?;
        let provider = candidate.provider().clone();
        let announce = |what| inner.announce_with_key(&self.slot, Some(&entry.key), what);
        announce(Happening::Building {
            provider: provider.clone(),
        });
        cell.ledger().step(Move::Begin, inner.clock.now());
        // Asked for before it is built: settings that change meanwhile make it stale again.
        entry.stale.store(false, Ordering::Release);
        let running = match self.construct(inner, entry, &candidate).await {
            Ok(running) => running,
            Err(failure) => {
                let failure = inner.redact.failure(failure);
                let error = LifecycleError::ActivationFailed {
                    slot: self.slot.clone(),
                    provider: provider.clone(),
                    failure: failure.clone(),
                };
                let mut ledger = cell.ledger();
                ledger.step(Move::GiveUp, inner.clock.now());
                ledger.attempts += 1;
                ledger.last_failure = Some(error.clone());
                drop(ledger);
                announce(Happening::ActivationFailed { provider, failure });
                return Err(error);
            }
        };
        let number = running.number;
        let next = Arc::new(Published::new(Arc::clone(&running)));
        let Ok(was) = inner.put_in_service(cell, next) else {
            inner.discard(cell, &running).await;
            let slot = self.slot.clone();
            return Err(LifecycleError::Stopped { slot });
        };
        entry.times().built = Instant::now();
        {
            let mut ledger = cell.ledger();
            ledger.step(Move::Publish, inner.clock.now());
            ledger.attempts += 1;
            ledger.last_failure = None;
        }
        let old = was
            .published
            .map(|published| Arc::clone(&published.running));
        announce(Happening::Published {
            from: old.as_ref().map(|old| old.candidate.provider().clone()),
            to: provider,
            instance: number,
            forced: None,
        });
        if let Some(old) = old {
            finish(inner, cell, &old).await;
        }
        Ok(())
    }

    /// Everything up to a healthy instance; or nothing is left of it.
    async fn construct(
        &self,
        inner: &Arc<Inner>,
        entry: &Entry,
        candidate: &Registered,
    ) -> Result<Arc<Running>, Failure> {
        let factory = inner.factory_of(candidate)?;
        for need in candidate.requires() {
            if let Err(error) = self.wiring.activate(need).await {
                return Err(Failure::new(
                    Stage::Dependencies,
                    "lifecycle.dependency_failed",
                    format_args!("requires {need}: {} ({})", error, error.code()),
                ));
            }
        }
        let key = Some(Arc::clone(&entry.key));
        let built = inner
            .construct(&entry.cell, candidate, factory, key)
            .await?;
        let running = Arc::new(built);
        let report = inner.ask(&running).await;
        match report.and_then(|report| report.health) {
            Some(health) if !health.may_serve() => {
                inner.discard(&entry.cell, &running).await;
                Err(Failure::probe(health))
            }
            _ => Ok(running),
        }
    }

    /// Sees to it that somebody looks after what is not used.
    fn sweep(self: &Arc<Self>) {
        let times = [self.limits.idle, self.limits.age];
        let Some(shortest) = times.into_iter().flatten().min() else {
            return;
        };
        if !self.swept.swap(true, Ordering::AcqRel) {
            let pause = (shortest / 4).max(Duration::from_millis(10));
            tokio::spawn(sweep(Arc::downgrade(self), pause));
        }
    }

    /// Takes out what nobody has used for too long.
    fn overdue(&self) -> Vec<Evicted> {
        let mut entries = self.entries();
        let is_due = |entry: &Entry| {
            let idle = self.limits.idle;
            idle.is_some_and(|idle| entry.times().used.elapsed() >= idle) || self.is_old(entry)
        };
        let due: Vec<Evicted> = entries
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .filter_map(|(_, entry)| entry.evict())
            .collect();
        for (entry, _) in &due {
            entries.pop(&entry.key);
        }
        due
    }
}

/// Retires what is not used, until there is nothing left.
async fn sweep(shared: Weak<Shared>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(inner) = shared.wiring.inner() else {
            return;
        };
        let mut retiring = JoinSet::new();
        for evicted in shared.overdue() {
            let inner = Arc::clone(&inner);
            retiring.spawn(async move { retire(&inner, evicted).await });
        }
        retiring.join_all().await;
        let entries = shared.entries();
        if entries.is_empty() {
            // Under the lock: whoever puts the next one in looks at it afterwards.
            shared.swept.store(false, Ordering::Release);
            return;
        }
    }
}

/// Lets the work of an evicted instance finish, and retires it.
async fn retire(inner: &Arc<Inner>, (entry, _turn): Evicted) {
    // One that has to go before it had an instance may itself have been made room for: that one is to be gone as well.
    entry.room.cancelled().await;
    let cell = &entry.cell;
    let was = inner.take_out_of_service(cell);
    let Some(published) = was.published else {
        return;
    };
    let running = Arc::clone(&published.running);
    drop(published);
    cell.ledger().step(Move::Deactivate, inner.clock.now());
    finish(inner, cell, &running).await;
}

async fn finish(inner: &Arc<Inner>, cell: &Arc<SlotCell>, running: &Running) {
    let mut failures = Vec::new();
    failures.extend(inner.drain(cell, running, inner.limits().drain).await);
    failures.extend(inner.retire(running).await.err());
    inner.book_retired(cell, running);
    for failure in failures {
        inner.announce_of(running, Happening::Warned { failure });
    }
}

impl Entry {
    /// Takes it out of use if nobody builds in it or has a lease; for whoever holds the lock of the map.
    fn evict(self: &Arc<Self>) -> Option<Evicted> {
        let turn = Arc::clone(&self.cell.turn).try_lock_owned().ok()?;
        let published = self.cell.published();
        if published.is_some_and(|published| published.in_flight() > 0) {
            return None;
        }
        self.gone.store(true, Ordering::Release);
        Some((Arc::clone(self), turn))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("slot", &self.shared.slot)
            .field("limits", &self.shared.limits)
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}
