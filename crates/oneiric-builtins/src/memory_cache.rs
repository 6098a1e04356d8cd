//! A cache in memory: nothing to set up, gone with the process.
//!
//! One lock around an exact LRU map. It is held for a lookup and a pointer copy, never across an
//! await, so it is not what a program waits for before it is busy enough to want another cache.
//!
//! Nothing here ever waits, so a task that only calls this cache would never give its thread back.
//! Each call therefore spends some of the task's budget, and the runtime gets its turn.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use oneiric_domains::{Cache, cache_instance, check_cache_key};
use oneiric_lifecycle::{
    CallError, Factory, Handover, HandoverState, Health, Probe, StateTooLarge, StateWriter,
    factory_fn,
};
use serde::Deserialize;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::bounded::{Bounded, Bounds};
use crate::cache_state;

/// Settings of a [`MemoryCache`].
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryCacheSettings {
    /// How many entries are kept, 1 or more (10,000).
    pub max_entries: NonZeroUsize,
    /// How many bytes of keys and values are kept, 1 or more (64 MiB).
    pub max_bytes: NonZeroU64,
    /// How long an entry is kept that was put without a time to live, in milliseconds; without it,
    /// as long as the bounds allow. 0 has run out at once: such an entry is never got.
    pub default_ttl_ms: Option<u64>,
}

impl Default for MemoryCacheSettings {
    fn default() -> Self {
        Self {
            max_entries: NonZeroUsize::MIN.saturating_add(9_999),
            max_bytes: NonZeroU64::MIN.saturating_add((64 << 20) - 1),
            default_ttl_ms: None,
        }
    }
}

/// A bounded cache in memory.
///
/// Over a bound, expired entries go first, then those used longest ago, exactly in that order. Time
/// to live is measured on the monotonic clock; nobody who sets the machine's clock changes it.
#[derive(Debug)]
pub struct MemoryCache {
    kept: Mutex<Bounded<Arc<str>, Bytes>>,
    bounds: Bounds,
    born: Instant,
    default_ttl: Option<Duration>,
}

impl MemoryCache {
    /// An empty cache.
    pub fn new(settings: &MemoryCacheSettings) -> Self {
        let bounds = Bounds {
            entries: settings.max_entries,
            bytes: settings.max_bytes,
        };
        Self {
            kept: Mutex::new(Bounded::new(bounds)),
            bounds,
            born: Instant::now(),
            default_ttl: settings.default_ttl_ms.map(Duration::from_millis),
        }
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn kept(&self) -> MutexGuard<'_, Bounded<Arc<str>, Bytes>> {
        // Nothing under the lock runs foreign code; should it panic all the same, the map is whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(&self, key: &str, value: &Bytes, ttl: Option<Duration>) -> Result<(), CallError> {
        check_cache_key(key)?;
        let bytes = (key.len() + value.len()) as u64;
        if !self.bounds.fit(bytes) {
            let message =
                format!("key and value are {bytes} bytes, more than the whole cache holds");
            return Err(CallError::InvalidPayload { message });
        }
        let now = self.now();
        // A time to live that ends beyond the end of time never ends.
        let expires = ttl
            .or(self.default_ttl)
            .and_then(|ttl| now.checked_add(ttl));
        // A value may be a slice of a far larger buffer, which it would keep in memory.
        let value = Bytes::copy_from_slice(value);
        let mut kept = self.kept();
        kept.insert(key.into(), value, bytes, expires);
        kept.trim(now);
        Ok(())
    }
}

impl Cache for MemoryCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            consume_budget().await;
            check_cache_key(key)?;
            Ok(self.kept().get(key, self.now()).cloned())
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            consume_budget().await;
            self.put_now(key, &value, ttl)
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            consume_budget().await;
            check_cache_key(key)?;
            Ok(self.kept().take(key, self.now()).is_some())
        })
    }
}

impl Probe for MemoryCache {
    /// Puts, gets and deletes an entry under the one key that no caller can use, without pushing out
    /// anybody else's.
    fn probe(&self) -> BoxFuture<'_, Health> {
        const KEY: &str = "";
        const VALUE: Bytes = Bytes::from_static(b"probe");
        let now = self.now();
        let mut kept = self.kept();
        kept.insert(KEY.into(), VALUE, 0, None);
        let found = kept.get(KEY, now) == Some(&VALUE);
        let deleted = kept.take(KEY, now).is_some();
        let health = if found && deleted {
            Health::Ok
        } else {
            Health::critical("a value that was put could not be got and deleted")
        };
        Box::pin(std::future::ready(health))
    }
}

impl Handover for MemoryCache {
    fn writes(&self) -> Vec<String> {
        vec![cache_state::FORMAT.to_owned()]
    }

    fn reads(&self, format: &str) -> bool {
        format == cache_state::FORMAT
    }

    /// Everything that has not run out, with the time that it has left.
    fn export<'a>(
        &'a self,
        _format: &'a str,
        into: &'a mut StateWriter,
    ) -> BoxFuture<'a, Result<(), String>> {
        let exported = self.export_now(into);
        let exported = exported.map_err(|error| error.to_string());
        Box::pin(std::future::ready(exported))
    }

    /// Takes the entries in place of its own. Those that are more than it keeps go as they always do, used longest ago
    /// first.
    fn import(&self, state: HandoverState) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(self.import_now(&state)))
    }
}

impl MemoryCache {
    fn export_now(&self, into: &mut StateWriter) -> Result<(), StateTooLarge> {
        let (now, kept) = (self.now(), self.kept());
        let mut writer = cache_state::Writer::new(into);
        for (key, value, expires) in kept.by_use() {
            if expires.is_some_and(|expires| expires <= now) {
                continue;
            }
            let ttl = expires.map(|expires| expires.saturating_sub(now));
            writer.put(&cache_state::Entry { key, value, ttl })?;
        }
        writer.end()
    }

    fn import_now(&self, state: &HandoverState) -> Result<(), String> {
        let now = self.now();
        let mut taken = Bounded::new(self.bounds);
        for entry in cache_state::Reader::new(state.bytes()) {
            let cache_state::Entry { key, value, ttl } =
                entry.map_err(|error| error.to_string())?;
            check_cache_key(key).map_err(|error| error.to_string())?;
            let bytes = (key.len() + value.len()) as u64;
            if self.bounds.fit(bytes) {
                let expires = ttl.and_then(|ttl| now.checked_add(ttl));
                taken.insert(
                    Arc::from(key),
                    Bytes::copy_from_slice(value),
                    bytes,
                    expires,
                );
                taken.trim(now);
            }
        }
        *self.kept() = taken;
        Ok(())
    }
}

pub(crate) fn factory() -> impl Factory {
    factory_fn(|_, settings: MemoryCacheSettings| async move {
        let cache = Arc::new(MemoryCache::new(&settings));
        Ok(cache_instance(Arc::clone(&cache))
            .probe(Arc::clone(&cache) as _)
            .handover(cache))
    })
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded;

    use super::*;

    #[tokio::test]
    async fn a_value_larger_than_the_cache_is_refused_and_the_old_one_stays() {
        let max_bytes = NonZeroU64::new(8).unwrap();
        let cache = MemoryCache::new(&MemoryCacheSettings {
            max_bytes,
            ..Default::default()
        });
        cache
            .put("k", Bytes::from_static(b"1"), None)
            .await
            .unwrap();
        let error = cache
            .put("k", Bytes::from_static(b"12345678"), None)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "lifecycle.invalid_payload");
        assert_eq!(cache.get("k").await.unwrap().unwrap(), "1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_time_to_live_is_for_those_that_have_none() {
        let settings = MemoryCacheSettings {
            default_ttl_ms: Some(10),
            ..Default::default()
        };
        let cache = MemoryCache::new(&settings);
        cache.put("default", Bytes::new(), None).await.unwrap();
        cache
            .put("own", Bytes::new(), Some(Duration::from_millis(20)))
            .await
            .unwrap();
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(cache.get("default").await.unwrap(), None);
        assert!(cache.get("own").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_task_that_only_calls_it_still_lets_others_run() {
        let other = tokio::spawn(async {});
        let cache = MemoryCache::new(&MemoryCacheSettings::default());
        let mut calls = 0;
        while !other.is_finished() && calls < 100_000 {
            cache.get("k").await.unwrap();
            calls += 1;
        }
        assert!(other.is_finished(), "no turn for it in {calls} calls");
    }

    #[tokio::test]
    async fn a_probe_pushes_nothing_out_of_a_full_cache() {
        let max_entries = NonZeroUsize::MIN;
        let cache = MemoryCache::new(&MemoryCacheSettings {
            max_entries,
            ..Default::default()
        });
        cache.put("only", Bytes::new(), None).await.unwrap();
        assert_eq!(cache.probe().await, Health::Ok);
        assert!(cache.get("only").await.unwrap().is_some());
        assert_eq!(cache.kept().sizes(), [1, 1, 0]);
    }
}
