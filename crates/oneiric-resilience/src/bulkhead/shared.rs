//! The one bulkhead behind all its handles: the way in and the way out, and what is learnt on it.

use std::task::Waker;
use std::time::Duration;

use super::aimd::{Aimd, Round, is_used};
use super::config::BulkheadConfig;
use super::ledger::{Ledger, Locked};
use super::permits::{Permits, Refused, Stripe};
use super::queue::{Fetched, Ticket};
use super::shed::wait_for;
use crate::clock::{Clock, Moment};
use crate::error::{Rejected, Rejection};
use crate::invalid::InvalidConfig;
use crate::outcome::Outcome;
use crate::stripe::{Count, Padded};
use crate::wake::LATE;

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
    latency_above: Option<Duration>,
    max_waiters: u32,
    ledger: Ledger,
    /// Callers that were refused.
    rejected: Count,
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
                latency_above: config.adaptive.and_then(|adaptive| adaptive.latency_above),
                max_waiters: config.max_waiters,
                ledger: Ledger::new(limit, aimd),
                rejected: Count::new(),
            }),
        })
    }

    /// Takes a permit or refuses; the answer is the stripe where it is best given back. A refusal is counted
    /// only if the caller takes it for the last word.
    #[inline]
    pub(super) fn try_enter(&self, counted: bool) -> Result<&Stripe, Rejected> {
        match self.permits.take() {
            Ok(stripe) => Ok(stripe),
            Err(refused) => self.refuse(refused, counted),
        }
    }

    #[cold]
    fn refuse(&self, refused: Refused, counted: bool) -> Result<&Stripe, Rejected> {
        // Where it is closed, it is so for good if there is somebody it is closed for; else somebody is
        // only just looking, and the lock knows what comes of that. Or somebody did not come for what it
        // waited for.
        let looking = refused == Refused::Closed && !self.full.ledger.is_busy();
        if (looking || self.is_lapsed()) && self.lock_now().take() {
            return Ok(self.permits.mine());
        }
        if counted {
            self.count_refusal();
        }
        Err(Rejected::new(Rejection::BulkheadFull, None))
    }

    /// Takes a permit, or a place in the queue, which is lost if nobody comes for it once the caller's
    /// time is over. `remaining` is asked for that if the caller has to wait. Counts no refusal.
    pub(super) fn enter(
        &self,
        waker: &Waker,
        remaining: impl FnOnce() -> Option<Duration>,
    ) -> Result<Option<Ticket>, Rejected> {
        if self.full.max_waiters == 0 {
            return self.try_enter(false).map(|_| None);
        }
        if self.permits.take().is_ok() {
            return Ok(None);
        }
        let queue_full = Err(Rejected::new(Rejection::QueueFull, None));
        if self.waiting() >= self.full.max_waiters && !self.is_lapsed() {
            return queue_full;
        }
        let remaining = remaining();
        let (_, until) = self.until(remaining);
        // Foreign code: not under the lock, and outlives it.
        let waker = waker.clone();
        let mut locked = self.lock_now();
        if locked.take() {
            return Ok(None);
        }
        if locked.queue.len() >= self.full.max_waiters {
            return queue_full;
        }
        let wait = || self.wait_behind(locked.queue.len(), locked.owed, locked.limit);
        if self.shed && remaining.is_some_and(|time| wait() > Some(time)) {
            return Err(Rejected::new(Rejection::DeadlineTooNear, None));
        }
        Ok(Some(locked.join(waker, until)))
    }

    /// Fetches the permit that was handed to a place, if one was, or that one before it did not come
    /// for. Late, but before anybody else has come since, is in time.
    pub(super) fn fetch(
        &self,
        ticket: Ticket,
        waker: &Waker,
        remaining: Option<Duration>,
    ) -> Fetched {
        let waker = waker.clone();
        let until = self.until(remaining);
        self.lock().fetch(ticket, waker, until)
    }

    /// The time, and when a place is lost for which there is so much left. It is the end of time where
    /// there is no limit; and not asked for where nobody has one.
    fn until(&self, remaining: Option<Duration>) -> (Moment, Moment) {
        match remaining {
            Some(time) => {
                let now = self.clock.now();
                (now, now.after(time).after(LATE))
            }
            None => (self.now_if_lapsing().unwrap_or_default(), Moment::END),
        }
    }

    /// How long until somebody may have lost what it has in the queue, if ever.
    #[cfg(feature = "tokio")]
    pub(super) fn lapses_in(&self) -> Option<Duration> {
        let now = self.now_if_lapsing()?;
        let lapse = self.full.ledger.lapse();
        Some(lapse.since(now) + Duration::from_nanos(1))
    }

    /// Gives a place up. A permit that was handed to it goes to the next.
    pub(super) fn give_up(&self, ticket: Ticket) {
        let handed = self.lock().leave(ticket);
        if handed {
            self.give(self.permits.mine());
        }
    }

    /// What must be remembered of a call that begins now, whose permit is out. If the clock panics the
    /// permit goes back to `stripe`.
    #[inline]
    pub(super) fn admission(&self, stripe: &Stripe) -> Admission {
        if self.watched {
            self.watch(stripe)
        } else {
            Admission::default()
        }
    }

    fn watch(&self, stripe: &Stripe) -> Admission {
        let timed = self.shed || self.full.latency_above.is_some();
        Admission {
            at: if timed {
                let unowned = Unowned {
                    shared: self,
                    stripe,
                };
                let now = self.clock.now();
                std::mem::forget(unowned);
                now
            } else {
                Moment::ORIGIN
            },
            round: self.full.ledger.round(),
        }
    }

    /// A call ended; its permit is still out.
    pub(super) fn learn(&self, admission: Admission, outcome: Outcome) {
        if !self.full.adaptive || matches!(outcome, Outcome::Permanent | Outcome::Ignored) {
            return;
        }
        let above = self.full.latency_above;
        let latency = above.map(|_| self.clock.now().since(admission.at));
        let in_flight = self.in_flight();
        // Most calls change nothing; those need no lock.
        if outcome == Outcome::Success && latency <= above && !is_used(in_flight, self.limit()) {
            return;
        }
        let mut locked = self.lock_now();
        let limit = locked.limit;
        let Some(aimd) = &mut locked.aimd else {
            return;
        };
        aimd.record(admission.round, in_flight, outcome, latency);
        let next = aimd.limit();
        if next != limit {
            locked.set_limit(next);
        }
    }

    /// Gives the permit of a call back.
    #[inline]
    pub(super) fn leave(&self, stripe: &Stripe, admission: Admission) {
        // First: a clock may panic.
        self.give(stripe);
        if self.shed {
            stripe.held.record(self.clock.now().since(admission.at));
        }
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
        // At once: a clock may panic, and the permit would be nobody's. If it goes to somebody whose time
        // is over it comes back.
        self.lock().hand_on(stripe);
        if self.full.ledger.lapse() != Moment::END {
            drop(self.lock_now());
        }
    }

    /// Changes the limit now; an adaptive one goes on from there, within its bounds.
    pub(super) fn set_limit(&self, limit: u32) {
        let mut locked = self.lock_now();
        let limit = match &mut locked.aimd {
            Some(aimd) => {
                aimd.set_limit(limit);
                aimd.limit()
            }
            None => limit,
        };
        locked.set_limit(limit);
    }

    pub(super) fn limit(&self) -> u32 {
        self.full.ledger.limit()
    }

    pub(super) fn waiting(&self) -> u32 {
        self.full.ledger.waiting()
    }

    pub(super) fn in_flight(&self) -> u32 {
        let ledger = &self.full.ledger;
        let issued = ledger.limit().saturating_add(ledger.owed());
        issued.saturating_sub(self.permits.free())
    }

    /// A refusal was the last word.
    #[cold]
    pub(super) fn count_refusal(&self) {
        self.full.rejected.one_more();
    }

    /// How many callers were refused, ever.
    pub(super) fn rejected(&self) -> u64 {
        self.full.rejected.so_far()
    }

    /// How long a new caller would wait behind all that wait now.
    pub(super) fn expected_wait(&self) -> Option<Duration> {
        let owed = self.full.ledger.owed();
        self.wait_behind(self.waiting(), owed, self.limit())
    }

    pub(super) fn hold_time(&self) -> Option<Duration> {
        self.permits.held()
    }

    fn wait_behind(&self, waiting: u32, owed: u32, limit: u32) -> Option<Duration> {
        let permits = u64::from(waiting) + u64::from(owed) + 1;
        Some(wait_for(permits, self.hold_time()?, limit))
    }

    /// Whether somebody may have lost what it has in the queue.
    fn is_lapsed(&self) -> bool {
        let now = self.now_if_lapsing();
        now.is_some_and(|now| now > self.full.ledger.lapse())
    }

    /// The time, where anybody can lose what it has in the queue.
    fn now_if_lapsing(&self) -> Option<Moment> {
        let lapsing = self.full.ledger.lapse() != Moment::END;
        lapsing.then(|| self.clock.now())
    }

    /// With the lock, and without those who did not come in time.
    fn lock_now(&self) -> Locked<'_> {
        // Foreign code: not under the lock. Whose time begins meanwhile cannot be over.
        let now = self.now_if_lapsing();
        let mut locked = self.lock();
        if let Some(now) = now {
            locked.expire(now);
        }
        locked
    }

    fn lock(&self) -> Locked<'_> {
        self.full.ledger.lock(&self.permits)
    }
}

/// A permit that is out and has no owner yet.
struct Unowned<'a, C: Clock> {
    shared: &'a Shared<C>,
    stripe: &'a Stripe,
}

impl<C: Clock> Drop for Unowned<'_, C> {
    fn drop(&mut self) {
        // The clock has just panicked: it is not asked again who has come too late.
        if self.stripe.give() {
            self.shared.lock().hand_on(self.stripe);
        }
    }
}
