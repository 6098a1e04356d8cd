//! Waiting for a turn, but not for ever.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Enter;
use crate::bulkhead::BulkheadPermit;
use crate::clock::{Clock, SystemClock};
use crate::deadline::{Deadline, DeadlineScope};
use crate::error::{Rejected, Rejection};

pin_project_lite::pin_project! {
    /// Waits for a turn, but not longer than until a deadline: the answer of
    /// [`Bulkhead::enter_before`](crate::Bulkhead::enter_before).
    ///
    /// Cancel-safe: see [`Enter`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct EnterBefore<C: Clock = SystemClock> {
        // Whether it was polled.
        asked: bool,
        #[pin]
        scope: DeadlineScope<Enter<C>>,
    }
}

impl<C: Clock> EnterBefore<C> {
    pub(in crate::bulkhead) fn new(enter: Enter<C>, deadline: Deadline) -> Self {
        Self {
            asked: false,
            scope: deadline.scope(enter.until(deadline)),
        }
    }
}

impl<C: Clock> Future for EnterBefore<C> {
    type Output = Result<BulkheadPermit<C>, Rejected>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Only who has to wait needs time.
        if !mem::replace(this.asked, true)
            && let Some(permit) = this.scope.get_ref().and_then(Enter::try_now)
        {
            return Poll::Ready(Ok(permit));
        }
        this.scope
            .poll(context)
            .map(|entered| entered.unwrap_or(Err(Rejected::new(Rejection::DeadlineTooNear, None))))
    }
}
