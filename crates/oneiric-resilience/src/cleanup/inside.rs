//! Clean-ups that begin inside of a call that has one itself. What is outside must not be undone while
//! what is inside still is: a lease is not given back under a roll-back that runs.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::tracker::{Tracked, Tracker};

thread_local! {
    /// Of the innermost call that is polled, or dropped, just now.
    static AROUND: RefCell<Option<Arc<Tracker>>> = const { RefCell::new(None) };
}

/// Counts a clean-up that begins now for the call around it, if there is one.
pub(super) fn counted() -> Option<Tracked> {
    // A thread that is about to end polls nothing any more.
    let around = AROUND.try_with(|around| around.borrow().clone());
    around.ok().flatten().map(|around| around.enter())
}

/// While it lives, clean-ups are counted here.
struct Around {
    before: Option<Arc<Tracker>>,
}

impl Around {
    fn enter(inside: &Arc<Tracker>) -> Self {
        let inside = Some(Arc::clone(inside));
        let before = AROUND.try_with(|around| around.replace(inside));
        Self {
            before: before.unwrap_or(None),
        }
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        let before = self.before.take();
        // Fails only while the thread ends, and with it the cell.
        let _ended = AROUND.try_with(|around| around.replace(before));
    }
}

pin_project_lite::pin_project! {
    /// A call, with a count of the clean-ups that begin in it while it is polled or dropped.
    pub(super) struct Inside<F> {
        #[pin]
        call: Option<F>,
        cleanups: Arc<Tracker>,
    }

    impl<F> PinnedDrop for Inside<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _around = Around::enter(this.cleanups);
            this.call.set(None);
        }
    }
}

impl<F> Inside<F> {
    pub(super) const fn new(call: F, cleanups: Arc<Tracker>) -> Self {
        Self {
            call: Some(call),
            cleanups,
        }
    }
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _around = Around::enter(this.cleanups);
        let call = this.call.as_pin_mut();
        call.expect("it is gone when this is").poll(cx)
    }
}
