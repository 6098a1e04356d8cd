//! What a command answers, in both forms at once. Commands build it and print nothing, so that no
//! command can forget `--json`.

use serde_json::Value;

use crate::exit::Exit;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    text: String,
    document: Value,
    exit: Exit,
}

impl Output {
    /// `text` for people, each line ended; `document` for programs.
    pub(crate) const fn new(text: String, document: Value) -> Self {
        Self {
            text,
            document,
            exit: Exit::DONE,
        }
    }

    /// The answer comes with this exit code.
    pub(crate) const fn exits(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// As it is printed.
    pub(crate) fn shown(&self, json: bool) -> String {
        if json && !self.document.is_null() {
            format!("{:#}\n", self.document)
        } else {
            self.text.clone()
        }
    }
}
