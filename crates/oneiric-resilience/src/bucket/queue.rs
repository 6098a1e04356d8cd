//! Those who wait without tokens, in the order in which they came. Only the first one takes, and only
//! it needs a timer; when it has taken or gone away, it wakes the next.
//!
//! It knows no timers and no futures: it is asked when a waiter is polled, and says what to do.

use std::task::Waker;

use crate::clock::Clock;
use crate::error::Rejection;
use crate::sync::Ordering;

use super::Shared;
use super::line::{Line, Ticket, Waiter};
use super::meter::{Meter, Reading, Refusal};

/// What a waiter is told.
#[derive(Debug)]
pub(super) enum Turn {
    /// It has its tokens. Whoever was behind it is to be woken.
    Taken(Option<Waker>),
    /// It stands in the line, and is first: there is nothing to take for so many ticks.
    First(Ticket, u64),
    /// It stands in the line, behind others.
    Behind(Ticket),
    /// It is turned away, and worth coming back after so many ticks. Whoever was behind it is to be
    /// woken.
    Refused(Rejection, Option<u64>, Option<Waker>),
}

/// Somebody who wants tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) tokens: u32,
    /// Ticks until it is too late; nothing where there is all the time there is.
    pub(super) patience: Option<u64>,
}

impl<C: Clock> Shared<C> {
    /// Takes, or gets into the line, or looks what has become of a place in it.
    pub(super) fn turn(&self, ticket: Option<Ticket>, wanted: Wanted, waker: &Waker) -> Turn {
        if ticket.is_none() && (wanted.tokens == 0 || self.take_unless_queued(wanted.tokens)) {
            return Turn::Taken(None);
        }
        let mut line = self.lock();
        let now = (&self.meter, self.tick());
        let turn = match ticket {
            Some(ticket) => line.turn(ticket, wanted, now, waker),
            None => line.join(wanted, self.max_waiters, now, waker),
        };
        self.publish(&line);
        turn
    }

    fn take_unless_queued(&self, tokens: u32) -> bool {
        self.waited_for.load(Ordering::Acquire) == 0 && self.meter.take(tokens, self.tick()).is_ok()
    }

    /// Gives up a place in the line. Answers with whom to wake.
    pub(super) fn leave(&self, ticket: Ticket) -> Option<Waker> {
        let mut line = self.lock();
        let next = line.leave(ticket);
        self.publish(&line);
        next
    }
}

impl Line {
    /// Takes at once where nobody waits and there is enough; or puts somebody at the end of the line.
    pub(super) fn join(
        &mut self,
        wanted: Wanted,
        most: usize,
        (meter, tick): (&Meter, u64),
        waker: &Waker,
    ) -> Turn {
        let reading = meter.read_locked(tick);
        self.settle(&reading);
        if self.waiters.is_empty() {
            match meter.take(wanted.tokens, tick) {
                Ok(()) => return Turn::Taken(None),
                Err(Refusal::Never) => return Turn::Refused(Rejection::OverCapacity, None, None),
                Err(Refusal::Later(_) | Refusal::Changing) => {}
            }
        } else if reading.terms.cost(u64::from(wanted.tokens)) > reading.terms.span {
            return Turn::Refused(Rejection::OverCapacity, None, None);
        }
        // Read again: somebody may just have taken.
        let reading = meter.read_locked(tick);
        let ahead = self.waited_for + u64::from(wanted.tokens);
        let wait = reading.wait(reading.terms.cost(ahead));
        if let Some(patience) = wanted.patience
            && wait > patience
        {
            return Turn::Refused(Rejection::DeadlineTooNear, Some(wait - patience), None);
        }
        if self.len() >= most {
            let first = self.first_wait(&reading);
            return Turn::Refused(Rejection::QueueFull, first, None);
        }
        let ticket = self.ticket();
        self.waited_for = ahead;
        self.waiters.push_back(Waiter {
            ticket,
            tokens: wanted.tokens,
            waker: waker.clone(),
        });
        match self.waiters.len() {
            1 => Turn::First(ticket, wait),
            _ => Turn::Behind(ticket),
        }
    }

    /// Has a task woken when the time of its booking has been moved.
    pub(super) fn watch(&mut self, ticket: Ticket, waker: &Waker) {
        if let Some(place) = self.place(ticket) {
            match &mut self.bookings[place].waker {
                Some(kept) => kept.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// When a place in the line may be free again: once the first in it has its tokens.
    pub(super) fn first_wait(&self, reading: &Reading) -> Option<u64> {
        self.first_due(reading).or_else(|| {
            let first = self.waiters.front()?;
            Some(reading.wait(reading.terms.cost(u64::from(first.tokens))))
        })
    }

    /// Looks whether the turn of somebody in the line has come.
    pub(super) fn turn(
        &mut self,
        ticket: Ticket,
        wanted: Wanted,
        (meter, tick): (&Meter, u64),
        waker: &Waker,
    ) -> Turn {
        let Some(place) = self.waiting(ticket) else {
            // Whoever left the line is not asked about again.
            return Turn::Refused(Rejection::RateLimited, None, None);
        };
        let reading = meter.read_locked(tick);
        self.settle(&reading);
        if reading.terms.cost(u64::from(wanted.tokens)) > reading.terms.span {
            return Turn::Refused(Rejection::OverCapacity, None, self.leave(ticket));
        }
        let wait = if place == 0 {
            match meter.take(wanted.tokens, tick) {
                Ok(()) => return Turn::Taken(self.leave(ticket)),
                Err(Refusal::Later(wait)) => Some(wait),
                Err(Refusal::Never | Refusal::Changing) => Some(1),
            }
        } else {
            None
        };
        if let Some(patience) = wanted.patience {
            let wait = self.wait_at(place, &reading);
            // Whoever is behind others when its time is up has no turn, even if there is enough.
            if wait > patience || (patience == 0 && place > 0) {
                let late = Some(wait - patience);
                return Turn::Refused(Rejection::DeadlineTooNear, late, self.leave(ticket));
            }
        }
        self.waiters[place].waker.clone_from(waker);
        match wait {
            Some(wait) => Turn::First(ticket, wait),
            None => Turn::Behind(ticket),
        }
    }

    /// What must pass until there is enough for a waiter and all before it.
    fn wait_at(&self, place: usize, reading: &Reading) -> u64 {
        let tokens = self.waiters.iter().take(place + 1);
        let tokens = tokens.map(|waiter| u64::from(waiter.tokens)).sum();
        reading.wait(reading.terms.cost(tokens))
    }

    /// Takes somebody out of the line. Answers with whom to wake, if it was the first.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let place = self.waiting(ticket)?;
        let gone = self.waiters.remove(place)?;
        self.waited_for -= u64::from(gone.tokens);
        let next = self.waiters.front().filter(|_| place == 0)?;
        Some(next.waker.clone())
    }

    fn waiting(&self, ticket: Ticket) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }
}
