//! `drain`, and waiting for what runs. Whoever stops waiting leaves the scope draining: a drain that
//! ended with the terminal it was typed at would open the slot in the middle of the night.

use std::future::Future;
use std::time::Duration;

use oneiric_core::ErrorKind;
use oneiric_lifecycle::{Activity, ActivityScope};
use oneiric_runtime::api::slot::SlotStatus;
use oneiric_runtime::api::{ActivityChangeDoc, ActivityDoc, ActivityRequest, schema};
use oneiric_runtime::{Client, ClientError, Reply};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{agree, calls, changed, oldest, scope, typed};
use crate::args::{Drain, Waiting};
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{self, Session};
use crate::words::{Millis, millis};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// For the last look, which only says more about what is known already.
const LAST_LOOK: Duration = Duration::from_secs(1);

pub(in crate::commands) async fn run(
    args: &Drain,
    io: &mut Io<'_>,
    session: &mut Session,
) -> Result<Output, Failure> {
    let scope = scope(&args.scope)?;
    let end = End::of(&args.waiting);
    let mut client = end.before(&scope, session.client()).await?;
    if !args.waiting.wait {
        let begun = begin(args, &scope, &mut client, io).await?;
        let text = changed(&begun.doc, session.paint);
        return Ok(Output::new(text, begun.json));
    }
    // One that drains already keeps its note and who wrote it, unless there is a new one.
    let before = if args.note.is_some()
        || args.time.is_some()
        || !end.before(&scope, drains(&scope, &mut client)).await?
    {
        let begun = end.before(&scope, begin(args, &scope, &mut client, io));
        begun.await?.doc.before
    } else {
        Activity::Draining
    };
    let mut progress = Progress::new(io);
    let mut runs = String::new();
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ended::Interrupted,
        ended = tokio::time::timeout(
            end.left(),
            empty(&scope, &mut client, &mut progress, &mut runs),
        ) => ended.map_or(Ended::TimedOut, Ended::Answered),
    };
    progress.end();
    let failure = match ended {
        Ended::Answered(answer) => {
            let reply = answer?;
            return Ok(Output::new(
                format!("{scope}: drained, nothing runs any more\n"),
                document(&reply.json, before),
            ));
        }
        Ended::Interrupted => {
            let message = format!("interrupted; {scope} goes on draining");
            Failure::new("cli.interrupted", ErrorKind::Unavailable, message)
        }
        Ended::TimedOut => {
            let waited = end.limit();
            let message = format!("{scope} is not empty after {waited}; it goes on draining");
            Failure::new("cli.timed_out", ErrorKind::Timeout, message)
        }
    };
    Err(still_runs(failure, &scope, &runs, session).await)
}

/// When waiting ends, whatever is waited for.
struct End {
    since: Instant,
    limit: Duration,
}

impl End {
    fn of(waiting: &Waiting) -> Self {
        let limit = waiting.timeout.filter(|_| waiting.wait);
        Self {
            since: Instant::now(),
            limit: limit.unwrap_or(Duration::MAX),
        }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }

    fn limit(&self) -> Millis {
        Millis(u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX))
    }

    /// Does what comes before the waiting, if the time is enough for it.
    async fn before<T>(
        &self,
        scope: &ActivityScope,
        what: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let done = tokio::time::timeout(self.left(), what).await;
        done.unwrap_or_else(|_| {
            let waited = self.limit();
            let message = format!(
                "the process did not answer within {waited}; whether {scope} drains is not known"
            );
            let failure = Failure::new("cli.timed_out", ErrorKind::Timeout, message);
            let typed = typed(scope);
            Err(failure.hint(format!("`oneiric activity {typed}` says how it is")))
        })
    }
}

/// The document that `drain` gives without waiting, as the scope is now.
fn document(answer: &Value, before: Activity) -> Value {
    json!({
        "schema": schema::ACTIVITY_CHANGE,
        "now": answer["scopes"][0],
        "before": before.name(),
    })
}

/// How waiting ended.
enum Ended {
    Answered(Result<Reply<ActivityDoc>, Failure>),
    TimedOut,
    Interrupted,
}

async fn drains(scope: &ActivityScope, client: &mut Client) -> Result<bool, Failure> {
    let reply = client.activity(Some(scope)).await;
    let scopes = reply.map_err(session::failure)?.doc.scopes;
    Ok(scopes.iter().any(|doc| doc.activity == Activity::Draining))
}

/// Has the scope drained.
async fn begin(
    args: &Drain,
    scope: &ActivityScope,
    client: &mut Client,
    io: &mut Io<'_>,
) -> Result<Reply<ActivityChangeDoc>, Failure> {
    agree(scope, "drains", &args.assent, client, io).await?;
    let request = ActivityRequest {
        note: args.note.clone(),
        for_ms: args.time.map(millis),
        ..ActivityRequest::new(scope.clone(), Activity::Draining)
    };
    let reply = client.set_activity(&request).await;
    reply.map_err(session::failure)
}

/// Looks until nothing runs in the scope; what does is in `runs`.
async fn empty(
    scope: &ActivityScope,
    client: &mut Client,
    progress: &mut Progress<'_>,
    runs: &mut String,
) -> Result<Reply<ActivityDoc>, Failure> {
    loop {
        let reply = match client.activity(Some(scope)).await {
            Ok(reply) => reply,
            // Whoever gave no --timeout waits on, and is told for what.
            Err(ClientError::TimedOut { .. }) => {
                progress.say(&format!(
                    "{scope}: waiting for the process, which does not answer"
                ));
                continue;
            }
            Err(error) => return Err(session::failure(error)),
        };
        let Some(now) = reply.doc.scopes.first() else {
            let message = "the answer says nothing about the scope";
            let code = "cli.answer_incomplete";
            return Err(Failure::new(code, ErrorKind::Internal, message));
        };
        if now.drained {
            return Ok(reply);
        }
        if now.activity != Activity::Draining {
            let message = format!(
                "{scope} does not drain any more: it is {}",
                now.activity.name()
            );
            return Err(Failure::new(
                "cli.drain_lifted",
                ErrorKind::Unavailable,
                message,
            ));
        }
        let (count, oldest) = (calls(now.in_flight), oldest(now));
        progress.say_with(&format!("{scope}: waiting for {count}"), &oldest);
        *runs = format!("{count} in flight{oldest}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says what runs, where, and what can be done.
async fn still_runs(
    mut failure: Failure,
    scope: &ActivityScope,
    runs: &str,
    session: &Session,
) -> Failure {
    if !runs.is_empty() {
        failure.message.push_str(&format!(", with {runs}"));
    }
    // Only to say more; the process may be gone by now.
    let status = async { session.client().await.ok()?.status(None).await.ok() };
    if let Ok(Some(reply)) = tokio::time::timeout(LAST_LOOK, status).await {
        for line in reply
            .doc
            .slots
            .iter()
            .flat_map(|slot| running_in(scope, slot))
        {
            failure.message.push_str(&format!("\n  {line}"));
        }
    }
    let typed = typed(scope);
    failure.hint(format!(
        "`oneiric drain {typed} --wait` waits on, `oneiric resume {typed}` takes work again"
    ))
}

/// Who still has work in a slot.
fn running_in(scope: &ActivityScope, status: &SlotStatus) -> Vec<String> {
    let slot = &status.slot;
    let active = status
        .active
        .iter()
        .map(|active| (&active.provider, active.instance, status.in_flight));
    let draining = status
        .draining
        .iter()
        .map(|draining| (&draining.provider, draining.instance, draining.in_flight));
    active
        .chain(draining)
        .filter(|(provider, _, in_flight)| *in_flight > 0 && scope.covers(slot, provider))
        .map(|(provider, instance, in_flight)| {
            format!(
                "{slot}: {} on {provider} (instance {instance})",
                calls(in_flight)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_says_nothing_is_waited_for_no_longer_than_was_said() {
        let args = Drain {
            scope: crate::args::Scope {
                words: vec!["adapter/cache".to_owned()],
                provider: None,
            },
            note: None,
            time: None,
            waiting: Waiting {
                wait: true,
                timeout: Some(Duration::from_millis(20)),
            },
            assent: crate::args::Assent { yes: true },
        };
        let failed = session::tests::with_silent_process(async |mut session| {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut stdin = std::io::empty();
            let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
            run(&args, &mut io, &mut session).await.err()
        });
        let failed = failed.unwrap();
        assert_eq!(
            (&*failed.code, failed.exit().number()),
            ("cli.timed_out", 8)
        );
        assert!(
            failed.message.contains("did not answer"),
            "{}",
            failed.message
        );
    }

    #[test]
    fn what_still_runs_is_told_by_instance_and_only_of_what_is_drained() {
        let status: SlotStatus = serde_json::from_value(json!({
            "slot": "adapter/cache", "state": "swapping", "activity": {"activity": "draining"},
            "active": {"provider": "file", "origin": "settings", "sequence": 2, "instance": 4},
            "in_flight": 1,
            "draining": [
                {"provider": "redis", "instance": 3, "in_flight": 2},
                {"provider": "memory", "instance": 2, "in_flight": 0},
            ],
        }))
        .unwrap();
        let runs = |scope: &str| running_in(&scope.parse().unwrap(), &status);
        let redis = "adapter/cache: 2 calls on redis (instance 3)";
        assert_eq!(
            runs("adapter/*"),
            ["adapter/cache: 1 call on file (instance 4)", redis]
        );
        assert_eq!(runs("adapter/cache:redis"), [redis]);
        assert_eq!(runs("service/*"), [""; 0]);
    }
}
