//! A child of a scope: the work, which the scope owns, and the handle, by which its value is had.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::caught::{Caught, Panic};
use crate::sync::{Mutex, MutexGuard, lock};

/// A child of a [`scope`](crate::scope()). Awaiting it gives its value; if it fails, so does the scope,
/// and with it whoever awaits. Dropping it leaves the child running.
///
/// Cancel-safe: it can be awaited again, until it gave the value.
///
/// # Panics
/// When awaited after its value was given, or after the scope ended without it: only a handle that was
/// carried out of a scope which failed can see that.
pub struct Child<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Child<T> {
    /// Ends the child: its future is dropped before it would run again, and the scope does not wait for
    /// it. For children that go on as long as others need them: a heart-beat, a renewal.
    pub fn cancel(self) {
        let task = match &mut *self.slot.lock() {
            State::Running {
                cancelled, task, ..
            } => {
                *cancelled = true;
                task.take()
            }
            _ => None,
        };
        wake(task);
    }
}

impl<T> Future for Child<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Foreign code: made before the lock is taken, dropped when it is free.
        let waker = cx.waker().clone();
        let mut state = self.slot.lock();
        match &mut *state {
            State::Running { awaiting, .. } => {
                let before = awaiting.replace(waker);
                drop(state);
                drop(before);
                Poll::Pending
            }
            State::Ended(value) => {
                let value = value.take();
                drop(state);
                Poll::Ready(value.expect("awaited again, or after its scope ended without it"))
            }
        }
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = matches!(*self.slot.lock(), State::Ended(_));
        f.debug_struct("Child").field("ended", &ended).finish()
    }
}

/// Why a child ends its scope.
pub(super) enum Failure<E> {
    Error(E),
    Panic(Panic),
}

/// A handle, and the work for the scope.
pub(super) fn pair<F, T, E>(future: F) -> (Child<T>, Work<F, T>)
where
    F: Future<Output = Result<T, E>>,
{
    let slot = Arc::new(Slot(Mutex::new(State::Running {
        cancelled: false,
        task: None,
        awaiting: None,
    })));
    let work = Work {
        future: Some(Caught::new(future)),
        end: End(Arc::clone(&slot)),
    };
    (Child { slot }, work)
}

struct Slot<T>(Mutex<State<T>>);

enum State<T> {
    Running {
        cancelled: bool,
        /// Who polls the work.
        task: Option<Waker>,
        /// Who awaits the handle.
        awaiting: Option<Waker>,
    },
    /// With nothing if the value was given, or if there is none.
    Ended(Option<T>),
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.0)
    }

    /// Whether the work may go on; if so, who polls it is remembered.
    fn goes_on(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.lock();
        let (goes_on, spent) = match &mut *state {
            State::Running {
                cancelled, task, ..
            } => (!*cancelled, task.replace(waker)),
            State::Ended(_) => (false, Some(waker)),
        };
        drop(state);
        drop(spent);
        goes_on
    }

    fn end(&self, value: Option<T>) {
        let mut state = self.lock();
        if matches!(*state, State::Running { .. }) {
            let before = mem::replace(&mut *state, State::Ended(value));
            drop(state);
            if let State::Running { awaiting, .. } = before {
                wake(awaiting);
            }
        }
    }
}

/// Called without the lock: a waker may run anything.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

pin_project_lite::pin_project! {
    /// The work of a child. Its future is gone before its end is told.
    pub(super) struct Work<F, T> {
        #[pin]
        future: Option<Caught<F>>,
        // After the future, so that it is dropped after it.
        end: End<T>,
    }
}

/// Tells the handle that there will be no value, however the work goes.
struct End<T>(Arc<Slot<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.end(None);
    }
}

impl<F, T, E> Future for Work<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<(), Failure<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let slot = &this.end.0;
        let result = match this.future.as_mut().as_pin_mut() {
            Some(future) if slot.goes_on(cx.waker()) => std::task::ready!(future.poll(cx)),
            _ => {
                this.future.set(None);
                return Poll::Ready(Ok(()));
            }
        };
        this.future.set(None);
        Poll::Ready(match result {
            Ok(Ok(value)) => {
                slot.end(Some(value));
                Ok(())
            }
            Ok(Err(error)) => Err(Failure::Error(error)),
            Err(panic) => Err(Failure::Panic(panic)),
        })
    }
}
