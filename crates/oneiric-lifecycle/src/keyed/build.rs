//! How an instance by key is built and put in service.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use oneiric_core::Registered;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::entries::Entry;
use super::going::finish;
use super::shared::Shared;
use crate::cell::SlotCell;
use crate::error::{Failure, LifecycleError, Stage};
use crate::graph::Claim;
use crate::inner::Inner;
use crate::observe::Happening;
use crate::running::{Published, Running};
use crate::state::Move;
use crate::step;

impl Shared {
    /// Builds the entry's instance in its turn, unless somebody just has. `false` when it made room for another or was
    /// taken down meanwhile: what it may still have is of the past.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
    ) -> Result<bool, LifecycleError> {
        let attempts = entry.cell.ledger().attempts;
        let (shared, entry) = (Arc::clone(self), Arc::clone(entry));
        let cell = Arc::clone(&entry.cell);
        let work = move |inner, cell: Arc<SlotCell>, turn| async move {
            if shared.is_current(&entry)? {
                return Ok(true);
            }
            if let Some(failure) = cell.ledger().failure_since(attempts) {
                return Err(failure);
            }
            shared.build(&inner, &entry, turn).await
        };
        self.wiring.in_turn(cell, work).await
    }

    async fn build(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        entry: &Arc<Entry>,
        turn: OwnedMutexGuard<()>,
    ) -> Result<bool, LifecycleError> {
        let _unbuilt = Unbuilt {
            shared: self,
            entry,
        };
        let cell = &entry.cell;
        self.take_place(entry).await?;
        if entry.is_gone() {
            return Ok(false);
        }
        // First this: whatever changes from here on makes it one of the past.
        let renewals = self.cell.renewals();
        let candidate = self.target(inner)?;
        let provider = candidate.provider().clone();
        inner.announce_in(
            cell,
            Happening::Building {
                provider: provider.clone(),
            },
        );
        let now = inner.clock.now();
        cell.ledger().step(Move::Begin, now);
        let (running, claim) = match self.construct(inner, cell, &candidate).await {
            Ok(built) => built,
            Err(failure) => return Err(self.give_up(inner, cell, &candidate, failure)),
        };
        let next = Arc::new(Published::new(Arc::clone(&running)));
        let Ok(was) = inner.put_in_service(cell, next) else {
            inner.discard(cell, &running).await;
            return Err(self.stopped());
        };
        claim.settle(running.number);
        entry.renewals.store(renewals, Ordering::Release);
        entry.times().built = Instant::now();
        let now = inner.clock.now();
        let mut ledger = cell.ledger();
        ledger.step(Move::Publish, now);
        ledger.attempts += 1;
        ledger.last_failure = None;
        drop(ledger);
        // What the cell pointed at counts as a lease.
        let old = was.published.map(|old| Arc::clone(&old.running));
        inner.announce_in(
            cell,
            Happening::Published {
                from: old.as_ref().map(|old| old.candidate.provider().clone()),
                to: provider,
                instance: running.number,
                forced: None,
            },
        );
        if let Some(old) = old {
            // Not waited for: whoever asked may be the one whose work it is.
            let (inner, cell) = (Arc::clone(inner), Arc::clone(cell));
            tokio::spawn(async move {
                let _turn = turn;
                finish(&inner, &cell, &old).await;
            });
        }
        Ok(true)
    }

    /// Waits for one of as many places as there may be instances, and until nothing is left of what the key had before.
    /// One that is handed out no more waits for neither: others may have taken all places by now, and keep them.
    async fn take_place(&self, entry: &Entry) -> Result<(), LifecycleError> {
        let free = async {
            if let Some(before) = &entry.before {
                before.cancelled().await;
            }
            if entry.place().is_none() {
                let place = Arc::clone(&self.places).acquire_owned().await;
                // Nobody ever closes it.
                *entry.place() = place.ok();
            }
        };
        tokio::select! {
            biased;
            () = entry.cell.stopping.cancelled() => Err(self.stopped()),
            () = entry.gone.cancelled() => Ok(()),
            () = free => Ok(()),
        }
    }

    /// Everything up to a healthy instance; or nothing is left of it.
    async fn construct(
        &self,
        inner: &Arc<Inner>,
        cell: &Arc<SlotCell>,
        candidate: &Registered,
    ) -> Result<(Arc<Running>, Claim), Failure> {
        // What other people's code does is caught where it is called; this is for where settings come from, and proxies.
        step::catch_panic(construct(inner, cell, candidate))
            .await
            .unwrap_or_else(|message| {
                Err(Failure::new(
                    Stage::Build,
                    "lifecycle.panicked",
                    format_args!("panicked: {message}"),
                ))
            })
    }

    fn give_up(
        &self,
        inner: &Inner,
        cell: &SlotCell,
        candidate: &Registered,
        failure: Failure,
    ) -> LifecycleError {
        let failure = inner.redact.failure(failure);
        let provider = candidate.provider().clone();
        let error = LifecycleError::ActivationFailed {
            slot: self.slot().clone(),
            provider: provider.clone(),
            failure: failure.clone(),
        };
        let now = inner.clock.now();
        let mut ledger = cell.ledger();
        ledger.step(Move::GiveUp, now);
        ledger.attempts += 1;
        ledger.last_failure = Some(error.clone());
        drop(ledger);
        inner.announce_in(cell, Happening::ActivationFailed { provider, failure });
        error
    }

    /// Forgets an entry in which nothing could be built, so that it takes nobody's place.
    fn forget_unbuilt(&self, entry: &Arc<Entry>) {
        let cell = &entry.cell;
        if cell.published().is_some() || !cell.builds_under_way().is_empty() {
            return;
        }
        let mut entries = self.entries();
        let live = entries.live.peek(&entry.key);
        if live.is_some_and(|live| Arc::ptr_eq(live, entry)) {
            entries.live.pop(&entry.key);
            entry.gone.cancel();
            drop(entries);
            entry.place().take();
            entry.over.cancel();
        }
    }
}

async fn construct(
    inner: &Arc<Inner>,
    cell: &Arc<SlotCell>,
    candidate: &Registered,
) -> Result<(Arc<Running>, Claim), Failure> {
    let factory = inner.factory_of(candidate)?;
    let claim = inner.bring_up_dependencies(cell, candidate).await?;
    let key = cell.key.clone();
    let built = inner.construct(cell, candidate, factory, key).await?;
    let running = Arc::new(built);
    let report = inner.ask(&running).await;
    match report.and_then(|report| report.health) {
        Some(health) if !health.may_serve() => {
            inner.discard(cell, &running).await;
            Err(Failure::probe(health))
        }
        _ => Ok((running, claim)),
    }
}

/// A build, however it ends.
struct Unbuilt<'b> {
    shared: &'b Shared,
    entry: &'b Arc<Entry>,
}

impl Drop for Unbuilt<'_> {
    fn drop(&mut self) {
        self.shared.forget_unbuilt(self.entry);
    }
}
