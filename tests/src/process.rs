//! A running `oneiric run`, and the other commands beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;

/// How long to wait for something that is going to happen. Never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Answer {
    /// What it printed, after a success.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The document it printed, after a success.
    #[track_caller]
    pub fn json(self) -> Value {
        parse(&self.ok())
    }

    /// What it complained about, after a failure with this exit code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }

    /// The error document, after a failure with this exit code.
    #[track_caller]
    pub fn failed_json(self, code: i32) -> Value {
        parse(&self.failed(code))
    }
}

#[track_caller]
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON: {error}\n{text}"))
}

/// A directory of a test's own, in which commands are run. Removed when dropped.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        // A short name: the socket's path has a limit of about a hundred bytes.
        let directory = tempfile::Builder::new().prefix("on").tempdir();
        Self {
            directory: directory.expect("a temporary directory"),
        }
    }

    /// One with `text` as its `oneiric.toml`.
    pub fn with(text: &str) -> Self {
        let place = Self::new();
        place.write("oneiric.toml", text);
        place
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where a process that runs here listens.
    pub fn socket(&self) -> PathBuf {
        self.path().join(".oneiric/admin.sock")
    }

    /// Writes a file, with the directories above it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file is in a directory")).expect(name);
        let mut file = std::fs::File::create(path).expect(name);
        file.write_all(text.as_bytes()).expect(name);
    }

    /// A command to be run here, without whatever the tester's environment says.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ONEIRIC_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.path())
            .env_remove("NO_COLOR")
            // Not the tester's own settings.
            .env("XDG_CONFIG_HOME", self.path().join("config-home"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `oneiric` with these words and waits for its end.
    pub fn oneiric(&self, words: &[&str]) -> Answer {
        let mut command = self.command(binary::path());
        Self::answer(command.args(words))
    }

    /// Runs `oneiric` with these words and variables and waits for its end.
    pub fn oneiric_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Answer {
        let mut command = self.command(binary::path());
        Self::answer(command.args(words).envs(variables.iter().copied()))
    }

    /// Runs a command and waits for its end.
    pub fn answer(command: &mut Command) -> Answer {
        let output = command.output().expect("the command can be started");
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// What a process wrote to stderr so far, and whether it will write more.
#[derive(Debug, Default)]
struct Log {
    text: String,
    ended: bool,
}

#[derive(Debug, Default)]
struct SharedLog {
    log: Mutex<Log>,
    changed: Condvar,
}

impl SharedLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nobody panics while writing a line")
    }
}

/// A running `oneiric run`. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    place: Option<Place>,
    child: Child,
    stderr: Arc<SharedLog>,
}

/// The line by which the process says that it serves.
const READY: &str = "oneiric is running";

impl Process {
    /// Starts a process with `settings` and waits until it serves.
    pub fn start(settings: &str) -> Self {
        Self::start_in(Place::with(settings), &["run"])
    }

    /// Starts a process in `place` with these words, and waits until it serves.
    pub fn start_in(place: Place, words: &[&str]) -> Self {
        Self::start_with(place, words, &[])
    }

    /// Starts a process with `settings` that speaks JSON, for [`Process::stop_json`].
    pub fn start_json(settings: &str) -> Self {
        Self::start_in(Place::with(settings), &["run", "--json"])
    }

    /// Starts a process with these variables, and waits until it serves.
    pub fn start_with(place: Place, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let process = Self::spawn(place, words, variables);
        process.wait_for_line(READY);
        process
    }

    fn spawn(place: Place, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = place.command(binary::path());
        command.args(words).envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let stderr = Arc::new(SharedLog::default());
        let pipe = child.stderr.take().expect("stderr is piped");
        let log = Arc::clone(&stderr);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut log_now = log.lock();
                log_now.text.push_str(&line);
                log_now.text.push('\n');
                log.changed.notify_all();
            }
            log.lock().ended = true;
            log.changed.notify_all();
        });
        Self {
            place: Some(place),
            child,
            stderr,
        }
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        self.place.as_ref().expect("taken only when it is over")
    }

    /// Runs another command beside it.
    pub fn oneiric(&self, words: &[&str]) -> Answer {
        self.place().oneiric(words)
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().text.clone()
    }

    /// Waits until a line that contains `text` was written to stderr.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) {
        let waiting =
            |log: &mut Log| !log.ended && !log.text.lines().any(|line| line.contains(text));
        let waited = self
            .stderr
            .changed
            .wait_timeout_while(self.stderr.lock(), PATIENCE, waiting);
        let (log, _) = waited.expect("nobody panics while writing a line");
        let found = log.text.lines().any(|line| line.contains(text));
        assert!(
            found,
            "no line with `{text}` came; stderr was:\n{}",
            log.text
        );
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        // The shell's own `kill` is there where no program of that name is.
        let script = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh")
            .args(["-c", &script])
            .status()
            .expect("a shell");
        assert!(status.success(), "{script}");
    }

    /// Asks it to stop, waits, and gives its exit code and everything it wrote to stderr.
    #[track_caller]
    pub fn stop(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.wait()
    }

    /// As [`Process::stop`], and keeps the directory it ran in.
    #[track_caller]
    pub fn stop_in_place(mut self) -> (Option<i32>, String, Place) {
        self.signal("TERM");
        let code = self.wait_for_end().code();
        (code, self.stderr(), self.into_place())
    }

    /// Asks it to stop, and gives its exit code and the document it printed at the end.
    #[track_caller]
    pub fn stop_json(self) -> (Option<i32>, Value) {
        self.signal("TERM");
        self.wait_json()
    }

    /// Waits until it has ended, and gives its exit code and the document it printed.
    #[track_caller]
    pub fn wait_json(mut self) -> (Option<i32>, Value) {
        let code = self.wait_for_end().code();
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().expect("stdout is piped");
        stdout.read_to_string(&mut text).expect("UTF-8");
        (code, parse(&text))
    }

    /// Waits until it has ended, and gives its exit code and everything it wrote to stderr.
    #[track_caller]
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.wait_for_end().code();
        (code, self.stderr())
    }

    /// Waits for its end, however that comes about, and gives the directory it ran in.
    pub fn into_place(mut self) -> Place {
        self.wait_for_end();
        std::mem::take(&mut self.place).expect("taken only here")
    }

    #[track_caller]
    fn wait_for_end(&mut self) -> ExitStatus {
        let waiting = |log: &mut Log| !log.ended;
        let waited = self
            .stderr
            .changed
            .wait_timeout_while(self.stderr.lock(), PATIENCE, waiting);
        let (log, _) = waited.expect("nobody panics while writing a line");
        assert!(log.ended, "it does not end; stderr was:\n{}", log.text);
        drop(log);
        self.child.wait().expect("a child can be waited for")
    }
}

/// Asks again and again until the answer is yes, for what no event tells of. Nothing is asserted
/// about how long it takes.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever waits for another process needs the time that passes"
)]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "it never came about that {what}"
        );
        std::thread::yield_now();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln_captured(&self.stderr());
        }
    }
}

/// Shows a failed test's reader what the process said.
#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it with the failure only"
)]
fn eprintln_captured(text: &str) {
    eprintln!("--- stderr of the process ---\n{text}---");
}
