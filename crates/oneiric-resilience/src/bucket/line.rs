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
#[cfg_attr(
    not(any(feature = "tokio", test)),
    expect(dead_code, reason = "without a runtime nobody waits")
)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) tokens: u32,
    pub(super) waker: Waker,
}

/// Tasks to be woken when the lock is given back.
pub(super) type Woken = Vec<Waker>;

#[derive(Debug)]
pub(super) struct Line {
    /// What the terms are made of.
    pub(super) capacity: u32,
    pub(super) refill_per_sec: f64,
    pub(super) bookings: VecDeque<Booking>,
    pub(super) waiters: VecDeque<Waiter>,
    /// The tokens that all waiters together want.
    pub(super) waited_for: u64,
    last_ticket: Ticket,
    /// No less than any word that a booking has set under the present terms.
    highest: u64,
}

impl Line {
    pub(super) fn new(capacity: u32, refill_per_sec: f64) -> Self {
        Self {
            capacity,
            refill_per_sec,
            bookings: VecDeque::new(),
            waiters: VecDeque::new(),
            waited_for: 0,
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
            self.bookings.pop_front();
        }
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
    pub(super) fn cancel(
        &mut self,
        ticket: Ticket,
        meter: &Meter,
        tick: impl Fn() -> u64,
    ) -> Woken {
        loop {
            let reading = meter.read_locked(tick());
            self.settle(&reading);
            let Some(place) = self.place(ticket) else {
                return Woken::new();
            };
            let ends = self.ends_without(place, &reading);
            let (Some(last), Some(&end)) = (self.bookings.back(), ends.last()) else {
                return Woken::new();
            };
            // If the word is not the last booking's, somebody whose clock was read later found all of
            // them due. So they are.
            if reading.is_word(last.end) && meter.exchange(&reading, end) {
                self.bookings.remove(place);
                for (booking, end) in self.bookings.range_mut(place..).zip(&ends[1..]) {
                    booking.end = *end;
                }
                return self.wakers(place);
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
    pub(super) fn change(&mut self, meter: &Meter, terms: Terms, tick: impl Fn() -> u64) -> Woken {
        let word = meter.freeze(tick());
        // Read again: whoever took before the word froze had read the clock before.
        let reading = meter.reading_of(word, tick());
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
        let thawed = meter.thaw(&reading, highest, terms, last);
        for (booking, end) in self.bookings.iter_mut().zip(&ends[1..]) {
            booking.end = thawed.word_ahead(reading.until(*end));
            self.highest = booking.end;
        }
        let mut woken = self.wakers(0);
        woken.extend(
            self.waiters
                .iter()
                .skip(1)
                .map(|waiter| waiter.waker.clone()),
        );
        woken
    }

    /// Of the bookings from a place on, whose time was moved, and of the first waiter, who reckons with
    /// them.
    fn wakers(&mut self, from: usize) -> Woken {
        let bookings = self.bookings.range_mut(from..);
        let first = self.waiters.front().map(|waiter| waiter.waker.clone());
        bookings
            .filter_map(|booking| booking.waker.take())
            .chain(first)
            .collect()
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

/// What is put off for longer than this (two years), by a rate that fell steeply, counts as put off for
/// so long.
const FARTHEST: u64 = 1 << 60;
