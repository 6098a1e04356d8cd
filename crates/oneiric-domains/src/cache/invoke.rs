//! A cache's operations by name, for whoever has no Rust trait at hand.

use std::fmt;
use std::sync::Arc;

use oneiric_core::BoxFuture;
use oneiric_lifecycle::{CallError, Invoke, Operation, Payload};

use super::Cache;
use super::wire::{CachedValue, KeyInput, Millis, PutInput};

/// Answers `get`, `put` and `delete` for anything that is a [`Cache`].
///
/// | operation | takes | gives |
/// |---|---|---|
/// | `get` | `"a"` or `{"key": "a"}` | the value, or `null` |
/// | `put` | `{"key": "a", "value": "1", "ttl_ms": 1000}`, `ttl_ms` optional | `null` |
/// | `delete` | `"a"` or `{"key": "a"}` | whether there was a value |
///
/// A value is a text; where its bytes are no text it is `{"base64": "..."}`.
pub struct CacheInvoke<C: ?Sized> {
    cache: Arc<C>,
}

impl<C: Cache + ?Sized> CacheInvoke<C> {
    /// The operations of `cache`.
    pub const fn new(cache: Arc<C>) -> Self {
        Self { cache }
    }
}

impl<C: Cache + ?Sized> Invoke for CacheInvoke<C> {
    fn invoke<'a>(
        &'a self,
        operation: &'a str,
        input: Payload,
    ) -> BoxFuture<'a, Result<Payload, CallError>> {
        Box::pin(async move {
            match operation {
                "get" => {
                    let KeyInput(key) = input.parse()?;
                    Payload::json(&self.cache.get(&key).await?.map(CachedValue))
                }
                "put" => {
                    let PutInput {
                        key,
                        value: CachedValue(value),
                        ttl_ms,
                    } = input.parse()?;
                    self.cache
                        .put(&key, value, ttl_ms.map(Millis::to_duration))
                        .await?;
                    Ok(Payload::empty())
                }
                "delete" => {
                    let KeyInput(key) = input.parse()?;
                    Payload::json(&self.cache.delete(&key).await?)
                }
                _ => Err(CallError::unknown_operation(operation, self)),
            }
        })
    }

    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("get", r#""a" -> the value under key a, or null"#),
            Operation::new(
                "put",
                r#"{"key": "a", "value": "1", "ttl_ms": 1000} -> null; ttl_ms may be left out"#,
            ),
            Operation::new("delete", r#""a" -> true if there was a value under key a"#),
        ]
    }
}

impl<C: ?Sized> fmt::Debug for CacheInvoke<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheInvoke").finish_non_exhaustive()
    }
}
