//! What time it is, for state machines that are told. A clock here only ever goes forward: no one
//! sets it, no time zone moves it, and no two readings of it can disagree about what came first.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
#[cfg(not(feature = "quanta"))]
use std::time::Instant;

use crate::sync::{AtomicU64, Ordering};

/// A reading of a [`Clock`]: nanoseconds since that clock's origin.
///
/// Only readings of one clock can be compared. Sums saturate at the last moment that can be told,
/// 584 years after the origin; differences saturate at zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Moment(u64);

impl Moment {
    /// The origin of a clock.
    pub const ORIGIN: Self = Self(0);

    /// The last one that can be told, which stands for never.
    pub(crate) const END: Self = Self(u64::MAX);

    /// The moment so many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since an earlier moment; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after the origin", Duration::from_nanos(self.0))
    }
}

/// A duration in nanoseconds; what is longer than 584 years counts as that.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells what time it is.
///
/// Readings never go back. Clones of a clock tell the same time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Moment;
}

fn _dyn_ok(_: &dyn Clock) {}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }
}

/// The machine's monotonic clock. All of a process share one origin.
///
/// Granularity: a nanosecond. With the feature `quanta` it is read from the processor's time stamp
/// counter where there is one that can be trusted, at less than half the cost; the first clock of a
/// process then takes up to a fifth of a second to find out how fast that counter runs.
#[derive(Clone)]
pub struct SystemClock {
    #[cfg(feature = "quanta")]
    clock: quanta::Clock,
    #[cfg(feature = "quanta")]
    origin: u64,
    #[cfg(not(feature = "quanta"))]
    origin: Instant,
}

#[cfg(feature = "quanta")]
impl SystemClock {
    /// The machine's clock.
    pub fn new() -> Self {
        static FIRST: OnceLock<SystemClock> = OnceLock::new();
        FIRST
            .get_or_init(|| {
                let clock = quanta::Clock::new();
                let origin = clock.raw();
                Self { clock, origin }
            })
            .clone()
    }
}

#[cfg(feature = "quanta")]
impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Moment {
        Moment(self.clock.delta_as_nanos(self.origin, self.clock.raw()))
    }
}

#[cfg(not(feature = "quanta"))]
impl SystemClock {
    /// The machine's clock.
    pub fn new() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Self {
            origin: *ORIGIN.get_or_init(read),
        }
    }
}

#[cfg(not(feature = "quanta"))]
impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Moment {
        Moment(nanos(read().saturating_duration_since(self.origin)))
    }
}

#[cfg(not(feature = "quanta"))]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the machine is asked what time it is"
)]
#[inline]
fn read() -> Instant {
    Instant::now()
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemClock").finish_non_exhaustive()
    }
}

/// The clock of tokio's timers: the machine's, or a test's where time is paused.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone)]
pub struct TokioClock {
    origin: tokio::time::Instant,
}

#[cfg(feature = "tokio")]
impl TokioClock {
    /// A clock whose origin is now. Only its clones have the same.
    pub fn new() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }

    /// The instant of a moment that is near.
    pub(crate) fn instant(&self, moment: Moment) -> tokio::time::Instant {
        self.origin + moment.since(Moment::ORIGIN)
    }
}

#[cfg(feature = "tokio")]
impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "tokio")]
impl Clock for TokioClock {
    fn now(&self) -> Moment {
        let passed = tokio::time::Instant::now().saturating_duration_since(self.origin);
        Moment(nanos(passed))
    }
}

/// A clock that stands still until it is told to go on: for tests and examples. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock at its origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut now = self.nanos.load(Ordering::Acquire);
        while let Err(other) = self.nanos.compare_exchange_weak(
            now,
            now.saturating_add(nanos(by)),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            now = other;
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(self.nanos.load(Ordering::Acquire))
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_at_both_ends() {
        let late = Moment::from_nanos(u64::MAX);
        assert_eq!(late.after(Duration::from_secs(1)), late);
        assert_eq!(Moment::ORIGIN.after(Duration::MAX), late);
        assert_eq!(Moment::ORIGIN.since(late), Duration::ZERO);
        assert_eq!(late.since(Moment::ORIGIN), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn all_system_clocks_of_a_process_agree() {
        let (one, other) = (SystemClock::new(), SystemClock::default());
        let readings = [one.now(), other.now(), one.clone().now(), other.now()];
        assert!(readings.is_sorted(), "{readings:?}");
    }

    #[test]
    fn clones_of_a_manual_clock_are_the_same_clock() {
        let clock = ManualClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(Duration::from_millis(3));
        assert_eq!(shared.now(), Moment::from_nanos(3_000_000));
        clock.advance(Duration::MAX);
        assert_eq!(shared.now(), Moment::from_nanos(u64::MAX));
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_passes_as_the_timers_do() {
        let clock = TokioClock::default();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now().since(Moment::ORIGIN), Duration::from_secs(5));
    }
}
