//! The machine's clock, behind the trait that lets tests decide what time it is.

use std::time::SystemTime;

use oneiric_core::WallClock;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MachineClock;

impl WallClock for MachineClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this crate asks the machine"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
