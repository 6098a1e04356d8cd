//! The process's three streams as a value, so that a whole command can be run in a test and what it
//! printed be read.

use std::io::{self, IsTerminal, Read, Write};

/// Where a command reads and writes.
pub struct Io<'a> {
    /// Read by `call ... -` and when a question is asked.
    pub stdin: &'a mut dyn Read,
    /// Answers.
    pub stdout: &'a mut dyn Write,
    /// Errors and hints.
    pub stderr: &'a mut dyn Write,
    /// Whether a person can be asked.
    pub stdin_is_terminal: bool,
    /// Whether a person sees stdout, which then may have colours.
    pub stdout_is_terminal: bool,
    /// Whether a person sees stderr, which then may have colours.
    pub stderr_is_terminal: bool,
    /// Whether the answer is for a program (`--json`): then nothing is asked and no progress shown.
    pub for_programs: bool,
}

impl<'a> Io<'a> {
    /// Streams that are no terminals, for tests and for programs that run a command inside themselves.
    pub fn in_memory(
        stdin: &'a mut dyn Read,
        stdout: &'a mut dyn Write,
        stderr: &'a mut dyn Write,
    ) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            for_programs: false,
        }
    }
}

impl Io<'_> {
    /// Runs `work` with the process's own streams.
    pub fn with_process<R>(work: impl FnOnce(&mut Io<'_>) -> R) -> R {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        work(&mut Io {
            stdin_is_terminal: stdin.is_terminal(),
            stdin: &mut stdin.lock(),
            // Written in one piece per answer, so neither a lock nor a buffer of ours is needed.
            stdout_is_terminal: stdout.is_terminal(),
            stdout: &mut &stdout,
            stderr_is_terminal: stderr.is_terminal(),
            stderr: &mut &stderr,
            for_programs: false,
        })
    }
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("stdin_is_terminal", &self.stdin_is_terminal)
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .field("stderr_is_terminal", &self.stderr_is_terminal)
            .field("for_programs", &self.for_programs)
            .finish_non_exhaustive()
    }
}
