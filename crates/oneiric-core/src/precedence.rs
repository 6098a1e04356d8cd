//! Who ranks above whom: one pure total order, used by lookups, by `explain` and by the order of the ranking trees.
//! There is no second place that compares candidates, so an explanation cannot disagree with a lookup.
//!
//! The clauses are numbered in `docs/spec/precedence.md`.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// Everything that ranks a candidate in one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Score {
    /// A selection names its provider.
    pub selected: bool,
    /// It belongs to the class below all others.
    pub fallback: bool,
    /// How many of the required capabilities it has; one required twice counts twice.
    pub capability_matches: u32,
    /// Its priority, or the registry's default.
    pub priority: i64,
    /// Its stack level, or 0.
    pub stack_level: i64,
    /// Its registration number, unique in its registry.
    pub sequence: u64,
}

/// What decides between candidates that are equal in everything but their registration number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TiePolicy {
    /// The one registered last wins.
    #[default]
    Newest,
    /// The one registered first wins.
    Oldest,
    /// Nobody wins: the question is refused, naming the tied ones.
    Error,
}

/// The tiers of precedence, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Named by a selection.
    Selection,
    /// Not a fallback.
    Fallback,
    /// More of the required capabilities.
    Capabilities,
    /// Higher priority.
    Priority,
    /// Higher stack level.
    StackLevel,
    /// Registered later, or earlier, by the tie policy.
    Sequence,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Selection => "selection",
            Self::Fallback => "fallback class",
            Self::Capabilities => "capabilities",
            Self::Priority => "priority",
            Self::StackLevel => "stack level",
            Self::Sequence => "sequence",
        })
    }
}

/// Compares two candidates; the greater one wins. Also returns the tier that decided.
///
/// It is a total order for every policy: under [`TiePolicy::Error`] the list is ordered as for `Newest`, and
/// [`is_tie`] tells whether that last step was allowed to decide.
#[must_use]
pub fn compare(a: &Score, b: &Score, ties: TiePolicy) -> (Ordering, Tier) {
    let tiers = [
        (a.selected.cmp(&b.selected), Tier::Selection),
        (b.fallback.cmp(&a.fallback), Tier::Fallback),
        (
            a.capability_matches.cmp(&b.capability_matches),
            Tier::Capabilities,
        ),
        (a.priority.cmp(&b.priority), Tier::Priority),
        (a.stack_level.cmp(&b.stack_level), Tier::StackLevel),
    ];
    for (ordering, tier) in tiers {
        if ordering.is_ne() {
            return (ordering, tier);
        }
    }
    let by_sequence = a.sequence.cmp(&b.sequence);
    let ordering = match ties {
        TiePolicy::Newest | TiePolicy::Error => by_sequence,
        TiePolicy::Oldest => by_sequence.reverse(),
    };
    (ordering, Tier::Sequence)
}

/// Tells whether the policy refuses to decide between these two.
#[must_use]
pub fn is_tie(a: &Score, b: &Score, ties: TiePolicy) -> bool {
    ties == TiePolicy::Error && compare(a, b, ties).1 == Tier::Sequence
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Score = Score {
        selected: false,
        fallback: false,
        capability_matches: 0,
        priority: 0,
        stack_level: 0,
        sequence: 1,
    };

    #[test]
    fn each_tier_beats_everything_below_it() {
        let weaker = Score {
            capability_matches: 9,
            priority: i64::MAX,
            stack_level: i64::MAX,
            sequence: u64::MAX,
            ..BASE
        };
        let steps = [
            (
                Score {
                    selected: true,
                    fallback: true,
                    ..BASE
                },
                weaker,
                Tier::Selection,
            ),
            (
                BASE,
                Score {
                    fallback: true,
                    ..weaker
                },
                Tier::Fallback,
            ),
            (
                Score {
                    capability_matches: 1,
                    ..BASE
                },
                Score {
                    capability_matches: 0,
                    ..weaker
                },
                Tier::Capabilities,
            ),
            (
                Score {
                    priority: 1,
                    ..BASE
                },
                Score {
                    capability_matches: 0,
                    priority: 0,
                    ..weaker
                },
                Tier::Priority,
            ),
            (
                Score {
                    stack_level: 1,
                    ..BASE
                },
                Score {
                    sequence: u64::MAX,
                    ..BASE
                },
                Tier::StackLevel,
            ),
        ];
        for (winner, loser, tier) in steps {
            for ties in [TiePolicy::Newest, TiePolicy::Oldest, TiePolicy::Error] {
                assert_eq!(compare(&winner, &loser, ties), (Ordering::Greater, tier));
                assert_eq!(compare(&loser, &winner, ties), (Ordering::Less, tier));
                assert!(!is_tie(&winner, &loser, ties));
            }
        }
    }

    #[test]
    fn the_tie_policy_decides_by_sequence_or_refuses() {
        let later = Score {
            sequence: 2,
            ..BASE
        };
        assert_eq!(
            compare(&later, &BASE, TiePolicy::Newest),
            (Ordering::Greater, Tier::Sequence)
        );
        assert_eq!(
            compare(&later, &BASE, TiePolicy::Oldest),
            (Ordering::Less, Tier::Sequence)
        );
        assert!(
            is_tie(&later, &BASE, TiePolicy::Error) && !is_tie(&later, &BASE, TiePolicy::Newest)
        );
    }
}
