//! The bucket beside a slow and obvious one, over random histories; and every history's grants held
//! against the bound that a bucket is for.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::task::Waker;
use std::time::Duration;

use proptest::prelude::*;

use super::gcra::{self, Terms};
use super::line::Ticket;
use super::queue::{Turn, Wanted};
use super::shared::duration;
use super::*;
use crate::clock::{ManualClock, Moment};
use crate::error::Rejection;
use crate::sync::AtomicU64;

/// What can happen to a bucket.
#[derive(Debug, Clone)]
enum Step {
    Pass { nanos: u64 },
    Take { tokens: u32 },
    Reserve { tokens: u32, max_wait: u64 },
    Cancel { which: usize },
    Join { tokens: u32 },
    Poll { which: usize },
    Leave { which: usize },
    Change { capacity: u32, rate: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..3_000_000_000).prop_map(|nanos| Step::Pass { nanos }),
        1 => Just(Step::Pass { nanos: 1 }),
        4 => (0_u32..7).prop_map(|tokens| Step::Take { tokens }),
        3 => (0_u32..7, 0_u64..9).prop_map(|(tokens, secs)| Step::Reserve {
            tokens,
            max_wait: secs * 700_000_000,
        }),
        2 => (0_usize..8).prop_map(|which| Step::Cancel { which }),
        1 => (0_u32..7).prop_map(|tokens| Step::Join { tokens }),
        3 => (0_usize..3).prop_map(|which| Step::Poll { which }),
        1 => (0_usize..8).prop_map(|which| Step::Leave { which }),
        1 => (1_u32..9, 1_u32..9).prop_map(|(capacity, rate)| Step::Change { capacity, rate }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A bucket that fills tick by tick, and hands out tokens to whoever is first.
struct Slow {
    terms: Terms,
    capacity: u32,
    tick: u64,
    /// In ticks: `increment` of them are a token.
    level: u64,
    /// Reservations that are not due: an id and tokens.
    bookings: Vec<(usize, u32)>,
    waiters: Vec<(Ticket, u32)>,
    grants: Vec<Grant>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy)]
struct Grant {
    tick: u64,
    tokens: u32,
    capacity: u32,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    tick: u64,
    increment: u64,
}

impl Slow {
    fn new(capacity: u32, rate: f64) -> Self {
        let terms = Terms::of(capacity, rate);
        Self {
            terms,
            capacity,
            tick: 0,
            level: terms.span,
            bookings: Vec::new(),
            waiters: Vec::new(),
            grants: Vec::new(),
            changes: vec![Change {
                tick: 0,
                increment: terms.increment,
            }],
        }
    }

    fn grant(&mut self, tokens: u32) {
        self.level -= self.terms.cost(u64::from(tokens));
        self.grants.push(Grant {
            tick: self.tick,
            tokens,
            capacity: self.capacity,
        });
    }

    /// Whoever is first gets its tokens once there are enough.
    fn pass(&mut self, ticks: u64) {
        let end = self.tick + ticks;
        while let Some(&(_, tokens)) = self.bookings.first() {
            let cost = self.terms.cost(u64::from(tokens));
            let missing = cost.saturating_sub(self.level);
            if self.tick + missing > end {
                break;
            }
            self.tick += missing;
            self.level = (self.level + missing).min(self.terms.span.max(cost));
            self.bookings.remove(0);
            self.grant(tokens);
        }
        let largest = self.bookings.first().map_or(0, |&(_, tokens)| tokens);
        let most = self.terms.cost(u64::from(largest)).max(self.terms.span);
        self.level = (self.level + (end - self.tick)).min(most);
        self.tick = end;
    }

    fn take(&mut self, tokens: u32) -> bool {
        if tokens == 0 {
            return true;
        }
        let free = self.bookings.is_empty() && self.waiters.is_empty();
        let enough = free && self.terms.cost(u64::from(tokens)) <= self.level;
        if enough {
            self.grant(tokens);
        }
        enough
    }

    /// How long a reservation made now would have to wait; by trying it.
    fn wait(&self, tokens: u32) -> u64 {
        let mut level = i128::from(self.level);
        let all = self
            .bookings
            .iter()
            .map(|&(_, tokens)| tokens)
            .chain([tokens]);
        level -= all
            .map(|tokens| i128::from(self.terms.cost(u64::from(tokens))))
            .sum::<i128>();
        u64::try_from(-level).unwrap_or(0)
    }

    fn change(&mut self, capacity: u32, rate: f64) {
        let to = Terms::of(capacity, rate);
        let level = u128::from(self.level.min(self.terms.span)) * u128::from(to.increment)
            / u128::from(self.terms.increment);
        self.level = u64::try_from(level).unwrap().min(to.span);
        (self.terms, self.capacity) = (to, capacity);
        self.changes.push(Change {
            tick: self.tick,
            increment: to.increment,
        });
        self.pass(0);
    }

    /// No interval saw more than what was there at its start and what came back in it. It is enough to
    /// look at those from one grant to another.
    fn check_bound(&self) {
        for (start, first) in self.grants.iter().enumerate() {
            let (mut tokens, mut capacity) = (0, first.capacity);
            for last in &self.grants[start..] {
                tokens += last.tokens;
                // A reservation may be larger than a capacity that was lowered after it.
                if last.tokens > last.capacity {
                    capacity = capacity.max(last.tokens);
                }
                let most = f64::from(capacity) + self.came_back(first.tick, last.tick);
                assert!(
                    f64::from(tokens) <= most + 1e-6,
                    "{tokens} from {first:?} to {last:?}"
                );
            }
        }
    }

    fn came_back(&self, from: u64, to: u64) -> f64 {
        let ends = self.changes[1..]
            .iter()
            .map(|change| change.tick)
            .chain([u64::MAX]);
        let parts = self.changes.iter().zip(ends).map(|(change, end)| {
            let length = end.min(to).saturating_sub(change.tick.max(from));
            length as f64 / change.increment as f64
        });
        parts.sum()
    }
}

/// Both buckets side by side.
struct Pair {
    clock: ManualClock,
    bucket: TokenBucket<ManualClock>,
    slow: Slow,
    reservations: Vec<(usize, Reservation<ManualClock>)>,
    next: usize,
}

const MOST: usize = 4;

impl Pair {
    fn new() -> Self {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(1_000));
        let config = TokenBucketConfig {
            capacity: 5,
            refill_per_sec: 3.0,
            max_waiters: u32::try_from(MOST).unwrap(),
        };
        Self {
            bucket: TokenBucket::with_clock(config, clock.clone()).unwrap(),
            clock,
            slow: Slow::new(5, 3.0),
            reservations: Vec::new(),
            next: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Pass { nanos } => {
                self.clock.advance(Duration::from_nanos(nanos));
                self.slow.pass(nanos * 16);
            }
            Step::Take { tokens } => self.take(tokens),
            Step::Reserve { tokens, max_wait } => self.reserve(tokens, max_wait),
            Step::Cancel { which } => {
                if which < self.reservations.len() {
                    let (id, reservation) = self.reservations.remove(which);
                    drop(reservation);
                    self.slow.cancel(id);
                }
            }
            Step::Join { tokens } => self.join(tokens),
            Step::Poll { which } => self.poll(which),
            Step::Leave { which } => {
                if which < self.slow.waiters.len() {
                    let (ticket, _) = self.slow.waiters.remove(which);
                    self.bucket.shared.leave(ticket);
                }
            }
            Step::Change { capacity, rate } => {
                self.bucket.set_rate(capacity, f64::from(rate)).unwrap();
                self.slow.change(capacity, f64::from(rate));
            }
        }
        self.compare();
    }

    fn take(&mut self, tokens: u32) {
        let waited_for: u32 = self.slow.waiters.iter().map(|&(_, tokens)| tokens).sum();
        let wait = self.slow.wait(tokens + waited_for);
        let expected = self.slow.take(tokens);
        match self.bucket.try_take(tokens) {
            Ok(()) => assert!(expected, "took {tokens}"),
            Err(rejected) if tokens > self.slow.capacity => {
                assert_eq!(rejected.rejection(), Rejection::OverCapacity);
                assert_eq!(rejected.retry_after(), None);
            }
            Err(rejected) => {
                assert!(!expected, "did not take {tokens}");
                assert_eq!(rejected.rejection(), Rejection::RateLimited);
                assert_eq!(rejected.retry_after(), Some(duration(wait)));
            }
        }
    }

    fn reserve(&mut self, tokens: u32, max_wait: u64) {
        let wait = self.slow.wait(tokens);
        let in_line = self.slow.bookings.len() + self.slow.waiters.len();
        let expected = if tokens == 0 {
            None
        } else if tokens > self.slow.capacity {
            Some(Rejection::OverCapacity)
        } else if !self.slow.waiters.is_empty() {
            Some(Rejection::RateLimited)
        } else if wait > max_wait * 16 {
            Some(Rejection::DeadlineTooNear)
        } else if wait > 0 && in_line >= MOST {
            Some(Rejection::QueueFull)
        } else {
            None
        };
        let reserved = self.bucket.reserve(tokens, Duration::from_nanos(max_wait));
        assert_eq!(reserved.as_ref().err().map(Rejected::rejection), expected);
        let Ok(reservation) = reserved else { return };
        if tokens > 0 {
            self.slow.bookings.push((self.next, tokens));
            self.slow.pass(0);
        }
        self.reservations.push((self.next, reservation));
        self.next += 1;
    }

    fn turn(&self, ticket: Option<Ticket>, tokens: u32) -> Turn {
        let wanted = Wanted {
            tokens,
            patience: None,
        };
        self.bucket.shared.turn(ticket, wanted, Waker::noop())
    }

    fn join(&mut self, tokens: u32) {
        let in_line = self.slow.bookings.len() + self.slow.waiters.len();
        match self.turn(None, tokens) {
            Turn::Taken => assert!(self.slow.take(tokens)),
            Turn::Refused(Rejection::OverCapacity, ..) => assert!(tokens > self.slow.capacity),
            Turn::Refused(Rejection::QueueFull, ..) => assert!(in_line >= MOST),
            Turn::First(ticket, _) | Turn::Behind(ticket, _) => {
                assert!(in_line < MOST && !self.slow.take(tokens));
                self.slow.waiters.push((ticket, tokens));
            }
            other @ Turn::Refused(..) => panic!("{other:?}"),
        }
    }

    fn poll(&mut self, which: usize) {
        let Some(&(ticket, tokens)) = self.slow.waiters.get(which) else {
            return;
        };
        let before: Vec<_> = self.slow.waiters.drain(..).collect();
        let fits = tokens <= self.slow.capacity;
        let expected = which == 0 && fits && self.slow.take(tokens);
        self.slow.waiters = before;
        let gone = match self.turn(Some(ticket), tokens) {
            Turn::Taken => {
                assert!(expected);
                true
            }
            Turn::Refused(Rejection::OverCapacity, ..) => {
                assert!(!fits);
                true
            }
            Turn::First(..) => {
                assert!(which == 0 && !expected);
                false
            }
            Turn::Behind(..) => {
                assert!(which > 0);
                false
            }
            other @ Turn::Refused(..) => panic!("{other:?}"),
        };
        if gone {
            self.slow.waiters.remove(which);
        }
    }

    fn moment(&self, tick: u64) -> Moment {
        let shared = &self.bucket.shared;
        shared.moment(gcra::tick(shared.origin).wrapping_add(tick))
    }

    fn compare(&self) {
        let tokens = self.slow.level.min(self.slow.terms.span) / self.slow.terms.increment;
        let snapshot = self.bucket.snapshot();
        if self.slow.bookings.is_empty() {
            assert_eq!(u64::from(snapshot.available), tokens);
        }
        assert_eq!(snapshot.reserved as usize, self.slow.bookings.len());
        assert_eq!(snapshot.waiting as usize, self.slow.waiters.len());
        let mut missing = 0;
        let mut level = self.slow.level;
        for &(id, tokens) in &self.slow.bookings {
            let cost = self.slow.terms.cost(u64::from(tokens));
            missing += cost.saturating_sub(level);
            level = level.saturating_sub(cost);
            let (_, reservation) = self
                .reservations
                .iter()
                .find(|&&(other, _)| other == id)
                .unwrap();
            let expected = self.moment(self.slow.tick + missing);
            assert_eq!(reservation.ready_at(), expected);
        }
    }
}

impl Slow {
    fn cancel(&mut self, id: usize) {
        if let Some(place) = self.bookings.iter().position(|&(other, _)| other == id) {
            self.bookings.remove(place);
            // What a larger reservation was waiting for beyond the capacity is no one's.
            if place == 0 {
                self.level = self.level.min(self.terms.span);
            }
            self.pass(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn p55_never_more_than_capacity_and_what_came_back(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
        pair.slow.check_bound();
    }

    #[test]
    fn the_wait_that_is_told_is_the_shortest(
        capacity in 1_u32..100,
        rate in 0.001_f64..1e9,
        takes in proptest::collection::vec((0_u64..2_000_000_000, 1_u32..100), 1..20),
    ) {
        let clock = ManualClock::new();
        let config = TokenBucketConfig { capacity, refill_per_sec: rate, max_waiters: 0 };
        let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
        for (pass, tokens) in takes {
            clock.advance(Duration::from_nanos(pass));
            let tokens = tokens.min(capacity);
            if let Err(rejected) = bucket.try_take(tokens) {
                let wait = rejected.retry_after().unwrap();
                clock.advance(wait - Duration::from_nanos(1));
                prop_assert!(bucket.try_take(tokens).is_err());
                clock.advance(Duration::from_nanos(1));
                prop_assert!(bucket.try_take(tokens).is_ok());
            }
        }
    }
}

#[test]
fn p55_holds_among_threads_that_take_reserve_give_back_and_change_the_rate() {
    const THREADS: u32 = 4;
    let clock = ManualClock::new();
    let config = TokenBucketConfig {
        capacity: 50,
        refill_per_sec: 1000.0,
        max_waiters: 1_000,
    };
    let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (bucket, granted, clock) = (&bucket, &granted, &clock);
            scope.spawn(move || {
                for round in 0..20_000_u32 {
                    if round % 4 == thread {
                        clock.advance(Duration::from_micros(100));
                    }
                    if thread == 0 && round % 64 == 0 {
                        // At most what the bound below reckons with.
                        bucket
                            .set_rate(1 + round % 50, 1000.0 - f64::from(round % 999))
                            .unwrap();
                    }
                    if thread == 1 && round % 8 == 0 {
                        drop(bucket.reserve(1, Duration::from_millis(2)));
                    }
                    if bucket.try_take(1).is_ok() {
                        granted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Four threads advance the clock a quarter of the rounds each; a token a millisecond at most.
    let millis = u64::from(THREADS) * 5_000 / 10;
    assert!(granted.load(Ordering::Relaxed) <= 50 + millis);
    // And nobody is kept out for ever.
    bucket.set_rate(50, 1000.0).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(bucket.try_take(50), Ok(()));
}

#[test]
fn time_that_jumps_to_its_end_fills_the_bucket_once() {
    let clock = ManualClock::new();
    let bucket = TokenBucket::with_clock(TokenBucketConfig::default(), clock.clone()).unwrap();
    bucket.try_take(100).unwrap();
    clock.advance(Duration::MAX);
    assert_eq!(bucket.try_take(100), Ok(()));
    assert_eq!(bucket.available(), 0);
    bucket.set_rate(7, 2.0).unwrap();
    assert!(bucket.try_take(1).is_err());
}

#[test]
fn slow_rates_after_long_bookings_neither_overflow_nor_give() {
    let clock = ManualClock::new();
    let config = TokenBucketConfig {
        capacity: 1_000_000_000,
        refill_per_sec: 1e9,
        max_waiters: 100,
    };
    let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
    bucket.try_take(1_000_000_000).unwrap();
    let booked: Vec<_> = (0..50)
        .map(|_| bucket.reserve(1_000_000_000, Duration::MAX).unwrap())
        .collect();
    bucket.set_rate(1, 1.0 / (366.0 * 86_400.0)).unwrap();
    assert!(bucket.try_take(1).is_err());
    clock.advance(Duration::from_secs(86_400));
    assert!(bucket.try_take(1).is_err());
    assert_eq!(bucket.snapshot().reserved, 50);
    drop(booked);
    assert_eq!(bucket.snapshot().reserved, 0);
    assert!(bucket.try_take(1).is_err(), "it came back for a day only");
    bucket.set_rate(10, 1e9).unwrap();
    clock.advance(Duration::from_nanos(10));
    assert_eq!(bucket.try_take(10), Ok(()));
}
