//! How many steps of each kind there may be at once, so that those of one kind keep none of another from beginning:
//! however many factories hang, instances are probed and retired.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// A hook, or an instance that is told something.
    Hook,
    /// An instance hands its state over, or takes it over.
    HandOver,
}

impl StepKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Build,
        Self::Probe,
        Self::Retire,
        Self::Hook,
        Self::HandOver,
    ];

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Probe => "probe",
            Self::Retire => "retire",
            Self::Hook => "hook",
            Self::HandOver => "hand_over",
        }
    }

    /// So many at once. A factory may wait for the instance of another slot, and so for another factory: of those there
    /// are the most.
    const fn at_once(self) -> usize {
        match self {
            Self::Build => 256,
            Self::Probe | Self::Retire | Self::Hook | Self::HandOver => 64,
        }
    }
}

/// So many steps of one kind may be past their time and still block their threads, before they keep the places of others.
const PAST_THEIR_TIME: usize = 64;

/// So many threads of the async runtime's blocking pool are taken by the steps of one lifecycle at most, of all kinds
/// together, those past their time included. A pool that has fewer for them makes steps wait for each other.
pub const STEPS_AT_ONCE: usize = {
    let (mut sum, mut kind) = (0, 0);
    while kind < StepKind::ALL.len() {
        sum += StepKind::ALL[kind].at_once() + PAST_THEIR_TIME;
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
    /// More than this are never under way at once, but for those that were given up: of these there may be 64 more.
    pub most: usize,
}

/// The places of all kinds.
#[derive(Debug)]
pub(crate) struct Steps([Arc<Lane>; StepKind::ALL.len()]);

#[derive(Debug)]
struct Lane {
    /// Whoever asked first gets the next one.
    places: Arc<Semaphore>,
    /// For those that were given up and go on.
    past_their_time: Arc<Semaphore>,
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
            past_their_time: Arc::new(Semaphore::new(PAST_THEIR_TIME)),
            waiting: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
        }
    }
}

impl Steps {
    /// Stands in line for a place. Counts as waiting from now on.
    pub(super) fn place(&self, kind: StepKind) -> Wanted {
        let lane = Arc::clone(&self.0[kind as usize]);
        Wanted {
            waits: Counted::new(&lane, |lane| &lane.waiting),
            kept: KeptPlace {
                permit: Arc::default(),
                lane,
            },
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

/// A place that is waited for.
pub(super) struct Wanted {
    waits: Counted,
    kept: KeptPlace,
}

impl Wanted {
    /// The same place, for whoever may give the step up.
    pub(super) fn kept(&self) -> KeptPlace {
        self.kept.clone()
    }

    pub(super) async fn taken(self) -> Place {
        let Self { waits, kept } = self;
        let permit = Arc::clone(&kept.lane.places).acquire_owned().await;
        // It is never closed; and one step too many is better than none.
        *kept.permit() = permit.ok();
        Place { waits, kept }
    }
}

/// A place for a step that has no thread yet.
pub(super) struct Place {
    waits: Counted,
    kept: KeptPlace,
}

impl Place {
    /// It has a thread now, until what this gives is dropped.
    pub(super) fn begin(self) -> impl Sized + use<> {
        let Self { waits, kept } = self;
        drop(waits);
        let at_work = Counted::new(&kept.lane, |lane| &lane.at_work);
        (at_work, Leaves(kept))
    }
}

/// A place, for its step and for whoever may give that up.
#[derive(Debug, Clone)]
pub(super) struct KeptPlace {
    lane: Arc<Lane>,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl KeptPlace {
    fn permit(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The step was given up. If it goes on all the same it does so in a place for such, as long as there are any.
    pub(super) fn give_back(&self) {
        let mut permit = self.permit();
        if permit.is_some()
            && let Ok(other) = Arc::clone(&self.lane.past_their_time).try_acquire_owned()
        {
            *permit = Some(other);
        }
    }
}

/// Leaves the place when it is dropped.
struct Leaves(KeptPlace);

impl Drop for Leaves {
    fn drop(&mut self) {
        let permit = self.0.permit().take();
        drop(permit);
    }
}

/// Counts as one until it is dropped.
#[derive(Debug)]
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
