//! Asking before something that cannot be taken back. The question names the effect, because a person
//! who is asked "are you sure?" always is. Where nobody can be asked (no terminal, `--json`) nothing
//! is assumed: the command refuses and names `--yes`, so that a script says in its own text what it
//! accepts.

use std::io::Read;

use oneiric_core::ErrorKind;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::paint::harmless;

/// The longest answer that is read; nobody types more to say yes.
const MAX_ANSWER: usize = 64;

/// Goes on if `yes` was given or the person at the terminal agrees to `effect`, which says what is
/// going to happen: `this drains every slot of adapter: new calls are refused until resume`.
///
/// Blocks until there is an answer; anything but a yes, the end of input included, is a no.
///
/// # Errors
/// `cli.not_confirmed`: nobody can be asked (exit code 2), or they said no (1).
pub(crate) fn confirm(effect: &str, yes: bool, io: &mut Io<'_>) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let effect = harmless(effect);
    if io.for_programs || !io.stdin_is_terminal || !io.stderr_is_terminal {
        let message = format!("{effect}; nobody can be asked, so nothing was done");
        let failure = Failure::new("cli.not_confirmed", ErrorKind::Usage, message);
        return Err(failure.hint("if that is what you want, add --yes"));
    }
    // A terminal that cannot be written to has nobody in front of it; then the answer is a no.
    let asked = write!(io.stderr, "{effect}\ngo on? [y/N] ").and_then(|()| io.stderr.flush());
    if asked.is_ok() && is_yes(&answer(io.stdin)) {
        return Ok(());
    }
    let message = "not confirmed, so nothing was done";
    let mut failure = Failure::new("cli.not_confirmed", ErrorKind::Usage, message);
    failure.exit = Some(Exit::CHECK_FAILED);
    Err(failure)
}

/// One line, read byte by byte: what follows it is not ours.
fn answer(stdin: &mut dyn Read) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < MAX_ANSWER && matches!(stdin.read(&mut byte), Ok(1)) && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8_lossy(&line).trim().to_lowercase()
}

fn is_yes(answer: &str) -> bool {
    matches!(answer, "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of asking, and what was printed.
    fn asked(
        typed: &str,
        yes: bool,
        adjust: impl Fn(&mut Io<'_>),
    ) -> (Result<(), Failure>, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut stdin = typed.as_bytes();
        let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
        (io.stdin_is_terminal, io.stderr_is_terminal) = (true, true);
        adjust(&mut io);
        let result = confirm("this ends \u{1b}[2Jthe world", yes, &mut io);
        assert!(stdout.is_empty());
        (result, String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn a_person_is_told_the_effect_and_may_agree() {
        for typed in ["y\n", "YES\n", " y \nmore", "y"] {
            let (result, said) = asked(typed, false, |_| {});
            assert_eq!(result, Ok(()), "{typed:?}");
            assert_eq!(said, "this ends \\u{1b}[2Jthe world\ngo on? [y/N] ");
        }
    }

    #[test]
    fn anything_but_a_yes_is_a_no() {
        for typed in ["\n", "n\n", "", "yep\n", "\ny\n"] {
            let (result, _) = asked(typed, false, |_| {});
            let failure = result.unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.exit()),
                ("cli.not_confirmed", Exit::CHECK_FAILED),
                "{typed:?}"
            );
        }
    }

    #[test]
    fn with_yes_nobody_is_asked() {
        let (result, said) = asked("n\n", true, |_| {});
        assert_eq!((result, said.as_str()), (Ok(()), ""));
    }

    #[test]
    fn where_nobody_can_be_asked_the_hint_is_yes() {
        let ways: [fn(&mut Io<'_>); 3] = [
            |io| io.stdin_is_terminal = false,
            |io| io.stderr_is_terminal = false,
            |io| io.for_programs = true,
        ];
        for way in ways {
            let (result, said) = asked("y\n", false, way);
            let failure = result.unwrap_err();
            assert_eq!((failure.exit(), said.as_str()), (Exit::USAGE, ""));
            assert!(failure.message.contains("the world"), "{}", failure.message);
            assert!(failure.hint.unwrap().contains("--yes"));
        }
    }
}
