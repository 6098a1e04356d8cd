//! What would make a loser win: single changes, each the smallest of its kind.
//!
//! A change to one candidate leaves all others as they are, so it wins exactly when it beats the best of the others
//! and is not tied with it. That is asked of the same comparison that made the ranking, for the smallest value that
//! could do and then for one more; what cannot help is not offered.

use std::cmp::Ordering;

use crate::{
    change::Change,
    contest::{Contest, Field, Ranked},
    precedence::{self, Score},
};

pub(super) fn remedies(field: &Field<'_>, index: usize, contest: &Contest<'_>) -> Vec<Change> {
    let Ranked { held, score } = &field.ranked[index];
    let Some(Ranked { score: rival, .. }) = field.ranked.get(usize::from(index == 0)) else {
        return Vec::new();
    };
    let wins = |score: &Score| {
        precedence::compare(score, rival, contest.ties).0 == Ordering::Greater
            && !precedence::is_tie(score, rival, contest.ties)
    };
    let smallest = |level: i64, with: &dyn Fn(i64) -> Score| {
        [Some(level), level.checked_add(1)]
            .into_iter()
            .flatten()
            .find(|value| wins(&with(*value)))
    };

    let mut changes = Vec::new();
    if wins(&Score {
        sequence: contest.next_sequence(),
        ..*score
    }) {
        changes.push(Change::Again(held.id()));
    }
    if let Some(level) = smallest(rival.stack_level, &|stack_level| Score {
        stack_level,
        ..*score
    }) {
        changes.push(Change::StackLevelOf(held.id(), level));
    }
    if let Some(level) = smallest(rival.priority, &|priority| Score { priority, ..*score }) {
        changes.push(if contest.count_of(held.provider()) == 1 {
            Change::Priority(held.provider().clone(), level)
        } else {
            Change::PriorityOf(held.id(), level)
        });
    }
    if selecting_helps(field, index, contest) {
        changes.push(Change::Select(held.provider().clone()));
    }
    changes
}

/// Selecting a provider lifts all of its candidates alike: it helps its best one, if that one is not tied with the next.
fn selecting_helps(field: &Field<'_>, index: usize, contest: &Contest<'_>) -> bool {
    let Ranked { held, score } = &field.ranked[index];
    if score.selected {
        return false;
    }
    let mut others = field
        .ranked
        .iter()
        .enumerate()
        .filter(|(other, ranked)| *other != index && ranked.held.provider() == held.provider());
    others.all(|(other, ranked)| {
        other > index && !precedence::is_tie(score, &ranked.score, contest.ties)
    })
}
