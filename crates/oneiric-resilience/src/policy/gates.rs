//! What a call has to pass before it is made: breaker, bucket and bulkhead, in the order of the policy.
//!
//! Each gate that lets a call through gives it something to hold, and all of that is told how the call
//! ended, the innermost first. What is held and never told (the call was given up, or a gate further in
//! turned it away) goes back and counts for nobody. A token of the bucket is the exception: what was
//! taken is spent, because a bucket that takes tokens back could grant more than its rate.

#[cfg(feature = "tokio")]
mod entering;

use std::time::Duration;

#[cfg(feature = "tokio")]
pub(crate) use self::entering::Entering;
use super::order::Stage;
use crate::{
    Breaker, BreakerPermit, Bulkhead, BulkheadPermit, Clock, Outcome, Rejected, TokenBucket,
};

/// One of the gates, and how long a call may wait at it.
#[derive(Debug, Clone)]
pub(crate) enum Gate<C: Clock> {
    Breaker(Breaker<C>),
    Rate(TokenBucket<C>, Duration),
    Bulkhead(Bulkhead<C>, Duration),
}

impl<C: Clock> Gate<C> {
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::Breaker(_) => Stage::Breaker,
            Self::Rate(..) => Stage::Rate,
            Self::Bulkhead(..) => Stage::Bulkhead,
        }
    }

    /// How long a call may wait here; zero is not at all.
    pub(crate) const fn wait(&self) -> Duration {
        match self {
            Self::Breaker(_) => Duration::ZERO,
            Self::Rate(_, wait) | Self::Bulkhead(_, wait) => *wait,
        }
    }

    #[inline]
    pub(crate) fn try_pass(&self) -> Result<Pass<C>, Rejected> {
        match self {
            Self::Breaker(breaker) => breaker.permit().map(Pass::Breaker),
            Self::Rate(bucket, _) => bucket.try_take(1).map(|()| Pass::Rate),
            Self::Bulkhead(bulkhead, _) => bulkhead.try_enter_owned().map(Pass::Bulkhead),
        }
    }
}

/// What a gate gave to a call that it let through.
#[derive(Debug)]
pub(crate) enum Pass<C: Clock> {
    Breaker(BreakerPermit<C>),
    Rate,
    Bulkhead(BulkheadPermit<C>),
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gate<C>> {
        self.gates.iter()
    }

    /// Whether one of them is a breaker that counts slow calls.
    pub(crate) fn time_calls(&self) -> bool {
        self.iter().any(|gate| match gate {
            Gate::Breaker(breaker) => breaker.config().slow_call.is_some(),
            Gate::Rate(..) | Gate::Bulkhead(..) => false,
        })
    }

    /// Passes all of them or none; never waits.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<Held<C>, Refused> {
        let mut held = Held::default();
        for gate in &self.gates {
            let refused = |rejected| Refused {
                stage: gate.stage(),
                rejected,
            };
            held.push(gate.try_pass().map_err(refused)?);
        }
        Ok(held)
    }
}

/// What a call holds that has passed gates, the outermost first.
#[derive(Debug)]
pub(crate) struct Held<C: Clock> {
    passes: [Option<Pass<C>>; MOST],
}

impl<C: Clock> Default for Held<C> {
    #[inline]
    fn default() -> Self {
        Self {
            passes: [None, None, None],
        }
    }
}

impl<C: Clock> Held<C> {
    /// There is a place for each, as there are no more gates than places.
    #[inline]
    pub(crate) fn push(&mut self, pass: Pass<C>) {
        if let Some(place) = self.passes.iter_mut().find(|place| place.is_none()) {
            *place = Some(pass);
        }
    }

    /// Tells all gates how the call ended, the innermost first; and how long it took, where that is
    /// known better than from when the gate was passed.
    #[inline]
    pub(crate) fn record(mut self, outcome: Outcome, took: Option<Duration>) {
        for pass in self.passes.iter_mut().rev() {
            match pass.take() {
                Some(Pass::Breaker(permit)) => match took {
                    Some(took) => permit.record_timed(outcome, took),
                    None => permit.record(outcome),
                },
                Some(Pass::Bulkhead(permit)) => permit.record(outcome),
                Some(Pass::Rate) | None => {}
            }
        }
    }
}

impl<C: Clock> Drop for Held<C> {
    #[inline]
    fn drop(&mut self) {
        for pass in self.passes.iter_mut().rev() {
            drop(pass.take());
        }
    }
}
