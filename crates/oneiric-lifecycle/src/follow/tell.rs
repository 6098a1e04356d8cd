//! Tells an instance that what it needs was exchanged.

use std::sync::Arc;

use oneiric_core::Slot;

use super::{DependencyChange, FollowDependency};
use crate::activity::Activity;
use crate::error::{Failure, Stage};
use crate::inner::Inner;
use crate::running::Running;

/// Tells what serves `slot` of all that it does not know yet, one after the other, for as long as it serves.
pub(super) async fn tell_all(inner: &Arc<Inner>, slot: &Slot) {
    let Some(cell) = inner.existing_cell(slot) else {
        return;
    };
    if cell.activity().activity != Activity::Running || cell.is_stopped() {
        return;
    }
    let Some(published) = cell.published() else {
        return;
    };
    let running = Arc::clone(&published.running);
    drop(published);
    let (changes, knowledge) = inner.unanswered(&running);
    inner.graph.answered(slot, running.number, &knowledge);
    let Some(role) = &running.follow else {
        return;
    };
    for change in changes {
        // Kept until it has answered, so that it is not retired meanwhile.
        let Some(entrance) = cell.enter_if_serving(running.number) else {
            return;
        };
        let told = tell(inner, &running, Arc::clone(role), change).await;
        drop(entrance);
        if let Err(failure) = told {
            inner.warn_of(&cell, &running, failure);
        }
    }
}

async fn tell(
    inner: &Arc<Inner>,
    running: &Arc<Running>,
    role: Arc<dyn FollowDependency>,
    change: DependencyChange,
) -> Result<(), Failure> {
    let limit = inner.limits().hook;
    let turn = Arc::clone(&running.follow_turn).lock_owned();
    let Ok(turn) = tokio::time::timeout(limit, turn).await else {
        return Err(Failure::new(
            Stage::DependencyChange,
            "lifecycle.timed_out",
            format_args!("of {}: it is still at work on an earlier one", change.slot),
        ));
    };
    let slot = change.slot.clone();
    let call = move || async move {
        let answer = role.dependency_changed(change).await;
        drop(turn);
        answer
    };
    match inner.steps.hook(limit, call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(Failure::new(
            Stage::DependencyChange,
            "lifecycle.dependency_change_failed",
            format_args!("of {slot}: {message}"),
        )),
        Err(error) => Err(Failure::step(Stage::DependencyChange, limit, error)),
    }
}
