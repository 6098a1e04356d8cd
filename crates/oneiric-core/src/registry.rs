//! The registry: one writer at a time, readers that never wait.
//!
//! A write edits the writer's copy of the snapshot (persistent structures, so the copy shares nearly everything) and
//! publishes it whole; a reader therefore sees all of a write or nothing of it.
//!
//! Publishing bumps the generation counter BEFORE it stores the new snapshot. A reader whose cached generation equals
//! the counter may use its cache: no newer snapshot can have been seen by anybody yet, so its read counts as made
//! before the change. Any other reader loads the stored snapshot and caches it under the generation which that
//! snapshot carries itself, not under the counter. Were the counter bumped after the store, one reader could see the
//! new snapshot while a second, told by the first, still found its old cache valid: new, then old.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::{
    candidate::{Candidate, CandidateId, Registered},
    change::{Change, InvalidChange},
    delta::Delta,
    error::{RegisterError, ResolveError},
    explain::Explanation,
    handle::SlotHandle,
    name::Provider,
    observe::{Outbox, RegistryObserver, Subscription},
    origin::Origin,
    precedence::TiePolicy,
    query::Query,
    registration::Registration,
    selection::SelectionLayer,
    slot::Slot,
    snapshot::Snapshot,
    state::State,
};

/// What a registry is told when it is made. Begin with the default and change what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// The priority of candidates that state none.
    pub default_priority: i64,
    /// What decides between equals.
    pub ties: TiePolicy,
}

impl RegistryConfig {
    /// Sets the priority of candidates that state none.
    #[must_use]
    pub const fn with_default_priority(self, default_priority: i64) -> Self {
        Self {
            default_priority,
            ..self
        }
    }

    /// Sets what decides between equals.
    #[must_use]
    pub const fn with_ties(self, ties: TiePolicy) -> Self {
        Self { ties, ..self }
    }
}

/// Candidates, selections and the winners that follow from them. Cloning gives another handle to the same registry.
#[derive(Clone)]
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// Tells registries apart in the per-thread caches; never reused.
    id: u64,
    outbox: Arc<Outbox>,
    state: Mutex<State>,
    published: ArcSwap<Snapshot>,
    generation: Generation,
}

/// The counter every read looks at, on cache lines of its own: nothing that is written more often than the registry
/// itself (handle counts, the writer's lock) may share them.
#[repr(align(128))]
struct Generation(AtomicU64);

impl Shared {
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.0.load(Ordering::Acquire)
    }

    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No foreign code runs under this lock, so a poisoned state is still a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Makes an empty registry: default priority 0, the newest wins a tie.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(RegistryConfig::default())
    }

    /// Makes an empty registry.
    #[must_use]
    pub fn with_config(config: RegistryConfig) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let snapshot = Snapshot::new(config);
        Self {
            shared: Arc::new(Shared {
                id: IDS.fetch_add(1, Ordering::Relaxed),
                outbox: Arc::default(),
                published: ArcSwap::from_pointee(snapshot.clone()),
                state: Mutex::new(State::new(snapshot)),
                generation: Generation(AtomicU64::new(0)),
            }),
        }
    }

    /// Registers a candidate until the returned [`Registration`] is dropped.
    ///
    /// A candidate of the same origin, slot and provider is replaced, and its registration ends; the new one is the
    /// newest.
    pub fn register(&self, candidate: Candidate) -> Registration {
        let (held, _) = self.write(|state| state.register(candidate));
        Registration::new(self.clone(), held)
    }

    /// Replaces everything an origin registered by these candidates, in one step. Those that are as before keep
    /// their sequence numbers; changed ones are registered anew, in the order given.
    ///
    /// # Errors
    /// `core.origin_mismatch` when a candidate belongs to another origin, `core.duplicate_candidate` when two have one
    /// slot and provider. Nothing is changed then.
    pub fn replace_origin(
        &self,
        origin: &Origin,
        candidates: impl IntoIterator<Item = Candidate>,
    ) -> Result<Delta, RegisterError> {
        let batch: Vec<Candidate> = candidates.into_iter().collect();
        State::check_batch(origin, &batch)?;
        Ok(self.write(|state| state.replace_origin(origin, batch)).1)
    }

    /// Replaces everything an origin registered by these candidates, in one step, as [`Registry::replace_origin`] does;
    /// but a registration of the same slot and provider goes on with what the new candidate says, and keeps its
    /// sequence number. For origins whose candidates are declared by name, so that a changed one is still the same.
    ///
    /// # Errors
    /// As [`Registry::replace_origin`].
    pub fn update_origin(
        &self,
        origin: &Origin,
        candidates: impl IntoIterator<Item = Candidate>,
    ) -> Result<Delta, RegisterError> {
        let batch: Vec<Candidate> = candidates.into_iter().collect();
        State::check_batch(origin, &batch)?;
        Ok(self.write(|state| state.update_origin(origin, batch)).1)
    }

    /// Returns what an origin has registered, in the order of registration.
    #[must_use]
    pub fn of_origin(&self, origin: &Origin) -> Vec<Registered> {
        self.shared.state().of_origin(origin)
    }

    /// Puts back what [`Registry::of_origin`] gave before, in one step: these registrations and no others of the origin,
    /// each with the sequence number it had, whether it ended meanwhile, was updated or neither. What is of another
    /// origin, or of another registry, must not be among them.
    pub fn restore_origin(
        &self,
        origin: &Origin,
        former: impl IntoIterator<Item = Registered>,
    ) -> Delta {
        let former: Vec<Registered> = former.into_iter().collect();
        self.write(|state| state.restore_origin(origin, former)).1
    }

    /// Ends everything an origin registered.
    pub fn remove_origin(&self, origin: &Origin) -> Delta {
        self.write(|state| state.replace_origin(origin, Vec::new()))
            .1
    }

    /// Ends one registration; does nothing when it has ended already.
    pub fn unregister(&self, id: CandidateId) -> Delta {
        self.write(|state| state.unregister(id)).1
    }

    /// Makes a selection in one layer, or takes it back. The operator's layer wins over the settings'.
    pub fn select(&self, layer: SelectionLayer, slot: &Slot, provider: Option<Provider>) -> Delta {
        self.write(|state| state.select(layer, slot, provider)).1
    }

    /// Replaces all selections of one layer in one step; of two for one slot the last holds.
    pub fn set_selections(
        &self,
        layer: SelectionLayer,
        selections: impl IntoIterator<Item = (Slot, Provider)>,
    ) -> Delta {
        let selections = selections.into_iter().collect();
        self.write(|state| state.set_selections(layer, selections))
            .1
    }

    /// Has `observer` told of every change from now on, until the [`Subscription`] is dropped.
    pub fn subscribe(&self, observer: Arc<dyn RegistryObserver>) -> Subscription {
        let state = self.shared.state();
        self.shared.outbox.subscribe(observer, state.generation())
    }

    /// Reads the newest snapshot in place: no lock, no allocation and no write to memory that threads share.
    ///
    /// The snapshot is cached per thread, for up to eight registries, and stays in memory until the thread reads
    /// again or ends. Inside `f` the registry may be read and written; the snapshot at hand does not change.
    ///
    /// What is read cannot leave `f` by reference; clone what must.
    /// ```compile_fail
    /// # let (registry, slot) = (oneiric_core::Registry::new(), "adapter/cache".parse::<oneiric_core::Slot>().unwrap());
    /// let winner = registry.read(|now| now.winner(&slot));
    /// ```
    /// ```
    /// # let (registry, slot) = (oneiric_core::Registry::new(), "adapter/cache".parse::<oneiric_core::Slot>().unwrap());
    /// let winner = registry.read(|now| now.winner(&slot).cloned());
    /// # assert!(winner.is_none());
    /// ```
    #[inline]
    pub fn read<R>(&self, f: impl FnOnce(&Snapshot) -> R) -> R {
        let shared = &*self.shared;
        let generation = shared.generation();
        let mut f = Some(f);
        let answer = CACHE.try_with(|cache| {
            let place = cache[place_of(shared.id)].try_borrow().ok()?;
            let cached = place.as_ref()?;
            if cached.generation != generation || cached.registry != shared.id {
                return None;
            }
            f.take().map(|f| f(&cached.snapshot))
        });
        match (answer, f) {
            (Ok(Some(answer)), _) => answer,
            (_, Some(f)) => f(&self.refresh()),
            (_, None) => unreachable!("the closure is taken only to be called"),
        }
    }

    /// Loads the newest snapshot into this thread's cache.
    #[cold]
    fn refresh(&self) -> Arc<Snapshot> {
        let snapshot = self.shared.load();
        let cached = Cached {
            registry: self.shared.id,
            generation: snapshot.generation(),
            snapshot: snapshot.clone(),
        };
        // The place is taken when an outer read of this thread still uses it, and gone when the thread is ending:
        // then this read goes without.
        let former = CACHE.try_with(|cache| {
            cache[place_of(self.shared.id)]
                .try_borrow_mut()
                .ok()?
                .replace(cached)
        });
        drop(former);
        snapshot
    }

    /// Returns the newest snapshot, to keep.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.load()
    }

    /// Returns a handle that follows who wins a slot, at the cost of one atomic load a look.
    #[must_use]
    pub fn handle(&self, slot: &Slot) -> SlotHandle {
        SlotHandle::new(self.shared.clone(), slot.clone())
    }

    /// Answers a query; see [`Snapshot::resolve`].
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`.
    pub fn resolve(&self, query: &Query) -> Result<Registered, ResolveError> {
        self.read(|snapshot| snapshot.resolve(query))
    }

    /// Answers a query; nobody is an answer.
    ///
    /// # Errors
    /// `core.tied`.
    pub fn resolve_optional(&self, query: &Query) -> Result<Option<Registered>, ResolveError> {
        self.read(|snapshot| snapshot.resolve_optional(query))
    }

    /// Returns everybody who satisfies the query, best first.
    #[must_use]
    pub fn resolve_all(&self, query: &Query) -> Vec<Registered> {
        self.read(|snapshot| snapshot.resolve_all(query))
    }

    /// Explains the answer to a query.
    #[must_use]
    pub fn explain(&self, query: &Query) -> Explanation {
        self.read(|snapshot| snapshot.explain(query))
    }

    /// Explains what the answer would be under assumptions; nothing is changed.
    ///
    /// # Errors
    /// `core.invalid_change`.
    pub fn what_if(&self, query: &Query, changes: &[Change]) -> Result<Explanation, InvalidChange> {
        self.read(|snapshot| snapshot.what_if(query, changes))
    }

    pub(crate) fn held(&self, id: CandidateId) -> Option<Registered> {
        self.shared.state().held(id)
    }

    pub(crate) fn update(&self, id: CandidateId, candidate: Candidate) -> Option<Delta> {
        let (found, delta) = self.write(|state| state.update(id, candidate));
        found.then_some(delta)
    }

    /// Runs one write and publishes what it changed, if anything.
    fn write<R>(&self, edit: impl FnOnce(&mut State) -> R) -> (R, Delta) {
        let shared = &*self.shared;
        let mut state = shared.state();
        let result = edit(&mut state);
        let (delta, snapshot) = state.finish();
        let mut former = None;
        if let Some(snapshot) = snapshot {
            let snapshot = Arc::new(snapshot);
            shared
                .generation
                .0
                .store(snapshot.generation(), Ordering::Release);
            former = Some(shared.published.swap(snapshot));
            shared.outbox.push(&delta);
        }
        drop(state);
        drop(former); // may free a large structure: not while others wait to write
        if !delta.is_empty() {
            shared.outbox.deliver();
        }
        (result, delta)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.shared.load();
        f.debug_struct("Registry")
            .field("candidates", &snapshot.len())
            .field("generation", &snapshot.generation())
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let id = self.id;
        // Other threads' caches give their snapshot up when they end or another registry takes the place.
        let former = CACHE.try_with(|cache| {
            let mut place = cache[place_of(id)].try_borrow_mut().ok()?;
            if place.as_ref().is_some_and(|cached| cached.registry == id) {
                place.take()
            } else {
                None
            }
        });
        drop(former);
    }
}

/// How many registries a thread caches a snapshot of; more share places and are only slower.
const PLACES: usize = 8;

struct Cached {
    registry: u64,
    generation: u64,
    snapshot: Arc<Snapshot>,
}

thread_local! {
    static CACHE: [RefCell<Option<Cached>>; PLACES] = const { [const { RefCell::new(None) }; PLACES] };
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "three bits are left")]
fn place_of(registry: u64) -> usize {
    registry as usize & (PLACES - 1)
}
