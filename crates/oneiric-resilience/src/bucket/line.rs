//! Who has tokens that are still to come, and who waits for some: the part of a bucket that is under
//! its lock, and of which a plain take sees nothing but whether somebody waits.
//!
//! Two kinds stand in the line. A *booking* (a reservation whose time has not come) has its tokens: the
//! word has been moved by their cost, so nobody can take before the last booking is due. A *waiter*
//! stands behind all bookings and has nothing yet: the first one takes when there is enough, as anyone
//! would, and everybody else is turned away meanwhile. So a waiter that goes away leaves nothing behind,
//! and one that is slow to be woken lets nobody pass and takes no more than there is by then.

use std::collections::VecDeque;
use std::task::Waker;

use crate::wake::Afterwards;

use super::gcra::Terms;
use super::meter::{Meter, Reading, later};

/// Tells those in the line apart; later ones have higher ones.
pub(super) type Ticket = u64;

/// A reservation whose time has not come.
#[derive(Debug)]
pub(super) struct Booking {
    ticket: Ticket,
    tokens: u32,
    /// The word once these tokens are paid, counted as words are.
    end: u64,
    /// Of the task that waits for its time, if one does.
    pub(super) waker: Option<Waker>,
}

impl Booking {
    /// How long until its time comes.
    fn due(&self, reading: &Reading) -> u64 {
        reading.until(self.end.wrapping_sub(reading.terms.span))
    }
}

/// Somebody without tokens.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) tokens: u32,
    /// The age of the bucket after which its place is lost, for whoever gave up waiting may have kept
    /// the future; `u64::MAX` if it may wait for ever.
    pub(super) until: u64,
    /// Nothing once it was woken, until it looks.
    pub(super) waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Line {
    /// What the terms are made of.
    pub(super) capacity: u32,
    pub(super) refill_per_sec: f64,
    pub(super) bookings: VecDeque<Booking>,
    pub(super) waiters: VecDeque<Waiter>,
    /// The tokens that all waiters together want.
    pub(super) waited_for: u64,
    /// No later than the earliest of the waiters' `until`; `u64::MAX` if none has one.
    pub(super) lapse: u64,
    /// `waited_for` and `lapse` as newcomers know them.
    pub(super) told: (u64, u64),
    /// What follows when the lock is given back.
    pub(super) afterwards: Afterwards,
    /// The tick at which the bucket was made.
    made: u64,
    last_ticket: Ticket,
    /// No less than any word that a booking has set under the present terms.
    highest: u64,
}

impl Line {
    pub(super) fn new(capacity: u32, refill_per_sec: f64, made: u64) -> Self {
        Self {
            capacity,
            refill_per_sec,
            bookings: VecDeque::new(),
            waiters: VecDeque::new(),
            waited_for: 0,
            lapse: u64::MAX,
            told: (0, u64::MAX),
            afterwards: Afterwards::default(),
            made,
            last_ticket: 0,
            highest: 0,
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// All that stand in it.
    pub(super) fn len(&self) -> usize {
        self.bookings.len() + self.waiters.len()
    }

    /// Forgets the bookings whose time has come: what they have is theirs for good.
    pub(super) fn settle(&mut self, reading: &Reading) {
        while let Some(first) = self.bookings.front()
            && first.due(reading) == 0
        {
            let first = self.bookings.pop_front();
            let waker = first.and_then(|first| first.waker);
            self.afterwards.spent.extend(waker);
        }
    }

    /// The age of the bucket at a tick, in ticks.
    pub(super) fn age(&self, tick: u64) -> u64 {
        tick.wrapping_sub(self.made)
    }

    /// The age at which somebody with so much patience has lost its place.
    #[cfg(any(feature = "tokio", test))]
    pub(super) fn until(&self, tick: u64, patience: Option<u64>) -> u64 {
        patience.map_or(u64::MAX, |patience| {
            let until = self.age(tick).saturating_add(patience);
            until.saturating_add(late())
        })
    }

    /// Turns those away who did not come although their time is over.
    pub(super) fn expire(&mut self, tick: u64) {
        let age = self.age(tick);
        if age <= self.lapse {
            return;
        }
        let first = self.waiters.front().map(|waiter| waiter.ticket);
        self.lapse = u64::MAX;
        let Self {
            waiters,
            waited_for,
            lapse,
            afterwards,
            ..
        } = self;
        waiters.retain_mut(|waiter| {
            let stays = age <= waiter.until;
            if stays {
                *lapse = waiter.until.min(*lapse);
            } else {
                *waited_for -= u64::from(waiter.tokens);
                afterwards.woken.extend(waiter.waker.take());
            }
            stays
        });
        if self.waiters.front().map(|waiter| waiter.ticket) != first {
            self.wake_first();
        }
    }

    /// Has the first waiter look again.
    pub(super) fn wake_first(&mut self) {
        let first = self.waiters.front_mut();
        let waker = first.and_then(|first| first.waker.take());
        self.afterwards.woken.extend(waker);
    }

    /// When the first booking is due; nothing without any.
    pub(super) fn first_due(&self, reading: &Reading) -> Option<u64> {
        self.bookings.front().map(|first| first.due(reading))
    }

    /// How long until the time of a booking comes, as things are; nothing once it has come.
    pub(super) fn due(&self, ticket: Ticket, reading: &Reading) -> Option<u64> {
        let booking = &self.bookings[self.place(ticket)?];
        Some(booking.due(reading))
    }

    pub(super) fn place(&self, ticket: Ticket) -> Option<usize> {
        self.bookings
            .binary_search_by_key(&ticket, |booking| booking.ticket)
            .ok()
    }

    /// Books tokens whose cost has just moved the word to `end`.
    pub(super) fn book(&mut self, tokens: u32, end: u64) -> Ticket {
        let ticket = self.ticket();
        self.highest = later(self.highest, end);
        self.bookings.push_back(Booking {
            ticket,
            tokens,
            end,
            waker: None,
        });
        ticket
    }

    /// Gives back what a booking has, if its time has not come: those behind it move up, as if it had
    /// never been there. `tick` reads the clock.
    pub(super) fn cancel(&mut self, ticket: Ticket, meter: &Meter, tick: impl Fn() -> u64) {
        loop {
            let reading = meter.read_locked(tick());
            self.settle(&reading);
            let Some(place) = self.place(ticket) else {
                return;
            };
            let ends = self.ends_without(place, &reading);
            let (Some(last), Some(&end)) = (self.bookings.back(), ends.last()) else {
                return;
            };
            // If the word is not the last booking's, somebody whose clock was read later found all of
            // them due. So they are.
            if reading.is_word(last.end) && meter.exchange(&reading, end) {
                let gone = self.bookings.remove(place).and_then(|gone| gone.waker);
                self.afterwards.spent.extend(gone);
                for (booking, end) in self.bookings.range_mut(place..).zip(&ends[1..]) {
                    booking.end = *end;
                }
                self.wake_from(place);
                return;
            }
        }
    }

    /// The word before a booking, and then after each behind it, were it not there.
    fn ends_without(&self, place: usize, reading: &Reading) -> Vec<u64> {
        let gone = &self.bookings[place];
        let cost = reading.terms.cost(u64::from(gone.tokens));
        let behind = self.bookings.range(place + 1..);
        chain(gone.end.wrapping_sub(cost), behind, reading, reading.terms)
    }

    /// Sets other terms: the bucket keeps what it holds as far as that fits, and bookings move to where
    /// they would be had they been made now. Everybody is woken to look again.
    pub(super) fn change(&mut self, meter: &Meter, terms: Terms, tick: impl Fn() -> u64) {
        let frozen = meter.freeze(tick());
        let word = frozen.word();
        // Read again: whoever took before the word froze had read the clock before.
        let reading = frozen.reading(tick());
        self.settle(&reading);
        let before = match self.bookings.front() {
            Some(first) => {
                let cost = reading.terms.cost(u64::from(first.tokens));
                first.end.wrapping_sub(cost)
            }
            None => word,
        };
        let ahead = reading.terms.carry(reading.until(before), terms);
        let highest = later(word, self.highest);
        let ends = chain(
            reading.word_ahead(ahead),
            self.bookings.iter(),
            &reading,
            terms,
        );
        let last = ends.last().map_or(ahead, |&end| reading.until(end));
        let thawed = frozen.thaw(&reading, highest, terms, last);
        for (booking, end) in self.bookings.iter_mut().zip(&ends[1..]) {
            booking.end = thawed.word_ahead(reading.until(*end));
            self.highest = booking.end;
        }
        self.wake_from(0);
        let waiters = self.waiters.iter_mut();
        let wakers = waiters.filter_map(|waiter| waiter.waker.take());
        self.afterwards.woken.extend(wakers);
    }

    /// Has the bookings from a place on look again, whose time was moved, and the first waiter, who
    /// reckons with them.
    fn wake_from(&mut self, from: usize) {
        let bookings = self.bookings.range_mut(from..);
        let wakers = bookings.filter_map(|booking| booking.waker.take());
        self.afterwards.woken.extend(wakers);
        self.wake_first();
    }
}

/// The word `before` some bookings, and after each of them, were they all made now under these terms.
fn chain<'a>(
    before: u64,
    bookings: impl Iterator<Item = &'a Booking>,
    reading: &Reading,
    terms: Terms,
) -> Vec<u64> {
    let mut ahead = reading.until(before);
    let mut ends = vec![reading.word_ahead(ahead)];
    for booking in bookings {
        ahead = ahead
            .saturating_add(terms.cost(u64::from(booking.tokens)))
            .min(FARTHEST);
        ends.push(reading.word_ahead(ahead));
    }
    ends
}

/// How long a place is kept for who comes late.
#[cfg(any(feature = "tokio", test))]
pub(super) fn late() -> u64 {
    super::gcra::ticks_of(crate::clock::nanos(crate::wake::LATE))
}

/// What is put off for longer than this (two years), by a rate that fell steeply, counts as put off for
/// so long.
const FARTHEST: u64 = 1 << 60;
