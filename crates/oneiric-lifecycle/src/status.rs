//! What is known about a slot, as data for `status` and its like. Field names only ever grow.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use oneiric_core::{Origin, Provider, Slot};
use serde::Serialize;

use crate::activity::ActivityState;
use crate::bake::BakeStatus;
use crate::decision::Decision;
use crate::error::Failure;
use crate::health::Health;
use crate::judge::Judgement;
use crate::keyed::KeyedStatus;
use crate::state::SlotState;

/// Everything about one slot at one moment.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SlotStatus {
    /// The slot.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: SlotState,
    /// Who serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveStatus>,
    /// Since when it is in this state.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<SystemTime>,
    /// Whether it takes work.
    pub activity: ActivityState,
    /// Who ranks best now; absent when nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<Provider>,
    /// Why the one who serves is not the one who ranks best, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<Difference>,
    /// The last step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Leases that are out on the instance that serves.
    pub in_flight: u64,
    /// Instances that are finishing their work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<DrainingStatus>,
    /// The trial of what serves, or the last one that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<Box<BakeStatus>>,
    /// Calls that ended.
    pub calls: CallCounts,
    /// Transitions that ended.
    pub swaps: SwapCounts,
    /// How long the last swaps took, from being begun to the old instance being retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_duration: Option<Percentiles>,
    /// Its instances by key, where it has any or may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyed: Option<KeyedStatus>,
    /// Slots whose instance needs this one.
    pub holders: Vec<Slot>,
    /// Live references to it, those of the holders among them.
    pub live_references: usize,
    /// The last answer to a probe, of the instance that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthReport>,
    /// What is thought of the instance that serves, after all its answers.
    pub judgement: Judgement,
    /// What was decided without anybody asking for it, the last 20 decisions, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Decision>,
}

/// The instance that serves.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ActiveStatus {
    /// Whose.
    pub provider: Provider,
    /// Where its candidate came from.
    pub origin: Origin,
    /// Its candidate's registration number.
    pub sequence: u64,
    /// The instance's number in this process.
    pub instance: u64,
    /// The probe that was skipped by force when it was swapped in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<Failure>,
    /// The decision by which it came, where nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// An instance that finishes its work.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DrainingStatus {
    /// Whose.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// Leases still out.
    pub in_flight: u64,
    /// Since when nobody is let in to it; every lease that is out was taken before.
    #[serde(rename = "since_unix_ms", serialize_with = "unix_ms::plain")]
    pub since: SystemTime,
    /// For how long the oldest lease has been out: of calls by name exactly, of others at least so long.
    /// Absent when none is out.
    #[serde(rename = "oldest_lease_ms", serialize_with = "millis_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_lease: Option<Duration>,
}

/// Why active and winner differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// The winner was tried and failed; the one before serves on.
    SwapFailed {
        /// Where and why.
        failure: Failure,
    },
    /// What was put in service last did worse than what served before, which serves again.
    SwungBack {
        /// What went wrong, with the numbers.
        failure: Failure,
    },
    /// The winner failed; the one who serves took over by itself.
    FailedOver {
        /// Whose instance failed, the winner's as a rule.
        from: Provider,
        /// Why, in words.
        reason: String,
        /// When.
        #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
        at: SystemTime,
    },
    /// The slot takes no work now, so nothing is exchanged by itself.
    Held {
        /// `paused` or `draining`.
        activity: &'static str,
    },
    /// The candidate whose instance serves is no longer registered.
    Withdrawn,
    /// Somebody else ranks best since the last swap, or the candidate was changed, and nobody asked
    /// for a swap.
    NotApplied,
}

/// The last step that failed.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// Whose instance it was about.
    pub provider: Provider,
    /// Where and why.
    #[serde(flatten)]
    pub failure: Failure,
    /// When.
    #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
    pub at: SystemTime,
}

/// Calls that ended, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallCounts {
    /// Did their work.
    pub succeeded: u64,
    /// Failed, and the component is to blame.
    pub failed: u64,
    /// Of those that failed: panicked.
    pub panicked: u64,
}

impl CallCounts {
    /// Calls that ended, one way or the other.
    pub const fn ended(self) -> u64 {
        self.succeeded + self.failed
    }
}

impl Add for CallCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            panicked: self.panicked + other.panicked,
        }
    }
}

impl Sub for CallCounts {
    type Output = Self;

    /// What came since `earlier`; nothing where that is more.
    fn sub(self, earlier: Self) -> Self {
        Self {
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            failed: self.failed.saturating_sub(earlier.failed),
            panicked: self.panicked.saturating_sub(earlier.panicked),
        }
    }
}

/// Transitions that ended, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SwapCounts {
    /// First instances put in service.
    pub activated: u64,
    /// Instances exchanged.
    pub swapped: u64,
    /// Of both, those that skipped a failing probe.
    pub forced: u64,
    /// Swaps that failed while the old instance served on.
    pub rolled_back: u64,
    /// Activations that failed with nothing to fall back on.
    pub failed: u64,
    /// Instances retired.
    pub retired: u64,
}

/// What an instance said when probed.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The slot.
    pub slot: Slot,
    /// Who was asked: the one who serves, whoever ranks best.
    pub provider: Provider,
    /// Its number.
    pub instance: u64,
    /// The answer; absent when the instance has no probe.
    #[serde(flatten)]
    pub health: Option<Health>,
    /// How long the answer took.
    #[serde(rename = "took_us", serialize_with = "micros")]
    pub took: Duration,
    /// When.
    #[serde(rename = "at_unix_ms", serialize_with = "unix_ms::plain")]
    pub at: SystemTime,
}

/// Percentiles of the last 256 values, each an observed one (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// How many values.
    pub count: usize,
    /// Half were at most this.
    #[serde(rename = "p50_us", serialize_with = "micros")]
    pub p50: Duration,
    /// Nine of ten were at most this.
    #[serde(rename = "p90_us", serialize_with = "micros")]
    pub p90: Duration,
    /// 99 of 100 were at most this.
    #[serde(rename = "p99_us", serialize_with = "micros")]
    pub p99: Duration,
    /// All were at most this.
    #[serde(rename = "max_us", serialize_with = "micros")]
    pub max: Duration,
}

impl Percentiles {
    pub(crate) fn of(values: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut values: Vec<Duration> = values.collect();
        values.sort_unstable();
        let max = *values.last()?;
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(max)
        };
        Some(Self {
            count: values.len(),
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max,
        })
    }
}

pub(crate) fn micros<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

pub(crate) fn millis<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn millis_option<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// Times as milliseconds since 1970, which every language and shell can read.
pub(crate) mod unix_ms {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde::Serializer;

    pub(crate) fn plain<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        serializer.serialize_u64(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn option<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => plain(at, serializer),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_observed_values() {
        let values = (1..=100).rev().map(Duration::from_millis);
        let percentiles = Percentiles::of(values).unwrap();
        assert_eq!(percentiles.p50, Duration::from_millis(50));
        assert_eq!(percentiles.p99, Duration::from_millis(99));
        assert_eq!(percentiles.max, Duration::from_millis(100));
        assert_eq!(Percentiles::of(std::iter::empty()), None);
        let one = Percentiles::of(std::iter::once(Duration::from_millis(7))).unwrap();
        assert_eq!((one.p50, one.p99), (one.max, one.max));
    }
}
