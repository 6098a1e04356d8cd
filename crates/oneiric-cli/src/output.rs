//! What a command answers, in both forms at once. Commands build it and print nothing, so that no
//! command can forget `--json`.

use serde_json::Value;

use crate::exit::Exit;

/// JSON without a letter that a terminal obeys. JSON itself escapes those below a space; the others, `DEL` and the
/// second set of control characters, can stand in strings only, where an escape means the same.
pub(crate) fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_control() && letter != '\n' {
            plain.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            plain.push(letter);
        }
    }
    plain
}

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
            format!("{}\n", plain_json(&format!("{:#}", self.document)))
        } else {
            self.text.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_holds_no_letter_that_a_terminal_obeys_and_means_the_same() {
        let document = json!({"a\u{9b}": "\u{1b}[2J\u{7f}\u{85}\n\u{e4}"});
        let shown = Output::new(String::new(), document.clone()).shown(true);
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'));
        assert!(shown.contains('\u{e4}'), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), document);
    }
}
