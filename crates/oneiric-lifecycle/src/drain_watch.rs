//! Notices the moment in which a draining scope is empty.
//!
//! Leases are counted by the references to their entrance, and nothing but the last of them going away
//! can be noticed without making every lease slower. So when a scope begins to drain, each of its slots
//! gets fresh entrances that nobody is let in by, and lets go of those that were in use: their
//! [`Term`](crate::running::Term) then ends with the last lease. A watch counts the terms that have not
//! ended. It is told where the last lease is dropped, so the event comes at that moment and not some
//! time after.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

use crate::activity::ActivityScope;
use crate::inner::Inner;

/// One scope from being drained to being empty, or to not draining any more.
#[derive(Debug)]
pub(crate) struct DrainWatch {
    scope: ActivityScope,
    inner: Weak<Inner>,
    /// Terms that have not ended, and one for whoever is still adding some.
    left: AtomicUsize,
    state: Mutex<State>,
    pub(crate) empty: CancellationToken,
    pub(crate) ended: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Draining,
    Empty,
    Ended,
}

impl DrainWatch {
    /// A watch to which terms can be added until [`DrainWatch::one_ended`] is called once for it.
    pub(crate) fn new(scope: ActivityScope, inner: Weak<Inner>) -> Arc<Self> {
        Arc::new(Self {
            scope,
            inner,
            left: AtomicUsize::new(1),
            state: Mutex::new(State::Draining),
            empty: CancellationToken::new(),
            ended: CancellationToken::new(),
        })
    }

    pub(crate) fn one_more(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
    }

    /// Call without any lock: with the last one, observers are told.
    pub(crate) fn one_ended(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 && self.moves_to(State::Empty) {
            self.empty.cancel();
            if let Some(inner) = self.inner.upgrade() {
                inner.announce_drained(&self.scope);
            }
        }
    }

    /// The scope does not drain any more.
    pub(crate) fn end(&self) {
        self.moves_to(State::Ended);
        self.ended.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.state() != State::Draining
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self.state() == State::Empty
    }

    fn moves_to(&self, next: State) -> bool {
        let mut state = self.state();
        let moves = *state == State::Draining;
        if moves {
            *state = next;
        }
        moves
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
