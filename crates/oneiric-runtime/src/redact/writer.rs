//! A writer that covers secrets in what passes through it.
//!
//! It goes by lines, so that a secret that comes in two writes is still found: what follows the last line end waits
//! for the rest of its line. A secret of several lines keeps the lines it may have begun in waiting as well. A line
//! that does not end is passed on in parts, with so much kept back that no secret is torn apart.

use std::{
    fmt,
    io::{self, Write},
};

use zeroize::Zeroizing;

use super::Redactor;

/// The longest line that is kept waiting, in bytes; a longer one is passed on in parts.
const MAX_WAITING: usize = 256 * 1024;

/// Covers secrets in text on its way to another writer.
///
/// What follows the last line end is written when the line ends, by [`finish`](Self::finish) or on drop. `flush` does
/// not write it, for the rest of a secret may still come. Bytes that are no UTF-8 are replaced. About 256 KiB wait at
/// most, or the longest secret if that is more.
pub struct RedactingWriter<W: Write> {
    redactor: Redactor,
    pub(super) inner: W,
    pub(super) waiting: Zeroizing<Vec<u8>>,
}

impl<W: Write> RedactingWriter<W> {
    pub(super) fn new(redactor: Redactor, inner: W) -> Self {
        Self {
            redactor,
            inner,
            waiting: Zeroizing::default(),
        }
    }

    /// Writes what is waiting.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(&mut self) -> io::Result<()> {
        self.pass_on(self.waiting.len())?;
        self.inner.flush()
    }

    /// How much of what is waiting may be written now.
    fn passable(&self) -> usize {
        let last = self.waiting.iter().rposition(|byte| *byte == b'\n');
        let lines = last.map_or(0, |at| at + 1);
        // What is no UTF-8 has no secret in it, and nothing is gained by keeping it back.
        let text = |bytes| std::str::from_utf8(bytes);
        let ready =
            text(&self.waiting[..lines]).map_or(lines, |lines| self.redactor.passable_lines(lines));
        if ready > 0 || self.waiting.len() <= MAX_WAITING {
            return ready;
        }
        match text(&self.waiting) {
            Ok(part) => self.redactor.passable_part(part),
            // The last character may not have come as a whole.
            Err(error) => match text(&self.waiting[..error.valid_up_to()]) {
                Ok(part) if self.waiting.len() - part.len() < 4 => {
                    self.redactor.passable_part(part)
                }
                _ => self.waiting.len(),
            },
        }
    }

    fn pass_on(&mut self, length: usize) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.waiting[..length]);
        let written = self.inner.write_all(self.redactor.redact(&text).as_bytes());
        drop(text);
        // Also after a failure: a writer that cannot write must not fill the memory.
        let rest = Zeroizing::new(self.waiting[length..].to_vec());
        self.waiting = rest;
        written
    }
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if bytes.contains(&b'\n') || self.waiting.len() > MAX_WAITING {
            self.pass_on(self.passable())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure.
        let _written = self.finish();
    }
}

impl<W: Write> fmt::Debug for RedactingWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactingWriter")
            .field("waiting_bytes", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
