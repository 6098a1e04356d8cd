//! `activity`: what does not run, why, who said so and until when.

use oneiric_lifecycle::Activity;
use oneiric_runtime::api::{ActivityDoc, ScopeDoc};

use super::{oldest, one_word, typed};
use crate::args;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style};
use crate::session::{self, Session};
use crate::table::{Cell, Table};
use crate::words::{Millis, since};

pub(in crate::commands) async fn run(
    args: &args::Activity,
    session: &mut Session,
) -> Result<Output, Failure> {
    let scope = match args.words.as_slice() {
        [] => None,
        words => Some(name(one_word(words)?)?),
    };
    let mut client = session.client().await?;
    let reply = client.activity(scope.as_ref()).await;
    let reply = reply.map_err(session::failure)?;
    let text = shown(&reply.doc, Session::now_unix_ms(), session.paint);
    Ok(Output::new(text, reply.json))
}

fn shown(doc: &ActivityDoc, now_unix_ms: u64, paint: Paint) -> String {
    if doc.scopes.is_empty() {
        return "everything runs\n".to_owned();
    }
    let headings = [
        "scope",
        "activity",
        "since",
        "until",
        "who",
        "in flight",
        "note",
    ];
    let mut table = Table::new(&headings);
    for scope in &doc.scopes {
        table.row(row(scope, now_unix_ms));
    }
    let mut text = table.display(paint).to_string();
    for scope in &doc.scopes {
        if let (Activity::Running, Some(holds)) = (scope.activity, &scope.held_by) {
            let next = format!("`oneiric activity {}` says why", typed(holds));
            let line = format!(
                "\n{} takes no work because of {holds}; {next}\n",
                scope.scope
            );
            text.push_str(&paint.text(Style::Attention, line).to_string());
        }
    }
    text
}

fn row(doc: &ScopeDoc, now_unix_ms: u64) -> [Cell; 7] {
    let (activity, style) = match doc.activity {
        Activity::Running => ("running", Style::Good),
        Activity::Draining if doc.drained => ("drained", Style::Attention),
        other => (other.name(), Style::Attention),
    };
    let ago = |then| format!("{} ago", since(then, now_unix_ms));
    let until = |then: u64| format!("in {}", Millis(then.saturating_sub(now_unix_ms)));
    [
        Cell::new(&doc.scope),
        Cell::new(activity).style(style),
        Cell::maybe(doc.since_unix_ms.map(ago)),
        Cell::maybe(doc.until_unix_ms.map(until)),
        Cell::maybe(doc.who.as_ref()),
        Cell::number(format!("{}{}", doc.in_flight, oldest(doc))),
        Cell::maybe(doc.note.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(scopes: Value) -> String {
        let doc = json!({"schema": "oneiric.activity/1", "scopes": scopes});
        shown(
            &serde_json::from_value(doc).unwrap(),
            7_260_000,
            Paint::new(false),
        )
    }

    #[test]
    fn what_does_not_run_is_a_table() {
        let text = table(json!([
            {"scope": "adapter/*", "activity": "paused", "note": "moving\u{1b}[2J house",
             "who": "uid:1000", "since_unix_ms": 60_000, "until_unix_ms": 9_060_000,
             "slots": ["adapter/cache"], "in_flight": 12, "oldest_ms": 14_999},
            {"scope": "adapter/cache:redis", "activity": "draining", "drained": true,
             "who": "uid:0", "since_unix_ms": 7_250_000, "slots": ["adapter/cache"],
             "in_flight": 0},
        ]));
        let expected = "\
scope                activity  since    until      who       in flight  note
adapter/*            paused    2 h ago  in 30 min  uid:1000  12, oldest 15 s  moving\\u{1b}[2J house
adapter/cache:redis  drained   10 s ago  -         uid:0             0  -
";
        let squeezed = |text: &str| {
            let lines = text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&text), squeezed(expected));
    }

    #[test]
    fn where_all_runs_it_says_so() {
        assert_eq!(table(json!([])), "everything runs\n");
    }

    #[test]
    fn what_is_held_by_another_scope_says_by_which() {
        let text = table(json!([
            {"scope": "adapter/cache", "activity": "running", "slots": ["adapter/cache"],
             "in_flight": 0, "held_by": "adapter/*"},
        ]));
        assert!(
            text.ends_with(
                "\nadapter/cache takes no work because of adapter/*; `oneiric activity 'adapter/*'` \
                 says why\n"
            ),
            "{text}"
        );
    }
}
