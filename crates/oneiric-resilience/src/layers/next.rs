//! The attempt that may follow.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::retry::CopyRequest;
use crate::RetryConfig;

/// What another attempt would be made with, and by whom: both or neither.
pub(super) struct Next<S, R> {
    spare: Option<R>,
    service: Option<S>,
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

impl<S, R> Next<S, R> {
    /// None, if there is nothing to make it with.
    pub(super) fn new(spare: Option<R>, service: impl FnOnce() -> S) -> Self {
        Self {
            service: spare.is_some().then(service),
            spare,
        }
    }

    /// There is none.
    pub(super) const fn none() -> Self {
        Self {
            spare: None,
            service: None,
        }
    }

    /// Whether there may be one.
    pub(super) const fn is_some(&self) -> bool {
        self.spare.is_some()
    }

    /// Back from [`ready`](Self::ready).
    pub(super) fn readied(&mut self, service: S) {
        self.service = Some(service);
    }
}

impl<S: Service<R>, R> Next<S, R> {
    /// Waits until the service is ready, which is not here meanwhile.
    pub(super) fn ready(&mut self) -> Ready<S, R> {
        Ready {
            service: self.service.take(),
            request: PhantomData,
        }
    }

    /// Asks the service whether it is ready.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.as_mut().expect(NEXT).poll_ready(cx)
    }

    /// Makes it, by the service, which is ready. What the one after it is made with, `copy` says.
    pub(super) fn call(&mut self, copy: impl FnOnce(&R) -> Option<R>) -> S::Future {
        let request = self.spare.take().expect(NEXT);
        self.spare = copy(&request);
        self.service.as_mut().expect(NEXT).call(request)
    }
}

/// What another attempt would be made with, if there may be one after so many.
pub(super) fn spare<R>(
    request: &R,
    copy: &impl CopyRequest<R>,
    retry: &RetryConfig,
    attempts: u32,
) -> Option<R> {
    let more = attempts < retry.attempts;
    more.then(|| copy.copy(request)).flatten()
}

/// Waits until a service is ready, and gives it back.
pub(super) struct Ready<S, R> {
    service: Option<S>,
    request: PhantomData<fn(R)>,
}

impl<S, R> Unpin for Ready<S, R> {}

impl<S: Service<R>, R> Future for Ready<S, R> {
    type Output = Result<S, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let service = &mut self.get_mut().service;
        let ready = service
            .as_mut()
            .expect("there is one, and it is polled until it is ready");
        ready!(ready.poll_ready(cx))?;
        Poll::Ready(Ok(service.take().expect("it was there just now")))
    }
}
