//! A whole policy as a layer.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use super::asked::Asked;
use super::gates::{Turns, refusal, refuse};
use super::next::{Next, spare};
use super::policy_call::{First, PolicyFuture};
use super::retry::{CloneRequest, CopyRequest};
use crate::policy::gates::Refused;
use crate::{Classify, Clock, ErrIsFailure, Error, Policy, SystemClock};

/// Puts a policy around a service: all its stages, in its order, as [`Policy::call`] does.
///
/// One type, whatever the policy has; a stage that it has not costs a look. It shares breaker,
/// bucket, bulkhead, budget and observers with the policy, and takes the service's own errors for
/// [`Error::Inner`].
///
/// What differs from [`Policy::call`] is where the first attempt waits for its turns: in
/// `poll_ready`, for a permit before the inner service is asked and for a token once it is ready,
/// and before the policy's deadline begins to run. The wait is as long as the policy allows it;
/// whoever has no turn by then is rejected by the call. Other attempts wait for their turns, and then
/// for the inner service, within the response.
///
/// A fallback is a layer of its own around this one: [`FallbackLayer`](super::FallbackLayer).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::PolicyLayer;
/// use oneiric_resilience::{BulkheadConfig, Policy, PolicyConfig, RetryConfig};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let policy = Policy::new(PolicyConfig {
///     retry: Some(RetryConfig::default()),
///     bulkhead: Some(BulkheadConfig::default()),
///     ..PolicyConfig::default()
/// })?;
/// let calls = AtomicU32::new(0);
/// let client = ServiceBuilder::new()
///     .layer(PolicyLayer::new(policy))
///     .service(service_fn(async |n: u32| match calls.fetch_add(1, Ordering::Relaxed) {
///         0 => Err("reset"),
///         _ => Ok(n + 1),
///     }));
/// assert_eq!(client.oneshot(1).await, Ok(2));
/// # Ok(())
/// # }
/// ```
pub struct PolicyLayer<K = ErrIsFailure, C: Clock = SystemClock, D = CloneRequest> {
    policy: Arc<Policy<K, C>>,
    copy: D,
}

impl<K, C: Clock> PolicyLayer<K, C> {
    /// By this policy. Requests are cloned for attempts that may follow.
    pub fn new(policy: Policy<K, C>) -> Self {
        Self {
            policy: Arc::new(policy),
            copy: CloneRequest,
        }
    }
}

impl<K, C: Clock, D> PolicyLayer<K, C, D> {
    /// Lets `copy` say what another attempt is made with: nothing, and there is none. A closure needs the type
    /// of its argument: `|request: &MyRequest|`.
    #[must_use]
    pub fn copy<D2>(self, copy: D2) -> PolicyLayer<K, C, D2> {
        PolicyLayer {
            policy: self.policy,
            copy,
        }
    }
}

impl<K, C: Clock, D: Clone> Clone for PolicyLayer<K, C, D> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            copy: self.copy.clone(),
        }
    }
}

impl<K, C: Clock, D> fmt::Debug for PolicyLayer<K, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyLayer").field(&self.policy).finish()
    }
}

impl<S, K, C: Clock, D: Clone> Layer<S> for PolicyLayer<K, C, D> {
    type Service = WithPolicy<S, K, C, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let rule = Rule {
            policy: Arc::clone(&self.policy),
            copy: self.copy.clone(),
        };
        WithPolicy::new(inner, Arc::new(rule))
    }
}

/// What all calls of a service and its clones go by.
pub(super) struct Rule<K, C: Clock, D> {
    pub(super) policy: Arc<Policy<K, C>>,
    copy: D,
}

impl<K, C: Clock, D> Rule<K, C, D> {
    /// What another attempt would be made with, if there may be one after so many.
    pub(super) fn copy<R>(&self, request: &R, attempts: u32) -> Option<R>
    where
        D: CopyRequest<R>,
    {
        let retry = self.policy.retry()?;
        spare(request, &self.copy, retry.config(), attempts)
    }
}

/// A service with a policy around it; what [`PolicyLayer`] makes.
///
/// Clones share all but the turns that one of them has waited for.
pub struct WithPolicy<S, K = ErrIsFailure, C: Clock = SystemClock, D = CloneRequest> {
    inner: Asked<S>,
    rule: Arc<Rule<K, C, D>>,
    /// Of the gates that a call passes once.
    outer: Turns<C>,
    /// Of those that its first attempt passes.
    first: Turns<C>,
    /// It was ready only to refuse: the inner service was not asked. Stays until the call.
    told: Option<Told>,
}

/// The answer of a breaker that is open, or of a bulkhead that had no permit in time.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// Of one that a call passes.
    Call(Refused),
    /// Of one that each attempt passes.
    Attempt(Refused),
}

impl<S, K, C: Clock, D> WithPolicy<S, K, C, D> {
    fn new(inner: S, rule: Arc<Rule<K, C, D>>) -> Self {
        Self {
            inner: Asked::new(inner),
            rule,
            outer: Turns::default(),
            first: Turns::default(),
            told: None,
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

    /// The policy.
    pub fn policy(&self) -> &Policy<K, C> {
        &self.rule.policy
    }
}

impl<S: Clone, K, C: Clock, D> Clone for WithPolicy<S, K, C, D> {
    fn clone(&self) -> Self {
        Self::new(self.inner.get_ref().clone(), Arc::clone(&self.rule))
    }
}

impl<S: fmt::Debug, K, C: Clock, D> fmt::Debug for WithPolicy<S, K, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithPolicy")
            .field("inner", self.inner.get_ref())
            .field("policy", &self.rule.policy)
            .field("outer", &self.outer)
            .field("first", &self.first)
            .field("told", &self.told)
            .finish()
    }
}

impl<S, K, C, D, R> Service<R> for WithPolicy<S, K, C, D>
where
    S: Service<R> + Clone,
    K: Classify<S::Response, S::Error>,
    C: Clock,
    D: CopyRequest<R>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = PolicyFuture<S, R, K, C, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.told.is_some() {
            return Poll::Ready(Ok(()));
        }
        let (parts, _) = self.rule.policy.stages();
        let passing = match refusal(&parts.outer) {
            Some(refused) => Err(refused),
            None => ready!(self.outer.poll_permit(&parts.outer, cx)),
        };
        if let Err(refused) = passing {
            self.outer = Turns::default();
            self.first = Turns::default();
            self.told = Some(Told::Call(refused));
            return Poll::Ready(Ok(()));
        }
        let passing = match refusal(&parts.inner) {
            Some(refused) => {
                self.first = Turns::default();
                Err(refused)
            }
            None => ready!(self.first.poll_permit(&parts.inner, cx)),
        };
        if passing.is_ok()
            && let Err(broken) = ready!(self.inner.poll_ready(cx))
        {
            self.outer = Turns::default();
            self.first = Turns::default();
            return Poll::Ready(Err(Error::Inner(broken)));
        }
        // Had or not: a token that is refused is for the call to say.
        let taken = ready!(self.outer.poll_token(&parts.outer, cx));
        if let Err(refused) = passing {
            self.first = Turns::default();
            self.told = Some(Told::Attempt(refused));
        } else if taken.is_ok() {
            return self.first.poll_token(&parts.inner, cx).map(|_| Ok(()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (parts, _) = self.rule.policy.stages();
        let (outer, first) = (mem::take(&mut self.outer), mem::take(&mut self.first));
        let told = self.told.take();
        let outer = match told {
            Some(Told::Call(told)) => Err(refuse(&parts.outer, told)),
            _ => outer.pass(&parts.outer),
        };
        let outer = match outer {
            Ok(held) => held,
            Err(refused) => {
                self.inner.lay_down();
                return PolicyFuture::refused(refused, Arc::clone(&self.rule));
            }
        };
        let next = Next::new(self.rule.copy(&request, 1), || self.inner.get_ref().clone());
        let held = match told {
            Some(Told::Attempt(told)) => Err(refuse(&parts.inner, told)),
            _ => first.pass(&parts.inner),
        };
        let first = match held {
            Ok(held) => First::Made(self.inner.call(request), held),
            Err(refused) => {
                self.inner.lay_down();
                First::Refused(refused)
            }
        };
        PolicyFuture::new(first, outer, next, Arc::clone(&self.rule))
    }
}
