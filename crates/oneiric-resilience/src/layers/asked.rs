//! The inner service of a layer that may refuse a call for which that service was made ready.

use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

/// A service that knows whether it was asked to get ready for a call that it did not get yet.
#[derive(Debug)]
pub(super) struct Asked<S> {
    service: S,
    asked: bool,
}

impl<S> Asked<S> {
    pub(super) const fn new(service: S) -> Self {
        Self {
            service,
            asked: false,
        }
    }

    pub(super) const fn get_ref(&self) -> &S {
        &self.service
    }

    pub(super) fn into_inner(self) -> S {
        self.service
    }

    pub(super) fn poll_ready<R>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<R>,
    {
        self.asked = true;
        self.service.poll_ready(cx)
    }

    pub(super) fn call<R>(&mut self, request: R) -> S::Future
    where
        S: Service<R>,
    {
        self.asked = false;
        self.service.call(request)
    }

    /// It does not get that call. Layers inside it may hold something for it, or stand in a line; a clone
    /// does neither.
    #[inline]
    pub(super) fn lay_down(&mut self)
    where
        S: Clone,
    {
        if mem::take(&mut self.asked) {
            self.service = self.service.clone();
        }
    }
}

/// Who was asked is this one; nobody asked its clone.
impl<S: Clone> Clone for Asked<S> {
    fn clone(&self) -> Self {
        Self::new(self.service.clone())
    }
}
