//! Those who wait without tokens, in the order in which they came. Only the first one takes; when it has
//! taken or gone away, it wakes the next. The first needs a timer, and of the others who has a limit, or
//! is behind somebody who has one: for its own time, or for when the other's is over and nobody else looks.
//!
//! It knows no timers and no futures: it is asked when a waiter is polled, and says what to do.

use std::task::Waker;

use crate::clock::Clock;
use crate::error::Rejection;
use crate::sync::Ordering;

use super::line::{Line, Ticket, Waiter, late};
use super::meter::{Meter, Reading, Refusal};
use super::shared::Shared;

/// What a waiter is told.
#[derive(Debug)]
pub(super) enum Turn {
    /// It has its tokens.
    Taken,
    /// It stands in the line, and is first: there is nothing to take for so many ticks.
    First(Ticket, u64),
    /// It stands in the line, behind others, and must look again after so many ticks, if any; it is
    /// woken when it is first.
    Behind(Ticket, Option<u64>),
    /// It is turned away, and worth coming back after so many ticks.
    Refused(Rejection, Option<u64>),
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
            return Turn::Taken;
        }
        // Foreign code: made before the lock is taken, dropped after it if nobody took it.
        let mut waker = Some(waker.clone());
        let mut line = self.lock();
        let tick = self.tick();
        if let Some(ticket) = ticket {
            let until = line.until(tick, wanted.patience);
            line.came(ticket, until);
        }
        line.expire(tick);
        let now = (&self.meter, tick);
        match ticket {
            Some(ticket) => line.turn(ticket, wanted, now, &mut waker),
            None => line.join(wanted, self.max_waiters, now, &mut waker),
        }
    }

    fn take_unless_queued(&self, tokens: u32) -> bool {
        self.waited_for.load(Ordering::Acquire) == 0 && self.meter.take(tokens, self.tick()).is_ok()
    }

    /// Gives up a place in the line.
    pub(super) fn leave(&self, ticket: Ticket) {
        self.lock().leave(ticket);
    }
}

impl Line {
    /// Takes at once where nobody waits and there is enough; or puts somebody at the end of the line.
    pub(super) fn join(
        &mut self,
        wanted: Wanted,
        most: usize,
        (meter, tick): (&Meter, u64),
        waker: &mut Option<Waker>,
    ) -> Turn {
        let reading = meter.read_locked(tick);
        self.settle(&reading);
        if self.waiters.is_empty() {
            match meter.take(wanted.tokens, tick) {
                Ok(()) => return Turn::Taken,
                Err(Refusal::Never) => return Turn::Refused(Rejection::OverCapacity, None),
                Err(Refusal::Later(_) | Refusal::Changing) => {}
            }
        } else if reading.terms.cost(u64::from(wanted.tokens)) > reading.terms.span {
            return Turn::Refused(Rejection::OverCapacity, None);
        }
        // Read again: somebody may just have taken.
        let reading = meter.read_locked(tick);
        let ahead = self.waited_for + u64::from(wanted.tokens);
        let wait = reading.wait(reading.terms.cost(ahead));
        if let Some(patience) = wanted.patience
            && wait > patience
        {
            let late = Some(wait - patience);
            return Turn::Refused(Rejection::DeadlineTooNear, late);
        }
        if self.len() >= most {
            let first = self.first_wait(&reading);
            return Turn::Refused(Rejection::QueueFull, first);
        }
        let ticket = self.ticket();
        let until = self.until(tick, wanted.patience);
        self.lapse = self.lapse.min(until);
        self.waited_for = ahead;
        self.waiters.push_back(Waiter {
            ticket,
            tokens: wanted.tokens,
            until,
            waker: waker.take(),
        });
        match self.waiters.len() {
            1 => Turn::First(ticket, wait),
            _ => Turn::Behind(ticket, self.look_again(wanted, wait, tick)),
        }
    }

    /// When somebody behind others must look again by itself, whose turn should come after `wait`: when
    /// its own time is up; or when one before it has lost its place, which nobody else may see. Mostly
    /// its turn has come before that.
    fn look_again(&self, wanted: Wanted, wait: u64, tick: u64) -> Option<u64> {
        let lost = (self.lapse != u64::MAX).then(|| {
            let lapse = self.lapse.saturating_sub(self.age(tick));
            wait.max(lapse.saturating_add(1))
        });
        lost.into_iter().chain(wanted.patience).min()
    }

    /// Has a task woken when the time of its booking has been moved.
    pub(super) fn watch(&mut self, ticket: Ticket, waker: Waker) {
        let spent = match self.place(ticket) {
            Some(place) => self.bookings[place].waker.replace(waker),
            None => Some(waker),
        };
        self.afterwards.spent.extend(spent);
    }

    /// Somebody in the line looks, whose patience ends then.
    fn came(&mut self, ticket: Ticket, until: u64) {
        let Some(place) = self.waiting(ticket) else {
            return;
        };
        let before = std::mem::replace(&mut self.waiters[place].until, until);
        self.lapse = self.lapse.min(until);
        // Those behind it sleep until their old limits: they are woken to see the new one, which is earlier.
        if until.saturating_add(late()) < before {
            let behind = self.waiters.range_mut(place + 1..);
            let wakers = behind.filter_map(|waiter| waiter.waker.take());
            self.afterwards.woken.extend(wakers);
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
        waker: &mut Option<Waker>,
    ) -> Turn {
        let reading = meter.read_locked(tick);
        self.settle(&reading);
        if reading.terms.cost(u64::from(wanted.tokens)) > reading.terms.span {
            self.leave(ticket);
            return Turn::Refused(Rejection::OverCapacity, None);
        }
        let Some(place) = self.waiting(ticket) else {
            // Its time was over, and somebody else has looked since.
            let ahead = self.waited_for + u64::from(wanted.tokens);
            let late = Some(reading.wait(reading.terms.cost(ahead)));
            return Turn::Refused(Rejection::DeadlineTooNear, late);
        };
        let wait = if place == 0 {
            match meter.take(wanted.tokens, tick) {
                Ok(()) => {
                    self.leave(ticket);
                    return Turn::Taken;
                }
                Err(Refusal::Later(wait)) => Some(wait),
                Err(Refusal::Never | Refusal::Changing) => Some(1),
            }
        } else {
            None
        };
        let own = self.wait_at(place, &reading);
        // Whoever is behind others when its time is up has no turn, even if there is enough.
        if let Some(patience) = wanted.patience
            && (own > patience || (patience == 0 && place > 0))
        {
            self.leave(ticket);
            let late = Some(own - patience);
            return Turn::Refused(Rejection::DeadlineTooNear, late);
        }
        let before = std::mem::replace(&mut self.waiters[place].waker, waker.take());
        self.afterwards.spent.extend(before);
        match wait {
            Some(wait) => Turn::First(ticket, wait),
            None => Turn::Behind(ticket, self.look_again(wanted, own, tick)),
        }
    }

    /// What must pass until there is enough for a waiter and all before it.
    fn wait_at(&self, place: usize, reading: &Reading) -> u64 {
        let tokens = self.waiters.iter().take(place + 1);
        let tokens = tokens.map(|waiter| u64::from(waiter.tokens)).sum();
        reading.wait(reading.terms.cost(tokens))
    }

    /// Takes somebody out of the line, if it is in it. If it was the first, the next is woken.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        let Some(place) = self.waiting(ticket) else {
            return;
        };
        if let Some(gone) = self.waiters.remove(place) {
            self.waited_for -= u64::from(gone.tokens);
            self.afterwards.spent.extend(gone.waker);
        }
        if self.waiters.is_empty() {
            self.lapse = u64::MAX;
        }
        if place == 0 {
            self.wake_first();
        }
    }

    fn waiting(&self, ticket: Ticket) -> Option<usize> {
        self.waiters
            .binary_search_by_key(&ticket, |waiter| waiter.ticket)
            .ok()
    }
}
