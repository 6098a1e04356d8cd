//! Why somebody won: the ranking itself, kept and annotated. Everything here is read off a [`Contest`] with the one
//! comparison of `precedence`, so an explanation says what a lookup does.
//!
//! As JSON the document is `oneiric.explain/1` and only ever grows; as text it is for a person at a terminal.

mod remedy;
mod suggest;
mod text;

use std::cmp::Ordering;

use serde::Serialize;

use self::remedy::Remedies;
use crate::{
    candidate::Registered,
    change::Change,
    contest::{Contest, Field, Ranked},
    name::Provider,
    origin::Origin,
    precedence::{self, Score, TiePolicy, Tier},
    query::{Exclusion, Query},
    selection::SelectionLayer,
    snapshot::Snapshot,
};

/// The schema of the JSON form.
const SCHEMA: &str = "oneiric.explain/1";

/// The answer to a query and the reasons for it. `Display` gives the text for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// `oneiric.explain/1`.
    pub schema: &'static str,
    /// What was asked.
    pub query: Query,
    /// How many changes the registry had seen.
    pub generation: u64,
    /// What decides between equals.
    pub ties: TiePolicy,
    /// How it ended.
    pub outcome: Outcome,
    /// Who won.
    pub winner: Option<Contender>,
    /// What put the winner before the next one.
    pub decided_by: Option<Decision>,
    /// The selection that holds for the slot.
    pub selection: Option<SelectionNote>,
    /// Who took part, best first.
    pub candidates: Vec<RankedCandidate>,
    /// Who could not take part.
    pub excluded: Vec<Excluded>,
    /// Who is next in line: who wins if the winner dies.
    pub successor: Option<Contender>,
    /// What was assumed, if anything was.
    pub what_if: Option<WhatIf>,
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Somebody won.
    Won,
    /// The best are equal, and the tie policy is to refuse.
    Tied,
    /// No candidate satisfies the query.
    Nobody,
}

/// A candidate by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Contender {
    /// The provider.
    pub provider: Provider,
    /// The source that registered it.
    pub origin: Origin,
    /// Its registration number.
    pub sequence: u64,
}

/// The tier that decided between two, and what each had there (0 and 1 stand for no and yes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// The tier.
    pub tier: Tier,
    /// What the winner had.
    pub winner: i64,
    /// What the loser had.
    pub loser: i64,
}

/// A candidate that took part.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RankedCandidate {
    /// Its place, from 1.
    pub rank: usize,
    /// The provider.
    pub provider: Provider,
    /// The source that registered it.
    pub origin: Origin,
    /// Selected, capability matches, priority, stack level, sequence.
    pub score: (u8, u32, i64, i64, u64),
    /// Whether it ranks in the class below all others.
    pub fallback: bool,
    /// Whether the priority is the registry's default.
    pub default_priority: bool,
    /// What counted for it.
    pub reasons: Vec<String>,
    /// How it fared.
    pub verdict: Verdict,
    /// What it lost on.
    pub lost_on: Option<Decision>,
    /// Single changes each of which would make it win, the smallest of their kind.
    pub would_win_with: Vec<Change>,
}

/// How a candidate fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It ranks best. Whether it also serves is not the ranking's to say.
    Wins,
    /// It shares the first place, and nobody won.
    Tied,
    /// It lost.
    Lost,
}

/// A candidate that could not take part.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Excluded {
    /// The provider.
    pub provider: Provider,
    /// The source that registered it.
    pub origin: Origin,
    /// Its registration number.
    pub sequence: u64,
    /// Why.
    pub reason: Exclusion,
}

/// The selection that holds for the slot, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SelectionNote {
    /// The provider it names.
    pub provider: Provider,
    /// Who made it.
    pub layer: SelectionLayer,
    /// Whether anybody registered that provider for the slot.
    pub known: bool,
    /// Whether a candidate of that provider took part.
    pub effective: bool,
    /// The registered provider that was probably meant.
    pub suggestion: Option<Provider>,
    /// What the settings select, when the operator selects something else.
    pub overrides: Option<Provider>,
}

/// What was assumed and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WhatIf {
    /// The assumptions, in order.
    pub changes: Vec<Change>,
    /// Who wins as things are.
    pub before: Option<Contender>,
    /// Who would win.
    pub after: Option<Contender>,
}

impl Explanation {
    pub(crate) fn new(snapshot: &Snapshot, contest: &Contest<'_>, query: &Query) -> Self {
        let field = contest.hold(query);
        let tied = field.tied(contest.ties);
        let outcome = match tied {
            0 => Outcome::Nobody,
            1 => Outcome::Won,
            _ => Outcome::Tied,
        };
        let winner = field.winner(contest.ties);
        let runner_up = field.ranked.get(1).filter(|_| winner.is_some());
        let decided_by = winner
            .zip(runner_up)
            .map(|(winner, loser)| Decision::between(&winner.score, &loser.score, contest.ties));
        let successor = runner_up
            .and(field.without_first().winner(contest.ties))
            .map(Contender::new);
        let remedies = Remedies::new(&field, contest);
        let selected = contest.selection().map(|selection| selection.provider);
        let candidates = (0..field.ranked.len())
            .map(|index| RankedCandidate::new(&field.ranked, index, contest.ties, tied, &remedies))
            .map(|candidate| candidate.with_reasons(selected.as_ref(), query))
            .collect();
        let excluded = field.excluded.iter().map(|(held, reason)| Excluded {
            provider: held.provider().clone(),
            origin: held.origin().clone(),
            sequence: held.sequence(),
            reason: reason.clone(),
        });
        Self {
            schema: SCHEMA,
            query: query.clone(),
            generation: snapshot.generation(),
            ties: contest.ties,
            outcome,
            winner: winner.map(Contender::new),
            decided_by,
            selection: SelectionNote::new(contest, &field),
            candidates,
            excluded: excluded.collect(),
            successor,
            what_if: None,
        }
    }

    /// Notes what was assumed, beside the contest without it.
    pub(crate) fn assuming(
        mut self,
        changes: &[Change],
        actual: &Contest<'_>,
        query: &Query,
    ) -> Self {
        let before = actual.hold(query).winner(actual.ties).map(Contender::new);
        let after = self.winner.clone();
        self.what_if = Some(WhatIf {
            changes: changes.to_vec(),
            before,
            after,
        });
        self
    }
}

impl Contender {
    fn new(ranked: &Ranked<'_>) -> Self {
        let held: &Registered = ranked.held;
        Self {
            provider: held.provider().clone(),
            origin: held.origin().clone(),
            sequence: held.sequence(),
        }
    }
}

impl Decision {
    fn between(winner: &Score, loser: &Score, ties: TiePolicy) -> Self {
        let (ordering, tier) = precedence::compare(winner, loser, ties);
        debug_assert_ne!(ordering, Ordering::Less, "the ranking is sorted");
        let value = |score: &Score| match tier {
            Tier::Selection => i64::from(score.selected),
            Tier::Fallback => i64::from(score.fallback),
            Tier::Capabilities => i64::from(score.capability_matches),
            Tier::Priority => score.priority,
            Tier::StackLevel => score.stack_level,
            Tier::Sequence => i64::try_from(score.sequence).unwrap_or(i64::MAX),
        };
        Self {
            tier,
            winner: value(winner),
            loser: value(loser),
        }
    }
}

impl RankedCandidate {
    fn new(
        ranked: &[Ranked<'_>],
        index: usize,
        ties: TiePolicy,
        tied: usize,
        remedies: &Remedies<'_>,
    ) -> Self {
        let Ranked { held, score } = &ranked[index];
        let verdict = match (index < tied, tied) {
            (true, 1) => Verdict::Wins,
            (true, _) => Verdict::Tied,
            (false, _) => Verdict::Lost,
        };
        let lost_on =
            (verdict == Verdict::Lost).then(|| Decision::between(&ranked[0].score, score, ties));
        let would_win_with = match verdict {
            Verdict::Wins => Vec::new(),
            Verdict::Tied | Verdict::Lost => remedies.of(index),
        };
        Self {
            rank: index + 1,
            provider: held.provider().clone(),
            origin: held.origin().clone(),
            score: (
                u8::from(score.selected),
                score.capability_matches,
                score.priority,
                score.stack_level,
                score.sequence,
            ),
            fallback: score.fallback,
            default_priority: held.priority().is_none() && score.priority == held.score().priority,
            reasons: Vec::new(),
            verdict,
            lost_on,
            would_win_with,
        }
    }

    /// Says what counted, in words that do not change.
    fn with_reasons(mut self, selection: Option<&Provider>, query: &Query) -> Self {
        let (selected, matches, priority, stack_level, sequence) = self.score;
        if let Some(provider) = selection {
            self.reasons.push(if selected == 1 {
                format!("matched selection override {provider}")
            } else {
                format!("selection override prefers {provider}")
            });
        }
        if self.fallback {
            self.reasons.push("fallback".to_owned());
        }
        self.reasons.push(format!("priority={priority}"));
        let required = query.wanted_capabilities().names().len();
        if required > 0 {
            self.reasons
                .push(format!("capability_match={matches}/{required}"));
        }
        self.reasons.push(format!("stack_level={stack_level}"));
        self.reasons.push(format!("registration_order={sequence}"));
        self
    }
}

impl SelectionNote {
    fn new(contest: &Contest<'_>, field: &Field<'_>) -> Option<Self> {
        let selection = contest.selection()?;
        let provider = &selection.provider;
        let effective = field.ranked.iter().any(|ranked| ranked.score.selected);
        let out = field.excluded.iter().map(|(held, _)| *held);
        let mut providers: Vec<&Provider> = field
            .ranked
            .iter()
            .map(|ranked| ranked.held)
            .chain(out)
            .map(|held| held.provider())
            .collect();
        providers.sort_unstable();
        let known = providers.contains(&provider);
        let suggestion = if known {
            None
        } else {
            suggest::nearest(provider, &providers)
        };
        let settings = contest.layers.of(SelectionLayer::Settings).as_ref();
        let overrides = settings
            .filter(|other| selection.layer == SelectionLayer::Operator && *other != provider)
            .cloned();
        Some(Self {
            provider: selection.provider,
            layer: selection.layer,
            known,
            effective,
            suggestion,
            overrides,
        })
    }
}
