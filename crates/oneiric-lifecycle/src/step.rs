//! Runs one step of a transition: off the async workers, with a time limit, panics caught.
//!
//! Factories, probes, hooks and retirements are other people's code. Each runs on the blocking pool
//! and is driven there, so that one that blocks a thread blocks no other slot; when its time is up
//! the step is given up, and a product that still arrives is handed to `late`.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// Why a step has no product.
#[derive(Debug)]
pub(crate) enum StepError {
    TimedOut,
    /// Nobody wants its product any more.
    Abandoned,
    Panicked(String),
}

/// Runs `step` for at most `limit`, and no longer than until `abandon` is cancelled, which happens
/// when the time is up at the latest. A future that awaits is dropped then, a thread that blocks goes
/// on, and `late` gets what it still makes. Dropped half-way, it gives the step up in the same way, and what the step
/// still makes is dropped: only those that run in a task of their own may make something that has to be taken down.
///
/// Must run inside a tokio runtime with time enabled.
pub(crate) async fn run<T, Fut, L>(
    limit: Duration,
    abandon: CancellationToken,
    step: impl FnOnce() -> Fut + Send + 'static,
    late: impl FnOnce(T) -> L + Send + 'static,
) -> Result<T, StepError>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send,
    L: Future<Output = ()> + Send,
{
    let driver = Handle::current();
    let span = Span::current();
    let abandoned = abandon.clone();
    let mut dropped = GivesUp(Some(abandon.clone()));
    let mut work = tokio::task::spawn_blocking(move || {
        driver.block_on(async move {
            let mut step = pin!(span.in_scope(step).instrument(span.clone()));
            tokio::select! {
                biased;
                product = &mut step => Some(product),
                () = abandoned.cancelled() => None,
            }
        })
    });
    let error = tokio::select! {
        biased;
        ended = &mut work => {
            // Its product may rely on not being told to stop any more.
            dropped.0 = None;
            return match ended {
                Ok(Some(product)) => Ok(product),
                Ok(None) => Err(StepError::Abandoned),
                Err(join) => Err(StepError::Panicked(join_message(join))),
            };
        }
        () = abandon.cancelled() => StepError::Abandoned,
        () = tokio::time::sleep(limit) => StepError::TimedOut,
    };
    abandon.cancel();
    tokio::spawn(async move {
        if let Ok(Some(product)) = work.await {
            late(product).await;
        }
    });
    Err(error)
}

/// Cancels when it is dropped: without the one who waits for a step, nobody would ever end one that hangs.
struct GivesUp(Option<CancellationToken>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        if let Some(abandon) = &self.0 {
            abandon.cancel();
        }
    }
}

/// Runs `call` and turns a panic inside it into its message.
pub(crate) async fn catch_panic<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        // The future is dropped right after a panic and never polled again, and what it shares with
        // others (the instance) is the component's to keep sound; hence unwind safety is asserted.
        let poll = std::panic::AssertUnwindSafe(|| call.as_mut().poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic_message(panic.as_ref()))),
        }
    })
    .await
}

fn join_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_message(panic.as_ref()),
        Err(_cancelled) => "the runtime is shutting down".to_owned(),
    }
}

pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
