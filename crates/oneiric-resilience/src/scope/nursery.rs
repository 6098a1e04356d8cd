//! The future of a scope: it owns body and children, and polls those that have something to do.

use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::child::Failure;
use super::inbox::{BoxedChild, Inbox};
use super::{Scope, Shared};
use crate::caught::Caught;

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
    let closing = Closing(&shared.inbox);
    let mut children = FuturesUnordered::new();
    let mut body = pin!(Some(Caught::new(body(Scope {
        shared: Arc::clone(&shared)
    }))));

    let mut nursery = Nursery {
        inbox: &shared.inbox,
        at_most,
        children: &mut children,
        value: None,
    };
    let ended = std::future::poll_fn(|cx| nursery.poll(body.as_mut(), cx)).await;

    body.set(None);
    children.clear();
    drop(closing);
    if let Some(tasks) = shared.tasks.get() {
        tasks.idle().await;
    }
    match ended {
        Ok(value) => Ok(value),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Panic(panic)) => std::panic::resume_unwind(panic),
    }
}

struct Closing<'a, 'env, E>(&'a Inbox<'env, E>);

impl<E> Drop for Closing<'_, '_, E> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Nursery<'a, 'env, T, E> {
    inbox: &'a Inbox<'env, E>,
    at_most: usize,
    children: &'a mut FuturesUnordered<BoxedChild<'env, E>>,
    /// The body's, once it has ended.
    value: Option<T>,
}

impl<T, E> Nursery<'_, '_, T, E> {
    fn poll<F>(
        &mut self,
        mut body: Pin<&mut Option<Caught<F>>>,
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
                Ok(Ok(value)) => self.value = Some(value),
                Ok(Err(error)) => return Poll::Ready(Err(Failure::Error(error))),
                Err(panic) => return Poll::Ready(Err(Failure::Panic(panic))),
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
