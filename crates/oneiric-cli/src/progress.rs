//! What a command says while it waits. On a terminal it is one line that changes; elsewhere, such as
//! in the log of a script, a line per change; for programs (`--json`) nothing, because their
//! stderr holds nothing but an error document.

use std::io::Write;

use crate::io::Io;
use crate::paint::harmless;

/// Goes to the line's beginning and clears it.
const CLEAR: &str = "\r\u{1b}[K";

/// The line about what is being waited for. Call [`Progress::end`] before anything else is printed.
pub(crate) struct Progress<'a> {
    stderr: Option<&'a mut dyn Write>,
    is_terminal: bool,
    last: String,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(io: &'a mut Io<'_>) -> Self {
        Self {
            is_terminal: io.stderr_is_terminal,
            stderr: (!io.for_programs).then_some(&mut *io.stderr),
            last: String::new(),
        }
    }

    /// Says where things stand; the same text twice is said once.
    pub(crate) fn say(&mut self, text: &str) {
        self.say_with(text, "");
    }

    /// As [`Progress::say`], with something behind it that goes on changing, such as a time: on a terminal one sees it
    /// change, a log gets it once.
    pub(crate) fn say_with(&mut self, text: &str, moving: &str) {
        let plain = |text: &str| harmless(text).replace('\n', " ");
        let whole = plain(&format!("{text}{moving}"));
        let key = if self.is_terminal {
            whole.clone()
        } else {
            plain(text)
        };
        if key == self.last {
            return;
        }
        let line = if self.is_terminal {
            format!("{CLEAR}{whole}")
        } else {
            format!("{whole}\n")
        };
        self.write(&line);
        self.last = key;
    }

    /// Takes the line away.
    pub(crate) fn end(&mut self) {
        if self.is_terminal && !self.last.is_empty() {
            self.write(CLEAR);
        }
        self.last.clear();
    }

    /// Whoever does not listen misses nothing that the command's answer does not say.
    fn write(&mut self, text: &str) {
        if let Some(stderr) = &mut self.stderr {
            drop(
                stderr
                    .write_all(text.as_bytes())
                    .and_then(|()| stderr.flush()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(adjust: impl Fn(&mut Io<'_>)) -> String {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut stdin = std::io::empty();
        let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
        adjust(&mut io);
        let mut progress = Progress::new(&mut io);
        progress.end();
        for text in ["3 calls", "3 calls", "2\n\u{7}calls"] {
            progress.say(text);
        }
        progress.end();
        String::from_utf8(stderr).unwrap()
    }

    #[test]
    fn a_terminal_has_one_line_that_changes_and_goes() {
        let said = said(|io| io.stderr_is_terminal = true);
        assert_eq!(said, format!("{CLEAR}3 calls{CLEAR}2 \\u{{7}}calls{CLEAR}"));
    }

    #[test]
    fn elsewhere_each_change_is_a_line() {
        assert_eq!(said(|_| {}), "3 calls\n2 \\u{7}calls\n");
    }

    #[test]
    fn what_goes_on_changing_is_seen_on_a_terminal_and_logged_once() {
        for (terminal, expected) in [
            (true, format!("{CLEAR}1 call, 1 s{CLEAR}1 call, 2 s{CLEAR}")),
            (false, "1 call, 1 s\n".to_owned()),
        ] {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut stdin = std::io::empty();
            let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
            io.stderr_is_terminal = terminal;
            let mut progress = Progress::new(&mut io);
            for time in [", 1 s", ", 2 s"] {
                progress.say_with("1 call", time);
            }
            progress.end();
            assert_eq!(String::from_utf8(stderr).unwrap(), expected);
        }
    }

    #[test]
    fn programs_hear_nothing() {
        assert_eq!(said(|io| io.for_programs = true), "");
    }
}
