//! Failures in a row. A success only looks, as long as there is nothing to forget.

use crate::breaker::observe::BreakerReason;
use crate::stripe::Padded;

use super::tally::Tally;
use super::{Bad, Sums};

#[derive(Debug)]
pub(in crate::breaker) struct Row {
    failures: Padded<Tally>,
    enough: u64,
}

impl Row {
    pub(super) fn new(enough: u32) -> Self {
        Self {
            failures: Padded::default(),
            enough: enough.into(),
        }
    }

    #[inline]
    pub(super) fn good(&self, generation: u64) {
        if self.failures.count() > 0 {
            self.failures.take(generation);
        }
    }

    pub(super) fn bad(&self, generation: u64, bad: Bad) -> Option<BreakerReason> {
        if !bad.failed {
            self.good(generation);
            return None;
        }
        let failures = self.failures.add(generation)?;
        (failures >= self.enough).then_some(BreakerReason::Consecutive)
    }

    pub(super) fn restart(&self, generation: u64) {
        self.failures.restart(generation);
    }

    pub(super) fn sums(&self) -> Sums {
        let failures = self.failures.count();
        Sums {
            calls: failures,
            failures,
            slow: 0,
        }
    }
}
