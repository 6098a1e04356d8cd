//! The machine's clock as a service.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oneiric_core::{BoxFuture, WallClock};
use oneiric_domains::{Clock, clock_instance};
use oneiric_lifecycle::{CallError, Factory, Health, Probe, SystemWallClock, factory_fn};
use serde::Deserialize;

/// 2025-01-01: this program did not exist before, so a clock that says so was never set.
const NOT_BEFORE: Duration = Duration::from_secs(1_735_689_600);

/// Settings of a [`SystemClock`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SystemClockSettings {
    /// Added to what the machine says, in milliseconds; may be negative (0). For rehearsing what
    /// happens at another time.
    pub offset_ms: i64,
}

/// Tells the machine's time, moved by an offset.
pub struct SystemClock {
    machine: Arc<dyn WallClock>,
    offset_ms: i64,
}

impl SystemClock {
    /// A clock over `machine`.
    pub fn new(settings: &SystemClockSettings, machine: Arc<dyn WallClock>) -> Self {
        Self {
            machine,
            offset_ms: settings.offset_ms,
        }
    }

    fn read(&self) -> Option<SystemTime> {
        let offset = Duration::from_millis(self.offset_ms.unsigned_abs());
        let machine = self.machine.now();
        if self.offset_ms < 0 {
            machine.checked_sub(offset)
        } else {
            machine.checked_add(offset)
        }
    }

    fn out_of_range(&self) -> String {
        format!(
            "offset_ms {} leads beyond the times this machine knows",
            self.offset_ms
        )
    }
}

impl Clock for SystemClock {
    fn now(&self) -> BoxFuture<'_, Result<SystemTime, CallError>> {
        let told = self
            .read()
            .ok_or_else(|| CallError::failed(self.out_of_range()));
        Box::pin(std::future::ready(told))
    }
}

impl Probe for SystemClock {
    /// Reads the clock. A machine whose clock was never set still counts its seconds, but what it
    /// says of the date is wrong, and somebody should look at it.
    fn probe(&self) -> BoxFuture<'_, Health> {
        let since_1970 = self.machine.now().duration_since(SystemTime::UNIX_EPOCH);
        let health = match (self.read(), since_1970) {
            (None, _) => Health::critical(self.out_of_range()),
            (Some(_), Ok(since)) if since >= NOT_BEFORE => Health::Ok,
            (Some(_), _) => Health::warn("the machine's clock is before 2025: not set?"),
        };
        Box::pin(std::future::ready(health))
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemClock")
            .field("offset_ms", &self.offset_ms)
            .finish_non_exhaustive()
    }
}

pub(crate) fn factory() -> impl Factory {
    factory_fn(|_, settings: SystemClockSettings| async move {
        let clock = Arc::new(SystemClock::new(
            &settings,
            Arc::new(SystemWallClock::new()),
        ));
        Ok(clock_instance(Arc::clone(&clock)).probe(clock))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl WallClock for Fixed {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.0)
        }
    }

    fn clock(machine: u64, offset_ms: i64) -> SystemClock {
        SystemClock::new(&SystemClockSettings { offset_ms }, Arc::new(Fixed(machine)))
    }

    #[tokio::test]
    async fn the_offset_goes_both_ways() {
        for (offset_ms, seconds) in [(0, 100), (5_000, 105), (-5_000, 95)] {
            assert_eq!(
                clock(100, offset_ms).now().await.unwrap(),
                Fixed(seconds).now()
            );
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_never_set_is_a_warning() {
        assert_eq!(clock(1_795_351_118, 0).probe().await, Health::Ok);
        assert_eq!(clock(1_795_351_118, -3_600_000).probe().await, Health::Ok);
        assert_eq!(clock(0, 0).probe().await.name(), "warn");
    }

    #[test]
    fn the_furthest_offsets_do_not_panic() {
        for offset_ms in [i64::MIN, i64::MAX] {
            let _may_be_beyond = clock(0, offset_ms).read();
        }
    }
}
