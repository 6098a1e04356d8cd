//! The cache behind operations by name: what a sandboxed component looks like to Rust callers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use oneiric_lifecycle::{CallError, Invoke, Payload};

use super::Cache;
use super::wire::{CachedValue, Millis, PutInput};

/// A [`Cache`] over a component that answers `get`, `put` and `delete` as
/// [`CacheInvoke`](super::CacheInvoke) describes them. A time to live is rounded up to milliseconds.
pub struct CacheProxy {
    invoke: Arc<dyn Invoke>,
}

impl CacheProxy {
    /// The cache that answers through `invoke`.
    pub const fn new(invoke: Arc<dyn Invoke>) -> Self {
        Self { invoke }
    }
}

impl Cache for CacheProxy {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            let found: Option<CachedValue> = self
                .invoke
                .invoke("get", Payload::json(&key)?)
                .await?
                .parse()?;
            Ok(found.map(|CachedValue(value)| value))
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            let input = PutInput {
                key: key.to_owned(),
                value: CachedValue(value),
                ttl_ms: ttl.map(Millis::from_duration),
            };
            self.invoke
                .invoke("put", Payload::json(&input)?)
                .await
                .map(drop)
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            self.invoke
                .invoke("delete", Payload::json(&key)?)
                .await?
                .parse()
        })
    }
}

impl fmt::Debug for CacheProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheProxy").finish_non_exhaustive()
    }
}
