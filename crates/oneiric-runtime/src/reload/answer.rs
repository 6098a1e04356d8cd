//! What a reload is answered with.

use oneiric_core::ErrorKind;
use tokio::time::Instant;

use super::{Plan, plan::Step};
use crate::api::{ErrorFields, KeyChange, ReloadDoc, ReloadOutcome, kind, schema};

/// The code of settings that change what only a new process can take.
const REFUSED: &str = "runtime.reload_refused";
/// The code of settings that failed on the way and of which nothing is in force.
const RESTORED: &str = "runtime.reload_restored";
/// The code of settings that failed on the way there and on the way back.
const BROKEN: &str = "runtime.reload_broken";

/// What is answered when a reload is over.
pub(super) fn document(outcome: ReloadOutcome, plan: Plan, begun: Instant) -> ReloadDoc {
    let error = error(&outcome, &plan.keys);
    ReloadDoc {
        schema: schema::RELOAD.into(),
        error,
        outcome,
        keys: plan.keys,
        slots: plan.steps.iter().map(Step::doc).collect(),
        took_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

/// What an outcome says to those who look for an error.
fn error(outcome: &ReloadOutcome, keys: &[KeyChange]) -> Option<ErrorFields> {
    let at = |failed: &crate::api::ReloadFailure| match &failed.slot {
        Some(slot) => format!("{slot}: {} ({})", failed.message, failed.code),
        None => format!("{} ({})", failed.message, failed.code),
    };
    let (code, kind, message, hint) = match outcome {
        ReloadOutcome::Unchanged | ReloadOutcome::Planned | ReloadOutcome::Applied => return None,
        ReloadOutcome::Refused => {
            let fixed: Vec<String> = keys
                .iter()
                .filter(|key| !key.reloadable)
                .map(ToString::to_string)
                .collect();
            let message = format!(
                "a running process cannot take another {}; nothing was changed",
                fixed.join("; ")
            );
            let hint = "restart the process to put it in force, or take the change back";
            (REFUSED, ErrorKind::Config, message, hint)
        }
        ReloadOutcome::Restored { failed } => {
            let message = format!("everything is as it was before, because {}", at(failed));
            let hint = "correct what failed; the settings before are in force until then";
            (RESTORED, ErrorKind::RolledBack, message, hint)
        }
        ReloadOutcome::Broken { failed, left } => {
            let left: Vec<String> = left.iter().map(at).collect();
            let message = format!(
                "{}; going back failed as well: {}",
                at(failed),
                left.join("; ")
            );
            let hint = "`oneiric status` shows what serves; correct what failed and reload, or swap those slots";
            (BROKEN, ErrorKind::Unavailable, message, hint)
        }
    };
    Some(ErrorFields {
        code: code.into(),
        kind: kind::name(kind).into(),
        message,
        request_id: String::new(),
        hint: Some(hint.into()),
        retry_after_ms: None,
        detail: None,
    })
}
