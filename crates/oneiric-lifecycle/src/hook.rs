//! Code of the program's own that runs around every swap.

use oneiric_core::{BoxFuture, Provider, Slot};

/// Which swap a hook is called for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SwapContext {
    /// The slot.
    pub slot: Slot,
    /// Who served before; none on a first activation.
    pub from: Option<Provider>,
    /// Who is to serve.
    pub to: Provider,
}

/// Is called before the new instance is published and after the old one is retired.
///
/// Each call has `Limits::hook`, may block, and runs on the blocking pool. While the old instance of a swap goes, another
/// swap of the slot may begin: `before` is called for one of them at a time, `after` may come in another order.
pub trait SwapHook: Send + Sync {
    /// The new instance is built and healthy and not yet published.
    ///
    /// # Errors
    /// A text for the operator; the swap is rolled back.
    fn before(&self, swap: SwapContext) -> BoxFuture<'_, Result<(), String>> {
        let _ = swap;
        Box::pin(std::future::ready(Ok(())))
    }

    /// The new instance serves and the old one is gone.
    ///
    /// # Errors
    /// A text for the operator. It is recorded; the new instance stays.
    fn after(&self, swap: SwapContext) -> BoxFuture<'_, Result<(), String>> {
        let _ = swap;
        Box::pin(std::future::ready(Ok(())))
    }
}

fn _swap_hook_is_dyn_safe(_: &dyn SwapHook) {}
