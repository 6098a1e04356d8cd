//! A fallback as a layer, for answers that have to be waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use crate::{AnyError, Error, Fallback, FallbackHook, FallbackWhen, NoHook};

/// As [`FallbackLayer`](super::FallbackLayer), where the answer has to be waited for: the
/// substitute is a function that makes a future of the error.
///
/// What failed is gone before the substitute begins.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use oneiric_resilience::layers::{AsyncFallbackLayer, InnerLayer};
/// use oneiric_resilience::{Error, Fallback};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let second = |_: Error<&'static str>| async { Ok("from the second source") };
/// let client = ServiceBuilder::new()
///     .layer(AsyncFallbackLayer::new(Fallback::new(second)))
///     .layer(InnerLayer)
///     .service(service_fn(async |_: &str| Err("unreachable")));
/// assert_eq!(client.oneshot("/").await, Ok("from the second source"));
/// # }
/// ```
pub struct AsyncFallbackLayer<A, W = AnyError, H = NoHook> {
    fallback: Arc<Fallback<A, W, H>>,
}

impl<A, W, H> AsyncFallbackLayer<A, W, H> {
    /// Answers by this fallback.
    pub fn new(fallback: Fallback<A, W, H>) -> Self {
        Self {
            fallback: Arc::new(fallback),
        }
    }
}

impl<A, W, H> Clone for AsyncFallbackLayer<A, W, H> {
    fn clone(&self) -> Self {
        Self {
            fallback: Arc::clone(&self.fallback),
        }
    }
}

impl<A, W, H> fmt::Debug for AsyncFallbackLayer<A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFallbackLayer").finish_non_exhaustive()
    }
}

impl<S, A, W, H> Layer<S> for AsyncFallbackLayer<A, W, H> {
    type Service = WithAsyncFallback<S, A, W, H>;

    fn layer(&self, inner: S) -> Self::Service {
        WithAsyncFallback {
            inner,
            fallback: Arc::clone(&self.fallback),
        }
    }
}

/// A service whose failed calls are answered for; what [`AsyncFallbackLayer`] makes.
pub struct WithAsyncFallback<S, A, W = AnyError, H = NoHook> {
    inner: S,
    fallback: Arc<Fallback<A, W, H>>,
}

impl<S, A, W, H> WithAsyncFallback<S, A, W, H> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, A, W, H> Clone for WithAsyncFallback<S, A, W, H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            fallback: Arc::clone(&self.fallback),
        }
    }
}

impl<S: fmt::Debug, A, W, H> fmt::Debug for WithAsyncFallback<S, A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithAsyncFallback")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, A, W, H, B, R, E> Service<R> for WithAsyncFallback<S, A, W, H>
where
    S: Service<R, Error = Error<E>>,
    A: Fn(Error<E>) -> B,
    B: Future<Output = Result<S::Response, Error<E>>>,
    W: FallbackWhen<E>,
    H: FallbackHook<E>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = AsyncFallbackFuture<S::Future, B, A, W, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        AsyncFallbackFuture {
            step: Step::Calling {
                call: self.inner.call(request),
            },
            fallback: Arc::clone(&self.fallback),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`WithAsyncFallback`] service.
    #[must_use = "futures do nothing unless polled"]
    pub struct AsyncFallbackFuture<F, B, A, W = AnyError, H = NoHook> {
        #[pin]
        step: Step<F, B>,
        fallback: Arc<Fallback<A, W, H>>,
    }
}

pin_project_lite::pin_project! {
    #[project = StepNow]
    enum Step<F, B> {
        Calling {
            #[pin]
            call: F,
        },
        Answering {
            #[pin]
            answer: B,
        },
    }
}

impl<F, B, A, W, H, T, E> Future for AsyncFallbackFuture<F, B, A, W, H>
where
    F: Future<Output = Result<T, Error<E>>>,
    A: Fn(Error<E>) -> B,
    B: Future<Output = Result<T, Error<E>>>,
    W: FallbackWhen<E>,
    H: FallbackHook<E>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step.as_mut().project() {
                StepNow::Answering { answer } => return answer.poll(cx),
                StepNow::Calling { call } => {
                    let error = match ready!(call.poll(cx)) {
                        Ok(value) => return Poll::Ready(Ok(value)),
                        Err(error) => this.fallback.chosen(error)?,
                    };
                    let answer = (this.fallback.substitute())(error);
                    this.step.set(Step::Answering { answer });
                }
            }
        }
    }
}

impl<F, B, A, W, H> fmt::Debug for AsyncFallbackFuture<F, B, A, W, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFallbackFuture")
            .finish_non_exhaustive()
    }
}
