//! `history`: what became of each slot, and who selected what, in one list by time. The two belong together: a
//! selection says who wanted it and why, the swap after it whether it came to be.

use std::num::NonZeroUsize;

use oneiric_core::Slot;
use oneiric_runtime::api::{Became, HistoryDoc, HistoryEntryDoc, RevisionDoc};

use crate::args::History;
use crate::commands::name;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style};
use crate::session::{self, Session};
use crate::table::{Cell, Table};

/// So many lines for people who do not say how many.
const LINES: usize = 50;

pub(super) async fn run(args: &History, session: &mut Session) -> Result<Output, Failure> {
    let slot = args.slot.as_deref().map(name).transpose()?;
    let mut client = session.client().await?;
    let reply = client.history(slot.as_ref()).await;
    let mut reply = reply.map_err(session::failure)?;
    let limit = args.limit.map_or(LINES, NonZeroUsize::get);
    let text = shown(&reply.doc, limit, session.paint);
    let document = match args.limit {
        None => reply.json,
        Some(limit) => {
            keep_last(&mut reply.doc, limit.get());
            session::document(&reply.doc)
        }
    };
    Ok(Output::new(text, document))
}

/// One line.
enum Past<'d> {
    Ended(&'d Slot, &'d HistoryEntryDoc),
    Selected(&'d RevisionDoc),
}

impl Past<'_> {
    const fn at(&self) -> u64 {
        match self {
            Self::Ended(_, entry) => entry.at_unix_ms,
            Self::Selected(revision) => revision.at_unix_ms,
        }
    }

    fn row(&self) -> [Cell; 9] {
        let when = Cell::new(moment(self.at())).style(Style::Faint);
        match self {
            Self::Ended(slot, entry) => {
                let (from, to) = match entry.ended.as_str() {
                    "retired" => (Some(&entry.provider), None),
                    _ => (entry.from.as_ref(), Some(&entry.provider)),
                };
                let what = if entry.forced {
                    format!("{} by force", entry.ended)
                } else {
                    entry.ended.clone()
                };
                let failure = entry.failure.as_ref();
                let why = failure.map(|failure| format!("{}: {}", failure.stage, failure.message));
                let decision = entry.decision.as_ref();
                // In words it has its failure in it.
                let why = decision.map(|decision| decision.text.clone()).or(why);
                let what = decision.map_or(what, |decision| decision.kind.clone());
                [
                    when,
                    Cell::new(slot),
                    Cell::new(what).style(style(entry)),
                    Cell::maybe(from),
                    Cell::maybe(to),
                    Cell::maybe(None::<u64>),
                    Cell::maybe(None::<&str>),
                    Cell::maybe(failure.map(|failure| &failure.code)),
                    Cell::maybe(why),
                ]
            }
            Self::Selected(revision) => [
                when,
                Cell::new(&revision.slot),
                Cell::new(selected(revision)).style(Style::Attention),
                Cell::maybe(revision.before.as_ref()),
                Cell::maybe(revision.provider.as_ref()),
                Cell::new(revision.revision),
                Cell::new(&revision.who),
                Cell::maybe(None::<&str>),
                Cell::maybe(revision.reason.as_ref()),
            ],
        }
    }
}

/// `selected, undone by 7`; of one that takes others back `undid 6: selected`.
fn selected(revision: &RevisionDoc) -> String {
    let what = match revision.provider {
        Some(_) => "selected",
        None => "unselected",
    };
    let undid = revision.undoes.map(|undone| {
        if undone.first == undone.last {
            format!("undid {}: ", undone.last)
        } else {
            format!("undid {}-{}: ", undone.first, undone.last)
        }
    });
    let became = match (revision.became, revision.by) {
        (Some(Became::Undone), Some(by)) => format!(", undone by {by}"),
        (Some(Became::Replaced), Some(by)) => format!(", replaced by {by}"),
        _ => String::new(),
    };
    format!("{}{what}{became}", undid.unwrap_or_default())
}

fn style(entry: &HistoryEntryDoc) -> Style {
    match entry.ended.as_str() {
        "decided" => Style::Attention,
        "activated" | "swapped" => Style::Good,
        "rolled_back" | "failed" => Style::Bad,
        _ => Style::Plain,
    }
}

fn shown(doc: &HistoryDoc, limit: usize, paint: Paint) -> String {
    let headings = [
        "when", "slot", "what", "from", "to", "rev", "who", "code", "why",
    ];
    let mut table = Table::new(&headings);
    let past = sorted(doc);
    let left_out = past.len().saturating_sub(limit);
    for line in past.iter().skip(left_out) {
        table.row(line.row());
    }
    if table.is_empty() {
        return "nothing has happened yet\n".to_owned();
    }
    let mut text = table.display(paint).to_string();
    let mut note = |note: String| text.push_str(&format!("{}\n", paint.text(Style::Faint, note)));
    if left_out > 0 {
        let all = past.len();
        note(format!(
            "{left_out} earlier ones are not shown; --limit {all} shows them all"
        ));
    }
    if !doc.persists {
        note("it is gone with the process, which keeps no state".to_owned());
    }
    text
}

/// Oldest first; where a selection and its swap have the same time, the selection, which was written down before.
fn sorted(doc: &HistoryDoc) -> Vec<Past<'_>> {
    let selected = doc.revisions.iter().map(Past::Selected);
    let ended = doc.slots.iter().flat_map(|slot| {
        let entries = slot.entries.iter();
        entries.map(|entry| Past::Ended(&slot.slot, entry))
    });
    let mut past: Vec<_> = selected.chain(ended).collect();
    past.sort_by_key(Past::at);
    past
}

/// The same for programs: what is not among the last so many is taken out.
fn keep_last(doc: &mut HistoryDoc, limit: usize) {
    let past = sorted(doc);
    let last = past.iter().skip(past.len().saturating_sub(limit));
    // A selection is of no slot's entries.
    let kept = last.map(|line| match line {
        Past::Ended(slot, _) => Some((*slot).clone()),
        Past::Selected(_) => None,
    });
    let kept: Vec<Option<Slot>> = kept.collect();
    let last = |of: Option<&Slot>| kept.iter().filter(|slot| slot.as_ref() == of).count();
    let revisions = doc.revisions.len().saturating_sub(last(None));
    doc.revisions.drain(..revisions);
    for slot in &mut doc.slots {
        let entries = slot.entries.len().saturating_sub(last(Some(&slot.slot)));
        slot.entries.drain(..entries);
    }
}

/// `2026-11-22 12:38:38Z`.
fn moment(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let Some(text) = oneiric_core::rfc3339::format(ms) else {
        return format!("{unix_ms} ms");
    };
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let seconds = time.split_once('.').map_or(time, |(seconds, _)| seconds);
    format!("{date} {seconds}Z")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn doc() -> HistoryDoc {
        serde_json::from_value(json!({
            "schema": "oneiric.history/1", "persists": true, "run": 2,
            "slots": [
                {"slot": "adapter/cache", "counts": {}, "entries": [
                    {"run": 1, "at_unix_ms": 1_000, "ended": "activated", "provider": "first", "instance": 1},
                    {"run": 2, "at_unix_ms": 3_000, "ended": "swapped", "provider": "second",
                     "from": "first", "instance": 2},
                    {"run": 2, "at_unix_ms": 4_000, "ended": "retired", "provider": "first", "instance": 1},
                ]},
                {"slot": "task/mail", "counts": {}, "entries": [
                    {"run": 2, "at_unix_ms": 3_400, "ended": "decided", "provider": "log", "from": "smtp",
                     "decision": {"kind": "fail_over", "text": "serving log: smtp failed 3 probes"}},
                    {"run": 2, "at_unix_ms": 3_500, "ended": "rolled_back", "provider": "smtp", "from": "log",
                     "failure": {"stage": "probe", "code": "lifecycle.probe_failed", "message": "no\u{1b}[2J"}},
                ]},
            ],
            "revisions": [{"revision": 1, "slot": "adapter/cache", "provider": "second",
                           "who": "uid:7", "reason": "a try", "at_unix_ms": 3_000,
                           "became": "undone", "by": 2}],
        }))
        .unwrap()
    }

    fn lines(limit: usize) -> Vec<String> {
        let text = shown(&doc(), limit, Paint::new(false));
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(squeezed).collect()
    }

    #[test]
    fn the_past_is_one_list_with_the_newest_last() {
        assert_eq!(
            lines(9),
            [
                "when slot what from to rev who code why",
                "1970-01-01 00:00:01Z adapter/cache activated - first - - - -",
                "1970-01-01 00:00:03Z adapter/cache selected, undone by 2 - second 1 uid:7 - a try",
                "1970-01-01 00:00:03Z adapter/cache swapped first second - - - -",
                "1970-01-01 00:00:03Z task/mail fail_over smtp log - - - serving log: smtp failed 3 probes",
                "1970-01-01 00:00:03Z task/mail rolled_back log smtp - - lifecycle.probe_failed probe: no\\u{1b}[2J",
                "1970-01-01 00:00:04Z adapter/cache retired first - - - - -",
            ]
        );
    }

    #[test]
    fn a_limit_keeps_the_last_and_says_so() {
        let lines = lines(2);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[1].contains("rolled_back"), "{lines:?}");
        assert_eq!(
            lines[3],
            "4 earlier ones are not shown; --limit 6 shows them all"
        );
        let mut doc = doc();
        keep_last(&mut doc, 2);
        let kept: Vec<usize> = doc.slots.iter().map(|slot| slot.entries.len()).collect();
        assert_eq!((kept, doc.revisions.len()), (vec![1, 1], 0));
        assert_eq!(doc.slots[0].entries[0].ended, "retired");
    }

    #[test]
    fn where_nothing_happened_it_says_so() {
        let mut doc = doc();
        doc.slots.clear();
        doc.revisions.clear();
        assert_eq!(
            shown(&doc, 9, Paint::new(false)),
            "nothing has happened yet\n"
        );
    }
}
