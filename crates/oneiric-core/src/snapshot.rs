//! A registry at one moment: immutable, shared freely, with every winner already computed. All reading happens here;
//! a registry only says which snapshot is the newest.

use rpds::RedBlackTreeMapSync;

use crate::{
    candidate::Registered,
    change::{Change, InvalidChange},
    contest::Contest,
    error::ResolveError,
    explain::Explanation,
    query::Query,
    ranking::{Entry, Head},
    registry::RegistryConfig,
    selection::{Layers, Selection, UnknownSelection},
    slot::{Domain, Slot, hash_parts},
    table::{Row, Table},
};

/// A registry at one moment. Cloning shares nearly everything.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) config: RegistryConfig,
    pub(crate) len: usize,
    pub(crate) table: Table,
    /// The slots of each domain by ordinal, so that listing one domain does not walk the others.
    pub(crate) domains: RedBlackTreeMapSync<Domain, RedBlackTreeMapSync<u64, Slot>>,
    pub(crate) selections: RedBlackTreeMapSync<Slot, Layers>,
}

impl Snapshot {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        Self {
            generation: 0,
            config,
            len: 0,
            table: Table::new(),
            domains: RedBlackTreeMapSync::new_sync(),
            selections: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// Returns who wins the slot; nobody when it has no candidates or the best are tied.
    #[inline]
    #[must_use]
    pub fn winner(&self, slot: &Slot) -> Option<&Registered> {
        self.table.get(slot).and_then(|row| row.winner.as_ref())
    }

    /// Returns who wins `domain/key`, for callers that hold no [`Slot`].
    #[must_use]
    pub fn winner_by_str(&self, domain: &str, key: &str) -> Option<&Registered> {
        let is_it = |row: &Row| row.slot.is(domain, key);
        self.table
            .find(hash_parts(domain, key), is_it)
            .and_then(|row| row.winner.as_ref())
    }

    /// Tells whether anybody is registered for the slot; the cheap question before any other, as it clones nothing.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: &Slot) -> bool {
        self.table.get(slot).is_some()
    }

    /// Tells whether a registration has not ended; updating one does not end it. Ask only of what this
    /// registry registered: each counts from 1.
    #[must_use]
    pub fn is_registered(&self, held: &Registered) -> bool {
        let of_provider = self
            .entry(held.slot())
            .and_then(|entry| entry.of(held.provider()));
        // One registration per origin: few, however many candidates the slot has.
        of_provider.is_some_and(|ranking| ranking.values().any(|other| other.id() == held.id()))
    }

    /// Answers a query.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody satisfies it, `core.tied` when the best are equal and the tie policy refuses.
    pub fn resolve(&self, query: &Query) -> Result<Registered, ResolveError> {
        self.resolve_optional(query)?
            .ok_or_else(|| ResolveError::NoCandidate {
                query: Box::new(query.clone()),
                excluded: self
                    .entry(query.slot())
                    .map_or(0, |entry| entry.all().size()),
            })
    }

    /// Answers a query; nobody is an answer.
    ///
    /// # Errors
    /// `core.tied` when the best are equal and the tie policy refuses.
    pub fn resolve_optional(&self, query: &Query) -> Result<Option<Registered>, ResolveError> {
        let Some(entry) = self.entry(query.slot()) else {
            return Ok(None);
        };
        let tied = |among: Vec<Registered>| ResolveError::Tied {
            slot: query.slot().clone(),
            among,
        };
        if query.narrows() {
            let field = self.contest(query.slot()).hold(query);
            let count = field.tied(self.config.ties);
            let mut best = field
                .ranked
                .iter()
                .take(count)
                .map(|ranked| ranked.held.clone());
            return if count > 1 {
                Err(tied(best.collect()))
            } else {
                Ok(best.next())
            };
        }
        let head = match query.wanted_provider() {
            Some(provider) => entry.head_of(provider),
            None => entry.head(),
        };
        match head {
            Head::Nobody => Ok(None),
            Head::Winner(winner) => Ok(Some(winner.clone())),
            Head::Tied(among) => Err(tied(among.into_iter().cloned().collect())),
        }
    }

    /// Returns everybody who satisfies the query, best first.
    #[must_use]
    pub fn resolve_all(&self, query: &Query) -> Vec<Registered> {
        let field = self.contest(query.slot()).hold(query);
        field
            .ranked
            .into_iter()
            .map(|ranked| ranked.held.clone())
            .collect()
    }

    /// Explains the answer to a query: who won, why the others lost, and what would change it.
    #[must_use]
    pub fn explain(&self, query: &Query) -> Explanation {
        Explanation::new(self, &self.contest(query.slot()), query)
    }

    /// Explains what the answer would be under assumptions, made one after the other.
    ///
    /// # Errors
    /// `core.invalid_change` when an assumption is about a candidate the slot does not have.
    pub fn what_if(&self, query: &Query, changes: &[Change]) -> Result<Explanation, InvalidChange> {
        let actual = self.contest(query.slot());
        let mut assumed = actual.clone();
        for change in changes {
            assumed.apply(change, query)?;
        }
        Ok(Explanation::new(self, &assumed, query).assuming(changes, &actual, query))
    }

    /// Returns every slot that has candidates: by domain, then in the order of first registration.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.domains
            .values()
            .flat_map(|slots| slots.values())
            .inspect(|_| {
                #[cfg(test)]
                crate::work::add(1);
            })
    }

    /// Returns the slots of one domain in the order of first registration; other domains cost nothing.
    pub fn slots_in<'a>(&'a self, domain: &Domain) -> impl Iterator<Item = &'a Slot> + use<'a> {
        self.domains
            .get(domain)
            .into_iter()
            .flat_map(|slots| slots.values())
            .inspect(|_| {
                #[cfg(test)]
                crate::work::add(1);
            })
    }

    /// Returns the domains that have slots, by name.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        self.domains.keys()
    }

    /// Returns the winners of all slots, in the order of [`Self::slots`].
    pub fn active(&self) -> impl Iterator<Item = &Registered> {
        self.slots().filter_map(|slot| self.winner(slot))
    }

    /// Returns the winners of one domain's slots, in the order of first registration.
    pub fn active_in<'a>(
        &'a self,
        domain: &Domain,
    ) -> impl Iterator<Item = &'a Registered> + use<'a> {
        self.slots_in(domain).filter_map(|slot| self.winner(slot))
    }

    /// Returns the losers of all slots: by slot in the order of [`Self::slots`], best first within one.
    pub fn shadowed(&self) -> impl Iterator<Item = &Registered> {
        self.slots().flat_map(|slot| self.losers(slot))
    }

    /// Returns the losers of one domain's slots: by slot in the order of first registration, best first within one.
    pub fn shadowed_in<'a>(
        &'a self,
        domain: &Domain,
    ) -> impl Iterator<Item = &'a Registered> + use<'a> {
        self.slots_in(domain).flat_map(|slot| self.losers(slot))
    }

    fn losers(&self, slot: &Slot) -> impl Iterator<Item = &Registered> {
        let won = self.winner(slot).map(Registered::id);
        let all = self.entry(slot).into_iter().flat_map(Entry::in_order);
        all.filter(move |held| Some(held.id()) != won)
    }

    /// Returns the selection that holds for a slot, whether or not its provider is known.
    #[must_use]
    pub fn selection(&self, slot: &Slot) -> Option<Selection> {
        self.selections.get(slot).and_then(Layers::effective)
    }

    /// Returns the selections, of either layer, that name a provider without a candidate for the slot.
    #[must_use]
    pub fn unknown_selections(&self) -> Vec<UnknownSelection> {
        let all = self.selections.iter().flat_map(|(slot, layers)| {
            layers
                .iter()
                .map(move |Selection { provider, layer }| UnknownSelection {
                    slot: slot.clone(),
                    provider,
                    layer,
                })
        });
        all.filter(|one| {
            self.entry(&one.slot)
                .is_none_or(|e| e.of(&one.provider).is_none())
        })
        .collect()
    }

    /// Returns how many writes changed the registry before this snapshot.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the number of candidates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is no candidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn entry(&self, slot: &Slot) -> Option<&Entry> {
        self.table.get(slot).map(|row| row.entry.as_ref())
    }

    fn contest(&self, slot: &Slot) -> Contest<'_> {
        let layers = self.selections.get(slot).cloned().unwrap_or_default();
        Contest::new(self.entry(slot), layers, self.config.ties)
    }
}
