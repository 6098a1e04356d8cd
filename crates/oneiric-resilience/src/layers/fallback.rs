//! A fallback as a layer, for answers that are there at once. What has to be waited for is in
//! `fallback_async`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use crate::{AnyError, Error, Fallback, FallbackHook, FallbackWhen, NoHook, Substitute};

/// Answers for calls that failed; the outermost of the layers.
///
/// It answers for calls alone: a service that fails to become ready is of no use any more, and says
/// so.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use oneiric_resilience::Fallback;
/// use oneiric_resilience::layers::{FallbackLayer, InnerLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let client = ServiceBuilder::new()
///     .layer(FallbackLayer::new(Fallback::value("from the cache")))
///     .layer(InnerLayer)
///     .service(service_fn(async |_: &str| Err("unreachable")));
/// assert_eq!(client.oneshot("/").await, Ok("from the cache"));
/// # }
/// ```
pub struct FallbackLayer<A, W = AnyError, H = NoHook> {
    fallback: Arc<Fallback<A, W, H>>,
}

impl<A, W, H> FallbackLayer<A, W, H> {
    /// Answers by this fallback.
    pub fn new(fallback: Fallback<A, W, H>) -> Self {
        Self {
            fallback: Arc::new(fallback),
        }
    }
}

impl<A, W, H> Clone for FallbackLayer<A, W, H> {
    fn clone(&self) -> Self {
        Self {
            fallback: Arc::clone(&self.fallback),
        }
    }
}

impl<A, W, H> fmt::Debug for FallbackLayer<A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").finish_non_exhaustive()
    }
}

impl<S, A, W, H> Layer<S> for FallbackLayer<A, W, H> {
    type Service = WithFallback<S, A, W, H>;

    fn layer(&self, inner: S) -> Self::Service {
        WithFallback {
            inner,
            fallback: Arc::clone(&self.fallback),
        }
    }
}

/// A service whose failed calls are answered for; what [`FallbackLayer`] makes.
pub struct WithFallback<S, A, W = AnyError, H = NoHook> {
    inner: S,
    fallback: Arc<Fallback<A, W, H>>,
}

impl<S, A, W, H> WithFallback<S, A, W, H> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, A, W, H> Clone for WithFallback<S, A, W, H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            fallback: Arc::clone(&self.fallback),
        }
    }
}

impl<S: fmt::Debug, A, W, H> fmt::Debug for WithFallback<S, A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithFallback")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, A, W, H, R, E> Service<R> for WithFallback<S, A, W, H>
where
    S: Service<R, Error = Error<E>>,
    A: Substitute<S::Response, E>,
    W: FallbackWhen<E>,
    H: FallbackHook<E>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = FallbackFuture<S::Future, A, W, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        FallbackFuture {
            call: self.inner.call(request),
            fallback: Arc::clone(&self.fallback),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`WithFallback`] service.
    #[must_use = "futures do nothing unless polled"]
    pub struct FallbackFuture<F, A, W = AnyError, H = NoHook> {
        #[pin]
        call: F,
        fallback: Arc<Fallback<A, W, H>>,
    }
}

impl<F, A, W, H, T, E> Future for FallbackFuture<F, A, W, H>
where
    F: Future<Output = Result<T, Error<E>>>,
    A: Substitute<T, E>,
    W: FallbackWhen<E>,
    H: FallbackHook<E>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.poll(cx));
        Poll::Ready(this.fallback.apply(result))
    }
}

impl<F, A, W, H> fmt::Debug for FallbackFuture<F, A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}
