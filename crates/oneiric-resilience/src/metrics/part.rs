//! A part that is published as long as the program has it: these metrics keep none alive, and forget
//! those that are gone.

use std::sync::{Arc, Weak};

/// Finds a part again, as long as somebody has it.
pub(crate) struct Weakly<P> {
    find: Box<dyn Fn() -> Option<P> + Send + Sync>,
    is_there: Box<dyn Fn() -> bool + Send + Sync>,
}

impl<P> Weakly<P> {
    /// A part by what its handles share, from which `handle` makes another one.
    pub(crate) fn new<S: Send + Sync + 'static>(
        shared: &Arc<S>,
        handle: impl Fn(Arc<S>) -> P + Send + Sync + 'static,
    ) -> Self {
        let weak = Arc::downgrade(shared);
        let looked_at = Weak::clone(&weak);
        Self {
            find: Box::new(move || weak.upgrade().map(&handle)),
            is_there: Box::new(move || looked_at.strong_count() > 0),
        }
    }
}

/// What is published of a part.
pub(super) trait Part: Send + Sync {
    /// Whether anybody has it. Runs nothing of anybody else's.
    fn is_there(&self) -> bool;

    /// Copies what it knows of itself.
    fn publish(&self);
}

/// A part, and what copies what it knows.
struct Watched<P, F> {
    part: Weakly<P>,
    copy: F,
}

pub(super) fn watched<P: 'static>(
    part: Weakly<P>,
    copy: impl Fn(&P) + Send + Sync + 'static,
) -> Arc<dyn Part> {
    Arc::new(Watched { part, copy })
}

impl<P, F: Fn(&P) + Send + Sync> Part for Watched<P, F> {
    fn is_there(&self) -> bool {
        (self.part.is_there)()
    }

    fn publish(&self) {
        if let Some(part) = (self.part.find)() {
            (self.copy)(&part);
        }
    }
}
