//! Secrets while the process runs: fetched when a component is built, kept for a while, looked at again, and given to
//! whoever uses them when they change.
//!
//! Settings hold references only ([`references`]). A reference is replaced by its value at the last moment, in the
//! settings that a factory is handed ([`resolve`]); what a component was given is remembered by its number, not its
//! value ([`users`]), so that it can be told when there is a newer one ([`watch`]). What is kept, and what happens
//! when whoever keeps it does not answer, is in [`store`]. Normative text: docs/spec/secrets.md.

mod asking;
mod references;
mod resolve;
mod store;
mod users;
mod watch;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use oneiric_core::WallClock;
use oneiric_domains::{Secret, SecretError, SecretProvider, SecretRef};
use oneiric_lifecycle::SwapEvent;
use serde_json::Value;

pub use self::asking::asking_for_secret;
pub(crate) use self::{
    references::named,
    resolve::Resolved,
    store::View,
    users::{How, Reached},
    watch::{Renewed, Told},
};
use self::{store::Store, users::Users};
use crate::{events::Events, redact::Redactor, reload::Current, settings::Settings};

/// The shortest text that is taken for a secret because of what its setting is called, in bytes: `token = "none"` must
/// not take a word out of every log line.
const MIN_GUESSED_BYTES: usize = 8;

/// Under which name the redactor knows what stands in the settings themselves. No reference is called so.
const OF_SETTINGS: &str = "settings";

/// Providers by name, as a program hands them in.
pub(crate) type Providers = BTreeMap<String, Arc<dyn SecretProvider>>;

/// The secrets of a runtime. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Secrets {
    store: Arc<Store>,
    users: Arc<Users>,
    settings: Current,
    /// Held by whoever tells components, so that none is told the same thing twice.
    telling: Arc<tokio::sync::Mutex<()>>,
    /// How secrets came out that somebody had fetched anew, for the metrics.
    rotations: Arc<Rotations>,
}

#[derive(Default)]
struct Rotations {
    changed: AtomicU64,
    unchanged: AtomicU64,
    failed: AtomicU64,
}

impl Secrets {
    pub(crate) fn new(
        providers: Providers,
        settings: Current,
        redactor: Redactor,
        clock: Arc<dyn WallClock>,
        events: Arc<Events>,
    ) -> Self {
        let secrets = Self {
            store: Arc::new(Store::new(providers, redactor, clock, events)),
            users: Arc::default(),
            settings,
            telling: Arc::default(),
            rotations: Arc::default(),
        };
        // There may be no runtime yet to do it elsewhere, and nobody who would have to wait.
        let found = standing_in(&secrets.settings.load());
        secrets.store.redactor.protect(OF_SETTINGS, found);
        secrets
    }

    /// Has what stands in the settings themselves and looks like a secret covered too: it should not stand there, and
    /// is none the less a secret. To be called before other settings are in force.
    pub(crate) async fn cover_settings(&self, settings: &Settings) {
        let found = standing_in(settings);
        let covered = self.store.redactor.cover(OF_SETTINGS.to_owned(), found);
        if covered.await.is_err() {
            tracing::warn!("what looks like a secret in new settings cannot be covered");
        }
    }

    /// The secret's value, fetched if it is not here or too old. Cancel-safe: what was begun goes on.
    pub(crate) async fn get(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let ttl = self.settings.load().secrets.ttl;
        let given = self.store.get(reference, ttl).await?;
        Ok(given.secret)
    }

    /// Has whoever asks next fetch what could not be had. To be called before an operator's action, who is not to be
    /// told what was wrong before they mended it.
    pub(crate) fn doubt_failures(&self) {
        self.store.doubt_failures();
    }

    /// What is known about a secret besides its value.
    pub(crate) fn view(&self, reference: &SecretRef) -> View {
        self.store.view(reference, self.settings.load().secrets.ttl)
    }

    /// The settings that an instance was handed last, with references in them; `None` when nobody knows.
    pub(crate) fn handed(&self, instance: u64) -> Option<Option<Value>> {
        self.users.handed(instance)
    }

    /// How many fetches have ended, by how they did.
    #[cfg(feature = "metrics")]
    pub(crate) fn fetches(&self) -> [(&'static str, u64); 3] {
        self.store.fetches()
    }

    /// How many secrets somebody had fetched anew, by what came of it.
    #[cfg(feature = "metrics")]
    pub(crate) fn rotations(&self) -> [(&'static str, u64); 3] {
        let count = |count: &AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        [
            ("changed", count(&self.rotations.changed)),
            ("unchanged", count(&self.rotations.unchanged)),
            ("failed", count(&self.rotations.failed)),
        ]
    }

    pub(crate) fn providers(&self) -> impl Iterator<Item = &str> {
        self.store.providers()
    }

    /// Is an observer of the lifecycle: what was given counts when the instance serves.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        self.users.observe(event);
    }
}

/// What stands in the settings and looks like a secret.
fn standing_in(settings: &Settings) -> Vec<Secret> {
    let values = settings.providers.values();
    let found = values.flat_map(|configured| crate::settings::secrets_in(&configured.value));
    let found = found.filter(|text| text.len() >= MIN_GUESSED_BYTES);
    found.map(Secret::new).collect()
}
