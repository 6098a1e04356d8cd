//! `list`: who wins, and who would like to.

use oneiric_lifecycle::ActivityScope;
use oneiric_runtime::api::{ListDoc, ListedCandidate, ListedSlot};

use crate::args::List;
use crate::commands::name;
use crate::failure::Failure;
use crate::offline;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::table::{Cell, Table};

pub(super) async fn run(args: &List, session: &mut Session) -> Result<Output, Failure> {
    let domain = args.domain.as_deref();
    let (doc, json) = if args.offline {
        let domain = domain.map(name).transpose()?;
        let runtime = offline::runtime(&session.sources)?;
        let list = runtime.list(domain.as_ref());
        if let Some(domain) = domain.filter(|_| list.slots.is_empty()) {
            let known = runtime.activity(Some(&ActivityScope::Domain(domain)));
            known.map_err(|error| {
                let failure = Failure::of(&error);
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?;
        }
        offline::document(&list)?
    } else {
        let mut client = session.client().await.map_err(offline::or_offline)?;
        let reply = client.list(domain).await.map_err(session::failure)?;
        // In a domain that is known there may be nothing; one that nobody knows was misspelt.
        if let Some(domain) = domain.filter(|_| reply.doc.slots.is_empty()) {
            let scope = ActivityScope::Domain(name(domain)?);
            client
                .activity(Some(&scope))
                .await
                .map_err(session::failure)?;
        }
        (reply.doc, reply.json)
    };
    let mut text = shown(&doc, domain, args.shadowed, session.paint);
    if args.offline {
        let note = session.paint.text(Style::Faint, offline::OFFLINE);
        text.push_str(&format!("\n{note}\n"));
    }
    Ok(Output::new(text, json))
}

fn shown(doc: &ListDoc, domain: Option<&str>, shadowed: bool, paint: Paint) -> String {
    let headings = ["slot", "provider", "priority", "stack", "origin", "state"];
    let mut table = Table::new(&headings);
    let mut notes = String::new();
    for slot in &doc.slots {
        if slot.winner.is_none() {
            let state = Cell::new("tied: nobody wins").style(Style::Attention);
            let (none, number) = (|| Cell::maybe(None::<&str>), || Cell::number("-"));
            table.row([
                Cell::new(&slot.slot),
                none(),
                number(),
                number(),
                none(),
                state,
            ]);
        }
        let tied = slot.winner.is_none();
        for candidate in &slot.candidates {
            if shadowed || tied || candidate.winner || candidate.active {
                table.row(row(slot, candidate));
            }
        }
        if let Some(selection) = slot.selection.as_ref().filter(|selection| !selection.known) {
            let note = format!(
                "{}: the {} selection {} names nobody who is registered\n",
                slot.slot, selection.layer, selection.provider
            );
            notes.push_str(&paint.text(Style::Attention, note).to_string());
        }
    }
    if table.is_empty() {
        return match domain {
            Some(domain) => format!("nothing is registered in {}\n", harmless(domain)),
            None => "nothing is registered\n".to_owned(),
        };
    }
    if !notes.is_empty() {
        notes.insert(0, '\n');
    }
    format!("{}{notes}", table.display(paint))
}

fn row(slot: &ListedSlot, candidate: &ListedCandidate) -> [Cell; 6] {
    let (state, style) = match (candidate.active, candidate.winner) {
        (true, true) => ("active", Style::Good),
        (true, false) => ("active, outranked", Style::Attention),
        (false, true) if slot.active.is_some() => ("wins, not active", Style::Attention),
        (false, true) => (slot.state.as_str(), Style::Attention),
        (false, false) => ("shadowed", Style::Faint),
    };
    let mut state = state.to_owned();
    let mut style = style;
    if let Some(activity) = slot.activity.as_ref().filter(|_| candidate.active) {
        state.push_str(", ");
        state.push_str(activity);
        style = Style::Attention;
    }
    let selected = slot
        .selection
        .as_ref()
        .filter(|held| held.provider == candidate.provider);
    if let Some(selection) = selected {
        state.push_str(", selected by ");
        state.push_str(&selection.layer);
    }
    if candidate.fallback {
        state.push_str(", fallback");
    }
    [
        Cell::new(&slot.slot),
        Cell::new(&candidate.provider),
        Cell::number(candidate.priority),
        Cell::number(candidate.stack_level),
        Cell::new(&candidate.origin),
        Cell::new(state).style(style),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn candidate(provider: &str, priority: i64, active: bool, winner: bool) -> serde_json::Value {
        json!({
            "provider": provider, "origin": "settings", "priority": priority, "stack_level": 0,
            "sequence": 1, "fallback": provider == "flaky", "capabilities": [],
            "active": active, "winner": winner,
        })
    }

    fn doc(slots: serde_json::Value) -> ListDoc {
        serde_json::from_value(json!({"schema": "oneiric.list/1", "slots": slots})).unwrap()
    }

    #[test]
    fn losers_are_listed_when_asked_for() {
        let doc = doc(json!([{
            "slot": "adapter/cache", "state": "active", "active": "file", "winner": "file",
            "selection": {"provider": "file", "layer": "operator", "known": true},
            "candidates": [
                candidate("file", 10, true, true), candidate("memory", 20, false, false),
                candidate("flaky", 0, false, false),
            ],
        }]));
        let winners = "\
slot           provider  priority  stack  origin    state
adapter/cache  file            10      0  settings  active, selected by operator
";
        assert_eq!(shown(&doc, None, false, Paint::new(false)), winners);
        let losers = "\
adapter/cache  memory          20      0  settings  shadowed
adapter/cache  flaky            0      0  settings  shadowed, fallback
";
        assert_eq!(
            shown(&doc, None, true, Paint::new(false)),
            format!("{winners}{losers}")
        );
    }

    #[test]
    fn p06_a_selection_of_nobody_is_said() {
        let doc = doc(json!([{
            "slot": "a/b", "state": "active", "active": "x", "winner": "x",
            "selection": {"provider": "redus", "layer": "settings", "known": false},
            "candidates": [candidate("x", 1, true, true)],
        }]));
        let text = shown(&doc, None, false, Paint::new(false));
        assert!(
            text.ends_with(
                "\n\na/b: the settings selection redus names nobody who is registered\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_tie_shows_everybody() {
        let doc = doc(json!([{
            "slot": "a/b", "state": "inactive",
            "candidates": [candidate("x", 1, false, false), candidate("y", 1, false, false)],
        }]));
        let text = shown(&doc, None, false, Paint::new(false));
        assert!(
            text.contains("tied: nobody wins") && text.lines().count() == 4,
            "{text}"
        );
    }

    #[test]
    fn an_empty_list_says_so() {
        let doc = doc(json!([]));
        let said = |domain| shown(&doc, domain, false, Paint::new(false));
        assert_eq!(said(None), "nothing is registered\n");
        assert_eq!(said(Some("task")), "nothing is registered in task\n");
    }
}
