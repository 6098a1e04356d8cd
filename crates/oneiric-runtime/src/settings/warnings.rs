//! What is no fault of settings and is hardly meant: names of slots and providers that nobody has, and texts that are
//! almost a reference to a secret. Candidates may come from elsewhere later, so none of it keeps a process from
//! starting; silent it must not be either.

use std::{collections::BTreeMap, fmt, path::Path};

use oneiric_core::{Dependencies, Provider, Slot};
use oneiric_domains::SecretRef;
use oneiric_lifecycle::PolicyScope;

use super::{
    Declared, Settings, SettingsSource,
    catalog::joined,
    fault::nearest,
    layer::{Place, describe},
    tree::{Item, Node},
};

/// Something in settings that is hardly meant, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsWarning {
    /// The layer that it is in.
    pub source: SettingsSource,
    /// Line and column, from 1; absent when it is about no file, or about a whole one.
    pub at: Option<(usize, usize)>,
    /// The key, `selections."adapter/cache"`; empty when it is about the whole file.
    pub key: String,
    /// What is odd about it.
    pub message: String,
    /// What may have been meant.
    pub help: Option<String>,
}

impl SettingsWarning {
    /// Returns where it is, for people: `oneiric.toml:3:1`, `ONEIRIC_SELECTIONS__ADAPTER__CACHE`.
    #[must_use]
    pub fn place(&self) -> String {
        describe(&self.source, self.at)
    }

    /// Tells whether it is a selection that names nobody. `status` and whatever tells of the start show those too.
    #[must_use]
    pub fn is_about_a_selection(&self) -> bool {
        self.key.starts_with("selections.")
    }
}

impl fmt::Display for SettingsWarning {
    /// With its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl Settings {
    /// Returns what is hardly meant, by layer and line: selections, requirements, policies and provider settings that
    /// name somebody whom no candidate declares, and texts that begin like a reference to a secret and are none.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingsWarning> {
        let mut found = Found {
            known: BTreeMap::new(),
            warnings: Vec::new(),
        };
        for declared in &self.candidates {
            let candidate = &declared.candidate;
            let providers = found.known.entry(candidate.slot()).or_default();
            providers.push(candidate.provider());
        }
        for (slot, entry) in self.section("selections") {
            let provider = entry.node.text().and_then(|text| text.parse().ok());
            if let (Ok(of), Some(provider)) = (slot.parse(), provider) {
                let key = joined("selections", slot);
                found.nobody(entry.node.place, &key, &of, Some(&provider));
            }
        }
        if let Some(Item::Listed(items)) = self.tree.at(["candidates"]).map(|node| &node.item) {
            for listed in items {
                for name in ["requires", "optional_requires"] {
                    let key = format!("candidates[{}].{name}", listed.index);
                    let Some(Item::List(slots)) = listed.node.at([name]).map(|node| &node.item)
                    else {
                        continue;
                    };
                    for (at, node) in slots.iter().enumerate() {
                        let (place, key) = (node.place, format!("{key}[{at}]"));
                        match node.text().map(str::parse) {
                            Some(Ok(slot)) if name == "requires" => {
                                found.nobody(place, &key, &slot, None);
                            }
                            Some(Ok(slot)) => found.misspelt(place, &key, &slot),
                            _ => {}
                        }
                    }
                }
            }
        }
        for ((slot, provider), configured) in &self.providers {
            found.nobody(configured.place, &configured.key, slot, Some(provider));
        }
        for (scope, entry) in self.section("slots") {
            if let Ok(PolicyScope::Slot(slot)) = scope.parse() {
                found.nobody(entry.name, &joined("slots", scope), &slot, None);
            }
        }
        self.texts(|node, key, text| {
            if is_almost_a_reference(text) {
                let message =
                    "the text is taken as it stands, although it begins like a reference to a secret";
                let help = "a reference is secret://PROVIDER/NAME".to_owned();
                found.add(node.place, key, message, Some(help));
            }
        });
        for path in &self.unseen {
            found.unseen(path);
        }
        self.rings(&mut found);
        let mut warnings = found.warnings;
        warnings.sort_by_key(|(place, _)| *place);
        let located = warnings.into_iter().map(|(place, warning)| match place {
            None => warning,
            Some(place) => SettingsWarning {
                source: self.layers.source(place),
                at: self.layers.line_and_column(place),
                ..warning
            },
        });
        located.collect()
    }

    /// Notes requirements that go round in a ring among those who would win, were there no other candidates than these:
    /// none of them could be activated.
    fn rings<'s>(&'s self, found: &mut Found<'s>) {
        let Ok(registry) = self.registry() else {
            return;
        };
        let snapshot = registry.snapshot();
        for ring in Dependencies::of_winners(&snapshot).cycles().0 {
            let declared = ring.first().and_then(|slot| {
                let winner = snapshot.winner(slot)?;
                let is_it = |declared: &&Declared| declared.candidate == *winner.candidate();
                self.candidates.iter().find(is_it)
            });
            if let Some(Declared { key, place, .. }) = declared {
                let path: Vec<&str> = ring.iter().map(Slot::as_str).collect();
                let message = format!("it requires itself: {}", path.join(" -> "));
                let help =
                    "take one of the requirements out, or make it one of `optional_requires`";
                let key = format!("{}requires", key.trim_end_matches("factory"));
                found.add(*place, &key, &message, Some(help.to_owned()));
            }
        }
    }

    /// Writes the warnings to the log, those about selections too if nobody else tells of them.
    pub(crate) fn log_warnings(&self, of_selections: bool) {
        let warnings = self.warnings().into_iter();
        for warning in warnings.filter(|one| of_selections || !one.is_about_a_selection()) {
            tracing::warn!(
                at = warning.place(),
                key = warning.key,
                reason = warning.message,
                help = warning.help,
                "settings that are hardly meant"
            );
        }
    }

    fn section(&self, name: &str) -> impl Iterator<Item = (&String, &super::tree::Entry)> {
        let section = self.tree.at([name]).and_then(Node::table);
        section.into_iter().flatten()
    }
}

struct Found<'s> {
    /// Every slot that has candidates, and whose they are.
    known: BTreeMap<&'s Slot, Vec<&'s Provider>>,
    /// Each with its place; one about a file that is no layer has its source already.
    warnings: Vec<(Option<Place>, SettingsWarning)>,
}

impl Found<'_> {
    /// Notes it if no candidate declares that slot or provider.
    fn nobody(&mut self, place: Place, key: &str, slot: &Slot, provider: Option<&Provider>) {
        let (message, help) = match (self.known.get(slot), provider) {
            (None, _) => {
                let slots = self.known.keys().map(|known| known.as_str());
                (
                    format!("there is no candidate for {slot}"),
                    nearest(slot.as_str(), slots),
                )
            }
            (Some(known), Some(provider)) if !known.contains(&provider) => {
                let names = known.iter().map(|known| known.as_str());
                let all: Vec<&str> = names.clone().collect();
                let help = nearest(provider.as_str(), names);
                (
                    format!("{slot} has no candidate of '{provider}'"),
                    help.or_else(|| Some(format!("it has {}", all.join(", ")))),
                )
            }
            _ => return,
        };
        self.add(place, key, &message, help);
    }

    /// Notes a slot that no candidate declares, if one is there that may have been meant.
    fn misspelt(&mut self, place: Place, key: &str, slot: &Slot) {
        let slots = self.known.keys().map(|known| known.as_str());
        if !self.known.contains_key(slot) && nearest(slot.as_str(), slots).is_some() {
            self.nobody(place, key, slot, None);
        }
    }

    fn add(&mut self, place: Place, key: &str, message: &str, help: Option<String>) {
        let warning = SettingsWarning {
            source: SettingsSource::Default,
            at: None,
            key: key.to_owned(),
            message: message.to_owned(),
            help,
        };
        self.warnings.push((Some(place), warning));
    }

    /// Notes a file that nobody lets us look for.
    fn unseen(&mut self, path: &Path) {
        let message = "this user may not look whether it is there, so nothing is read from it";
        let help = "--config names the file to be read in place of all";
        let warning = SettingsWarning {
            source: SettingsSource::File(path.to_owned()),
            at: None,
            key: String::new(),
            message: message.to_owned(),
            help: Some(help.to_owned()),
        };
        self.warnings.push((None, warning));
    }
}

/// `secret:/env/X`, `secret//env/X`, `Secret://env/X`, ` secret://env/X`: whoever writes that means a reference.
fn is_almost_a_reference(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(9).collect();
    let start = start.to_ascii_lowercase();
    let begins = ["secret:", "secrets:", "secret//", "secrets//"];
    !SecretRef::is_meant(text) && begins.iter().any(|begin| start.starts_with(begin))
}
