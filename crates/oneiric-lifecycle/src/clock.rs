//! The machine's clock, in the lowest crate that may ask the machine anything.

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
