//! A cache that misbehaves exactly as told, to see what the rest of a program makes of it.
//!
//! Nothing in it is random: a tour must show the same thing every time, and a test that found
//! something must find it again.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use oneiric_domains::{Cache, Secret, cache_instance};
use oneiric_lifecycle::{BuildError, CallError, Factory, Health, Probe, Retire, factory_fn};
use serde::Deserialize;

use crate::memory_cache::{MemoryCache, MemoryCacheSettings};

/// Settings of a [`FlakyCache`]. With none of them it is a memory cache like any other.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FlakyCacheSettings {
    /// What its factory does (`ok`).
    pub build: Behaviour,
    /// What it answers when asked for its health (`ok`).
    pub probe: ProbeAnswer,
    /// What each `get`, `put` and `delete` does (`ok`).
    pub call: Behaviour,
    /// Which of them do: each so-manieth (1, all of them).
    pub call_each: NonZeroU64,
    /// What its clean-up does (`ok`).
    pub retire: Behaviour,
    /// How long `slow` takes, in milliseconds (1,000).
    pub delay_ms: u64,
    /// A secret that it gives away in whatever it says, as careless components do (none).
    pub token: Option<Secret>,
}

impl Default for FlakyCacheSettings {
    fn default() -> Self {
        Self {
            build: Behaviour::Ok,
            probe: ProbeAnswer::Ok,
            call: Behaviour::Ok,
            call_each: NonZeroU64::MIN,
            retire: Behaviour::Ok,
            delay_ms: 1_000,
            token: None,
        }
    }
}

/// What a step of a [`FlakyCache`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Behaviour {
    /// Does its work.
    Ok,
    /// Answers with an error.
    Fail,
    /// Panics.
    Panic,
    /// Waits for `delay_ms`, then does its work.
    Slow,
    /// Never answers; can be cancelled.
    Hang,
}

/// What a [`FlakyCache`] answers when asked for its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeAnswer {
    /// All is well.
    Ok,
    /// It works; somebody should look at it.
    Warn,
    /// It does not work.
    Critical,
    /// None: the probe panics.
    Panic,
    /// All is well, after `delay_ms`.
    Slow,
    /// None: the probe never answers.
    Hang,
}

/// What it says whenever it fails because it was told to.
const TOLD: &str = "told to fail by its settings";

impl FlakyCacheSettings {
    /// Its words for every occasion.
    fn says(&self) -> String {
        match &self.token {
            None => TOLD.to_owned(),
            Some(token) => format!("{TOLD}, with {}", token.expose()),
        }
    }
}

impl Behaviour {
    /// Misbehaves, and says `what`; `Ok` when the work may be done.
    async fn act(self, delay: Duration, what: String) -> Result<(), String> {
        match self {
            Self::Ok => Ok(()),
            Self::Fail => Err(what),
            #[expect(clippy::panic, reason = "what it is for")]
            Self::Panic => panic!("{what}"),
            Self::Slow => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Self::Hang => std::future::pending().await,
        }
    }
}

/// A memory cache that fails as its settings say.
#[derive(Debug)]
pub struct FlakyCache {
    inner: MemoryCache,
    settings: FlakyCacheSettings,
    calls: AtomicU64,
}

impl FlakyCache {
    /// Builds one, or does what `settings.build` says instead.
    ///
    /// # Errors
    /// That it was told to fail.
    ///
    /// # Panics
    /// When told to.
    pub async fn build(settings: FlakyCacheSettings) -> Result<Self, BuildError> {
        let delay = Duration::from_millis(settings.delay_ms);
        settings
            .build
            .act(delay, settings.says())
            .await
            .map_err(BuildError::failed)?;
        Ok(Self {
            inner: MemoryCache::new(&MemoryCacheSettings::default()),
            settings,
            calls: AtomicU64::new(0),
        })
    }

    async fn call(&self) -> Result<(), CallError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if number % self.settings.call_each != 0 {
            return Ok(());
        }
        self.settings
            .call
            .act(self.delay(), self.settings.says())
            .await
            .map_err(CallError::failed)
    }

    const fn delay(&self) -> Duration {
        Duration::from_millis(self.settings.delay_ms)
    }
}

impl Cache for FlakyCache {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, CallError>> {
        Box::pin(async move {
            self.call().await?;
            self.inner.get(key).await
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(async move {
            self.call().await?;
            self.inner.put(key, value, ttl).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, CallError>> {
        Box::pin(async move {
            self.call().await?;
            self.inner.delete(key).await
        })
    }
}

impl Probe for FlakyCache {
    fn probe(&self) -> BoxFuture<'_, Health> {
        Box::pin(async move {
            let behaviour = match self.settings.probe {
                ProbeAnswer::Warn => return Health::warn(self.settings.says()),
                ProbeAnswer::Critical => return Health::critical(self.settings.says()),
                ProbeAnswer::Ok => Behaviour::Ok,
                ProbeAnswer::Panic => Behaviour::Panic,
                ProbeAnswer::Slow => Behaviour::Slow,
                ProbeAnswer::Hang => Behaviour::Hang,
            };
            match behaviour.act(self.delay(), self.settings.says()).await {
                Ok(()) => self.inner.probe().await,
                Err(message) => Health::critical(message),
            }
        })
    }
}

impl Retire for FlakyCache {
    fn retire(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.settings.retire.act(self.delay(), self.settings.says()))
    }
}

pub(crate) fn factory() -> impl Factory {
    factory_fn(|_, settings: FlakyCacheSettings| async move {
        let cache = Arc::new(FlakyCache::build(settings).await?);
        Ok(cache_instance(Arc::clone(&cache))
            .probe(Arc::clone(&cache) as _)
            .retire(cache))
    })
}
