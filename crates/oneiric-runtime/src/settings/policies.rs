//! How slots are looked after, by scope: out of the merged layers, and key by key as it is told.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use oneiric_lifecycle::{PolicyEntry, PolicyScope, SlotPolicies, SlotPolicy};
use serde_json::Value;

use super::{catalog::joined, tree::Node};

/// The section that they stand in.
pub(super) const SECTION: &str = "slots";

/// Puts together what `tree` says of slots.
pub(super) fn read(tree: &Node) -> SlotPolicies {
    let scopes = tree.at([SECTION]).and_then(Node::table);
    let entries = scopes.into_iter().flatten().filter_map(|(scope, entry)| {
        // What is wrong was reported, and the settings will not be used.
        let stated: PolicyEntry = serde_json::from_value(entry.node.json()).ok()?;
        Some((scope.parse::<PolicyScope>().ok()?, stated))
    });
    entries.collect()
}

/// What a key of a policy is where nothing is stated for any scope.
pub(super) fn default_of(name: &str) -> Option<Value> {
    static DEFAULTS: LazyLock<Value> =
        LazyLock::new(|| values(&PolicyEntry::from(&SlotPolicy::default())));
    DEFAULTS.get(name).cloned()
}

/// The keys that are stated, with their values.
fn values(entry: &PolicyEntry) -> Value {
    serde_json::to_value(entry).unwrap_or_default()
}

/// The scopes of which the first that states a key decides for `scope`.
pub(super) fn that_decide(scope: &PolicyScope) -> Vec<PolicyScope> {
    let mut scopes = vec![scope.clone()];
    if let PolicyScope::Slot(slot) = scope {
        scopes.push(PolicyScope::Domain(slot.domain().clone()));
    }
    if *scope != PolicyScope::All {
        scopes.push(PolicyScope::All);
    }
    scopes
}

/// One key of the policy of one scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PolicyKey {
    pub(crate) scope: String,
    pub(crate) name: String,
}

impl PolicyKey {
    /// The names on the way to it.
    pub(crate) fn names(&self) -> [&str; 3] {
        [SECTION, &self.scope, &self.name]
    }
}

impl fmt::Display for PolicyKey {
    /// As it is written in settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&joined(SECTION, &self.scope), &self.name))
    }
}

/// Everything that is stated, by scope and key.
pub(crate) fn stated(policies: &SlotPolicies) -> BTreeMap<PolicyKey, Value> {
    let mut stated = BTreeMap::new();
    for (scope, entry) in policies.entries() {
        let Value::Object(values) = values(entry) else {
            continue;
        };
        for (name, value) in values {
            let scope = scope.to_string();
            stated.insert(PolicyKey { scope, name }, value);
        }
    }
    stated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::catalog::{self, Kind};

    /// What the catalog has of slots, by name.
    fn known() -> BTreeMap<&'static str, &'static Kind> {
        let keys = catalog::keys().filter(|key| key.is_of_policy());
        keys.map(|key| (key.name(), &key.kind)).collect()
    }

    #[test]
    fn the_catalog_has_every_key_of_a_policy_and_no_other() {
        let known = known();
        let all = values(&PolicyEntry::from(&SlotPolicy::default()));
        let names: Vec<&String> = all.as_object().unwrap().keys().collect();
        assert!(
            known
                .keys()
                .copied()
                .eq(names.iter().map(|name| name.as_str())),
            "{names:?}"
        );
    }

    #[test]
    fn every_value_that_the_catalog_takes_a_policy_takes_and_no_other_word() {
        let takes = |name: &str, value: Value| {
            let entry = Value::Object([(name.to_owned(), value)].into_iter().collect());
            serde_json::from_value::<PolicyEntry>(entry).map_err(|error| error.to_string())
        };
        for (name, kind) in known() {
            match kind {
                Kind::Word(words) => {
                    // Whoever reads the words names those that there are.
                    let said = takes(name, "?".into()).unwrap_err();
                    let there: Vec<&str> = said.split('`').skip(1).step_by(2).skip(1).collect();
                    assert_eq!(there, *words, "{name}: {said}");
                }
                Kind::Flag => drop(takes(name, true.into()).unwrap()),
                kind => {
                    let (least, most) = kind.range().unwrap();
                    let default = default_of(name).unwrap().as_i64().unwrap();
                    assert!((least..=most).contains(&default), "{name}");
                    for number in [least, most] {
                        takes(name, number.into()).unwrap();
                    }
                }
            }
        }
    }
}
