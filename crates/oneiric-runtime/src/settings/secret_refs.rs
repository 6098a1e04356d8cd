//! References to secrets against those who keep them in a program. Nothing is fetched.

use oneiric_domains::{SecretError, SecretRef};

use super::{
    Fault, Settings, SettingsError,
    catalog::joined,
    tree::{Item, Node},
};

impl Settings {
    /// Checks that every text that begins like a reference to a secret is one, and names somebody in `keepers`.
    ///
    /// # Errors
    /// `runtime.settings_invalid` naming every one that is none (`domains.secret_ref_invalid`) or that nobody keeps
    /// (`domains.secret_provider_unknown`).
    pub fn check_secrets(&self, keepers: &[&str]) -> Result<(), SettingsError> {
        let mut faults = Vec::new();
        self.texts(|node, key, text| {
            if SecretRef::is_meant(text)
                && let Err(error) = check(text, keepers)
            {
                faults.push(Fault::coded(node.place, key, &error));
            }
        });
        if faults.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::invalid(&self.layers, faults))
        }
    }

    /// Shows `see` every text that may be a reference, with its key.
    pub(super) fn texts(&self, mut see: impl FnMut(&Node, &str, &str)) {
        for section in [&["providers"][..], &["admin", "tokens"]] {
            if let Some(node) = self.tree.at(section.iter().copied()) {
                walk(node, &section.join("."), &mut see);
            }
        }
    }
}

fn check(text: &str, keepers: &[&str]) -> Result<(), SecretError> {
    let reference: SecretRef = text.parse()?;
    if keepers.contains(&reference.provider()) {
        return Ok(());
    }
    Err(SecretError::ProviderUnknown {
        reference,
        known: keepers.iter().map(ToString::to_string).collect(),
    })
}

/// Shows `see` every text below `node`, with its key.
fn walk(node: &Node, key: &str, see: &mut impl FnMut(&Node, &str, &str)) {
    match &node.item {
        Item::Text(text) | Item::Words(text) => see(node, key, text),
        Item::List(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(item, &format!("{key}[{at}]"), see);
            }
        }
        Item::Listed(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(&item.node, &format!("{key}[{at}]"), see);
            }
        }
        Item::Table(table) => {
            for (name, entry) in table {
                walk(&entry.node, &joined(key, name), see);
            }
        }
        _ => {}
    }
}
