//! When a breaker opens, how long, and what it takes to close again.

#[cfg(feature = "serde")]
mod read;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::invalid::{Checks, DAY, Shown as _, or_default};
use crate::{BackoffConfig, InvalidConfig};

/// Which calls a breaker judges by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename_all = "snake_case", try_from = "read::Window")
)]
pub enum BreakerWindow {
    /// The last so many calls, 1 to 1,000,000, however long ago. Takes 8 bytes for each of them, and as
    /// many again if slow calls are counted.
    Calls(u32),
    /// The calls of the last while. Old ones are forgotten a bucket at a time. Takes 24 bytes a bucket,
    /// however many calls there are.
    Time {
        /// How long a call is remembered, 100 ms to 1 h.
        #[cfg_attr(feature = "serde", serde(rename = "length_ms", with = "crate::millis"))]
        length: Duration,
        /// In how many steps it is forgotten, 1 to 100.
        buckets: u32,
    },
    /// Nothing but the failures since the last success: so many in a row open it, 1 to 1,000,000.
    Consecutive(u32),
}

/// When a breaker opens, how long, and what it takes to close again.
///
/// The default judges by the calls of the last ten seconds: it opens when half of them failed and there
/// were at least 20, for 5 seconds at first and at most for a minute, and closes when two of three probes
/// succeed. Slow calls are not counted.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ failure_percent = 50 }`"
    )
)]
pub struct BreakerConfig {
    /// Which calls it judges by.
    pub window: BreakerWindow,
    /// It opens when at least so many percent of them failed: 1 to 100, a half is 50. Also how many of
    /// the probes must fail for it to open again. Does not matter in the consecutive mode.
    pub failure_percent: f64,
    /// Fewer calls than these in the window say nothing: 1 to as many as there can be in the window, at most
    /// 1,000,000. Does not matter in the consecutive mode.
    pub min_calls: u32,
    /// A call that takes longer is slow, 1 ms to 24 h; `None`: no call is. With it each call reads the
    /// clock twice, which otherwise hardly any does. Not in the consecutive mode.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "slow_call_ms", with = "crate::millis::optional")
    )]
    pub slow_call: Option<Duration>,
    /// It opens when at least so many percent of the calls were slow: 1 to 100. Anything but 100 only with
    /// `slow_call`.
    pub slow_percent: f64,
    /// How long it stays open. Grows each time that the probes fail, and begins anew once it has closed.
    /// What a file leaves out here is as in [`BreakerConfig::default`] too.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "read::open"))]
    pub open: BackoffConfig,
    /// So many calls are let through to find out whether it may close, 1 to 1,000.
    pub probes: u32,
    /// If probes have been under way for so long without a break, and that is not known yet, they hang,
    /// and it opens again: 1 ms to 24 h.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "half_open_max_ms", with = "crate::millis")
    )]
    pub half_open_max: Duration,
    /// The longest that an [`Overloaded`](crate::Outcome::Overloaded) outcome can keep it open beyond the
    /// time that it would be open anyway, at most 24 h.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "max_retry_after_ms", with = "crate::millis")
    )]
    pub max_retry_after: Duration,
}

/// How long it stays open, by default.
fn open() -> BackoffConfig {
    BackoffConfig {
        min: Duration::from_secs(5),
        max: Duration::from_secs(60),
        jitter: crate::BackoffJitter::Equal,
        ..BackoffConfig::default()
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: BreakerWindow::Time {
                length: Duration::from_secs(10),
                buckets: 10,
            },
            failure_percent: 50.0,
            min_calls: 20,
            slow_call: None,
            slow_percent: 100.0,
            open: open(),
            probes: 3,
            half_open_max: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(300),
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const MOST: u32 = 1_000_000;
const PERCENT: RangeInclusive<f64> = 1.0..=100.0;

impl BreakerConfig {
    /// # Errors
    /// `resilience.invalid_config` with everything that cannot work.
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let mut checks = Checks::of("breaker");
        match self.window {
            BreakerWindow::Calls(calls) => {
                checks.within("window.calls", calls, 1..=MOST);
            }
            BreakerWindow::Time { length, buckets } => {
                let lengths = Duration::from_millis(100)..=Duration::from_secs(3_600);
                checks
                    .within("window.time.length_ms", length, lengths)
                    .within("window.time.buckets", buckets, 1..=100);
            }
            BreakerWindow::Consecutive(failures) => {
                checks.within("window.consecutive", failures, 1..=MOST);
            }
        }
        checks.percent("failure_percent", self.failure_percent, PERCENT);
        self.check_min_calls(&mut checks);
        self.check_slow_calls(&mut checks);
        let half_open = MILLISECOND..=DAY;
        let longest = Duration::ZERO..=DAY;
        checks
            .part("open", self.open.checked_by(&open()))
            .within("probes", self.probes, 1..=1_000)
            .within("half_open_max_ms", self.half_open_max, half_open)
            .within("max_retry_after_ms", self.max_retry_after, longest)
            .done()
    }

    fn check_min_calls(&self, checks: &mut Checks) {
        match self.window {
            BreakerWindow::Calls(calls @ 1..=MOST) => {
                let holds = (1..=calls).contains(&self.min_calls);
                let told = or_default(&self.min_calls, &Self::default().min_calls);
                checks.that(holds, "min_calls", told, "1 to `window.calls`");
            }
            BreakerWindow::Calls(_) | BreakerWindow::Time { .. } => {
                checks.within("min_calls", self.min_calls, 1..=MOST);
            }
            BreakerWindow::Consecutive(_) => {}
        }
    }

    fn check_slow_calls(&self, checks: &mut Checks) {
        let (slow, percent) = (self.slow_call, self.slow_percent);
        let consecutive = matches!(self.window, BreakerWindow::Consecutive(_));
        if slow.is_some() || !PERCENT.contains(&percent) {
            checks.percent("slow_percent", percent, PERCENT);
        } else {
            let allowed = if consecutive {
                "100 in the consecutive mode: remove it"
            } else {
                "100 without `slow_call_ms`: remove it, or add `slow_call_ms`"
            };
            let holds = percent >= *PERCENT.end();
            checks.that(holds, "slow_percent", percent.shown(), allowed);
        }
        let Some(slow) = slow else { return };
        if consecutive {
            let allowed = "none in the consecutive mode";
            checks.that(false, "slow_call_ms", slow.shown(), allowed);
        } else {
            checks.within("slow_call_ms", slow, MILLISECOND..=DAY);
        }
    }
}
