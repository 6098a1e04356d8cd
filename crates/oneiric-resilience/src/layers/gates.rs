//! The gates of a policy as a service passes them: turns are waited for before the call and kept until
//! it, and the call passes all gates at once, with the turns it has.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::turn::{Turn, WaitForPermit};
use crate::policy::gates::{Gate, Gates, Held, Pass, Refused};
use crate::{Breaker, BulkheadPermit, Classify, Clock, Error, Outcome, Stage, Take};

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

impl<C: Clock> Turns<C> {
    /// Waits for a permit, if one may be waited for: before the inner service is asked.
    pub(super) fn poll_permit(
        &mut self,
        gates: &Gates<C>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        for gate in gates.iter().filter(|gate| !gate.wait().is_zero()) {
            if let Gate::Bulkhead(bulkhead, wait) = gate {
                let waiting = || WaitForPermit::new(bulkhead.enter(), *wait);
                let ask = |counted| bulkhead.try_enter_owned_counted_if(counted);
                let entered = self.permit.poll(cx, ask, waiting);
                ready!(entered).map_err(|rejected| gate.refused(rejected))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for a token, if one may be waited for: once the inner service is ready.
    pub(super) fn poll_token(
        &mut self,
        gates: &Gates<C>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        for gate in gates.iter().filter(|gate| !gate.wait().is_zero()) {
            if let Gate::Bucket(bucket, wait) = gate {
                let waiting = || match *wait {
                    Duration::MAX => bucket.take(1),
                    wait => bucket.take_within(1, wait),
                };
                let ask = |counted| bucket.try_take_counted_if(counted, 1);
                let taken = self.token.poll(cx, ask, waiting);
                ready!(taken).map_err(|rejected| gate.refused(rejected))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Lets a call through, without waiting for turns that it has not; it passes all gates or none.
    #[inline]
    pub(super) fn pass(self, gates: &Gates<C>) -> Result<Held<C>, Refused> {
        let Self {
            mut token,
            mut permit,
        } = self;
        let mut held = Held::default();
        for gate in gates.iter() {
            let passed = match gate {
                Gate::Breaker(_) => gate.try_pass(),
                Gate::Bucket(bucket, _) => {
                    let taken = token.take(|counted| bucket.try_take_counted_if(counted, 1));
                    taken.map(|()| Pass::Bucket)
                }
                Gate::Bulkhead(bulkhead, _) => {
                    let ask = |counted| bulkhead.try_enter_owned_counted_if(counted);
                    let entered = permit.take(ask);
                    entered.map(Pass::Bulkhead)
                }
            };
            let stage = gate.stage();
            held.push(passed.map_err(|rejected| Refused { stage, rejected })?);
        }
        Ok(held)
    }
}

fn breaker<C: Clock>(gates: &Gates<C>) -> Option<&Breaker<C>> {
    gates.iter().find_map(|gate| match gate {
        Gate::Breaker(breaker) => Some(breaker),
        Gate::Bucket(..) | Gate::Bulkhead(..) => None,
    })
}

/// What the breaker among them would answer now, if it would let nobody through.
#[inline]
pub(super) fn refusal<C: Clock>(gates: &Gates<C>) -> Option<Refused> {
    let rejected = breaker(gates)?.refusal()?;
    let stage = Stage::Breaker;
    Some(Refused { stage, rejected })
}

/// What a call answers that was told to come only to be refused. The gate may let calls through again
/// by now, but the inner service was not asked whether it is ready.
pub(super) fn refuse<C: Clock>(gates: &Gates<C>, told: Refused) -> Refused {
    let by_breaker = told.stage == Stage::Breaker && refusal(gates).is_some();
    // The breaker says so itself, and what is outside of it comes before it.
    let passed = by_breaker.then(|| Turns::default().pass(gates).err());
    passed.flatten().unwrap_or(told)
}

/// What the end of a call says to those it had to pass. What a layer further inside said says nothing
/// about the called one, and neither does the caller's own deadline; that it took too long does.
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
