//! What a breaker remembers of the calls it let through. Good calls are by far the most, so they cost
//! next to nothing: a count on a line of the thread's own. What they were is put together when a bad
//! one ends, which is the only time that a breaker can open.

mod calls;
mod row;
mod tally;
mod time;

use crate::Moment;
use crate::stripe::Striped;

pub(super) use calls::Calls;
pub(super) use row::Row;
pub(super) use tally::Stripe;
pub(super) use time::Time;

use super::config::{BreakerConfig, BreakerWindow};
use super::observe::BreakerReason;

/// The bounds that the calls are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) failure_percent: f64,
    pub(super) slow_percent: f64,
    pub(super) min_calls: u64,
}

impl Bounds {
    pub(super) fn of(config: &BreakerConfig) -> Self {
        Self {
            failure_percent: config.failure_percent,
            slow_percent: config.slow_percent,
            min_calls: config.min_calls.into(),
        }
    }
}

/// Whether so many of so many are at least that share.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 calls")]
fn reaches(part: u64, of: u64, percent: f64) -> bool {
    part as f64 * 100.0 >= percent * of as f64
}

/// The fewest of so many that are at least that share; never none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a number of calls, between zero and that number"
)]
pub(super) fn fewest(of: u64, percent: f64) -> u64 {
    let near = (percent * of as f64 / 100.0).ceil() as u64;
    // The division may have been rounded across a whole number; the comparison decides.
    let down = near.saturating_sub(1);
    let fewest = if reaches(down, of, percent) {
        down
    } else if reaches(near, of, percent) {
        near
    } else {
        near + 1
    };
    fewest.max(1)
}

/// A call that has something to tell besides that it succeeded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bad {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// What is in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

impl Sums {
    fn verdict(self, bounds: &Bounds) -> Option<BreakerReason> {
        if self.calls < bounds.min_calls {
            None
        } else if self.failures > 0 && reaches(self.failures, self.calls, bounds.failure_percent) {
            Some(BreakerReason::Failures)
        } else if self.slow > 0 && reaches(self.slow, self.calls, bounds.slow_percent) {
            Some(BreakerReason::SlowCalls)
        } else {
            None
        }
    }
}

/// The memory of one breaker. Boxed, because a good call only needs to know which it is.
///
/// Each method is told the generation of the call it is about; what belongs to another than the current one
/// leaves no trace.
#[derive(Debug)]
pub(super) enum Memory {
    Calls(Box<Calls>),
    Time(Box<Time>),
    Row(Box<Row>),
}

impl Memory {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let bounds = Bounds::of(config);
        let slow = config.slow_call.is_some();
        match config.window {
            BreakerWindow::Calls(calls) => Self::Calls(Box::new(Calls::new(calls, bounds, slow))),
            BreakerWindow::Time { length, buckets } => {
                Self::Time(Box::new(Time::new(length, buckets, bounds)))
            }
            BreakerWindow::Consecutive(failures) => Self::Row(Box::new(Row::new(failures))),
        }
    }

    /// A call succeeded. Reads the clock once in a while, if at all.
    #[inline(always)]
    pub(super) fn good(
        &self,
        stripes: &Striped<Stripe>,
        generation: u64,
        now: impl FnOnce() -> Moment,
    ) {
        match self {
            Self::Calls(calls) => calls.good(stripes, generation),
            Self::Time(time) => time.good(stripes, generation, now),
            Self::Row(row) => row.good(generation),
        }
    }

    /// A call failed, or was slow. Says whether that is too much.
    pub(super) fn bad(
        &self,
        stripes: &Striped<Stripe>,
        generation: u64,
        bad: Bad,
        now: impl FnOnce() -> Moment,
    ) -> Option<BreakerReason> {
        match self {
            Self::Calls(calls) => calls.bad(stripes, generation, bad),
            Self::Time(time) => time.bad(stripes, generation, bad, now()),
            Self::Row(row) => row.bad(generation, bad),
        }
    }

    /// Forgets all and is for a new generation, of which no call has begun.
    pub(super) fn restart(&self, stripes: &Striped<Stripe>, generation: u64, now: Moment) {
        match self {
            Self::Calls(calls) => calls.restart(stripes, generation),
            Self::Time(_) => Time::restart(stripes, generation, now),
            Self::Row(row) => row.restart(generation),
        }
    }

    pub(super) fn sums(&self, stripes: &Striped<Stripe>, generation: u64, now: Moment) -> Sums {
        match self {
            Self::Calls(calls) => calls.sums(stripes),
            Self::Time(time) => time.sums(stripes, generation, now),
            Self::Row(row) => row.sums(),
        }
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_that_reach_a_share_are_what_the_comparison_says() {
        for of in 1..=1_000 {
            for percent in [0.1, 1.0, 7.0, 33.3, 33.4, 50.0, 70.0, 99.9, 100.0] {
                let fewest = fewest(of, percent);
                assert!(
                    reaches(fewest, of, percent),
                    "{fewest} of {of}, {percent} %"
                );
                let less = fewest - 1;
                assert!(
                    less == 0 || !reaches(less, of, percent),
                    "{less} of {of}, {percent} %"
                );
                assert!(fewest <= of, "{fewest} of {of}, {percent} %");
            }
        }
    }
}
