//! What only a full bulkhead needs: who waits, what is owed, and the one lock under which that changes.
//!
//! The stripes are closed exactly while somebody waits or the limit fell below what is out. All that
//! happens then happens under the lock, and [`Locked`] puts that right again when it is given up.

use std::ops::{Deref, DerefMut};
use std::task::Waker;

use super::aimd::{Aimd, Round};
use super::permits::{Permits, Stripe, narrow};
use super::queue::{Fetched, Queue, Ticket};
use crate::clock::Moment;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use crate::wake::Afterwards;

/// What a bulkhead knows of its limit and of those who wait.
#[derive(Debug)]
pub(super) struct Ledger {
    told: Told,
    state: Mutex<State>,
}

/// What is known of the state without the lock; written under it.
#[derive(Debug)]
struct Told {
    limit: AtomicU64,
    owed: AtomicU64,
    waiting: AtomicU64,
    round: AtomicU64,
    /// [`Queue::lapse`].
    lapse: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) limit: u32,
    /// Permits to be taken away as they come back, because the limit fell.
    pub(super) owed: u32,
    closed: bool,
    /// What was told last of the queue's, as it seldom changes.
    lapse: Moment,
    /// What follows when the lock is given back.
    afterwards: Afterwards,
    pub(super) aimd: Option<Aimd>,
}

impl Ledger {
    pub(super) fn new(limit: u32, aimd: Option<Aimd>) -> Self {
        Self {
            told: Told {
                limit: AtomicU64::new(limit.into()),
                owed: AtomicU64::new(0),
                waiting: AtomicU64::new(0),
                round: AtomicU64::new(0),
                lapse: AtomicU64::new(u64::MAX),
            },
            state: Mutex::new(State {
                queue: Queue::default(),
                limit,
                owed: 0,
                closed: false,
                lapse: Moment::END,
                afterwards: Afterwards::default(),
                aimd,
            }),
        }
    }

    pub(super) fn limit(&self) -> u32 {
        narrow(self.told.limit.load(Ordering::Acquire))
    }

    pub(super) fn owed(&self) -> u32 {
        narrow(self.told.owed.load(Ordering::Acquire))
    }

    pub(super) fn waiting(&self) -> u32 {
        narrow(self.told.waiting.load(Ordering::Acquire))
    }

    pub(super) fn round(&self) -> Round {
        Round(self.told.round.load(Ordering::Acquire))
    }

    /// The moment after which somebody may have lost what it has in the queue; the end of time if nobody
    /// can.
    pub(super) fn lapse(&self) -> Moment {
        Moment::from_nanos(self.told.lapse.load(Ordering::Acquire))
    }

    /// Whether a newcomer has no right to a permit, free or not.
    pub(super) fn is_busy(&self) -> bool {
        self.owed() > 0 || self.waiting() > 0
    }

    pub(super) fn lock<'a>(&'a self, permits: &'a Permits) -> Locked<'a> {
        Locked {
            state: lock(&self.state),
            permits,
            told: &self.told,
            afterwards: Afterwards::default(),
        }
    }
}

impl State {
    /// Nobody waits and nothing is owed.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.owed == 0
    }

    fn hand(&mut self, permits: u32) {
        for _ in 0..permits {
            self.queue.hand(&mut self.afterwards);
        }
    }
}

/// The state, while nobody else changes it. What is true of it is told when it is given up, and wakers
/// are called and dropped after that.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    permits: &'a Permits,
    told: &'a Told,
    // After the lock, so that it is dropped after it.
    afterwards: Afterwards,
}

impl Locked<'_> {
    /// Takes a permit if one is free for a newcomer. Where it says no, at one moment none was.
    pub(super) fn take(&mut self) -> bool {
        // While all are closed, permits only come back: what is empty now was so when the last closed.
        self.close();
        self.state.is_idle() && self.permits.take_locked(1) > 0
    }

    /// One permit came back to a closed stripe.
    pub(super) fn hand_on(&mut self, stripe: &Stripe) {
        // Who waited may be gone by now, and then it is free for all. Or it was taken under the lock.
        if self.state.is_idle() || stripe.take_locked(1) == 0 {
            return;
        }
        if self.state.owed > 0 {
            self.state.owed -= 1;
            return;
        }
        self.state.hand(1);
    }

    /// Takes from those whose time is over what they have.
    pub(super) fn expire(&mut self, now: Moment) {
        let State {
            queue, afterwards, ..
        } = &mut *self.state;
        let back = queue.expire(now, afterwards);
        if back > 0 {
            self.close();
            self.permits.add(back);
            self.serve();
        }
    }

    pub(super) fn join(&mut self, waker: Waker, until: Moment) -> Ticket {
        self.state.queue.join(waker, until)
    }

    /// Somebody who has a place looks, whose place is lost then. What was handed to it is its own even
    /// if that is late; else it may be that one before it is late.
    pub(super) fn fetch(
        &mut self,
        ticket: Ticket,
        waker: Waker,
        (now, until): (Moment, Moment),
    ) -> Fetched {
        let state = &mut *self.state;
        let spent = &mut state.afterwards;
        state.queue.came(ticket, waker, until, spent);
        let fetched = state.queue.fetch(ticket);
        if fetched != Fetched::Nothing || now <= state.queue.lapse {
            return fetched;
        }
        self.expire(now);
        self.state.queue.fetch(ticket)
    }

    #[must_use = "the permit must be given back"]
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        let state = &mut *self.state;
        state.queue.leave(ticket, &mut state.afterwards)
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.close();
        let state = &mut *self.state;
        self.permits.add(limit.saturating_sub(state.limit));
        state.owed += state.limit.saturating_sub(limit);
        state.limit = limit;
        self.serve();
    }

    /// Gives what is free to whom it is owed, and then to those who wait.
    fn serve(&mut self) {
        let state = &mut *self.state;
        state.owed -= self.permits.take_locked(state.owed);
        // What comes back from here on is owed first, if anything is.
        let turns = match state.owed {
            0 => self.permits.take_locked(state.queue.len()),
            _ => 0,
        };
        state.hand(turns);
    }

    fn close(&mut self) {
        if !self.state.closed {
            self.state.closed = true;
            self.permits.close();
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let state = &mut *self.state;
        let tell = |what: &AtomicU64, value: u64| what.store(value, Ordering::Release);
        tell(&self.told.limit, state.limit.into());
        tell(&self.told.owed, state.owed.into());
        tell(&self.told.waiting, state.queue.len().into());
        if let Some(aimd) = &state.aimd {
            tell(&self.told.round, aimd.round().0);
        }
        if state.lapse != state.queue.lapse {
            state.lapse = state.queue.lapse;
            tell(&self.told.lapse, state.lapse.as_nanos());
        }
        if state.closed && state.is_idle() {
            state.closed = false;
            self.permits.open();
        }
        self.afterwards = std::mem::take(&mut state.afterwards);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_is_open_again_when_nobody_waits_and_nothing_is_owed() {
        let permits = Permits::new(2, 2);
        let ledger = Ledger::new(2, None);
        assert!(permits.take().is_ok() && permits.take().is_ok());
        let mut locked = ledger.lock(&permits);
        assert!(!locked.take());
        let ticket = locked.join(Waker::noop().clone(), Moment::END);
        drop(locked);
        assert!(ledger.is_busy());
        assert!(permits.mine().give(), "closed for who waits");
        assert!(!ledger.lock(&permits).leave(ticket));
        assert!(!ledger.is_busy());
        assert!(permits.take().is_ok(), "open");

        ledger.lock(&permits).set_limit(1);
        assert!(ledger.is_busy());
        let stripe = permits.mine();
        assert!(stripe.give(), "closed while one is owed");
        ledger.lock(&permits).hand_on(stripe);
        assert_eq!(permits.free(), 0, "it was owed");
        assert!(!permits.mine().give(), "open");
        assert_eq!(permits.free(), 1);
    }
}
