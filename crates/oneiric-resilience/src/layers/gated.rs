//! The service behind breaker, bucket and bulkhead, alone or together; the readiness rules of this
//! module in one place.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::asked::Asked;
use super::gates::{Turns, judge, refusal, refuse};
use crate::policy::gates::{Gate, Gates, Held, Refused};
use crate::{Classify, Clock, ErrIsFailure, Error, Rejected, SystemClock};

/// A service behind a breaker, a bucket, a bulkhead or several of them: what
/// [`BreakerLayer`](super::BreakerLayer), [`BucketLayer`](super::BucketLayer) and
/// [`BulkheadLayer`](super::BulkheadLayer) make.
///
/// Clones share breaker, bucket and bulkhead, not the turn that one of them has waited for.
pub struct Gated<S, K = ErrIsFailure, C: Clock = SystemClock> {
    inner: Asked<S>,
    gates: Arc<Gates<C>>,
    classify: K,
    turns: Turns<C>,
    /// It was ready only to refuse: the inner service was not asked. Stays until the call.
    refused: Option<Refused>,
}

impl<S, K, C: Clock> Gated<S, K, C> {
    /// Behind one gate.
    pub(super) fn behind(gate: Gate<C>, inner: S, classify: K) -> Self {
        Self::new(inner, Arc::new(Gates::new([gate])), classify)
    }

    fn new(inner: S, gates: Arc<Gates<C>>, classify: K) -> Self {
        Self {
            inner: Asked::new(inner),
            gates,
            classify,
            turns: Turns::default(),
            refused: None,
        }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }

    /// The inner service, by itself again. What was reserved is given back.
    pub fn into_inner(self) -> S {
        self.inner.into_inner()
    }
}

impl<S: Clone, K: Clone, C: Clock> Clone for Gated<S, K, C> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.get_ref().clone(),
            Arc::clone(&self.gates),
            self.classify.clone(),
        )
    }
}

impl<S: fmt::Debug, K, C: Clock> fmt::Debug for Gated<S, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("inner", self.inner.get_ref())
            .field("gates", &self.gates)
            .field("turns", &self.turns)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl<S, K, C, R, E> Service<R> for Gated<S, K, C>
where
    S: Service<R, Error = Error<E>> + Clone,
    K: Classify<S::Response, E> + Clone,
    C: Clock,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = GatedFuture<S::Future, K, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        let passing = match refusal(&self.gates) {
            Some(refused) => Err(refused),
            None => ready!(self.turns.poll_permit(&self.gates, cx)),
        };
        if let Err(refused) = passing {
            self.turns = Turns::default();
            self.refused = Some(refused);
            return Poll::Ready(Ok(()));
        }
        if let Err(broken) = ready!(self.inner.poll_ready(cx)) {
            self.turns = Turns::default();
            return Poll::Ready(Err(broken));
        }
        // Had or not: a token that is refused is for the call to say.
        self.turns.poll_token(&self.gates, cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let turns = mem::take(&mut self.turns);
        let passed = match self.refused.take() {
            Some(told) => Err(refuse(&self.gates, told)),
            None => turns.pass(&self.gates),
        };
        let state = match passed {
            Err(Refused { rejected, .. }) => {
                self.inner.lay_down();
                State::Refused { rejected }
            }
            Ok(held) => State::Called {
                future: self.inner.call(request),
                held: held.laid_down(),
                classify: self.classify.clone(),
            },
        };
        GatedFuture { state }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`Gated`] service. Dropped, it gives back what it holds once the inner
    /// call is gone.
    #[must_use = "futures do nothing unless polled"]
    pub struct GatedFuture<F, K, C: Clock = SystemClock> {
        #[pin]
        state: State<F, K, C>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateNow]
    enum State<F, K, C: Clock> {
        Refused {
            rejected: Rejected,
        },
        Called {
            // Goes before what it holds.
            #[pin]
            future: F,
            held: Held<C>,
            classify: K,
        },
        Ended,
    }
}

impl<F, K, C, T, E> Future for GatedFuture<F, K, C>
where
    F: Future<Output = Result<T, Error<E>>>,
    K: Classify<T, E>,
    C: Clock,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            StateNow::Refused { rejected } => {
                let rejected = *rejected;
                state.set(State::Ended);
                Poll::Ready(Err(Error::Rejected(rejected)))
            }
            StateNow::Called {
                future,
                held,
                classify,
            } => {
                // Here if the call panics, so that it is seen as one.
                let holding = held.take_up();
                let Poll::Ready(result) = future.poll(cx) else {
                    *held = holding.laid_down();
                    return Poll::Pending;
                };
                let (outcome, result) = judge(classify, result);
                state.set(State::Ended);
                holding.record(outcome, None);
                Poll::Ready(result)
            }
            StateNow::Ended => unreachable!("not polled again after it has answered"),
        }
    }
}

impl<F, K, C: Clock> fmt::Debug for GatedFuture<F, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused { rejected } => {
                return f.debug_tuple("Refused").field(rejected).finish();
            }
            State::Called { held, .. } => return f.debug_tuple("Called").field(held).finish(),
            State::Ended => "Ended",
        };
        f.write_str(state)
    }
}
