//! Secrets while the process runs: fetched when a component is built, kept for a while, looked at again, and given to
//! whoever uses them when they change.
//!
//! Settings hold references only ([`references`]). A reference is replaced by its value at the last moment, in the
//! settings that a factory is handed ([`resolve`]); what a component was given is remembered by its number, not its
//! value ([`users`]), so that it can be told when there is a newer one ([`watch`]). What is kept, and what happens
//! when whoever keeps it does not answer, is in [`store`]. Normative text: docs/spec/secrets.md.

mod references;
mod resolve;
mod store;
mod users;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use oneiric_core::WallClock;
use oneiric_domains::{Secret, SecretError, SecretProvider, SecretRef};
use oneiric_lifecycle::SwapEvent;

pub(crate) use self::{
    references::named,
    resolve::Resolved,
    store::View,
    watch::{Renewed, Told},
};
use self::{store::Store, users::Users};
use crate::{redact::Redactor, reload::Current};

/// The shortest text that is taken for a secret because of what its setting is called, in bytes: `token = "none"` must
/// not take a word out of every log line.
const MIN_GUESSED_BYTES: usize = 8;

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
}

impl Secrets {
    pub(crate) fn new(
        providers: Providers,
        settings: Current,
        redactor: Redactor,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        let secrets = Self {
            store: Arc::new(Store::new(providers, redactor, clock)),
            users: Arc::default(),
            settings,
            telling: Arc::default(),
        };
        secrets.cover_settings();
        secrets
    }

    /// Has what stands in the settings themselves and looks like a secret covered too: it should not stand there, and
    /// is none the less a secret. To be called when other settings are in force.
    pub(crate) fn cover_settings(&self) {
        let settings = self.settings.load();
        let values = settings.providers.values();
        let found = values.flat_map(|configured| crate::settings::secrets_in(&configured.value));
        let found = found.filter(|text| text.len() >= MIN_GUESSED_BYTES);
        let found = found.map(Secret::new).collect();
        self.store.redactor.protect("settings", found);
    }

    /// The secret's value, fetched if it is not here or too old. Cancel-safe: what was begun goes on.
    pub(crate) async fn get(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let ttl = self.settings.load().secrets.ttl;
        let given = self.store.get(reference, ttl).await?;
        Ok(given.secret)
    }

    /// What is known about a secret besides its value.
    pub(crate) fn view(&self, reference: &SecretRef) -> View {
        self.store.view(reference, self.settings.load().secrets.ttl)
    }

    /// How many fetches have ended.
    #[cfg(feature = "metrics")]
    pub(crate) fn fetches(&self) -> u64 {
        self.store.fetches()
    }

    pub(crate) fn providers(&self) -> impl Iterator<Item = &str> {
        self.store.providers()
    }

    /// Is an observer of the lifecycle: what was given counts when the instance serves.
    pub(crate) fn observe(&self, event: &SwapEvent) {
        self.users.observe(event);
    }
}
