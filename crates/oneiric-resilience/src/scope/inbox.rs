//! Children on their way from whoever began them to the future of their scope.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Waker;

use super::child::Failure;
use crate::sync::{Mutex, MutexGuard, lock};

/// A child's work, whatever its value.
pub(super) type BoxedChild<'env, E> =
    Pin<Box<dyn Future<Output = Result<(), Failure<E>>> + Send + 'env>>;

pub(super) struct Inbox<'env, E>(Mutex<State<'env, E>>);

struct State<'env, E> {
    waiting: VecDeque<BoxedChild<'env, E>>,
    /// The scope's future, while it rests.
    scope: Option<Waker>,
    closed: bool,
}

impl<'env, E> Inbox<'env, E> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State {
            waiting: VecDeque::new(),
            scope: None,
            closed: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State<'env, E>> {
        lock(&self.0)
    }

    /// A child for the scope, which is woken. Once closed, the child is dropped instead.
    pub(super) fn push(&self, child: BoxedChild<'env, E>) {
        let mut state = self.lock();
        if state.closed {
            // A child's drop may push again.
            drop(state);
            drop(child);
            return;
        }
        state.waiting.push_back(child);
        let scope = state.scope.take();
        drop(state);
        if let Some(scope) = scope {
            scope.wake();
        }
    }

    /// Hands over up to `room` children, in their order, and says whether there were any.
    pub(super) fn hand_over(&self, room: usize, mut to: impl FnMut(BoxedChild<'env, E>)) -> bool {
        let mut state = self.lock();
        let count = room.min(state.waiting.len());
        state.waiting.drain(..count).for_each(&mut to);
        count > 0
    }

    /// Remembers whom to wake for the next child, unless there is one already for which there is room.
    pub(super) fn rest(&self, room: usize, waker: &Waker) -> bool {
        // Foreign code: made before the lock is taken, dropped when it is free.
        let waker = waker.clone();
        let mut state = self.lock();
        if room > 0 && !state.waiting.is_empty() {
            return false;
        }
        let before = state.scope.replace(waker);
        drop(state);
        drop(before);
        true
    }

    /// Closes it if nothing waits in it, and says whether it did.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.closed = true;
        }
        state.closed
    }

    /// Takes no more, and gives away those that wait in it: dropping them may push again.
    #[must_use = "they are dropped without the lock"]
    pub(super) fn close(&self) -> VecDeque<BoxedChild<'env, E>> {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let scope = state.scope.take();
        drop(state);
        drop(scope);
        waiting
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}
