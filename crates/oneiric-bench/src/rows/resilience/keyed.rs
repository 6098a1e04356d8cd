//! A token taken from one of many keys' buckets.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use governor::DefaultKeyedRateLimiter;
use oneiric_resilience::{KeyedBuckets, KeyedBucketsConfig};

use super::bucket::{PLENTY, plenty};
use crate::row::{Contest, Contestant, Goal, MakeWork, Operation, Row, repeated};
use crate::rows::control;

pub(in crate::rows) const NAME: &str = "resilience-bucket-keyed";

/// A power of two.
const KEYS: u64 = 1_024;

pub(in crate::rows) fn row() -> Result<Row, Box<dyn Error>> {
    let goal = |threads, at_most| Goal::Ratio {
        threads,
        at_most,
        stretch: None,
    };
    Ok(Row {
        name: NAME,
        title: "Token bucket by key: take one of many",
        note: "1,024 keys, all known, used in no order; all threads share them. Both read the \
               processor's time stamp counter through quanta.",
        contest: Contest::Operations(vec![
            control::increments()?,
            Contestant::peer("governor, keyed: `check_key`", governor()?),
            Contestant::ours("`KeyedBuckets::try_take`", ours()?)
                .goal(goal(1, 0.8))
                .goal(goal(2, 0.3)),
        ]),
    })
}

/// The next key of a thread: all of them, in an order that no processor foresees.
fn next(key: &mut u64) -> u64 {
    *key = key
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*key >> 33) % KEYS
}

fn governor() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let limiter = Arc::new(DefaultKeyedRateLimiter::<u64>::keyed(plenty()));
        for key in 0..KEYS {
            black_box(limiter.check_key(&key).is_ok());
        }
        Ok(repeated(move || {
            let limiter = Arc::clone(&limiter);
            let mut key = 0;
            move || {
                black_box(limiter.check_key(&next(&mut key)).is_ok());
            }
        }))
    })
}

fn ours() -> Result<Operation, Box<dyn Error>> {
    Operation::new(|| -> Result<MakeWork, _> {
        let buckets = all_known()?;
        Ok(repeated(move || {
            let buckets = buckets.clone();
            let mut key = 0;
            move || {
                black_box(buckets.try_take(&next(&mut key), 1).is_ok());
            }
        }))
    })
}

fn all_known() -> Result<KeyedBuckets<u64>, Box<dyn Error>> {
    let buckets = KeyedBuckets::new(KeyedBucketsConfig {
        capacity: PLENTY,
        // Less than is taken: a bucket that is full again may lose its place, and would have to come in anew.
        refill_per_sec: 1_000.0,
        ..KeyedBucketsConfig::default()
    })?;
    for key in 0..KEYS {
        // What takes minutes to come back, whatever the time until the row begins.
        buckets.try_take(&key, PLENTY / 2)?;
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_and_used() {
        let buckets = all_known().unwrap();
        let mut key = 0;
        let used: std::collections::BTreeSet<_> = (0..100_000).map(|_| next(&mut key)).collect();
        assert_eq!(used.len() as u64, KEYS);
        assert!(used.iter().all(|key| buckets.try_take(key, 1).is_ok()));
        assert_eq!(buckets.len() as u64, KEYS);
    }
}
