//! New settings for an instance that serves.
//!
//! An instance that can take new settings is told; one that cannot, or refuses, is exchanged for a
//! new one of the same candidate, whoever ranks best by now. Either way no call fails because of it.

use std::sync::Arc;

use oneiric_core::{BoxFuture, Slot};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::bake::Keep;
use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::provider_settings::{self, Receiver};
use crate::report::SwapReport;
use crate::running::Running;
use crate::step;
use crate::transition::Transition;
use crate::wiring::Wiring;

/// Takes new settings while it serves.
pub trait Reconfigure: Send + Sync {
    /// Goes over to `settings`, all of them: those that did not change are there too. `Null` where
    /// there are none. Calls go on meanwhile. May block; is given `Limits::activation`. A second call
    /// begins only when the first has ended, also when the first was given up: if it still goes on by
    /// the end of the next one's limit, the instance is exchanged for a new one without being told.
    ///
    /// # Errors
    /// A text for the operator. The instance must go on as before; it is then exchanged for a new one.
    fn reconfigure(&self, settings: Value) -> BoxFuture<'_, Result<(), String>>;
}

fn _reconfigure_is_dyn_safe(_: &dyn Reconfigure) {}

/// How new settings reached what serves a slot.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reconfigured {
    /// The instance took them and serves on.
    Told,
    /// Another instance was built with them; the report says whether it serves.
    Swapped(SwapReport),
    /// Nothing serves, or another instance than was meant. Whatever is built next gets them.
    NotActive,
    /// Nothing was done: it cannot be told, and exchanging it would end the trial that it is on.
    OnTrial,
}

impl Lifecycle {
    /// Gives what serves `slot` its settings anew: tells it, or exchanges it for a new instance of
    /// the same candidate. Runs in turn with swaps of the slot. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// `core.no_candidate` when nobody knows the slot, `lifecycle.stopped`. That the new instance
    /// could not be built is no error but a report of
    /// [`Outcome::RolledBack`](crate::Outcome::RolledBack).
    pub async fn reconfigure(&self, slot: &Slot) -> Result<Reconfigured, LifecycleError> {
        self.reconfigure_as(slot, Keep::AsPolicy, None).await
    }

    /// As [`Lifecycle::reconfigure`]; an instance that is exchanged for a new one is kept as
    /// [`SwapRequest::keep_old`](crate::SwapRequest::keep_old) says. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// As [`Lifecycle::reconfigure`].
    pub async fn reconfigure_keeping(&self, slot: &Slot) -> Result<Reconfigured, LifecycleError> {
        self.reconfigure_as(slot, Keep::UntilTold, None).await
    }

    /// As [`Lifecycle::reconfigure`], for the instance with this number and nobody who comes after it, and without
    /// ending a trial: an instance that is on one and cannot be told is left as it is. For those who give new settings
    /// without being asked: what the slot counted, gave up and found out by itself still holds. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// As [`Lifecycle::reconfigure`].
    pub async fn renew(&self, slot: &Slot, instance: u64) -> Result<Reconfigured, LifecycleError> {
        self.reconfigure_as(slot, Keep::AsPolicy, Some(instance))
            .await
    }

    async fn reconfigure_as(
        &self,
        slot: &Slot,
        keep: Keep,
        only: Option<u64>,
    ) -> Result<Reconfigured, LifecycleError> {
        let inner = self.inner();
        let cell = inner
            .known_cell(slot)
            .ok_or_else(|| inner.unresolved(slot))?;
        cell.renew();
        let work = move |inner, cell, turn| run(inner, cell, keep, only, turn);
        Wiring::of(inner).in_turn_to_swap(cell, work).await
    }
}

async fn run(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    keep: Keep,
    only: Option<u64>,
    turn: OwnedMutexGuard<()>,
) -> Result<Reconfigured, LifecycleError> {
    if cell.is_stopped() {
        return Err(LifecycleError::Stopped {
            slot: cell.slot.clone(),
        });
    }
    let Some(published) = cell.published() else {
        return Ok(Reconfigured::NotActive);
    };
    let running = Arc::clone(&published.running);
    drop(published);
    if only.is_some_and(|only| only != running.number) {
        return Ok(Reconfigured::NotActive);
    }
    // Nobody ends it while it is this slot's turn.
    let on_trial = cell.bake();
    if takes(&inner, &cell, &running).await {
        // It goes on. The warm one knows nothing of these settings, and is told if it serves again.
        if let Some(bake) = on_trial {
            bake.was_told();
        }
        if only.is_none() {
            cell.ledger().hands += 1;
        }
        cell.news.notify_one();
        return Ok(Reconfigured::Told);
    }
    if only.is_some() && on_trial.is_some() {
        return Ok(Reconfigured::OnTrial);
    }
    let report = Transition::rebuild(inner, cell, running, keep)
        .renewing(only.is_some())
        .run(turn)
        .await?;
    Ok(Reconfigured::Swapped(report))
}

/// Tells an instance that serves its settings; whether it took them. Why it did not is said.
pub(crate) async fn takes(inner: &Arc<Inner>, cell: &SlotCell, running: &Arc<Running>) -> bool {
    let Some(role) = &running.reconfigure else {
        return false;
    };
    match tell(inner, running, Arc::clone(role)).await {
        Ok(()) => true,
        Err(failure) => {
            let failure = inner.redact.failure(failure);
            inner.announce(&cell.slot, Happening::Warned { failure });
            false
        }
    }
}

async fn tell(
    inner: &Arc<Inner>,
    running: &Arc<Running>,
    role: Arc<dyn Reconfigure>,
) -> Result<(), Failure> {
    let (slot, provider) = (running.candidate.slot(), running.candidate.provider());
    let limit = inner.limits().activation;
    let turn = Arc::clone(&running.reconfigure_turn).lock_owned();
    let Ok(turn) = tokio::time::timeout(limit, turn).await else {
        return Err(Failure::new(
            Stage::Reconfigure,
            "lifecycle.timed_out",
            "it is still at work on earlier settings",
        ));
    };
    let to = Receiver {
        slot,
        provider,
        instance: running.number,
        key: running.key.as_deref(),
    };
    let settings = step::catch_panic(provider_settings::fetch(inner, to))
        .await
        .unwrap_or_else(|message| Err(failed(format_args!("panicked: {message}"))))?
        .hand_over();
    let call = move || async move {
        let taken = role.reconfigure(settings).await;
        drop(turn);
        taken
    };
    match inner.steps.hook(limit, call).await {
        Ok(Ok(())) => {
            let (provider, instance) = (provider.clone(), running.number);
            inner.announce(slot, Happening::Reconfigured { provider, instance });
            Ok(())
        }
        Ok(Err(message)) => Err(failed(message)),
        Err(error) => Err(Failure::step(Stage::Reconfigure, limit, error)),
    }
}

fn failed(message: impl std::fmt::Display) -> Failure {
    Failure::new(Stage::Reconfigure, "lifecycle.reconfigure_failed", message)
}
