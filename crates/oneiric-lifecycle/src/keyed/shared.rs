//! What all clones of a [`Keyed`](crate::Keyed) share: which entry is a key's, and whether its instance is what it
//! should be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oneiric_core::{Query, Registered, Slot};
use tokio::sync::Semaphore;

use super::entries::{Entries, Entry};
use super::going::Going;
use super::limits::KeyedLimits;
use super::status::KeyedStatus;
use crate::cell::{Refusal, SlotCell};
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::pausing;
use crate::running::Running;
use crate::transition::same_component;
use crate::wiring::Wiring;

pub(crate) struct Shared {
    pub(super) wiring: Wiring,
    /// Of the slot.
    pub(super) cell: Arc<SlotCell>,
    limits: KeyedLimits,
    /// As many as there may be instances.
    pub(super) places: Arc<Semaphore>,
    entries: Mutex<Entries>,
    /// Somebody looks after those that are not used.
    pub(super) swept: AtomicBool,
}

impl Shared {
    pub(super) fn new(inner: &Arc<Inner>, slot: &Slot, limits: KeyedLimits) -> Self {
        let places = limits.instances.get().min(Semaphore::MAX_PERMITS);
        Self {
            wiring: Wiring::of(inner),
            cell: inner.cell(slot),
            limits,
            places: Arc::new(Semaphore::new(places)),
            entries: Mutex::new(Entries::new()),
            swept: AtomicBool::new(false),
        }
    }

    pub(super) fn inner(&self) -> Result<Arc<Inner>, LifecycleError> {
        let inner = self.wiring.inner();
        let running = inner.filter(|inner| !inner.stopping.load(Ordering::Acquire));
        running.ok_or_else(|| self.stopped())
    }

    pub(super) fn stopped(&self) -> LifecycleError {
        let slot = self.cell.slot.clone();
        LifecycleError::Stopped { slot }
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        // No foreign code runs under this lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.cell.slot
    }

    pub(super) const fn limits(&self) -> &KeyedLimits {
        &self.limits
    }

    /// The cells of all instances that there are, those that are going among them.
    pub(crate) fn cells(&self) -> Vec<Arc<SlotCell>> {
        self.entries().cells()
    }

    /// Whether there is an instance, or is going to be one.
    pub(crate) fn has_any(&self) -> bool {
        let entries = self.entries();
        !(entries.live.is_empty() && entries.going.is_empty())
    }

    /// Whether somebody may ask for instances, or there are any; for whoever has the list of all locked.
    pub(crate) fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || !self.cells().is_empty()
    }

    pub(crate) fn status(&self, inner: &Inner) -> KeyedStatus {
        let entries = self.entries();
        let instances = entries.live.len() + entries.going.len();
        let keys = entries.live.iter().map(|(key, _)| Arc::clone(key));
        let keys: Vec<Arc<str>> = keys.take(KeyedStatus::KEYS).collect();
        drop(entries);
        let scope = self.slot().clone().into();
        let cells = self.cells();
        let in_flight = cells.iter().map(|cell| pausing::in_flight(cell, &scope));
        KeyedStatus {
            instances: instances as u64,
            limit: self.limits.instances.get() as u64,
            in_flight: in_flight.sum(),
            keys: keys.iter().map(|key| inner.redact.key(key)).collect(),
        }
    }

    /// Whether the slot takes work. Asked before anything is built or makes room for whoever would be refused anyway.
    pub(super) fn takes_work(&self) -> Result<(), LifecycleError> {
        let inner = self.inner()?;
        let target = self.target(&inner)?;
        let holds = inner
            .rules()
            .effective(self.slot(), Some(target.provider()));
        if holds.state.is_running() {
            return Ok(());
        }
        let refusal = Box::new(Refusal::Busy(Arc::new(holds)));
        Err(LifecycleError::refused(&self.cell, refusal))
    }

    /// The key's entry, if its instance is what it should be.
    pub(super) fn current(&self, key: &str) -> Result<Option<Arc<Entry>>, LifecycleError> {
        let entry = self.entries().live.get(key).map(Arc::clone);
        Ok(match entry {
            Some(entry) if self.is_current(&entry)? => Some(entry),
            _ => None,
        })
    }

    /// The key's entry, made if need be.
    pub(super) fn entry(self: &Arc<Self>, key: &str) -> Result<Arc<Entry>, LifecycleError> {
        let inner = self.inner()?;
        // Locked until the cell can be found, so that no rule that is set meanwhile misses it.
        let rules = inner.rules();
        let mut entries = self.entries();
        if let Some(entry) = entries.live.get(key) {
            return Ok(Arc::clone(entry));
        }
        let mut makes_room = None;
        if entries.live.len() >= self.limits.instances.get() {
            let mut oldest_first = entries.live.iter().rev();
            let found =
                oldest_first.find_map(|(_, entry)| Some((Arc::clone(entry), entry.unused()?)));
            let (entry, turn) = found.ok_or_else(|| LifecycleError::KeysExhausted {
                slot: self.slot().clone(),
                limit: self.limits.instances,
            })?;
            makes_room = Some((self.let_go(&mut entries, entry), turn));
        }
        let key: Arc<str> = Arc::from(key);
        let activity = rules.effective(self.slot(), None);
        let before = entries.going_for(&key);
        let entry = Arc::new(Entry::new(self.slot(), &key, activity, before));
        entries.live.put(key, Arc::clone(&entry));
        drop((entries, rules));
        if let Some((going, turn)) = makes_room {
            // Whoever asked may go away meanwhile.
            tokio::spawn(async move { going.see_off(&inner, turn).await });
        }
        self.sweep();
        Ok(entry)
    }

    /// Takes an entry out of those that are handed out. It counts until nothing is left of it.
    pub(super) fn let_go(self: &Arc<Self>, entries: &mut Entries, entry: Arc<Entry>) -> Going {
        entries.live.pop(&entry.key);
        // Wakes a task of ours at most, and runs nobody else's code.
        entry.gone.cancel();
        entries.going.push(Arc::clone(&entry));
        Going::new(Arc::clone(self), entry)
    }

    /// Who is to serve: whoever serves the slot, or would.
    pub(super) fn target(&self, inner: &Inner) -> Result<Registered, LifecycleError> {
        if let Some(published) = self.cell.published() {
            return Ok(published.running.candidate.clone());
        }
        let query = Query::new(self.slot().clone());
        let found = inner.registry.resolve(&query);
        found.map_err(LifecycleError::Unresolved)
    }

    /// Whether the entry's instance is what it should be.
    pub(super) fn is_current(&self, entry: &Entry) -> Result<bool, LifecycleError> {
        let inner = self.inner()?;
        let target = self.target(&inner)?;
        Ok(self.fits(&inner, entry, Some(&target)))
    }

    /// Whether the entry has an instance of `target` that knows all there is to know.
    pub(super) fn fits(&self, inner: &Inner, entry: &Entry, target: Option<&Registered>) -> bool {
        let (Some(published), Some(target)) = (entry.cell.published(), target) else {
            return false;
        };
        let running = &published.running;
        same_component(&running.candidate, target)
            && entry.renewals.load(Ordering::Acquire) == self.cell.renewals()
            && !self.is_old(entry)
            && !self.is_behind(inner, running)
    }

    fn is_old(&self, entry: &Entry) -> bool {
        let age = self.limits.age;
        age.is_some_and(|age| entry.times().built.elapsed() >= age)
    }

    /// Whether something that it needs was exchanged, and an instance that serves the slot would have to answer to that.
    fn is_behind(&self, inner: &Inner, running: &Running) -> bool {
        let candidate = &running.candidate;
        let needs_any =
            !(candidate.requires().is_empty() && candidate.optional_requires().is_empty());
        needs_any && inner.has_to_answer(running)
    }
}
