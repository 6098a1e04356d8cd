//! The merged layers into [`Settings`]: fields that one key decides are filled from the catalog; what several keys
//! decide together is put together here, and what is missing in it is reported.

use std::collections::BTreeMap;

use oneiric_core::{Candidate, Origin, Provider, Slot};

use super::{
    Configured, Declared, Role, Settings, TcpSettings, TokenSettings,
    catalog::{self, Words, joined},
    check::INVALID,
    fault::{Fault, Faults},
    layer::Place,
    policies,
    tree::{Item, Listed, Node, Table},
};

/// Fills the settings that `tree` says something about.
pub(super) fn settings(tree: &Node, faults: &mut Faults) -> Settings {
    let mut settings = Settings::default();
    for key in catalog::keys().filter(|key| !key.is_built()) {
        if let Some(node) = tree.at(key.path.split('.')) {
            key.store(&mut settings, node);
        }
    }
    for listed in listed(tree, &["candidates"]) {
        settings.candidates.extend(candidate(listed, faults));
    }
    for (slot, entry) in table(tree, &["selections"]) {
        let provider = entry.node.text().map(str::parse::<Provider>);
        if let (Ok(slot), Some(Ok(provider))) = (slot.parse(), provider) {
            settings.selections.push((slot, provider));
        }
    }
    settings.providers = providers(tree);
    settings.slot_policies = policies::read(tree);
    settings.admin.tcp = tcp(tree, faults);
    for listed in listed(tree, &["admin", "tokens"]) {
        settings.admin.tokens.extend(token(listed, faults));
    }
    for (subject, entry) in table(tree, &["admin", "client_roles"]) {
        if let Some(role) = entry.node.text().and_then(Role::of) {
            settings.admin.client_roles.push((subject.clone(), role));
        }
    }
    settings
}

fn listed<'t>(tree: &'t Node, path: &[&str]) -> &'t [Listed] {
    match tree.at(path.iter().copied()).map(|node| &node.item) {
        Some(Item::Listed(items)) => items,
        _ => &[],
    }
}

fn table<'t>(
    tree: &'t Node,
    path: &[&str],
) -> impl Iterator<Item = (&'t String, &'t super::tree::Entry)> {
    tree.at(path.iter().copied())
        .and_then(Node::table)
        .into_iter()
        .flatten()
}

/// What is missing in a table; something that is there and wrong is not missing.
fn missing(table: &Table, names: &[&str], place: Place, section: &str, faults: &mut Faults) {
    for name in names.iter().filter(|name| !table.contains_key(**name)) {
        faults.push(Fault::new(
            place,
            &joined(section, name),
            INVALID,
            "it is missing",
        ));
    }
}

fn text<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    table.get(name)?.node.text()
}

fn candidate(listed: &Listed, faults: &mut Faults) -> Option<Declared> {
    let section = format!("candidates[{}]", listed.index);
    let table = listed.node.table()?;
    let required = ["slot", "provider", "factory"];
    missing(table, &required, listed.node.place, &section, faults);
    let factory = table.get("factory")?;
    let (slot, provider) = (text(table, "slot")?, text(table, "provider")?);
    let mut builder = Candidate::builder(
        slot.parse().ok()?,
        provider.parse().ok()?,
        Origin::settings(),
    )
    .factory(factory.node.text()?.parse().ok()?)
    .capabilities(texts(table, "capabilities").map(str::to_owned))
    .fallback(matches!(
        table.get("fallback").map(|entry| &entry.node.item),
        Some(Item::Flag(true))
    ));
    let number = |name: &str| match table.get(name)?.node.item {
        Item::Integer(number) => Some(number),
        _ => None,
    };
    if let Some(priority) = number("priority") {
        builder = builder.priority(priority);
    }
    if let Some(stack_level) = number("stack_level") {
        builder = builder.stack_level(stack_level);
    }
    for slot in texts(table, "requires").filter_map(|slot| slot.parse().ok()) {
        builder = builder.requires(slot);
    }
    for slot in texts(table, "optional_requires").filter_map(|slot| slot.parse().ok()) {
        builder = builder.optionally_requires(slot);
    }
    let metadata = table.get("metadata").and_then(|entry| entry.node.table());
    for (key, entry) in metadata.into_iter().flatten() {
        builder = builder.metadata(key.clone(), entry.node.json());
    }
    Some(Declared {
        candidate: builder.build(),
        key: joined(&section, "factory"),
        place: factory.node.place,
    })
}

fn texts<'t>(table: &'t Table, name: &str) -> impl Iterator<Item = &'t str> {
    let items = match table.get(name).map(|entry| &entry.node.item) {
        Some(Item::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(Node::text)
}

fn providers(tree: &Node) -> BTreeMap<(Slot, Provider), Configured> {
    let mut providers = BTreeMap::new();
    for (slot, of_slot) in table(tree, &["providers"]) {
        let section = joined("providers", slot);
        for (provider, entry) in of_slot.node.table().into_iter().flatten() {
            let (Ok(slot), Ok(name)) = (slot.parse::<Slot>(), provider.parse::<Provider>()) else {
                continue;
            };
            let configured = Configured {
                value: entry.node.json(),
                key: joined(&section, provider),
                place: entry.name,
                words: super::words::paths(&entry.node),
            };
            providers.insert((slot, name), configured);
        }
    }
    providers
}

fn tcp(tree: &Node, faults: &mut Faults) -> Option<TcpSettings> {
    let node = tree.at(["admin", "tcp"])?;
    let table = node.table()?;
    // A section that says nothing is as good as none.
    if table.is_empty() {
        return None;
    }
    let required = ["listen", "certificate", "key"];
    missing(table, &required, node.place, "admin.tcp", faults);
    Some(TcpSettings {
        listen: text(table, "listen")?.parse().ok()?,
        certificate: text(table, "certificate")?.into(),
        key: text(table, "key")?.into(),
        client_ca: text(table, "client_ca").map(Into::into),
    })
}

fn token(listed: &Listed, faults: &mut Faults) -> Option<TokenSettings> {
    let section = format!("admin.tokens[{}]", listed.index);
    let table = listed.node.table()?;
    let required = ["name", "role", "token"];
    missing(table, &required, listed.node.place, &section, faults);
    Some(TokenSettings {
        name: text(table, "name")?.to_owned(),
        role: Role::of(text(table, "role")?)?,
        token: text(table, "token")?.to_owned(),
    })
}
