//! One place of the table: whose it is, and the tick at which that key's bucket will be full.
//!
//! A bucket that is full is as good as none, so the place of one may be given to another key. Nobody
//! may take from a bucket that is not his, nor from one that is given away under his hands. Both follow
//! from one thing: the word of a place never comes again. Taking moves it on; whoever gives the place
//! away first closes it and then opens it with a later word. So whoever reads the word, then whose it
//! is, and then exchanges that very word for another, has found all three unchanged.

use crate::bucket::gcra::Terms;
use crate::bucket::meter::Pauses;
use crate::sync::{AtomicU64, Ordering};

/// The word of a place that is being given away. No tick is that late: those end near 2^63.
const CLOSED: u64 = u64::MAX;

/// Whose a place is that is no one's.
pub(super) const NOBODY: u64 = 0;

/// What comes of asking a key's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Taken,
    /// There is enough after so many ticks.
    Later(u64),
    /// The place is not the key's, or not any more.
    Gone,
}

/// A place, wherever its two parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) owner: &'a AtomicU64,
    pub(super) word: &'a AtomicU64,
}

/// A place that is closed, by whoever has this. It stays so until it is opened.
#[must_use]
pub(super) struct Closed<'a> {
    slot: Slot<'a>,
    before: u64,
}

enum Once {
    Taken,
    Lost(u64),
    Short(u64),
    Gone,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn is_of(self, owner: u64) -> bool {
        self.owner.load(Ordering::Acquire) == owner
    }

    /// Takes what is more than 0 and no more than `terms.span`.
    #[inline]
    pub(super) fn take(self, owner: u64, cost: u64, terms: Terms, tick: u64) -> Asked {
        let word = self.word.load(Ordering::Acquire);
        match self.take_once(owner, word, cost, terms, tick) {
            Once::Taken => Asked::Taken,
            Once::Lost(seen) => self.take_from(owner, seen, cost, terms, tick),
            Once::Short(wait) => Asked::Later(wait),
            Once::Gone => Asked::Gone,
        }
    }

    #[inline]
    fn take_once(self, owner: u64, word: u64, cost: u64, terms: Terms, tick: u64) -> Once {
        if !self.is_of(owner) {
            return Once::Gone;
        }
        // What is closed is never enough: no span is that long.
        let wait = terms.wait(word.saturating_sub(tick), cost);
        if wait > 0 {
            return if word == CLOSED {
                Once::Gone
            } else {
                Once::Short(wait)
            };
        }
        let next = word.max(tick).wrapping_add(cost);
        match self
            .word
            .compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Once::Taken,
            Err(seen) => Once::Lost(seen),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_from(self, owner: u64, seen: u64, cost: u64, terms: Terms, tick: u64) -> Asked {
        let (mut word, mut pauses) = (seen, Pauses::default());
        loop {
            pauses.pause();
            match self.take_once(owner, word, cost, terms, tick) {
                Once::Taken => return Asked::Taken,
                Once::Lost(seen) => word = seen,
                Once::Short(wait) => return Asked::Later(wait),
                Once::Gone => return Asked::Gone,
            }
        }
    }

    /// How long until the key's bucket is full; nothing if the place is not the key's.
    pub(super) fn ahead(self, owner: u64, tick: u64) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire);
        let of = self.is_of(owner) && word != CLOSED;
        of.then_some(word.saturating_sub(tick))
    }

    /// Closes the place if it is no one's.
    pub(super) fn close_if_free(self) -> Option<Closed<'a>> {
        let word = self.word.load(Ordering::Acquire);
        if word == CLOSED || !self.is_of(NOBODY) {
            return None;
        }
        self.close(word)
    }

    /// Closes the place if it is someone's and the bucket is full. Otherwise says when it will be.
    pub(super) fn close_if_idle(self, tick: u64) -> Result<Closed<'a>, u64> {
        let word = self.word.load(Ordering::Acquire);
        if word > tick || self.is_of(NOBODY) {
            return Err(word);
        }
        self.close(word).ok_or(word)
    }

    fn close(self, word: u64) -> Option<Closed<'a>> {
        let exchanged =
            self.word
                .compare_exchange(word, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok().then_some(Closed {
            slot: self,
            before: word,
        })
    }
}

impl Closed<'_> {
    /// Opens it for a key, with a bucket that was full at a tick and from which `cost` was taken then.
    pub(super) fn open_for(self, owner: u64, tick: u64, cost: u64) {
        // Later than before even if that was written by somebody whose clock was read later.
        let later = self.before.saturating_add(1);
        self.open(owner, tick.saturating_add(cost).max(later));
    }

    /// Opens it for whoever comes.
    pub(super) fn open_for_anyone(self) {
        let later = self.before.saturating_add(1);
        self.open(NOBODY, later);
    }

    fn open(&self, owner: u64, word: u64) {
        self.slot.owner.store(owner, Ordering::Release);
        self.slot.word.store(word, Ordering::Release);
    }
}
