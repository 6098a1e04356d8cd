//! What a call holds that outlives the service it was made through.

use std::mem;
use std::time::Duration;

use super::{Gate, Passed, Passes, Told};
use crate::breaker::OwnPermit;
use crate::{BulkheadPermit, Clock, Outcome, Rejected};

pub(crate) type Pass<C> = Passed<OwnPermit<C>, BulkheadPermit<C>>;
pub(crate) type Held<C> = Passes<OwnPermit<C>, BulkheadPermit<C>>;

impl<C: Clock> Gate<C> {
    /// Lets a call through or does not; never waits. Counts as [`Gate::try_lend`] does.
    #[inline]
    pub(crate) fn try_pass(&self) -> Result<Pass<C>, Rejected> {
        match self {
            Self::Breaker(breaker) => breaker.own().map(Pass::Breaker),
            Self::Bucket(bucket, wait) => {
                let taken = bucket.try_take_counted_if(wait.is_zero(), 1);
                taken.map(|()| Pass::Bucket)
            }
            Self::Bulkhead(bulkhead, wait) => {
                let entered = bulkhead.try_enter_owned_counted_if(wait.is_zero());
                entered.map(Pass::Bulkhead)
            }
        }
    }
}

impl<C: Clock> Held<C> {
    /// Takes all of it out, for as long as the call runs.
    #[inline]
    pub(crate) fn take_up(&mut self) -> Self {
        let mut running = mem::replace(self, Self::at_rest());
        running.runs(true);
        running
    }
}

impl<C: Clock> Told for OwnPermit<C> {
    #[inline]
    fn told(mut self, outcome: Outcome, took: Option<Duration>) {
        self.end(outcome, took);
    }
}

impl<C: Clock> Told for BulkheadPermit<C> {
    #[inline]
    fn told(self, outcome: Outcome, _: Option<Duration>) {
        self.record(outcome);
    }
}
