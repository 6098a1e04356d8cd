//! Work away from the workers that serve operators: calls into components, and whatever waits for a disk.
//!
//! A component that blocks its thread in a call must not be able to stop the admin API, the very thing with which an
//! operator would exchange it. So calls that come in through the runtime are driven on the pool for blocking work, as
//! the lifecycle does with every step of a swap.

use std::future::Future;

use oneiric_core::ErrorKind;
use oneiric_lifecycle::StoreError;
use tokio::{runtime::Handle, task::JoinError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::RuntimeError;

/// Does `work`, which blocks, on the pool for that. It goes on when its caller leaves; a panic in it is its error.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Lost> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(E::from(Lost(error))))
}

/// Work that panicked, or that the end of the async runtime took with it.
#[derive(Debug)]
pub(crate) struct Lost(JoinError);

impl From<Lost> for RuntimeError {
    fn from(lost: Lost) -> Self {
        Self::Internal {
            message: lost.0.to_string(),
        }
    }
}

impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        let message = format_args!("a store failed: {}", lost.0);
        Self::new("runtime.internal", ErrorKind::Internal, message)
    }
}

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
