//! What a swap waits for, on stderr while it does: the new instance serves long since, and the old one finishes its work.
//!
//! The answer to a swap comes when it is over, so this listens to what the process says meanwhile. A swap that is over
//! soon, as most are, has nothing to tell and costs no second connection.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use oneiric_core::Slot;
use oneiric_runtime::Watched;
use oneiric_runtime::api::EventDoc;
use serde_json::Value;

use crate::io::Io;
use crate::progress::Progress;
use crate::session::Session;
use crate::words::Millis;

/// From when on somebody who waits wonders why.
const SOON: Duration = Duration::from_millis(500);

/// Waits for `swap`, and says how its drain goes.
pub(super) async fn told<T>(
    slot: &Slot,
    swap: impl Future<Output = T>,
    io: &mut Io<'_>,
    session: &Session,
) -> T {
    let mut swap = pin!(swap);
    if io.for_programs {
        return swap.await;
    }
    let mut progress = Progress::new(io);
    let answer = tokio::select! {
        biased;
        answer = &mut swap => Some(answer),
        () = follow(slot, &mut progress, session) => None,
    };
    progress.end();
    match answer {
        Some(answer) => answer,
        // Whatever kept it from being told; the answer says all that matters.
        None => swap.await,
    }
}

/// Says each event of a drain, for as long as there are any.
async fn follow(slot: &Slot, progress: &mut Progress<'_>, session: &Session) {
    tokio::time::sleep(SOON).await;
    let Ok(client) = session.client().await else {
        return;
    };
    let Ok(mut events) = client.events(Some(slot), None).await else {
        return;
    };
    while let Ok(Some(item)) = events.next().await {
        if let Watched::Event(event) = &item
            && let Some((text, moving)) = said(slot, event)
        {
            progress.say_with(&text, &moving);
        }
    }
}

/// `adapter/cache: waiting for 2 calls on memory` and `, oldest 14 s, 16 s left`.
fn said(slot: &Slot, event: &EventDoc) -> Option<(String, String)> {
    let number = |name: &str| event.fields.get(name).and_then(Value::as_u64);
    if event.event != "draining" {
        return None;
    }
    let provider = event.fields.get("provider")?.as_str()?;
    let calls = match number("in_flight")? {
        0 => return None,
        1 => "1 call".to_owned(),
        many => format!("{many} calls"),
    };
    let oldest = number("oldest_lease_ms").map(|ms| format!(", oldest {}", Millis(ms)));
    let left = number("left_ms").map(|ms| format!(", {} left", Millis(ms)));
    Some((
        format!("{slot}: waiting for {calls} on {provider}"),
        format!("{}{}", oldest.unwrap_or_default(), left.unwrap_or_default()),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &str, in_flight: u64) -> Option<String> {
        let slot: Slot = "adapter/cache".parse().unwrap();
        let event = json!({
            "schema": "oneiric.event/1", "id": "a-1", "event": event, "at_unix_ms": 0,
            "provider": "memory", "in_flight": in_flight, "oldest_lease_ms": 14_000, "left_ms": 16_000,
        });
        let (text, moving) = said(&slot, &serde_json::from_value(event).unwrap())?;
        Some(text + &moving)
    }

    #[test]
    fn what_is_waited_for_is_a_line_and_nothing_else_is() {
        assert_eq!(
            line("draining", 2).unwrap(),
            "adapter/cache: waiting for 2 calls on memory, oldest 14 s, 16 s left"
        );
        assert!(line("draining", 1).unwrap().contains("for 1 call on"));
        assert_eq!(line("draining", 0), None);
        assert_eq!(line("drain_abandoned", 2), None);
    }
}
