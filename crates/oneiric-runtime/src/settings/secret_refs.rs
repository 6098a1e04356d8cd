//! References to secrets against those who keep them in a program. Nothing is fetched.

use oneiric_core::FactoryPolicy;
use oneiric_domains::{SecretError, SecretRef};
use oneiric_lifecycle::FactoryTable;

use super::{
    Fault, Settings, SettingsError,
    catalog::joined,
    tree::{Item, Node},
};

impl Settings {
    /// Checks the settings against everything that a program brings: all faults of both kinds together.
    ///
    /// # Errors
    /// As [`check_factories`](Self::check_factories) and [`check_secrets`](Self::check_secrets).
    pub fn check_parts(
        &mut self,
        factories: &FactoryTable,
        keepers: &[&str],
    ) -> Result<FactoryPolicy, SettingsError> {
        let references = self.check_secrets(keepers);
        match (self.check_factories(factories), references) {
            (Ok(policy), Ok(())) => Ok(policy),
            (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
            (Err(one), Err(other)) => Err(one.and(other)),
        }
    }

    /// Checks that every text that begins like a reference to a secret is one, and names somebody in `keepers`.
    ///
    /// # Errors
    /// `runtime.settings_invalid` naming every one that is none (`domains.secret_ref_invalid`) or that nobody keeps
    /// (`domains.secret_provider_unknown`).
    pub fn check_secrets(&self, keepers: &[&str]) -> Result<(), SettingsError> {
        let mut faults = Vec::new();
        for section in [&["providers"][..], &["admin", "tokens"]] {
            if let Some(node) = self.tree.at(section.iter().copied()) {
                walk(node, &section.join("."), &mut |node, key, text| {
                    if let Err(error) = check(text, keepers) {
                        faults.push(Fault::coded(node.place, key, &error));
                    }
                });
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::invalid(&self.layers, faults))
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

/// Shows `see` every text below `node` that is meant as a reference, with its key.
fn walk(node: &Node, key: &str, see: &mut impl FnMut(&Node, &str, &str)) {
    match &node.item {
        Item::Text(text) | Item::Words(text) if SecretRef::is_meant(text) => see(node, key, text),
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
