//! Telling others what changed, after the fact and in order.
//!
//! Deltas are queued while the writer's lock is held (that gives the order) and delivered after it is released (so
//! an observer may call the registry). One thread delivers at a time: a writer that finds another at it leaves its
//! delta to that one and goes on.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::delta::Delta;

/// Hears of every change of a registry.
pub trait RegistryObserver: Send + Sync {
    /// Called once for each delta that is not empty, in the order in which the changes were made, when readers
    /// already see them (and maybe later ones). No lock is held; the registry may be read and written, and changes
    /// made from here are delivered after this call. It may run on the thread of another writer.
    ///
    /// Be quick, or hand over: changes made meanwhile by other threads wait in memory, and the thread that delivers
    /// them is one that wanted to write.
    ///
    /// A panic is contained: the panic hook reports it and the subscription goes on.
    fn on_delta(&self, delta: &Delta);
}

fn _dyn_ok(_: &dyn RegistryObserver) {}

/// Ends the subscription when dropped. A call that has begun on another thread may still be running then.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    id: u64,
    outbox: Weak<Outbox>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.upgrade() {
            let removed = {
                let mut state = outbox.lock();
                let index = state.observers.iter().position(|one| one.id == self.id);
                index.map(|index| state.observers.remove(index))
            };
            drop(removed); // runs the observer's own drop, so never under our lock
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    observers: Vec<Subscribed>,
    last_id: u64,
    queue: VecDeque<Delta>,
    delivering: bool,
}

#[derive(Clone)]
struct Subscribed {
    id: u64,
    /// Changes up to this generation happened before the subscription.
    after: u64,
    observer: Arc<dyn RegistryObserver>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing foreign runs under this lock, so a poisoned state is still a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call with the writer's lock held: `after` is the generation at this moment.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        observer: Arc<dyn RegistryObserver>,
        after: u64,
    ) -> Subscription {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.observers.push(Subscribed {
            id,
            after,
            observer,
        });
        Subscription {
            id,
            outbox: Arc::downgrade(self),
        }
    }

    /// Call with the writer's lock held, in the order of the changes.
    pub(crate) fn push(&self, delta: &Delta) {
        let mut state = self.lock();
        if !state.observers.is_empty() {
            state.queue.push_back(delta.clone());
        }
    }

    /// Call without any lock. Returns when everything queued is delivered, or at once when another call is at it.
    pub(crate) fn deliver(&self) {
        let mut state = self.lock();
        if state.delivering {
            return;
        }
        while let Some(delta) = state.queue.pop_front() {
            state.delivering = true;
            let observers = state.observers.clone();
            drop(state);
            for one in observers.iter().filter(|one| delta.generation > one.after) {
                let call = AssertUnwindSafe(|| one.observer.on_delta(&delta));
                // The hook has reported the panic; the change itself is made and the other observers must hear of it.
                drop(catch_unwind(call));
            }
            drop(observers);
            state = self.lock();
        }
        state.delivering = false;
    }
}
