//! Small values by name, each in somebody's namespace: what a component or a part of the program wants to find again
//! after a restart.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use oneiric_core::{ErrorKind, WallClock};
use oneiric_lifecycle::StoreError;

/// The longest key, and the longest name of a namespace, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// The longest value: 1 MiB.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Keeps values by key. Namespaces do not see each other.
pub trait KeyValueStore: Send + Sync {
    /// The value of `key`, unless its time is up.
    ///
    /// # Errors
    /// The store's own.
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Sets the value of `key`, until a time in milliseconds since 1970 if one is given.
    ///
    /// # Errors
    /// `domains.too_large` ([`MAX_KEY_BYTES`], [`MAX_VALUE_BYTES`]), or the store's own; then the value is as it was.
    fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        until_unix_ms: Option<u64>,
    ) -> Result<(), StoreError>;

    /// Removes `key`; tells whether it was there.
    ///
    /// # Errors
    /// The store's own; then it still is.
    fn delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError>;

    /// Keys that begin with `prefix`, in the order of their bytes; the first `limit` of them.
    ///
    /// # Errors
    /// The store's own.
    fn list(&self, namespace: &str, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError>;
}

fn _key_value_store_is_dyn_safe(_: &dyn KeyValueStore) {}

type Pairs = BTreeMap<(String, String), (Bytes, Option<u64>)>;

/// A [`KeyValueStore`] that lasts as long as the process.
pub struct MemoryKeyValueStore {
    pairs: Mutex<Pairs>,
    clock: Arc<dyn WallClock>,
}

impl MemoryKeyValueStore {
    /// An empty one. `clock` says when the time of a value is up.
    pub fn new(clock: Arc<dyn WallClock>) -> Self {
        Self {
            pairs: Mutex::default(),
            clock,
        }
    }

    fn pairs(&self) -> MutexGuard<'_, Pairs> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lives(&self, until: Option<u64>) -> bool {
        until.is_none_or(|until| until > unix_ms(self.clock.now()))
    }
}

impl KeyValueStore for MemoryKeyValueStore {
    fn get(&self, namespace: &str, key: &str) -> Result<Option<Bytes>, StoreError> {
        let held = self.pairs().get(&named(namespace, key)).cloned();
        Ok(held
            .filter(|(_, until)| self.lives(*until))
            .map(|(value, _)| value))
    }

    fn put(
        &self,
        namespace: &str,
        key: &str,
        value: &[u8],
        until_unix_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        check_pair(namespace, key, value)?;
        let value = (Bytes::copy_from_slice(value), until_unix_ms);
        let mut pairs = self.pairs();
        pairs.retain(|_, (_, until)| self.lives(*until));
        pairs.insert(named(namespace, key), value);
        Ok(())
    }

    fn delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        let held = self.pairs().remove(&named(namespace, key));
        Ok(held.is_some_and(|(_, until)| self.lives(until)))
    }

    fn list(&self, namespace: &str, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let pairs = self.pairs();
        let from = Bound::Included(named(namespace, prefix));
        let keys = pairs
            .range((from, Bound::Unbounded))
            .take_while(|((space, key), _)| space == namespace && key.starts_with(prefix))
            .filter(|(_, (_, until))| self.lives(*until))
            .take(limit);
        Ok(keys.map(|((_, key), _)| key.clone()).collect())
    }
}

impl std::fmt::Debug for MemoryKeyValueStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryKeyValueStore")
            .finish_non_exhaustive()
    }
}

/// Checks the lengths of what is to be kept.
///
/// # Errors
/// `domains.too_large`.
pub fn check_pair(namespace: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
    for (what, length, most) in [
        ("namespace", namespace.len(), MAX_KEY_BYTES),
        ("key", key.len(), MAX_KEY_BYTES),
        ("value", value.len(), MAX_VALUE_BYTES),
    ] {
        if length > most {
            let message = format!("the {what} is {length} bytes long, at most {most} are taken");
            return Err(StoreError::new(
                "domains.too_large",
                ErrorKind::Usage,
                message,
            ));
        }
    }
    Ok(())
}

fn named(namespace: &str, key: &str) -> (String, String) {
    (namespace.to_owned(), key.to_owned())
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use oneiric_core::Coded;

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl WallClock for Hand {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn keys_are_listed_in_order_by_prefix_and_namespaces_are_apart() {
        let store = MemoryKeyValueStore::new(Arc::new(Hand::default()));
        for (space, key) in [("a", "x2"), ("a", "x1"), ("a", "y"), ("b", "x9")] {
            store.put(space, key, key.as_bytes(), None).unwrap();
        }
        assert_eq!(store.list("a", "x", 9).unwrap(), ["x1", "x2"]);
        assert_eq!(store.list("a", "", 1).unwrap(), ["x1"]);
        assert_eq!(store.get("b", "x1").unwrap(), None);
        assert!(store.delete("a", "x1").unwrap());
        assert!(!store.delete("a", "x1").unwrap());
    }

    #[test]
    fn a_value_whose_time_is_up_is_gone() {
        let hand = Arc::new(Hand::default());
        let store = MemoryKeyValueStore::new(Arc::clone(&hand) as Arc<dyn WallClock>);
        store.put("a", "k", b"v", Some(10)).unwrap();
        hand.0.store(9, Ordering::Relaxed);
        assert_eq!(store.get("a", "k").unwrap().unwrap(), "v");
        hand.0.store(10, Ordering::Relaxed);
        assert_eq!(store.get("a", "k").unwrap(), None);
        assert!(store.list("a", "", 9).unwrap().is_empty());
        assert!(!store.delete("a", "k").unwrap());
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let store = MemoryKeyValueStore::new(Arc::new(Hand::default()));
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        let refused = store.put("a", &long, b"", None).unwrap_err();
        assert_eq!(refused.code(), "domains.too_large");
        let value = vec![0; MAX_VALUE_BYTES + 1];
        let refused = store.put("a", "k", &value, None).unwrap_err();
        assert_eq!(refused.code(), "domains.too_large");
    }
}
