//! What would make a loser win: single changes, each the smallest of its kind.
//!
//! A change to one candidate leaves all others as they are, so it wins exactly when it beats the best of the others
//! and is not tied with it. That is asked of the same comparison that made the ranking, for the smallest value that
//! could do and then for one more; what cannot help is not offered.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{
    change::Change,
    contest::{Contest, Field, Ranked},
    name::Provider,
    precedence::{self, Score, TiePolicy},
};

/// What every candidate's remedies are worked out from, gathered once: explaining n candidates must not cost n * n.
pub(super) struct Remedies<'a> {
    ranked: &'a [Ranked<'a>],
    ties: TiePolicy,
    next_sequence: u64,
    providers: BTreeMap<&'a Provider, Standing>,
}

#[derive(Default)]
struct Standing {
    /// Its registrations for the slot, those that are out of the question too.
    registrations: usize,
    /// The place of its best one, unless that one is tied with its next.
    best: Option<usize>,
    ranked: usize,
}

impl<'a> Remedies<'a> {
    pub(super) fn new(field: &'a Field<'a>, contest: &Contest<'_>) -> Self {
        let mut providers: BTreeMap<&Provider, Standing> = BTreeMap::new();
        for (held, _) in &field.excluded {
            providers.entry(held.provider()).or_default().registrations += 1;
        }
        for (index, Ranked { held, score }) in field.ranked.iter().enumerate() {
            let standing = providers.entry(held.provider()).or_default();
            standing.registrations += 1;
            standing.ranked += 1;
            match (standing.ranked, standing.best) {
                (1, _) => standing.best = Some(index),
                (2, Some(best))
                    if precedence::is_tie(&field.ranked[best].score, score, contest.ties) =>
                {
                    standing.best = None;
                }
                _ => {}
            }
        }
        let next_sequence = contest.next_sequence();
        Self {
            ranked: &field.ranked,
            ties: contest.ties,
            next_sequence,
            providers,
        }
    }

    /// Returns the changes that would make the candidate at `index` win, the least of them first.
    pub(super) fn of(&self, index: usize) -> Vec<Change> {
        let Ranked { held, score } = &self.ranked[index];
        let Some(Ranked { score: rival, .. }) = self.ranked.get(usize::from(index == 0)) else {
            return Vec::new();
        };
        let wins = |score: &Score| {
            precedence::compare(score, rival, self.ties).0 == Ordering::Greater
                && !precedence::is_tie(score, rival, self.ties)
        };
        let smallest = |level: i64, with: &dyn Fn(i64) -> Score| {
            let levels = [Some(level), level.checked_add(1)].into_iter().flatten();
            levels.into_iter().find(|level| wins(&with(*level)))
        };
        let standing = self.providers.get(held.provider());

        let mut changes = Vec::new();
        if wins(&Score {
            sequence: self.next_sequence,
            ..*score
        }) {
            changes.push(Change::Again(held.id()));
        }
        let stack_level = smallest(rival.stack_level, &|level| Score {
            stack_level: level,
            ..*score
        });
        changes.extend(stack_level.map(|level| Change::StackLevelOf(held.id(), level)));
        let priority = smallest(rival.priority, &|level| Score {
            priority: level,
            ..*score
        });
        changes.extend(priority.map(|level| match standing {
            Some(Standing {
                registrations: 1, ..
            }) => Change::Priority(held.provider().clone(), level),
            _ => Change::PriorityOf(held.id(), level),
        }));
        // Selecting a provider lifts all of its candidates alike, so it helps the best of them only.
        if !score.selected && standing.is_some_and(|standing| standing.best == Some(index)) {
            changes.push(Change::Select(held.provider().clone()));
        }
        changes
    }
}
