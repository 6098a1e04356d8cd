//! Since when the calls that come in through the runtime run, so that whoever waits for the last of them knows whether
//! it is slow or will never end.
//!
//! The lifecycle counts leases and writes down nothing else, because a lease costs nanoseconds and a clock costs more
//! than that. Calls that come in here cost microseconds anyway, so here each is noted with its beginning.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use oneiric_core::{Provider, Slot};
use oneiric_lifecycle::{ActivityScope, Lease};
use tokio::time::Instant;

/// The calls that run. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    next: u64,
    calls: BTreeMap<u64, Call>,
}

struct Call {
    slot: Slot,
    provider: Provider,
    since: Instant,
}

/// A call that runs, until this is dropped.
pub(crate) struct Underway {
    calls: Calls,
    number: u64,
}

impl Calls {
    /// Notes a call on what `lease` is for. Hold what it gives as long as the lease.
    pub(crate) fn begin(&self, lease: &Lease) -> Underway {
        let call = Call {
            slot: lease.candidate().slot().clone(),
            provider: lease.provider().clone(),
            since: Instant::now(),
        };
        let mut running = self.running();
        let number = running.next;
        running.next += 1;
        running.calls.insert(number, call);
        Underway {
            calls: self.clone(),
            number,
        }
    }

    /// For how long the oldest call in `scope` runs.
    pub(crate) fn oldest(&self, scope: &ActivityScope) -> Option<Duration> {
        let running = self.running();
        // Numbers are given under the lock, so the first that fits is the oldest but for those that began at once.
        let mut calls = running.calls.values();
        let oldest = calls.find(|call| scope.covers(&call.slot, &call.provider))?;
        Some(oldest.since.elapsed())
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // No foreign code runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.calls.running().calls.remove(&self.number);
    }
}
