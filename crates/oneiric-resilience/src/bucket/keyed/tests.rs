//! Buckets by key beside one bucket for each, and under many threads.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bucket::{TokenBucket, TokenBucketConfig};
use crate::clock::ManualClock;

fn buckets(max_keys: u32, overflow: KeyOverflow) -> (ManualClock, KeyedBuckets<u64, ManualClock>) {
    let clock = ManualClock::new();
    let config = KeyedBucketsConfig {
        capacity: 3,
        refill_per_sec: 10.0,
        max_keys,
        overflow,
    };
    (
        clock.clone(),
        KeyedBuckets::with_clock(config, clock).unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// As long as there are places, each key has what a bucket of its own would give it, whatever is
    /// forgotten in between.
    #[test]
    fn p55_each_key_has_a_bucket_of_its_own(
        steps in proptest::collection::vec((0_u64..8, 0_u32..5, 0_u64..200_000_000, 0..9_u8), 1..80),
    ) {
        let (clock, keyed) = buckets(8, KeyOverflow::Refuse);
        let mut apart: HashMap<u64, TokenBucket<ManualClock>> = HashMap::new();
        for (key, tokens, pass, sweep) in steps {
            let one = apart.entry(key).or_insert_with(|| {
                let config = TokenBucketConfig { capacity: 3, refill_per_sec: 10.0, max_waiters: 0 };
                TokenBucket::with_clock(config, clock.clone()).unwrap()
            });
            prop_assert_eq!(keyed.try_take(&key, tokens), one.try_take(tokens));
            prop_assert_eq!(keyed.available(&key), one.available());
            clock.advance(Duration::from_nanos(pass));
            if sweep == 0 {
                keyed.sweep();
            }
            prop_assert!(keyed.len() <= 8);
        }
    }

    /// Where there are more keys than places, a key is refused only while all places are needed.
    #[test]
    fn p56_a_key_is_refused_only_while_all_places_are_needed(
        steps in proptest::collection::vec((0_u64..12, 0_u64..200_000_000), 1..80),
    ) {
        let (clock, keyed) = buckets(4, KeyOverflow::Refuse);
        let mut full_at: HashMap<u64, u64> = HashMap::new();
        let mut now = 0;
        for (key, pass) in steps {
            let needed = full_at.values().filter(|&&at| at > now).count();
            let idle = full_at.get(&key).is_none_or(|&at| at <= now);
            let ahead = full_at.get(&key).map_or(0, |at| at.saturating_sub(now));
            match keyed.try_take(&key, 1) {
                Ok(()) => {
                    prop_assert!(!idle || needed < 4);
                    full_at.insert(key, now + ahead + 100_000_000);
                }
                Err(rejected) if rejected.rejection() == Rejection::TooManyKeys => {
                    prop_assert!(idle && needed == 4);
                    let first = full_at.values().filter(|&&at| at > now).min().unwrap();
                    let wait = Duration::from_nanos(first - now);
                    prop_assert_eq!(rejected.retry_after(), Some(wait));
                }
                Err(rejected) => {
                    prop_assert_eq!(rejected.rejection(), Rejection::RateLimited);
                    prop_assert!(ahead + 100_000_000 > 300_000_000);
                }
            }
            prop_assert!(keyed.len() <= 4);
            clock.advance(Duration::from_nanos(pass));
            now += pass;
        }
    }
}

#[test]
fn p55_p56_threads_sweeps_and_strangers_give_nobody_more_nor_make_more_places() {
    const KEYS: u64 = 6;
    const ROUNDS: u64 = 30_000;
    let (clock, keyed) = buckets(12, KeyOverflow::Refuse);
    let granted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (keyed, granted, done, clock) = (&keyed, &granted, &done, &clock);
        let takers: Vec<_> = (0..3_u64)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let key = (round + thread) % KEYS;
                        if keyed.try_take(&key, 1).is_ok() {
                            granted[usize::try_from(key).unwrap()].fetch_add(1, Ordering::Relaxed);
                        }
                        // Somebody whom nobody knows wants a place.
                        keyed.try_take(&(1_000 + round * 3 + thread), 1).ok();
                        clock.advance(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                keyed.sweep();
                assert!(keyed.len() <= 12);
            }
        });
        for taker in takers {
            taker.join().unwrap();
        }
        done.store(true, Ordering::Release);
    });
    // Ten a second, and three at once.
    let most = 3 + 3 * ROUNDS / 100;
    for granted in &granted {
        let granted = granted.load(Ordering::Relaxed);
        assert!(granted <= most, "{granted} of {most}");
    }
    clock.advance(Duration::from_secs(1));
    keyed.sweep();
    assert_eq!(keyed.len(), 0);
}

#[test]
fn as_many_keys_as_may_be_find_a_place() {
    for max_keys in [1, 2, 3, 5, 64, 1_000, 20_000] {
        for _ in 0..5 {
            let (_, keyed) = buckets(max_keys, KeyOverflow::Refuse);
            for key in 0..u64::from(max_keys) {
                assert_eq!(keyed.try_take(&key, 1), Ok(()), "{key} of {max_keys}");
            }
            let rejected = keyed.try_take(&u64::MAX, 1).unwrap_err();
            assert_eq!(rejected.code(), "resilience.too_many_keys");
            assert_eq!(keyed.len(), usize::try_from(max_keys).unwrap());
        }
    }
}

#[test]
fn idle_keys_make_place_for_others_one_after_the_other() {
    let (clock, keyed) = buckets(5_000, KeyOverflow::Refuse);
    for key in 0..5_000 {
        keyed.try_take(&key, 1).unwrap();
    }
    clock.advance(Duration::from_millis(100));
    // Each new key looks through a part of the places only; none is refused all the same.
    for key in 5_000..10_000 {
        assert_eq!(keyed.try_take(&key, 1), Ok(()), "{key}");
    }
    assert!(keyed.try_take(&10_000, 1).is_err());
    assert_eq!(keyed.len(), 5_000);
}

#[test]
fn those_without_a_place_may_share_a_bucket() {
    let (clock, keyed) = buckets(1, KeyOverflow::Share);
    keyed.try_take(&0, 1).unwrap();
    for stranger in 1..=3 {
        assert_eq!(keyed.try_take(&stranger, 1), Ok(()));
    }
    let rejected = keyed.try_take(&4, 1).unwrap_err();
    assert_eq!(rejected.code(), "resilience.rate_limited");
    assert_eq!(rejected.retry_after(), Some(Duration::from_millis(100)));
    assert_eq!(
        keyed.try_take(&0, 2),
        Ok(()),
        "the one with a place has its own"
    );
    clock.advance(Duration::from_millis(300));
    assert_eq!(keyed.try_take(&4, 3), Ok(()), "the place was idle");
    assert_eq!(keyed.available(&4), 0);
}

#[test]
fn none_and_too_many_need_no_place() {
    let (_, keyed) = buckets(1, KeyOverflow::Refuse);
    assert_eq!(keyed.try_take(&0, 0), Ok(()));
    let rejected = keyed.try_take(&0, 4).unwrap_err();
    assert_eq!(rejected.code(), "resilience.over_capacity");
    assert!(keyed.is_empty());
    assert_eq!(keyed.available(&0), 3);
}

#[test]
fn keys_are_looked_up_in_any_borrowed_form_and_never_shown() {
    let config = KeyedBucketsConfig {
        capacity: 1,
        ..KeyedBucketsConfig::default()
    };
    let keyed = KeyedBuckets::<String, _>::with_clock(config, ManualClock::new()).unwrap();
    assert_eq!(keyed.try_take("alice", 1), Ok(()));
    assert!(keyed.clone().try_take(&"alice".to_owned(), 1).is_err());
    assert!(!format!("{keyed:?}").contains("alice"));
}

#[test]
fn time_that_jumps_to_its_end_fills_each_bucket_once() {
    let (clock, keyed) = buckets(1, KeyOverflow::Refuse);
    keyed.try_take(&0, 3).unwrap();
    clock.advance(Duration::MAX);
    assert_eq!(keyed.try_take(&0, 3), Ok(()));
    assert!(keyed.try_take(&0, 1).is_err());
}
