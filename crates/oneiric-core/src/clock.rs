//! Wall-clock time as something that is handed in. This crate never reads a clock; the trait lives here so that
//! every layer above takes the same one and tests decide what time it is.

use std::time::SystemTime;

/// Tells the wall-clock time.
pub trait WallClock: Send + Sync {
    /// Returns the current time. It may go backwards when the system clock is set.
    fn now(&self) -> SystemTime;
}

fn _dyn_ok(_: &dyn WallClock) {}
