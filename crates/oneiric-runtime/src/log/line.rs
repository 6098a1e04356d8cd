//! One line of the log, in both forms.
//!
//! What components and clients say is in fields, and a field cannot end the line it is in: in JSON because of the
//! encoding, for people because control characters are written as escapes. No text is longer than [`MAX_TEXT`]; what is
//! cut is searched for secrets before, because the beginning of one is not found any more.

use std::{
    error::Error,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Level,
    field::{Field, Visit},
};

use crate::{redact::Redactor, visible::steers_display};

/// The longest message or field; what is longer is cut and says so.
const MAX_TEXT: usize = 8 << 10;

/// The field that tracing puts the message in.
const MESSAGE: &str = "message";

/// A field's value, as it was given.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    /// A text, which people see in quotes.
    Text(String),
    /// Something that was displayed, which people see as it is unless that would confuse them.
    Shown(String),
    /// A number or a truth.
    Plain(Value),
}

/// Names and values, in the order they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(&'static str, Given)>);

/// An event with everything around it.
pub(super) struct Line {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: &'static str,
    /// The names of the spans, outermost first.
    pub(super) spans: Vec<&'static str>,
    pub(super) fields: Fields,
}

/// A line as programs get it.
#[derive(Serialize)]
struct Document<'l> {
    timestamp: String,
    level: String,
    target: &'static str,
    message: String,
    fields: Map<String, Value>,
    spans: &'l [&'static str],
}

impl Fields {
    /// Adds the fields of `around` that are not here yet.
    pub(super) fn add_missing(&mut self, around: &Self) {
        for (name, given) in &around.0 {
            if !self.0.iter().any(|(known, _)| known == name) {
                self.0.push((name, given.clone()));
            }
        }
    }

    /// Puts the fields of `later` in the place of those of the same names.
    pub(super) fn replace(&mut self, mut later: Self) {
        later.add_missing(self);
        *self = later;
    }
}

/// Takes fields as they are given.
pub(super) struct Recorder<'r> {
    fields: Fields,
    redactor: &'r Redactor,
}

impl<'r> Recorder<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        Self {
            fields: Fields::default(),
            redactor,
        }
    }

    pub(super) fn fields(self) -> Fields {
        self.fields
    }

    fn set(&mut self, field: &Field, given: Given) {
        self.fields.0.push((field.name(), given));
    }

    fn cut(&self, text: String) -> String {
        if text.len() <= MAX_TEXT {
            return text;
        }
        let length = text.len();
        let mut text = self.redactor.redact(&text).into_owned();
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push_str(&format!("... ({length} bytes)"));
        }
        text
    }
}

impl Visit for Recorder<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Given::Shown(self.cut(format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Given::Text(self.cut(value.to_owned())));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        self.set(field, Given::Text(self.cut(text)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Given::Plain(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Given::Plain(value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Given::Plain(value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Given::Plain(value.into()));
    }
}

impl Line {
    /// `{"timestamp", "level", "target", "message", "fields": {..}, "spans": [..]}`; the fields are those of the event
    /// and of the spans around it.
    pub(super) fn json(&self, redact: impl Fn(&str) -> String) -> String {
        let (mut message, mut fields) = (String::new(), Map::new());
        for (name, given) in &self.fields.0 {
            match given {
                Given::Text(text) | Given::Shown(text) if *name == MESSAGE => {
                    message = redact(text)
                }
                Given::Text(text) | Given::Shown(text) => {
                    fields.insert((*name).to_owned(), Value::String(redact(text)));
                }
                Given::Plain(value) => {
                    fields.insert((*name).to_owned(), value.clone());
                }
            }
        }
        let document = Document {
            timestamp: timestamp(self.at),
            level: self.level.as_str().to_ascii_lowercase(),
            target: self.target,
            message,
            fields,
            spans: &self.spans,
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }

    /// `TIMESTAMP LEVEL TARGET: MESSAGE name=value ..`.
    pub(super) fn human(&self, redact: impl Fn(&str) -> String, colours: bool) -> String {
        let (faint, level, end) = if colours {
            ("\u{1b}[2m", colour(self.level), "\u{1b}[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!(
            "{faint}{}{end} {level}{:>5}{end} {faint}{}:{end}",
            timestamp(self.at),
            self.level,
            self.target
        );
        let message = self.fields.0.iter().find(|(name, _)| *name == MESSAGE);
        if let Some((_, Given::Text(message) | Given::Shown(message))) = message {
            text.push_str(&format!(" {}", escaped(&redact(message))));
        }
        for (name, given) in self.fields.0.iter().filter(|(name, _)| *name != MESSAGE) {
            let value = match given {
                Given::Text(text) => format!("{:?}", redact(text)),
                Given::Shown(text) => {
                    let text = redact(text);
                    let confuses = text.contains(steers_display) || text.is_empty();
                    if confuses { format!("{text:?}") } else { text }
                }
                Given::Plain(value) => value.to_string(),
            };
            text.push_str(&format!(" {faint}{name}={end}{value}"));
        }
        text.push('\n');
        text
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        _ => "\u{1b}[34m",
    }
}

fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    oneiric_core::rfc3339::format(ms).unwrap_or_else(|| format!("{ms}"))
}

/// What steers a display as escapes; everything else as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers_display(letter) {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}
