//! What a call has to pass on its way to the inner service, and what it holds while it runs.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::turn::{Turn, WaitForPermit};
use crate::{
    Breaker, BreakerPermit, Bulkhead, BulkheadPermit, Classify, Clock, Error, Outcome, Rejected,
    Take, TokenBucket,
};

/// Something that is limited, and how long a service may wait for a turn: zero is not at all.
#[derive(Debug)]
pub(super) struct Limiter<L> {
    pub(super) limit: L,
    pub(super) wait: Duration,
}

/// The gates of a service, any of which may be missing.
#[derive(Debug)]
pub(super) struct Gates<C: Clock> {
    pub(super) breaker: Option<Breaker<C>>,
    pub(super) rate: Option<Limiter<TokenBucket<C>>>,
    pub(super) bulkhead: Option<Limiter<Bulkhead<C>>>,
    /// Which of the last two comes first.
    pub(super) bulkhead_first: bool,
}

impl<C: Clock> Default for Gates<C> {
    fn default() -> Self {
        Self {
            breaker: None,
            rate: None,
            bulkhead: None,
            bulkhead_first: false,
        }
    }
}

/// The turns of one service's next call.
#[derive(Debug)]
pub(super) struct Turns<C: Clock> {
    token: Turn<Take<C>, ()>,
    permit: Turn<WaitForPermit<C>, BulkheadPermit<C>>,
}

impl<C: Clock> Default for Turns<C> {
    fn default() -> Self {
        Self {
            token: Turn::None,
            permit: Turn::None,
        }
    }
}

/// What a call holds while it runs. Dropped it is given back, and nothing is counted.
#[derive(Debug)]
pub(super) struct Held<C: Clock> {
    permit: Option<BulkheadPermit<C>>,
    breaker: Option<BreakerPermit<C>>,
}

impl<C: Clock> Default for Held<C> {
    fn default() -> Self {
        Self {
            permit: None,
            breaker: None,
        }
    }
}

impl<C: Clock> Held<C> {
    /// The call ended.
    pub(super) fn record(self, outcome: Outcome) {
        if let Some(permit) = self.permit {
            permit.record(outcome);
        }
        if let Some(breaker) = self.breaker {
            breaker.record(outcome);
        }
    }
}

impl<C: Clock> Gates<C> {
    /// What the breaker would answer now, if it would let nobody through.
    pub(super) fn refusal(&self) -> Option<Rejected> {
        self.breaker.as_ref()?.refusal()
    }

    /// Waits for the turns that may be waited for, one after the other. A turn that is refused ends
    /// the wait.
    pub(super) fn poll(&self, turns: &mut Turns<C>, cx: &mut Context<'_>) -> Poll<()> {
        if self.bulkhead_first {
            if ready!(self.poll_bulkhead(turns, cx)) {
                ready!(self.poll_rate(turns, cx));
            }
        } else if ready!(self.poll_rate(turns, cx)) {
            ready!(self.poll_bulkhead(turns, cx));
        }
        Poll::Ready(())
    }

    fn poll_rate(&self, turns: &mut Turns<C>, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(Limiter { limit, wait }) = self.rate.as_ref().filter(|rate| rate.waits()) else {
            return Poll::Ready(true);
        };
        turns.token.poll(
            cx,
            || limit.try_take(1),
            || match *wait {
                Duration::MAX => limit.take(1),
                wait => limit.take_within(1, wait),
            },
        )
    }

    fn poll_bulkhead(&self, turns: &mut Turns<C>, cx: &mut Context<'_>) -> Poll<bool> {
        let seats = self.bulkhead.as_ref().filter(|seats| seats.waits());
        let Some(Limiter { limit, wait }) = seats else {
            return Poll::Ready(true);
        };
        turns.permit.poll(
            cx,
            || limit.try_enter_owned(),
            || WaitForPermit::new(limit.enter(), *wait),
        )
    }

    /// Lets a call through: with the turns it has, and without waiting for those it has not.
    pub(super) fn pass(&self, turns: Turns<C>) -> Result<Held<C>, Rejected> {
        let breaker = self.breaker.as_ref().map(Breaker::permit).transpose()?;
        let Turns { token, permit } = turns;
        let take = || match &self.rate {
            Some(rate) => token.take(|| rate.limit.try_take(1)),
            None => Ok(()),
        };
        let enter = || match &self.bulkhead {
            Some(seats) => permit.take(|| seats.limit.try_enter_owned()).map(Some),
            None => Ok(None),
        };
        let permit = if self.bulkhead_first {
            let permit = enter()?;
            take()?;
            permit
        } else {
            take()?;
            enter()?
        };
        Ok(Held { permit, breaker })
    }
}

impl<L> Limiter<L> {
    fn waits(&self) -> bool {
        !self.wait.is_zero()
    }
}

/// What the end of a call says to those it had to pass. What a layer further inside said says
/// nothing about the called one, and neither does the caller's own deadline; that it took too long
/// does.
pub(super) fn judge<T, E>(
    classify: &impl Classify<T, E>,
    result: Result<T, Error<E>>,
) -> (Outcome, Result<T, Error<E>>) {
    let result = match result {
        Ok(value) => Ok(value),
        Err(Error::Inner(error)) => Err(error),
        Err(error) => {
            let outcome = match error {
                Error::TimedOut { .. } => Outcome::Failure,
                _ => Outcome::Ignored,
            };
            return (outcome, Err(error));
        }
    };
    (classify.classify(&result), result.map_err(Error::Inner))
}
