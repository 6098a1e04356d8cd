//! Reads a parsed TOML tree key by key. A section remembers which keys were asked for, so that those left over can be
//! reported as unknown, with the nearest known one; nothing stops at the first fault.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use oneiric_core::Coded;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::{
    fault::{Fault, Place, nearest},
    source::{Found, Source, join, quoted},
};

/// One table that is being read.
pub(super) struct Section<'s, 't> {
    source: &'s Source<'t>,
    path: String,
    pub(super) place: Place,
    left: DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'s, 't> Section<'s, 't> {
    /// The whole file.
    pub(super) fn root(source: &'s Source<'t>, table: DeTable<'t>) -> Self {
        let place = Place { line: 1, column: 1 };
        Self {
            source,
            path: String::new(),
            place,
            left: table,
            asked: Vec::new(),
        }
    }

    fn of(source: &'s Source<'t>, found: Found<DeValue<'t>>) -> Option<Self> {
        match found {
            Found {
                value: DeValue::Table(left),
                place,
                key,
            } => Some(Self {
                source,
                path: key,
                place,
                left,
                asked: Vec::new(),
            }),
            other => {
                source.mismatch(&other, "a table");
                None
            }
        }
    }

    /// The whole key of `key` in this section.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub(super) fn invalid(&self, place: Place, key: &str, message: impl fmt::Display) {
        self.source
            .report(Fault::new(place, key, "runtime.settings_invalid", message));
    }

    pub(super) fn report(&self, fault: Fault) {
        self.source.report(fault);
    }

    fn take(&mut self, key: &'static str) -> Option<Found<DeValue<'t>>> {
        self.asked.push(key);
        let value = self.left.remove(key)?;
        Some(self.source.found(value, self.key(key)))
    }

    /// Reports that a key is not there, unless it is there and wrong.
    pub(super) fn missing(&self, key: &str) {
        let path = self.key(key);
        if !self.source.has_fault(&path) {
            self.invalid(self.place, &path, "it is missing");
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<Found<String>> {
        let found = self.take(key)?;
        match found.value {
            DeValue::String(text) => Some(Found {
                value: text.into_owned(),
                place: found.place,
                key: found.key,
            }),
            _ => {
                self.source.mismatch(&found, "a string");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let found = self.take(key)?;
        found.value.as_bool().or_else(|| {
            self.source.mismatch(&found, "true or false");
            None
        })
    }

    /// An integer, whatever its size in 64 bits.
    pub(super) fn integer(&mut self, key: &'static str) -> Option<Found<i64>> {
        let found = self.take(key)?;
        match &found.value {
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) => Some(Found {
                        value,
                        place: found.place,
                        key: found.key,
                    }),
                    Err(_) => {
                        self.invalid(
                            found.place,
                            &found.key,
                            "the number does not fit into 64 bits",
                        );
                        None
                    }
                }
            }
            _ => {
                self.source.mismatch(&found, "a whole number");
                None
            }
        }
    }

    /// A number of milliseconds within `range`.
    pub(super) fn millis(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        let found = self.integer(key)?;
        match u64::try_from(found.value)
            .ok()
            .filter(|value| range.contains(value))
        {
            Some(value) => Some(Duration::from_millis(value)),
            None => {
                let (low, high) = (range.start(), range.end());
                let message = format!(
                    "expected {low} to {high} milliseconds, found {}",
                    found.value
                );
                self.invalid(found.place, &found.key, message);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let found = self.take(key)?;
        self.one_of(found, words)
    }

    fn one_of<T: Copy>(&self, found: Found<DeValue<'t>>, words: &[(&str, T)]) -> Option<T> {
        let Found {
            place,
            key,
            value: DeValue::String(value),
        } = found
        else {
            self.source.mismatch(&found, "a string");
            return None;
        };
        let found = Found { value, place, key };
        let meant = words
            .iter()
            .find(|(word, _)| *word == found.value)
            .map(|(_, value)| *value);
        if meant.is_none() {
            let known = words
                .iter()
                .map(|(word, _)| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(", ");
            let message = format!("expected one of {known}, found '{}'", found.value);
            let help = nearest(&found.value, words.iter().map(|(word, _)| *word));
            self.report(
                Fault::new(found.place, &found.key, "runtime.settings_invalid", message).help(help),
            );
        }
        meant
    }

    /// A string that is read as `T`.
    pub(super) fn parsed<T>(&mut self, key: &'static str, expected: &str) -> Option<Found<T>>
    where
        T: FromStr<Err: Coded + fmt::Display>,
    {
        let found = self.take(key)?;
        self.source.parsed(found, expected)
    }

    /// A list of strings that are read as `T`; wrong ones are reported and left out.
    pub(super) fn list<T>(&mut self, key: &'static str, expected: &str) -> Vec<T>
    where
        T: FromStr<Err: Coded + fmt::Display>,
    {
        let items = self.items(key, "a list of strings");
        items
            .into_iter()
            .filter_map(|item| Some(self.source.parsed(item, expected)?.value))
            .collect()
    }

    /// A list of strings, if there is one.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<Found<String>>> {
        if !self.left.contains_key(key) {
            self.asked.push(key);
            return None;
        }
        let items = self.items(key, "a list of strings");
        let text = |item: Found<DeValue<'t>>| match item.value {
            DeValue::String(text) => Some(Found {
                value: text.into_owned(),
                place: item.place,
                key: item.key,
            }),
            _ => {
                self.source.mismatch(&item, "a string");
                None
            }
        };
        Some(items.into_iter().filter_map(text).collect())
    }

    fn items(&mut self, key: &'static str, expected: &str) -> Vec<Found<DeValue<'t>>> {
        match self.take(key) {
            None => Vec::new(),
            Some(Found {
                value: DeValue::Array(items),
                key,
                ..
            }) => {
                let name = |(index, item)| self.source.found(item, format!("{key}[{index}]"));
                items.into_iter().enumerate().map(name).collect()
            }
            Some(other) => {
                self.source.mismatch(&other, expected);
                Vec::new()
            }
        }
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let found = self.take(key)?;
        Self::of(self.source, found)
    }

    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let items = self.items(key, "a list of tables");
        items
            .into_iter()
            .filter_map(|item| Self::of(self.source, item))
            .collect()
    }

    /// Any table, as JSON.
    pub(super) fn json(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        let found = self.take(key)?;
        if !found.value.is_table() {
            self.source.mismatch(&found, "a table");
            return None;
        }
        match self.source.json(found) {
            Some(Value::Object(entries)) => Some(entries),
            _ => None,
        }
    }

    /// Every entry of a section whose keys are free and whose values are one of a few words.
    pub(super) fn into_words<T: Copy>(mut self, words: &[(&str, T)]) -> Vec<(String, T)> {
        let names: Vec<_> = self
            .left
            .keys()
            .map(|name| name.get_ref().to_string())
            .collect();
        let mut read = Vec::new();
        for name in names {
            let Some(value) = self.left.remove(name.as_str()) else {
                continue;
            };
            let found = self.source.found(value, self.key(&quoted(&name)));
            read.extend(self.one_of(found, words).map(|value| (name, value)));
        }
        read
    }

    /// Every entry of a section whose keys are names: the key read as `K`, and the value.
    pub(super) fn entries<K>(&mut self) -> Vec<(Found<K>, Found<DeValue<'t>>)>
    where
        K: FromStr<Err: Coded + fmt::Display>,
    {
        let entries = std::mem::take(&mut self.left)
            .into_iter()
            .filter_map(|(name, value)| {
                let (place, key) = (
                    self.source.place(name.span().start),
                    self.key(&quoted(name.get_ref())),
                );
                match name.get_ref().parse() {
                    Ok(read) => {
                        let value = self.source.found(value, key.clone());
                        Some((
                            Found {
                                value: read,
                                place,
                                key,
                            },
                            value,
                        ))
                    }
                    Err(error) => {
                        self.source.report(Fault::coded(place, &key, &error));
                        None
                    }
                }
            });
        entries.collect()
    }

    pub(super) fn entry_parsed<T>(
        &self,
        found: Found<DeValue<'t>>,
        expected: &str,
    ) -> Option<Found<T>>
    where
        T: FromStr<Err: Coded + fmt::Display>,
    {
        self.source.parsed(found, expected)
    }

    pub(super) fn entry_section(&self, found: Found<DeValue<'t>>) -> Option<Self> {
        Self::of(self.source, found)
    }

    pub(super) fn entry_json(&self, found: Found<DeValue<'t>>) -> Option<Value> {
        if found.value.is_table() {
            return self.source.json(found);
        }
        self.source.mismatch(&found, "a table");
        None
    }

    /// Reports every key that nobody asked for.
    pub(super) fn end(self) {
        for name in self.left.keys() {
            let known = || self.asked.iter().copied();
            let help = nearest(name.get_ref(), known()).unwrap_or_else(|| {
                format!("known here: {}", known().collect::<Vec<_>>().join(", "))
            });
            let place = self.source.place(name.span().start);
            let fault = Fault::new(
                place,
                &self.key(&quoted(name.get_ref())),
                "runtime.settings_invalid",
                "unknown key",
            );
            self.source.report(fault.help(Some(help)));
        }
    }
}
