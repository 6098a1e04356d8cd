//! Colours, and text that comes from elsewhere. Six styles are all that the tables need, so the
//! escape sequences stand here in place of a crate.

use std::fmt;

use oneiric_runtime::steers_display;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

/// What a piece of text is, from which its colour follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Style {
    #[default]
    Plain,
    Heading,
    Good,
    Attention,
    Bad,
    Faint,
}

impl Paint {
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    /// `text`, to be displayed in `style`.
    pub(crate) const fn text<T>(self, style: Style, text: T) -> Painted<T> {
        Painted {
            paint: self,
            style,
            text,
        }
    }
}

/// A text in a style.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Painted<T> {
    paint: Paint,
    style: Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.style {
            Style::Plain => return self.text.fmt(f),
            _ if !self.paint.on => return self.text.fmt(f),
            Style::Heading => "1",
            Style::Good => "32",
            Style::Attention => "33",
            Style::Bad => "1;31",
            Style::Faint => "2",
        };
        write!(f, "\u{1b}[{code}m{}\u{1b}[0m", self.text)
    }
}

/// Makes visible what steers a display. Messages come from components and from the other end of a
/// socket; neither a terminal nor its reader must obey what they contain. Line ends stay.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers_display(letter) && letter != '\n' {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_appear_only_when_they_are_on() {
        assert_eq!(Paint::new(false).text(Style::Bad, "no").to_string(), "no");
        assert_eq!(
            Paint::new(true).text(Style::Bad, "no").to_string(),
            "\u{1b}[1;31mno\u{1b}[0m"
        );
        assert_eq!(Paint::new(true).text(Style::Plain, "no").to_string(), "no");
    }

    #[test]
    fn a_terminal_is_not_made_to_obey_a_message() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\r\nc\u{7f}\u{9b}"),
            "a\\u{1b}[2Jb\\r\nc\\u{7f}\\u{9b}"
        );
        assert_eq!(harmless("to \u{202e}yap"), "to \\u{202e}yap");
    }
}
