//! How long a shutdown may take, and what came of it: for all who asked for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::shutdown::ShutdownReport;

/// For what was told to end only when the time was up, or shortly before: most of it is done in a moment, and naming
/// it as unfinished would hide what really is.
const MOMENT: Duration = Duration::from_millis(50);

/// As good as for ever.
const AGES: Duration = Duration::from_hours(24 * 365 * 30);

/// The end of a lifecycle.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    deadline: watch::Sender<Option<Instant>>,
    /// Held by the shutdown under way; in it, what came of it.
    pub(super) turn: Arc<Mutex<Option<ShutdownReport>>>,
}

impl Ending {
    /// It is to be over after `grace`, unless somebody said earlier.
    pub(super) fn within(&self, grace: Duration) {
        let now = Instant::now();
        let asked = now.checked_add(grace).unwrap_or(now + AGES);
        self.deadline.send_if_modified(|deadline| {
            let earlier = deadline.is_none_or(|deadline| asked < deadline);
            if earlier {
                *deadline = Some(asked);
            }
            earlier
        });
    }

    /// What is left of `limit` in the time that there is as things stand.
    pub(super) fn left(&self, limit: Duration) -> Duration {
        let deadline = *self.deadline.borrow();
        deadline.map_or(limit, |deadline| {
            limit.min(deadline.saturating_duration_since(Instant::now()))
        })
    }

    /// Returns when the time is up. Cancel-safe.
    pub(super) async fn over(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let at = *deadline.borrow_and_update();
            let up = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = up => return,
                // The sender is in here, so this is a change.
                _ = deadline.changed() => {}
            }
        }
    }

    /// Returns a moment after the time is up. Cancel-safe.
    pub(super) async fn well_over(&self) {
        self.over().await;
        sleep(MOMENT).await;
    }

    /// Does `work` for at most `limit`, and no longer than until the time is well over.
    pub(super) async fn give<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = sleep(limit) => None,
            () = self.well_over() => None,
        }
    }
}
