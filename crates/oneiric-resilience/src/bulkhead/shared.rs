//! The one bulkhead behind all its handles: what a call touches, and what only a full one does.
//!
//! The stripes are closed exactly while somebody waits or the limit fell below what is out. All that
//! happens then happens under one lock, [`Locked`], which puts that right again when it is given up.

use std::ops::{Deref, DerefMut};
use std::task::Waker;
use std::time::Duration;

use super::aimd::{Aimd, Round, is_used};
use super::config::BulkheadConfig;
use super::permits::{Permits, Refused, Stripe};
use super::queue::{Queue, Ticket};
use super::shed::wait_for;
use crate::clock::{Clock, Moment};
use crate::error::{Rejected, Rejection};
use crate::invalid::InvalidConfig;
use crate::outcome::Outcome;
use crate::stripe::Padded;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

#[derive(Debug)]
pub(super) struct Shared<C> {
    pub(super) permits: Permits,
    /// Whether anything must be known of a call's beginning.
    watched: bool,
    /// Whether the average of hold times is kept.
    shed: bool,
    clock: C,
    full: Padded<Full>,
}

/// What only a full bulkhead looks at, or an adaptive one; on lines of its own.
#[derive(Debug)]
struct Full {
    adaptive: bool,
    wants_latency: bool,
    max_waiters: u32,
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
struct State {
    queue: Queue,
    limit: u32,
    /// Permits to be taken away as they come back, because the limit fell.
    owed: u32,
    closed: bool,
    aimd: Option<Aimd>,
}

impl State {
    /// Nobody waits and nothing is owed.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.owed == 0
    }
}

/// What is remembered of a call's beginning, where anything is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Admission {
    at: Moment,
    round: Round,
}

impl<C: Clock> Shared<C> {
    pub(super) fn new(config: &BulkheadConfig, clock: C) -> Result<Self, InvalidConfig> {
        config.checked()?;
        let limit = config.limit;
        let aimd = match config.adaptive {
            Some(adaptive) => Some(Aimd::new(adaptive, limit)?),
            None => None,
        };
        // A limit that adapts looks at all permits for every call; then they had better be in one place.
        let most_stripes = if aimd.is_some() { 1 } else { usize::MAX };
        Ok(Self {
            permits: Permits::new(limit, most_stripes),
            watched: config.shed || aimd.is_some(),
            shed: config.shed,
            clock,
            full: Padded::new(Full {
                adaptive: aimd.is_some(),
                wants_latency: aimd.as_ref().is_some_and(Aimd::wants_latency),
                max_waiters: config.max_waiters,
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
            }),
        })
    }

    /// Takes a permit or refuses; the answer is the stripe where it is best given back.
    #[inline]
    pub(super) fn try_enter(&self) -> Result<&Stripe, Rejected> {
        match self.permits.take() {
            Ok(stripe) => Ok(stripe),
            Err(refused) => self.refuse(refused),
        }
    }

    #[cold]
    fn refuse(&self, refused: Refused) -> Result<&Stripe, Rejected> {
        // Where it is closed, it is so for good if there is somebody it is closed for; else somebody is
        // only just looking, and the lock knows what comes of that.
        if refused == Refused::Closed && !self.is_busy() && self.lock().take() {
            return Ok(self.permits.mine());
        }
        Err(Rejected::new(Rejection::BulkheadFull, None))
    }

    /// Takes a permit, or a place in the queue. `remaining` is asked for the caller's time if it makes a
    /// difference.
    pub(super) fn enter(
        &self,
        waker: &Waker,
        remaining: impl FnOnce() -> Option<Duration>,
    ) -> Result<Option<Ticket>, Rejected> {
        if self.full.max_waiters == 0 {
            return self.try_enter().map(|_| None);
        }
        if self.permits.take().is_ok() {
            return Ok(None);
        }
        let queue_full = Err(Rejected::new(Rejection::QueueFull, None));
        if self.waiting() >= self.full.max_waiters {
            return queue_full;
        }
        let remaining = if self.shed { remaining() } else { None };
        // Foreign code: not under the lock, and outlives it.
        let waker = waker.clone();
        let mut locked = self.lock();
        if locked.take() {
            return Ok(None);
        }
        if locked.queue.len() >= self.full.max_waiters {
            return queue_full;
        }
        let before = u64::from(locked.queue.len()) + u64::from(locked.owed);
        if remaining.is_some_and(|time| self.wait_behind(before, locked.limit) > Some(time)) {
            return Err(Rejected::new(Rejection::DeadlineTooNear, None));
        }
        Ok(Some(locked.queue.join(waker)))
    }

    /// Fetches the permit that was handed to a place; false if none was yet.
    pub(super) fn fetch(&self, ticket: Ticket, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut locked = self.lock();
        let fetched = locked.queue.fetch(ticket);
        let old = (!fetched).then(|| locked.queue.renew(ticket, waker));
        drop(locked);
        drop(old);
        fetched
    }

    /// Gives a place up. A permit that was handed to it goes to the next.
    pub(super) fn give_up(&self, ticket: Ticket) {
        // The waker is foreign code, and goes when the lock is free.
        let waker = self.lock().queue.leave(ticket);
        if waker.is_none() {
            self.give(self.permits.mine());
        }
    }

    /// What must be remembered of a call that begins now.
    #[inline]
    pub(super) fn admission(&self) -> Admission {
        if self.watched {
            self.watch()
        } else {
            Admission::default()
        }
    }

    fn watch(&self) -> Admission {
        let timed = self.shed || self.full.wants_latency;
        Admission {
            at: if timed {
                self.clock.now()
            } else {
                Moment::ORIGIN
            },
            round: Round(self.full.told.round.load(Ordering::Acquire)),
        }
    }

    /// A call ended; its permit is still out.
    pub(super) fn learn(&self, admission: Admission, outcome: Outcome) {
        if !self.full.adaptive || matches!(outcome, Outcome::Permanent | Outcome::Ignored) {
            return;
        }
        let wants_latency = self.full.wants_latency;
        let latency = wants_latency.then(|| self.clock.now().since(admission.at));
        let in_flight = self.in_flight();
        if outcome == Outcome::Success && !wants_latency && !is_used(in_flight, self.limit()) {
            return;
        }
        let mut locked = self.lock();
        let limit = locked.limit;
        let Some(aimd) = &mut locked.aimd else {
            return;
        };
        aimd.record(admission.round, in_flight, outcome, latency);
        let next = aimd.limit();
        let wakers = if next == limit {
            Vec::new()
        } else {
            locked.set_limit(next)
        };
        drop(locked);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Gives the permit of a call back.
    #[inline]
    pub(super) fn leave(&self, stripe: &Stripe, admission: Admission) {
        if self.shed {
            stripe.held.record(self.clock.now().since(admission.at));
        }
        self.give(stripe);
    }

    #[inline]
    fn give(&self, stripe: &Stripe) {
        if stripe.give() {
            self.hand_on(stripe);
        }
    }

    /// Hands a permit on that came back to a closed stripe.
    #[cold]
    fn hand_on(&self, stripe: &Stripe) {
        let waker = self.lock().hand_on(stripe);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Changes the limit now; an adaptive one goes on from there, within its bounds.
    pub(super) fn set_limit(&self, limit: u32) {
        let mut locked = self.lock();
        let limit = match &mut locked.aimd {
            Some(aimd) => {
                aimd.set_limit(limit);
                aimd.limit()
            }
            None => limit,
        };
        let wakers = locked.set_limit(limit);
        drop(locked);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn limit(&self) -> u32 {
        narrow(self.full.told.limit.load(Ordering::Acquire))
    }

    pub(super) fn waiting(&self) -> u32 {
        narrow(self.full.told.waiting.load(Ordering::Acquire))
    }

    pub(super) fn in_flight(&self) -> u32 {
        let Told { limit, owed, .. } = &self.full.told;
        let issued = limit.load(Ordering::Acquire) + owed.load(Ordering::Acquire);
        narrow(issued.saturating_sub(self.permits.free()))
    }

    /// How long a new caller would wait behind all that wait now.
    pub(super) fn expected_wait(&self) -> Option<Duration> {
        let owed = self.full.told.owed.load(Ordering::Acquire);
        self.wait_behind(u64::from(self.waiting()) + owed, self.limit())
    }

    pub(super) fn hold_time(&self) -> Option<Duration> {
        self.permits.held()
    }

    fn wait_behind(&self, before: u64, limit: u32) -> Option<Duration> {
        Some(wait_for(before + 1, self.hold_time()?, limit))
    }

    fn is_busy(&self) -> bool {
        let Told { owed, waiting, .. } = &self.full.told;
        owed.load(Ordering::Acquire) > 0 || waiting.load(Ordering::Acquire) > 0
    }

    fn lock(&self) -> Locked<'_> {
        Locked {
            state: lock(&self.full.state),
            permits: &self.permits,
            told: &self.full.told,
        }
    }
}

/// The state, while nobody else changes it. What is true of it is told when it is given up.
struct Locked<'a> {
    state: MutexGuard<'a, State>,
    permits: &'a Permits,
    told: &'a Told,
}

impl Locked<'_> {
    /// Takes a permit if one is free for a newcomer. Where it says no, at one moment none was.
    fn take(&mut self) -> bool {
        // While all are closed, permits only come back: what is empty now was so when the last closed.
        self.close();
        self.state.is_idle() && self.permits.take_locked()
    }

    /// One permit came back to a closed stripe; gives back whom to wake.
    fn hand_on(&mut self, stripe: &Stripe) -> Option<Waker> {
        // Who waited may be gone by now, and then it is free for all. Or it was taken under the lock.
        if self.state.is_idle() || !stripe.take_locked() {
            return None;
        }
        if self.state.owed > 0 {
            self.state.owed -= 1;
            return None;
        }
        self.state.queue.hand()
    }

    /// Gives back whom to wake.
    fn set_limit(&mut self, limit: u32) -> Vec<Waker> {
        self.close();
        let State {
            limit: was, owed, ..
        } = &mut *self.state;
        let more = limit.saturating_sub(*was);
        let forgiven = more.min(*owed);
        *owed = *owed - forgiven + was.saturating_sub(limit);
        *was = limit;
        self.permits.add(more - forgiven);
        while *owed > 0 && self.permits.take_locked() {
            *owed -= 1;
        }
        let mut wakers = Vec::new();
        while self.state.owed == 0 && !self.state.queue.is_empty() && self.permits.take_locked() {
            wakers.extend(self.state.queue.hand());
        }
        wakers
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

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
