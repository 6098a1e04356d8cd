//! Telling others what a breaker does: each transition once, in order, and never under its lock, so that
//! who is told may ask the breaker back.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::Moment;
use crate::caught::contained;
use crate::sync::{Mutex, lock};

use super::state::BreakerState;

/// A breaker went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerTransition {
    /// What the breaker is called; empty if it has no name.
    pub breaker: Arc<str>,
    /// What it said before.
    pub from: BreakerState,
    /// What it says now.
    pub to: BreakerState,
    /// When, by the breaker's clock.
    pub at: Moment,
    /// What made it.
    pub why: BreakerReason,
}

/// What made a breaker go from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BreakerReason {
    /// Too many of the calls failed.
    Failures,
    /// Too many of the calls were slow.
    SlowCalls,
    /// Too many calls failed in a row.
    Consecutive,
    /// A call was told to leave the called one alone.
    Overloaded,
    /// It was open for long enough.
    OpenTimeOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed.
    ProbesFailed,
    /// Too many probes were slow.
    ProbesSlow,
    /// The probes did not end in time.
    ProbesHung,
    /// Somebody said so.
    ByHand,
    /// Somebody gave it back to itself.
    Released,
}

impl BreakerReason {
    /// As it stands in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::SlowCalls => "slow_calls",
            Self::Consecutive => "consecutive",
            Self::Overloaded => "overloaded",
            Self::OpenTimeOver => "open_time_over",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbesFailed => "probes_failed",
            Self::ProbesSlow => "probes_slow",
            Self::ProbesHung => "probes_hung",
            Self::ByHand => "by_hand",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for BreakerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Is told what a breaker does. Closures `Fn(&BreakerTransition)` do.
///
/// It is called by the thread whose call made the transition, or by one that is telling an earlier one
/// just then; it should be quick. It may use the breaker. A panic in it is caught. While one does not come
/// back, the last 1,024 transitions wait to be told; those before them are told to nobody, and counted
/// ([`BreakerSnapshot::untold`](crate::BreakerSnapshot::untold)).
pub trait BreakerObserver: Send + Sync + 'static {
    /// A transition was made.
    fn on_transition(&self, transition: &BreakerTransition);
}

fn _dyn_ok(_: &dyn BreakerObserver) {}

impl<F: Fn(&BreakerTransition) + Send + Sync + 'static> BreakerObserver for F {
    fn on_transition(&self, transition: &BreakerTransition) {
        self(transition);
    }
}

/// More than this many transitions do not wait to be told, while an observer keeps the one before them
/// waiting: then the oldest goes.
const MOST_UNTOLD: usize = 1_024;

/// Those who are told, and what they have not been told yet.
pub(super) struct Observers {
    all: Box<[Box<dyn BreakerObserver>]>,
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    /// The last of them, [`MOST_UNTOLD`] at most.
    untold: VecDeque<BreakerTransition>,
    /// How many had to go before they were told, ever.
    missed: u64,
    /// Whether a thread is telling; it will tell what comes in meanwhile.
    telling: bool,
}

impl Observers {
    pub(super) fn new(all: Vec<Box<dyn BreakerObserver>>) -> Self {
        Self {
            all: all.into(),
            news: Mutex::new(News::default()),
        }
    }

    /// Takes note, in the order of the calls. Made under the breaker's lock.
    pub(super) fn note(&self, transition: impl FnOnce() -> BreakerTransition) {
        if self.all.is_empty() {
            return;
        }
        let mut news = lock(&self.news);
        if news.untold.len() == MOST_UNTOLD {
            news.untold.pop_front();
            news.missed += 1;
        }
        news.untold.push_back(transition());
    }

    /// How many transitions nobody was told of, ever.
    pub(super) fn missed(&self) -> u64 {
        lock(&self.news).missed
    }

    /// Tells what was noted, unless a thread is at it. Made without the breaker's lock.
    pub(super) fn tell(&self) {
        if self.all.is_empty() {
            return;
        }
        let mut news = lock(&self.news);
        if news.telling {
            return;
        }
        news.telling = true;
        while let Some(transition) = news.untold.pop_front() {
            drop(news);
            for observer in &self.all {
                contained(|| observer.on_transition(&transition));
            }
            news = lock(&self.news);
        }
        news.telling = false;
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.all.len())
    }
}
