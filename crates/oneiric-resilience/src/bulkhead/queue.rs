//! Who waits, in the order in which they came. A list of wakers and nothing else: who changes it
//! holds the lock, and wakes when the lock is free again.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Ticket, Waker>,
    /// A permit is theirs, and they have not fetched it yet.
    handed: BTreeSet<Ticket>,
    next: u64,
}

impl Queue {
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, waker);
        ticket
    }

    /// How many wait without a permit.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first has a permit now; gives back whom to wake.
    pub(super) fn hand(&mut self) -> Option<Waker> {
        let (ticket, waker) = self.waiting.pop_first()?;
        self.handed.insert(ticket);
        Some(waker)
    }

    /// Fetches the permit that was handed to a place, if one was.
    pub(super) fn fetch(&mut self, ticket: Ticket) -> bool {
        self.handed.remove(&ticket)
    }

    /// Whom to wake instead; gives back who was to be woken.
    pub(super) fn renew(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        self.waiting.insert(ticket, waker)
    }

    /// Gives a place up; gives back who was to be woken there. Nobody, if a permit was handed to it
    /// that was not fetched: then the caller has it.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        self.handed.remove(&ticket);
        self.waiting.remove(&ticket)
    }
}
