//! What several of these tests need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use oneiric_builtins::{FileCache, FileCacheSettings};
use oneiric_core::{Candidate, Origin, Registry, Slot, WallClock};
use oneiric_lifecycle::{Lifecycle, LifecycleBuilder};
use serde_json::Value;

/// A wall clock that goes on when told to.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    /// 2026-11-22, 12:00 UTC.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_795_348_800_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl WallClock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn open(settings: &FileCacheSettings, clock: &Arc<ManualClock>) -> Arc<FileCache> {
    Arc::new(FileCache::open(settings, Arc::clone(clock) as _).unwrap())
}

pub(crate) fn slot() -> Slot {
    "adapter/cache".parse().unwrap()
}

/// A lifecycle whose cache slot has these (provider, factory, settings), best first.
pub(crate) fn lifecycle(candidates: &[(&str, &str, Value)]) -> LifecycleBuilder {
    let registry = Registry::new();
    for (rank, (provider, factory, _)) in candidates.iter().enumerate() {
        let candidate = Candidate::builder(slot(), provider.parse().unwrap(), Origin::settings())
            .priority(-i64::try_from(rank).unwrap())
            .factory(factory.parse().unwrap());
        registry.register(candidate.build()).keep();
    }
    let settings: Vec<_> = candidates
        .iter()
        .map(|(provider, _, settings)| ((*provider).to_owned(), settings.clone()))
        .collect();
    Lifecycle::builder(registry)
        .factories(oneiric_builtins::factories())
        .settings(move |_: &Slot, provider: &oneiric_core::Provider| {
            let mut known = settings.iter();
            known
                .find(|(name, _)| name == provider.as_str())
                .map(|(_, settings)| settings.clone())
        })
}
