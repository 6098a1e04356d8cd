//! Swaps that an operator asks for, and the selections they leave behind.
//!
//! The rule, from `docs/spec/selections.md`: the selection follows the instance. A provider is selected only once it
//! serves; a swap that is rolled back changes neither. Were the selection written first, a process restarted after a
//! failed swap would bring up the very component that had just failed.

use oneiric_core::{Provider, Query, SelectionLayer, Slot};
use oneiric_lifecycle::{SwapReport, SwapRequest};
use tracing::Instrument;

use super::unix_ms;

use crate::{
    api::{RevisionDoc, SwapDoc, SwapRequestDoc, schema},
    error::RuntimeError,
    revisions::Entry,
    runtime::Runtime,
};

/// A provider that an operator chooses for a slot.
#[derive(Clone)]
struct Chosen {
    slot: Slot,
    provider: Provider,
    who: String,
    reason: Option<String>,
}

impl Runtime {
    /// Exchanges what serves a slot, or says what that would do; see [`SwapRequestDoc`]. `who` is written down with
    /// the selection.
    ///
    /// Swaps of one slot run in the order they were asked for. Cancel-safe: what was begun goes on, what still waits
    /// for its turn never begins.
    ///
    /// # Errors
    /// `core.no_candidate`, `core.tied`, `runtime.provider_unknown`, `runtime.request_invalid`, `lifecycle.stopped`;
    /// where and why the activation failed if nothing served before. A swap that is rolled back is not an error but a
    /// [report](SwapReport) that says so.
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
        self.must_have_provider(&request)?;
        if request.dry_run {
            return self.plan(&request);
        }
        // The turn is awaited here and not in the task, for spawned tasks need not begin in the order they were
        // spawned; a swap whose turn has not come when its caller leaves is not wanted any more.
        let turn = self.inner.revisions.turn(&request.slot);
        let mine = turn.lock_owned().await;
        let (runtime, who) = (self.clone(), who.to_owned());
        let swap = async move {
            let _mine = mine;
            runtime.swap_now(request, who).await
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
    ) -> Result<SwapDoc<SwapReport>, RuntimeError> {
        let slot = request.slot.clone();
        let (report, revision) = if request.clear {
            self.swap_and_clear(request, who).await?
        } else {
            self.swap_and_select(request, who).await?
        };
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
    ) -> Result<(SwapReport, Option<RevisionDoc>), RuntimeError> {
        let SwapRequestDoc {
            slot,
            provider,
            force,
            reason,
            ..
        } = request;
        let swap = match &provider {
            Some(provider) => SwapRequest::to_provider(slot.clone(), provider.clone()),
            None => SwapRequest::to_winner(slot.clone()),
        };
        let chosen = provider.map(|provider| Chosen {
            slot,
            provider,
            who,
            reason,
        });
        // Written in the moment of publishing. Draining the old instance can take long, and all that time `status`
        // would say that nobody asked for what serves.
        let swap = match chosen.clone() {
            Some(chosen) => {
                let runtime = self.clone();
                swap.when_published(move || {
                    runtime.select(&chosen);
                })
            }
            None => swap,
        };
        let report = self
            .lifecycle()
            .swap(swap.force(force))
            .await
            .map_err(RuntimeError::Lifecycle)?;
        // What serves already was not published; it may still have to be selected.
        let revision = chosen
            .filter(|_| report.serves())
            .map(|chosen| self.select(&chosen));
        Ok((report, revision))
    }

    /// Selects `chosen` unless that is what is selected already; gives the revision in force.
    fn select(&self, chosen: &Chosen) -> RevisionDoc {
        let selected = self.inner.revisions.of(&chosen.slot);
        if let Some(revision) =
            selected.filter(|revision| revision.provider.as_ref() == Some(&chosen.provider))
        {
            return revision;
        }
        let provider = Some(chosen.provider.clone());
        self.registry()
            .select(SelectionLayer::Operator, &chosen.slot, provider.clone());
        let (who, reason) = (chosen.who.clone(), chosen.reason.clone());
        self.record(chosen.slot.clone(), provider, who, reason)
    }

    /// Who wins without the selection is only known without it, so here the selection goes first and comes back if
    /// the swap fails.
    async fn swap_and_clear(
        &self,
        request: SwapRequestDoc,
        who: String,
    ) -> Result<(SwapReport, Option<RevisionDoc>), RuntimeError> {
        let SwapRequestDoc {
            slot,
            force,
            reason,
            ..
        } = request;
        let selected = self
            .inner
            .revisions
            .of(&slot)
            .and_then(|revision| revision.provider);
        if selected.is_some() {
            self.registry()
                .select(SelectionLayer::Operator, &slot, None);
        }
        let swap = SwapRequest::to_winner(slot.clone()).force(force);
        let result = self.lifecycle().swap(swap).await;
        if !result.as_ref().is_ok_and(SwapReport::serves) && selected.is_some() {
            self.registry()
                .select(SelectionLayer::Operator, &slot, selected.clone());
        }
        let report = result.map_err(RuntimeError::Lifecycle)?;
        let cleared = selected.is_some() && report.serves();
        let revision = cleared.then(|| self.record(slot, None, who, reason));
        Ok((report, revision))
    }

    fn record(
        &self,
        slot: Slot,
        provider: Option<Provider>,
        who: String,
        reason: Option<String>,
    ) -> RevisionDoc {
        let at_unix_ms = unix_ms(self.inner.clock.now());
        let revision = self.inner.revisions.record(Entry {
            slot,
            provider,
            who,
            reason,
            at_unix_ms,
        });
        tracing::info!(
            revision = revision.revision,
            slot = %revision.slot,
            provider = revision.provider.as_ref().map_or("-", |provider| provider.as_str()),
            who = revision.who,
            reason = revision.reason.as_deref().unwrap_or(""),
            "operator selection"
        );
        revision
    }

    fn must_have_provider(&self, request: &SwapRequestDoc) -> Result<(), RuntimeError> {
        let Some(provider) = &request.provider else {
            return Ok(());
        };
        let candidates = self
            .registry()
            .resolve_all(&Query::new(request.slot.clone()));
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
            slot: request.slot.clone(),
            provider: provider.clone(),
            known,
        })
    }
}
