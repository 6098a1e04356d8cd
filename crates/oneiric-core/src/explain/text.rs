//! The explanation as text for a person: the answer first, then why, then everybody else and what would change it.
//! Columns that say nothing (no selection, no capabilities asked for) are left out.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{
    Contender, Decision, Excluded, Explanation, Outcome, RankedCandidate, SelectionNote, Verdict,
    WhatIf,
};
use crate::{
    bounds,
    change::Change,
    precedence::{TiePolicy, Tier},
    query::Query,
    selection::SelectionLayer,
};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(what_if) = &self.what_if {
            writeln!(f, "{what_if}\n")?;
        }
        self.headline(f)?;
        asked(f, &self.query)?;
        if let Some(selection) = &self.selection {
            selection.lines(f)?;
        }
        if !self.candidates.is_empty() {
            self.table(f)?;
        }
        if !self.excluded.is_empty() {
            f.write_str("\n\n  out of the question:")?;
            for Excluded {
                provider,
                origin,
                sequence,
                reason,
            } in &self.excluded
            {
                write!(f, "\n     {provider} ({origin}, #{sequence}): {reason}")?;
            }
        }
        match (&self.winner, &self.successor) {
            (Some(winner), Some(next)) if winner.provider == next.provider => {
                write!(f, "\n\n  if {winner} dies: {next} is next in line")
            }
            (Some(winner), Some(next)) => {
                write!(
                    f,
                    "\n\n  if {} dies: {} is next in line",
                    winner.provider, next.provider
                )
            }
            (Some(winner), None) => {
                write!(
                    f,
                    "\n\n  if {} dies: nobody is next in line",
                    winner.provider
                )
            }
            (None, _) => Ok(()),
        }
    }
}

impl Explanation {
    fn headline(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let slot = self.query.slot();
        let Some(winner) = &self.winner else {
            return match self.outcome {
                Outcome::Tied => self.tie(f),
                _ if self.excluded.is_empty() => {
                    write!(f, "{slot} -> nobody   (no candidate is registered)")
                }
                _ => write!(f, "{slot} -> nobody   (no candidate satisfies the query)"),
            };
        };
        write!(
            f,
            "{slot} -> {}   (from {})",
            winner.provider, winner.origin
        )?;
        match (&self.decided_by, self.candidates.len().saturating_sub(1)) {
            (None, _) => f.write_str("\n  won as the only candidate"),
            (Some(decision), 1) => write!(f, "\n  won over 1 other by {}", Won(decision, self)),
            (Some(decision), others) => {
                write!(f, "\n  won over {others} others by {}", Won(decision, self))
            }
        }
    }

    fn tie(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> nobody: tied between ", self.query.slot())?;
        let tied = self
            .candidates
            .iter()
            .filter(|one| one.verdict == Verdict::Tied);
        for (index, one) in tied.enumerate() {
            let and = if index == 0 { "" } else { " and " };
            write!(f, "{and}{} ({})", one.provider, one.origin)?;
        }
        f.write_str("\n  equal priority and stack level, and the tie policy is to refuse")
    }

    fn table(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut columns: Vec<(&str, Cell)> = vec![
            ("#", |one, _| one.rank.to_string()),
            ("provider", |one, _| one.provider.to_string()),
            ("origin", |one, _| one.origin.to_string()),
        ];
        if self.selection.is_some() {
            columns.push(("selected", |one, _| dash(one.score.0 == 1, "yes")));
        }
        if self.candidates.iter().any(|one| one.fallback) {
            columns.push(("fallback", |one, _| dash(one.fallback, "yes")));
        }
        if !self.query.wanted_capabilities().names().is_empty() {
            columns.push(("caps", |one, all| {
                format!(
                    "{}/{}",
                    one.score.1,
                    all.query.wanted_capabilities().names().len()
                )
            }));
        }
        columns.push(("priority", |one, _| {
            let note = if one.default_priority {
                " (default)"
            } else {
                ""
            };
            format!("{}{note}", one.score.2)
        }));
        columns.push(("stack", |one, _| one.score.3.to_string()));
        columns.push(("seq", |one, _| one.score.4.to_string()));

        let cells: Vec<Vec<String>> = self
            .candidates
            .iter()
            .map(|one| columns.iter().map(|(_, cell)| cell(one, self)).collect())
            .collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(index, (title, _))| {
                cells
                    .iter()
                    .map(|row| row[index].len())
                    .fold(title.len(), usize::max)
            })
            .collect();
        f.write_str("\n\n")?;
        for ((title, _), width) in columns.iter().zip(&widths) {
            write!(f, "  {title:width$}")?;
        }
        f.write_str("  verdict")?;
        for (one, row) in self.candidates.iter().zip(&cells) {
            f.write_char('\n')?;
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "  {cell:width$}")?;
            }
            self.verdict(f, one)?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut Formatter<'_>, one: &RankedCandidate) -> fmt::Result {
        match (one.verdict, &one.lost_on) {
            (Verdict::Wins, _) => return f.write_str("  wins"),
            (Verdict::Tied, _) | (Verdict::Lost, None) => f.write_str("  tied")?,
            (Verdict::Lost, Some(decision)) => write!(f, "  {}", Lost(decision, self))?,
        }
        match one.would_win_with.as_slice() {
            [] => f.write_str("\n       no single change makes it win"),
            changes => {
                f.write_str("\n       would win with ")?;
                for (index, change) in changes.iter().enumerate() {
                    write!(
                        f,
                        "{}{}",
                        if index == 0 { "" } else { ", or " },
                        Remedy(change)
                    )?;
                }
                Ok(())
            }
        }
    }
}

type Cell = fn(&RankedCandidate, &Explanation) -> String;

fn dash(yes: bool, word: &str) -> String {
    if yes { word.to_owned() } else { "-".to_owned() }
}

/// Says what was asked beyond the slot.
fn asked(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    let mut parts = Vec::new();
    if let Some(provider) = query.wanted_provider() {
        parts.push(format!("provider {provider}"));
    }
    let capabilities = query.wanted_capabilities();
    if let [only] = capabilities.names() {
        parts.push(format!("capability {}", only.escape_debug()));
    } else if !capabilities.names().is_empty() {
        let kind = if capabilities.needs_all() {
            "all"
        } else {
            "any"
        };
        let names = capabilities.names().join(", ");
        parts.push(format!(
            "{kind} of the capabilities {}",
            names.escape_debug()
        ));
    }
    for (key, value) in query.properties() {
        parts.push(format!("{} = {value}", key.escape_debug()));
    }
    if parts.is_empty() {
        Ok(())
    } else {
        write!(f, "\n  asked for {}", parts.join("; "))
    }
}

/// What the winner won by, against the next.
struct Won<'a>(&'a Decision, &'a Explanation);

impl Display for Won<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(
            Decision {
                tier,
                winner,
                loser,
            },
            explanation,
        ) = self;
        match tier {
            Tier::Selection => {
                let layer = explanation
                    .selection
                    .as_ref()
                    .map(|selection| selection.layer);
                match layer {
                    Some(SelectionLayer::Operator) => {
                        f.write_str("selection: an operator chose it")
                    }
                    _ => f.write_str("selection: the settings choose it"),
                }
            }
            Tier::Fallback => f.write_str("not being a fallback"),
            Tier::Sequence => match explanation.ties {
                TiePolicy::Oldest => {
                    write!(f, "sequence: registered first (#{winner} before #{loser})")
                }
                _ => write!(f, "sequence: registered last (#{winner} after #{loser})"),
            },
            _ => write!(f, "{tier}: {winner} beats {loser}"),
        }
    }
}

/// What a loser lost on, against the winner.
struct Lost<'a>(&'a Decision, &'a Explanation);

impl Display for Lost<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(
            Decision {
                tier,
                winner,
                loser,
            },
            explanation,
        ) = self;
        match tier {
            Tier::Selection => match &explanation.selection {
                Some(selection) => {
                    write!(f, "lost on selection: {} is selected", selection.provider)
                }
                None => f.write_str("lost on selection"),
            },
            Tier::Fallback => f.write_str("lost on fallback class: it is a fallback"),
            Tier::Sequence => match explanation.ties {
                TiePolicy::Oldest => {
                    write!(f, "lost on sequence: #{loser} is later than #{winner}")
                }
                _ => write!(f, "lost on sequence: #{loser} is earlier than #{winner}"),
            },
            _ => write!(f, "lost on {tier}: {loser} < {winner}"),
        }
    }
}

/// A change in words, where the candidate it is about is plain.
struct Remedy<'a>(&'a Change);

impl Display for Remedy<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Change::Select(provider) => write!(f, "a selection of {provider}"),
            Change::Priority(_, level) | Change::PriorityOf(_, level) => {
                let beyond = if bounds::priority(*level).is_err() {
                    BEYOND
                } else {
                    ""
                };
                write!(f, "priority {level}{beyond}")
            }
            Change::StackLevelOf(_, level) => {
                let beyond = if bounds::stack_level(*level).is_err() {
                    BEYOND
                } else {
                    ""
                };
                write!(f, "stack level {level}{beyond}")
            }
            Change::Again(_) => f.write_str("being registered again"),
            other => Display::fmt(other, f),
        }
    }
}

const BEYOND: &str = " (more than settings and manifests may state)";

impl SelectionNote {
    fn lines(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            provider,
            layer,
            known,
            effective,
            suggestion,
            overrides,
        } = self;
        let whose = match layer {
            SelectionLayer::Settings => "the settings select",
            SelectionLayer::Operator => "an operator selected",
        };
        write!(f, "\n  {whose} '{provider}'")?;
        if let Some(other) = overrides {
            write!(f, ", over '{other}' in the settings")?;
        }
        if !known {
            f.write_str(", which nobody registered")?;
            if let Some(suggestion) = suggestion {
                write!(f, "; did you mean '{suggestion}'?")?;
            }
        } else if !effective {
            f.write_str(", which is out of the question here")?;
        }
        Ok(())
    }
}

impl Display for WhatIf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("what if ")?;
        for (index, change) in self.changes.iter().enumerate() {
            write!(f, "{}{change}", if index == 0 { "" } else { ", " })?;
        }
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if before == after => {
                write!(f, ": {} still wins", after.provider)
            }
            (Some(before), Some(after)) if before.provider == after.provider => {
                write!(f, ": {after} wins instead of {before}")
            }
            (Some(before), Some(after)) => {
                write!(
                    f,
                    ": {} wins instead of {}",
                    after.provider, before.provider
                )
            }
            (None, Some(after)) => write!(f, ": {} wins; now nobody does", after.provider),
            (Some(before), None) => write!(f, ": nobody wins; now {} does", before.provider),
            (None, None) => f.write_str(": still nobody wins"),
        }
    }
}

impl Display for Contender {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, #{})", self.provider, self.origin, self.sequence)
    }
}
