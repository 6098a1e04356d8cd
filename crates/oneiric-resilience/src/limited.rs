//! A future that is given up when its time is over, its own or that of the scope around it. What
//! [`Deadline::scope`](crate::Deadline::scope) and [`timeout`](crate::timeout()) have in common.
//!
//! The timer is made when the future first has to wait: an answer that is there at once costs one
//! look at the clock. And the future is dropped before the error is told, so that whoever hears it
//! can count on permits and locks being free again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::deadline::Deadline;

/// How long a future may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// So long from its first poll.
    Within(Duration),
    /// Until then.
    Until(Deadline),
    /// So long from its first poll, whatever the deadline around it.
    Alone(Duration),
}

/// Whose time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Own,
    /// That of a scope around it.
    Around,
}

pin_project_lite::pin_project! {
    #[derive(Debug)]
    pub(crate) struct Limited<F> {
        // Nothing once the time was over.
        #[pin]
        future: Option<F>,
        // Nothing until the future has to wait.
        #[pin]
        timer: Option<Sleep>,
        limit: Limit,
        // Nothing until the first poll.
        bound: Option<(Deadline, Over)>,
    }
}

impl<F> Limited<F> {
    pub(crate) const fn new(future: F, limit: Limit) -> Self {
        Self {
            future: Some(future),
            timer: None,
            limit,
            bound: None,
        }
    }

    /// One that begins now, before its deadline: for a caller that has looked at the clock already.
    pub(crate) fn begun(future: F, deadline: Deadline) -> Self {
        Self {
            bound: Some(earlier(deadline)),
            ..Self::new(future, Limit::Until(deadline))
        }
    }
}

impl<F> Limited<F> {
    /// The future, if its time was not over.
    pub(crate) const fn get_ref(&self) -> Option<&F> {
        self.future.as_ref()
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Over>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (deadline, over) = match *this.bound {
            Some(bound) => bound,
            None => {
                let now = Instant::now();
                let (deadline, over) = *this.bound.insert(bound(*this.limit, now));
                if deadline.instant() <= now {
                    this.future.set(None);
                    return Poll::Ready(Err(over));
                }
                (deadline, over)
            }
        };
        {
            let _entered = deadline.enter();
            let future = this.future.as_mut().as_pin_mut();
            let future = future.expect("not polled again after its time was over");
            if let Poll::Ready(value) = future.poll(cx) {
                return Poll::Ready(Ok(value));
            }
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(deadline.instant())));
        }
        if passed(this.timer.as_mut().as_pin_mut(), cx) {
            this.future.set(None);
            return Poll::Ready(Err(over));
        }
        Poll::Pending
    }
}

fn bound(limit: Limit, now: Instant) -> (Deadline, Over) {
    match limit {
        Limit::Within(limit) => earlier(Deadline::after(now, limit)),
        Limit::Until(deadline) => earlier(deadline),
        Limit::Alone(limit) => (Deadline::after(now, limit), Over::Own),
    }
}

/// The earlier of a future's own deadline and the one around it, which it has to keep if both are one.
fn earlier(own: Deadline) -> (Deadline, Over) {
    match Deadline::current() {
        Some(around) if around <= own => (around, Over::Around),
        _ => (own, Over::Own),
    }
}

/// A future that used up what tokio lets a task do at a time must not keep its own timer from being seen.
fn passed(timer: Option<Pin<&mut Sleep>>, cx: &mut Context<'_>) -> bool {
    timer.is_some_and(|timer| {
        if coop::has_budget_remaining() {
            timer.poll(cx).is_ready()
        } else {
            Pin::new(&mut coop::unconstrained(timer))
                .poll(cx)
                .is_ready()
        }
    })
}
