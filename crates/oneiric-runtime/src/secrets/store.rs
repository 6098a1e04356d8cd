//! What was fetched, and for how long it is good.
//!
//! However many ask for a secret that is not here, one fetch is made, in a task of its own: whoever asked first may
//! go away. Its error is shared by those who waited for it and held for a second, so that nobody is asked in a circle.
//!
//! When a secret is too old it is fetched again. That whoever keeps it does not answer is no reason to stop a program
//! that works, so the last value is then served on, marked as stale. A definite answer is believed, however: a secret
//! that is gone, or lies open to others, is not given out any more.
//!
//! A value is covered in all that leaves the process before anybody is given it; only the task of its fetch waits for
//! that.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use oneiric_core::{Coded as _, WallClock};
use oneiric_domains::{MAX_SECRET_BYTES, Secret, SecretError, SecretProvider, SecretRef};
use tokio::{sync::Notify, time::Instant};

use super::{Providers, asking, references::known};
use crate::{api::ProcessEvent, events::Events, redact::Redactor};

/// How long a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// For how long an error is the answer to whoever asks next.
const ERROR_HELD: Duration = Duration::from_secs(1);
/// For how long a stale value is served before it is asked for again.
const STALE_HELD: Duration = Duration::from_secs(30);
/// How many secrets are kept, besides those that somebody waits for.
const MOST: usize = 1_024;
/// How long all of those may be together, in bytes: what is needed to find them in a text is some forty times that.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// Secrets that were fetched.
pub(super) struct Store {
    providers: Providers,
    entries: Mutex<BTreeMap<SecretRef, Arc<Entry>>>,
    pub(super) redactor: Redactor,
    clock: Arc<dyn WallClock>,
    pub(super) events: Arc<Events>,
    /// Fetches of all of them that ended, for the metrics.
    fetches: Fetches,
    /// Values of all of them that there were. One that is fetched again after it was thrown out is then newer than all
    /// that anybody was given.
    versions: AtomicU64,
    /// Told when there is a secret that was not there, or another one than before.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Entry {
    /// Held by the fetch under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    value: Option<Secret>,
    /// Its number among those of all secrets, in the order in which they came; 0 while there was none.
    version: u64,
    fetched: Option<(Instant, SystemTime)>,
    /// Why the last fetch failed.
    failed: Option<(Instant, SecretError)>,
    /// Whether somebody who may have mended it wants it fetched, however lately that failed.
    doubted: bool,
    /// Fetches that ended.
    fetches: u64,
}

/// How often which answer came.
#[derive(Default)]
struct Fetches {
    fetched: AtomicU64,
    /// It says nothing about the secret itself.
    unavailable: AtomicU64,
    refused: AtomicU64,
}

impl Fetches {
    fn count(&self, answer: &Result<Secret, SecretError>) {
        let counter = match answer {
            Ok(_) => &self.fetched,
            Err(error) if error.is_passing() => &self.unavailable,
            Err(_) => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A value and its number.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) secret: Secret,
    pub(super) version: u64,
}

/// When a secret should be looked at again, and why.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// Its time is up then, and it may be looked at a little earlier.
    Old(Instant),
    /// It could not be had, and nobody asks again before then.
    Failed(Instant),
}

/// What is known about a secret besides its value.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) fetched: Option<SystemTime>,
    pub(crate) expires: Option<SystemTime>,
    /// Served although the last fetch failed.
    pub(crate) stale: bool,
    pub(crate) error: Option<SecretError>,
}

impl Store {
    pub(super) fn new(
        providers: Providers,
        redactor: Redactor,
        clock: Arc<dyn WallClock>,
        events: Arc<Events>,
    ) -> Self {
        Self {
            providers,
            entries: Mutex::default(),
            redactor,
            clock,
            events,
            fetches: Fetches::default(),
            versions: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    pub(super) fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// The value, fetched if it is not here or older than `ttl`.
    pub(super) async fn get(
        self: &Arc<Self>,
        reference: &SecretRef,
        ttl: Duration,
    ) -> Result<Given, SecretError> {
        let provider = Arc::clone(known(reference, &self.providers)?);
        let entry = self.entry(reference);
        let seen = {
            let kept = entry.kept();
            if let Some(answer) = kept.settled(Instant::now(), ttl) {
                return answer;
            }
            kept.fetches
        };
        let turn = Arc::clone(&entry.turn).lock_owned().await;
        // Whatever ended while this one waited is its answer too.
        if entry.kept().fetches == seen {
            self.fetch(reference, &entry, provider, turn).await;
        }
        entry.kept().answer(reference)
    }

    /// Fetches now, whatever is here.
    pub(super) async fn renew(self: &Arc<Self>, reference: &SecretRef) -> Result<(), SecretError> {
        let provider = Arc::clone(known(reference, &self.providers)?);
        let entry = self.entry(reference);
        // A fetch under way may have read the old one, so one is begun after it in any case.
        let turn = Arc::clone(&entry.turn).lock_owned().await;
        self.fetch(reference, &entry, provider, turn).await;
        let kept = entry.kept();
        match &kept.failed {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Has whoever asks next fetch what could not be had: what failed a moment ago may have been mended since.
    pub(super) fn doubt_failures(&self) {
        for entry in self.entries().values() {
            let mut kept = entry.kept();
            kept.doubted = kept.failed.is_some();
        }
    }

    async fn fetch(
        self: &Arc<Self>,
        reference: &SecretRef,
        entry: &Arc<Entry>,
        provider: Arc<dyn SecretProvider>,
        turn: tokio::sync::OwnedMutexGuard<()>,
    ) {
        let (store, entry, reference) = (Arc::clone(self), Arc::clone(entry), reference.clone());
        let fetching = tokio::spawn(async move {
            let asked = {
                let reference = reference.clone();
                tokio::spawn(async move {
                    let asked = asking::marked(|| provider.fetch(reference.name()));
                    tokio::time::timeout(FETCH_LIMIT, asked).await
                })
            };
            let unavailable = |message: String| SecretError::Unavailable {
                name: reference.name().to_owned(),
                message,
            };
            let answer = match asked.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_elapsed)) => Err(unavailable(format!(
                    "no answer within {} s",
                    FETCH_LIMIT.as_secs()
                ))),
                // Without the panic's message, which may have the secret in it.
                Err(_panic) => Err(SecretError::Panicked {
                    name: reference.name().to_owned(),
                }),
            };
            let answer = store.covered(&reference, &entry, answer).await;
            store.record(&reference, &entry, answer);
            store.make_room();
            drop(turn);
        });
        // It fails only with the async runtime itself.
        let _ended = fetching.await;
    }

    /// The answer, once its value is covered wherever it may be said.
    async fn covered(
        &self,
        reference: &SecretRef,
        entry: &Entry,
        answer: Result<Secret, SecretError>,
    ) -> Result<Secret, SecretError> {
        let secret = answer?;
        let name = || reference.name().to_owned();
        if secret.expose().len() > MAX_SECRET_BYTES {
            let message = format!("it is longer than {MAX_SECRET_BYTES} bytes");
            let name = name();
            return Err(SecretError::Unusable { name, message });
        }
        if entry.kept().value.as_ref() != Some(&secret) {
            let owner = reference.to_string();
            let covered = self.redactor.cover(owner, vec![secret.clone()]).await;
            covered.map_err(|_not_covered| SecretError::Unavailable {
                name: name(),
                message: "it cannot be covered in what the process says".to_owned(),
            })?;
        }
        Ok(secret)
    }

    fn record(&self, reference: &SecretRef, entry: &Entry, answer: Result<Secret, SecretError>) {
        let now = Instant::now();
        let mut kept = entry.kept();
        kept.fetches += 1;
        kept.doubted = false;
        self.fetches.count(&answer);
        match answer {
            Ok(secret) => {
                kept.fetched = Some((now, self.clock.now()));
                if kept.failed.take().is_some() {
                    tracing::info!(%reference, "the secret can be had again");
                    let secret = reference.to_string();
                    self.events
                        .say(None, ProcessEvent::SecretRecovered { secret });
                }
                if kept.value.as_ref() != Some(&secret) {
                    if kept.value.replace(secret).is_some() {
                        tracing::info!(%reference, "the secret has changed");
                        let secret = reference.to_string();
                        self.events
                            .say(None, ProcessEvent::SecretChanged { secret });
                    }
                    kept.version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
                    self.changed.notify_one();
                }
            }
            Err(error) => {
                if kept.value.is_some() && kept.failed.is_none() {
                    let (code, reason) = (error.code(), error.to_string());
                    if error.is_passing() {
                        tracing::warn!(%reference, code, reason, "serving the last value of a secret that cannot be had");
                    } else {
                        tracing::error!(%reference, code, reason, "a secret in use is not given out any more");
                    }
                }
                let known = kept.failed.as_ref().map(|(_, error)| error.code());
                if known != Some(error.code()) {
                    let failed = ProcessEvent::SecretFailed {
                        secret: reference.to_string(),
                        code: error.code().to_owned(),
                        stale: kept.value.is_some() && error.is_passing(),
                    };
                    self.events.say(None, failed);
                }
                kept.failed = Some((now, error));
            }
        }
    }

    /// The number of the value there is; 0 if there is none.
    pub(super) fn version(&self, reference: &SecretRef) -> u64 {
        let entries = self.entries();
        entries
            .get(reference)
            .map_or(0, |entry| entry.kept().version)
    }

    /// When the secret should be looked at again; `None` for one that nobody asked for yet.
    pub(super) fn due(&self, reference: &SecretRef, ttl: Duration) -> Option<Due> {
        let entry = self.entries().get(reference).map(Arc::clone)?;
        let kept = entry.kept();
        match (&kept.failed, kept.fetched) {
            (Some((at, _)), Some(_)) => Some(Due::Failed(*at + STALE_HELD)),
            (None, Some((at, _))) => Some(Due::Old(at + ttl)),
            _ => None,
        }
    }

    /// How many fetches have ended, by how they did.
    #[cfg(feature = "metrics")]
    pub(super) fn fetches(&self) -> [(&'static str, u64); 3] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("fetched", count(&self.fetches.fetched)),
            ("unavailable", count(&self.fetches.unavailable)),
            ("refused", count(&self.fetches.refused)),
        ]
    }

    pub(super) fn view(&self, reference: &SecretRef, ttl: Duration) -> View {
        let Some(entry) = self.entries().get(reference).map(Arc::clone) else {
            return View::default();
        };
        let kept = entry.kept();
        let error = kept.failed.as_ref().map(|(_, error)| error.clone());
        View {
            fetched: kept.fetched.map(|(_, at)| at),
            expires: kept.fetched.and_then(|(_, at)| at.checked_add(ttl)),
            stale: kept.value.is_some() && error.as_ref().is_some_and(SecretError::is_passing),
            error,
        }
    }

    fn entry(&self, reference: &SecretRef) -> Arc<Entry> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(reference) {
            return Arc::clone(entry);
        }
        let entry = Arc::<Entry>::default();
        entries.insert(reference.clone(), Arc::clone(&entry));
        drop(entries);
        self.make_room();
        entry
    }

    /// Throws out what was fetched longest ago, until what is kept is not too much. What somebody has in hand stays:
    /// its fetch would end with a value that is covered for nobody.
    fn make_room(&self) {
        let mut entries = self.entries();
        let mut bytes: usize = entries.values().map(|entry| entry.kept().bytes()).sum();
        if entries.len() <= MOST && bytes <= MOST_BYTES {
            return;
        }
        // Whoever takes one in hand does so under the lock that is held here.
        let idle = entries
            .iter()
            .filter(|(_, entry)| Arc::strong_count(entry) == 1);
        let mut oldest: Vec<_> = idle
            .map(|(reference, entry)| (entry.kept().fetched.map(|(at, _)| at), reference.clone()))
            .collect();
        oldest.sort_unstable();
        for (_, reference) in oldest {
            if entries.len() <= MOST && bytes <= MOST_BYTES {
                break;
            }
            if let Some(entry) = entries.remove(&reference) {
                bytes -= entry.kept().bytes();
                self.redactor.forget(reference.to_string());
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SecretRef, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change is complete in itself.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The length of the value.
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.expose().len())
    }

    /// The answer, where nothing need be fetched for it.
    fn settled(&self, now: Instant, ttl: Duration) -> Option<Result<Given, SecretError>> {
        match (&self.failed, self.given(), self.fetched) {
            (Some(_), ..) if self.doubted => None,
            (Some((at, error)), given, _) => {
                let answer = given.ok_or_else(|| error.clone());
                let held = if answer.is_ok() {
                    STALE_HELD
                } else {
                    ERROR_HELD
                };
                (now < *at + held).then_some(answer)
            }
            (None, Some(given), Some((at, _))) if now < at + ttl => Some(Ok(given)),
            _ => None,
        }
    }

    /// The answer after a fetch.
    fn answer(&self, reference: &SecretRef) -> Result<Given, SecretError> {
        match (self.given(), &self.failed) {
            (Some(given), _) => Ok(given),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Err(SecretError::Unavailable {
                name: reference.name().to_owned(),
                message: "the process is ending".to_owned(),
            }),
        }
    }

    /// The value, unless a definite answer says that there is none any more.
    fn given(&self) -> Option<Given> {
        let passing = |(_, error): &(Instant, SecretError)| error.is_passing();
        if !self.failed.as_ref().is_none_or(passing) {
            return None;
        }
        self.value.clone().map(|secret| Given {
            secret,
            version: self.version,
        })
    }
}

#[cfg(test)]
mod tests;
