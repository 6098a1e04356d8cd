//! How many steps of each kind there may be at once, so that those of one kind keep none of another from beginning:
//! however many factories hang, instances are probed and retired.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The kinds of steps, each with threads of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepKind {
    /// A factory builds.
    Build,
    /// An instance is asked for its health.
    Probe,
    /// An instance cleans up.
    Retire,
    /// A hook, or an instance that is told something or hands over its state.
    Hook,
}

impl StepKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Build, Self::Probe, Self::Retire, Self::Hook];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Probe => "probe",
            Self::Retire => "retire",
            Self::Hook => "hook",
        }
    }

    /// So many at once. A factory may wait for the instance of another slot, and so for another factory: of those there
    /// are the most.
    const fn at_once(self) -> usize {
        match self {
            Self::Build => 256,
            Self::Probe | Self::Retire | Self::Hook => 64,
        }
    }
}

/// So many threads of the async runtime's blocking pool are taken by the steps of one lifecycle at most, of all kinds
/// together. A pool that has fewer for them makes steps wait for each other.
pub const STEPS_AT_ONCE: usize = {
    let (mut sum, mut kind) = (0, 0);
    while kind < StepKind::ALL.len() {
        sum += StepKind::ALL[kind].at_once();
        kind += 1;
    }
    sum
};

/// How many steps of one kind there are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepLoad {
    /// Which.
    pub kind: StepKind,
    /// Under way, each on a thread. One that was given up counts for as long as it blocks its thread.
    pub at_work: usize,
    /// Not begun, because there is no thread for them.
    pub waiting: usize,
    /// More than this are never under way at once.
    pub most: usize,
}

/// The places of all kinds.
#[derive(Debug)]
pub(crate) struct Steps([Arc<Lane>; StepKind::ALL.len()]);

#[derive(Debug)]
struct Lane {
    /// Whoever asked first gets the next one.
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    at_work: AtomicUsize,
}

impl Default for Steps {
    fn default() -> Self {
        Self(StepKind::ALL.map(|kind| Arc::new(Lane::new(kind.at_once()))))
    }
}

impl Lane {
    fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            waiting: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
        }
    }
}

impl Steps {
    /// Waits for a place. Counts as waiting from now on.
    pub(super) fn place(&self, kind: StepKind) -> impl Future<Output = Place> + Send + use<> {
        let lane = Arc::clone(&self.0[kind as usize]);
        let waits = Counted::new(&lane, |lane| &lane.waiting);
        async move {
            let permit = Arc::clone(&lane.places).acquire_owned().await;
            Place {
                lane,
                waits,
                // It is never closed; and one step too many is better than none.
                permit: permit.ok(),
            }
        }
    }

    pub(crate) fn load(&self) -> Vec<StepLoad> {
        let of = |kind: StepKind| {
            let lane = &self.0[kind as usize];
            StepLoad {
                kind,
                at_work: lane.at_work.load(Ordering::Relaxed),
                waiting: lane.waiting.load(Ordering::Relaxed),
                most: kind.at_once(),
            }
        };
        StepKind::ALL.map(of).to_vec()
    }
}

/// A place for a step that has no thread yet.
pub(super) struct Place {
    lane: Arc<Lane>,
    waits: Counted,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// It has a thread now, until what this gives is dropped.
    pub(super) fn begin(self) -> impl Sized + use<> {
        let Self {
            lane,
            waits,
            permit,
        } = self;
        drop(waits);
        (Counted::new(&lane, |lane| &lane.at_work), permit)
    }
}

/// Counts as one until it is dropped.
struct Counted {
    lane: Arc<Lane>,
    of: fn(&Lane) -> &AtomicUsize,
}

impl Counted {
    fn new(lane: &Arc<Lane>, of: fn(&Lane) -> &AtomicUsize) -> Self {
        of(lane).fetch_add(1, Ordering::Relaxed);
        Self {
            lane: Arc::clone(lane),
            of,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.of)(&self.lane).fetch_sub(1, Ordering::Relaxed);
    }
}
