//! What is left out of the words of components.
//!
//! An error text may quote what the component was given, a password above all. Texts go into status,
//! events, reports and logs, and some of those are kept; so they are redacted once, on the way in,
//! while the secret they quote is still known to be one.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Failure;
use crate::health::Health;
use crate::work::Held;

type Rule = dyn for<'a> Fn(&'a str) -> Cow<'a, str> + Send + Sync;

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

    pub(crate) fn health(&self, health: Health) -> Health {
        health.map_reason(|reason| reason.map_texts(&|text| self.text(text)).bounded())
    }
}

impl fmt::Debug for Redact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redact")
    }
}
