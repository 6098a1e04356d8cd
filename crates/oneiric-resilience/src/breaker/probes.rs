//! The calls that find out whether a breaker may close. There are only so many of them; each has a slot
//! until it ends, and one that ends without saying anything gives its slot back.

use super::config::{BreakerConfig, BreakerWindow};
use super::observe::BreakerReason;
use super::window::{Bad, Sums, fewest};

/// What it takes, once and for all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    slots: u64,
    /// So many failures, and it opens again.
    failures: u64,
    /// So many slow ones, and it opens again.
    slow: u64,
}

impl Test {
    pub(super) fn of(config: &BreakerConfig) -> Self {
        let slots = config.probes.into();
        let failures = match config.window {
            BreakerWindow::Consecutive(_) => 1,
            _ => fewest(slots, config.failure_percent),
        };
        Self {
            slots,
            failures,
            slow: match config.slow_call {
                Some(_) => fewest(slots, config.slow_percent),
                None => slots + 1,
            },
        }
    }

    pub(super) const fn begin(self) -> Probes {
        Probes {
            test: self,
            under_way: 0,
            ended: Sums {
                calls: 0,
                failures: 0,
                slow: 0,
            },
        }
    }
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    Unknown,
    /// It can no longer come to enough failures, nor to enough slow ones.
    Passed,
    Failed(BreakerReason),
}

/// The probes of one half-open time.
#[derive(Debug)]
pub(super) struct Probes {
    test: Test,
    under_way: u64,
    ended: Sums,
}

impl Probes {
    /// How many more may begin.
    pub(super) const fn free(&self) -> u64 {
        self.test
            .slots
            .saturating_sub(self.under_way + self.ended.calls)
    }

    /// Whether all that began have ended.
    pub(super) const fn none_under_way(&self) -> bool {
        self.under_way == 0
    }

    /// One begins, if one may.
    pub(super) const fn take(&mut self) -> bool {
        let free = self.free() > 0;
        if free {
            self.under_way += 1;
        }
        free
    }

    /// One ended and says nothing.
    pub(super) const fn give_back(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// One ended.
    pub(super) fn end(&mut self, bad: Bad) -> Result {
        self.give_back();
        self.ended.calls += 1;
        self.ended.failures += u64::from(bad.failed);
        self.ended.slow += u64::from(bad.slow);
        self.result()
    }

    fn result(&self) -> Result {
        let Test {
            slots,
            failures,
            slow,
        } = self.test;
        let to_come = slots.saturating_sub(self.ended.calls);
        if self.ended.failures >= failures {
            Result::Failed(BreakerReason::ProbesFailed)
        } else if self.ended.slow >= slow {
            Result::Failed(BreakerReason::ProbesSlow)
        } else if self.ended.failures + to_come < failures && self.ended.slow + to_come < slow {
            Result::Passed
        } else {
            Result::Unknown
        }
    }

    pub(super) const fn ended(&self) -> Sums {
        self.ended
    }
}
