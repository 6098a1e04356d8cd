//! References to secrets in settings: where they stand, and who keeps what they refer to.

use oneiric_core::{Provider, Slot};
use oneiric_domains::{SecretError, SecretRef};
use serde_json::Value;

use super::Providers;
use crate::settings::Settings;

/// A text in a provider's settings that is meant as a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meant<'v> {
    /// Its place in the provider's settings: `servers[0].password`.
    pub(super) path: String,
    pub(super) text: &'v str,
}

/// The references in `value`, in the order of their places.
pub(super) fn meant(value: &Value) -> Vec<Meant<'_>> {
    fn walk<'v>(value: &'v Value, path: &str, found: &mut Vec<Meant<'v>>) {
        match value {
            Value::String(text) if SecretRef::is_meant(text) => found.push(Meant {
                path: path.to_owned(),
                text,
            }),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}[{at}]"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    walk(field, &below(path, name), found);
                }
            }
            _ => {}
        }
    }

    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// The key of a field of the table at `path`.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A setting that names a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) reference: SecretRef,
    /// The setting's whole key.
    pub(crate) key: String,
    /// Whose setting it is; absent for those of the program itself.
    pub(crate) of: Option<(Slot, Provider)>,
}

/// Every setting that names a secret, those of providers first.
pub(crate) fn named(settings: &Settings) -> Vec<Named> {
    let mut named = Vec::new();
    for ((slot, provider), configured) in &settings.providers {
        for meant in meant(&configured.value) {
            // What is no reference was refused before these settings were in force.
            if let Ok(reference) = meant.text.parse() {
                named.push(Named {
                    reference,
                    key: below(&configured.key, &meant.path),
                    of: Some((slot.clone(), provider.clone())),
                });
            }
        }
    }
    for (at, token) in settings.admin.tokens.iter().enumerate() {
        if let Ok(reference) = token.token.parse() {
            named.push(Named {
                reference,
                key: format!("admin.tokens[{at}].token"),
                of: None,
            });
        }
    }
    named
}

/// The provider that a reference names.
pub(super) fn known<'p>(
    reference: &SecretRef,
    providers: &'p Providers,
) -> Result<&'p std::sync::Arc<dyn oneiric_domains::SecretProvider>, SecretError> {
    providers
        .get(reference.provider())
        .ok_or_else(|| SecretError::ProviderUnknown {
            reference: reference.clone(),
            known: providers.keys().cloned().collect(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand_alone() {
        let value = json!({
            "a": "secret://env/A",
            "b": [{"c": "secret://env/B"}, "plain"],
            "d": "see secret://env/C",
            "e": {"f": {"g": "secret://broken"}},
        });
        let found: Vec<_> = meant(&value)
            .into_iter()
            .map(|meant| (meant.path, meant.text))
            .collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), "secret://env/A"),
                ("b[0].c".to_owned(), "secret://env/B"),
                ("e.f.g".to_owned(), "secret://broken"),
            ]
        );
    }
}
