//! A map with two bounds, exact least-recently-used order and expiry: what the caches share.
//!
//! Two ordered indexes beside the map make every operation O(log n) and every decision exact: which
//! entry was used longest ago, which expires next. An approximate policy would be quicker and could
//! not be held against a model, and a cache of ten thousand entries does not feel the difference.
//!
//! It reads no clock: time is a `Duration` since a beginning that the caller chooses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) entries: NonZeroUsize,
    pub(crate) bytes: NonZeroU64,
}

impl Bounds {
    /// Whether an entry of so many bytes can be kept at all.
    pub(crate) const fn fit(self, bytes: u64) -> bool {
        bytes <= self.bytes.get()
    }
}

#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    bounds: Bounds,
    entries: HashMap<K, Entry<V>>,
    /// From the use that is longest ago to the latest.
    by_use: BTreeMap<u64, K>,
    by_expiry: BTreeSet<(Duration, K)>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    expires: Option<Duration>,
    used: u64,
}

impl<V> Entry<V> {
    fn is_expired(&self, now: Duration) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Bounded<K, V> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
            uses: 0,
        }
    }

    /// The value under `key`, now the one used last; an expired one is dropped instead.
    pub(crate) fn get<Q>(&mut self, key: &Q, now: Duration) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.entries.get(key)?.is_expired(now) {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        if let Some(key) = self.by_use.remove(&entry.used) {
            self.by_use.insert(self.uses, key);
        }
        entry.used = self.uses;
        Some(&entry.value)
    }

    /// Puts `value` under `key` without regard to the bounds; see [`Bounded::trim`].
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: u64, expires: Option<Duration>) {
        self.remove(&key);
        self.uses += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_use.insert(self.uses, key.clone());
        if let Some(expires) = expires {
            self.by_expiry.insert((expires, key.clone()));
        }
        self.entries.insert(
            key,
            Entry {
                value,
                bytes,
                expires,
                used: self.uses,
            },
        );
    }

    /// Forgets `key`; gives its value if it was not expired.
    pub(crate) fn take<Q>(&mut self, key: &Q, now: Duration) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.remove(key)
            .filter(|entry| !entry.is_expired(now))
            .map(|entry| entry.value)
    }

    /// Everything with when it expires, from the use that is longest ago to the latest. Is no use itself.
    pub(crate) fn by_use(&self) -> impl Iterator<Item = (&K, &V, Option<Duration>)> {
        self.by_use.values().filter_map(|key| {
            let entry = self.entries.get(key)?;
            Some((key, &entry.value, entry.expires))
        })
    }

    /// Drops what is expired, then what was used longest ago until the bounds hold; gives the keys.
    pub(crate) fn trim(&mut self, now: Duration) -> Vec<K> {
        let mut dropped = Vec::new();
        while let Some((expires, key)) = self.by_expiry.first()
            && *expires <= now
        {
            let key = key.clone();
            self.remove(&key);
            dropped.push(key);
        }
        while (self.entries.len() > self.bounds.entries.get() || !self.bounds.fit(self.bytes))
            && let Some((_, key)) = self.by_use.first_key_value()
        {
            let key = key.clone();
            self.remove(&key);
            dropped.push(key);
        }
        dropped
    }

    fn remove<Q>(&mut self, key: &Q) -> Option<Entry<V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entry = self.entries.remove(key)?;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        let key = self.by_use.remove(&entry.used);
        if let (Some(key), Some(expires)) = (key, entry.expires) {
            self.by_expiry.remove(&(expires, key));
        }
        Some(entry)
    }
}

#[cfg(test)]
impl<K: Clone + Eq + Hash + Ord, V> Bounded<K, V> {
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.entries.len(), self.by_use.len(), self.by_expiry.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn bounded(entries: usize, bytes: u64) -> Bounded<&'static str, u8> {
        Bounded::new(Bounds {
            entries: NonZeroUsize::new(entries).unwrap(),
            bytes: NonZeroU64::new(bytes).unwrap(),
        })
    }

    #[test]
    fn the_entry_used_longest_ago_goes_first() {
        let mut map = bounded(2, 100);
        map.insert("a", 1, 1, None);
        map.insert("b", 2, 1, None);
        assert_eq!(map.get("a", at(0)), Some(&1));
        map.insert("c", 3, 1, None);
        assert_eq!(map.trim(at(0)), ["b"]);
    }

    #[test]
    fn expired_entries_go_before_any_other() {
        let mut map = bounded(2, 100);
        map.insert("old", 1, 1, None);
        map.insert("short", 2, 1, Some(at(5)));
        map.insert("new", 3, 1, None);
        assert_eq!(map.trim(at(5)), ["short"]);
        assert_eq!(map.get("old", at(5)), Some(&1));
    }

    #[test]
    fn an_entry_expires_at_its_time_and_not_before() {
        let mut map = bounded(2, 100);
        map.insert("a", 1, 1, Some(at(5)));
        assert_eq!(map.get("a", at(4)), Some(&1));
        assert_eq!(map.get("a", at(5)), None);
        assert_eq!(map.sizes(), [0, 0, 0]);
    }

    #[test]
    fn many_small_entries_go_for_a_large_one() {
        let mut map = bounded(10, 10);
        for key in ["a", "b", "c"] {
            map.insert(key, 0, 3, None);
        }
        map.insert("large", 1, 7, None);
        assert_eq!(map.trim(at(0)), ["a", "b"]);
        assert!(map.bounds.fit(10));
        assert!(!map.bounds.fit(11));
    }

    proptest! {
        #[test]
        fn the_indexes_never_drift_from_the_map(
            steps in prop::collection::vec((0_usize..6, 0_u8..4, 1_u64..6, prop::option::of(0_u64..20)), 0..200),
        ) {
            const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
            let mut map = bounded(3, 9);
            for (now, (key, step, bytes, expires)) in steps.into_iter().enumerate() {
                let now = at(now as u64 / 4);
                match step {
                    0 => drop(map.get(KEYS[key], now)),
                    1 => drop(map.take(KEYS[key], now)),
                    _ => {
                        map.insert(KEYS[key], 0, bytes, expires.map(at));
                        map.trim(now);
                    }
                }
                let [entries, by_use, by_expiry] = map.sizes();
                prop_assert_eq!(entries, by_use);
                let expiring = map.entries.values().filter(|entry| entry.expires.is_some()).count();
                prop_assert_eq!(by_expiry, expiring);
                prop_assert_eq!(map.bytes, map.entries.values().map(|entry| entry.bytes).sum::<u64>());
                prop_assert!(entries <= 3 && map.bytes <= 9);
            }
        }
    }
}
