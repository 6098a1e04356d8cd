//! How far a plan is while it is carried out: what the process tells of its slots meanwhile, on stderr. Whoever cannot
//! be told misses nothing that the answer does not say.

use std::collections::BTreeMap;

use oneiric_core::Slot;
use oneiric_runtime::api::{ChangePlanDoc, EventDoc};
use oneiric_runtime::{Client, ClientError, EventSource, Watched};

use crate::io::Io;
use crate::progress::Progress;

/// Has `ask` done, and says how far its slots are until it is.
pub(super) async fn progress<T>(
    plan: &ChangePlanDoc,
    mut client: Client,
    io: &mut Io<'_>,
    ask: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut stages: BTreeMap<Slot, &'static str> = plan
        .slots
        .iter()
        .filter(|one| one.action.builds())
        .map(|one| (one.slot.clone(), "waits"))
        .collect();
    if io.for_programs || stages.is_empty() {
        return ask(&mut client).await;
    }
    let mut events = client.events(None, None).await.ok();
    let mut progress = Progress::new(io);
    let mut asked = std::pin::pin!(ask(&mut client));
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut asked => break answer,
            event = next(&mut events) => {
                let Some(event) = event else { continue };
                let stage = stage(&event);
                if let (Some(slot), Some(stage)) = (&event.slot, stage)
                    && let Some(now) = stages.get_mut(slot)
                {
                    *now = stage;
                    progress.say(&said(&stages));
                }
            }
        }
    };
    progress.end();
    answer
}

/// The next event; for ever nothing when there are none any more.
async fn next(events: &mut Option<EventSource>) -> Option<EventDoc> {
    let Some(source) = events else {
        return std::future::pending().await;
    };
    match source.next().await {
        Ok(Some(Watched::Event(event))) => Some(event),
        Ok(Some(_)) => None,
        Ok(None) | Err(_) => {
            *events = None;
            None
        }
    }
}

fn stage(event: &EventDoc) -> Option<&'static str> {
    Some(match event.event.as_str() {
        "building" => "being built",
        "probed" => "probed",
        "published" => "serves, the old one finishes its work",
        "retired" => "done",
        "rolled_back" | "activation_failed" => "not changed",
        _ => return None,
    })
}

/// `2 probed, 1 being built`.
fn said(stages: &BTreeMap<Slot, &'static str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for stage in stages.values() {
        *counts.entry(stage).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(stage, count)| format!("{count} {stage}"))
        .collect();
    parts.join(", ")
}
