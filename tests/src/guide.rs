//! Runs a page: a person with two terminals who does what it says, and compares what is printed.
//!
//! In the first terminal `oneiric run` runs until Ctrl-C. Everything else is typed into one shell, the
//! second, so that what a page says about variables, directories and jobs is as true as the rest. All
//! of it happens in a directory of its own with a home of its own, and ends with the page: whatever was
//! started belongs to one process group of each terminal and is killed with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::console::{self, Event, Step};
use crate::{Place, binary};

/// How long to wait for something that is going to happen. Never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the shell says after each command, with the exit code behind it.
const DONE: &str = "=== done with the step, exit code";

/// Part of the line by which `oneiric run` says that it serves.
const READY: &str = "stop it with";

/// Does everything that `page` says, in `place`. Gives what was not as the page says.
///
/// `spelling` turns what the page types into what is run, for a page that calls the binary otherwise
/// than by its name.
pub fn run(page: &str, place: &Place, spelling: impl Fn(&str) -> String) -> Vec<String> {
    let mut guide = Guide {
        place,
        shell: Shell::open(place),
        first: None,
    };
    let mut faults = Vec::new();
    for event in console::events(page) {
        match event {
            Event::File { name, text, append } => {
                let before = std::fs::read_to_string(place.path().join(&name));
                let before = before.unwrap_or_default();
                place.write(&name, &if append { before + &text } else { text });
            }
            Event::NotRun { line, reason } => {
                if reason.split(' ').count() < 3 {
                    faults.push(format!("line {line}: not run, and `{reason}` is no reason"));
                }
            }
            Event::Typed(step) => match guide.take(&step, &spelling(&step.command)) {
                Ok(difference) => faults.extend(difference),
                // Nothing after it would be what it is meant to be.
                Err(stuck) => {
                    faults.push(format!("line {}: {stuck}", step.line));
                    return faults;
                }
            },
        }
    }
    if guide.first.is_some() {
        faults.push("the page leaves a process behind in the first terminal".to_owned());
    }
    faults
}

struct Guide<'a> {
    place: &'a Place,
    shell: Shell,
    first: Option<Terminal>,
}

impl Guide<'_> {
    /// What was not as the step says.
    ///
    /// # Errors
    /// That the step did not end.
    fn take(&mut self, step: &Step, command: &str) -> Result<Option<String>, String> {
        let is_run = command.starts_with("oneiric run") && !command.ends_with('&');
        let printed = if command == "^C" {
            match self.first.take() {
                // What it wrote while other things were done scrolled by; the page takes up at its end.
                Some(first) => since(&first.interrupt()?, step.expected.first()),
                None => return Err("nothing runs to be stopped".to_owned()),
            }
        } else if is_run {
            // One that was killed needs no Ctrl-C.
            self.first.take_if(|first| first.has_ended());
            let (terminal, printed) = Terminal::run(self.place, command)?;
            // One that did not start leaves the one that runs alone.
            if let Some(terminal) = terminal
                && self.first.replace(terminal).is_some()
            {
                return Err("two processes run in the first terminal".to_owned());
            }
            printed
        } else {
            self.shell.say(command)?
        };
        Ok(console::difference(step, &printed))
    }
}

/// What was printed from the line on that is `first`; all of it if there is none.
fn since(printed: &str, first: Option<&String>) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let from = first.and_then(|first| lines.iter().position(|line| console::matches(first, line)));
    lines
        .get(from.unwrap_or(0)..)
        .unwrap_or_default()
        .join("\n")
}

/// The environment of a person who has just logged in and has `oneiric` on the path.
fn shell_in(place: &Place) -> Command {
    let mut path = binary::path()
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default()
        .into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = place.command("sh");
    shell
        .env("PATH", path)
        .env("HOME", place.path())
        .env("TERM", "dumb")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("STATE_DIRECTORY")
        .process_group(0);
    shell
}

/// Ends a process and everything that it started.
fn kill_group(child: &mut Child) {
    let script = format!("kill -KILL -{} 2> /dev/null", child.id());
    drop(Command::new("sh").args(["-c", &script]).status());
    drop(child.wait());
}

/// The second terminal.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Shell {
    fn open(place: &Place) -> Self {
        let mut shell = shell_in(place);
        // What is complained about stands between what is printed, as on a terminal.
        shell.args(["-c", "exec 2>&1; exec sh"]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().expect("a shell");
        Self {
            input: child.stdin.take().expect("stdin is piped"),
            output: lines_of(child.stdout.take().expect("stdout is piped")),
            child,
        }
    }

    fn say(&mut self, line: &str) -> Result<String, String> {
        // Asked for the exit code, the shell must still know that of the command before.
        let script = format!(
            "{line}\n__code=$?; printf '\\n{DONE} %s\\n' \"$__code\"; (exit \"$__code\")\n"
        );
        self.input
            .write_all(script.as_bytes())
            .expect("the shell listens");
        let mut printed = String::new();
        let ended = read(&self.output, &mut printed, |line| line.starts_with(DONE));
        match ended {
            Ended::Found => {
                let without = printed.rfind(DONE).unwrap_or(printed.len());
                printed.truncate(without);
                Ok(printed)
            }
            Ended::Closed => Err(format!("`{line}` ended the shell:\n{printed}")),
            Ended::Late => Err(format!("`{line}` does not end:\n{printed}")),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// The first terminal, with the process that runs in it.
struct Terminal {
    child: Child,
    output: Receiver<String>,
}

impl Terminal {
    /// Starts it; gives what it printed until it was ready, or until its end if that came first.
    fn run(place: &Place, line: &str) -> Result<(Option<Self>, String), String> {
        let mut shell = shell_in(place);
        shell.args(["-c", &format!("exec 2>&1; exec {line}")]);
        let mut child = shell.stdout(Stdio::piped()).spawn().expect("a shell");
        let output = lines_of(child.stdout.take().expect("stdout is piped"));
        let terminal = Self { child, output };
        let mut printed = String::new();
        match read(&terminal.output, &mut printed, |line| line.contains(READY)) {
            Ended::Found => Ok((Some(terminal), printed)),
            Ended::Closed => Ok((None, printed)),
            Ended::Late => Err(format!("`{line}` is not ready:\n{printed}")),
        }
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn interrupt(self) -> Result<String, String> {
        let script = format!("kill -INT {}", self.child.id());
        drop(Command::new("sh").args(["-c", &script]).status());
        let mut printed = String::new();
        match read(&self.output, &mut printed, |_| false) {
            Ended::Late => Err(format!("it does not stop:\n{printed}")),
            Ended::Found | Ended::Closed => Ok(printed),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// How reading lines ended.
enum Ended {
    /// With the line that was waited for.
    Found,
    /// Whoever wrote them has ended.
    Closed,
    /// Nothing came for far too long.
    Late,
}

/// Reads lines up to one that `is_last`.
fn read(output: &Receiver<String>, printed: &mut String, is_last: impl Fn(&str) -> bool) -> Ended {
    loop {
        match output.recv_timeout(PATIENCE) {
            Ok(line) => {
                printed.push_str(&line);
                printed.push('\n');
                if is_last(&line) {
                    return Ended::Found;
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ended::Late,
            Err(RecvTimeoutError::Disconnected) => return Ended::Closed,
        }
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    heard
}
