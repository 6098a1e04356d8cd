//! A deadline as a layer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::{Deadline, DeadlineScope, Error};

/// Gives each call a deadline, which everything inside sees as [`Deadline::current`].
///
/// The outermost of the layers: retries inside do not begin what cannot be done in time. The time
/// runs from the call. A deadline that is around the call already counts if it is earlier.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::layers::{DeadlineLayer, InnerLayer};
/// use oneiric_resilience::{Deadline, Error};
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let limit = Duration::from_secs(1);
/// let client = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(limit))
///     .layer(InnerLayer)
///     .service(service_fn(async |(): ()| {
///         assert_eq!(Deadline::current().map(Deadline::remaining), Some(limit));
///         std::future::pending::<Result<(), ()>>().await
///     }));
/// assert_eq!(client.oneshot(()).await, Err(Error::DeadlineExceeded));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    limit: Duration,
}

impl DeadlineLayer {
    /// So long after each call. Zero means zero: nothing is begun.
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithDeadline {
            inner,
            limit: self.limit,
        }
    }
}

/// A service whose calls have a deadline; what [`DeadlineLayer`] makes.
#[derive(Debug, Clone, Copy)]
pub struct WithDeadline<S> {
    inner: S,
    limit: Duration,
}

impl<S> WithDeadline<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R, E> Service<R> for WithDeadline<S>
where
    S: Service<R, Error = Error<E>>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let deadline = Deadline::within(self.limit);
        DeadlineFuture {
            call: deadline.scope(self.inner.call(request)),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`WithDeadline`] service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct DeadlineFuture<F> {
        #[pin]
        call: DeadlineScope<F>,
    }
}

impl<F, T, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<T, Error<E>>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.project().call.poll(cx)) {
            Ok(result) => result,
            Err(exceeded) => Err(exceeded.into()),
        })
    }
}
