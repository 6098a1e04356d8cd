//! Runs calls into components away from the workers that serve operators.
//!
//! A component that blocks its thread in a call must not be able to stop the admin API, the very thing with which an
//! operator would exchange it. So calls that come in through the runtime are driven on the pool for blocking work, as
//! the lifecycle does with every step of a swap.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Drives `work` on the pool for blocking work. Dropped half-way, `work` is dropped at its next await.
///
/// # Panics
/// As `work` does.
pub(crate) async fn off_the_workers<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let driver = Handle::current();
    let work = work.in_current_span();
    let given_up = CancellationToken::new();
    let _when_dropped = given_up.clone().drop_guard();
    let task = tokio::task::spawn_blocking(move || {
        driver.block_on(async move {
            tokio::select! {
                biased;
                product = work => Some(product),
                () = given_up.cancelled() => None,
            }
        })
    });
    match task.await {
        Ok(product) => product,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The async runtime is going down.
        Err(_cancelled) => None,
    }
}
