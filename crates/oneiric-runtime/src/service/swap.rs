//! Swaps that an operator asks for, and the selections they leave behind.
//!
//! The rule, from `docs/spec/selections.md`: the selection follows the instance. A provider is selected only once it
//! serves; a swap that is rolled back changes neither. Were the selection written first, a process restarted after a
//! failed swap would bring up the very component that had just failed.

use std::time::Duration;

use oneiric_core::{Provider, Query, SelectionLayer, Slot};
use oneiric_lifecycle::{Outcome, SwapReport, SwapRequest};
use tracing::Instrument;

use super::{note::Note, unix_ms};

use crate::{
    api::{RevisionDoc, SwapDoc, SwapRequestDoc, schema},
    error::RuntimeError,
    revisions::{Entry, Turn},
    runtime::Runtime,
    turns::UntilPublished,
};

/// A swap as it was asked for.
const fn asked(swap: SwapRequest, force: bool, bake_ms: Option<u64>) -> SwapRequest {
    let swap = swap.force(force);
    match bake_ms {
        Some(time) => swap.bake(Duration::from_millis(time)),
        None => swap,
    }
}

impl Runtime {
    /// Exchanges what serves a slot, or says what that would do; see [`SwapRequestDoc`]. `who` is written down with
    /// the selection.
    ///
    /// One whose new instance is on trial is answered when that serves; `status` tells how the trial goes and ends. Swaps
    /// of one slot run in the order they were asked for. Cancel-safe: what was begun goes on, what still waits
    /// for its turn never begins.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `runtime.provider_unknown`, `runtime.request_invalid`, `lifecycle.stopped`;
    /// where and why the activation failed if nothing served before; why a selection of what serves already cannot be
    /// written (`sqlite.disk_full` and the like). A swap that is rolled back is not an error but a
    /// [report](SwapReport) that says so; one that cannot be written down is such a one.
    pub async fn swap(
        &self,
        request: SwapRequestDoc,
        who: &str,
    ) -> Result<SwapDoc<SwapReport>, RuntimeError> {
        if request.clear && request.provider.is_some() {
            let message = "a swap either names a provider or clears the selection".to_owned();
            return Err(RuntimeError::RequestInvalid { message });
        }
        self.must_know(&request.slot)?;
        self.must_have_provider(&request.slot, request.provider.as_ref())?;
        if request.dry_run {
            return self.swap_plan(&request);
        }
        // The turn is awaited here and not in the task, for spawned tasks need not begin in the order they were
        // spawned; a swap whose turn has not come when its caller leaves is not wanted any more.
        let mine = self.inner.revisions.my_turn(&request.slot).await;
        let (runtime, who) = (self.clone(), who.to_owned());
        let swap = async move {
            let mine = UntilPublished::new(mine);
            runtime.swap_now(request, who, &mine).await
        };
        let swap = tokio::spawn(swap.in_current_span());
        swap.await.unwrap_or_else(|error| {
            Err(RuntimeError::Internal {
                message: error.to_string(),
            })
        })
    }

    async fn swap_now(
        &self,
        request: SwapRequestDoc,
        who: String,
        mine: &UntilPublished<Turn>,
    ) -> Result<SwapDoc<SwapReport>, RuntimeError> {
        let slot = request.slot.clone();
        self.inner.secrets.doubt_failures();
        let swapped = if request.clear {
            self.swap_and_clear(request, who, mine).await
        } else {
            self.swap_and_select(request, who, mine).await
        };
        // What is answered is on the disk, if the disk takes it.
        self.inner.history.offered().await;
        let (report, revision) = swapped?;
        Ok(SwapDoc {
            schema: schema::SWAP.into(),
            slot,
            report: Some(report),
            revision,
            plan: None,
            error: None,
        })
    }

    async fn swap_and_select(
        &self,
        request: SwapRequestDoc,
        who: String,
        mine: &UntilPublished<Turn>,
    ) -> Result<(SwapReport, Option<RevisionDoc>), RuntimeError> {
        let SwapRequestDoc {
            slot,
            provider,
            force,
            bake_ms,
            reason,
            ..
        } = request;
        let Some(provider) = provider else {
            let told = self.serves(&slot, mine, None);
            let swap = asked(SwapRequest::to_winner(slot), force, bake_ms);
            let report = self.lifecycle().begin_swap(swap.when_published(told));
            return Ok((report.await.map_err(RuntimeError::Lifecycle)?, None));
        };
        let swap = SwapRequest::to_provider(slot.clone(), provider.clone());
        let swap = asked(swap, force, bake_ms);
        let selected = self.inner.revisions.of(&slot);
        if selected.as_ref().and_then(|one| one.provider.as_ref()) == Some(&provider) {
            let told = self.serves(&slot, mine, None);
            let report = self.lifecycle().begin_swap(swap.when_published(told));
            let report = report.await.map_err(RuntimeError::Lifecycle)?;
            let revision = selected.filter(|_| report.serves());
            return Ok((report, revision));
        }
        let entry = self.entry(slot.clone(), Some(provider.clone()), who, reason);
        let note = Note::new(self, vec![entry]);
        let swap = swap.record(note.hook()).record_back(note.hook_back());
        let swap = swap.when_published(self.serves(&slot, mine, Some(provider.clone())));
        let result = self.lifecycle().begin_swap(swap).await;
        let serves = result.as_ref().is_ok_and(SwapReport::serves);
        if !serves {
            note.take_back().await;
        }
        let report = result.map_err(RuntimeError::Lifecycle)?;
        if !serves {
            return Ok((report, None));
        }
        let revision = note.written().await?.pop();
        if report.outcome == Outcome::Unchanged {
            // What serves already was not published; it still has to be selected. Of what was, the turn is over.
            self.registry()
                .select(SelectionLayer::Operator, &slot, Some(provider));
        }
        note.follow(report.baking());
        Ok((report, revision))
    }

    /// Who wins without the selection is only known without it, so here the selection goes first and comes back if
    /// the swap fails or cannot be written down.
    async fn swap_and_clear(
        &self,
        request: SwapRequestDoc,
        who: String,
        mine: &UntilPublished<Turn>,
    ) -> Result<(SwapReport, Option<RevisionDoc>), RuntimeError> {
        let SwapRequestDoc {
            slot,
            force,
            bake_ms,
            reason,
            ..
        } = request;
        let swap = asked(SwapRequest::to_winner(slot.clone()), force, bake_ms);
        let told = self.serves(&slot, mine, None);
        let selected = self.inner.revisions.of(&slot);
        let Some(selected) = selected.and_then(|revision| revision.provider) else {
            let report = self.lifecycle().begin_swap(swap.when_published(told));
            return Ok((report.await.map_err(RuntimeError::Lifecycle)?, None));
        };
        let select = |provider| {
            self.registry()
                .select(SelectionLayer::Operator, &slot, provider);
        };
        select(None);
        let note = Note::new(self, vec![self.entry(slot.clone(), None, who, reason)]);
        let swap = swap.record(note.hook()).record_back(note.hook_back());
        let swap = swap.when_published(told);
        let result = self.lifecycle().begin_swap(swap).await;
        if !result.as_ref().is_ok_and(SwapReport::serves) {
            select(Some(selected));
            note.take_back().await;
            return Ok((result.map_err(RuntimeError::Lifecycle)?, None));
        }
        let report = result.map_err(RuntimeError::Lifecycle)?;
        match note.written().await {
            Ok(mut lines) => {
                note.follow(report.baking());
                Ok((report, lines.pop()))
            }
            Err(error) => {
                select(Some(selected));
                Err(error)
            }
        }
    }

    /// What is done in the moment in which a new instance serves `slot`. Draining the old one can take long, and all
    /// that time `status` would say that nobody asked for what serves, and nobody could exchange it.
    fn serves(
        &self,
        slot: &Slot,
        mine: &UntilPublished<Turn>,
        selected: Option<Provider>,
    ) -> impl Fn() + Send + Sync + 'static {
        let (runtime, slot, mine) = (self.clone(), slot.clone(), mine.clone());
        move || {
            if let Some(provider) = selected.clone() {
                let layer = SelectionLayer::Operator;
                runtime.registry().select(layer, &slot, Some(provider));
            }
            // Built with the settings in force, for whoever an operator wants: what a reload left for later is done.
            runtime.inner.reload.held.release(&slot);
            mine.let_go();
        }
    }

    pub(super) fn entry(
        &self,
        slot: Slot,
        provider: Option<Provider>,
        who: String,
        reason: Option<String>,
    ) -> Entry {
        let at_unix_ms = unix_ms(self.inner.clock.now());
        Entry {
            slot,
            provider,
            who,
            reason,
            at_unix_ms,
            undoes: None,
        }
    }

    pub(super) fn must_have_provider(
        &self,
        slot: &Slot,
        provider: Option<&Provider>,
    ) -> Result<(), RuntimeError> {
        let Some(provider) = provider else {
            return Ok(());
        };
        let candidates = self.registry().resolve_all(&Query::new(slot.clone()));
        if candidates.iter().any(|held| held.provider() == provider) {
            return Ok(());
        }
        let mut known: Vec<_> = candidates
            .iter()
            .map(|held| held.provider().clone())
            .collect();
        known.sort();
        known.dedup();
        Err(RuntimeError::ProviderUnknown {
            slot: slot.clone(),
            provider: provider.clone(),
            known,
        })
    }
}
