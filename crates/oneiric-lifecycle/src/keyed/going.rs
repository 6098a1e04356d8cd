//! How instances by key go: because nobody used them, because another key needs their place, because they are of the
//! past, or because the program says so.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::entries::Entry;
use super::shared::Shared;
use crate::cell::SlotCell;
use crate::inner::Inner;
use crate::observe::Happening;
use crate::running::Running;
use crate::state::Move;

/// An entry that is handed out no more. Dropped when nothing is left of it: its place is free from then on, and its key
/// may have another instance.
pub(super) struct Going {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Going {
    pub(super) const fn new(shared: Arc<Shared>, entry: Arc<Entry>) -> Self {
        Self { shared, entry }
    }

    /// As [`Going::see_off`]; a build under way is waited for.
    pub(super) async fn in_turn(self, inner: &Arc<Inner>) {
        let turn = Arc::clone(&self.entry.cell.turn).lock_owned().await;
        self.see_off(inner, turn).await;
    }

    /// Lets its work finish, and retires it; in its turn.
    pub(super) async fn see_off(self, inner: &Arc<Inner>, _turn: OwnedMutexGuard<()>) {
        let cell = &self.entry.cell;
        if let Some(before) = &self.entry.before {
            before.cancelled().await;
        }
        if let Some(published) = inner.take_out_of_service(cell).published {
            let running = Arc::clone(&published.running);
            // What the cell pointed at counts as a lease.
            drop(published);
            cell.step(Move::Deactivate, inner.clock.now());
            finish(inner, cell, &running).await;
        }
        // A factory that was given up may still hand over an instance, for as long as it could have taken.
        for (_, turn) in cell.builds_under_way() {
            let ended = tokio::time::timeout(inner.limits().activation, turn.lock());
            drop(ended.await);
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.shared.entries().remove(&self.entry);
        self.entry.place().take();
        self.entry.over.cancel();
    }
}

/// Lets the work of an instance finish that is in service no more, and retires it.
pub(super) async fn finish(inner: &Arc<Inner>, cell: &Arc<SlotCell>, running: &Running) {
    let mut failures = Vec::new();
    failures.extend(inner.drain(cell, running, inner.limits().drain).await);
    failures.extend(inner.retire(running).await.err());
    inner.book_retired(cell, running);
    for failure in failures {
        let failure = inner.redact.failure(failure);
        inner.announce_in(cell, Happening::Warned { failure });
    }
}

impl Shared {
    /// Sees to it that somebody looks after what is not used, or is of the past.
    pub(super) fn sweep(self: &Arc<Self>) {
        if !self.swept.swap(true, Ordering::AcqRel) {
            let times = [self.limits().idle, self.limits().age];
            let shortest = times.into_iter().flatten().min();
            let pause = shortest.map(|shortest| (shortest / 4).max(Duration::from_millis(10)));
            let renewed = self.cell.watch_renewals();
            tokio::spawn(sweep(Arc::downgrade(self), pause, renewed));
        }
    }

    /// Takes out what nobody has leased, and has used for too long or would be handed any more.
    fn overdue(self: &Arc<Self>, inner: &Inner) -> Vec<(Going, OwnedMutexGuard<()>)> {
        let target = self.target(inner).ok();
        // So that what serves now still does when this is done.
        let _rules = inner.rules();
        let mut entries = self.entries();
        let idle = |entry: &Entry| {
            let idle = self.limits().idle;
            idle.is_some_and(|idle| entry.times().used.elapsed() >= idle)
        };
        let due: Vec<_> = entries
            .live
            .iter()
            .filter(|(_, entry)| idle(entry) || !self.fits(inner, entry, target.as_ref()))
            .filter_map(|(_, entry)| Some((Arc::clone(entry), entry.unused()?)))
            .collect();
        let going = due
            .into_iter()
            .map(|(entry, turn)| (self.let_go(&mut entries, entry), turn));
        going.collect()
    }

    /// Takes out what there is for `key`, leased or not; where there is nothing, when it will be gone if it is going.
    pub(super) fn take_out(
        self: &Arc<Self>,
        key: &str,
    ) -> Result<Going, Option<CancellationToken>> {
        let mut entries = self.entries();
        match entries.live.peek(key).map(Arc::clone) {
            Some(entry) => Ok(self.let_go(&mut entries, entry)),
            None => Err(entries.going_for(key)),
        }
    }

    /// Takes out what would be handed to nobody any more, leased or not.
    pub(super) fn outdated(self: &Arc<Self>, inner: &Inner) -> Vec<Going> {
        let target = self.target(inner).ok();
        let _rules = inner.rules();
        let mut entries = self.entries();
        let outdated: Vec<Arc<Entry>> = entries
            .live
            .iter()
            .filter(|(_, entry)| !self.fits(inner, entry, target.as_ref()))
            .map(|(_, entry)| Arc::clone(entry))
            .collect();
        let going = outdated
            .into_iter()
            .map(|entry| self.let_go(&mut entries, entry));
        going.collect()
    }
}

/// Retires what is not used or of the past, until there is nothing left.
async fn sweep(shared: Weak<Shared>, pause: Option<Duration>, mut renewed: watch::Receiver<u64>) {
    loop {
        let paused = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = paused => {}
            changed = renewed.changed() => if changed.is_err() {
                return;
            }
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(inner) = shared.wiring.inner() else {
            return;
        };
        for (going, turn) in shared.overdue(&inner) {
            let inner = Arc::clone(&inner);
            tokio::spawn(async move { going.see_off(&inner, turn).await });
        }
        let entries = shared.entries();
        if entries.live.is_empty() {
            // Under the lock: whoever puts the next one in looks at it afterwards.
            shared.swept.store(false, Ordering::Release);
            return;
        }
    }
}
