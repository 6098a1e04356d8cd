//! Waiting for a turn.

#[cfg(feature = "tokio")]
mod before;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

#[cfg(feature = "tokio")]
pub use before::EnterBefore;

use super::guard::{BulkheadPermit, Seat};
use super::queue::{Fetched, Ticket};
use crate::around::time_left;
use crate::clock::{Clock, SystemClock};
use crate::error::{Rejected, Rejection};
#[cfg(feature = "tokio")]
use crate::timer::Timer;

/// Waits for a turn: the answer of [`Bulkhead::enter`](super::Bulkhead::enter).
///
/// Does nothing until it is first polled; then it takes its place in the queue, or needs none.
/// Polled again after it has answered, it enters again.
///
/// Cancel-safe: dropped at any time it gives its place up, and a permit that was handed to it already
/// goes to the next in the queue. Who no longer waits must drop it: kept and not polled, it keeps its
/// place, and in time a permit; but for 10 ms after the deadline around it at most (feature `tokio`).
/// Whoever waits behind it then, within a deadline too, looks by itself; others when they are polled.
#[must_use = "futures do nothing unless polled"]
pub struct Enter<C: Clock = SystemClock> {
    seat: Seat<C>,
    ticket: Option<Ticket>,
    #[cfg(feature = "tokio")]
    timer: Timer,
}

impl<C: Clock> Enter<C> {
    pub(super) const fn new(seat: Seat<C>) -> Self {
        Self {
            seat,
            ticket: None,
            #[cfg(feature = "tokio")]
            timer: Timer::new(),
        }
    }

    /// Whoever polled this will not do so again, and takes that for a refusal.
    #[cfg(feature = "tower")]
    pub(crate) fn count_refusal(&self) {
        self.seat.count_refusal();
    }

    /// Looks what has become of the place, or gets one.
    fn look(&mut self, waker: &Waker, left: Option<Duration>) -> Poll<Result<(), Rejected>> {
        let ended = match self.ticket {
            Some(ticket) => match self.seat.fetch(ticket, waker, left) {
                Fetched::Nothing => return Poll::Pending,
                Fetched::Permit => Ok(()),
                Fetched::Lost => Err(Rejected::new(Rejection::DeadlineTooNear, None)),
            },
            None => match self.seat.enter(waker, || left) {
                Ok(None) => Ok(()),
                Ok(place) => {
                    self.ticket = place;
                    return Poll::Pending;
                }
                Err(rejected) => Err(rejected),
            },
        };
        self.ticket = None;
        Poll::Ready(ended.inspect_err(|_| self.seat.count_refusal()))
    }

    /// Whether one before it may have lost its place, which nobody else may see. Who has no limit may be
    /// where there are no timers.
    #[cfg(feature = "tokio")]
    fn look_again(&mut self, context: &mut Context<'_>, left: Option<Duration>) -> Poll<()> {
        match (left, self.seat.lapses_in()) {
            (Some(left), Some(lapse)) if lapse < left => self.timer.poll(context, lapse),
            _ => Poll::Pending,
        }
    }

    #[cfg(not(feature = "tokio"))]
    const fn look_again(&mut self, _: &mut Context<'_>, _: Option<Duration>) -> Poll<()> {
        Poll::Pending
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
        loop {
            let left = time_left();
            if let Poll::Ready(entered) = this.look(context.waker(), left) {
                return Poll::Ready(entered.map(|()| BulkheadPermit::new(this.seat.clone())));
            }
            ready!(this.look_again(context, left));
        }
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
