//! The `oneiric` command, as a library without a stable API: the binary's `main` is one line, and
//! tests run whole commands with an environment and streams of their own.
//!
//! This crate alone knows about arguments, the environment, the terminal, signals and exit codes.
//! What a process does is in `oneiric-runtime`; components come from `oneiric-builtins`. A command
//! asks the running process and makes an `Output` of the answer: text for people, the
//! server's own document for programs.

mod args;
mod commands;
mod complete;
mod confirm;
mod duration;
mod env_vars;
mod exit;
mod failure;
mod help;
mod hint;
mod input;
mod interrupt;
mod io;
mod notify;
mod offline;
mod output;
mod paint;
mod progress;
mod remote;
mod session;
mod settings;
mod table;
mod whole_file;
mod words;

use std::ffi::OsString;
use std::io::{ErrorKind as IoKind, Write};

use clap::Parser;
use clap::error::ErrorKind as ClapKind;
use oneiric_core::ErrorKind;

pub use crate::env_vars::{ALL as ENVIRONMENT, Env, Variable};
pub use crate::exit::Exit;
pub use crate::io::Io;

use crate::args::{Cli, Color};
use crate::failure::Failure;
use crate::output::{Output, plain_json};
use crate::paint::Paint;

/// Runs one command: reads `args` (the program's name first), prints to `io`, and says how the
/// process should end. Blocks until the command is done, which for `run` is until it is stopped.
pub fn run(args: impl IntoIterator<Item = OsString>, env: &Env, io: &mut Io<'_>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return not_a_command(&without_hidden(error), &args, io),
    };
    let json = cli.global.json;
    io.for_programs |= json;
    let colours = |is_terminal| match cli.global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let is_dumb = env.value(env_vars::TERM).is_some_and(|term| term == "dumb");
            is_terminal && !is_dumb && env.value(env_vars::NO_COLOR).is_none()
        }
    };
    let (out, err) = (
        colours(io.stdout_is_terminal),
        colours(io.stderr_is_terminal),
    );
    match commands::run(cli, env, io, Paint::new(out), Paint::new(err)) {
        Ok(output) => finish(&output, json, io, Paint::new(err)),
        Err(failure) => refuse(&failure, json, io, Paint::new(err)),
    }
}

/// Prints what a command has to say.
fn finish(output: &Output, json: bool, io: &mut Io<'_>, paint: Paint) -> Exit {
    match print(io.stdout, &output.shown(json)) {
        Ok(()) => output.exit(),
        // Whoever reads has seen enough, which is no error of anybody's.
        Err(error) if error.kind() == IoKind::BrokenPipe => Exit::DONE,
        Err(error) => {
            let message =
                format!("what was asked for was done, but the answer cannot be written: {error}");
            let mut failure = Failure::new("cli.output_failed", ErrorKind::Unavailable, message);
            failure.exit = Some(Exit::UNTOLD);
            refuse(&failure, json, io, paint)
        }
    }
}

/// Prints why a command did not do what was asked.
fn refuse(failure: &Failure, json: bool, io: &mut Io<'_>, paint: Paint) -> Exit {
    let text = if json {
        format!("{}\n", plain_json(&format!("{:#}", failure.for_programs())))
    } else {
        failure.for_people(paint)
    };
    tell(io, &text);
    failure.exit()
}

/// Takes the commands that are for the shells' scripts out of what is suggested in place of a misspelt word.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    use clap::CommandFactory;
    use clap::error::{ContextKind, ContextValue};
    let cli = Cli::command();
    let hidden = cli
        .get_subcommands()
        .filter(|command| command.is_hide_set());
    let hidden: Vec<&str> = hidden.map(clap::Command::get_name).collect();
    let is_shown = |name: &String| !hidden.iter().any(|hidden| name.contains(hidden));
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        let left = match error.remove(kind) {
            Some(ContextValue::String(name)) if is_shown(&name) => ContextValue::String(name),
            Some(ContextValue::Strings(mut names)) => {
                names.retain(is_shown);
                if names.is_empty() {
                    continue;
                }
                ContextValue::Strings(names)
            }
            _ => continue,
        };
        error.insert(kind, left);
    }
    // The tips are texts made of the same names.
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| is_shown(&tip.to_string()));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Help, the version, or words that are no command.
fn not_a_command(error: &clap::Error, args: &[OsString], io: &mut Io<'_>) -> Exit {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ClapKind::DisplayHelp | ClapKind::DisplayVersion
    ) {
        // Whoever asked for help and does not read it, does not need it.
        drop(print(io.stdout, &text));
        return Exit::DONE;
    }
    if args.iter().any(|arg| arg == "--json") {
        // What is wrong, up to the first empty line; tips and the usage follow.
        let said: Vec<&str> = text
            .lines()
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        let message = said.join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let failure = Failure::new("cli.usage", ErrorKind::Usage, message)
            .hint("`oneiric --help` and `oneiric COMMAND --help` show what can be said");
        return refuse(&failure, true, io, Paint::new(false));
    }
    tell(io, &text);
    Exit::USAGE
}

/// Writes to stderr. If it is gone there is nobody left to tell; the exit code still says it.
fn tell(io: &mut Io<'_>, text: &str) {
    drop(print(io.stderr, text));
}

fn print(stream: &mut dyn Write, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a command in memory; gives its exit code, stdout and stderr.
    fn oneiric(words: &[&str]) -> (u8, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut stdin = std::io::empty();
        let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
        let args = std::iter::once("oneiric")
            .chain(words.iter().copied())
            .map(OsString::from);
        let exit = run(args, &Env::default(), &mut io);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit.number(), text(stdout), text(stderr))
    }

    #[test]
    fn help_and_version_are_answers() {
        let (code, stdout, stderr) = oneiric(&["--help"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(
            stdout.contains("Exit codes:") && stdout.contains("ONEIRIC_STATE_DIR"),
            "{stdout}"
        );
        let (code, stdout, _) = oneiric(&["--version"]);
        assert_eq!(
            (code, stdout),
            (0, format!("oneiric {}\n", env!("CARGO_PKG_VERSION")))
        );
    }

    #[test]
    fn wrong_words_are_errors_on_stderr() {
        let (code, stdout, stderr) = oneiric(&["swop", "adapter/cache"]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(
            stderr.contains("'swop'") && stderr.contains("'swap'"),
            "{stderr}"
        );
        let (code, _, stderr) = oneiric(&[]);
        assert_eq!(code, 2);
        assert!(stderr.contains("Commands:"), "{stderr}");
    }

    #[test]
    fn what_is_hidden_is_not_suggested() {
        for words in [
            &["nope"][..],
            &["--hlep"],
            &["complet"],
            &["completee", "x"],
            &["status", "--lin"],
        ] {
            let (code, _, stderr) = oneiric(words);
            assert_eq!(code, 2, "{words:?}");
            let names: Vec<&str> = stderr
                .split(|letter: char| !letter.is_alphanumeric())
                .collect();
            assert!(!names.contains(&"complete"), "{words:?}: {stderr}");
        }
        let (_, _, stderr) = oneiric(&["--hlep"]);
        assert!(stderr.contains("--help"), "{stderr}");
    }

    #[test]
    fn with_json_wrong_words_are_a_document_too() {
        let (code, stdout, stderr) = oneiric(&["swop", "--json"]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        let document: serde_json::Value = serde_json::from_str(&stderr).unwrap();
        assert_eq!(document["code"], "cli.usage");
        assert_eq!(document["exit_code"], 2);
        assert!(
            document["message"].as_str().unwrap().contains("swop"),
            "{document}"
        );
    }

    #[test]
    fn with_json_a_missing_word_is_named() {
        let (code, _, stderr) = oneiric(&["--json", "explain"]);
        let document: serde_json::Value = serde_json::from_str(&stderr).unwrap();
        assert_eq!(code, 2);
        assert_eq!(
            document["message"],
            "the following required arguments were not provided: <SLOT>"
        );
    }

    #[test]
    fn what_acts_on_this_machine_does_not_take_a_process_elsewhere() {
        for words in [
            &["run"][..],
            &["init", "/nowhere/x.toml"],
            &["list", "--offline"],
            &["explain", "adapter/cache", "--offline"],
            &["config", "check"],
            &["config", "show", "--offline"],
            &["state", "check"],
            &["state", "restore", "x.db", "--yes"],
            &["man"],
        ] {
            let (code, stdout, stderr) = oneiric(&[words, &["--url", "https://a:1"]].concat());
            assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}: {stderr}");
            assert!(
                stderr.contains("acts on this machine"),
                "{words:?}: {stderr}"
            );
        }
    }

    #[test]
    fn a_dumb_terminal_gets_no_colours_unless_they_are_asked_for() {
        for (term, option, coloured) in [
            ("xterm", "auto", true),
            ("dumb", "auto", false),
            ("dumb", "always", true),
        ] {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut stdin = std::io::empty();
            let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
            io.stderr_is_terminal = true;
            let env = Env::new([("TERM".into(), term.into())]);
            let words = ["oneiric", "call", "no-slot", "x", "--color", option];
            run(words.map(OsString::from), &env, &mut io);
            let said = String::from_utf8(stderr).unwrap();
            assert_eq!(said.contains('\u{1b}'), coloured, "{term} {option}: {said}");
        }
    }

    #[test]
    fn a_process_is_either_here_or_elsewhere() {
        let (code, _, stderr) = oneiric(&["status", "--socket", "s", "--url", "https://a:1"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("cannot be used with"), "{stderr}");
    }

    #[test]
    fn help_is_a_command_too() {
        let (code, stdout, stderr) = oneiric(&["help", "swap"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("oneiric swap"), "{stdout}");
    }

    /// A stream that fails in one way.
    struct Broken(IoKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn finish_on(kind: IoKind) -> (Exit, String) {
        let mut stderr = Vec::new();
        let (mut stdin, mut stdout) = (std::io::empty(), Broken(kind));
        let mut io = Io::in_memory(&mut stdin, &mut stdout, &mut stderr);
        let output = Output::new("text\n".to_owned(), serde_json::Value::Null);
        let exit = finish(&output, false, &mut io, Paint::new(false));
        (exit, String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        assert_eq!(finish_on(IoKind::BrokenPipe), (Exit::DONE, String::new()));
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_an_error() {
        let (exit, stderr) = finish_on(IoKind::StorageFull);
        assert_eq!(exit, Exit::UNTOLD);
        assert!(stderr.contains("(cli.output_failed)"), "{stderr}");
        assert!(stderr.contains("was done"), "{stderr}");
    }
}
