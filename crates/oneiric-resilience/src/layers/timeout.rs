//! A time limit as a layer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::{Deadline, Error, Timeout};

/// Lets a call take so long and no longer, nor longer than the [`Deadline`](crate::Deadline) around
/// it.
///
/// Within a retry it limits each attempt, around one all of them: but then it is better a
/// [`DeadlineLayer`](super::DeadlineLayer), which the retry knows of. Within a breaker a call that
/// took too long counts against the called one; around one it counts for nothing. The time runs
/// from the call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oneiric_resilience::Error;
/// use oneiric_resilience::layers::{InnerLayer, TimeoutLayer};
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let limit = Duration::from_secs(1);
/// let client = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(limit))
///     .layer(InnerLayer)
///     .service(service_fn(async |(): ()| std::future::pending::<Result<(), ()>>().await));
/// assert_eq!(client.oneshot(()).await, Err(Error::TimedOut { limit }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    limit: Duration,
}

impl TimeoutLayer {
    /// So long. Zero means zero: nothing is begun.
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = WithTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithTimeout {
            inner,
            limit: self.limit,
        }
    }
}

/// A service whose calls may take so long; what [`TimeoutLayer`] makes.
#[derive(Debug, Clone, Copy)]
pub struct WithTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> WithTimeout<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R, E> Service<R> for WithTimeout<S>
where
    S: Service<R, Error = Error<E>>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<E>>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let over = Deadline::within(self.limit);
        TimeoutFuture {
            call: Timeout::until(over, self.limit, self.inner.call(request)),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`WithTimeout`] service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TimeoutFuture<F> {
        #[pin]
        call: Timeout<F>,
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, Error<E>>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.project().call.poll(cx)) {
            Ok(result) => result,
            Err(elapsed) => Err(elapsed.into()),
        })
    }
}
