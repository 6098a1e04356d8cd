//! The bucket's one word, and how its terms change under the hands of those who take.
//!
//! Whoever takes reads the word, then the terms, and exchanges the word for a later one if it still is
//! what it was. That the terms belong to the word needs no second look: a change first replaces the
//! word by one from which nobody can take (`frozen`), then writes the terms, then a word that has not
//! been there under any terms before. To that end words count from a `base` of their own, which each
//! change moves so that its words begin above all earlier ones. So an exchange that succeeds found the
//! word, and with it the terms, that it had read.

use crate::sync::{AtomicU64, Ordering};

use super::gcra::Terms;

/// How far ahead the word is while the terms change: four times as far as it can be otherwise.
const FROZEN: u64 = 1 << 62;
/// What lies between that and anything else, whichever terms are read.
const THAWED: u64 = 1 << 61;

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It can never be paid.
    Never,
    /// It can be paid after so many ticks, more than 0.
    Later(u64),
    /// The terms are being changed, by whoever holds the lock.
    Changing,
}

/// On cache lines of its own: all that threads fight over.
#[derive(Debug)]
#[repr(align(128))]
struct Word(AtomicU64);

/// What is read by each, and seldom written.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Meter {
    increment: AtomicU64,
    span: AtomicU64,
    /// The tick that words count from, wrapping.
    base: AtomicU64,
    word: Word,
}

/// A word with the terms it belongs to, seen at some tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    word: u64,
    /// The tick of the reading, counted as words are.
    now: u64,
    pub(super) terms: Terms,
}

impl Reading {
    /// How long until the bucket is full.
    #[inline]
    pub(super) fn ahead(&self) -> u64 {
        until(self.now, self.word)
    }

    /// Whether this is the word that was read.
    pub(super) fn is_word(&self, word: u64) -> bool {
        self.word == word
    }

    /// The word after `cost` was paid. Wraps like all words.
    #[inline]
    pub(super) fn paid(&self, cost: u64) -> u64 {
        self.now.wrapping_add(self.ahead()).wrapping_add(cost)
    }

    /// The word of a bucket that will be full so long after the reading.
    pub(super) fn word_ahead(&self, ahead: u64) -> u64 {
        self.now.wrapping_add(ahead)
    }

    /// The time from the reading until an instant that is counted as words are; 0 if it has passed.
    pub(super) fn until(&self, instant: u64) -> u64 {
        until(self.now, instant)
    }

    /// What must pass until `cost` can be paid.
    pub(super) fn wait(&self, cost: u64) -> u64 {
        self.terms.wait(self.ahead(), cost)
    }
}

/// Words wrap, but two that matter to each other are never 2^63 apart.
#[inline]
fn until(now: u64, instant: u64) -> u64 {
    instant
        .wrapping_sub(now)
        .cast_signed()
        .max(0)
        .cast_unsigned()
}

/// Not before: whether an instant is later than another, both counted as words are.
pub(super) fn later(one: u64, other: u64) -> u64 {
    if until(one, other) > 0 { other } else { one }
}

impl Meter {
    /// A full bucket.
    pub(super) fn new(terms: Terms, tick: u64) -> Self {
        Self {
            increment: AtomicU64::new(terms.increment),
            span: AtomicU64::new(terms.span),
            base: AtomicU64::new(tick),
            word: Word(AtomicU64::new(0)),
        }
    }

    /// The word must have been read before.
    #[inline]
    fn reading(&self, word: u64, tick: u64) -> Reading {
        // Each pairs with a store that follows the freezing: whoever sees new terms cannot exchange an
        // old word any more.
        let terms = Terms {
            increment: self.increment.load(Ordering::Acquire),
            span: self.span.load(Ordering::Acquire),
        };
        let now = tick.wrapping_sub(self.base.load(Ordering::Acquire));
        Reading { word, now, terms }
    }

    /// Takes what so many tokens cost, at a tick of the clock; all or nothing.
    #[inline]
    pub(super) fn take(&self, tokens: u32, tick: u64) -> Result<(), Refusal> {
        let word = self.word.0.load(Ordering::Acquire);
        // What mostly happens is compiled into the caller, all else is not.
        match self.take_once(word, tokens, tick) {
            Once::Taken => Ok(()),
            Once::Lost(seen) => self.take_from(seen, tokens, tick),
            Once::Short(reading) => self.refused(reading, tokens, tick),
        }
    }

    #[inline]
    fn take_once(&self, word: u64, tokens: u32, tick: u64) -> Once {
        let reading = self.reading(word, tick);
        let cost = reading.terms.cost(u64::from(tokens));
        if reading.wait(cost) > 0 {
            return Once::Short(reading);
        }
        let next = reading.paid(cost);
        let exchanged =
            self.word
                .0
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire);
        match exchanged {
            Ok(_) => Once::Taken,
            Err(seen) => Once::Lost(seen),
        }
    }

    /// Whoever lost a race waits a little longer each time: while the others go on undisturbed, the
    /// line does not move between processors, and all of them together get more done.
    #[cold]
    #[inline(never)]
    fn take_from(&self, mut word: u64, tokens: u32, tick: u64) -> Result<(), Refusal> {
        let mut pauses = Pauses::default();
        loop {
            pauses.pause();
            match self.take_once(word, tokens, tick) {
                Once::Taken => return Ok(()),
                Once::Lost(seen) => word = seen,
                Once::Short(reading) => word = self.refusal(reading, tokens)?,
            }
        }
    }

    /// Says why there was not enough; looks again if what was read did not belong together.
    #[inline(never)]
    fn refused(&self, reading: Reading, tokens: u32, tick: u64) -> Result<(), Refusal> {
        let seen = self.refusal(reading, tokens)?;
        self.take_from(seen, tokens, tick)
    }

    /// Why it is refused; or the word that is there by now, if what was read did not belong together.
    fn refusal(&self, reading: Reading, tokens: u32) -> Result<u64, Refusal> {
        let cost = reading.terms.cost(u64::from(tokens));
        let seen = self.word.0.load(Ordering::Acquire);
        if reading.ahead() > THAWED {
            Err(Refusal::Changing)
        } else if seen != reading.word {
            Ok(seen)
        } else if cost > reading.terms.span {
            Err(Refusal::Never)
        } else {
            Err(Refusal::Later(reading.wait(cost)))
        }
    }

    /// The word with its terms; nothing while they are being changed.
    pub(super) fn read(&self, tick: u64) -> Option<Reading> {
        loop {
            let reading = self.reading(self.word.0.load(Ordering::Acquire), tick);
            if reading.ahead() > THAWED {
                return None;
            }
            if self.word.0.load(Ordering::Acquire) == reading.word {
                return Some(reading);
            }
        }
    }

    /// The same for whoever holds the lock, without which nothing changes the terms.
    pub(super) fn read_locked(&self, tick: u64) -> Reading {
        self.reading(self.word.0.load(Ordering::Acquire), tick)
    }

    /// Exchanges the word of a reading for another under the same terms; says whether that was still
    /// the word. Only for whoever holds the lock.
    pub(super) fn exchange(&self, reading: &Reading, word: u64) -> bool {
        let exchanged =
            self.word
                .0
                .compare_exchange(reading.word, word, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }

    /// Keeps everybody from taking until it is thawed. Only for whoever holds the lock.
    pub(super) fn freeze(&self, tick: u64) -> Frozen<'_> {
        let now = tick.wrapping_sub(self.base.load(Ordering::Acquire));
        let frozen = now.wrapping_add(FROZEN);
        Frozen {
            meter: self,
            word: self.word.0.swap(frozen, Ordering::AcqRel),
            thawed: false,
        }
    }

    fn thaw(&self, reading: &Reading, highest: u64, terms: Terms, ahead: u64) -> Reading {
        // Those who take without the lock never get further than a span ahead.
        let highest = later(highest, reading.word_ahead(reading.terms.span));
        let now = highest.wrapping_add(1);
        let base = self.base.load(Ordering::Acquire);
        let tick = reading.now.wrapping_add(base);
        self.increment.store(terms.increment, Ordering::Release);
        self.span.store(terms.span, Ordering::Release);
        self.base.store(tick.wrapping_sub(now), Ordering::Release);
        let word = now.wrapping_add(ahead);
        self.word.0.store(word, Ordering::Release);
        Reading { word, now, terms }
    }
}

/// A meter from which nobody takes. Dropped without new terms, for a clock may panic, it is as it was:
/// nobody took, so the word and its terms still belong together.
#[derive(Debug)]
pub(super) struct Frozen<'a> {
    meter: &'a Meter,
    word: u64,
    thawed: bool,
}

impl Frozen<'_> {
    /// The word that was frozen out.
    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// The reading of that word.
    pub(super) fn reading(&self, tick: u64) -> Reading {
        self.meter.reading(self.word, tick)
    }

    /// Sets new terms. `reading` is of the word that was frozen out, `ahead` how long after it the
    /// bucket will be full now, `highest` no less than any word that was there under the old terms.
    /// Answers with the reading of the word that is there now.
    pub(super) fn thaw(
        mut self,
        reading: &Reading,
        highest: u64,
        terms: Terms,
        ahead: u64,
    ) -> Reading {
        self.thawed = true;
        self.meter.thaw(reading, highest, terms, ahead)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if !self.thawed {
            self.meter.word.0.store(self.word, Ordering::Release);
        }
    }
}

/// What comes of trying to take.
enum Once {
    Taken,
    /// Somebody else exchanged the word, for this one.
    Lost(u64),
    /// There is not enough, as far as could be read.
    Short(Reading),
}

/// How long whoever lost a race waits: twice as long each time, up to about a microsecond.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    lost: u32,
}

impl Pauses {
    const MOST: u32 = 5;

    /// Time does not matter to a model, which only counts.
    pub(super) fn pause(&mut self) {
        self.lost = (self.lost + 1).min(Self::MOST);
        #[cfg(not(all(test, oneiric_loom)))]
        for _ in 0..1 << self.lost {
            std::hint::spin_loop();
        }
    }
}
