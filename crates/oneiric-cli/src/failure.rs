//! Why a command did not do what was asked, whoever says so: the running process, the runtime that
//! did not start, or the command itself. It becomes text with a hint for people, an error document
//! for programs, and an exit code for scripts.

use std::num::NonZeroU64;

use oneiric_core::{Coded, ErrorKind};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::hint;
use crate::paint::{Paint, Style, harmless};

/// What to do where a file cannot be written.
pub(crate) const NO_TARGET: &str =
    "name a file in a directory that is there and that this user may write to";

/// What is behind an error. Rare and long, so it does not stand in every failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Behind(pub(crate) String);

/// An error on its way to the person or program that asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    /// What to do next; where the failure brings none, one may be known for its code.
    pub(crate) hint: Option<String>,
    /// What the running process calls the request, to find it in its log.
    pub(crate) request_id: Option<Box<str>>,
    /// What is behind it, as a process says that is run by developers.
    pub(crate) detail: Option<Box<Behind>>,
    /// After how many milliseconds the same can be asked again, where that is known.
    pub(crate) retry_after_ms: Option<NonZeroU64>,
    /// More for programs, such as the report of a swap that was rolled back.
    pub(crate) details: Option<Box<Value>>,
    /// Where the kind does not say how the process should end.
    pub(crate) exit: Option<Exit>,
}

impl Failure {
    pub(crate) fn new(
        code: impl Into<String>,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        let (code, message) = (code.into(), message.into());
        Self {
            code,
            kind,
            message,
            hint: None,
            request_id: None,
            detail: None,
            retry_after_ms: None,
            details: None,
            exit: None,
        }
    }

    /// Our own error, with its causes behind it.
    pub(crate) fn of(error: &(impl Coded + std::error::Error)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some wrap an error and repeat it; saying it once is enough.
            if !message.contains(&text) {
                message.push_str(&format!(": {text}"));
            }
            cause = error.source();
        }
        Self::new(error.code(), error.kind(), message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit.unwrap_or(Exit::of(self.kind))
    }

    /// The next step: the one that came with it, or one that is known for its code.
    pub(crate) fn best_hint(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| hint::of(&self.code))
    }

    /// `error: message (code)`, what is behind it, an empty line, `hint: what to do next`.
    pub(crate) fn for_people(&self, paint: Paint) -> String {
        let message = harmless(&self.message);
        let error = paint.text(Style::Bad, "error:");
        let code = paint.text(Style::Faint, format!("({})", harmless(&self.code)));
        // The code belongs to the headline; a list of faults follows it. What others said may have lines too, and none
        // of them must pass for one of ours.
        let mut lines = message.lines();
        let headline = lines.next().unwrap_or_default();
        let mut text = format!("{error} {headline} {code}\n");
        for line in lines {
            let indent = if line.starts_with("  ") { "" } else { "  " };
            text.push_str(&format!("{indent}{line}\n"));
        }
        if let Some(detail) = &self.detail {
            // Below the error and set off from it: a chain of causes is often several lines long.
            for line in harmless(&detail.0).lines() {
                text.push_str(&format!("  {}\n", paint.text(Style::Faint, line)));
            }
        }
        if let Some(next) = self.best_hint() {
            let hint = paint.text(Style::Heading, "hint:");
            text.push_str(&format!("\n{hint} {}\n", harmless(next)));
        }
        if let Some(id) = self.logged_as() {
            let line = format!("request {}: the log of the process has more", harmless(id));
            text.push_str(&format!("\n{}\n", paint.text(Style::Faint, line)));
        }
        text
    }

    /// The request under which the log of the process has more, where it is likely to.
    fn logged_as(&self) -> Option<&str> {
        use ErrorKind::{Denied, Internal, Timeout, Unavailable};
        let has_more = matches!(self.kind, Denied | Internal | Timeout | Unavailable);
        self.request_id.as_deref().filter(|_| has_more)
    }

    /// The error document: the admin API's fields and the exit code. A `request_id` is in it only when
    /// a process was asked.
    pub(crate) fn for_programs(&self) -> Value {
        let mut document = json!({
            "schema": "oneiric.error/1",
            "code": self.code,
            "kind": self.kind,
            "message": self.message,
            "exit_code": self.exit().number(),
        });
        if let Value::Object(fields) = &mut document {
            let more = [
                ("hint", self.best_hint().map(Value::from)),
                ("request_id", self.request_id.as_deref().map(Value::from)),
                (
                    "detail",
                    self.detail.as_ref().map(|behind| behind.0.as_str().into()),
                ),
                (
                    "retry_after_ms",
                    self.retry_after_ms.map(|ms| ms.get().into()),
                ),
                ("details", self.details.as_deref().cloned()),
            ];
            for (name, value) in more {
                fields.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::new("test.bad\u{1b}", ErrorKind::Busy, "it is\u{7} busy").hint("wait")
    }

    #[test]
    fn people_get_an_error_its_code_and_a_hint() {
        let text = failure().for_people(Paint::new(false));
        assert_eq!(
            text,
            "error: it is\\u{7} busy (test.bad\\u{1b})\n\nhint: wait\n"
        );
    }

    #[test]
    fn what_the_log_has_more_about_is_told_with_the_id_of_the_request() {
        let text = |kind| {
            let mut failure = Failure::new("test.bad", kind, "no");
            failure.request_id = Some("7-1".into());
            failure.for_people(Paint::new(false))
        };
        for kind in [
            ErrorKind::Internal,
            ErrorKind::Unavailable,
            ErrorKind::Denied,
        ] {
            assert_eq!(
                text(kind),
                "error: no (test.bad)\n\nrequest 7-1: the log of the process has more\n"
            );
        }
        assert_eq!(text(ErrorKind::NotFound), "error: no (test.bad)\n");
    }

    #[test]
    fn a_list_of_faults_follows_the_headline() {
        let failure = Failure::new("test.bad", ErrorKind::Config, "2 faults\n  one\n  two");
        let text = failure.for_people(Paint::new(false));
        assert_eq!(text, "error: 2 faults (test.bad)\n  one\n  two\n");
    }

    #[test]
    fn no_line_of_anothers_message_passes_for_one_of_ours() {
        let failure = Failure::new("test.bad", ErrorKind::Busy, "paused: tea\r\nhint: run rm");
        let text = failure.for_people(Paint::new(false));
        assert_eq!(text, "error: paused: tea\\r (test.bad)\n  hint: run rm\n");
    }

    #[test]
    fn what_is_behind_an_error_stands_below_it_and_no_terminal_obeys_it() {
        let mut failure = Failure::new("test.bad", ErrorKind::Config, "no").hint("wait");
        failure.detail = Some(Box::new(Behind("no: because\nof \u{1b}[2Jthat".to_owned())));
        assert_eq!(
            failure.for_people(Paint::new(false)),
            "error: no (test.bad)\n  no: because\n  of \\u{1b}[2Jthat\n\nhint: wait\n"
        );
        assert!(failure.for_programs()["detail"].is_string());
    }

    #[test]
    fn programs_get_a_document_with_the_exit_code() {
        let document = failure().for_programs();
        assert_eq!(document["schema"], "oneiric.error/1");
        assert_eq!(document["exit_code"], 6);
        assert_eq!(document["kind"], "busy");
        assert_eq!(document["hint"], "wait");
        assert_eq!(document.get("details"), None);
    }
}
