//! `explain`: the registry's own account, and below it what really serves where that is not the winner.
//! The account is about who ranks best; whoever reads it to learn who answers the calls must not be misled.

use oneiric_core::{Change, ErrorKind, Query, query};
use oneiric_runtime::api::ExplainDoc;
use oneiric_runtime::api::slot::SlotStatus;
use oneiric_runtime::{Client, ExplainQuery};

use crate::args::Explain;
use crate::commands::{name, status};
use crate::failure::Failure;
use crate::offline;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words;

pub(super) async fn run(args: &Explain, session: &mut Session) -> Result<Output, Failure> {
    if args.offline {
        return without_process(args, session);
    }
    let mut query = ExplainQuery::new(name(&args.slot)?);
    query.capabilities.clone_from(&args.capabilities);
    query.any = args.any;
    query.provider = args.provider.as_deref().map(name).transpose()?;
    query.what_if.clone_from(&args.what_if);
    let mut client = session.client().await.map_err(offline::or_offline)?;
    let reply = client.explain(&query).await.map_err(session::failure)?;
    let slot = status_of(&query, &mut client).await?;
    let aside = aside(&reply.doc, slot.as_ref(), !query.what_if.is_empty());
    let text = shown(&reply.doc, aside.as_deref(), session.paint);
    Ok(Output::new(text, reply.json))
}

/// Who would win in a process started here and now; who serves is not asked.
fn without_process(args: &Explain, session: &Session) -> Result<Output, Failure> {
    let capabilities = args.capabilities.iter().map(String::as_str);
    let capabilities = if args.any {
        query::any(capabilities)
    } else {
        query::all(capabilities)
    };
    let mut query = Query::new(name(&args.slot)?).capabilities(capabilities);
    if let Some(provider) = &args.provider {
        query = query.provider(name(provider)?);
    }
    let changes = args.what_if.iter().map(|change| name(change));
    let changes = changes.collect::<Result<Vec<Change>, _>>()?;
    let runtime = offline::runtime(&session.sources)?;
    let doc = runtime.explain(&query, &changes);
    let doc = doc.map_err(|error| Failure::of(&error))?;
    let (doc, json): (ExplainDoc, _) = offline::document(&doc)?;
    Ok(Output::new(
        shown(&doc, Some(offline::OFFLINE), session.paint),
        json,
    ))
}

/// What serves, what failed and who wins without assumptions; `None` when there is nothing but a selection.
async fn status_of(
    query: &ExplainQuery,
    client: &mut Client,
) -> Result<Option<SlotStatus>, Failure> {
    match client.status(Some(&query.slot)).await {
        Ok(reply) => Ok(reply.doc.slots.into_iter().next()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(session::failure(error)),
    }
}

/// Who serves, where that is not the winner or not as it should be.
fn aside(doc: &ExplainDoc, slot: Option<&SlotStatus>, assuming: bool) -> Option<String> {
    let reason = slot.and_then(|slot| slot.differs.as_ref()?.reason.clone());
    if let Some(reason) = reason {
        return Some(if assuming {
            format!("as things are, {reason}")
        } else {
            reason
        });
    }
    let said = match slot.map(|slot| (slot, &slot.active, &slot.differs)) {
        Some((slot, Some(_), Some(differs))) => status::difference(slot, differs),
        Some((_, Some(active), None)) => match &active.forced {
            Some(forced) => {
                let forced = words::failed(forced);
                format!("{} serves, forced past {forced}", active.provider)
            }
            // Narrowed or hypothetical questions have winners of their own.
            None if assuming || winner(doc) == Some(active.provider.as_str()) => return None,
            None => format!("{} serves", active.provider),
        },
        Some((slot, None, _)) => nothing_serves(&slot.state, Some(slot)),
        None => nothing_serves(&doc.serving.state, None),
    };
    Some(if assuming {
        format!("as things are, {said}")
    } else {
        said
    })
}

/// Who wins the question that was asked.
fn winner(doc: &ExplainDoc) -> Option<&str> {
    doc.explanation.get("winner")?.get("provider")?.as_str()
}

fn nothing_serves(state: &str, slot: Option<&SlotStatus>) -> String {
    let failed = slot.and_then(|slot| slot.last_error.as_ref());
    match (state, failed) {
        ("failed", Some(error)) => {
            let failure = words::failed(&error.failure);
            format!(
                "nothing serves: {} failed to activate at {failure}",
                error.provider
            )
        }
        ("inactive", _) if slot.is_some_and(|slot| slot.winner.is_some()) => {
            "nothing serves yet: the first call activates it".to_owned()
        }
        ("activating", _) => "nothing serves yet: the first instance is being built".to_owned(),
        ("stopping" | "stopped", _) => "nothing serves: the process is stopping".to_owned(),
        _ => format!("nothing serves: the slot is {state}"),
    }
}

fn shown(doc: &ExplainDoc, aside: Option<&str>, paint: Paint) -> String {
    let mut text = format!("{}\n", harmless(doc.text.trim_end()));
    if let Some(aside) = aside {
        // One line, or a message with line ends in it could pass for part of the account.
        let aside = harmless(aside).replace('\n', " ");
        text.push_str(&format!("\n  {}\n", paint.text(Style::Attention, aside)));
    }
    let holders = &doc.serving.holders;
    if !holders.is_empty() {
        let names: Vec<&str> = holders.iter().map(|holder| holder.as_str()).collect();
        text.push_str(&format!("\n  needed by {}\n", names.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn doc(winner: &str, serving: Value) -> ExplainDoc {
        serde_json::from_value(json!({
            "text": "adapter/cache -> memory\n", "winner": {"provider": winner}, "serving": serving,
        }))
        .unwrap()
    }

    fn slot(changes: Value) -> SlotStatus {
        let mut slot = json!({
            "slot": "adapter/cache", "state": "active", "winner": "memory",
            "active": {"provider": "file", "origin": "settings", "sequence": 2, "instance": 1},
            "activity": {"activity": "running"},
        });
        for (field, value) in changes.as_object().unwrap() {
            slot[field] = value.clone();
        }
        serde_json::from_value(slot).unwrap()
    }

    fn failure() -> Value {
        json!({"stage": "probe", "code": "lifecycle.probe_failed", "message": "critical: no\n\u{7}disk"})
    }

    /// The account of `winner`, and what is below it.
    fn below(winner: &str, changes: Value, assuming: bool) -> String {
        let (doc, slot) = (doc(winner, json!({"state": "active"})), slot(changes));
        let aside = aside(&doc, Some(&slot), assuming);
        let text = shown(&doc, aside.as_deref(), Paint::new(false));
        text.strip_prefix("adapter/cache -> memory\n")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn where_the_winner_serves_there_is_nothing_to_add() {
        assert_eq!(below("file", json!({}), false), "");
    }

    #[test]
    fn who_needs_the_slot_stands_below() {
        let holders = json!(["service/web", "task/mail"]);
        let doc = doc("file", json!({"state": "active", "holders": holders}));
        let text = shown(&doc, None, Paint::new(false));
        assert_eq!(
            text,
            "adapter/cache -> memory\n\n  needed by service/web, task/mail\n"
        );
    }

    #[test]
    fn a_narrowed_question_may_have_another_winner_than_the_one_who_serves() {
        assert_eq!(below("memory", json!({}), false), "\n  file serves\n");
        assert_eq!(
            below("memory", json!({}), true),
            "",
            "what if says already that things are otherwise"
        );
    }

    #[test]
    fn force_is_not_forgotten() {
        let mut active = json!({"provider": "file", "origin": "settings", "sequence": 2});
        active["instance"] = json!(1);
        active["forced"] = failure();
        assert_eq!(
            below("file", json!({"active": active}), false),
            "\n  file serves, forced past probe: critical: no \\u{7}disk (lifecycle.probe_failed)\n"
        );
    }

    #[test]
    fn who_serves_in_the_winners_place_is_said_with_the_reason() {
        for (differs, expected) in [
            (
                json!({"why": "swap_failed", "failure": failure()}),
                "the swap failed at probe: critical: no \\u{7}disk (lifecycle.probe_failed)",
            ),
            (
                json!({"why": "not_applied"}),
                "nobody asked for the swap; `oneiric swap adapter/cache` does it",
            ),
            (json!({"why": "withdrawn"}), "file is no longer registered"),
            (
                json!({"why": "held", "activity": "paused"}),
                "the slot is paused",
            ),
        ] {
            assert_eq!(
                below("memory", json!({"differs": differs}), false),
                format!("\n  memory wins but file serves: {expected}\n")
            );
        }
    }

    #[test]
    fn who_took_over_by_itself_is_said_with_the_reason() {
        let reason = "serving file: memory failed 3 probes at 10:02:11, next in rank";
        let differs =
            json!({"why": "failed_over", "from": "memory", "reason": reason, "at_unix_ms": 7});
        assert_eq!(
            below("memory", json!({"differs": differs}), false),
            format!("\n  {reason}\n")
        );
        assert_eq!(
            below("memory", json!({"differs": differs}), true),
            format!("\n  as things are, {reason}\n")
        );
    }

    #[test]
    fn that_nothing_serves_is_said_with_the_reason() {
        let mut error = failure();
        error["provider"] = json!("memory");
        error["at_unix_ms"] = json!(0);
        for (state, expected) in [
            (
                "failed",
                "nothing serves: memory failed to activate at probe: critical: no \\u{7}disk \
                 (lifecycle.probe_failed)",
            ),
            (
                "inactive",
                "nothing serves yet: the first call activates it",
            ),
            (
                "activating",
                "nothing serves yet: the first instance is being built",
            ),
            ("stopping", "nothing serves: the process is stopping"),
            ("dreaming", "nothing serves: the slot is dreaming"),
        ] {
            let changes = json!({"state": state, "active": null, "last_error": error});
            assert_eq!(below("memory", changes, false), format!("\n  {expected}\n"));
        }
    }

    #[test]
    fn beside_an_assumption_the_truth_is_told_apart() {
        assert_eq!(
            below("memory", json!({"state": "inactive", "active": null}), true),
            "\n  as things are, nothing serves yet: the first call activates it\n"
        );
    }

    #[test]
    fn a_slot_that_is_nothing_but_a_selection_has_no_status() {
        let aside = aside(&doc("memory", json!({"state": "inactive"})), None, false);
        assert_eq!(
            aside.as_deref(),
            Some("nothing serves: the slot is inactive")
        );
    }
}
