//! The facet of caches: a value by key, for a while.
//!
//! Three methods, because three are what every cache can do, from a map in memory to a server. What
//! only some can do (counting, scanning, locking) is another facet, not a method that fails.

mod invoke;
mod proxy;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use oneiric_lifecycle::{CallError, FacetProxy, Instance, Live};

pub use self::invoke::CacheInvoke;
pub use self::proxy::CacheProxy;
use crate::live::follow;

/// The longest key of a [`Cache`], in bytes.
pub const MAX_CACHE_KEY_BYTES: usize = 1_024;

/// Keeps values by key, each for as long as its time to live and the cache's bounds allow.
///
/// A cache may forget any value at any time; it never gives a value that was not the last one put
/// under that very key. Keys are any text of 1 to [`MAX_CACHE_KEY_BYTES`] bytes, values any bytes.
///
/// Cancel-safety: a call whose future is dropped has been carried out or not, never half.
pub trait Cache: Send + Sync {
    /// The value under `key`; `None` when there is none, or no more.
    ///
    /// # Errors
    /// `lifecycle.invalid_payload` for a key that is none; otherwise what went wrong inside.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>>;

    /// Keeps `value` under `key`, in place of what was there, for `ttl`, or as long as the cache
    /// sees fit when that is `None`. A `ttl` of zero has run out at once.
    ///
    /// # Errors
    /// `lifecycle.invalid_payload` for a key that is none and for a value that is larger than the
    /// cache as a whole (what was under the key stays); otherwise what went wrong inside.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>>;

    /// Forgets the value under `key`; tells whether there was one to get.
    ///
    /// # Errors
    /// As [`Cache::get`].
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>>;
}

fn _cache_is_dyn_safe(_: &dyn Cache) {}

/// Checks a key for those who implement [`Cache`], so that all refuse the same ones.
///
/// # Errors
/// `lifecycle.invalid_payload` for a key that is empty or longer than [`MAX_CACHE_KEY_BYTES`].
pub fn check_cache_key(key: &str) -> Result<(), CallError> {
    let message = match key.len() {
        0 => "the key is empty".to_owned(),
        1..=MAX_CACHE_KEY_BYTES => return Ok(()),
        bytes => {
            format!("the key is {bytes} bytes long; at most {MAX_CACHE_KEY_BYTES} are allowed")
        }
    };
    Err(CallError::InvalidPayload { message })
}

/// An instance that serves `cache` both ways: as `dyn Cache`, and by the operations `get`, `put` and
/// `delete`. Add its probe and its clean-up to it.
pub fn cache_instance(cache: Arc<impl Cache + 'static>) -> Instance {
    Instance::new(Arc::new(CacheInvoke::new(Arc::clone(&cache)))).facet::<dyn Cache>(cache)
}

/// Gives `dyn Cache` to every instance that only answers `get`, `put` and `delete` by name.
pub fn cache_proxy() -> FacetProxy {
    FacetProxy::new::<dyn Cache>(["get", "put", "delete"], |invoke| {
        Arc::new(CacheProxy::new(invoke))
    })
}

/// A cache that follows the slot's swaps, so that a consumer may hold `Arc<dyn Cache>` and know
/// nothing of slots. Each call takes a lease, activates the slot if need be, and is counted.
impl Cache for Live<dyn Cache> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(follow(
            self,
            move |cache| async move { cache.get(key).await },
        ))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(follow(self, move |cache| async move {
            cache.put(key, value, ttl).await
        }))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(follow(
            self,
            move |cache| async move { cache.delete(key).await },
        ))
    }
}

#[cfg(test)]
mod tests {
    use oneiric_core::Coded;

    use super::*;

    #[test]
    fn keys_are_bounded_at_both_ends() {
        assert!(check_cache_key("k").is_ok());
        assert!(check_cache_key(&"k".repeat(MAX_CACHE_KEY_BYTES)).is_ok());
        for bad in [String::new(), "k".repeat(MAX_CACHE_KEY_BYTES + 1)] {
            assert_eq!(
                check_cache_key(&bad).unwrap_err().code(),
                "lifecycle.invalid_payload"
            );
        }
    }
}
