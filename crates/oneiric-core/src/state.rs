//! The writer's side of a registry: its working copy of the snapshot, and indexes by registration and by origin.
//! Every write goes through [`State::put`] and [`State::take`], which keep the three in step and the winners right.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use crate::{
    candidate::{Candidate, CandidateId, Registered},
    delta::{Delta, SelectionChange, WinnerChange},
    error::RegisterError,
    name::Provider,
    origin::Origin,
    ranking::Entry,
    selection::{Layers, SelectionLayer},
    slot::Slot,
    snapshot::Snapshot,
    table::Row,
};

type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
type Set<K> = HashSet<K, foldhash::quality::RandomState>;

pub(crate) struct State {
    snapshot: Snapshot,
    last_sequence: u64,
    last_ordinal: u64,
    by_id: Map<CandidateId, Registered>,
    by_origin: Map<Origin, Map<(Slot, Provider), CandidateId>>,
    /// The write in progress, and the winners before it of the slots it touched.
    delta: Delta,
    touched: BTreeMap<Slot, Option<Registered>>,
}

impl State {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            last_sequence: 0,
            last_ordinal: 0,
            by_id: Map::default(),
            by_origin: Map::default(),
            delta: Delta::default(),
            touched: BTreeMap::new(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    pub(crate) fn held(&self, id: CandidateId) -> Option<Registered> {
        self.by_id.get(&id).cloned()
    }

    /// Ends the write in progress: what it changed, and the snapshot to publish when it changed something.
    pub(crate) fn finish(&mut self) -> (Delta, Option<Snapshot>) {
        let touched = std::mem::take(&mut self.touched);
        let mut delta = std::mem::take(&mut self.delta);
        if delta.is_empty() {
            delta.generation = self.snapshot.generation;
            return (delta, None);
        }
        for (slot, before) in touched {
            let after = self.snapshot.winner(&slot).cloned();
            if before.as_ref().map(Registered::id) != after.as_ref().map(Registered::id) {
                delta.winners.push(WinnerChange {
                    slot,
                    before,
                    after,
                });
            }
        }
        self.snapshot.generation += 1;
        delta.generation = self.snapshot.generation;
        (delta, Some(self.snapshot.clone()))
    }

    pub(crate) fn register(&mut self, candidate: Candidate) -> Registered {
        let place = (candidate.slot().clone(), candidate.provider().clone());
        let of_origin = self.by_origin.get(candidate.origin());
        if let Some(&former) = of_origin.and_then(|held| held.get(&place)) {
            self.unregister(former);
        }
        self.add(candidate)
    }

    /// Checks what [`Self::replace_origin`] relies on, before anything is changed.
    pub(crate) fn check_batch(origin: &Origin, batch: &[Candidate]) -> Result<(), RegisterError> {
        let mut seen: Set<(&Slot, &Provider)> = Set::default();
        for candidate in batch {
            if candidate.origin() != origin {
                return Err(RegisterError::mismatch(candidate, origin));
            }
            if !seen.insert((candidate.slot(), candidate.provider())) {
                return Err(RegisterError::duplicate(candidate));
            }
        }
        Ok(())
    }

    pub(crate) fn replace_origin(&mut self, origin: &Origin, batch: Vec<Candidate>) {
        let mut former = self.by_origin.get(origin).cloned().unwrap_or_default();
        let mut new = Vec::new();
        for candidate in batch {
            let place = (candidate.slot().clone(), candidate.provider().clone());
            let same = |id: &CandidateId| {
                self.by_id
                    .get(id)
                    .is_some_and(|held| *held.candidate() == candidate)
            };
            if former.get(&place).is_some_and(same) {
                former.remove(&place);
                self.delta.kept += 1;
            } else {
                new.push(candidate);
            }
        }
        let mut gone: Vec<CandidateId> = former.into_values().collect();
        gone.sort_unstable();
        for id in gone {
            self.unregister(id);
        }
        for candidate in new {
            self.add(candidate);
        }
    }

    /// As [`Self::replace_origin`], but what was changed is updated in its place.
    pub(crate) fn update_origin(&mut self, origin: &Origin, batch: Vec<Candidate>) {
        let former = self.by_origin.get(origin).cloned().unwrap_or_default();
        for candidate in &batch {
            let place = (candidate.slot().clone(), candidate.provider().clone());
            if let Some(&id) = former.get(&place) {
                self.update(id, candidate.clone());
            }
        }
        // Whatever is registered already is as before now, and stays; the rest goes or comes.
        self.replace_origin(origin, batch);
    }

    pub(crate) fn of_origin(&self, origin: &Origin) -> Vec<Registered> {
        let ids = self.by_origin.get(origin).into_iter().flat_map(Map::values);
        let mut held: Vec<Registered> = ids.filter_map(|id| self.held(*id)).collect();
        held.sort_unstable_by_key(Registered::sequence);
        held
    }

    pub(crate) fn restore_origin(&mut self, origin: &Origin, former: Vec<Registered>) {
        let wanted: Set<CandidateId> = former.iter().map(Registered::id).collect();
        for held in self.of_origin(origin) {
            if !wanted.contains(&held.id()) {
                self.unregister(held.id());
            }
        }
        for held in former {
            if self.by_id.contains_key(&held.id()) {
                self.update(held.id(), held.candidate().clone());
            } else {
                self.hold(held);
            }
        }
    }

    pub(crate) fn unregister(&mut self, id: CandidateId) {
        let Some(held) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(places) = self.by_origin.get_mut(held.origin()) {
            places.remove(&(held.slot().clone(), held.provider().clone()));
            if places.is_empty() {
                self.by_origin.remove(held.origin());
            }
        }
        self.take(&held);
        self.snapshot.len -= 1;
        self.delta.removed.push(held);
    }

    /// Replaces the candidate of a registration, which keeps its sequence number; false when it has ended.
    pub(crate) fn update(&mut self, id: CandidateId, candidate: Candidate) -> bool {
        let Some(former) = self.by_id.get(&id).cloned() else {
            return false;
        };
        if *former.candidate() == candidate {
            return true;
        }
        let held = Registered::new(candidate, id.0, self.snapshot.config.default_priority);
        self.take(&former);
        self.put(&held);
        self.by_id.insert(id, held.clone());
        self.delta.reranked.push(held);
        true
    }

    pub(crate) fn select(
        &mut self,
        layer: SelectionLayer,
        slot: &Slot,
        provider: Option<Provider>,
    ) {
        let mut layers = self
            .snapshot
            .selections
            .get(slot)
            .cloned()
            .unwrap_or_default();
        let before = layers.of(layer).clone();
        if before == provider {
            return;
        }
        layers.set(layer, provider.clone());
        let effective = layers.effective();
        if layers.is_empty() {
            self.snapshot.selections.remove_mut(slot);
        } else {
            self.snapshot.selections.insert_mut(slot.clone(), layers);
        }
        if self.snapshot.entry(slot).is_some() {
            self.edit(slot, |entry| entry.selection = effective);
        }
        let slot = slot.clone();
        self.delta.selections.push(SelectionChange {
            slot,
            layer,
            before,
            after: provider,
        });
    }

    pub(crate) fn set_selections(
        &mut self,
        layer: SelectionLayer,
        selections: BTreeMap<Slot, Provider>,
    ) {
        let stale: Vec<Slot> = self
            .snapshot
            .selections
            .iter()
            .filter(|(slot, layers)| layers.of(layer).is_some() && !selections.contains_key(*slot))
            .map(|(slot, _)| slot.clone())
            .collect();
        for slot in stale {
            self.select(layer, &slot, None);
        }
        for (slot, provider) in selections {
            self.select(layer, &slot, Some(provider));
        }
    }

    fn add(&mut self, candidate: Candidate) -> Registered {
        self.last_sequence += 1;
        let default_priority = self.snapshot.config.default_priority;
        let held = Registered::new(candidate, self.last_sequence, default_priority);
        self.hold(held.clone());
        held
    }

    fn hold(&mut self, held: Registered) {
        let place = (held.slot().clone(), held.provider().clone());
        self.by_origin
            .entry(held.origin().clone())
            .or_default()
            .insert(place, held.id());
        self.by_id.insert(held.id(), held.clone());
        self.put(&held);
        self.snapshot.len += 1;
        self.delta.added.push(held);
    }

    fn put(&mut self, held: &Registered) {
        self.edit(held.slot(), |entry| entry.insert(held.clone()));
    }

    fn take(&mut self, held: &Registered) {
        self.edit(held.slot(), |entry| entry.remove(held));
    }

    /// Edits a slot's entry, made if there was none and dropped if it is left empty, and computes the winner anew.
    fn edit(&mut self, slot: &Slot, edit: impl FnOnce(&mut Entry)) {
        let row = self.snapshot.table.get(slot).cloned();
        let (slot, before, mut entry) = match row {
            Some(row) => (row.slot, row.winner, row.entry.as_ref().clone()),
            None => {
                self.last_ordinal += 1;
                let selection = self
                    .snapshot
                    .selections
                    .get(slot)
                    .and_then(Layers::effective);
                let ties = self.snapshot.config.ties;
                (
                    slot.clone(),
                    None,
                    Entry::new(self.last_ordinal, selection, ties),
                )
            }
        };
        edit(&mut entry);
        self.touched.entry(slot.clone()).or_insert(before);
        if entry.is_empty() {
            self.unlist(&slot, entry.ordinal);
            self.snapshot.table.remove(&slot);
        } else {
            self.list(&slot, entry.ordinal);
            let winner = entry.winner().cloned();
            self.snapshot.table.insert(Row {
                slot,
                winner,
                entry: entry.into(),
            });
        }
    }

    fn list(&mut self, slot: &Slot, ordinal: u64) {
        let domains = &mut self.snapshot.domains;
        if domains
            .get(slot.domain())
            .is_some_and(|slots| slots.contains_key(&ordinal))
        {
            return;
        }
        if let Some(slots) = domains.get_mut(slot.domain()) {
            slots.insert_mut(ordinal, slot.clone());
        } else {
            let slots = std::iter::once((ordinal, slot.clone())).collect();
            domains.insert_mut(slot.domain().clone(), slots);
        }
    }

    fn unlist(&mut self, slot: &Slot, ordinal: u64) {
        let domains = &mut self.snapshot.domains;
        if let Some(slots) = domains.get_mut(slot.domain()) {
            slots.remove_mut(&ordinal);
            if slots.is_empty() {
                domains.remove_mut(slot.domain());
            }
        }
    }
}
