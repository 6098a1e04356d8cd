//! Leave to make one call, for who keeps the breaker meanwhile: what [`BreakerPermit`](super::BreakerPermit)
//! is, without the two writes to the count of handles.

use std::fmt;
use std::time::Duration;

use crate::{Clock, Outcome};

use super::machine::{Machine, Ticket};

/// Does what a [`BreakerPermit`](super::BreakerPermit) does, as long as the breaker is borrowed. Dropped without
/// being told how the call ended it counts nothing, panic or not: who holds it knows whose panic it is.
pub(crate) struct LentPermit<'m, C: Clock> {
    machine: &'m Machine<C>,
    ticket: Option<Ticket>,
}

impl<'m, C: Clock> LentPermit<'m, C> {
    #[inline]
    pub(super) const fn new(machine: &'m Machine<C>, ticket: Ticket) -> Self {
        Self {
            machine,
            ticket: Some(ticket),
        }
    }

    /// The call ended.
    #[inline]
    pub(crate) fn record(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.machine.end(ticket, outcome);
        }
    }

    /// The call ended, and took so long.
    pub(crate) fn record_timed(mut self, outcome: Outcome, elapsed: Duration) {
        if let Some(ticket) = self.ticket.take() {
            self.machine.end_after(ticket, outcome, elapsed);
        }
    }
}

impl<C: Clock> Drop for LentPermit<'_, C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.machine.give_back(ticket);
        }
    }
}

impl<C: Clock> fmt::Debug for LentPermit<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LentPermit")
            .field("breaker", &self.machine.name())
            .field("ticket", &self.ticket)
            .finish()
    }
}
