//! What only a full bulkhead needs: who waits, what is owed, and the one lock under which that changes.
//!
//! The stripes are closed exactly while somebody waits or the limit fell below what is out. All that
//! happens then happens under the lock, and [`Locked`] puts that right again when it is given up.

use std::ops::{Deref, DerefMut};
use std::task::Waker;

use super::aimd::{Aimd, Round};
use super::permits::{Permits, Stripe};
use super::queue::Queue;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

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
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) limit: u32,
    /// Permits to be taken away as they come back, because the limit fell.
    pub(super) owed: u32,
    closed: bool,
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
            },
            state: Mutex::new(State {
                queue: Queue::default(),
                limit,
                owed: 0,
                closed: false,
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

    /// Whether a newcomer has no right to a permit, free or not.
    pub(super) fn is_busy(&self) -> bool {
        self.owed() > 0 || self.waiting() > 0
    }

    pub(super) fn lock<'a>(&'a self, permits: &'a Permits) -> Locked<'a> {
        Locked {
            state: lock(&self.state),
            permits,
            told: &self.told,
        }
    }
}

/// All that is told was one of these before.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl State {
    /// Nobody waits and nothing is owed.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.owed == 0
    }
}

/// The state, while nobody else changes it. What is true of it is told when it is given up.
pub(super) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    permits: &'a Permits,
    told: &'a Told,
}

impl Locked<'_> {
    /// Takes a permit if one is free for a newcomer. Where it says no, at one moment none was.
    pub(super) fn take(&mut self) -> bool {
        // While all are closed, permits only come back: what is empty now was so when the last closed.
        self.close();
        self.state.is_idle() && self.permits.take_locked(1) > 0
    }

    /// One permit came back to a closed stripe; gives back whom to wake.
    pub(super) fn hand_on(&mut self, stripe: &Stripe) -> Option<Waker> {
        // Who waited may be gone by now, and then it is free for all. Or it was taken under the lock.
        if self.state.is_idle() || stripe.take_locked(1) == 0 {
            return None;
        }
        if self.state.owed > 0 {
            self.state.owed -= 1;
            return None;
        }
        self.state.queue.hand()
    }

    /// Gives back whom to wake.
    pub(super) fn set_limit(&mut self, limit: u32) -> Vec<Waker> {
        self.close();
        let state = &mut *self.state;
        self.permits.add(limit.saturating_sub(state.limit));
        state.owed += state.limit.saturating_sub(limit);
        state.limit = limit;
        state.owed -= self.permits.take_locked(state.owed);
        // What comes back from here on is owed first, if anything is.
        let turns = match state.owed {
            0 => self.permits.take_locked(state.queue.len()),
            _ => 0,
        };
        (0..turns).filter_map(|_| state.queue.hand()).collect()
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
        if state.closed && state.is_idle() {
            state.closed = false;
            self.permits.open();
        }
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
        let ticket = locked.queue.join(Waker::noop().clone());
        drop(locked);
        assert!(ledger.is_busy());
        assert!(permits.mine().give(), "closed for who waits");
        ledger.lock(&permits).queue.leave(ticket);
        assert!(!ledger.is_busy());
        assert!(permits.take().is_ok(), "open");

        ledger.lock(&permits).set_limit(1);
        assert!(ledger.is_busy());
        let stripe = permits.mine();
        assert!(stripe.give(), "closed while one is owed");
        assert!(ledger.lock(&permits).hand_on(stripe).is_none());
        assert!(!permits.mine().give(), "open");
        assert_eq!(permits.free(), 1);
    }
}
