//! The attempt that may follow.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower_service::Service;

/// What another attempt would be made with, and by whom: both or neither.
pub(super) struct Next<S, R> {
    pub(super) spare: Option<R>,
    pub(super) service: Option<S>,
}

impl<S: Clone, R> Next<S, R> {
    /// Before a wait: a layer inside that refused an attempt did not call those further inside, which
    /// were ready for it, and keep what they reserved until they are called or dropped.
    pub(super) fn lay_down(&mut self) {
        self.service = self.service.clone();
    }
}

/// Why both are there when another attempt begins.
pub(super) const NEXT: &str =
    "another attempt is decided on only where there is something to make it with";

/// Waits until a service is ready, and gives it back.
pub(super) struct Ready<S, R> {
    service: Option<S>,
    request: PhantomData<fn(R)>,
}

impl<S, R> Ready<S, R> {
    pub(super) const fn new(service: S) -> Self {
        Self {
            service: Some(service),
            request: PhantomData,
        }
    }
}

impl<S, R> Unpin for Ready<S, R> {}

impl<S: Service<R>, R> Future for Ready<S, R> {
    type Output = Result<S, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let service = &mut self.get_mut().service;
        let ready = service.as_mut().expect("not polled again once it is ready");
        ready!(ready.poll_ready(cx))?;
        Poll::Ready(Ok(service.take().expect("it was there just now")))
    }
}
