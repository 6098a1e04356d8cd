//! One line in the log for each request, whatever came of it. How loud it is says what an operator has to know: what
//! changed something is information, who was not let in or may not is a warning, and so is what went wrong; that somebody
//! looked, called something, or asked for it in the wrong way is for whoever looks for that.
//!
//! What a client or a component says goes into fields of type text, which every subscriber writes quoted: were it
//! written as it is, a line break in it would begin a line of the log that nobody logged. No field is called
//! `message`, because that one is written as it is.

use std::borrow::Cow;

use oneiric_core::{ErrorKind, Provider, Slot};
use tracing::Level;

use super::{
    problem::Problem,
    seldom::{Seldom, Turn},
};

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
    /// Whether it is there to change something.
    pub(super) changes: bool,
    pub(super) problem: Option<&'l Problem>,
}

impl Line<'_> {
    pub(super) fn log(&self, seldom: &Seldom) {
        let (level, left_out) = match (self.level(), self.problem) {
            (Level::WARN, Some(problem)) => match seldom.turn(problem.code) {
                Turn::Write { left_out } => (Level::WARN, left_out),
                Turn::LeaveOut => (Level::DEBUG, None),
            },
            (level, _) => (level, None),
        };
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
                    left_out,
                    $what
                )
            };
        }
        let refused = self.problem.map(|problem| problem.level == Level::INFO);
        match (level, refused) {
            (Level::ERROR, _) => log!(Level::ERROR, "admin request failed"),
            (Level::WARN, Some(true)) => log!(Level::WARN, "admin request refused"),
            (Level::WARN, _) => log!(Level::WARN, "admin request failed"),
            (Level::INFO, None) => log!(Level::INFO, "admin request"),
            (Level::INFO, _) => log!(Level::INFO, "admin request refused"),
            (_, None) => log!(Level::DEBUG, "admin request"),
            (_, Some(true)) => log!(Level::DEBUG, "admin request refused"),
            (_, Some(false)) => log!(Level::DEBUG, "admin request failed"),
        }
    }

    /// How loud it is, before it is asked whether there were many of its kind.
    fn level(&self) -> Level {
        let Some(problem) = self.problem else {
            return if self.changes {
                Level::INFO
            } else {
                Level::DEBUG
            };
        };
        match (problem.level, problem.kind) {
            (Level::INFO, ErrorKind::Denied) => Level::WARN,
            // What the process could not do; the answer says that the log has more.
            (Level::INFO, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Internal)
                if problem.called.is_none() =>
            {
                Level::WARN
            }
            (Level::INFO, _) if !self.changes => Level::DEBUG,
            (level, _) => level,
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
