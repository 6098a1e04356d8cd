//! `pause`, `drain`, `resume` and `activity`. What they have in common is here: which scope is meant,
//! and how it is told how a scope is.

mod drain;
mod table;

use oneiric_core::ErrorKind;
use oneiric_lifecycle::{Activity, ActivityScope};
use oneiric_runtime::Client;
use oneiric_runtime::api::{ActivityChangeDoc, ActivityRequest, ScopeDoc};

use crate::args::{Assent, Pause, Resume, Scope};
use crate::commands::name;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::{self, Session};
use crate::words::{Millis, millis};

pub(super) use drain::run as drain;
pub(super) use table::run as activity;

pub(super) async fn pause(
    args: &Pause,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let scope = scope(&args.scope)?;
    let mut client = session.client().await?;
    agree(&scope, "pauses", &args.assent, &mut client, io).await?;
    let request = ActivityRequest {
        note: args.note.clone(),
        for_ms: args.time.map(millis),
        ..ActivityRequest::new(scope, Activity::Paused)
    };
    let reply = client.set_activity(&request).await;
    let reply = reply.map_err(session::failure)?;
    let text = changed(&reply.doc, session.paint);
    Ok(Output::new(text, reply.json))
}

pub(super) async fn resume(args: &Resume, session: &mut Session) -> Result<Output, Failure> {
    let request = ActivityRequest {
        note: args.note.clone(),
        ..ActivityRequest::new(scope(&args.scope)?, Activity::Running)
    };
    let mut client = session.client().await?;
    let reply = client.set_activity(&request).await;
    let reply = reply.map_err(session::failure)?;
    let text = changed(&reply.doc, session.paint);
    Ok(Output::new(text, reply.json))
}

/// The scope that was typed.
fn scope(args: &Scope) -> Result<ActivityScope, Failure> {
    let scope: ActivityScope = name(one_word(&args.words)?)?;
    let Some(provider) = &args.provider else {
        return Ok(scope);
    };
    match scope {
        ActivityScope::Slot(slot) => Ok(ActivityScope::Provider(slot, name(provider)?)),
        other => {
            let message = format!("--provider goes with a slot, and {other} is none");
            Err(Failure::new("cli.usage", ErrorKind::Usage, message))
        }
    }
}

/// The word that names the scope. Several are what a shell makes of `adapter/*` where a directory of
/// that name is.
fn one_word(words: &[String]) -> Result<&str, Failure> {
    let [word] = words else {
        let message = format!("one scope is expected, not {}", words.join(" "));
        let failure = Failure::new("cli.usage", ErrorKind::Usage, message);
        let domain = words.first().and_then(|word| word.split_once('/'));
        let domain = domain.map_or("adapter", |(domain, _)| domain);
        return Err(failure.hint(format!(
            "if your shell replaced a `*`, put the scope in quotes: '{domain}/*'"
        )));
    };
    Ok(word)
}

/// Asks before a whole domain is closed; the question says how much that is.
async fn agree(
    scope: &ActivityScope,
    does: &str,
    assent: &Assent,
    client: &mut Client,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    if !matches!(scope, ActivityScope::Domain(_)) || assent.yes {
        return Ok(());
    }
    let reply = client.activity(Some(scope)).await;
    let slots = reply.map_err(session::failure)?.doc.scopes;
    let slots = slots.first().map_or(0, |doc| doc.slots.len());
    let slots = match slots {
        0 => "no slot yet".to_owned(),
        1 => "1 slot now".to_owned(),
        many => format!("{many} slots now"),
    };
    let effect = format!(
        "this {does} {scope} ({slots}, and those that appear later): new calls are refused until it \
         is resumed"
    );
    confirm(&effect, assent.yes, io)
}

/// What came of a change, in a line or two.
fn changed(doc: &ActivityChangeDoc, paint: Paint) -> String {
    let ScopeDoc {
        scope,
        activity,
        in_flight,
        ..
    } = &doc.now;
    let mut text = match (activity, doc.before) {
        (Activity::Running, Activity::Running) => format!("{scope}: was not paused"),
        (Activity::Running, before) => format!("{scope}: resumed, was {}", before.name()),
        (activity, _) => format!("{scope}: {}", activity.name()),
    };
    if let (Some(since), Some(until)) = (doc.now.since_unix_ms, doc.now.until_unix_ms) {
        // As long as was asked for; the next look says what is left of it.
        let left = Millis(until.saturating_sub(since));
        text.push_str(&format!(", resumes by itself in {left}"));
    }
    match (activity, in_flight) {
        (Activity::Draining, 0) => text.push_str(", nothing runs any more"),
        (Activity::Draining, _) => text.push_str(&format!(", {} to finish", calls(*in_flight))),
        (Activity::Paused, 1..) => text.push_str(&format!(", {} go on", calls(*in_flight))),
        _ => {}
    }
    text.push('\n');
    if let Some(holds) = &doc.now.held_by {
        let note = format!("it still takes no work: {holds} does not run\n");
        text.push_str(&paint.text(Style::Attention, harmless(&note)).to_string());
    }
    text
}

/// `, oldest 14 s`, where it is known.
fn oldest(doc: &ScopeDoc) -> String {
    let said = |ms| format!(", oldest {}", Millis(ms));
    doc.oldest_ms.map(said).unwrap_or_default()
}

fn calls(count: u64) -> String {
    match count {
        1 => "1 call".to_owned(),
        many => format!("{many} calls"),
    }
}

/// How a scope is typed in a shell.
fn typed(scope: &ActivityScope) -> String {
    match scope {
        ActivityScope::Domain(_) => format!("'{scope}'"),
        _ => scope.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words(words: &[&str], provider: Option<&str>) -> Result<ActivityScope, Failure> {
        scope(&Scope {
            words: words.iter().map(ToString::to_string).collect(),
            provider: provider.map(str::to_owned),
        })
    }

    #[test]
    fn a_scope_is_one_word_and_perhaps_a_provider() {
        let read = |typed: &[&str], provider| words(typed, provider).unwrap().to_string();
        assert_eq!(read(&["adapter/cache"], None), "adapter/cache");
        assert_eq!(
            read(&["adapter/cache"], Some("redis")),
            "adapter/cache:redis"
        );
        assert_eq!(read(&["adapter/cache:redis"], None), "adapter/cache:redis");
        assert_eq!(read(&["adapter/*"], None), "adapter/*");
        for (typed, provider, code) in [
            (["adapter/*"], Some("redis"), "cli.usage"),
            (["adapter/cache:redis"], Some("redis"), "cli.usage"),
            (["adapter"], None, "lifecycle.invalid_scope"),
            (["adapter/cache"], Some("a b"), "core.invalid_name"),
        ] {
            let failure = words(&typed, provider).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.exit().number()), (code, 2));
        }
    }

    #[test]
    fn what_a_shell_made_of_a_star_is_recognised() {
        let failure = words(&["service/a.rs", "service/b.rs"], None).unwrap_err();
        assert_eq!(failure.exit().number(), 2);
        assert!(failure.hint.unwrap().ends_with("'service/*'"));
    }

    fn said(now: Value, before: &str) -> String {
        let mut now = now;
        now["scope"] = json!("adapter/cache");
        now["slots"] = json!(["adapter/cache"]);
        let doc = json!({"schema": "oneiric.activity_change/1", "now": now, "before": before});
        changed(&serde_json::from_value(doc).unwrap(), Paint::new(false))
    }

    #[test]
    fn a_change_is_a_line() {
        for (now, before, text) in [
            (
                json!({"activity": "paused", "in_flight": 0}),
                "running",
                "adapter/cache: paused\n",
            ),
            (
                json!({"activity": "paused", "in_flight": 2,
                       "since_unix_ms": 60_000, "until_unix_ms": 1_860_000}),
                "draining",
                "adapter/cache: paused, resumes by itself in 30 min, 2 calls go on\n",
            ),
            (
                json!({"activity": "draining", "in_flight": 1}),
                "paused",
                "adapter/cache: draining, 1 call to finish\n",
            ),
            (
                json!({"activity": "draining", "in_flight": 0, "drained": true}),
                "paused",
                "adapter/cache: draining, nothing runs any more\n",
            ),
            (
                json!({"activity": "running", "in_flight": 3}),
                "paused",
                "adapter/cache: resumed, was paused\n",
            ),
            (
                json!({"activity": "running", "in_flight": 0}),
                "running",
                "adapter/cache: was not paused\n",
            ),
            (
                json!({"activity": "running", "in_flight": 0, "held_by": "adapter/*"}),
                "paused",
                "adapter/cache: resumed, was paused\n\
                 it still takes no work: adapter/* does not run\n",
            ),
        ] {
            assert_eq!(said(now, before), text);
        }
    }
}
