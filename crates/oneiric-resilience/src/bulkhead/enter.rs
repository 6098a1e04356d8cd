//! Waiting for a turn.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::guard::{BulkheadPermit, Seat};
use super::queue::{Fetched, Ticket};
use crate::clock::{Clock, SystemClock};
#[cfg(feature = "tokio")]
use crate::deadline::Deadline;
use crate::error::{Rejected, Rejection};

/// Waits for a turn: the answer of [`Bulkhead::enter`](super::Bulkhead::enter).
///
/// Does nothing until it is first polled; then it takes its place in the queue, or needs none.
/// Polled again after it has answered, it enters again.
///
/// Cancel-safe: dropped at any time it gives its place up, and a permit that was handed to it already
/// goes to the next in the queue. Who no longer waits must drop it: kept and not polled, it keeps its
/// place, and in time a permit.
#[must_use = "futures do nothing unless polled"]
pub struct Enter<C: Clock = SystemClock> {
    seat: Seat<C>,
    ticket: Option<Ticket>,
    /// When the caller gives up.
    #[cfg(feature = "tokio")]
    until: Option<Deadline>,
}

impl<C: Clock> Enter<C> {
    pub(super) const fn new(seat: Seat<C>) -> Self {
        Self {
            seat,
            ticket: None,
            #[cfg(feature = "tokio")]
            until: None,
        }
    }

    /// For a caller that gives up then. That it does so is its own affair: here, what it did not come
    /// for goes to others.
    #[cfg(feature = "tokio")]
    pub(crate) const fn until(mut self, deadline: Deadline) -> Self {
        self.until = Some(deadline);
        self
    }

    #[cfg(feature = "tokio")]
    fn patience(&self) -> Option<Duration> {
        self.until.map(Deadline::remaining)
    }

    #[cfg(not(feature = "tokio"))]
    const fn patience(&self) -> Option<Duration> {
        None
    }

    /// A permit that is free; takes no place in the queue.
    #[cfg(feature = "tokio")]
    fn try_now(&self) -> Option<BulkheadPermit<C>> {
        self.seat.try_enter().ok()?;
        Some(BulkheadPermit::new(self.seat.clone()))
    }
}

impl<C: Clock> Future for Enter<C> {
    type Output = Result<BulkheadPermit<C>, Rejected>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let shared = &this.seat;
        match this.ticket {
            Some(ticket) => match shared.fetch(ticket, context.waker()) {
                Fetched::Nothing => return Poll::Pending,
                Fetched::Permit => this.ticket = None,
                Fetched::Lost => {
                    this.ticket = None;
                    let rejected = Rejected::new(Rejection::DeadlineTooNear, None);
                    return Poll::Ready(Err(rejected));
                }
            },
            None => match shared.enter(context.waker(), || this.patience(), remaining) {
                Ok(None) => {}
                Ok(place) => {
                    this.ticket = place;
                    return Poll::Pending;
                }
                Err(rejected) => return Poll::Ready(Err(rejected)),
            },
        }
        Poll::Ready(Ok(BulkheadPermit::new(this.seat.clone())))
    }
}

/// What is left of the time of the call around this one.
#[cfg(feature = "tokio")]
fn remaining() -> Option<Duration> {
    Deadline::current().map(Deadline::remaining)
}

#[cfg(not(feature = "tokio"))]
const fn remaining() -> Option<Duration> {
    None
}

impl<C: Clock> Drop for Enter<C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.seat.give_up(ticket);
        }
    }
}

impl<C: Clock> fmt::Debug for Enter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enter")
            .field("is_waiting", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "tokio")]
mod before {
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
            this.scope.poll(context).map(|entered| {
                entered.unwrap_or(Err(Rejected::new(Rejection::DeadlineTooNear, None)))
            })
        }
    }
}

#[cfg(feature = "tokio")]
pub use before::EnterBefore;
