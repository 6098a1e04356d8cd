//! Who waits, in the order in which they came. A list of wakers and nothing else: who changes it
//! holds the lock, and wakes when the lock is free again.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::task::Waker;

use crate::clock::Moment;
use crate::wake::{Afterwards, LATE};

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Somebody without a permit.
#[derive(Debug)]
struct Place {
    /// Nothing once it was woken, until it looks.
    waker: Option<Waker>,
    /// When it is lost.
    until: Moment,
}

/// What a place has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    Permit,
    /// None yet.
    Nothing,
    /// Its time was over, and others have come since.
    Lost,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: BTreeMap<Ticket, Place>,
    /// A permit is theirs, and they have not fetched it yet. It is lost when their places would be.
    handed: BTreeMap<Ticket, Moment>,
    /// No later than the first moment after which one of them is lost.
    pub(super) lapse: Moment,
    next: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            handed: BTreeMap::new(),
            lapse: Moment::END,
            next: 0,
        }
    }
}

impl Queue {
    /// A place that is lost after a moment; at the end of time, never.
    pub(super) fn join(&mut self, waker: Waker, until: Moment) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let waker = Some(waker);
        self.waiting.insert(ticket, Place { waker, until });
        self.lapse = self.lapse.min(until);
        ticket
    }

    /// How many wait without a permit.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first has a permit now, and is to be woken.
    pub(super) fn hand(&mut self, afterwards: &mut Afterwards) {
        if let Some((ticket, place)) = self.waiting.pop_first() {
            self.handed.insert(ticket, place.until);
            afterwards.woken.extend(place.waker);
        }
    }

    /// Takes from those whose time is over what they have, and says how many permits that is.
    pub(super) fn expire(&mut self, now: Moment, afterwards: &mut Afterwards) -> u32 {
        if now <= self.lapse {
            return 0;
        }
        let mut lapse = Moment::END;
        let mut stays = |until: Moment| {
            let stays = now <= until;
            if stays {
                lapse = lapse.min(until);
            }
            stays
        };
        let before = self.handed.len();
        self.handed.retain(|_, until| stays(*until));
        let back = before - self.handed.len();
        let lost = self.waiting.extract_if(.., |_, place| !stays(place.until));
        let wakers = lost.filter_map(|(_, place)| place.waker);
        afterwards.woken.extend(wakers);
        self.lapse = lapse;
        u32::try_from(back).unwrap_or(u32::MAX)
    }

    /// Fetches the permit that was handed to a place, if one was.
    pub(super) fn fetch(&mut self, ticket: Ticket) -> Fetched {
        if self.waiting.contains_key(&ticket) {
            return Fetched::Nothing;
        }
        let fetched = match self.handed.remove(&ticket) {
            Some(_) => Fetched::Permit,
            None => Fetched::Lost,
        };
        self.forget();
        fetched
    }

    /// Somebody who waits looks, who is to be woken by this from now on, and whose place is lost then.
    pub(super) fn came(
        &mut self,
        ticket: Ticket,
        waker: Waker,
        until: Moment,
        afterwards: &mut Afterwards,
    ) {
        let Some(place) = self.waiting.get_mut(&ticket) else {
            return afterwards.spent.push(waker);
        };
        afterwards.spent.extend(place.waker.replace(waker));
        let before = std::mem::replace(&mut place.until, until);
        self.lapse = self.lapse.min(until);
        // Those behind it that set a timer sleep until the old limit: they are woken to see the new, earlier one.
        if until.after(LATE) < before {
            let behind = self.waiting.range_mut((Excluded(ticket), Unbounded));
            let look = behind.filter(|(_, place)| place.until != Moment::END);
            let wakers = look.filter_map(|(_, place)| place.waker.take());
            afterwards.woken.extend(wakers);
        }
    }

    /// Gives a place up. True if a permit was handed to it that was not fetched: then the caller has it.
    #[must_use = "the permit must be given back"]
    pub(super) fn leave(&mut self, ticket: Ticket, afterwards: &mut Afterwards) -> bool {
        let gone = self.waiting.remove(&ticket);
        let waker = gone.and_then(|place| place.waker);
        afterwards.spent.extend(waker);
        let handed = self.handed.remove(&ticket).is_some();
        self.forget();
        handed
    }

    /// Where there is nobody, nobody can lose anything.
    fn forget(&mut self) {
        if self.waiting.is_empty() && self.handed.is_empty() {
            self.lapse = Moment::END;
        }
    }
}
