//! Waiting for tokens: a place in the line, and a timer for whoever is first in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::clock::{Clock, SystemClock, nanos};
use crate::deadline::Deadline;
use crate::error::Rejected;
use crate::timer::Timer;

use super::TokenBucket;
use super::gcra::ticks_of;
use super::line::Ticket;
use super::queue::{Turn, Wanted};
use super::shared::duration;

impl<C: Clock> TokenBucket<C> {
    /// Takes so many tokens, waiting until there are enough.
    ///
    /// Those who wait are served in the order in which they came: nobody passes them, not even with
    /// [`TokenBucket::try_take`] and for fewer tokens, so one who wants many does not starve. It comes
    /// into the line when it is first polled. A turn that would come later than the deadline of the scope
    /// around whoever polls is refused at once: nobody stands in the line for what will not be used.
    ///
    /// Cancel-safe: dropped before it is done it has taken nothing, and those behind it move up. Who no
    /// longer waits must drop it: kept and not polled, it keeps its place, and everybody behind it out.
    ///
    /// A tokio timer counts milliseconds. Several tokens may come back in one; so a bucket lets its
    /// waiters go at its full rate only if it holds what comes back in a few milliseconds. On a clock
    /// other than [`SystemClock`] or tokio's own the timer is set again until the bucket's clock agrees.
    ///
    /// # Errors
    /// `resilience.over_capacity` if the bucket can never hold so many, be it that its capacity is
    /// changed meanwhile; `resilience.queue_full` if as many as may are in the line;
    /// `resilience.deadline_too_near` where a deadline is around.
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    pub fn take(&self, tokens: u32) -> Take<C> {
        Take::new(self.clone(), tokens, None)
    }

    /// Takes so many tokens, waiting no longer than `max_wait` from now, nor than the deadline around: the
    /// same as [`TokenBucket::take`], but refused at once where the turn would come too late, and later
    /// when it turns out to. Not polled for 10 ms after its time was over, it has lost its place.
    ///
    /// # Errors
    /// `resilience.deadline_too_near`, with how much longer the wait would have to be; and those of
    /// [`TokenBucket::take`].
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    pub fn take_within(&self, tokens: u32, max_wait: Duration) -> Take<C> {
        self.take_before(tokens, Deadline::within(max_wait))
    }

    /// Takes so many tokens, waiting until a deadline at most, or that of the scope around where it comes
    /// earlier; otherwise as [`TokenBucket::take_within`].
    ///
    /// # Errors
    /// Those of [`TokenBucket::take_within`].
    ///
    /// # Panics
    /// When it has to wait outside a tokio runtime with a timer.
    pub fn take_before(&self, tokens: u32, deadline: Deadline) -> Take<C> {
        Take::new(self.clone(), tokens, Some(deadline))
    }
}

/// Waits for tokens. From [`TokenBucket::take`], [`TokenBucket::take_within`] and
/// [`TokenBucket::take_before`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Take<C: Clock = SystemClock> {
    bucket: TokenBucket<C>,
    tokens: u32,
    /// When it is too late.
    until: Option<Deadline>,
    ticket: Option<Ticket>,
    timer: Timer,
}

impl<C: Clock> Take<C> {
    fn new(bucket: TokenBucket<C>, tokens: u32, until: Option<Deadline>) -> Self {
        Self {
            bucket,
            tokens,
            until,
            ticket: None,
            timer: Timer::default(),
        }
    }
}

impl<C: Clock> Future for Take<C> {
    type Output = Result<(), Rejected>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let shared = &*this.bucket.shared;
            let until = this.until.into_iter().chain(Deadline::current()).min();
            let wanted = Wanted {
                tokens: this.tokens,
                patience: until.map(|until| ticks_of(nanos(until.remaining()))),
            };
            let wait = match shared.turn(this.ticket, wanted, cx.waker()) {
                Turn::Taken => {
                    this.ticket = None;
                    return Poll::Ready(Ok(()));
                }
                Turn::Refused(rejection, wait) => {
                    this.ticket = None;
                    shared.rejected.one_more();
                    let rejected = Rejected::new(rejection, wait.map(duration));
                    return Poll::Ready(Err(rejected));
                }
                Turn::First(ticket, wait) => {
                    this.ticket = Some(ticket);
                    Some(wait)
                }
                Turn::Behind(ticket, wait) => {
                    this.ticket = Some(ticket);
                    wait
                }
            };
            match wait {
                Some(wait) => ready!(this.timer.poll(cx, duration(wait))),
                // Whoever is before it wakes it.
                None => return Poll::Pending,
            }
        }
    }
}

impl<C: Clock> Drop for Take<C> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.bucket.shared.leave(ticket);
        }
    }
}
