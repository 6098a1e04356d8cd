//! A child in a task of its own: the scope's part of it waits for the task, and aborts it when dropped.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::deadline::Deadline;
use crate::tracker::Tracker;

/// Runs the future in a task, which is counted until it is gone.
pub(super) async fn run<F, T, E>(future: F, tasks: Arc<Tracker>) -> Result<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    // That of the scope, in whose task this runs.
    let deadline = Deadline::current();
    let work = tasks.enter().around(async move {
        match deadline {
            None => future.await,
            Some(deadline) => match deadline.scope(future).await {
                Ok(result) => result,
                // So has that of the scope, which ends by it and aborts this.
                Err(_) => pending().await,
            },
        }
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
