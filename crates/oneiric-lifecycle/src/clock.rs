//! The machine's clock, in the lowest crate that may ask the machine anything, and how a lifecycle asks its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use oneiric_core::WallClock;

/// The machine's clock, for everything that takes a [`WallClock`] outside of tests.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemWallClock;

impl SystemWallClock {
    /// The machine's clock.
    pub const fn new() -> Self {
        Self
    }
}

impl WallClock for SystemWallClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine is asked what time it is"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The clock that a lifecycle was given. That is somebody else's code, and it is asked in the middle of everything: so
/// it is never asked with anything locked, and one that panics costs a look at the machine's clock and nothing else.
pub(crate) struct Clock(Arc<dyn WallClock>);

impl Clock {
    pub(crate) fn new(clock: Arc<dyn WallClock>) -> Self {
        Self(clock)
    }

    pub(crate) fn now(&self) -> SystemTime {
        catch_unwind(AssertUnwindSafe(|| self.0.now())).unwrap_or_else(|_panic| {
            tracing::error!("the wall clock panicked; the machine's is asked instead");
            SystemWallClock.now()
        })
    }
}
