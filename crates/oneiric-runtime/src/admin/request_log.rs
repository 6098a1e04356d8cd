//! One line in the log for each request, whatever came of it.
//!
//! What a client or a component says goes into fields of type text, which every subscriber writes quoted: were it
//! written as it is, a line break in it would begin a line of the log that nobody logged. No field is called
//! `message`, because that one is written as it is.

use std::borrow::Cow;

use oneiric_core::{Provider, Slot};
use tracing::Level;

use super::problem::Problem;

/// The longest method in a log; clients may invent some.
const MAX_METHOD_BYTES: usize = 16;

/// What a request called.
#[derive(Clone)]
pub(super) struct Called {
    pub(super) slot: Slot,
    pub(super) operation: String,
    /// Absent where nobody was there to be called.
    pub(super) provider: Option<Provider>,
}

/// A request that is answered.
pub(super) struct Line<'l> {
    pub(super) id: &'l str,
    pub(super) method: &'l str,
    /// The path of a known route; that of an unknown one is whatever somebody typed.
    pub(super) route: &'static str,
    pub(super) status: u16,
    pub(super) who: &'l str,
    /// Whether the answer was given before.
    pub(super) replayed: bool,
    pub(super) problem: Option<&'l Problem>,
}

impl Line<'_> {
    pub(super) fn log(&self) {
        let called = self.problem.and_then(|problem| problem.called.as_ref());
        let slot = called.map(|called| called.slot.to_string());
        let provider = called.and_then(|called| called.provider.as_ref());
        macro_rules! log {
            ($level:expr, $what:literal) => {
                tracing::event!(
                    $level,
                    request_id = self.id,
                    method = &*cut(self.method, MAX_METHOD_BYTES),
                    route = self.route,
                    status = self.status,
                    who = self.who,
                    replayed = self.replayed.then_some(true),
                    code = self.problem.map(|problem| problem.code),
                    reason = self.problem.map(|problem| &*problem.message),
                    slot = slot.as_deref(),
                    provider = provider.map(Provider::as_str),
                    operation = called.map(|called| called.operation.as_str()),
                    $what
                )
            };
        }
        match self.problem.map(|problem| problem.level) {
            None => log!(Level::INFO, "admin request"),
            Some(Level::ERROR) => log!(Level::ERROR, "admin request failed"),
            Some(Level::WARN) => log!(Level::WARN, "admin request failed"),
            Some(_) => log!(Level::INFO, "admin request refused"),
        }
    }
}

/// Shortens a text that is too long, and says how long it was.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let (head, _) = text.split_at(text.floor_char_boundary(most));
    Cow::Owned(format!("{head}... ({} bytes)", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("äöü", 3), "ä... (6 bytes)");
    }
}
