//! One instance in service, and the counted ways into it.
//!
//! The count of calls in flight is the reference count of an [`Entrance`]. An instance has several,
//! each on cache lines of its own, and a thread always uses the same one, so that two threads that
//! lease one slot never write the same line. When the instance is unpublished, the slot lets go of
//! its references; the last entrance that is dropped, now or when its last lease comes back, ends
//! the [`Term`]. Nothing polls, nothing can be missed, and no counter can disagree with what is
//! really held, because holding *is* counting.

#[cfg(all(test, oneiric_loom))]
mod model;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use oneiric_core::{BoxFuture, Provider, Registered, Slot};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::drain_watch::DrainWatch;
use crate::facet::{FacetProxy, Facets};
use crate::follow::FollowDependency;
use crate::handover::Handover;
use crate::health::Probe;
use crate::instance::{Instance, Retire};
use crate::invoke::{CallError, Invoke, Operation, Payload};
use crate::pause::Pausing;
use crate::provider_settings::Numbered;
use crate::reconfigure::Reconfigure;
use crate::retirement::Retirement;
use crate::status::CallCounts;
use crate::step::{self, Hung};
use crate::work::{Notes, Work};

/// How many entrances an instance has: twice the processors, so that threads seldom share one; a
/// power of two between 2 and 64.
pub(crate) static ENTRANCES: LazyLock<usize> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).next_power_of_two().clamp(2, 64)
});

/// An instance that was built for a slot: its parts, and what must happen to it exactly once.
pub(crate) struct Running {
    /// Counts the instances of this process, those that came to nothing included, from 1.
    pub(crate) number: u64,
    /// Kept for what it does when the instance is dropped.
    _numbered: Numbered,
    /// For whom, where its slot has one for each key.
    pub(crate) key: Option<Arc<str>>,
    pub(crate) candidate: Registered,
    pub(crate) invoke: Arc<Guarded>,
    pub(crate) facets: Facets,
    pub(crate) probe: Option<Arc<dyn Probe>>,
    pub(crate) reconfigure: Option<Arc<dyn Reconfigure>>,
    pub(crate) pausing: Option<Pausing>,
    pub(crate) follow: Option<Arc<dyn FollowDependency>>,
    pub(crate) handover: Option<Arc<dyn Handover>>,
    /// Held by the export that runs, until it really ends.
    pub(crate) handover_turn: Arc<tokio::sync::Mutex<()>>,
    /// Held by the probe that runs, until it really ends: one that blocks its thread for ever costs
    /// one thread and not one for each time somebody asks.
    pub(crate) probe_turn: Arc<tokio::sync::Mutex<()>>,
    /// Of its provider in this slot: what goes on past its time.
    pub(crate) hung: Arc<Hung>,
    /// Whether the probe that runs does.
    pub(crate) hung_probe: Arc<Hung>,
    /// Held in the same way by what takes new settings: however long one goes on, it is told of one
    /// after the other.
    pub(crate) reconfigure_turn: Arc<tokio::sync::Mutex<()>>,
    /// And by what is told of exchanged dependencies.
    pub(crate) follow_turn: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled when the instance is retired, leases or not.
    pub(crate) revoked: CancellationToken,
    /// Told of every call that fails: who asks for probes, and who watches over a bake.
    pub(crate) failed_calls: FailedCalls,
    retirement: Retirement,
    /// Of the slot.
    calls: Arc<Calls>,
    /// Of this instance, on entrances that are gone or not in use any more.
    own_calls: Calls,
}

impl Running {
    pub(crate) fn new(
        numbered: Numbered,
        candidate: Registered,
        instance: Instance,
        calls: Arc<Calls>,
        hung: Arc<Hung>,
    ) -> Self {
        let Instance {
            invoke,
            facets,
            probe,
            retire,
            reconfigure,
            pause,
            follow,
            handover,
        } = instance;
        let invoke = Arc::new(Guarded {
            inner: invoke,
            slot: candidate.slot().clone(),
            provider: candidate.provider().clone(),
            revoked: AtomicBool::new(false),
        });
        Self {
            number: numbered.number(),
            _numbered: numbered,
            key: None,
            candidate,
            invoke,
            facets,
            probe,
            probe_turn: Arc::default(),
            hung,
            hung_probe: Arc::default(),
            reconfigure_turn: Arc::default(),
            follow_turn: Arc::default(),
            revoked: CancellationToken::new(),
            failed_calls: FailedCalls::default(),
            reconfigure,
            pausing: pause.map(Pausing::new),
            follow,
            handover,
            handover_turn: Arc::default(),
            retirement: Retirement::new(retire),
            calls,
            own_calls: Calls::default(),
        }
    }

    /// Adds the facets that `proxies` can give it. An instance that panics when it is asked what it
    /// answers keeps its roles, so that it can be retired; its panic's message is the error.
    pub(crate) fn attach(&mut self, proxies: &[FacetProxy]) -> Result<(), String> {
        let guarded: Arc<dyn Invoke> = Arc::clone(&self.invoke) as _;
        let facets = &mut self.facets;
        let attach = AssertUnwindSafe(|| {
            for proxy in proxies {
                proxy.attach_if_it_fits(facets, &guarded);
            }
        });
        catch_unwind(attach).map_err(|panic| step::panic_message(panic.as_ref()))
    }

    /// The clean-up, for the one who asks first; `None` for everybody after.
    pub(crate) fn take_retirement(&self) -> Option<Option<Arc<dyn Retire>>> {
        self.retirement.take()
    }

    fn count(&self, counts: CallCounts) {
        self.calls.add(counts);
        self.own_calls.add(counts);
    }

    /// Calls that ended on this instance by entrances that are not in use any more.
    pub(crate) fn settled_calls(&self) -> CallCounts {
        self.own_calls.counts()
    }

    /// Refuses every further call through proxies and tells holders of leases.
    pub(crate) fn revoke(&self) {
        self.invoke.revoked.store(true, Ordering::Release);
        self.revoked.cancel();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("number", &self.number)
            .field("candidate", &self.candidate)
            .field("facets", &self.facets)
            .finish_non_exhaustive()
    }
}

/// The component's `Invoke`, refused once the instance is retired.
pub(crate) struct Guarded {
    inner: Arc<dyn Invoke>,
    slot: Slot,
    provider: Provider,
    revoked: AtomicBool,
}

impl Invoke for Guarded {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        if self.revoked.load(Ordering::Acquire) {
            let error = CallError::Retired {
                slot: self.slot.clone(),
                provider: self.provider.clone(),
            };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.inner.invoke(operation, input)
    }

    fn operations(&self) -> Vec<Operation> {
        self.inner.operations()
    }
}

/// Who is told that a call failed, each by a permit of its own. Written by calls that fail and by no others.
#[derive(Debug, Default)]
pub(crate) struct FailedCalls {
    pub(crate) monitor: Notify,
    pub(crate) bake: Notify,
}

impl FailedCalls {
    pub(crate) fn one_more(&self) {
        self.monitor.notify_one();
        self.bake.notify_one();
    }
}

/// Calls that ended.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Of those that failed.
    pub(crate) panicked: AtomicU64,
}

impl Calls {
    pub(crate) fn add(&self, counts: CallCounts) {
        self.succeeded
            .fetch_add(counts.succeeded, Ordering::Relaxed);
        self.failed.fetch_add(counts.failed, Ordering::Relaxed);
        self.panicked.fetch_add(counts.panicked, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> CallCounts {
        CallCounts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
        }
    }

    fn take(&self) -> CallCounts {
        CallCounts {
            succeeded: self.succeeded.swap(0, Ordering::Relaxed),
            failed: self.failed.swap(0, Ordering::Relaxed),
            panicked: self.panicked.swap(0, Ordering::Relaxed),
        }
    }
}

/// One instance's time in service, from being published to its last lease coming back. An instance
/// whose slot is drained ends one term and begins the next.
#[derive(Debug)]
pub(crate) struct Term {
    entrances_left: AtomicUsize,
    over: CancellationToken,
    /// What is known of the leases, by entrance.
    notes: Box<[Notes]>,
    /// Who waits for the end; `None` once it has come.
    watches: Mutex<Option<Vec<Arc<DrainWatch>>>>,
}

impl Term {
    /// Returns when no lease is out and none can be taken. Cancel-safe.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// What is known of the leases that are out.
    pub(crate) fn work(&self) -> Vec<Work> {
        let mut work = Vec::new();
        for notes in &self.notes {
            notes.work(&mut work);
        }
        work
    }

    /// For how long the oldest lease of which that is known has been out.
    pub(crate) fn oldest_work(&self) -> Option<Duration> {
        self.notes.iter().filter_map(Notes::oldest).max()
    }

    /// Has `watch` wait for the end, unless that has come.
    pub(crate) fn watch(&self, watch: &Arc<DrainWatch>) {
        if let Some(watches) = &mut *self.watches() {
            watches.retain(|watch| !watch.is_over());
            watch.one_more();
            watches.push(Arc::clone(watch));
        }
    }

    fn end(&self) {
        self.over.cancel();
        let watches = self.watches().take();
        for watch in watches.into_iter().flatten() {
            watch.one_ended();
        }
    }

    fn watches(&self) -> MutexGuard<'_, Option<Vec<Arc<DrainWatch>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A counted way to an instance. Aligned so that neither the count before it nor the counters in it
/// share a line, or a pair of lines fetched together, with another entrance's.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) running: Arc<Running>,
    term: Arc<Term>,
    index: usize,
    pub(crate) calls: Calls,
}

impl Entrance {
    /// What is known of the leases by this entrance.
    pub(crate) fn notes(&self) -> &Notes {
        // As many as there are entrances.
        &self.term.notes[self.index]
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.running.count(self.calls.take());
        if self.term.entrances_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.term.end();
        }
    }
}

/// What a slot points at while an instance serves.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) running: Arc<Running>,
    pub(crate) term: Arc<Term>,
    entrances: Box<[Arc<Entrance>]>,
}

impl Published {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        let count = *ENTRANCES;
        let term = Arc::new(Term {
            entrances_left: AtomicUsize::new(count),
            over: CancellationToken::new(),
            notes: (0..count).map(|_| Notes::default()).collect(),
            watches: Mutex::new(Some(Vec::new())),
        });
        let entrance = |index| {
            Arc::new(Entrance {
                running: Arc::clone(&running),
                term: Arc::clone(&term),
                index,
                calls: Calls::default(),
            })
        };
        let entrances = (0..count).map(entrance).collect();
        Self {
            running,
            term,
            entrances,
        }
    }

    /// The entrance for threads in `lane`, counted as in flight from now on.
    pub(crate) fn enter(&self, lane: usize) -> Arc<Entrance> {
        // A power of two, so the mask keeps the index in range.
        Arc::clone(&self.entrances[lane & (self.entrances.len() - 1)])
    }

    /// Adds what was counted so far to the slot's totals. Of an instance that is not published any
    /// more only the totals are read.
    pub(crate) fn settle(&self) {
        for entrance in &self.entrances {
            self.running.count(entrance.calls.take());
        }
    }

    /// A view for counting that keeps nothing alive.
    pub(crate) fn tally(self: &Arc<Self>) -> Tally {
        Tally {
            published: Arc::downgrade(self),
            entrances: self.entrances.iter().map(Arc::downgrade).collect(),
        }
    }

    /// Leases that are out.
    pub(crate) fn in_flight(&self) -> u64 {
        self.entrances
            .iter()
            .map(|entrance| Arc::strong_count(entrance) as u64 - 1)
            .sum()
    }

    /// Calls that ended by the entrances in use.
    pub(crate) fn calls(&self) -> CallCounts {
        self.entrances
            .iter()
            .fold(CallCounts::default(), |sum, entrance| {
                sum + entrance.calls.counts()
            })
    }
}

/// Counts the leases still out on an instance that was unpublished.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Has a reference to each entrance as well, for the moment until it goes.
    published: Weak<Published>,
    entrances: Vec<Weak<Entrance>>,
}

impl Tally {
    pub(crate) fn in_flight(&self) -> u64 {
        let held = self.published.strong_count().min(1);
        let out = |entrance: &Weak<Entrance>| entrance.strong_count().saturating_sub(held);
        self.entrances
            .iter()
            .map(|entrance| out(entrance) as u64)
            .sum()
    }
}
