//! What clones of a policy share: its stages as they were set, each where the order puts it.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Observers, PolicyEvent};
use super::gates::{Gate, Gates, Refused};
use super::order::Stage;
use crate::{
    Attempts, Breaker, Bulkhead, Clock, Error, Moment, Outcome, Retry, RetryStep, TokenBucket,
};

/// The stages.
#[derive(Debug)]
pub(crate) struct Parts<C: Clock> {
    pub(crate) name: Arc<str>,
    pub(crate) order: Box<[Stage]>,
    pub(crate) deadline: Option<Duration>,
    /// The gates that a call passes once.
    pub(crate) outer: Gates<C>,
    pub(crate) retry: Option<Retry>,
    pub(crate) retry_rejected: bool,
    /// The gates that each attempt passes.
    pub(crate) inner: Gates<C>,
    /// Whether one of those wants to know how long an attempt took.
    pub(crate) time_attempts: bool,
    pub(crate) attempt_limit: Option<Duration>,
    pub(crate) observers: Observers,
    pub(crate) clock: C,
}

impl<C: Clock> Parts<C> {
    fn gates(&self) -> impl Iterator<Item = &Gate<C>> {
        self.outer.iter().chain(self.inner.iter())
    }

    pub(crate) fn breaker(&self) -> Option<&Breaker<C>> {
        self.gates().find_map(|gate| match gate {
            Gate::Breaker(breaker) => Some(breaker),
            Gate::Bucket(..) | Gate::Bulkhead(..) => None,
        })
    }

    pub(crate) fn bucket(&self) -> Option<&TokenBucket<C>> {
        self.gates().find_map(|gate| match gate {
            Gate::Bucket(bucket, _) => Some(bucket),
            Gate::Breaker(_) | Gate::Bulkhead(..) => None,
        })
    }

    pub(crate) fn bulkhead(&self) -> Option<&Bulkhead<C>> {
        self.gates().find_map(|gate| match gate {
            Gate::Bulkhead(bulkhead, _) => Some(bulkhead),
            Gate::Breaker(_) | Gate::Bucket(..) => None,
        })
    }

    /// Tells of a call or an attempt that was not let through.
    #[cold]
    pub(crate) fn refused<E>(&self, refused: Refused) -> Error<E> {
        let Refused { stage, rejected } = refused;
        self.observers
            .tell(PolicyEvent::Rejected { stage, rejected });
        Error::Rejected(rejected)
    }

    /// Decides what is next after an attempt: another one after this wait, or nothing.
    pub(crate) fn next(
        &self,
        attempts: &mut Attempts<'_>,
        now: Moment,
        outcome: Outcome,
    ) -> Option<Duration> {
        let mut chance = self.retry.as_ref()?.chance();
        let step = attempts.ended(now, outcome, &mut chance);
        let ended = attempts.ended_attempts();
        let (event, wait) = match step {
            RetryStep::Done => return None,
            RetryStep::GiveUp(why) => {
                let attempts = ended;
                (PolicyEvent::GaveUp { attempts, why }, None)
            }
            RetryStep::Wait(wait) => {
                let attempt = ended;
                (PolicyEvent::Retrying { attempt, wait }, Some(wait))
            }
        };
        self.observers.tell(event);
        wait
    }

    /// What the end of an attempt says to the retry, given what it says of the called one. They differ
    /// where an attempt was not made: that says nothing of the called one, but may be tried again.
    pub(crate) fn to_retry<T, E>(
        &self,
        attempts: &mut Attempts<'_>,
        result: &Result<T, Error<E>>,
        outcome: Outcome,
    ) -> Outcome {
        attempts.note(result);
        match result {
            Err(error @ Error::Rejected(_)) if self.retry_rejected => {
                error.retry_outcome(|_| Outcome::Ignored)
            }
            // Whosever deadline passed: there is no time for another.
            Err(Error::DeadlineExceeded) => Outcome::Ignored,
            _ => outcome,
        }
    }
}
