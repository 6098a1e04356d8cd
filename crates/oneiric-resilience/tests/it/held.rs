//! Something that a future holds, and whether it was dropped.

use std::sync::{Arc, Weak};

/// Held by a future.
#[derive(Debug)]
pub(crate) struct Held {
    _alive: Arc<()>,
}

/// Looks at it from outside.
#[derive(Debug, Clone)]
pub(crate) struct Gone(Weak<()>);

impl Held {
    pub(crate) fn new() -> (Self, Gone) {
        let alive = Arc::new(());
        let gone = Gone(Arc::downgrade(&alive));
        (Self { _alive: alive }, gone)
    }
}

impl Gone {
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Calls a function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits for what is not worth a name, with an outer limit that only a hang reaches: every task that
/// can run does, again and again.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert!(holds(), "it never came to hold");
}
