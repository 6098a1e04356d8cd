//! A cache in a directory: one file per entry, still there after a restart.
//!
//! The directory is the truth. The index in memory only remembers sizes and the order of use, so that
//! bounds can hold without listing the directory; where the two disagree, the directory wins. That is
//! what lets a new instance take over a directory while the old one still finishes its calls.
//!
//! What a crash can do: entries are written beside and renamed, so a killed process leaves old or new,
//! never half. Entries are not forced to the disk, for a cache may forget: a power cut may lose the
//! latest ones, and a checksum keeps a torn one from ever being given to anybody.

mod entry;
mod file;
mod handover;
mod shelf;
mod unfinished;

use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oneiric_core::{BoxFuture, Coded, ErrorKind, WallClock};
use oneiric_domains::{Cache, cache_instance, check_cache_key};
use oneiric_lifecycle::{
    BuildError, CallError, Factory, Health, Probe, Retire, SystemWallClock, factory_fn,
};
use serde::Deserialize;

use self::shelf::{Put, Shelf};
use crate::bounded::Bounds;

/// Settings of a [`FileCache`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileCacheSettings {
    /// Where the entries lie. Made, for its owner only, if it is not there. Not to be shared with
    /// another cache that is in use. A relative one begins in the working directory of the process,
    /// wherever the settings are written down; a process that changes it must give an absolute one.
    pub directory: PathBuf,
    /// How many entries are kept, 1 or more (10,000). The index takes memory for those that are
    /// there, not for those that may be.
    #[serde(default = "default_max_entries")]
    pub max_entries: NonZeroUsize,
    /// How many bytes of files are kept, 1 or more (256 MiB): keys, values and 36 bytes an entry, not
    /// what the file system rounds them up to. A get holds one entry in memory, which may be as
    /// large as this.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: NonZeroU64,
    /// How long an entry is kept that was put without a time to live, in milliseconds; without it,
    /// as long as the bounds allow. 0 has run out at once: such an entry is never got. One that ends
    /// beyond the end of time, as the largest values do, never ends.
    #[serde(default)]
    pub default_ttl_ms: Option<u64>,
}

impl FileCacheSettings {
    /// The defaults, over `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_entries: default_max_entries(),
            max_bytes: default_max_bytes(),
            default_ttl_ms: None,
        }
    }
}

const fn default_max_entries() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(9_999)
}

const fn default_max_bytes() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add((256 << 20) - 1)
}

/// The directory of a [`FileCache`] cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the directory {}", path.display())]
pub struct FileCacheError {
    path: PathBuf,
    source: io::Error,
}

impl FileCacheError {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Coded for FileCacheError {
    fn code(&self) -> &'static str {
        "builtins.directory_unusable"
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}

/// A bounded cache in a directory.
///
/// Over a bound, expired entries go first, then those used longest ago; after a restart, those
/// written longest ago. Time to live is measured on the wall clock, since it outlives the process,
/// and rounded up to milliseconds. Files in the directory that are not this cache's are left alone;
/// entries that are damaged count as not there, and so does whatever else stands under the name of
/// one: pipes are not waited for and links not followed. A put replaces it; a directory is renamed to
/// `set-aside-…`, with a warning in the log.
///
/// All file work is done on the blocking pool of the tokio runtime that the caller runs in.
pub struct FileCache {
    shelf: Arc<Shelf>,
    clock: Arc<dyn WallClock>,
    default_ttl: Option<Duration>,
}

impl FileCache {
    /// Opens the directory, making it if need be, and takes stock of it. Blocks.
    ///
    /// # Errors
    /// `builtins.directory_unusable` when it cannot be made or listed. Whether it can be written
    /// to is what the probe finds out.
    pub fn open(
        settings: &FileCacheSettings,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, FileCacheError> {
        let bounds = Bounds {
            entries: settings.max_entries,
            bytes: settings.max_bytes,
        };
        let unusable = |source| FileCacheError {
            path: settings.directory.clone(),
            source,
        };
        let shelf =
            Shelf::open(&settings.directory, bounds, now(clock.as_ref())).map_err(unusable)?;
        Ok(Self {
            shelf: Arc::new(shelf),
            clock,
            default_ttl: settings.default_ttl_ms.map(Duration::from_millis),
        })
    }

    fn now(&self) -> Duration {
        now(self.clock.as_ref())
    }

    /// Does `work` where it may block. It is finished even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let shelf = Arc::clone(&self.shelf);
        match tokio::task::spawn_blocking(move || work(&shelf)).await {
            Ok(product) => Ok(product),
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_cancelled) => Err(CallError::unavailable("the async runtime is shutting down")),
        }
    }
}

/// Time since 1970; a clock before that counts as 1970.
fn now(clock: &dyn WallClock) -> Duration {
    clock
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Callers are told what failed but not where: paths are for the operator, who asks the probe.
fn failed(doing: &str) -> impl FnOnce(io::Error) -> CallError {
    move |error| CallError::failed(format!("{doing} the entry: {}", error.kind()))
}

fn closed() -> CallError {
    CallError::unavailable("this cache was retired and writes nothing any more")
}

impl Cache for FileCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            let (key, now) = (key.to_owned(), self.now());
            self.blocking(move |shelf| shelf.get(&key, now))
                .await?
                .map_err(failed("cannot read"))
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            let (key, now) = (key.to_owned(), self.now());
            let ttl = ttl.or(self.default_ttl);
            let put = self
                .blocking(move |shelf| shelf.put(&key, &value, ttl, now))
                .await?;
            match put.map_err(failed("cannot write"))? {
                Put::Done => Ok(()),
                Put::Closed => Err(closed()),
                Put::TooLarge { bytes } => Err(CallError::InvalidPayload {
                    message: format!(
                        "the entry takes {bytes} bytes, more than the whole cache holds"
                    ),
                }),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            check_cache_key(key)?;
            let (key, now) = (key.to_owned(), self.now());
            let deleted = self.blocking(move |shelf| shelf.delete(&key, now)).await?;
            deleted.map_err(failed("cannot delete"))?.ok_or_else(closed)
        })
    }
}

impl Probe for FileCache {
    /// Writes a file, forces it to the disk, renames it, reads it back and deletes it.
    fn probe(&self) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            match self.blocking(Shelf::rehearse).await {
                Ok(Ok(())) => Health::Ok,
                Ok(Err(error)) => {
                    let directory = self.shelf.directory().display();
                    Health::critical(format!("directory {directory}: {error}"))
                }
                Err(error) => Health::probe_error(error.to_string()),
            }
        })
    }
}

impl Retire for FileCache {
    /// Waits for the write in progress and refuses further ones. Nothing is buffered, so nothing is
    /// lost.
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.blocking(Shelf::close)
                .await
                .map_err(|error| error.to_string())
        })
    }
}

impl std::fmt::Debug for FileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCache")
            .field("directory", &self.shelf.directory())
            .finish_non_exhaustive()
    }
}

pub(crate) fn factory() -> impl Factory {
    factory_fn(|_, settings: FileCacheSettings| async move {
        let cache = FileCache::open(&settings, Arc::new(SystemWallClock::new()))
            .map_err(|error| BuildError::failed(format_args!("{error}: {}", error.source)))?;
        let cache = Arc::new(cache);
        Ok(cache_instance(Arc::clone(&cache))
            .probe(Arc::clone(&cache) as _)
            .handover(Arc::clone(&cache) as _)
            .retire(cache))
    })
}
