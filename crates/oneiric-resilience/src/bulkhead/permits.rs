//! Permits that threads take and give back without fighting over one line.
//!
//! # Where permits are
//! Each stripe holds some. A thread takes from its own stripe, and only when that is empty from the
//! others. A permit is in one stripe or out, never in two, so no more are out than there are.
//!
//! # Why nobody is refused while one is free
//! That each stripe was empty when it was looked at does not mean that all were empty at once: a
//! permit given back behind the one who looks, before one ahead of it is taken, is never seen. So a
//! stripe counts what was given back to it. Who finds all of them empty looks at all of them again;
//! if the counts are the same, nothing came back in between, and there was a moment without a permit.
//!
//! # Why nobody sleeps while one is free
//! Whether somebody waits (or the limit fell) stands in the same word as the permits: the stripe is
//! closed. All that happens to one word is in one order. So a permit that comes back either came
//! before its stripe was closed, and the one who closed it sees the permit; or after, and the one who
//! gave it back sees that it is closed, and hands it on. No fence is needed, and one step does both.

use std::time::Duration;

use super::shed::HoldTime;
use crate::stripe::Striped;
use crate::sync::{AtomicU64, Ordering};

/// More permits than this are no limit.
pub(super) const MOST: u32 = 1_000_000;

/// The low bits: how many permits are free here.
const FREE: u64 = (1 << 24) - 1;
/// Only who holds the queue's lock may take.
const CLOSED: u64 = 1 << 24;
/// The high bits count what came back; 39 of them wrap after months of nothing else.
const RETURNS: u32 = 25;
/// One more came back, and is free.
const GIVEN: u64 = (1 << RETURNS) + 1;

const _: () = assert!(MOST as u64 <= FREE);

/// Some of the permits.
#[derive(Debug)]
pub(super) struct Stripe {
    word: AtomicU64,
    /// How long permits are out that come back here.
    pub(super) held: HoldTime,
}

/// Why a stripe gave no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// None is free. So many came back to it until now.
    Empty(u64),
    /// It is closed, whether or not one is free.
    Closed,
}

impl Stripe {
    fn new(free: u32) -> Self {
        Self {
            word: AtomicU64::new(u64::from(free)),
            held: HoldTime::default(),
        }
    }

    #[inline]
    fn take(&self) -> Result<(), Refused> {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if word & FREE == 0 {
                return Err(Refused::Empty(word >> RETURNS));
            }
            match self.exchange(word, word - 1) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes as many as are free here, closed or not, and `most` at most. For who holds the queue's lock.
    pub(super) fn take_locked(&self, most: u32) -> u32 {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let taken = (word & FREE).min(most.into());
            if taken == 0 {
                return 0;
            }
            match self.exchange(word, word - taken) {
                Ok(()) => return narrow(taken),
                Err(now) => word = now,
            }
        }
    }

    /// Gives a permit back. True if the stripe is closed: then somebody may wait for it, and the
    /// caller must see to that.
    #[inline]
    #[must_use = "a permit given to a closed stripe must be handed on"]
    pub(super) fn give(&self) -> bool {
        self.word.fetch_add(GIVEN, Ordering::AcqRel) & CLOSED != 0
    }

    #[inline]
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.word
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    fn free(&self) -> u64 {
        self.word.load(Ordering::Acquire) & FREE
    }
}

/// All permits that are not out.
#[derive(Debug)]
pub(super) struct Permits {
    stripes: Striped<Stripe>,
}

impl Permits {
    /// So many, in no more stripes than that: one that never holds any would be looked at in vain.
    pub(super) fn new(limit: u32, most_stripes: usize) -> Self {
        let limit_stripes = usize::try_from(limit).unwrap_or(usize::MAX);
        let stripes = Striped::at_most(most_stripes.min(limit_stripes), || Stripe::new(0));
        let permits = Self { stripes };
        permits.share_out(limit, |stripe, share| {
            stripe.word.store(u64::from(share), Ordering::Release);
        });
        permits
    }

    /// The calling thread's stripe.
    #[inline]
    pub(super) fn mine(&self) -> &Stripe {
        self.stripes.mine()
    }

    /// Takes a permit; the answer is where from.
    ///
    /// # Errors
    /// [`Refused::Empty`]: at one moment of the call, none was free. [`Refused::Closed`]: that cannot
    /// be told without the queue's lock.
    #[inline]
    pub(super) fn take(&self) -> Result<&Stripe, Refused> {
        let mine = self.stripes.mine();
        match mine.take() {
            Ok(()) => Ok(mine),
            Err(Refused::Closed) => Err(Refused::Closed),
            Err(Refused::Empty(_)) if self.stripes.len() == 1 => Err(Refused::Empty(0)),
            Err(Refused::Empty(_)) => self.take_from_others(),
        }
    }

    #[cold]
    fn take_from_others(&self) -> Result<&Stripe, Refused> {
        let mut before = None;
        loop {
            // Counts only grow, so equal sums are equal counts.
            let mut returns = 0_u64;
            for stripe in self.stripes.from_mine() {
                match stripe.take() {
                    Ok(()) => return Ok(stripe),
                    Err(Refused::Closed) => return Err(Refused::Closed),
                    Err(Refused::Empty(here)) => returns = returns.wrapping_add(here),
                }
            }
            if before == Some(returns) {
                return Err(Refused::Empty(returns));
            }
            before = Some(returns);
        }
    }

    /// From here on only who holds the queue's lock takes. Called with the lock held.
    pub(super) fn close(&self) {
        for stripe in self.stripes.iter() {
            stripe.word.fetch_or(CLOSED, Ordering::AcqRel);
        }
    }

    /// Everybody may take again. Called with the queue's lock held.
    pub(super) fn open(&self) {
        for stripe in self.stripes.iter() {
            stripe.word.fetch_and(!CLOSED, Ordering::AcqRel);
        }
    }

    /// Takes as many as are free, closed or not, and `most` at most. Called with the queue's lock held.
    pub(super) fn take_locked(&self, most: u32) -> u32 {
        let stripes = self.stripes.from_mine();
        stripes.fold(0, |taken, stripe| taken + stripe.take_locked(most - taken))
    }

    /// Adds new ones, evenly. Called with the queue's lock held and the stripes closed.
    pub(super) fn add(&self, permits: u32) {
        self.share_out(permits, |stripe, share| {
            let given = (u64::from(share) << RETURNS) + u64::from(share);
            stripe.word.fetch_add(given, Ordering::AcqRel);
        });
    }

    /// How many are free, counted stripe by stripe: exact while nobody comes or goes.
    pub(super) fn free(&self) -> u32 {
        narrow(self.stripes.iter().map(Stripe::free).sum())
    }

    /// How long a permit is out, on average over the stripes that know.
    pub(super) fn held(&self) -> Option<Duration> {
        HoldTime::average(self.stripes.iter().map(|stripe| &stripe.held))
    }

    fn share_out(&self, permits: u32, mut to: impl FnMut(&Stripe, u32)) {
        let stripes = u32::try_from(self.stripes.len()).unwrap_or(1);
        for (at, stripe) in (0..stripes).zip(self.stripes.iter()) {
            to(
                stripe,
                permits / stripes + u32::from(at < permits % stripes),
            );
        }
    }
}

/// All numbers of permits and of those who wait for one were one of these before.
pub(super) fn narrow(permits: u64) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}

#[cfg(all(test, oneiric_loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// Permits move behind the back of one who looks, from the stripe that is still to be looked at to the
    /// one that was looked at already; twice, so that looking twice does not help by itself.
    #[test]
    fn nobody_is_refused_while_a_permit_moves() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(7);
        model.check(|| {
            let permits = Arc::new(Permits::new(2, 2));
            let mine = permits.take().unwrap();
            assert_eq!(mine.free(), 0);
            let other = thread::spawn({
                let permits = Arc::clone(&permits);
                move || {
                    let mut stripes = permits.stripes.iter();
                    let (first, second) = (stripes.next().unwrap(), stripes.next().unwrap());
                    for (to, from) in [(first, second), (second, first), (first, second)] {
                        assert!(!to.give(), "nobody waits");
                        // Who looks may have found the one here.
                        assert!(from.take().or_else(|_| to.take()).is_ok());
                    }
                }
            });
            assert!(permits.take().is_ok(), "there was one all the time");
            other.join().unwrap();
            assert!(matches!(permits.take(), Err(Refused::Empty(_))));
        });
    }
}
