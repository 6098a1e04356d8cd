//! One question about one slot, laid out: who takes part, with which score, and who is out. Narrowing queries,
//! `resolve_all`, `explain` and `what_if` all go through here; a hypothetical change is made to this copy, so
//! nothing that is registered is touched and no second ranking exists.

use crate::{
    candidate::{CandidateId, Registered},
    change::{Change, InvalidChange},
    name::Provider,
    precedence::{self, Score, TiePolicy},
    query::{Exclusion, Query},
    ranking::Entry,
    selection::{Layers, Selection, SelectionLayer},
};

#[derive(Debug, Clone)]
pub(crate) struct Contest<'a> {
    pub(crate) ties: TiePolicy,
    pub(crate) layers: Layers,
    contestants: Vec<Contestant<'a>>,
}

#[derive(Debug, Clone)]
struct Contestant<'a> {
    held: &'a Registered,
    score: Score,
    out: Option<Exclusion>,
}

/// A candidate with the score it has in this contest.
#[derive(Debug, Clone)]
pub(crate) struct Ranked<'a> {
    pub(crate) held: &'a Registered,
    pub(crate) score: Score,
}

/// A contest after it was held: best first, and those who could not take part.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    pub(crate) ranked: Vec<Ranked<'a>>,
    pub(crate) excluded: Vec<(&'a Registered, Exclusion)>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(entry: Option<&'a Entry>, layers: Layers, ties: TiePolicy) -> Self {
        let held = entry.into_iter().flat_map(|entry| entry.all().values());
        let contestants = held
            .map(|held| Contestant {
                held,
                score: held.score(),
                out: None,
            })
            .collect();
        Self {
            ties,
            layers,
            contestants,
        }
    }

    /// The selection that holds, changes included.
    pub(crate) fn selection(&self) -> Option<Selection> {
        self.layers.effective()
    }

    /// Ranks whoever the query admits.
    pub(crate) fn hold(&self, query: &Query) -> Field<'a> {
        let selected = self.selection().map(|selection| selection.provider);
        let mut field = Field {
            ranked: Vec::new(),
            excluded: Vec::new(),
        };
        for Contestant { held, score, out } in &self.contestants {
            let admitted = match out {
                Some(exclusion) => Err(exclusion.clone()),
                None => query.admit(held),
            };
            match admitted {
                Ok(capability_matches) => {
                    let selected = Some(held.provider()) == selected.as_ref();
                    let score = Score {
                        selected,
                        capability_matches,
                        ..*score
                    };
                    field.ranked.push(Ranked { held, score });
                }
                Err(exclusion) => field.excluded.push((held, exclusion)),
            }
        }
        field
            .ranked
            .sort_by(|a, b| precedence::compare(&b.score, &a.score, self.ties).0);
        field
    }

    /// Applies a hypothetical change.
    pub(crate) fn apply(&mut self, change: &Change, query: &Query) -> Result<(), InvalidChange> {
        match change {
            Change::Select(provider) => {
                self.layers
                    .set(SelectionLayer::Operator, Some(provider.clone()));
                Ok(())
            }
            Change::Unselect(layer) => {
                self.layers.set(*layer, None);
                Ok(())
            }
            Change::Priority(provider, priority) => {
                self.each_of(provider, change, |one| one.score.priority = *priority)
            }
            Change::Without(provider) => {
                self.each_of(provider, change, |one| one.out = Some(Exclusion::Without))
            }
            Change::Down(provider) => {
                self.each_of(provider, change, |one| one.out = Some(Exclusion::Down))
            }
            Change::DownActive => {
                let active = self
                    .hold(query)
                    .winner(self.ties)
                    .map(|ranked| ranked.held.id());
                let active = active.ok_or_else(|| InvalidChange::nobody(change))?;
                self.one(active, change, |one| one.out = Some(Exclusion::Down))
            }
            Change::PriorityOf(id, priority) => {
                self.one(*id, change, |one| one.score.priority = *priority)
            }
            Change::StackLevelOf(id, stack_level) => {
                self.one(*id, change, |one| one.score.stack_level = *stack_level)
            }
            Change::Again(id) => {
                let next = self.next_sequence();
                self.one(*id, change, |one| one.score.sequence = next)
            }
        }
    }

    /// The number the next registration would have, as far as this slot can tell.
    pub(crate) fn next_sequence(&self) -> u64 {
        let last = self.contestants.iter().map(|one| one.score.sequence).max();
        last.unwrap_or(0).saturating_add(1)
    }

    fn each_of(
        &mut self,
        provider: &Provider,
        change: &Change,
        edit: impl Fn(&mut Contestant<'a>),
    ) -> Result<(), InvalidChange> {
        let mut found = false;
        for one in self
            .contestants
            .iter_mut()
            .filter(|one| one.held.provider() == provider)
        {
            edit(one);
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(InvalidChange::nobody(change))
        }
    }

    fn one(
        &mut self,
        id: CandidateId,
        change: &Change,
        edit: impl FnOnce(&mut Contestant<'a>),
    ) -> Result<(), InvalidChange> {
        let found = self.contestants.iter_mut().find(|one| one.held.id() == id);
        found.map(edit).ok_or_else(|| InvalidChange::nobody(change))
    }
}

impl<'a> Field<'a> {
    /// How many share the first place and may not be told apart; 1 when there is a winner.
    pub(crate) fn tied(&self, ties: TiePolicy) -> usize {
        let Some(first) = self.ranked.first() else {
            return 0;
        };
        let tied = |other: &&Ranked<'_>| precedence::is_tie(&first.score, &other.score, ties);
        1 + self.ranked.iter().skip(1).take_while(tied).count()
    }

    /// The field after the first has left it; a selection may then choose another of its provider.
    pub(crate) fn without_first(&self) -> Self {
        Self {
            ranked: self.ranked.iter().skip(1).cloned().collect(),
            excluded: Vec::new(),
        }
    }

    pub(crate) fn winner(&self, ties: TiePolicy) -> Option<&Ranked<'a>> {
        if self.tied(ties) == 1 {
            self.ranked.first()
        } else {
            None
        }
    }
}
