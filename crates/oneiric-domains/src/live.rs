//! What makes a live reference a facet: each method is one leased, counted call.

use std::future::Future;

use oneiric_lifecycle::{CallError, Leased, LifecycleError, Live};

/// Calls what serves the slot now; the facet's `impl for Live` is this and nothing else.
pub(crate) async fn follow<T, R, F, Fut>(live: &Live<T>, call: F) -> Result<R, CallError>
where
    T: ?Sized + Send + Sync + 'static,
    F: FnOnce(Leased<T>) -> Fut,
    Fut: Future<Output = Result<R, CallError>>,
{
    let call = |leased| async { call(leased).await.map_err(Trouble::Call) };
    live.call(call).await.map_err(|trouble| match trouble {
        Trouble::Slot(error) => not_served(error),
        Trouble::Call(error) => error,
    })
}

enum Trouble {
    Slot(LifecycleError),
    Call(CallError),
}

impl From<LifecycleError> for Trouble {
    fn from(error: LifecycleError) -> Self {
        Self::Slot(error)
    }
}

/// There is nothing to call: the reason as a call's error.
pub(crate) fn not_served(error: LifecycleError) -> CallError {
    match error {
        LifecycleError::Panicked { message, .. } => CallError::Panicked { message },
        other => CallError::unavailable(other.to_string()),
    }
}
