//! What a request comes to when the slot's turn has come.

use std::sync::Arc;

use oneiric_core::{Query, Registered, Slot};
use tokio::sync::OwnedMutexGuard;
use tracing::{Span, field};

use super::Transition;
use crate::bake::Bake;
use crate::cell::SlotCell;
use crate::error::LifecycleError;
use crate::inner::Inner;
use crate::report::{Outcome, SwapReport, SwapRequest};

/// Why a transition is asked for.
pub(crate) enum Ask {
    /// Somebody wants to call the slot: whatever serves will do.
    Use {
        /// Activations that had ended when this was asked. One that ends later is shared.
        attempts: u64,
    },
    /// Somebody wants this one to serve.
    Swap(SwapRequest),
}

impl Ask {
    /// What surrounds everything that is logged on the way, by us, by the component and by hooks. Of
    /// level error, so that a filter that lets only errors through lets the context through too.
    pub(crate) fn span(&self, slot: &Slot) -> Span {
        let (provider, origin) = (field::Empty, field::Empty);
        match self {
            Self::Use { .. } => tracing::error_span!("activate", %slot, provider, origin),
            Self::Swap(_) => Self::swap_span(slot),
        }
    }

    pub(crate) fn swap_span(slot: &Slot) -> Span {
        let (provider, origin) = (field::Empty, field::Empty);
        tracing::error_span!("swap", %slot, provider, origin)
    }
}

/// Runs a transition to its end. `turn` says that those of the same slot that were asked for before
/// have exchanged what they were to, and lets the next one begin.
pub(crate) async fn run(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    ask: Ask,
    turn: OwnedMutexGuard<()>,
) -> Result<SwapReport, LifecycleError> {
    if cell.is_stopped() {
        return Err(LifecycleError::Stopped {
            slot: cell.slot.clone(),
        });
    }
    let request = match ask {
        Ask::Use { attempts } => {
            if let Some(published) = cell.published() {
                return Ok(unchanged(&published.running.candidate));
            }
            if let Some(failure) = cell.ledger().failure_since(attempts) {
                return Err(failure);
            }
            SwapRequest::to_winner(cell.slot.clone())
        }
        Ask::Swap(request) => request,
    };
    match plan(inner, cell, request)? {
        Planned::Unchanged(report) => Ok(report),
        Planned::Exchange(transition) => {
            let span = Span::current();
            span.record("provider", transition.candidate.provider().as_str());
            span.record("origin", transition.candidate.origin().as_str());
            transition.run(turn).await
        }
    }
}

/// What a request comes to.
pub(crate) enum Planned {
    /// The one asked for serves already.
    Unchanged(SwapReport),
    /// A new instance is to be built.
    Exchange(Transition),
}

/// Finds out what there is to do in a slot whose turn has come.
pub(crate) fn plan(
    inner: Arc<Inner>,
    cell: Arc<SlotCell>,
    request: SwapRequest,
) -> Result<Planned, LifecycleError> {
    let before = cell
        .published()
        .map(|published| Arc::clone(&published.running));
    let mut query = Query::new(cell.slot.clone());
    if let Some(provider) = &request.provider {
        query = query.provider(provider.clone());
    }
    let candidate = inner
        .registry
        .resolve(&query)
        .map_err(LifecycleError::Unresolved)?;
    if let Some(running) = &before
        && !request.rebuild
        && same_component(&running.candidate, &candidate)
    {
        return Ok(Planned::Unchanged(unchanged(&running.candidate)));
    }
    // What is still warm is exchanged without being built, unless it has settings of before.
    let is_warm = |bake: &Arc<Bake>| {
        same_component(&bake.warm.candidate, &candidate) && !bake.has_old_settings()
    };
    let warm = cell.bake().filter(|bake| !request.rebuild && is_warm(bake));
    Ok(Planned::Exchange(Transition {
        warm,
        force: request.force,
        keep: request.keep,
        record: request.record,
        record_back: request.record_back,
        when_published: request.when_published,
        ..Transition::new(inner, cell, candidate, before)
    }))
}

/// Whether an instance of `left` is what `right` asks for: one registration, built the same way. A
/// registration that was only re-ranked needs no new instance.
pub(crate) fn same_component(left: &Registered, right: &Registered) -> bool {
    left.id() == right.id() && left.is_built_like(right)
}

pub(crate) fn unchanged(candidate: &Registered) -> SwapReport {
    let (slot, provider) = (candidate.slot().clone(), candidate.provider().clone());
    SwapReport::new(slot, Outcome::Unchanged, Some(provider.clone()), provider)
}
