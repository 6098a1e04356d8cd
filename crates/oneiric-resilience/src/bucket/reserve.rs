//! Tokens that are taken now and used later: for whoever plans its calls instead of asking at each.
//!
//! Giving one back is sound only if nobody grants what it would have used twice: a bucket that is full
//! gains nothing from tokens that come back to it. So a reservation that is dropped before its time is
//! not simply credited. Those behind it move up, each to the moment it would have been given had the
//! dropped one never been made; only what is left then is there for others. After its time nothing comes
//! back: its tokens count as used.

use crate::clock::{Clock, Moment, SystemClock};

use super::TokenBucket;
use super::line::Ticket;

/// Tokens of a bucket that may be used from a moment on. From [`TokenBucket::reserve`].
///
/// Dropped before that moment it gives them back, afterwards they count as used.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Reservation<C: Clock = SystemClock> {
    bucket: TokenBucket<C>,
    /// Nothing if it was ready when it was made.
    ticket: Option<Ticket>,
    /// When it would have been ready as things were when it was made.
    ready_at: Moment,
}

impl<C: Clock> Reservation<C> {
    pub(super) const fn new(
        bucket: TokenBucket<C>,
        ticket: Option<Ticket>,
        ready_at: Moment,
    ) -> Self {
        Self {
            bucket,
            ticket,
            ready_at,
        }
    }

    /// The moment of the bucket's clock from which the tokens may be used. It comes earlier when an
    /// earlier reservation is dropped, and moves when the rate is changed; once passed it stays passed.
    pub fn ready_at(&self) -> Moment {
        let shared = &*self.bucket.shared;
        let line = shared.lock();
        let tick = shared.tick();
        let reading = shared.meter.read_locked(tick);
        match self.ticket.and_then(|ticket| line.due(ticket, &reading)) {
            Some(due) => shared.moment(tick.wrapping_add(due)),
            None => self.ready_at.min(shared.moment(tick)),
        }
    }

    /// How long until the tokens may be used; zero once they may.
    pub fn remaining(&self) -> std::time::Duration {
        let ready_at = self.ready_at();
        ready_at.since(self.bucket.shared.clock.now())
    }

    /// Waits until the tokens may be used, and uses them.
    ///
    /// Cancel-safe: dropped before that moment it gives the tokens back.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with a timer.
    #[cfg(feature = "tokio")]
    pub fn wait(self) -> ReservationWait<C> {
        ReservationWait {
            reservation: self,
            timer: crate::timer::Timer::default(),
        }
    }
}

impl<C: Clock> Drop for Reservation<C> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let shared = &*self.bucket.shared;
        shared
            .lock()
            .cancel(ticket, &shared.meter, || shared.tick());
    }
}

/// Waits for the time of a [`Reservation`].
#[cfg(feature = "tokio")]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReservationWait<C: Clock = SystemClock> {
    reservation: Reservation<C>,
    timer: crate::timer::Timer,
}

#[cfg(feature = "tokio")]
impl<C: Clock> Future for ReservationWait<C> {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        use std::task::Poll;

        let Self { reservation, timer } = &mut *self;
        let Some(ticket) = reservation.ticket else {
            return Poll::Ready(());
        };
        let shared = &*reservation.bucket.shared;
        loop {
            let due = {
                // Foreign code: not under the lock.
                let waker = cx.waker().clone();
                let mut line = shared.lock();
                let reading = shared.meter.read_locked(shared.tick());
                line.settle(&reading);
                line.watch(ticket, waker);
                line.due(ticket, &reading)
            };
            let Some(due) = due else {
                reservation.ticket = None;
                return Poll::Ready(());
            };
            std::task::ready!(timer.poll(cx, super::shared::duration(due)));
        }
    }
}
