//! A retry as a layer.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::next::{Next, spare};
use super::retrying::RetryFuture;
use crate::{Classify, ErrIsFailure, Error, NoHook, Retry, RetryHook};

/// Makes calls again while they fail in a way that may pass.
///
/// The first attempt is made by the service that was asked whether it is ready, each other one by a
/// clone of it, which is asked anew after the wait. So an attempt takes its own permit and token
/// from the layers inside this one, and holds none while it waits. Nothing is begun that the
/// [`Deadline`](crate::Deadline) around the call leaves no time for, and what runs then is cut off.
///
/// A request is cloned for each attempt but the last; [`copy`](Self::copy) says how, where it is
/// not [`Clone`] or not all of them may be repeated. Only what may safely happen twice should be.
///
/// The limits of the retry begin with the call: that of all attempts, and that of the first. Each
/// other attempt's begins with its own call.
///
/// What layers further inside rejected is not tried again, unless by
/// [`retry_rejected`](Self::retry_rejected): a limit is there to keep load away, not to collect it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::{InnerLayer, RetryLayer};
/// use oneiric_resilience::{Retry, RetryConfig};
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let calls = AtomicU32::new(0);
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new(Retry::new(RetryConfig::default())?))
///     .layer(InnerLayer)
///     .service(service_fn(async |n: u32| match calls.fetch_add(1, Ordering::Relaxed) {
///         0 => Err("reset"),
///         _ => Ok(n + 1),
///     }));
/// assert_eq!(client.oneshot(1).await, Ok(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RetryLayer<K = ErrIsFailure, H = NoHook, D = CloneRequest> {
    rule: Rule<K, H, D>,
}

/// How calls are repeated.
#[derive(Debug, Clone)]
pub(super) struct Rule<K, H, D> {
    pub(super) retry: Retry<K, H>,
    pub(super) copy: D,
    pub(super) rejected_too: bool,
}

impl<K, H, D> Rule<K, H, D> {
    /// What another attempt would be made with, if there may be one after so many.
    pub(super) fn copy<R>(&self, request: &R, attempts: u32) -> Option<R>
    where
        D: CopyRequest<R>,
    {
        spare(request, &self.copy, self.retry.config(), attempts)
    }
}

impl<K, H> RetryLayer<K, H> {
    /// Repeats calls by this retry, whose budget others may share. Requests are cloned.
    pub const fn new(retry: Retry<K, H>) -> Self {
        Self {
            rule: Rule {
                retry,
                copy: CloneRequest,
                rejected_too: false,
            },
        }
    }
}

impl<K, H, D> RetryLayer<K, H, D> {
    /// Lets `copy` say what another attempt is made with: nothing, and there is none. A closure needs the type
    /// of its argument: `|request: &MyRequest|`.
    #[must_use]
    pub fn copy<D2>(self, copy: D2) -> RetryLayer<K, H, D2> {
        RetryLayer {
            rule: Rule {
                retry: self.rule.retry,
                copy,
                rejected_too: self.rule.rejected_too,
            },
        }
    }

    /// Tries again what a layer further inside rejected, after the wait that it names, where time
    /// alone can help.
    #[must_use]
    pub fn retry_rejected(mut self) -> Self {
        self.rule.rejected_too = true;
        self
    }
}

impl<S, K: Clone, H: Clone, D: Clone> Layer<S> for RetryLayer<K, H, D> {
    type Service = WithRetry<S, K, H, D>;

    fn layer(&self, inner: S) -> Self::Service {
        WithRetry {
            inner,
            rule: Arc::new(self.rule.clone()),
        }
    }
}

/// Copies a request for an attempt that may follow. Closures `Fn(&R) -> Option<R>` do, with the type of their
/// argument.
pub trait CopyRequest<R> {
    /// The same request once more; nothing if it cannot or must not be repeated. What might be tried again
    /// is then given up as [`GiveUp::NotRepeatable`](crate::GiveUp::NotRepeatable).
    fn copy(&self, request: &R) -> Option<R>;
}

impl<R, F: Fn(&R) -> Option<R>> CopyRequest<R> for F {
    fn copy(&self, request: &R) -> Option<R> {
        self(request)
    }
}

/// Clones every request.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneRequest;

impl<R: Clone> CopyRequest<R> for CloneRequest {
    #[inline]
    fn copy(&self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

/// A service whose calls are made again when they fail; what [`RetryLayer`] makes.
pub struct WithRetry<S, K = ErrIsFailure, H = NoHook, D = CloneRequest> {
    inner: S,
    rule: Arc<Rule<K, H, D>>,
}

impl<S: Clone, K, H, D> Clone for WithRetry<S, K, H, D> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rule: Arc::clone(&self.rule),
        }
    }
}

impl<S, K, H, D> WithRetry<S, K, H, D> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: fmt::Debug, K, H, D> fmt::Debug for WithRetry<S, K, H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithRetry")
            .field("inner", &self.inner)
            .field("retry", self.rule.retry.config())
            .finish_non_exhaustive()
    }
}

impl<S, K, H, D, R, E> Service<R> for WithRetry<S, K, H, D>
where
    S: Service<R, Error = Error<E>> + Clone,
    K: Classify<S::Response, E>,
    H: RetryHook<E>,
    D: CopyRequest<R>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = RetryFuture<S, R, K, H, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // The one that was asked whether it is ready makes the call. A clone goes along for another
        // attempt, if there may be one.
        let next = Next::new(self.rule.copy(&request, 1), || self.inner.clone());
        RetryFuture::new(|| self.inner.call(request), next, Arc::clone(&self.rule))
    }
}
