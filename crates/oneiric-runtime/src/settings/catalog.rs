//! The one list of all keys: what each is called, what may stand there, what holds without it, and what it means.
//!
//! Reading and checking, suggestions for misspelt keys, the reference page, the JSON Schema, the commented file that
//! `oneiric init` writes and what `config explain` says all come from here, so that none of them can know a key that
//! another does not. A default is not written down a second time: it is read from `Settings::default()`.

mod field;
mod keys;
mod path;
mod shape;

use std::ops::RangeInclusive;

use serde_json::Value;

use self::{field::Field, keys::SECTIONS};
pub(super) use self::{
    field::Words,
    path::{Step, joined, quoted, steps},
    shape::{Identity, Names, Shape, root},
};
use super::{Settings, policies};

/// A key that says where a schema is; editors read it, and nobody else.
pub(super) const SCHEMA_KEY: &str = "$schema";

/// A day in milliseconds; longer is a typing mistake.
const DAY: i64 = 86_400_000;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// `admin.tcp.listen`, `candidates[].slot`, `selections.<slot>`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    field: Field,
    /// Sentences for people, Markdown.
    pub(crate) doc: &'static str,
    /// What holds where nothing is set, when that is not one value.
    unset: &'static str,
    /// An example of a value in TOML, where there is no default.
    pub(crate) example: &'static str,
    pub(crate) required: bool,
    /// Whether a reload puts a change in force; if not, the process has to be started anew.
    pub(crate) reload: bool,
    /// The version that read it first.
    pub(crate) since: &'static str,
}

/// What may stand at a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Text,
    Path,
    /// A reference to a secret, never the secret itself.
    Secret,
    /// Which events are logged.
    Filter,
    Flag,
    Number(RangeInclusive<i64>),
    Millis(RangeInclusive<i64>),
    Bytes(RangeInclusive<i64>),
    Percent,
    Priority,
    StackLevel,
    Word(&'static [&'static str]),
    Texts,
    /// What candidates may name as their factory.
    Allowlist,
    Slot,
    Slots,
    Provider,
    Factory,
    /// An IP address and a port.
    Address,
    /// A table that somebody else knows the keys of.
    Free,
}

/// A section, for the pages that are made from the catalog.
#[derive(Debug)]
pub(crate) struct Section {
    /// `admin`, `admin.tcp`, `candidates[]`; empty for what is in none.
    pub(crate) path: &'static str,
    pub(crate) title: &'static str,
    /// Sentences for people, Markdown.
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

/// Every section, in the order in which people read them.
pub(crate) const fn sections() -> &'static [Section] {
    SECTIONS
}

/// Every key, section by section.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The whole key that is meant by the last name of one, where there is only one of that name: `grace_ms` is
/// `run.grace_ms`.
pub(super) fn whole(name: &str) -> Option<&'static str> {
    let mut found = keys().filter(|key| key.name() == name && !key.path.contains(['<', '[']));
    let first = found.next()?;
    found.next().is_none().then_some(first.path)
}

impl Key {
    const fn new(path: &'static str, kind: Kind, field: Field, doc: &'static str) -> Self {
        Self {
            path,
            kind,
            field,
            doc,
            unset: "none",
            example: "",
            required: false,
            reload: false,
            since: "0.1.0",
        }
    }

    const fn unset(mut self, unset: &'static str) -> Self {
        self.unset = unset;
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self.unset = "required";
        self
    }

    /// A change holds without a new start.
    const fn reloads(mut self) -> Self {
        self.reload = true;
        self
    }

    /// The last part of its path.
    pub(crate) fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// What `settings` say about it; `None` where they say nothing, and for keys that stand in lists and tables of
    /// free names.
    pub(crate) fn value(&self, settings: &mut Settings) -> Option<Value> {
        self.field.value(settings)
    }

    /// The value that holds where nothing is set.
    pub(crate) fn default(&self) -> Option<Value> {
        match self.field {
            Field::Policy => policies::default_of(self.name()),
            _ => self.value(&mut Settings::default()),
        }
    }

    /// What holds where nothing is set, for people; Markdown.
    pub(crate) fn default_in_words(&self) -> String {
        match self.default() {
            Some(Value::String(text)) => format!("`{text:?}`"),
            Some(Value::Array(items)) if items.is_empty() => "`[]`".to_owned(),
            Some(value @ Value::Array(_)) => format!("`{value}`"),
            Some(value) => value.to_string(),
            None => self.unset.to_owned(),
        }
    }

    /// Whether what stands there is part of something larger, and goes straight into no field.
    pub(super) const fn is_built(&self) -> bool {
        matches!(self.field, Field::Built | Field::Policy)
    }

    /// Whether it is part of a slot's policy, so that wider scopes say what is not stated.
    pub(super) const fn is_of_policy(&self) -> bool {
        matches!(self.field, Field::Policy)
    }

    pub(super) fn store(&self, settings: &mut Settings, node: &super::tree::Node) {
        self.field.store(settings, node);
    }
}

impl Kind {
    /// What is expected, with its article.
    pub(super) const fn expected(&self) -> &'static str {
        match self {
            Self::Text | Self::Path | Self::Secret | Self::Filter | Self::Word(_) => "a string",
            Self::Flag => "true or false",
            Self::Number(_)
            | Self::Millis(_)
            | Self::Bytes(_)
            | Self::Percent
            | Self::Priority
            | Self::StackLevel => "a whole number",
            Self::Texts | Self::Allowlist | Self::Slots => "a list of strings",
            Self::Slot => "a slot such as \"adapter/cache\"",
            Self::Provider => "the name of a provider",
            Self::Factory => "a factory such as \"oneiric.builtins:memory_cache\"",
            Self::Address => "an address and a port such as \"127.0.0.1:8443\"",
            Self::Free => "a table",
        }
    }

    /// The least and the greatest number.
    pub(crate) const fn range(&self) -> Option<(i64, i64)> {
        use oneiric_core::bounds::{PRIORITY, STACK_LEVEL};
        match self {
            Self::Number(range) | Self::Millis(range) | Self::Bytes(range) => {
                Some((*range.start(), *range.end()))
            }
            Self::Percent => Some((0, 100)),
            Self::Priority => Some((*PRIORITY.start(), *PRIORITY.end())),
            Self::StackLevel => Some((*STACK_LEVEL.start(), *STACK_LEVEL.end())),
            _ => None,
        }
    }

    /// The unit of its number.
    pub(crate) const fn unit(&self) -> Option<&'static str> {
        match self {
            Self::Millis(_) => Some("milliseconds"),
            Self::Bytes(_) => Some("bytes"),
            Self::Percent => Some("percent"),
            _ => None,
        }
    }

    /// What may stand there, for people.
    pub(crate) fn in_words(&self) -> String {
        if let Some((least, most)) = self.range() {
            return match most {
                i64::MAX => format!("{least} or more"),
                _ => format!("{least} to {most}"),
            };
        }
        match self {
            Self::Text | Self::Filter => "text",
            Self::Path => "path",
            Self::Secret => "reference `secret://PROVIDER/NAME`",
            Self::Flag => "true or false",
            Self::Texts | Self::Allowlist => "list of texts",
            Self::Slot => "slot",
            Self::Slots => "list of slots",
            Self::Provider => "provider",
            Self::Factory => "factory",
            Self::Address => "address and port",
            Self::Free => "table",
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                return words.join(", ");
            }
            // They have a range.
            Self::Number(_)
            | Self::Millis(_)
            | Self::Bytes(_)
            | Self::Percent
            | Self::Priority
            | Self::StackLevel => "number",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_is_there_once_and_says_what_it_means() {
        let mut seen = BTreeSet::new();
        for key in keys() {
            assert!(seen.insert(key.path), "{} is there twice", key.path);
            assert!(key.doc.ends_with('.'), "{}: {}", key.path, key.doc);
            assert!(
                key.default().is_some() || !key.unset.is_empty(),
                "{}: what holds without it?",
                key.path
            );
            let section = SECTIONS
                .iter()
                .find(|section| section.keys.iter().any(|other| other.path == key.path));
            let prefix = section.map_or("", |section| section.path);
            assert!(key.path.starts_with(prefix), "{}", key.path);
        }
    }

    #[test]
    fn every_section_ends_in_a_sentence() {
        for section in sections() {
            assert!(section.doc.ends_with('.'), "{}", section.title);
        }
    }
}
