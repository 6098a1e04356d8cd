//! What an instance says of itself when asked.

use std::collections::BTreeMap;
use std::fmt;

use oneiric_core::BoxFuture;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// An instance's answer to a probe, from best to worst; the last is none.
///
/// Only an explicit answer counts: an instance that cannot be asked, answers late or panics is
/// [`Health::ProbeError`], never [`Health::Ok`].
///
/// ```
/// use oneiric_lifecycle::{Health, Reason};
///
/// let full = Health::warn(Reason::new("the disk is filling up").detail("free_percent", 3));
/// assert_eq!(full.to_string(), "warn: the disk is filling up");
/// assert!(full.may_serve());
/// assert!(!Health::critical("the disk is full").may_serve());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Ok,
    /// It works; somebody should look at it.
    Warn(Reason),
    /// It does not work now and expects to by itself.
    TemporarilyUnavailable(Reason),
    /// It does not work.
    Critical(Reason),
    /// It could not be asked, or answered too late.
    ProbeError(Reason),
    /// Nobody asked it, because there was no thread for that in time: this says nothing about it.
    NotAsked(Reason),
}

impl Health {
    /// It works; somebody should look at it.
    pub fn warn(reason: impl Into<Reason>) -> Self {
        Self::Warn(reason.into())
    }

    /// It does not work now and expects to by itself.
    pub fn temporarily_unavailable(reason: impl Into<Reason>) -> Self {
        Self::TemporarilyUnavailable(reason.into())
    }

    /// It does not work.
    pub fn critical(reason: impl Into<Reason>) -> Self {
        Self::Critical(reason.into())
    }

    /// It could not be asked.
    pub fn probe_error(reason: impl Into<Reason>) -> Self {
        Self::ProbeError(reason.into())
    }

    /// There was no thread to ask it.
    pub(crate) fn not_asked(reason: impl Into<Reason>) -> Self {
        Self::NotAsked(reason.into())
    }

    /// Whether an instance in this state may take over from one that works.
    pub const fn may_serve(&self) -> bool {
        matches!(self, Self::Ok | Self::Warn(_))
    }

    /// The state's name as in JSON: `ok`, `warn`, `temporarily_unavailable`, `critical`,
    /// `probe_error`, `not_asked`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn(_) => "warn",
            Self::TemporarilyUnavailable(_) => "temporarily_unavailable",
            Self::Critical(_) => "critical",
            Self::ProbeError(_) => "probe_error",
            Self::NotAsked(_) => "not_asked",
        }
    }

    /// What the instance says about it, where it says anything.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Ok => None,
            Self::Warn(reason)
            | Self::TemporarilyUnavailable(reason)
            | Self::Critical(reason)
            | Self::ProbeError(reason)
            | Self::NotAsked(reason) => Some(reason),
        }
    }

    /// What the instance says about it in words, where it says anything.
    pub fn message(&self) -> Option<&str> {
        self.reason().map(Reason::message)
    }

    /// The same answer with another reason, where it has one.
    pub(crate) fn map_reason(self, change: impl FnOnce(Reason) -> Reason) -> Self {
        match self {
            Self::Ok => Self::Ok,
            Self::Warn(reason) => Self::Warn(change(reason)),
            Self::TemporarilyUnavailable(reason) => Self::TemporarilyUnavailable(change(reason)),
            Self::Critical(reason) => Self::Critical(change(reason)),
            Self::ProbeError(reason) => Self::ProbeError(change(reason)),
            Self::NotAsked(reason) => Self::NotAsked(change(reason)),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.message() {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

/// `{"health": "critical", "message": "...", "details": {...}}`.
impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("health", self.name())?;
        if let Some(reason) = self.reason() {
            map.serialize_entry("message", &reason.message)?;
            if !reason.details.is_empty() {
                map.serialize_entry("details", &reason.details)?;
            }
        }
        map.end()
    }
}

/// Why an instance is as it is: in words, and as data for those who count and compare.
///
/// Once an answer is taken down, what is too long in it is cut, and says so: it goes into status and events and is kept
/// there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    message: String,
    details: BTreeMap<String, Value>,
}

impl Reason {
    /// The longest message, in bytes.
    pub const MAX_MESSAGE_BYTES: usize = 4_096;
    /// The most details; those beyond are left out.
    pub const MAX_DETAILS: usize = 16;
    /// The largest detail, name and JSON together, in bytes.
    pub const MAX_DETAIL_BYTES: usize = 1_024;

    /// A reason in words.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            details: BTreeMap::new(),
        }
    }

    /// Adds a fact by name, in the place of one with the same name.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if self.details.len() < Self::MAX_DETAILS || self.details.contains_key(&name) {
            self.details.insert(name, value.into());
        }
        self
    }

    /// The words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The facts, by name.
    pub const fn details(&self) -> &BTreeMap<String, Value> {
        &self.details
    }

    /// The same with what is too long in it cut. Only for what is redacted: of half a secret nobody knows that it is one.
    pub(crate) fn bounded(self) -> Self {
        let details = self.details.into_iter();
        Self {
            message: cut(self.message, Self::MAX_MESSAGE_BYTES),
            details: details
                .map(|(name, value)| {
                    if name.len().saturating_add(value.to_string().len()) > Self::MAX_DETAIL_BYTES {
                        (cut(name, MAX_NAME_BYTES), Value::from(CUT))
                    } else {
                        (name, value)
                    }
                })
                .collect(),
        }
    }

    /// The same with every text in it changed by `text`, numbers among them as their digits.
    pub(crate) fn map_texts(self, text: &impl Fn(String) -> String) -> Self {
        let details = self.details.into_iter();
        Self {
            message: text(self.message),
            details: details
                .map(|(name, value)| (text(name), map_texts(value, text)))
                .collect(),
        }
    }
}

/// What is kept of the name of a detail that is too large.
const MAX_NAME_BYTES: usize = 64;

/// Stands for what was cut.
const CUT: &str = "[cut]";

/// The first bytes of a text that is too long, whole characters only.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

fn map_texts(value: Value, text: &impl Fn(String) -> String) -> Value {
    match value {
        Value::String(value) => Value::String(text(value)),
        Value::Number(number) => {
            let digits = number.to_string();
            let changed = text(digits.clone());
            if changed == digits {
                Value::Number(number)
            } else {
                Value::String(changed)
            }
        }
        Value::Array(values) => values
            .into_iter()
            .map(|value| map_texts(value, text))
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (text(name), map_texts(value, text)))
            .collect(),
        other => other,
    }
}

impl From<&str> for Reason {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Reason {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says whether an instance can do its work now.
///
/// A probe may block (it runs on the blocking pool) and is given `Limits::probe` to answer.
pub trait Probe: Send + Sync {
    /// Asks. An answer should come from doing a little of the real work, not from memory.
    fn probe(&self) -> BoxFuture<'_, Health>;
}

fn _probe_is_dyn_safe(_: &dyn Probe) {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn p15_only_an_explicit_good_answer_may_serve() {
        assert!(Health::Ok.may_serve());
        assert!(Health::warn("slow").may_serve());
        for bad in [
            Health::temporarily_unavailable("restarting"),
            Health::critical("disk gone"),
            Health::probe_error("no answer"),
        ] {
            assert!(!bad.may_serve(), "{bad}");
        }
    }

    #[test]
    fn json_names_are_stable() {
        let json = |health: Health| serde_json::to_value(health).unwrap();
        assert_eq!(json(Health::Ok), json!({"health": "ok"}));
        assert_eq!(
            json(Health::warn("slow")),
            json!({"health": "warn", "message": "slow"})
        );
        let reason = Reason::new("full").detail("free", 3).detail("disk", "sda");
        assert_eq!(
            json(Health::critical(reason)),
            json!({"health": "critical", "message": "full", "details": {"disk": "sda", "free": 3}})
        );
    }

    #[test]
    fn a_reason_is_bounded_and_says_what_was_cut() {
        let long = "ö".repeat(Reason::MAX_MESSAGE_BYTES);
        let reason = Reason::new(&*long).detail("long", long.clone()).bounded();
        assert_eq!(
            reason.message().len(),
            Reason::MAX_MESSAGE_BYTES + CUT.len()
        );
        assert_eq!(reason.details()["long"], CUT);
        let many = (0..100).fold(reason, |reason, number| {
            reason.detail(number.to_string(), number)
        });
        assert_eq!(many.details().len(), Reason::MAX_DETAILS);
        let again = many.detail("long", "short").bounded();
        assert_eq!(again.details()["long"], "short");
    }

    #[test]
    fn every_text_is_changed_wherever_it_stands() {
        let cover = |text: String| text.replace("123", "***");
        let reason = Reason::new("pin 123")
            .detail("123", json!([{"123": 41_234}, 7, true]))
            .map_texts(&cover);
        assert_eq!(reason.message(), "pin ***");
        assert_eq!(reason.details()["***"], json!([{"***": "4***4"}, 7, true]));
    }
}
