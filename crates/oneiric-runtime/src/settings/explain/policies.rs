//! What holds of a slot's policy: whoever states it for the narrowest scope, and all that stand behind.

use oneiric_lifecycle::PolicyScope;

use super::{UnknownKey, document, layer, set_by, unknown};
use crate::{
    api::{ConfigExplainDoc, ConfigLayerDoc},
    settings::{
        PolicyKey, Settings, SettingsSource,
        catalog::{Key, Step},
        policies, stated,
    },
};

impl Settings {
    /// Explains a key of a policy. What is not stated for its scope follows from wider ones.
    pub(super) fn explain_policy(
        &self,
        steps: &[Step],
        leaf: &Key,
        key: String,
    ) -> Result<ConfigExplainDoc, UnknownKey> {
        let scope = steps.iter().find_map(|step| match step {
            Step::Name(name) if name != policies::SECTION => Some(name),
            _ => None,
        });
        let scope = scope.map(|scope| scope.parse::<PolicyScope>());
        let scopes = match scope {
            Some(Ok(scope)) => policies::that_decide(&scope),
            Some(Err(error)) => return Err(unknown(&key, Some(error.to_string()))),
            None => return Err(unknown(&key, None)),
        };
        let mut layers = Vec::new();
        for scope in scopes {
            let said = self.layers_of_policy(&scope, leaf.name());
            layers.extend(said.into_iter().map(|layer| ConfigLayerDoc {
                key: layer.key.filter(|other| *other != key),
                ..layer
            }));
        }
        if let Some(value) = leaf.default() {
            layers.push(layer(value, set_by(&SettingsSource::Default, None)));
        }
        let value = layers.first().map(|layer| layer.value.clone());
        Ok(document(leaf, steps, key, value, layers))
    }

    /// Everybody who states a key for one scope, the one that holds first.
    fn layers_of_policy(&self, scope: &PolicyScope, name: &str) -> Vec<ConfigLayerDoc> {
        let key = PolicyKey {
            scope: scope.to_string(),
            name: name.to_owned(),
        };
        let Some(holds) = stated(&self.slot_policies).remove(&key) else {
            return Vec::new();
        };
        let node = self.tree.at(key.names());
        let mut layers = node.map_or_else(Vec::new, |node| self.layers_of(node, name));
        if layers.first().is_none_or(|layer| layer.value != holds) {
            layers.insert(0, layer(holds, set_by(&SettingsSource::Program, None)));
        }
        for layer in &mut layers {
            layer.key = Some(key.to_string());
        }
        layers
    }
}
