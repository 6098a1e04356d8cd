//! Looks after slots while nobody looks: asks what serves for its health, and does what a slot's policy says about one
//! that fails. `docs/spec/self-healing.md` has the rules.
//!
//! One task for each slot does one thing after the other: so a slot is never asked twice at once, and no two steps that
//! it takes by itself can meet. What it decides rests on what it reads at that moment, never on events that it might
//! have missed; whatever changes only wakes it.

mod better;
mod intensity;
mod pace;
mod places;
mod step;
mod trouble;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oneiric_core::{Delta, RegistryObserver, Slot};
use oneiric_resilience::{Jitter, ThreadJitter};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::intensity::Restarts;
use self::places::Places;
use self::watch::Watch;
use crate::inner::Inner;
use crate::lifecycle::Lifecycle;

/// How a lifecycle looks after its slots.
pub struct Supervise {
    jitter: Box<dyn Jitter + Send>,
}

impl Supervise {
    /// Chance as it comes.
    pub fn new() -> Self {
        Self {
            jitter: Box::new(ThreadJitter),
        }
    }

    /// Where chance comes from, for intervals and for waits between tries.
    #[must_use]
    pub fn jitter(mut self, jitter: impl Jitter + Send + 'static) -> Self {
        self.jitter = Box::new(jitter);
        self
    }
}

impl Default for Supervise {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Supervise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supervise")
    }
}

/// Slots are looked after until this is dropped, or the lifecycle is shut down. What was begun goes on all the same.
#[derive(Debug)]
#[must_use = "nothing is looked after once this is dropped"]
pub struct Supervision {
    stop: CancellationToken,
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the tasks of all slots share.
struct Shared {
    /// Nobody wants it any more.
    stop: CancellationToken,
    places: Places,
    jitter: Mutex<Box<dyn Jitter + Send>>,
}

impl Shared {
    /// A number from `[0, 1)`.
    fn chance(&self) -> f64 {
        self.with_jitter(|jitter| jitter.next_f64())
    }

    fn with_jitter<R>(&self, draw: impl FnOnce(&mut dyn Jitter) -> R) -> R {
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        draw(&mut **jitter)
    }
}

impl Lifecycle {
    /// Looks after every slot that is in use, now and later: probes at the interval of its policy, what the policy says
    /// about one that fails, failing back, rebinding. Without this, nothing happens by itself.
    ///
    /// Who is looked after already is not looked after twice: with a second call, the first one's end.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn supervise(&self, how: Supervise) -> Supervision {
        let Supervise { jitter } = how;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            stop: stop.clone(),
            places: Places::default(),
            jitter: Mutex::new(jitter),
        });
        let inner = Arc::clone(self.inner());
        let before = inner.supervised.swap(Some(Arc::new(stop.clone())));
        if let Some(before) = before {
            before.cancel();
        }
        tokio::spawn(supervise(inner, shared));
        Supervision { stop }
    }
}

/// What failed in a way that nobody foresaw is not tried again at once.
const BEGUN_ANEW_AFTER: Duration = Duration::from_secs(1);

/// Wakes whoever looks after a slot when something about its candidates changes.
struct Ranks(std::sync::Weak<Inner>);

impl RegistryObserver for Ranks {
    fn on_delta(&self, delta: &Delta) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        let candidates = [&delta.added, &delta.removed, &delta.reranked];
        let candidates = candidates.into_iter().flatten().map(|held| held.slot());
        let winners = delta.winners.iter().map(|change| &change.slot);
        for change in &delta.selections {
            // A selection of what serves is all that is seen of an operator who wants it to stay.
            if let Some(cell) = inner.existing_cell(&change.slot) {
                cell.ledger().hands += 1;
            }
        }
        let selected = delta.selections.iter().map(|change| &change.slot);
        let slots: BTreeSet<&Slot> = candidates.chain(winners).chain(selected).collect();
        for slot in slots {
            if let Some(cell) = inner.existing_cell(slot) {
                cell.news.notify_one();
            }
        }
    }
}

/// Gives each slot a task as it comes into use.
async fn supervise(inner: Arc<Inner>, shared: Arc<Shared>) {
    let observer = Arc::new(Ranks(Arc::downgrade(&inner)));
    let _subscription = inner.registry.subscribe(observer);
    let mut watched = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let mut slots = BTreeMap::new();
    loop {
        // Asked for before the slots are looked at, so that one that comes meanwhile is not missed.
        let more = inner.new_slots.notified();
        let cells: Vec<_> = inner
            .slots
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        for cell in cells {
            if watched.insert(cell.slot.clone()) {
                let task = tasks.spawn(Watch::new(&inner, Arc::clone(&cell), &shared).run());
                slots.insert(task.id(), cell);
            }
        }
        tokio::select! {
            biased;
            // The tasks end with the set that they are in.
            () = shared.stop.cancelled() => return,
            () = more => {}
            Some(ended) = tasks.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                let cell = slots.remove(&id);
                if let (Err(error), Some(cell)) = (ended, cell) {
                    // Only seams can do that: whose turn it is, the clock, where settings come from.
                    tracing::error!(slot = %cell.slot, reason = %error, "looking after a slot failed; it begins anew");
                    let watch = Watch::new(&inner, Arc::clone(&cell), &shared);
                    let task = tasks.spawn(async move {
                        tokio::time::sleep(BEGUN_ANEW_AFTER).await;
                        watch.run().await;
                    });
                    slots.insert(task.id(), cell);
                }
            }
        }
    }
}
