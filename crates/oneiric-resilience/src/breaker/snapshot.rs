//! What can be seen of a breaker at one moment.

use crate::Moment;

use super::state::BreakerState;

/// A breaker at one moment. Calls that end meanwhile may or may not be in it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// What it says.
    pub state: BreakerState,
    /// Since when, by its clock; in a file nanoseconds since that clock's origin.
    #[cfg_attr(feature = "serde", serde(rename = "since_ns"))]
    pub since: Moment,
    /// Until when it lets nothing through, if it is open.
    #[cfg_attr(feature = "serde", serde(rename = "open_until_ns"))]
    pub open_until: Option<Moment>,
    /// Calls in the window; in the consecutive mode failures in a row; of a half-open one the probes that have
    /// ended. None unless it is closed, half open or metrics-only.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow, failed or not.
    pub slow: u64,
    /// Percent of the calls that failed; nothing if there are none.
    pub failure_percent: Option<f64>,
    /// Percent of the calls that were slow; nothing if there are none.
    pub slow_percent: Option<f64>,
    /// Calls that it did not let through, ever.
    pub rejected: u64,
    /// How often it opened by itself, ever.
    pub opened: u64,
    /// How many transitions it made, ever.
    pub generation: u64,
    /// Transitions that observers were never told of, because one of them was busy for too long.
    pub untold: u64,
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 calls")]
pub(super) fn percent(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 * 100.0 / of as f64)
}
