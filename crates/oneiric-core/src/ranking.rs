//! One slot's candidates in order of precedence.
//!
//! The orders are persistent red-black trees (`rpds`): a write makes O(log n) new nodes and shares the rest with the
//! snapshot before it. A sorted vector would be copied whole on every write, and registering N candidates for one
//! key would cost O(N^2). Each provider has its own order besides, so that the best of one provider (a query for it,
//! or a selection of it) is found without scanning the others.

use std::cmp::Ordering;

use rpds::RedBlackTreeMapSync;

use crate::{
    candidate::Registered,
    name::Provider,
    precedence::{self, Score, TiePolicy},
    selection::Selection,
};

/// Candidates, best first.
pub(crate) type Ranking = RedBlackTreeMapSync<RankKey, Registered>;

/// A place in a ranking. Its order is [`precedence::compare`], best first; nothing else orders candidates.
#[derive(Debug, Clone)]
pub(crate) struct RankKey {
    score: Score,
    ties: TiePolicy,
}

impl Ord for RankKey {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        crate::work::add(1);
        precedence::compare(&other.score, &self.score, self.ties).0
    }
}

impl PartialOrd for RankKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RankKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RankKey {}

/// The head of a ranking, as the tie policy sees it.
pub(crate) enum Head<'a> {
    Nobody,
    Winner(&'a Registered),
    Tied(Vec<&'a Registered>),
}

/// Finds who heads a ranking.
pub(crate) fn head(ranking: &Ranking, ties: TiePolicy) -> Head<'_> {
    let Some((key, first)) = ranking.first() else {
        return Head::Nobody;
    };
    if ties != TiePolicy::Error {
        return Head::Winner(first);
    }
    let tied = |place: &&RankKey| precedence::is_tie(&key.score, &place.score, ties);
    let tied: Vec<_> = ranking
        .iter()
        .take_while(|(place, _)| tied(place))
        .map(|(_, held)| held)
        .collect();
    if tied.len() > 1 {
        Head::Tied(tied)
    } else {
        Head::Winner(first)
    }
}

/// Everything a snapshot knows of one slot that has candidates.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The slot's place in the order in which slots were first registered.
    pub(crate) ordinal: u64,
    pub(crate) selection: Option<Selection>,
    ties: TiePolicy,
    all: Ranking,
    providers: RedBlackTreeMapSync<Provider, Ranking>,
}

impl Entry {
    pub(crate) fn new(ordinal: u64, selection: Option<Selection>, ties: TiePolicy) -> Self {
        Self {
            ordinal,
            selection,
            ties,
            all: Ranking::new_sync(),
            providers: RedBlackTreeMapSync::new_sync(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn all(&self) -> &Ranking {
        &self.all
    }

    pub(crate) fn of(&self, provider: &Provider) -> Option<&Ranking> {
        self.providers.get(provider)
    }

    /// Who wins when nothing but the slot is asked: a selected provider's best, else the best of all.
    pub(crate) fn head(&self) -> Head<'_> {
        let selected = self
            .selection
            .as_ref()
            .and_then(|selection| self.of(&selection.provider));
        head(selected.unwrap_or(&self.all), self.ties)
    }

    pub(crate) fn head_of(&self, provider: &Provider) -> Head<'_> {
        self.of(provider)
            .map_or(Head::Nobody, |ranking| head(ranking, self.ties))
    }

    pub(crate) fn winner(&self) -> Option<&Registered> {
        match self.head() {
            Head::Winner(winner) => Some(winner),
            Head::Nobody | Head::Tied(_) => None,
        }
    }

    /// The rest in order: what [`Self::head`] leaves, selected provider first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Registered> {
        let named = self.selection.as_ref().map(|selection| &selection.provider);
        let selected = named.and_then(|provider| self.of(provider));
        let others = self
            .all
            .values()
            .filter(move |held| Some(held.provider()) != named);
        selected.into_iter().flat_map(Ranking::values).chain(others)
    }

    pub(crate) fn insert(&mut self, held: Registered) {
        let key = self.place(&held);
        if let Some(ranking) = self.providers.get_mut(held.provider()) {
            ranking.insert_mut(key.clone(), held.clone());
        } else {
            let mut ranking = Ranking::new_sync();
            ranking.insert_mut(key.clone(), held.clone());
            self.providers.insert_mut(held.provider().clone(), ranking);
        }
        self.all.insert_mut(key, held);
    }

    pub(crate) fn remove(&mut self, held: &Registered) {
        let key = self.place(held);
        self.all.remove_mut(&key);
        if let Some(ranking) = self.providers.get_mut(held.provider()) {
            ranking.remove_mut(&key);
            if ranking.is_empty() {
                self.providers.remove_mut(held.provider());
            }
        }
    }

    fn place(&self, held: &Registered) -> RankKey {
        RankKey {
            score: held.score(),
            ties: self.ties,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::{Candidate, Origin, SelectionLayer, precedence::compare};

    fn scores() -> impl Strategy<Value = Score> {
        let edge = || select(vec![i64::MIN, -1, 0, 1, i64::MAX]);
        (
            any::<bool>(),
            any::<bool>(),
            0..3_u32,
            edge(),
            edge(),
            0..4_u64,
        )
            .prop_map(
                |(selected, fallback, capability_matches, priority, stack_level, sequence)| Score {
                    selected,
                    fallback,
                    capability_matches,
                    priority,
                    stack_level,
                    sequence,
                },
            )
    }

    fn policies() -> impl Strategy<Value = TiePolicy> {
        select(vec![TiePolicy::Newest, TiePolicy::Oldest, TiePolicy::Error])
    }

    /// Candidates with given sequence numbers, and the numbers of some that come and go.
    fn held() -> impl Strategy<Value = Vec<(Registered, bool)>> {
        let one = (
            0..3_usize,
            -1..2_i64,
            -1..2_i64,
            any::<bool>(),
            any::<bool>(),
        );
        vec(one, 1..12).prop_map(|all| {
            let made = all.into_iter().enumerate().map(
                |(index, (whose, priority, stack_level, fallback, passing))| {
                    let provider = Provider::new(["a", "b", "c"][whose]).unwrap();
                    let slot = "adapter/cache".parse().unwrap();
                    let candidate = Candidate::builder(slot, provider, Origin::settings())
                        .priority(priority)
                        .stack_level(stack_level)
                        .fallback(fallback)
                        .build();
                    (Registered::new(candidate, index as u64 + 1, 0), passing)
                },
            );
            made.collect()
        })
    }

    proptest! {
        #[test]
        fn precedence_is_a_total_order(ties in policies(), a in scores(), b in scores(), c in scores()) {
            let order = |x: &Score, y: &Score| compare(x, y, ties).0;
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse(), "antisymmetric");
            prop_assert_eq!(order(&a, &b).is_eq(), a == b, "total: only the same is equal");
            prop_assert_eq!(compare(&a, &b, ties).1, compare(&b, &a, ties).1, "the tier is the pair's");
            if order(&a, &b).is_ge() && order(&b, &c).is_ge() {
                prop_assert!(order(&a, &c).is_ge(), "transitive");
            }
        }

        #[test]
        fn a_ranking_depends_on_its_members_and_not_on_how_they_came(
            ties in policies(),
            (held, shuffled) in held().prop_flat_map(|held| (Just(held.clone()), Just(held).prop_shuffle())),
            chosen in select(vec![None, Some("a"), Some("b"), Some("none")]),
        ) {
            let selection = chosen.map(|name| Selection {
                provider: Provider::new(name).unwrap(),
                layer: SelectionLayer::Settings,
            });
            let entry = |members: &[(Registered, bool)]| {
                let mut entry = Entry::new(1, selection.clone(), ties);
                for (held, _) in members {
                    entry.insert(held.clone());
                }
                for (held, passing) in members {
                    if *passing {
                        entry.remove(held);
                    }
                }
                entry
            };
            let staying: Vec<_> = held.iter().filter(|(_, passing)| !passing).cloned().collect();
            let order = |entry: &Entry| entry.in_order().map(Registered::sequence).collect::<Vec<_>>();
            let direct = entry(&staying);
            let detour = entry(&shuffled);
            prop_assert_eq!(order(&direct), order(&detour));
            prop_assert_eq!(direct.winner().map(Registered::sequence), detour.winner().map(Registered::sequence));
            prop_assert_eq!(direct.is_empty(), staying.is_empty());
        }
    }
}
