//! A child in a task of its own: the scope's part of it waits for the task, and aborts it when dropped.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::deadline::{Deadline, Entered};
use crate::tracker::Tracker;

/// Runs the future in a task, which is counted until it is gone.
pub(super) async fn run<F, T, E>(future: F, tasks: Arc<Tracker>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    // That of the scope, in whose task this runs. It is seen, but cuts nothing off: it does so to the scope,
    // which aborts this, unless whoever set it only looked and goes on with the scope.
    let deadline = Deadline::current();
    let work = tasks.enter().around(async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _entered = Entered::replace(deadline);
            future.as_mut().poll(cx)
        })
        .await
    });
    let mut task = Aborting(tokio::spawn(work));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) => resume_unwind(match error.try_into_panic() {
            Ok(panic) => panic,
            Err(_) => Box::new("the runtime ended before a parallel child of the scope"),
        }),
    }
}

struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
