//! Who cannot have a turn in time is told so at once: a caller that waits, is given up on and then
//! served all the same costs as much as one that was wanted, and is why an overload does not end.
//!
//! The time a turn takes to come is told by Little's law: permits come back as often as `limit` a
//! hold time. The hold time is a moving average, kept by stripe so that nobody fights for it.

use std::time::Duration;

use crate::clock::nanos;
use crate::sync::{AtomicU64, Ordering};

/// A newer value counts an eighth, as in TCP's round trip estimate (RFC 6298 §2).
const WEIGHT: u64 = 8;

/// A moving average of how long permits are out. Zero is not known yet.
#[derive(Debug)]
pub(super) struct HoldTime(AtomicU64);

impl Default for HoldTime {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl HoldTime {
    /// A permit was out so long. Of two that come at once one may be lost: it is an estimate.
    pub(super) fn record(&self, held: Duration) {
        let held = nanos(held).max(1);
        let average = match self.0.load(Ordering::Relaxed) {
            0 => held,
            old => (old - old / WEIGHT).saturating_add(held / WEIGHT).max(1),
        };
        self.0.store(average, Ordering::Relaxed);
    }

    /// The average over all that are known.
    pub(super) fn average<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Duration> {
        let known = all.map(|one| one.0.load(Ordering::Relaxed));
        let (sum, count) = known
            .filter(|nanos| *nanos > 0)
            .fold((0_u128, 0_u128), |(sum, count), nanos| {
                (sum + u128::from(nanos), count + 1)
            });
        let average = sum.checked_div(count)?;
        Some(Duration::from_nanos(
            u64::try_from(average).unwrap_or(u64::MAX),
        ))
    }
}

/// How long it takes until so many permits have come back, if `limit` are out and each for `held`.
pub(super) fn wait_for(permits: u64, held: Duration, limit: u32) -> Duration {
    let wait = u128::from(permits) * u128::from(nanos(held)) / u128::from(limit.max(1));
    Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_known_before_a_permit_came_back() {
        assert_eq!(HoldTime::average([].iter()), None);
        assert_eq!(HoldTime::average([HoldTime::default()].iter()), None);
    }

    #[test]
    fn the_average_follows_and_leaves_out_who_knows_nothing() {
        let both = [HoldTime::default(), HoldTime::default()];
        both[0].record(SECOND);
        assert_eq!(HoldTime::average(both.iter()), Some(SECOND));
        both[0].record(9 * SECOND);
        assert_eq!(HoldTime::average(both.iter()), Some(2 * SECOND));
        both[1].record(4 * SECOND);
        assert_eq!(HoldTime::average(both.iter()), Some(3 * SECOND));
        for _ in 0..1_000 {
            both[0].record(Duration::ZERO);
            both[1].record(Duration::MAX);
        }
        let average = HoldTime::average(both.iter()).unwrap();
        assert!(average > 100 * 365 * 86_400 * SECOND, "{average:?}");
    }

    #[test]
    fn permits_come_back_as_often_as_the_limit_a_hold_time() {
        assert_eq!(wait_for(1, SECOND, 4), SECOND / 4);
        assert_eq!(wait_for(8, SECOND, 4), 2 * SECOND);
        assert!(wait_for(u64::MAX, Duration::MAX / 2, 1) > SECOND);
    }
}
