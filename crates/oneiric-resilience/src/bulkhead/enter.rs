//! Waiting for a turn.

#[cfg(feature = "tokio")]
mod before;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "tokio")]
pub use before::EnterBefore;

use super::guard::{BulkheadPermit, Seat};
use super::queue::{Fetched, Ticket};
use crate::around::time_left;
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

    /// Whoever polled this will not do so again, and takes that for a refusal.
    #[cfg(feature = "tower")]
    pub(crate) fn count_refusal(&self) {
        self.seat.count_refusal();
    }

    #[cfg(feature = "tokio")]
    fn patience(&self) -> Option<Duration> {
        self.until.map(Deadline::remaining)
    }

    #[cfg(not(feature = "tokio"))]
    const fn patience(&self) -> Option<Duration> {
        None
    }

    /// A permit that is free, or whom to tell that waiting for one was in vain; takes no place in the
    /// queue.
    #[cfg(feature = "tokio")]
    fn try_now(&self) -> Result<BulkheadPermit<C>, Seat<C>> {
        let seat = self.seat.clone();
        match seat.try_enter(false) {
            Ok(_) => Ok(BulkheadPermit::new(seat)),
            Err(_) => Err(seat),
        }
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
                    shared.count_refusal();
                    let rejected = Rejected::new(Rejection::DeadlineTooNear, None);
                    return Poll::Ready(Err(rejected));
                }
            },
            None => match shared.enter(context.waker(), || this.patience(), time_left) {
                Ok(None) => {}
                Ok(place) => {
                    this.ticket = place;
                    return Poll::Pending;
                }
                Err(rejected) => {
                    shared.count_refusal();
                    return Poll::Ready(Err(rejected));
                }
            },
        }
        Poll::Ready(Ok(BulkheadPermit::new(this.seat.clone())))
    }
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
