//! Reads a parsed TOML tree key by key. A section remembers which keys were asked for, so that those left over can be
//! reported as unknown, with the nearest known one; nothing stops at the first fault.

use std::{cell::RefCell, fmt, ops::RangeInclusive, str::FromStr};

use oneiric_core::Coded;
use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::fault::{Fault, Place, nearest};

/// The text and what is wrong with it so far.
pub(super) struct Source<'t> {
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
}

/// A value with its place and its whole key.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
    pub(super) key: String,
}

/// One table that is being read.
pub(super) struct Section<'s, 't> {
    source: &'s Source<'t>,
    path: String,
    pub(super) place: Place,
    left: DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Source<'t> {
    /// Parses the text; syntax errors become faults.
    pub(super) fn new(text: &'t str) -> (Self, Option<DeTable<'t>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let source = Self {
            text,
            faults: RefCell::default(),
        };
        for error in &errors {
            let place = source.place(error.span().map_or(0, |span| span.start));
            source.report(Fault::new(
                place,
                "",
                "runtime.settings_invalid",
                error.message().trim(),
            ));
        }
        (source, errors.is_empty().then(|| table.into_inner()))
    }

    pub(super) fn root<'s>(&'s self, table: DeTable<'t>) -> Section<'s, 't> {
        let place = Place { line: 1, column: 1 };
        Section {
            source: self,
            path: String::new(),
            place,
            left: table,
            asked: Vec::new(),
        }
    }

    pub(super) fn place(&self, byte: usize) -> Place {
        Place::of(self.text, byte)
    }

    pub(super) fn report(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    fn mismatch(&self, found: &Found<DeValue<'t>>, expected: impl fmt::Display) {
        let message = format!(
            "expected {expected}, found {}",
            with_article(found.value.type_str())
        );
        self.report(Fault::new(
            found.place,
            &found.key,
            "runtime.settings_invalid",
            message,
        ));
    }

    fn json(&self, found: Found<DeValue<'t>>) -> Option<Value> {
        let Found { value, place, key } = found;
        let invalid = |message: &str| {
            self.report(Fault::new(place, &key, "runtime.settings_invalid", message));
            None
        };
        Some(match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(flag) => Value::Bool(flag),
            DeValue::Datetime(at) => Value::String(at.to_string()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => number.into(),
                    Err(_) => return invalid("the number does not fit into 64 bits"),
                }
            }
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64)
            {
                Some(number) => Value::Number(number),
                None => return invalid("the number must be finite"),
            },
            DeValue::Array(items) => {
                let items = items
                    .into_iter()
                    .enumerate()
                    .map(|(index, item)| self.json(self.found(item, format!("{key}[{index}]"))));
                Value::Array(items.collect::<Option<_>>()?)
            }
            DeValue::Table(entries) => {
                let entries = entries.into_iter().map(|(name, item)| {
                    let path = join(&key, name.get_ref());
                    Some((
                        name.into_inner().into_owned(),
                        self.json(self.found(item, path))?,
                    ))
                });
                Value::Object(entries.collect::<Option<Map<_, _>>>()?)
            }
        })
    }

    fn found(&self, value: Spanned<DeValue<'t>>, key: String) -> Found<DeValue<'t>> {
        Found {
            place: self.place(value.span().start),
            key,
            value: value.into_inner(),
        }
    }

    fn parsed<T>(&self, found: Found<DeValue<'t>>, expected: &str) -> Option<Found<T>>
    where
        T: FromStr<Err: Coded + fmt::Display>,
    {
        let DeValue::String(text) = &found.value else {
            self.mismatch(&found, expected);
            return None;
        };
        match text.parse() {
            Ok(value) => Some(Found {
                value,
                place: found.place,
                key: found.key,
            }),
            Err(error) => {
                self.report(Fault::coded(found.place, &found.key, &error));
                None
            }
        }
    }

    fn section<'s>(&'s self, found: Found<DeValue<'t>>) -> Option<Section<'s, 't>> {
        match found {
            Found {
                value: DeValue::Table(left),
                place,
                key,
            } => Some(Section {
                source: self,
                path: key,
                place,
                left,
                asked: Vec::new(),
            }),
            other => {
                self.mismatch(&other, "a table");
                None
            }
        }
    }
}

impl<'s, 't> Section<'s, 't> {
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
        let faults = self.source.faults.borrow();
        let path = self.key(key);
        if !faults.iter().any(|fault| fault.key == path) {
            drop(faults);
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
    ) -> Option<std::time::Duration> {
        let found = self.integer(key)?;
        match u64::try_from(found.value)
            .ok()
            .filter(|value| range.contains(value))
        {
            Some(value) => Some(std::time::Duration::from_millis(value)),
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
        let found = self.string(key)?;
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
        self.source.section(found)
    }

    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let items = self.items(key, "a list of tables");
        items
            .into_iter()
            .filter_map(|item| self.source.section(item))
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
        self.source.section(found)
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

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key as it is written in TOML.
fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}
