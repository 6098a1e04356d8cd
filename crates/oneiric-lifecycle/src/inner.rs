//! What all clones of a lifecycle share, and how slots are found in it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use oneiric_core::{FactoryPolicy, Query, Registered, Registry, Slot};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::activity::Rules;
use crate::cell::SlotCell;
use crate::clock::Clock;
use crate::error::LifecycleError;
use crate::facet::FacetProxy;
use crate::factory::FactoryTable;
use crate::follow::Followers;
use crate::graph::Graph;
use crate::hook::SwapHook;
use crate::keyed::{KeyedStatus, Shared as Keyed};
use crate::limits::Limits;
use crate::observe::Announcer;
use crate::provider_settings::ProviderSettings;
use crate::redact::Redact;
use crate::shutdown::Ending;
use crate::slot_policy::{SlotPolicies, SlotPolicy};
use crate::slot_turns::SlotTurns;
use crate::state::SlotState;
use crate::step::Steps;

/// What all clones of a lifecycle, its transitions and its live references share.
pub(crate) struct Inner {
    pub(crate) registry: Registry,
    pub(crate) factories: FactoryTable,
    pub(crate) policy: ArcSwap<FactoryPolicy>,
    pub(crate) settings: Arc<dyn ProviderSettings>,
    pub(crate) limits: ArcSwap<Limits>,
    pub(crate) policies: ArcSwap<SlotPolicies>,
    pub(crate) probes_at_once: AtomicUsize,
    /// Of those who embed this.
    pub(crate) turns: Arc<dyn SlotTurns>,
    pub(crate) proxies: Vec<FacetProxy>,
    pub(crate) hooks: Vec<Arc<dyn SwapHook>>,
    pub(crate) steps: Steps,
    pub(crate) announcer: Announcer,
    pub(crate) clock: Clock,
    pub(crate) redact: Redact,
    pub(crate) slots: DashMap<Slot, Arc<SlotCell>>,
    pub(crate) rules: Mutex<Rules>,
    /// Those that keep instances by key.
    pub(crate) keyed: Mutex<Vec<Arc<Keyed>>>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) followers: Followers,
    pub(crate) stopping: AtomicBool,
    pub(crate) ending: Ending,
    pub(crate) instances: AtomicU64,
    /// Who looks after the slots, where anybody does.
    pub(crate) supervised: ArcSwapOption<CancellationToken>,
    /// A slot came into use.
    pub(crate) new_slots: Notify,
    /// Rung when somebody begins to wait until something serves a slot.
    pub(crate) bell: watch::Sender<u64>,
    /// Held by the one change set that waits for the turns of its slots.
    pub(crate) sets_waiting: tokio::sync::Mutex<()>,
}

impl Inner {
    /// The limits that hold now. Each step takes its own when it begins: new ones hold from the next step on.
    pub(crate) fn limits(&self) -> Limits {
        Limits::clone(&self.limits.load())
    }

    /// What `slot` goes by now.
    pub(crate) fn policy_of(&self, slot: &Slot) -> SlotPolicy {
        self.policies.load().of(slot)
    }

    /// The slot's cell, made if need be: for names that the program itself states.
    pub(crate) fn cell(&self, slot: &Slot) -> Arc<SlotCell> {
        if let Some(cell) = self.existing_cell(slot) {
            return cell;
        }
        // Locked until the cell can be found, so that no rule that is set meanwhile misses it.
        let rules = self.rules();
        let activity = rules.effective(slot, None);
        let entry = self.slots.entry(slot.clone());
        let made = || Arc::new(SlotCell::new(slot.clone(), activity));
        let cell = Arc::clone(&entry.or_insert_with(made));
        drop(rules);
        self.new_slots.notify_one();
        if self.stopping.load(Ordering::Acquire) {
            cell.stop();
        }
        cell
    }

    /// The activity rules. Locked before a cell's gate and a place in the map of slots, never after.
    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        // No foreign code runs under this lock, so poisoned rules are still sound ones.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that keep instances by key. Locked after the rules, and before their entries.
    pub(crate) fn keyed(&self) -> MutexGuard<'_, Vec<Arc<Keyed>>> {
        self.keyed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cells of a slot's instances by key.
    pub(crate) fn keyed_cells(&self, is_meant: impl Fn(&Slot) -> bool) -> Vec<Arc<SlotCell>> {
        let keyed = self.keyed();
        let meant = keyed.iter().filter(|keyed| is_meant(keyed.slot()));
        meant.flat_map(|keyed| keyed.cells()).collect()
    }

    /// Whether a slot has instances by key.
    fn has_keys(&self, slot: &Slot) -> bool {
        let keyed = self.keyed();
        let mut of_slot = keyed.iter().filter(|keyed| keyed.slot() == slot);
        of_slot.any(|keyed| keyed.has_any())
    }

    /// What is known about a slot's instances by key; `None` when nobody asks for any, and there are none.
    pub(crate) fn keyed_status(&self, slot: &Slot) -> Option<KeyedStatus> {
        let mut keyed = self.keyed();
        keyed.retain(|keyed| keyed.is_in_use());
        let of_slot: Vec<Arc<Keyed>> = keyed
            .iter()
            .filter(|keyed| keyed.slot() == slot)
            .cloned()
            .collect();
        drop(keyed);
        let all = of_slot.iter().map(|keyed| keyed.status(self));
        all.reduce(KeyedStatus::and)
    }

    pub(crate) fn existing_cell(&self, slot: &Slot) -> Option<Arc<SlotCell>> {
        self.slots.get(slot).map(|cell| Arc::clone(&cell))
    }

    /// The slot's cell, for names that come from outside: only if somebody registered a candidate
    /// or the program uses the slot, so that no caller can fill the memory with names.
    pub(crate) fn known_cell(&self, slot: &Slot) -> Option<Arc<SlotCell>> {
        self.existing_cell(slot)
            .or_else(|| self.is_registered(slot).then(|| self.cell(slot)))
    }

    fn is_registered(&self, slot: &Slot) -> bool {
        self.registry.read(|snapshot| snapshot.contains(slot))
    }

    pub(crate) fn is_known(&self, slot: &Slot) -> bool {
        self.is_registered(slot)
            || self.existing_cell(slot).is_some_and(|cell| is_used(&cell))
            || self.has_keys(slot)
    }

    pub(crate) fn known_slots(&self) -> BTreeSet<Slot> {
        let registered = self.registry.snapshot();
        let mut slots: BTreeSet<Slot> = registered.slots().cloned().collect();
        let used = self.slots.iter().filter(|entry| is_used(entry.value()));
        slots.extend(used.map(|entry| entry.key().clone()));
        let keyed = self.keyed();
        let with_keys = keyed.iter().filter(|keyed| keyed.has_any());
        slots.extend(with_keys.map(|keyed| keyed.slot().clone()));
        slots
    }

    /// What is registered now of which an instance of `candidate` was built: the same, or the best of its provider.
    pub(crate) fn registered_now(&self, candidate: &Registered) -> Option<Registered> {
        let query = Query::new(candidate.slot().clone());
        let ranked = self.registry.resolve_all(&query);
        let same = ranked.iter().find(|held| held.id() == candidate.id());
        let of_same = |held: &&Registered| held.provider() == candidate.provider();
        same.or_else(|| ranked.iter().find(of_same)).cloned()
    }

    pub(crate) fn unresolved(&self, slot: &Slot) -> LifecycleError {
        match self.registry.resolve(&Query::new(slot.clone())) {
            Err(error) => LifecycleError::Unresolved(error),
            // Registered between two looks; whoever asks again finds it.
            Ok(_) => LifecycleError::NotActive { slot: slot.clone() },
        }
    }
}

/// Whether there is anything in a slot, or somebody holds on to it. A cell outlives the candidates it was made for, and
/// by itself it is nothing that an operator should read of.
fn is_used(cell: &SlotCell) -> bool {
    cell.live_references() > 0 || cell.ledger().state != SlotState::Inactive
}
