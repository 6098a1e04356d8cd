//! What makes a live reference a facet: each method is one leased, counted call.

use std::future::Future;

use oneiric_lifecycle::{CallError, CallOutcome, Leased, Live};

/// Calls what serves the slot now; the facet's `impl for Live` is this and nothing else.
///
/// Counts like a call by name: a caller's own mistake says nothing about the component.
pub(crate) async fn follow<T, R, F, Fut>(live: &Live<T>, call: F) -> Result<R, CallError>
where
    T: ?Sized + Send + Sync + 'static,
    F: FnOnce(Leased<T>) -> Fut,
    Fut: Future<Output = Result<R, CallError>>,
{
    let judge = |error: &CallError| error.is_components_fault().then_some(CallOutcome::Failed);
    live.call_judged(call, judge).await
}
