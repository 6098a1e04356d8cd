//! Leave to make one call, as a value: what the breaker learns of a call cannot be forgotten, because the
//! permit says so itself when it goes.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem, thread};

use crate::{Clock, Outcome, SystemClock};

use super::machine::{Machine, Ticket};

/// Leave to make one call, and `M` keeps the breaker meanwhile: it is had for good, or borrowed, which
/// writes to no count of handles. Dropped without being told how the call ended it counts nothing, panic
/// or not: who holds it knows whose panic it is.
pub(crate) struct Permit<M: Deref<Target = Machine<C>>, C: Clock> {
    machine: M,
    ticket: Option<Ticket>,
    clock: PhantomData<C>,
}

/// One that goes wherever its call goes.
#[cfg(feature = "tower")]
pub(crate) type OwnPermit<C> = Permit<Arc<Machine<C>>, C>;

/// One for who keeps the breaker until the call has ended.
pub(crate) type LentPermit<'m, C> = Permit<&'m Machine<C>, C>;

impl<M: Deref<Target = Machine<C>>, C: Clock> Permit<M, C> {
    #[inline]
    pub(super) const fn new(machine: M, ticket: Ticket) -> Self {
        Self {
            machine,
            ticket: Some(ticket),
            clock: PhantomData,
        }
    }

    /// The call ended, and took so long, where that is known better than by the breaker's clock. Says
    /// nothing the second time.
    #[inline]
    pub(crate) fn end(&mut self, outcome: Outcome, took: Option<Duration>) {
        if let Some(ticket) = self.ticket.take() {
            match took {
                Some(took) => self.machine.end_after(ticket, outcome, took),
                None => self.machine.end(ticket, outcome),
            }
        }
    }
}

impl<M: Deref<Target = Machine<C>>, C: Clock> Drop for Permit<M, C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.machine.give_back(ticket);
        }
    }
}

impl<M: Deref<Target = Machine<C>>, C: Clock> fmt::Debug for Permit<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerPermit")
            .field("breaker", &self.machine.name())
            .field("ticket", &self.ticket)
            .finish()
    }
}

/// Leave to make one call through a [`Breaker`](super::Breaker).
///
/// Say how the call ended with [`record`](Self::record). Dropped without that, nothing is counted and a
/// probe's slot is free again; dropped while its thread panics, the call counts as failed, whatever it was
/// that panicked: that is more than a permit can know. Where a call that is suspended may be dropped by
/// somebody else's panic, [`Breaker::call_async`](super::Breaker::call_async) knows it. What is recorded
/// after the breaker has changed its state says nothing any more and is ignored.
#[must_use = "a permit that is dropped counts nothing"]
pub struct BreakerPermit<C: Clock = SystemClock>(Permit<Arc<Machine<C>>, C>);

impl<C: Clock> BreakerPermit<C> {
    pub(super) const fn new(machine: Arc<Machine<C>>, ticket: Ticket) -> Self {
        Self(Permit::new(machine, ticket))
    }

    /// The call ended.
    pub fn record(mut self, outcome: Outcome) {
        self.0.end(outcome, None);
    }

    /// The call ended, and took so long: for those who know it better than this breaker's clock. Does not
    /// matter where slow calls are not counted.
    pub fn record_timed(mut self, outcome: Outcome, elapsed: Duration) {
        self.0.end(outcome, Some(elapsed));
    }
}

impl<C: Clock> Drop for BreakerPermit<C> {
    fn drop(&mut self) {
        if self.0.ticket.is_some() && thread::panicking() {
            self.0.end(Outcome::Failure, None);
        }
    }
}

impl<C: Clock> fmt::Debug for BreakerPermit<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The permit of a call that is made here: borrows where the other owns, and knows whether the call itself
/// is running when it goes.
pub(super) struct Here<'m, C: Clock> {
    machine: &'m Machine<C>,
    ticket: Ticket,
    /// Going now means that the call panicked; else that it was given up.
    pub(super) running: bool,
}

impl<'m, C: Clock> Here<'m, C> {
    #[inline]
    pub(super) const fn new(machine: &'m Machine<C>, ticket: Ticket) -> Self {
        Self {
            machine,
            ticket,
            running: true,
        }
    }

    #[inline(always)]
    pub(super) fn end(self, outcome: Outcome) {
        let (machine, ticket) = (self.machine, self.ticket);
        // Nothing in it needs to be dropped.
        mem::forget(self);
        machine.end(ticket, outcome);
    }
}

impl<C: Clock> Drop for Here<'_, C> {
    #[cold]
    fn drop(&mut self) {
        if self.running {
            self.machine.end(self.ticket, Outcome::Failure);
        } else {
            self.machine.give_back(self.ticket);
        }
    }
}
