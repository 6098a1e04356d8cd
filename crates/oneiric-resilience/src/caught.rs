//! Panics of others: of observers, where they end, and of futures, where they become values, so that
//! what has to be put in order before they go on can be.

use std::any::Any;
#[cfg(feature = "tokio")]
use std::panic::resume_unwind;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "tokio")]
use std::pin::Pin;
#[cfg(feature = "tokio")]
use std::task::{Context, Poll, ready};

/// What was panicked with.
pub(crate) type Panic = Box<dyn Any + Send>;

/// Calls somebody who is only told of something: whoever's call it was, a panic is not their fault, and
/// was reported where it happened.
pub(crate) fn contained(call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        discard(panic);
    }
}

/// Drops what was panicked with, which is foreign too and may panic in its turn.
pub(crate) fn discard(panic: Panic) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // There is no end to this but to keep one.
        std::mem::forget(again);
    }
}

/// The first panic of several steps, all of which have to be taken before it goes on.
#[cfg(feature = "tokio")]
#[derive(Debug, Default)]
pub(crate) struct FirstPanic(Option<Panic>);

#[cfg(feature = "tokio")]
impl FirstPanic {
    /// Takes a step.
    pub(crate) fn catch(&mut self, step: impl FnOnce()) {
        match catch_unwind(AssertUnwindSafe(step)) {
            Err(panic) if self.0.is_none() => self.0 = Some(panic),
            Err(panic) => discard(panic),
            Ok(()) => {}
        }
    }

    /// Drops values one by one, so that none is kept by the panic of another.
    pub(crate) fn drop_each<T>(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.catch(|| drop(value));
        }
    }

    /// Goes on with it, if there was one; not where the thread panics already.
    pub(crate) fn resume(mut self) {
        if !std::thread::panicking()
            && let Some(panic) = self.0.take()
        {
            resume_unwind(panic);
        }
    }
}

#[cfg(feature = "tokio")]
impl Drop for FirstPanic {
    fn drop(&mut self) {
        if let Some(panic) = self.0.take() {
            discard(panic);
        }
    }
}

#[cfg(feature = "tokio")]
pin_project_lite::pin_project! {
    /// A future that is gone when its end is told. If it panics, be it while it is dropped, that is its end.
    #[derive(Debug)]
    pub(crate) struct Caught<F> {
        #[pin]
        future: Option<F>,
    }
}

#[cfg(feature = "tokio")]
impl<F> Caught<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self {
            future: Some(future),
        }
    }
}

#[cfg(feature = "tokio")]
impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let poll = catch_unwind(AssertUnwindSafe(|| {
            let running = future.as_mut().as_pin_mut();
            let value = ready!(running.expect("not polled again after its end").poll(cx));
            future.set(None);
            Poll::Ready(value)
        }));
        match poll {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                // Nobody polls a future again that has panicked; it is only dropped.
                contained(|| future.set(None));
                Poll::Ready(Err(panic))
            }
        }
    }
}

/// The words of a panic that goes no further, if it has any.
#[cfg(feature = "tokio")]
pub(crate) fn message(panic: Panic) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("a panic without words").to_owned();
    discard(panic);
    message
}
