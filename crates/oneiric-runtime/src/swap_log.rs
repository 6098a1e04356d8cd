//! What goes wrong in a swap, in the log: one warning each, whoever asked for the swap and whatever becomes of their
//! answer. What goes well is in the events and in the revisions.
//!
//! What components say is a field of type text, which subscribers write quoted, so that it cannot forge a line.

use oneiric_lifecycle::{Happening, Stage, SwapEvent};

/// The code under which a drain that was given up is a warning as well as an event of its own.
const DRAIN_ABANDONED: &str = "lifecycle.drain_abandoned";

/// Is an observer of the lifecycle.
pub(crate) fn log(event: &SwapEvent) {
    let slot = event.slot.to_string();
    let slot = slot.as_str();
    // Left out where it is about what serves the slot.
    let key = event.key.as_deref();
    match &event.what {
        Happening::RolledBack {
            active,
            provider,
            failure,
        } => tracing::warn!(
            slot,
            key,
            from = active.as_str(),
            to = provider.as_str(),
            stage = failure.stage.name(),
            code = failure.code,
            reason = failure.message,
            "swap rolled back"
        ),
        Happening::ActivationFailed { provider, failure } => tracing::warn!(
            slot,
            key,
            provider = provider.as_str(),
            stage = failure.stage.name(),
            code = failure.code,
            reason = failure.message,
            "activation failed"
        ),
        Happening::DrainAbandoned {
            provider,
            instance,
            held,
        } => tracing::warn!(
            slot,
            key,
            provider = provider.as_str(),
            instance,
            in_flight = held.in_flight,
            held_by = held.to_string(),
            code = DRAIN_ABANDONED,
            "retired with work under way"
        ),
        Happening::Warned { failure } if failure.stage == Stage::Reconfigure => tracing::warn!(
            slot,
            key,
            code = failure.code,
            reason = failure.message,
            "new settings not taken; building another instance"
        ),
        Happening::Warned { failure } if matches!(failure.stage, Stage::Pause | Stage::Resume) => {
            tracing::warn!(
                slot,
                key,
                stage = failure.stage.name(),
                code = failure.code,
                reason = failure.message,
                "the instance does not know that it is paused, or resumed"
            );
        }
        Happening::Warned { failure } if failure.code != DRAIN_ABANDONED => tracing::warn!(
            slot,
            key,
            stage = failure.stage.name(),
            code = failure.code,
            reason = failure.message,
            "swapped, with a failure"
        ),
        _ => {}
    }
}
