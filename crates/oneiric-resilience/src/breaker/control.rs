//! A hand on breakers: what an operator knows better than any count. One control may hold any number of
//! them, so that a dependency's breakers, wherever they are, are opened at once.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

use super::state::BreakerState;

/// What a [`BreakerControl`] makes of its breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum BreakerMode {
    /// They decide by themselves.
    #[default]
    Released,
    /// They let all calls through and count none.
    Disabled,
    /// They let no call through.
    ForcedOpen,
    /// They let all calls through and count them, and never open.
    MetricsOnly,
}

impl BreakerMode {
    /// As it stands in settings and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Disabled => "disabled",
            Self::ForcedOpen => "forced_open",
            Self::MetricsOnly => "metrics_only",
        }
    }

    /// The state in which it keeps a breaker.
    pub(super) const fn state(self) -> Option<BreakerState> {
        match self {
            Self::Released => None,
            Self::Disabled => Some(BreakerState::Disabled),
            Self::ForcedOpen => Some(BreakerState::ForcedOpen),
            Self::MetricsOnly => Some(BreakerState::MetricsOnly),
        }
    }
}

impl fmt::Display for BreakerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Holds breakers in a state by hand. Clones are the same control.
///
/// Breakers that are given to it, when they are built or later, are at once in the state it holds.
///
/// ```
/// use oneiric_resilience::{Breaker, BreakerConfig, BreakerControl, BreakerState};
///
/// let control = BreakerControl::new();
/// let reads = Breaker::new(BreakerConfig::default())?;
/// let writes = Breaker::new(BreakerConfig::default())?;
/// for breaker in [&reads, &writes] {
///     breaker.obey(&control);
/// }
/// control.force_open();
/// assert!(reads.permit().is_err() && writes.permit().is_err());
/// control.release();
/// assert_eq!(writes.state(), BreakerState::Closed);
/// # Ok::<(), oneiric_resilience::InvalidConfig>(())
/// ```
#[derive(Clone, Default)]
pub struct BreakerControl {
    shared: Arc<Shared>,
}

struct Shared {
    mode: AtomicU64,
    breakers: Mutex<Vec<Weak<dyn Obey>>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            mode: AtomicU64::new(RELEASED),
            breakers: Mutex::new(Vec::new()),
        }
    }
}

const RELEASED: u64 = 0;
const DISABLED: u64 = 1;
const FORCED_OPEN: u64 = 2;
const METRICS_ONLY: u64 = 3;

/// What a control holds.
pub(super) trait Obey: Send + Sync {
    /// The control says something else now: look at it, and do it.
    fn obey(&self);
}

impl BreakerControl {
    /// A control that holds nothing, and has let go.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets no call through, until something else is said.
    pub fn force_open(&self) {
        self.set(FORCED_OPEN);
    }

    /// Lets all calls through and counts none, until something else is said.
    pub fn disable(&self) {
        self.set(DISABLED);
    }

    /// Lets all calls through and counts them, until something else is said: to see what a breaker would
    /// judge by before it may.
    pub fn metrics_only(&self) {
        self.set(METRICS_ONLY);
    }

    /// Lets the breakers decide by themselves again. Each begins anew: closed, with nothing counted. One
    /// that decides by itself already is left as it is.
    pub fn release(&self) {
        self.set(RELEASED);
    }

    /// What it holds its breakers in.
    pub fn mode(&self) -> BreakerMode {
        match self.shared.mode.load(Ordering::Acquire) {
            DISABLED => BreakerMode::Disabled,
            FORCED_OPEN => BreakerMode::ForcedOpen,
            METRICS_ONLY => BreakerMode::MetricsOnly,
            _ => BreakerMode::Released,
        }
    }

    fn set(&self, mode: u64) {
        self.shared.mode.store(mode, Ordering::Release);
        // Each looks at the mode under its own lock: whatever is set meanwhile, the last to look sees what
        // was set last. They are called without a lock here, because observers may come back to it.
        let breakers = {
            let mut breakers = lock(&self.shared.breakers);
            breakers.retain(|held| held.strong_count() > 0);
            breakers.clone()
        };
        for breaker in breakers.iter().filter_map(Weak::upgrade) {
            breaker.obey();
        }
    }

    /// Holds one more. Forgets those that are gone, now and then.
    pub(super) fn add(&self, breaker: Weak<dyn Obey>) {
        let mut breakers = lock(&self.shared.breakers);
        if breakers.len() == breakers.capacity() {
            breakers.retain(|held| held.strong_count() > 0);
        }
        breakers.push(breaker);
    }

    /// Holds one less.
    pub(super) fn remove(&self, breaker: &Weak<dyn Obey>) {
        lock(&self.shared.breakers).retain(|held| !held.ptr_eq(breaker));
    }
}

impl fmt::Debug for BreakerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerControl")
            .field("mode", &self.mode())
            .field("breakers", &lock(&self.shared.breakers).len())
            .finish()
    }
}
