//! New settings for an instance that serves.
//!
//! An instance that can take new settings is told; one that cannot, or refuses, is exchanged for a
//! new one of the same candidate, whoever ranks best by now. Either way no call fails because of it.

use std::sync::Arc;

use oneiric_core::{BoxFuture, Slot};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::bake::{Keep, Order};
use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;
use crate::observe::Happening;
use crate::provider_settings;
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
    /// Nothing serves. Whatever is built next gets them.
    NotActive,
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
        self.reconfigure_as(slot, Keep::AsPolicy).await
    }

    /// As [`Lifecycle::reconfigure`]; an instance that is exchanged for a new one is kept as
    /// [`SwapRequest::keep_old`](crate::SwapRequest::keep_old) says. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// As [`Lifecycle::reconfigure`].
    pub async fn reconfigure_keeping(&self, slot: &Slot) -> Result<Reconfigured, LifecycleError> {
        self.reconfigure_as(slot, Keep::UntilTold).await
    }

    async fn reconfigure_as(
        &self,
        slot: &Slot,
        keep: Keep,
    ) -> Result<Reconfigured, LifecycleError> {
        let inner = self.inner();
        let cell = inner
            .known_cell(slot)
            .ok_or_else(|| inner.unresolved(slot))?;
        cell.renew();
        let work = move |inner, cell, turn| run(inner, cell, keep, turn);
        Wiring::of(inner).in_turn(cell, work).await
    }
}

async fn run(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    keep: Keep,
    _turn: OwnedMutexGuard<()>,
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
    if let Some(role) = &running.reconfigure {
        match tell(&inner, &running, Arc::clone(role)).await {
            Ok(()) => {
                // The warm one knows nothing of these settings, so what serves stays.
                if let Some(bake) = cell.take_bake() {
                    bake.order(Order::Superseded);
                }
                cell.ledger().hands += 1;
                cell.news.notify_one();
                return Ok(Reconfigured::Told);
            }
            Err(failure) => {
                let failure = inner.redact.failure(failure);
                inner.announce(&cell.slot, Happening::Warned { failure });
            }
        }
    }
    let report = Transition::rebuild(inner, cell, running, keep)
        .run()
        .await?;
    Ok(Reconfigured::Swapped(report))
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
    let settings = step::catch_panic(provider_settings::fetch(inner, slot, provider))
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
