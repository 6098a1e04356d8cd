//! What two settings differ in, key by key and slot by slot.
//!
//! [`keys`] takes a value of [`Settings`] apart field by field: a new setting does not compile until somebody has
//! decided whether a running process can take another value of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Display},
    path::Path,
    time::Duration,
};

use oneiric_core::{Candidate, Provider, Slot};
use serde_json::Value;

use crate::{
    api::KeyChange,
    settings::{AdminSettings, LogSettings, ReloadSettings, SecretsSettings, Settings, stated},
};

/// One setting that is a single value, as text.
struct Key {
    name: &'static str,
    value: String,
    /// Whether a running process can take another value.
    hot: bool,
}

/// Tells which single values differ, in the order of the reference, and then what differs in how slots are looked after.
pub(super) fn keys(old: &Settings, new: &Settings) -> Vec<KeyChange> {
    let mut changes = single(old, new);
    changes.extend(policies(old, new));
    changes
}

fn single(old: &Settings, new: &Settings) -> Vec<KeyChange> {
    all(old)
        .into_iter()
        .zip(all(new))
        .filter(|(before, after)| before.value != after.value)
        .map(|(before, after)| KeyChange {
            key: before.name.to_owned(),
            reloadable: before.hot,
            before_at: old.place_of(before.name.split('.')),
            before: before.value,
            after_at: new.place_of(before.name.split('.')),
            after: after.value,
        })
        .collect()
}

/// Policies are compared as they are stated: what is said of a domain is one change, however many slots there are.
fn policies(old: &Settings, new: &Settings) -> Vec<KeyChange> {
    let (before, after) = (stated(&old.slot_policies), stated(&new.slot_policies));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(key) != after.get(key))
        .map(|key| KeyChange {
            key: key.to_string(),
            reloadable: true,
            before_at: old.place_of(key.names()),
            before: optional(before.get(key).map(plain)),
            after_at: new.place_of(key.names()),
            after: optional(after.get(key).map(plain)),
        })
        .collect()
}

/// A value as the others are told: a word without its quotes.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn all(settings: &Settings) -> Vec<Key> {
    let Settings {
        state_dir,
        admin,
        limits,
        probes_at_once,
        factory_allowlist,
        ties,
        default_priority,
        activate,
        grace,
        error_mode,
        log,
        secrets,
        reload,
        // Compared slot by slot, below.
        candidates: _,
        selections: _,
        providers: _,
        // Compared key by key, beside these.
        slot_policies: _,
        // Where they came from, not what they say.
        name: _,
        files: _,
        stamps: _,
        blank: _,
        unseen: _,
        layers: _,
        tree: _,
    } = settings;
    let AdminSettings {
        socket,
        request_timeout,
        max_connections,
        tcp,
        tokens,
        client_roles,
    } = admin;
    let LogSettings { filter, format } = log;
    let SecretsSettings { ttl, directory } = secrets;
    let ReloadSettings {
        watch,
        debounce,
        retry,
    } = reload;
    let tcp = tcp.as_ref();
    let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let tokens = tokens
        .iter()
        .map(|one| format!("{} ({}, {})", one.name, one.role, one.token));
    let roles = client_roles
        .iter()
        .map(|(name, role)| format!("{name:?} = {role}"));
    let allowed = factory_allowlist.iter().map(|entry| format!("{entry:?}"));
    vec![
        fixed("state_dir", path(state_dir)),
        fixed("admin.socket", optional(socket.as_deref().map(path))),
        hot(
            "admin.request_timeout_ms",
            optional(request_timeout.map(ms)),
        ),
        fixed("admin.max_connections", max_connections.to_string()),
        fixed("admin.tcp.listen", optional(tcp.map(|tcp| tcp.listen))),
        fixed(
            "admin.tcp.certificate",
            optional(tcp.map(|tcp| path(&tcp.certificate))),
        ),
        fixed("admin.tcp.key", optional(tcp.map(|tcp| path(&tcp.key)))),
        fixed(
            "admin.tcp.client_ca",
            optional(tcp.and_then(|tcp| tcp.client_ca.as_deref()).map(path)),
        ),
        hot("admin.tokens", list(tokens.collect())),
        hot("admin.client_roles", list(roles.collect())),
        hot("lifecycle.activation_ms", ms(limits.activation)),
        hot("lifecycle.probe_ms", ms(limits.probe)),
        hot("lifecycle.hook_ms", ms(limits.hook)),
        hot("lifecycle.drain_ms", ms(limits.drain)),
        hot("lifecycle.retire_ms", ms(limits.retire)),
        hot("lifecycle.probes_at_once", probes_at_once.to_string()),
        fixed("resolution.ties", word(ties)),
        fixed("resolution.default_priority", default_priority.to_string()),
        hot("run.activate", word(activate)),
        hot("run.grace_ms", ms(*grace)),
        hot("run.error_mode", word(error_mode)),
        hot("security.factory_allowlist", list(allowed.collect())),
        hot("log.filter", optional(filter.as_deref())),
        hot("log.format", word(format)),
        hot("secrets.ttl_ms", ms(*ttl)),
        fixed(
            "secrets.directory",
            optional(directory.as_deref().map(path)),
        ),
        hot("reload.watch", watch.to_string()),
        hot("reload.debounce_ms", ms(*debounce)),
        hot("reload.retry_ms", ms(*retry)),
    ]
}

fn hot(name: &'static str, value: String) -> Key {
    Key {
        name,
        value,
        hot: true,
    }
}

/// One that a process takes when it starts and at no other time.
fn fixed(name: &'static str, value: String) -> Key {
    Key {
        name,
        value,
        hot: false,
    }
}

/// A choice as it is written in settings: `OnUse` is `on_use`.
fn word(choice: &impl Debug) -> String {
    let mut word = String::new();
    for char in format!("{choice:?}").chars() {
        if char.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(char.to_ascii_lowercase());
    }
    word
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
}

/// The slots about which the two say different things.
pub(super) fn slots(old: &Settings, new: &Settings) -> BTreeSet<Slot> {
    let mut slots = configured_otherwise(old, new);
    for (one, other) in [(old, new), (new, old)] {
        let others = by_name(other);
        for (name, candidate) in by_name(one) {
            if others.get(&name) != Some(&candidate) {
                slots.insert(candidate.slot().clone());
            }
        }
        let selected: BTreeMap<_, _> = other.selections.iter().cloned().collect();
        for (slot, provider) in &one.selections {
            if selected.get(slot) != Some(provider) {
                slots.insert(slot.clone());
            }
        }
    }
    slots
}

/// The slots of which some provider has other settings.
pub(super) fn configured_otherwise(old: &Settings, new: &Settings) -> BTreeSet<Slot> {
    let all = old.providers.keys().chain(new.providers.keys());
    all.filter(|(slot, provider)| old.configured(slot, provider) != new.configured(slot, provider))
        .map(|(slot, _)| slot.clone())
        .collect()
}

/// Not one by one: a file can list thousands.
fn by_name(settings: &Settings) -> BTreeMap<(&Slot, &Provider), &Candidate> {
    let candidates = settings
        .candidates
        .iter()
        .map(|declared| &declared.candidate);
    candidates
        .map(|candidate| ((candidate.slot(), candidate.provider()), candidate))
        .collect()
}

impl Settings {
    /// The candidate of that slot and provider.
    pub(crate) fn candidate(&self, slot: &Slot, provider: &Provider) -> Option<&Candidate> {
        self.candidates
            .iter()
            .map(|declared| &declared.candidate)
            .find(|candidate| candidate.slot() == slot && candidate.provider() == provider)
    }

    /// Whom the settings select for a slot.
    pub(crate) fn selected(&self, slot: &Slot) -> Option<&Provider> {
        self.selections
            .iter()
            .rfind(|(selected, _)| selected == slot)
            .map(|(_, provider)| provider)
    }

    /// A provider's own settings. None at all and an empty table are not the same to everybody.
    pub(crate) fn configured(&self, slot: &Slot, provider: &Provider) -> Option<&Value> {
        self.providers
            .get(&(slot.clone(), provider.clone()))
            .map(|configured| &configured.value)
    }
}

/// Whether an instance of `left` does for `right`: a candidate that only ranks otherwise needs no new one.
pub(super) fn built_alike(left: &Candidate, right: &Candidate) -> bool {
    left.is_built_like(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Settings {
        Settings::parse(text, "x.toml").unwrap()
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let old = parsed("[run]\ngrace_ms = 7");
        let new = parsed("state_dir = 'other'\n[run]\ngrace_ms = 8");
        let changed = keys(&old, &new);
        let said: Vec<_> = changed
            .iter()
            .map(|one| {
                (
                    one.key.as_str(),
                    one.before.as_str(),
                    one.after.as_str(),
                    one.reloadable,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("state_dir", ".oneiric", "other", false),
                ("run.grace_ms", "7", "8", true)
            ]
        );
        assert!(keys(&old, &old).is_empty());
        assert_eq!(word(&crate::settings::Activate::OnUse), "on_use");
    }

    #[test]
    fn the_catalog_says_the_same_of_what_can_be_reloaded() {
        let said = |name: &str| -> Vec<bool> {
            // Of lists and tables of free names every part is as the whole.
            let part_of = |path: &str| {
                let rest = path.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            };
            let keys = crate::settings::catalog::keys().filter(|key| part_of(key.path));
            keys.map(|key| key.reload).collect()
        };
        let wrong: Vec<&str> = all(&Settings::default())
            .into_iter()
            .filter(|key| said(key.name).is_empty() || said(key.name).contains(&!key.hot))
            .map(|key| key.name)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn slots_differ_by_candidate_selection_or_provider_settings() {
        let base = "[[candidates]]\nslot = 'task/a'\nprovider = 'p'\nfactory = 'oneiric.x:y'\n";
        let old = parsed(base);
        let names = |text: &str| -> Vec<String> {
            let new = parsed(&format!("{base}{text}"));
            slots(&old, &new).iter().map(ToString::to_string).collect()
        };
        assert!(names("").is_empty());
        assert_eq!(names("priority = 3"), ["task/a"]);
        assert_eq!(names("[selections]\n'task/b' = 'q'"), ["task/b"]);
        assert_eq!(names("[providers.'task/a'.p]"), ["task/a"]);
    }
}
