//! Waiting for a turn, but not for ever.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::Enter;
use crate::bulkhead::guard::{BulkheadPermit, Seat};
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
        // Whom to tell that the wait was in vain; nothing before the first poll.
        seat: Option<Seat<C>>,
        #[pin]
        scope: DeadlineScope<Enter<C>>,
    }
}

impl<C: Clock> EnterBefore<C> {
    pub(in crate::bulkhead) fn new(enter: Enter<C>, deadline: Deadline) -> Self {
        Self {
            seat: None,
            scope: deadline.scope(enter),
        }
    }
}

impl<C: Clock> Future for EnterBefore<C> {
    type Output = Result<BulkheadPermit<C>, Rejected>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Only who has to wait needs time.
        if this.seat.is_none()
            && let Some(enter) = this.scope.get_ref()
        {
            match enter.try_now() {
                Ok(permit) => return Poll::Ready(Ok(permit)),
                Err(seat) => *this.seat = Some(seat),
            }
        }
        this.scope.poll(context).map(|entered| {
            entered.unwrap_or_else(|_| {
                this.seat.iter().for_each(|seat| seat.count_refusal());
                Err(Rejected::new(Rejection::DeadlineTooNear, None))
            })
        })
    }
}
