//! Where a service's own errors become those of this crate.

use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::Error;

/// The innermost of these layers: makes [`Error::Inner`] of what the service itself says. The
/// others lie on it.
///
/// It is needed again above a layer of somebody else that has an error of its own, such as a
/// buffer.
#[derive(Debug, Clone, Copy, Default)]
pub struct InnerLayer;

impl<S> Layer<S> for InnerLayer {
    type Service = WithInner<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithInner::new(inner)
    }
}

/// A service whose own errors are [`Error::Inner`]; what [`InnerLayer`] makes.
#[derive(Debug, Clone, Copy)]
pub struct WithInner<S> {
    inner: S,
}

impl<S> WithInner<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, by itself again.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Service<R>, R> Service<R> for WithInner<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = InnerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        InnerFuture {
            future: self.inner.call(request),
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`WithInner`] service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InnerFuture<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for InnerFuture<F> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(Error::Inner)
    }
}
