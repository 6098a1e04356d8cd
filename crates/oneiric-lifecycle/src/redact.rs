//! What is left out of the words of components.
//!
//! An error text may quote what the component was given, a password above all. Texts go into status,
//! events, reports and logs, and some of those are kept; so they are redacted once, on the way in,
//! while the secret they quote is still known to be one.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::decision::Because;
use crate::error::Failure;
use crate::health::Health;
use crate::work::Held;

type Rule = dyn for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync;

/// How many characters of a key are shown.
const KEY_CHARS: usize = 64;

/// And how many are looked at for that.
const KEY_CHARS_READ: usize = 64 * KEY_CHARS;

/// A rule for what is left out; by default nothing.
#[derive(Clone, Default)]
pub(crate) struct Redact(Option<Arc<Rule>>);

impl Redact {
    pub(crate) fn new(
        rule: impl for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(rule)))
    }

    pub(crate) fn text(&self, text: String) -> String {
        let Some(rule) = &self.0 else {
            return text;
        };
        // A rule that fails must not let through what it was to keep back.
        let redacted = catch_unwind(AssertUnwindSafe(|| match rule(&text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(redacted) => Some(redacted),
        }));
        match redacted {
            Ok(None) => text,
            Ok(Some(redacted)) => redacted,
            Err(_panic) => "[left out: it could not be redacted]".to_owned(),
        }
    }

    /// A key as it is shown: without what is secret, on one line, and no longer than anybody reads.
    pub(crate) fn key(&self, key: &str) -> String {
        // What is left out may be longer than what is shown; nothing is as long as this.
        let shown = self.text(key.chars().take(KEY_CHARS_READ).collect());
        let mut shown: String = shown
            .chars()
            .map(|char| if char.is_control() { '\u{fffd}' } else { char })
            .take(KEY_CHARS + 1)
            .collect();
        if let Some((cut, _)) = shown.char_indices().nth(KEY_CHARS) {
            shown.truncate(cut);
            shown.pop();
            shown.push('\u{2026}');
        }
        shown
    }

    pub(crate) fn failure(&self, mut failure: Failure) -> Failure {
        failure.message = self.text(failure.message);
        failure
    }

    /// What is said of calls is in the words of those who make them.
    pub(crate) fn held(&self, mut held: Held) -> Held {
        for work in &mut held.work {
            work.operation = self.text(std::mem::take(&mut work.operation));
            work.who = work.who.take().map(|who| self.text(who));
        }
        held
    }

    /// What somebody said who asked for something, which is all that a reason has of other people's words.
    pub(crate) fn because(&self, because: Because) -> Because {
        match because {
            Because::Asked { why } => Because::Asked {
                why: self.text(why),
            },
            // Answers of probes and failures are redacted when they are given.
            because => because,
        }
    }

    pub(crate) fn health(&self, health: Health) -> Health {
        health.map_reason(|reason| reason.map_texts(&|text| self.text(text)).bounded())
    }
}

impl fmt::Debug for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redact")
    }
}
