//! The future of a scope: it owns body and children, and polls those that have something to do.

use std::future::poll_fn;
use std::mem;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::child::Failure;
use super::inbox::{BoxedChild, Inbox};
use super::{Scope, Shared};
use crate::caught::{Caught, FirstPanic};

/// How many children may end in one poll before others in the task and beside it get their turn.
const AT_ONCE: usize = 128;

/// Runs a scope with at most so many children at a time.
pub(super) async fn run<'env, B, F, T, E>(at_most: usize, body: B) -> Result<T, E>
where
    B: FnOnce(Scope<'env, E>) -> F,
    F: Future<Output = Result<T, E>>,
{
    let shared = Arc::new(Shared {
        inbox: Inbox::new(),
        tasks: OnceLock::new(),
    });
    // Dropped in the reverse order, whichever way this future ends: body, children, and those on their
    // way, among them whatever the others began while they were dropped.
    let mut nursery = Nursery {
        inbox: &shared.inbox,
        at_most,
        children: FuturesUnordered::new(),
        value: None,
    };
    let mut body = pin!(Some(body(Scope {
        shared: Arc::clone(&shared)
    })));

    let ended = Caught::new(poll_fn(|cx| nursery.poll(body.as_mut(), cx))).await;
    // A panic of what is dropped now waits until all else is gone, too.
    let mut panics = FirstPanic::default();
    panics.catch(|| body.set(None));
    nursery.clear(&mut panics);
    if let Some(tasks) = shared.tasks.get() {
        tasks.idle().await;
    }
    match ended {
        Err(panic) | Ok(Err(Failure::Panic(panic))) => resume_unwind(panic),
        Ok(Err(Failure::Error(error))) => {
            panics.resume();
            Err(error)
        }
        Ok(Ok(value)) => {
            panics.resume();
            Ok(value)
        }
    }
}

struct Nursery<'a, 'env, T, E> {
    inbox: &'a Inbox<'env, E>,
    at_most: usize,
    children: FuturesUnordered<BoxedChild<'env, E>>,
    /// The body's, once it has ended.
    value: Option<T>,
}

impl<T, E> Nursery<'_, '_, T, E> {
    /// Takes no more children, and drops those that there are: each by itself, because where one panics
    /// the set would keep the others for ever.
    fn clear(&mut self, panics: &mut FirstPanic) {
        if !self.children.is_empty() {
            panics.drop_each(mem::take(&mut self.children));
        }
        panics.drop_each(self.inbox.close());
    }

    fn poll<F>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Failure<E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        if let Some(running) = body.as_mut().as_pin_mut()
            && let Poll::Ready(ended) = running.poll(cx)
        {
            body.set(None);
            match ended {
                Ok(value) => self.value = Some(value),
                Err(error) => return Poll::Ready(Err(Failure::Error(error))),
            }
        }
        for _ in 0..AT_ONCE {
            match self.children.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(()))) => continue,
                Poll::Ready(Some(Err(failure))) => return Poll::Ready(Err(failure)),
                Poll::Ready(None) | Poll::Pending => {}
            }
            if self.adopt() {
                continue;
            }
            if self.children.is_empty()
                && self.value.is_some()
                && self.inbox.close_if_empty()
                && let Some(value) = self.value.take()
            {
                return Poll::Ready(Ok(value));
            }
            if self.inbox.rest(self.room(), cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn room(&self) -> usize {
        self.at_most - self.children.len()
    }

    fn adopt(&mut self) -> bool {
        let room = self.room();
        self.inbox
            .hand_over(room, |child| self.children.push(child))
    }
}

/// What a future that is dropped before its end leaves behind.
impl<T, E> Drop for Nursery<'_, '_, T, E> {
    fn drop(&mut self) {
        let mut panics = FirstPanic::default();
        self.clear(&mut panics);
        panics.resume();
    }
}
