//! Following the trial of a new instance to its end, with what it has come to so far on stderr. Whoever stops looking
//! changes nothing: the trial goes on in the process.

use std::time::Duration;

use oneiric_core::{ErrorKind, Slot};
use oneiric_runtime::api::SwapDoc;
use oneiric_runtime::api::slot::{Bake, SlotStatus};
use oneiric_runtime::{Client, ClientError, Reply};
use serde_json::json;

use crate::failure::Failure;
use crate::io::Io;
use crate::progress::Progress;
use crate::session::{self, Session};
use crate::words;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to a swap as it is when its trial is over; at once if there is none.
pub(super) async fn follow(
    mut reply: Reply<SwapDoc>,
    client: &mut Client,
    io: &mut Io<'_>,
) -> Result<Reply<SwapDoc>, Failure> {
    let began = reply.doc.report.as_ref().and_then(|report| {
        let bake = report.bake.as_deref()?;
        bake.ended.is_none().then(|| bake.clone())
    });
    let Some(began) = began else {
        return Ok(reply);
    };
    let slot = reply.doc.slot.clone();
    let mut progress = Progress::new(io);
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(interrupted(&slot, &began)),
        ended = ended(&slot, &began, client, &mut progress) => ended,
    };
    progress.end();
    let status = ended?;
    note(&mut reply, &began, &status)?;
    Ok(reply)
}

/// Looks until the trial is over.
async fn ended(
    slot: &Slot,
    began: &Bake,
    client: &mut Client,
    progress: &mut Progress<'_>,
) -> Result<SlotStatus, Failure> {
    loop {
        let reply = match client.status(Some(slot)).await {
            Ok(reply) => reply,
            Err(ClientError::TimedOut { .. }) => {
                progress.say(&format!(
                    "{slot}: waiting for the process, which does not answer"
                ));
                continue;
            }
            Err(error) => return Err(session::failure(error)),
        };
        let Some(status) = reply.doc.slots.into_iter().next() else {
            let message = "the answer says nothing about the slot";
            let code = "cli.answer_incomplete";
            return Err(Failure::new(code, ErrorKind::Internal, message));
        };
        match &status.bake {
            Some(bake) if bake.instance == began.instance && bake.ended.is_none() => {
                let (provider, warm) = (&bake.provider, &bake.warm);
                progress.say_with(
                    &format!("{slot}: {provider} on trial, {warm} kept warm"),
                    &so_far(bake, Session::now_unix_ms()),
                );
            }
            _ => return Ok(status),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `; 12 s left, 340 calls, 1 failed`.
fn so_far(bake: &Bake, now: u64) -> String {
    let left = bake.until_unix_ms.map(|until| until.saturating_sub(now));
    // Whole seconds: it is a countdown.
    let left = left.map(|ms| format!("; {} s left", ms.div_ceil(1_000)));
    format!("{}, {}", left.unwrap_or_default(), words::calls(bake.calls))
}

/// Writes into the answer how the trial ended.
fn note(reply: &mut Reply<SwapDoc>, began: &Bake, status: &SlotStatus) -> Result<(), Failure> {
    let slot = status.slot.clone();
    let serves = status.active.as_ref();
    let ours = status
        .bake
        .as_deref()
        .filter(|bake| bake.instance == began.instance);
    let end = ours.and_then(|bake| bake.ended.as_deref());
    let bake = ours.unwrap_or(began).clone();
    let Some(report) = &mut reply.doc.report else {
        return Ok(());
    };
    report.bake = Some(Box::new(bake));
    if end == Some("swung_back") {
        let about = status.last_error.as_ref();
        let about = about.filter(|error| error.provider == began.provider);
        report.outcome = "swung_back".to_owned();
        report.failure = about.map(|error| error.failure.clone());
    }
    reply.json["report"] = json!(report);
    let (provider, warm) = (&began.provider, &began.warm);
    let failed = |code: &str, message: String| {
        let mut failure = Failure::new(code, ErrorKind::RolledBack, message);
        failure.details = Some(Box::new(reply.json.clone()));
        failure
    };
    match end {
        Some("passed") => Ok(()),
        Some("swung_back") => {
            let why = report.failure.as_ref();
            let why = why.map_or("it did worse".to_owned(), |why| why.message.clone());
            let message = format!("{slot} was swung back from {provider} to {warm}: {why}");
            let hint = format!("{warm} serves {slot} as before");
            Err(failed("lifecycle.bake_failed", message).hint(hint))
        }
        // Something else happened meanwhile: what counts is whether it serves.
        _ if serves.is_some_and(|serves| serves.instance == began.instance) => Ok(()),
        _ => {
            let serves = serves.map_or("nobody".to_owned(), |serves| serves.provider.to_string());
            let message = format!(
                "the trial of {provider} was ended by another change of {slot}: {serves} serves"
            );
            let hint = format!("`oneiric history {slot}` shows who asked for what");
            Err(failed("cli.bake_superseded", message).hint(hint))
        }
    }
}

fn interrupted(slot: &Slot, began: &Bake) -> Failure {
    let message = format!("interrupted; the trial of {} goes on", began.provider);
    let failure = Failure::new("cli.interrupted", ErrorKind::Unavailable, message);
    failure.hint(format!(
        "`oneiric status {slot}` tells how it ends; `oneiric swap {slot} {}` ends it, back to what was",
        began.warm
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn bake(ended: Option<&str>) -> Value {
        json!({
            "provider": "b", "instance": 2, "warm": "a", "warm_instance": 1, "since_unix_ms": 1_000,
            "until_unix_ms": 31_000, "calls": {"succeeded": 16, "failed": 4, "panicked": 0},
            "ended": ended,
        })
    }

    fn status(serves: (&str, u64), bake: Value) -> SlotStatus {
        serde_json::from_value(json!({
            "slot": "adapter/cache", "state": "active", "activity": {"activity": "running"},
            "active": {"provider": serves.0, "origin": "settings", "sequence": 1, "instance": serves.1},
            "last_error": {"provider": "b", "stage": "bake", "code": "lifecycle.bake_failed",
                           "message": "20.0 % failed", "at_unix_ms": 2_000},
            "bake": bake,
        }))
        .unwrap()
    }

    fn noted(status: &SlotStatus) -> (Result<(), Failure>, Value) {
        let json = json!({
            "schema": "oneiric.swap/1", "slot": "adapter/cache",
            "report": {"slot": "adapter/cache", "outcome": "swapped", "from": "a", "to": "b",
                       "took_us": 5, "bake": bake(None)},
        });
        let doc: SwapDoc = serde_json::from_value(json.clone()).unwrap();
        let began = doc
            .report
            .as_ref()
            .unwrap()
            .bake
            .as_deref()
            .unwrap()
            .clone();
        let mut reply = Reply { doc, json };
        let result = note(&mut reply, &began, status);
        (result, reply.json)
    }

    #[test]
    fn how_it_ends_is_in_the_answer() {
        let (result, json) = noted(&status(("b", 2), bake(Some("passed"))));
        assert!(result.is_ok());
        assert_eq!(json["report"]["bake"]["ended"], "passed");
        let (result, json) = noted(&status(("a", 1), bake(Some("swung_back"))));
        let failure = result.unwrap_err();
        assert_eq!(
            (failure.exit().number(), &*failure.code),
            (7, "lifecycle.bake_failed")
        );
        assert_eq!(
            failure.message,
            "adapter/cache was swung back from b to a: 20.0 % failed"
        );
        assert_eq!(json["report"]["outcome"], "swung_back");
        assert_eq!(
            failure.details.unwrap()["report"]["failure"]["stage"],
            "bake"
        );
    }

    #[test]
    fn a_trial_that_something_else_ended_is_told_by_who_serves() {
        let (result, _) = noted(&status(("b", 2), bake(Some("superseded"))));
        assert!(result.is_ok(), "it serves");
        let mut other = bake(None);
        other["instance"] = 3.into();
        for elsewhere in [bake(Some("superseded")), other] {
            let (result, _) = noted(&status(("c", 3), elsewhere));
            let failure = result.unwrap_err();
            assert_eq!(&*failure.code, "cli.bake_superseded");
            assert!(failure.message.ends_with("c serves"), "{}", failure.message);
        }
    }

    #[test]
    fn progress_counts_down() {
        let bake: Bake = serde_json::from_value(bake(None)).unwrap();
        assert_eq!(so_far(&bake, 18_500), "; 13 s left, 20 calls, 4 failed");
        assert_eq!(so_far(&bake, 99_000), "; 0 s left, 20 calls, 4 failed");
    }
}
