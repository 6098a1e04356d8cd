//! Small ready components, each behind a feature of its own.
//!
//! | factory | feature | facet | what it is |
//! |---|---|---|---|
//! | [`MEMORY_CACHE`] | `cache-memory` | `dyn Cache` | a bounded map in memory |
//! | [`FILE_CACHE`] | `cache-file` | `dyn Cache` | one file per entry; survives restarts |
//! | [`REDIS_CACHE`] | `cache-redis` | `dyn Cache` | a Redis server; shared by many processes |
//! | [`SYSTEM_CLOCK`] | `clock` | `dyn Clock` | the machine's clock, with an offset |
//! | [`FLAKY_CACHE`] | `flaky` | `dyn Cache` | a memory cache that fails as told, for tours and tests |
//!
//! And two that keep secrets, for `RuntimeBuilder::secret_provider` of `oneiric-runtime`:
//!
//! | provider | feature | what it is |
//! |---|---|---|
//! | `EnvSecrets` | `secrets-env` | `secret://env/NAME`: a variable of the environment |
//! | `FileSecrets` | `secrets-file` | `secret://file/NAME`: a private file; Unix only |
//!
//! [`factories`] gives those that are compiled in; candidates name them. Each has a settings type that
//! refuses what it does not know, and a probe that does a little of the real work.
//!
//! ```
//! # #[cfg(feature = "cache-memory")] {
//! use oneiric_core::FactoryPath;
//!
//! let factories = oneiric_builtins::factories();
//! let path: FactoryPath = oneiric_builtins::MEMORY_CACHE.parse()?;
//! let factory = factories.get(&path).expect("the feature is on");
//! assert!(factory.check_settings(&serde_json::json!({"max_entries": 100})).is_ok());
//! assert!(factory.check_settings(&serde_json::json!({"max_entires": 100})).is_err());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! One per component as in the table, and `full` for all of them. None is on by default.

#[cfg(any(feature = "cache-memory", feature = "cache-file"))]
mod bounded;
#[cfg(any(feature = "cache-memory", feature = "cache-file"))]
mod cache_state;
#[cfg(feature = "secrets-env")]
mod env_secrets;
#[cfg(feature = "cache-file")]
mod file_cache;
#[cfg(all(unix, feature = "secrets-file"))]
mod file_secrets;
#[cfg(feature = "flaky")]
mod flaky_cache;
#[cfg(feature = "cache-memory")]
mod memory_cache;
#[cfg(feature = "cache-redis")]
mod redis_cache;
#[cfg(feature = "clock")]
mod system_clock;

use oneiric_lifecycle::FactoryTable;

#[cfg(feature = "secrets-env")]
pub use env_secrets::EnvSecrets;
#[cfg(feature = "cache-file")]
pub use file_cache::{FileCache, FileCacheError, FileCacheSettings};
#[cfg(all(unix, feature = "secrets-file"))]
pub use file_secrets::FileSecrets;
#[cfg(feature = "flaky")]
pub use flaky_cache::{Behaviour, FlakyCache, FlakyCacheSettings, ProbeAnswer};
#[cfg(feature = "cache-memory")]
pub use memory_cache::{MemoryCache, MemoryCacheSettings};
#[cfg(feature = "cache-redis")]
pub use redis_cache::{InvalidRedisUrl, RedisCache, RedisCacheError, RedisCacheSettings, RedisUrl};
#[cfg(feature = "clock")]
pub use system_clock::{SystemClock, SystemClockSettings};

/// Names the factory of the cache in memory.
pub const MEMORY_CACHE: &str = "oneiric.builtins:memory_cache";
/// Names the factory of the cache in files.
pub const FILE_CACHE: &str = "oneiric.builtins:file_cache";
/// Names the factory of the cache in a Redis server.
pub const REDIS_CACHE: &str = "oneiric.builtins:redis_cache";
/// Names the factory of the machine's clock.
pub const SYSTEM_CLOCK: &str = "oneiric.builtins:system_clock";
/// Names the factory of the cache that fails as told.
pub const FLAKY_CACHE: &str = "oneiric.builtins:flaky_cache";

/// The factories that are compiled in.
pub fn factories() -> FactoryTable {
    #[cfg_attr(
        not(any(
            feature = "cache-memory",
            feature = "cache-file",
            feature = "cache-redis",
            feature = "clock"
        )),
        expect(unused_mut, reason = "without features there is nothing to insert")
    )]
    let mut table = FactoryTable::new();
    #[cfg(feature = "cache-memory")]
    table.insert(path(MEMORY_CACHE), memory_cache::factory());
    #[cfg(feature = "cache-file")]
    table.insert(path(FILE_CACHE), file_cache::factory());
    #[cfg(feature = "cache-redis")]
    table.insert(path(REDIS_CACHE), redis_cache::factory());
    #[cfg(feature = "clock")]
    table.insert(path(SYSTEM_CLOCK), system_clock::factory());
    #[cfg(feature = "flaky")]
    table.insert(path(FLAKY_CACHE), flaky_cache::factory());
    table
}

#[cfg(any(
    feature = "cache-memory",
    feature = "cache-file",
    feature = "cache-redis",
    feature = "clock"
))]
fn path(name: &'static str) -> oneiric_core::FactoryPath {
    name.parse()
        .expect("a constant of this file, each of which a test puts in the table")
}
