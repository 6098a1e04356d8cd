//! What a call has to pass before it is made: breaker, bucket and bulkhead, in the order of the policy.
//!
//! Each gate that lets a call through gives it something to hold, and all of that is told how the call
//! ended, the innermost first. What is held and never told (the call was given up, or a gate further in
//! turned it away) goes back and counts for nobody. A token of the bucket is the exception: what was
//! taken is spent, because a bucket that takes tokens back could grant more than its rate.
//!
//! What is held knows whether the call runs or is suspended: dropped while it runs, it was the call that
//! panicked; dropped while it is suspended, the call was given up, be it because something else in its task
//! panicked.
//!
//! A call through a policy borrows what it holds from the policy, which keeps it from writing to a line
//! that all threads share. A service, whose calls outlive it, owns what they hold.

#[cfg(feature = "tower")]
mod entering;
#[cfg(feature = "tower")]
mod owned;

use std::thread;
use std::time::Duration;

#[cfg(feature = "tower")]
pub(crate) use self::entering::Entering;
#[cfg(feature = "tower")]
pub(crate) use self::owned::{Held, Pass};
use super::order::Stage;
#[cfg(feature = "tokio")]
use crate::Deadline;
use crate::breaker::LentPermit;
use crate::{
    Breaker, Bulkhead, BulkheadGuard, BulkheadPermit, Clock, Outcome, Rejected, TokenBucket,
};

/// One of the gates, and how long a call may wait at it.
#[derive(Debug, Clone)]
pub(crate) enum Gate<C: Clock> {
    Breaker(Breaker<C>),
    Bucket(TokenBucket<C>, Duration),
    Bulkhead(Bulkhead<C>, Duration),
}

impl<C: Clock> Gate<C> {
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::Breaker(_) => Stage::Breaker,
            Self::Bucket(..) => Stage::Bucket,
            Self::Bulkhead(..) => Stage::Bulkhead,
        }
    }

    /// How long a call may wait here; zero is not at all.
    pub(crate) const fn wait(&self) -> Duration {
        match self {
            Self::Breaker(_) => Duration::ZERO,
            Self::Bucket(_, wait) | Self::Bulkhead(_, wait) => *wait,
        }
    }

    /// Lets a call through that keeps this gate meanwhile, or does not; never waits. Where the call may wait
    /// then, the end of that is what a bucket or a bulkhead counts.
    #[inline]
    pub(super) fn try_lend(&self) -> Result<LentPass<'_, C>, Rejected> {
        match self {
            Self::Breaker(breaker) => breaker.lend().map(Passed::Breaker),
            Self::Bucket(bucket, wait) => {
                let taken = bucket.try_take_counted_if(wait.is_zero(), 1);
                taken.map(|()| Passed::Bucket)
            }
            Self::Bulkhead(bulkhead, wait) => {
                let entered = bulkhead.try_enter_counted_if(wait.is_zero());
                entered.map(|guard| Passed::Bulkhead(Turn::Lent(guard)))
            }
        }
    }

    /// Until when a call may wait here that has to be done by then.
    #[cfg(feature = "tokio")]
    #[cold]
    pub(super) fn until(&self, by: Option<Deadline>) -> Deadline {
        let until = Deadline::within(self.wait());
        by.map_or(until, |by| by.min(until)).or_earlier()
    }

    /// Says who did not let a call through.
    pub(crate) const fn refused(&self, rejected: Rejected) -> Refused {
        Refused {
            stage: self.stage(),
            rejected,
        }
    }
}

/// A call that was not let through, and by which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) stage: Stage,
    pub(crate) rejected: Rejected,
}

/// How many gates there can be: each kind once.
const MOST: usize = 3;

/// Gates one behind the other, the outermost first.
#[derive(Debug, Clone)]
pub(crate) struct Gates<C: Clock> {
    gates: Box<[Gate<C>]>,
}

impl<C: Clock> Gates<C> {
    /// At most one of each kind.
    pub(crate) fn new(gates: impl IntoIterator<Item = Gate<C>>) -> Self {
        Self {
            gates: gates.into_iter().take(MOST).collect(),
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gate<C>> {
        self.gates.iter()
    }

    /// Whether one of them is a breaker that counts slow calls.
    pub(crate) fn time_calls(&self) -> bool {
        self.iter().any(|gate| match gate {
            Gate::Breaker(breaker) => breaker.config().slow_call.is_some(),
            Gate::Bucket(..) | Gate::Bulkhead(..) => false,
        })
    }

    /// Passes all of them from one on, or as many as let the call through; never waits.
    #[inline]
    pub(super) fn pass<'a>(
        &'a self,
        held: &mut Lent<'a, C>,
        from: usize,
    ) -> Result<(), Stopped<'a, C>> {
        for (at, gate) in self.gates.iter().enumerate().skip(from) {
            match gate.try_lend() {
                Ok(passed) => held.push(passed),
                Err(rejected) => return Err(Stopped { gate, at, rejected }),
            }
        }
        Ok(())
    }
}

/// A call on its way that a gate did not let through at once.
#[derive(Debug)]
pub(super) struct Stopped<'a, C: Clock> {
    pub(super) gate: &'a Gate<C>,
    /// Which one it is, counted from outside.
    #[cfg_attr(
        not(feature = "tokio"),
        expect(dead_code, reason = "nobody waits and goes on without timers")
    )]
    pub(super) at: usize,
    pub(super) rejected: Rejected,
}

impl<C: Clock> Stopped<'_, C> {
    /// Says who did not let the call through.
    pub(super) const fn refused(&self) -> Refused {
        self.gate.refused(self.rejected)
    }
}

/// What a gate gave to a call that it let through.
#[derive(Debug)]
pub(crate) enum Passed<B, K> {
    Breaker(B),
    Bucket,
    Bulkhead(K),
}

/// What a call holds that has passed gates.
#[derive(Debug)]
pub(crate) struct Passes<B: Told, K: Told> {
    breaker: Option<B>,
    bulkhead: Option<K>,
    /// Whether the breaker was passed first, and so is told last.
    breaker_first: bool,
    /// Whether the call is not running just now: what goes then was given up, whoever panics.
    at_rest: bool,
}

/// Borrowed from the policy.
pub(super) type LentPass<'a, C> = Passed<LentPermit<'a, C>, Turn<'a, C>>;
pub(super) type Lent<'a, C> = Passes<LentPermit<'a, C>, Turn<'a, C>>;

impl<B: Told, K: Told> Default for Passes<B, K> {
    #[inline]
    fn default() -> Self {
        Self {
            breaker: None,
            bulkhead: None,
            breaker_first: false,
            at_rest: false,
        }
    }
}

impl<B: Told, K: Told> Passes<B, K> {
    /// There is a place for each, as there is one gate of a kind.
    #[inline]
    pub(crate) fn push(&mut self, passed: Passed<B, K>) {
        match passed {
            Passed::Breaker(permit) => {
                self.breaker_first = self.bulkhead.is_none();
                self.breaker = Some(permit);
            }
            Passed::Bucket => {}
            Passed::Bulkhead(turn) => self.bulkhead = Some(turn),
        }
    }

    /// Tells all gates how the call ended, the innermost first; and how long it took, where that is
    /// known better than from when the gate was passed.
    #[inline]
    pub(crate) fn record(mut self, outcome: Outcome, took: Option<Duration>) {
        self.tell(outcome, took);
    }

    #[inline]
    fn tell(&mut self, outcome: Outcome, took: Option<Duration>) {
        if !self.breaker_first
            && let Some(permit) = self.breaker.take()
        {
            permit.told(outcome, took);
        }
        if let Some(turn) = self.bulkhead.take() {
            turn.told(outcome, took);
        }
        if let Some(permit) = self.breaker.take() {
            permit.told(outcome, took);
        }
    }

    /// Nothing yet, for a call that does not run yet.
    #[inline]
    pub(crate) fn at_rest() -> Self {
        Self::default().laid_down()
    }

    /// From now on the call runs, or does not: that is whether a panic is its own.
    #[inline]
    pub(crate) const fn runs(&mut self, runs: bool) {
        self.at_rest = !runs;
    }

    /// The call is suspended.
    #[inline]
    pub(crate) fn laid_down(mut self) -> Self {
        self.runs(false);
        self
    }

    #[cold]
    fn gone(&mut self) {
        let outcome = match !self.at_rest && thread::panicking() {
            true => Outcome::Failure,
            false => Outcome::Ignored,
        };
        self.tell(outcome, None);
    }
}

impl<B: Told, K: Told> Drop for Passes<B, K> {
    #[inline]
    fn drop(&mut self) {
        if self.breaker.is_some() || self.bulkhead.is_some() {
            self.gone();
        }
    }
}

/// What is held, and wants to know how the call ended.
pub(crate) trait Told {
    /// And how long it took, where that is known better than from when the gate was passed.
    fn told(self, outcome: Outcome, took: Option<Duration>);
}

impl<C: Clock> Told for LentPermit<'_, C> {
    #[inline]
    fn told(mut self, outcome: Outcome, took: Option<Duration>) {
        self.end(outcome, took);
    }
}

/// A turn in a bulkhead: borrowed if it was there at once, owned if it was waited for.
#[derive(Debug)]
pub(crate) enum Turn<'a, C: Clock> {
    Lent(BulkheadGuard<'a, C>),
    #[cfg_attr(
        not(feature = "tokio"),
        expect(dead_code, reason = "nobody waits without timers")
    )]
    Own(BulkheadPermit<C>),
}

impl<C: Clock> Told for Turn<'_, C> {
    #[inline]
    fn told(self, outcome: Outcome, _: Option<Duration>) {
        match self {
            Self::Lent(guard) => guard.record(outcome),
            Self::Own(permit) => permit.record(outcome),
        }
    }
}
