//! The bucket under every interleaving of few threads. Time is set before the threads begin: what a
//! thread reads is what the bound reckons with.

use std::task::{Wake, Waker};
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::gcra::Terms;
use super::line::Line;
use super::meter::{Meter, Refusal};
use super::queue::{Turn, Wanted};
use super::*;
use crate::clock::ManualClock;
use crate::sync::AtomicU64;

fn bucket(capacity: u32, refill_per_sec: f64) -> (ManualClock, TokenBucket<ManualClock>) {
    let config = TokenBucketConfig {
        capacity,
        refill_per_sec,
        max_waiters: 4,
    };
    let clock = ManualClock::new();
    let bucket = TokenBucket::with_clock(config, clock.clone()).unwrap();
    (clock, bucket)
}

#[derive(Debug)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(1, Ordering::Release);
    }
}

/// A long search is cut at three preemptions a thread; what is left finds each bug tried.
fn model(bound: Option<usize>, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.check(check);
}

#[test]
fn takers_never_get_more_than_there_is_nor_less() {
    model(None, || {
        let (_, bucket) = bucket(3, 1.0);
        let bucket = Arc::new(bucket);
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || u32::from(other.try_take(2).is_ok()) * 2);
        let mine = u32::from(bucket.try_take(1).is_ok());
        let theirs = thread.join().unwrap();
        assert_eq!(mine + theirs, 3);
        assert_eq!(bucket.available(), 0);
    });
}

#[test]
fn a_change_under_the_hands_of_takers_gives_nothing() {
    model(Some(3), || {
        let (_, bucket) = bucket(4, 1.0);
        bucket.try_take(2).unwrap();
        let bucket = Arc::new(bucket);
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || u32::from(other.try_take(2).is_ok()));
        // The rate that makes old words and new ones as alike as can be, and back again.
        bucket.set_rate(3, 0.5).unwrap();
        bucket.set_rate(4, 1.0).unwrap();
        let theirs = thread.join().unwrap();
        assert_eq!(theirs, 1, "two were there all the time");
        assert_eq!(bucket.available(), 0);
    });
}

#[test]
fn a_lowered_capacity_cuts_what_is_not_taken_before() {
    model(Some(3), || {
        let (_, bucket) = bucket(4, 1.0);
        let bucket = Arc::new(bucket);
        let other = Arc::clone(&bucket);
        let thread = thread::spawn(move || {
            let two = other.try_take(2).is_ok();
            let rest = other.available();
            (two, rest)
        });
        bucket.set_rate(1, 2.0).unwrap();
        let mine = bucket.try_take(1).is_ok();
        match thread.join().unwrap() {
            // Before the change, with four; what was left was cut to one.
            (true, _) => assert!(mine),
            (false, rest) => {
                assert!(mine);
                assert!(rest <= 1);
            }
        }
        assert_eq!(bucket.available(), 0);
    });
}

/// Who only looks exchanges nothing, so nothing but the order of what is read keeps old terms from a new word.
#[test]
fn what_is_told_during_a_change_is_of_before_or_after() {
    let during = |look: fn(&TokenBucket<ManualClock>) -> Duration, answers: [u64; 2]| {
        model(Some(3), move || {
            let (_, bucket) = bucket(3, 1.0);
            bucket.try_take(2).unwrap();
            let bucket = Arc::new(bucket);
            let other = Arc::clone(&bucket);
            let thread = thread::spawn(move || look(&other));
            bucket.set_rate(3, 0.5).unwrap();
            let told = thread.join().unwrap();
            assert!(answers.map(Duration::from_secs).contains(&told), "{told:?}");
        });
    };
    // What it holds stays, and what comes back comes at half the rate.
    during(
        |bucket| Duration::from_secs(bucket.available().into()),
        [1, 1],
    );
    let wait = |bucket: &TokenBucket<_>| bucket.try_take(2).unwrap_err().retry_after().unwrap();
    during(wait, [1, 2]);
}

/// Which happens where a clock panics. Who sees the old word again must see the terms it was made under, too.
#[test]
fn a_change_that_is_given_up_changes_nothing() {
    model(Some(3), || {
        let meter = Arc::new(Meter::new(Terms::of(4, 1.0), 0));
        meter.take(2, 0).unwrap();
        let other = Arc::clone(&meter);
        let thread = thread::spawn(move || other.take(2, 0));
        Line::new(4, 1.0, 0).change(&meter, Terms::of(4, 0.5), || 0);
        drop(meter.freeze(0));
        let taken = thread.join().unwrap();
        let left = meter.read_locked(0);
        let left = left.terms.tokens(left.ahead());
        match taken {
            Ok(()) => assert_eq!(left, 0),
            Err(refusal) => assert_eq!((refusal, left), (Refusal::Changing, 2)),
        }
    });
}

#[test]
fn a_reservation_given_back_is_there_once() {
    model(Some(3), || {
        let (clock, bucket) = bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let reservation = bucket.reserve(1, Duration::MAX).unwrap();
        let other = bucket.clone();
        let thread = thread::spawn(move || {
            drop(reservation);
            u32::from(other.try_take(1).is_ok())
        });
        clock.advance(Duration::from_secs(1));
        let mine = u32::from(bucket.try_take(1).is_ok());
        let theirs = thread.join().unwrap();
        // One came back; it may have been used by the reservation, whose time came.
        assert!(mine + theirs <= 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(bucket.available(), 1);
    });
}

#[test]
fn a_waiter_that_leaves_wakes_the_next_and_takes_nothing() {
    model(Some(3), || {
        let (clock, bucket) = bucket(1, 1.0);
        bucket.try_take(1).unwrap();
        let bell = std::sync::Arc::new(Bell(AtomicU64::new(0)));
        let waker = Waker::from(std::sync::Arc::clone(&bell));
        let join = || {
            let wanted = Wanted {
                tokens: 1,
                patience: None,
            };
            match bucket.shared.turn(None, wanted, &waker) {
                Turn::First(ticket, _) | Turn::Behind(ticket, _) => (ticket, wanted),
                other => panic!("{other:?}"),
            }
        };
        let (first, second) = (join(), join());
        clock.advance(Duration::from_secs(1));
        let other = bucket.clone();
        let thread = thread::spawn(move || other.shared.leave(first.0));
        let taker = bucket.clone();
        let taking = thread::spawn(move || taker.try_take(1).is_ok());
        let turn = bucket.shared.turn(Some(second.0), second.1, &waker);
        thread.join().unwrap();
        let rang = bell.0.load(Ordering::Acquire) == 1;
        let has_looked = matches!(turn, Turn::Taken | Turn::First(..));
        assert!(rang || has_looked, "the one behind is woken");
        assert!(!taking.join().unwrap(), "nobody passes it");
        if !matches!(turn, Turn::Taken) {
            let again = bucket.shared.turn(Some(second.0), second.1, Waker::noop());
            assert!(matches!(again, Turn::Taken), "{again:?}");
        }
        assert_eq!(bucket.available(), 0);
        assert_eq!(bucket.shared.waited_for.load(Ordering::Acquire), 0);
    });
}
