//! State that goes from the old instance to the new: what the two are asked for, and what it travels in.
//!
//! The state is bytes under a name with a version, so that the two instances need not be of one type,
//! or of one crate: a cache in memory hands its entries to one over files. It is kept in memory on its
//! way, which is why it has a limit; the limit holds while it is produced, so that a state of any size
//! can be refused without being made.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use oneiric_core::BoxFuture;
use serde::Serialize;

use crate::error::Failure;

/// Gives its state to the next instance of its slot, and takes it from the one before.
///
/// Where a slot's policy asks for it, both instances have the role and the new one reads what the old
/// one writes, new calls wait while the old one finishes its work, exports, and the new one imports.
/// All of that has `HandoverPolicy::block`; each call may block its thread.
pub trait Handover: Send + Sync {
    /// What [`export`](Self::export) can write, the best first: each a name and a version, as in
    /// `oneiric.cache/1`. Another version for everything that an older import would not understand.
    /// Names of more than 128 bytes, and what comes after the first 16 others, are not looked at.
    fn writes(&self) -> Vec<String>;

    /// Whether [`import`](Self::import) takes a state of this format. The first that it takes of what the
    /// old instance writes is what is written; that is asked before anybody has to wait.
    fn reads(&self, format: &str) -> bool;

    /// Writes the state in `format`, one of those it [`writes`](Self::writes). No call runs on this instance then, and none comes before it is known what
    /// came of the hand-over.
    ///
    /// It must change nothing: if anything fails from here on, this instance serves as before.
    /// `into` refuses what is beyond the limit; whatever this answers, the export has failed then.
    ///
    /// # Errors
    /// A text for the operator.
    fn export<'a>(
        &'a self,
        format: &'a str,
        into: &'a mut StateWriter,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Takes the state, which another component wrote: to be read like anything else from outside. This
    /// instance has served nobody yet.
    ///
    /// # Errors
    /// A text for the operator. The instance is taken down, and the old one serves on.
    fn import(&self, state: HandoverState) -> BoxFuture<'_, Result<(), String>>;
}

fn _handover_is_dyn_safe(_: &dyn Handover) {}

/// A state on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct HandoverState {
    format: String,
    bytes: Bytes,
}

impl HandoverState {
    /// A state of `format`.
    pub fn new(format: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self {
            format: format.into(),
            bytes: bytes.into(),
        }
    }

    /// What the bytes are, as in `oneiric.cache/1`.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// The bytes, as the old instance wrote them.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for HandoverState {
    /// Without the bytes: they are a component's, and may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverState")
            .field("format", &self.format)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// What an export is written into. Takes no more than its limit.
pub struct StateWriter {
    bytes: Vec<u8>,
    limit: u64,
    is_over: bool,
}

impl StateWriter {
    /// An empty one that takes `limit` bytes.
    pub const fn new(limit: u64) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            is_over: false,
        }
    }

    /// Appends `bytes`, all of them or none.
    ///
    /// # Errors
    /// When they are beyond the limit, or there is no memory for them. Everything that is written
    /// afterwards is refused, too, and what was written is let go of.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), StateTooLarge> {
        let after = self.len().saturating_add(bytes.len() as u64);
        if self.is_over || after > self.limit || self.bytes.try_reserve(bytes.len()).is_err() {
            self.is_over = true;
            self.bytes = Vec::new();
            return Err(StateTooLarge { limit: self.limit });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes written.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it takes in all.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// What was written, as a state of `format`.
    ///
    /// # Errors
    /// When something was refused.
    pub fn finish(self, format: impl Into<String>) -> Result<HandoverState, StateTooLarge> {
        if self.is_over {
            return Err(StateTooLarge { limit: self.limit });
        }
        Ok(HandoverState::new(format, self.bytes))
    }
}

impl io::Write for StateWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => Err(io::Error::new(io::ErrorKind::FileTooLarge, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWriter")
            .field("bytes", &self.bytes.len())
            .field("limit", &self.limit)
            .field("is_over", &self.is_over)
            .finish()
    }
}

/// More was written than a hand-over takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state is larger than {limit} bytes")]
#[non_exhaustive]
pub struct StateTooLarge {
    /// What would have been taken.
    pub limit: u64,
}

/// What came of handing over state, in a swap of a slot whose policy asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HandoverReport {
    /// Whether the new instance has the state of the old one.
    pub handed_over: bool,
    /// What the state was, as in `oneiric.cache/1`; absent where it did not come to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// For how long new calls had to wait, until the new instance had the state and was healthy or the
    /// old one took calls again; zero where nobody had to.
    #[serde(rename = "blocked_us", serialize_with = "crate::status::micros")]
    pub blocked: Duration,
    /// Why not, where it was not handed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_state_beyond_the_limit_is_refused_without_being_kept() {
        let mut writer = StateWriter::new(10);
        writer.put(b"01234").unwrap();
        assert_eq!(writer.put(&[0; 6]), Err(StateTooLarge { limit: 10 }));
        assert!(writer.is_empty());
        // Whoever does not look writes on, and nothing comes of it.
        for _ in 0..1_000 {
            assert!(writer.write_all(&[0; 1 << 20]).is_err());
        }
        assert_eq!(writer.bytes.capacity(), 0);
        let error = writer.finish("x/1").unwrap_err();
        assert_eq!(error.to_string(), "the state is larger than 10 bytes");
    }

    #[test]
    fn a_state_up_to_the_limit_is_taken() {
        let mut writer = StateWriter::new(10);
        writer.put(&[1; 10]).unwrap();
        writer.put(&[]).unwrap();
        assert_eq!((writer.len(), writer.limit()), (10, 10));
        let state = writer.finish("x/1").unwrap();
        assert_eq!((state.format(), &state.bytes()[..]), ("x/1", &[1; 10][..]));
        assert!(!format!("{state:?}").contains("1, 1"), "{state:?}");
    }
}
