//! The process's three streams as a value, so that a whole command can be run in a test and what it
//! printed be read.

use std::io::{self, IsTerminal, Read, Write};

/// Where a command reads and writes.
pub struct Io<'a> {
    /// Read by `call ... -` only.
    pub stdin: &'a mut dyn Read,
    /// Answers.
    pub stdout: &'a mut dyn Write,
    /// Errors and hints.
    pub stderr: &'a mut dyn Write,
    /// Whether a person sees stdout, which then may have colours.
    pub stdout_is_terminal: bool,
    /// Whether a person sees stderr, which then may have colours.
    pub stderr_is_terminal: bool,
}

impl Io<'_> {
    /// Runs `work` with the process's own streams.
    pub fn with_process<R>(work: impl FnOnce(&mut Io<'_>) -> R) -> R {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        work(&mut Io {
            stdin: &mut stdin.lock(),
            // Written in one piece per answer, so neither a lock nor a buffer of ours is needed.
            stdout_is_terminal: stdout.is_terminal(),
            stdout: &mut &stdout,
            stderr_is_terminal: stderr.is_terminal(),
            stderr: &mut &stderr,
        })
    }
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .field("stderr_is_terminal", &self.stderr_is_terminal)
            .finish_non_exhaustive()
    }
}
