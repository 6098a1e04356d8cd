//! The settings of a provider with its secrets in them, made when an instance is built and for that only.

use std::collections::{BTreeMap, BTreeSet};

use oneiric_core::{BoxFuture, Coded as _};
use oneiric_domains::{SecretError, SecretRef};
use oneiric_lifecycle::{ProviderSettings, Receiver, SettingsUnavailable};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    Secrets,
    references::{below, meant},
    store::Given,
    users::Handed,
};

/// Hands out provider settings in which references are replaced by what they refer to.
pub(crate) struct Resolved(pub(crate) Secrets);

impl ProviderSettings for Resolved {
    fn settings<'a>(
        &'a self,
        to: Receiver<'a>,
    ) -> BoxFuture<'a, Result<Option<Value>, SettingsUnavailable>> {
        Box::pin(self.0.resolve(to))
    }

    fn gone(&self, instance: u64) {
        self.0.users.gone(instance);
    }
}

impl Secrets {
    async fn resolve(&self, to: Receiver<'_>) -> Result<Option<Value>, SettingsUnavailable> {
        let settings = self.settings.load();
        let of = (to.slot.clone(), to.provider.clone());
        let Some(configured) = settings.providers.get(&of) else {
            self.users.given(to, Handed::default());
            return Ok(None);
        };
        let found = meant(&configured.value);
        let references: Result<Vec<(String, SecretRef)>, SecretError> = found
            .iter()
            .map(|meant| Ok((meant.path.clone(), meant.text.parse()?)))
            .collect();
        let references = references.map_err(|error| {
            SettingsUnavailable::new(error.code(), format_args!("{}: {error}", configured.key))
        })?;
        let wanted: BTreeSet<SecretRef> = references.iter().map(|(_, one)| one.clone()).collect();
        let given = self.fetch_all(wanted, settings.secrets.ttl).await;
        let mut code = None;
        let mut missing = Vec::new();
        let mut values = BTreeMap::new();
        for (path, reference) in &references {
            match given.get(reference) {
                Some(Ok(given)) => drop(values.insert(path.as_str(), given)),
                Some(Err(error)) => {
                    code.get_or_insert(error.code());
                    let key = below(&configured.key, path);
                    missing.push(format!("{key} ({reference}): {error}"));
                }
                None => {}
            }
        }
        if let Some(code) = code {
            return Err(SettingsUnavailable::new(code, missing.join("; ")));
        }
        let mut value = configured.value.clone();
        replace(&mut value, "", &values);
        let versions = given.iter().filter_map(|(reference, given)| {
            Some((reference.clone(), given.as_ref().ok()?.version))
        });
        let handed = Handed {
            settings: Some(configured.value.clone()),
            versions: versions.collect(),
        };
        self.users.given(to, handed);
        Ok(Some(value))
    }

    async fn fetch_all(
        &self,
        wanted: BTreeSet<SecretRef>,
        ttl: std::time::Duration,
    ) -> BTreeMap<SecretRef, Result<Given, SecretError>> {
        let mut fetches = JoinSet::new();
        for reference in wanted {
            let store = std::sync::Arc::clone(&self.store);
            fetches.spawn(async move {
                let given = store.get(&reference, ttl).await;
                (reference, given)
            });
        }
        fetches.join_all().await.into_iter().collect()
    }
}

fn replace(value: &mut Value, path: &str, values: &BTreeMap<&str, &Given>) {
    match value {
        Value::String(text) => {
            if let Some(given) = values.get(path) {
                given.secret.expose().clone_into(text);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                replace(item, &format!("{path}[{at}]"), values);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                replace(field, &below(path, name), values);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
