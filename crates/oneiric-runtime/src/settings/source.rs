//! The text of a settings file, its values with their places, and what is wrong with it so far.

use std::{cell::RefCell, collections::BTreeSet, fmt, str::FromStr};

use oneiric_core::Coded;
use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Faults, Place},
    places::Places,
};

/// The text and what is wrong with it so far.
pub(super) struct Source<'t> {
    places: Places<'t>,
    wrong: RefCell<Wrong>,
}

#[derive(Default)]
struct Wrong {
    keys: BTreeSet<String>,
    faults: Faults,
}

/// A value with its place and its whole key.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
    pub(super) key: String,
}

impl<'t> Source<'t> {
    /// Parses the text; syntax errors become faults.
    pub(super) fn new(text: &'t str) -> (Self, Option<DeTable<'t>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let source = Self {
            places: Places::new(text),
            wrong: RefCell::default(),
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

    pub(super) fn place(&self, byte: usize) -> Place {
        self.places.of(byte)
    }

    pub(super) fn report(&self, fault: Fault) {
        let mut wrong = self.wrong.borrow_mut();
        if !wrong.keys.contains(&fault.key) {
            wrong.keys.insert(fault.key.clone());
        }
        wrong.faults.push(fault);
    }

    /// Tells whether something is wrong with a key already.
    pub(super) fn has_fault(&self, key: &str) -> bool {
        self.wrong.borrow().keys.contains(key)
    }

    pub(super) fn into_faults(self) -> Faults {
        self.wrong.into_inner().faults
    }

    pub(super) fn mismatch(&self, found: &Found<DeValue<'t>>, expected: impl fmt::Display) {
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

    pub(super) fn found(&self, value: Spanned<DeValue<'t>>, key: String) -> Found<DeValue<'t>> {
        Found {
            place: self.place(value.span().start),
            key,
            value: value.into_inner(),
        }
    }

    pub(super) fn parsed<T>(&self, found: Found<DeValue<'t>>, expected: &str) -> Option<Found<T>>
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

    pub(super) fn json(&self, found: Found<DeValue<'t>>) -> Option<Value> {
        self.value(found.value, found.place, &Path::Key(&found.key))
    }

    fn value(&self, value: DeValue<'t>, place: Place, path: &Path<'_>) -> Option<Value> {
        let invalid = |message: &str| {
            let key = path.to_string();
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
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let place = self.place(item.span().start);
                    self.value(item.into_inner(), place, &Path::Item(path, index))
                });
                Value::Array(items.collect::<Option<_>>()?)
            }
            DeValue::Table(entries) => {
                let entries = entries.into_iter().map(|(name, item)| {
                    let place = self.place(item.span().start);
                    let item =
                        self.value(item.into_inner(), place, &Path::In(path, name.get_ref()))?;
                    Some((name.into_inner().into_owned(), item))
                });
                Value::Object(entries.collect::<Option<Map<_, _>>>()?)
            }
        })
    }
}

/// The whole key of a value deep in a table, written out only when something is wrong there: keys may be long and
/// values many.
enum Path<'p> {
    Key(&'p str),
    Item(&'p Self, usize),
    In(&'p Self, &'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Item(path, index) => write!(f, "{path}[{index}]"),
            Self::In(path, name) => write!(f, "{path}.{name}"),
        }
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key as it is written in TOML.
pub(super) fn quoted(key: &str) -> String {
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
