//! The settings of buckets by key, and what they may be.

use crate::bucket::config::TokenBucketConfig;
use crate::invalid::{Checks, InvalidConfig};

/// Keys at most: a table of 640 megabytes.
const MOST_KEYS: u32 = 10_000_000;

/// The settings of [`KeyedBuckets`](super::KeyedBuckets).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct KeyedBucketsConfig {
    /// Tokens that each key's bucket holds when it is full. 1 to 1,000,000,000.
    pub capacity: u32,
    /// Tokens that come back to each a second. More than 0, at most 1,000,000,000; so many that an
    /// empty bucket is full within 366 days.
    pub refill_per_sec: f64,
    /// Keys that are limited apart at the same time. 1 to 10,000,000.
    pub max_keys: u32,
    /// What becomes of a key for which there is no place.
    pub overflow: KeyOverflow,
}

impl Default for KeyedBucketsConfig {
    /// 10 tokens for each key, 10 more a second, 100,000 keys; others are refused.
    fn default() -> Self {
        Self {
            capacity: 10,
            refill_per_sec: 10.0,
            max_keys: 100_000,
            overflow: KeyOverflow::default(),
        }
    }
}

/// What becomes of a key for which there is no place because all are taken by keys that are not idle.
///
/// Nobody's bucket is given up to make a place: forgetting one that is not full would fill it, and
/// whoever can think up keys could fill its own as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum KeyOverflow {
    /// It is refused (`resilience.too_many_keys`). The bound holds for each key.
    #[default]
    Refuse,
    /// It shares one more bucket with all others for which there is no place. The bound holds for each
    /// key with a place and for the rest together; a key that gets a place afterwards has a full bucket
    /// there, so of such a key an interval may see both.
    Share,
}

impl KeyedBucketsConfig {
    /// # Errors
    /// `resilience.invalid_config` with every setting that cannot work.
    pub(super) fn checked(&self) -> Result<(), InvalidConfig> {
        let Self {
            capacity,
            refill_per_sec,
            max_keys,
            overflow: KeyOverflow::Refuse | KeyOverflow::Share,
        } = *self;
        let bucket = TokenBucketConfig {
            capacity,
            refill_per_sec,
            max_waiters: 0,
        };
        let mut checks = Checks::of("keyed token bucket");
        bucket.check(&mut checks);
        checks.within("max_keys", max_keys, 1..=MOST_KEYS).done()
    }
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use super::*;

    #[test]
    fn everything_that_cannot_work_is_told_with_its_bounds() {
        assert_eq!(KeyedBucketsConfig::default().checked(), Ok(()));
        let bad = KeyedBucketsConfig {
            capacity: 0,
            refill_per_sec: f64::INFINITY,
            max_keys: 0,
            overflow: KeyOverflow::Share,
        };
        assert_eq!(
            bad.checked().unwrap_err().to_string(),
            "these keyed token bucket settings cannot work: \
             `capacity` is 0, allowed is 1 to 1000000000; \
             `refill_per_sec` is inf, allowed is more than 0, at most 1000000000; \
             `max_keys` is 0, allowed is 1 to 10000000"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn settings_come_from_a_file() {
        let text = "refill_per_sec = 0.5\nmax_keys = 3\noverflow = \"share\"";
        let config: KeyedBucketsConfig = toml::from_str(text).unwrap();
        let expected = KeyedBucketsConfig {
            refill_per_sec: 0.5,
            max_keys: 3,
            overflow: KeyOverflow::Share,
            ..KeyedBucketsConfig::default()
        };
        assert_eq!(config, expected);
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.ends_with(r#""overflow":"share"}"#), "{json}");
        let read: KeyedBucketsConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(read, config);
        let empty: KeyedBucketsConfig = toml::from_str("").unwrap();
        assert_eq!(empty, KeyedBucketsConfig::default());
        for bad in [
            "overflow = \"Refuse\"",
            "overflow = \"forget\"",
            "max_waiters = 3",
            "max_keys = -3",
        ] {
            assert!(toml::from_str::<KeyedBucketsConfig>(bad).is_err(), "{bad}");
        }
        let refuse: KeyedBucketsConfig = toml::from_str("overflow = \"refuse\"").unwrap();
        assert_eq!(refuse.overflow, KeyOverflow::Refuse);
    }
}
