//! The table under every interleaving of few threads: a table of two places in a group, so that keys
//! meet. Time stands still while the threads run.

use std::time::Duration;

use loom::thread;

use super::*;
use crate::clock::ManualClock;

fn buckets(max_keys: u32) -> (ManualClock, KeyedBuckets<u64, ManualClock>) {
    let clock = ManualClock::new();
    let config = KeyedBucketsConfig {
        capacity: 1,
        refill_per_sec: 1.0,
        max_keys,
        overflow: KeyOverflow::Refuse,
    };
    (
        clock.clone(),
        KeyedBuckets::with_clock(config, clock).unwrap(),
    )
}

/// The tests' keys are their own hashes, as the seed would decide what a model explores.
impl KeyedBuckets<u64, ManualClock> {
    fn took(&self, hash: u64) -> u32 {
        let shared = &*self.shared;
        let address = Address::of(hash);
        let payment = Payment {
            cost: shared.terms.cost(1),
            terms: shared.terms,
        };
        let asked = shared.table.take(address, payment, shared.tick());
        let took = match asked {
            Asked::Taken => Ok(()),
            asked => shared.otherwise(address, payment, asked),
        };
        u32::from(took.is_ok())
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn a_key_that_comes_from_two_sides_has_one_bucket() {
    model(|| {
        let (_, buckets) = buckets(2);
        let other = buckets.clone();
        let thread = thread::spawn(move || other.took(7));
        let mine = buckets.took(7);
        assert_eq!(mine + thread.join().unwrap(), 1);
        assert_eq!(buckets.len(), 1);
    });
}

#[test]
fn a_place_that_is_given_away_loses_no_grant_of_whoever_had_it() {
    model(|| {
        let (clock, buckets) = buckets(1);
        assert_eq!(buckets.took(7), 1);
        clock.advance(Duration::from_secs(1));
        let (one, two) = (buckets.clone(), buckets.clone());
        // It is idle: the one takes from it, the other takes its place.
        let taking = thread::spawn(move || one.took(7));
        let coming = thread::spawn(move || two.took(8));
        let (had, came) = (taking.join().unwrap(), coming.join().unwrap());
        assert!(had + came >= 1);
        assert_eq!(buckets.len(), 1);
        // Whoever took has nothing left.
        assert_eq!(had * buckets.took(7), 0);
        assert_eq!(came * buckets.took(8), 0);
    });
}

#[test]
fn a_key_that_is_forgotten_while_it_comes_in_gets_no_more_than_its_bound() {
    model(|| {
        let (clock, buckets) = buckets(2);
        let other = buckets.clone();
        let thread = thread::spawn(move || {
            let took = other.took(7);
            clock.advance(Duration::from_secs(1));
            other.sweep();
            took
        });
        let mine = buckets.took(7);
        let took = mine + thread.join().unwrap() + buckets.took(7);
        assert!(took <= 2, "what it holds, and what came back in one second");
    });
}

#[test]
fn a_sweep_loses_no_grant_and_counts_right() {
    model(|| {
        let (clock, buckets) = buckets(1);
        assert_eq!(buckets.took(7), 1);
        clock.advance(Duration::from_secs(1));
        let other = buckets.clone();
        let sweeping = thread::spawn(move || other.sweep());
        let took = buckets.took(7);
        let swept = sweeping.join().unwrap();
        assert_eq!(took, 1);
        assert_eq!(buckets.took(7), 0);
        assert_eq!(buckets.len(), 1);
        assert!(swept <= 1);
    });
}

#[test]
fn there_are_never_more_keys_than_may_be() {
    model(|| {
        let (_, buckets) = buckets(1);
        let other = buckets.clone();
        let thread = thread::spawn(move || other.took(7));
        let mine = buckets.took(8);
        assert_eq!(mine + thread.join().unwrap(), 1);
        assert_eq!(buckets.len(), 1);
    });
}
