//! The entries of a cache on their way to the next instance: what [`Handover`](oneiric_lifecycle::Handover) of the
//! caches here writes and reads, `oneiric.cache/1`.
//!
//! ```text
//! for each entry, from the one used longest ago to the latest:
//!   1  one
//!   8  time to live that is left, in milliseconds, rounded up; all ones for ever
//!   4  length of the key
//!   8  length of the value
//!      key, value
//! at the end:
//!   1  zero
//!   8  how many entries there were
//! ```
//! Numbers are little-endian. What is read may come from any component: every length is held against what is there, and
//! a state that ends early is refused and never taken for a shorter one.

use std::fmt;
use std::time::Duration;

use oneiric_lifecycle::{StateTooLarge, StateWriter};

/// The name of this format.
pub(crate) const FORMAT: &str = "oneiric.cache/1";

const ENTRY: u8 = 1;
const END: u8 = 0;
const FOR_EVER: u64 = u64::MAX;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a [u8],
    /// Time to live that is left; `None` for one that does not expire.
    pub(crate) ttl: Option<Duration>,
}

/// Writes entries, in the order in which they were used.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    into: &'a mut StateWriter,
    entries: u64,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(into: &'a mut StateWriter) -> Self {
        Self { into, entries: 0 }
    }

    pub(crate) fn put(&mut self, entry: &Entry<'_>) -> Result<(), StateTooLarge> {
        let Entry { key, value, ttl } = entry;
        let mut head = [0; 21];
        head[0] = ENTRY;
        head[1..9].copy_from_slice(&ttl.map_or(FOR_EVER, ms_rounded_up).to_le_bytes());
        // Keys are short: `check_cache_key`.
        let key_bytes = u32::try_from(key.len()).unwrap_or(u32::MAX);
        head[9..13].copy_from_slice(&key_bytes.to_le_bytes());
        head[13..21].copy_from_slice(&(value.len() as u64).to_le_bytes());
        self.into.put(&head)?;
        self.into.put(key.as_bytes())?;
        self.into.put(value)?;
        self.entries += 1;
        Ok(())
    }

    /// Without this, what was written is not a state.
    pub(crate) fn end(self) -> Result<(), StateTooLarge> {
        self.into.put(&[END])?;
        self.into.put(&self.entries.to_le_bytes())
    }
}

fn ms_rounded_up(ttl: Duration) -> u64 {
    let ms = ttl.as_micros().div_ceil(1_000);
    // One less than for ever.
    u64::try_from(ms).unwrap_or(FOR_EVER).min(FOR_EVER - 1)
}

/// Reads entries in the order in which they were written; ends after the first that cannot be read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    entries: u64,
    is_over: bool,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(state: &'a [u8]) -> Self {
        Self {
            left: state,
            entries: 0,
            is_over: false,
        }
    }

    fn read(&mut self) -> Result<Option<Entry<'a>>, NotAState> {
        match self.take(1)? {
            [ENTRY] => {
                let ttl = self.number::<8>()?;
                let key_bytes = self.number::<4>()?;
                let value_bytes = self.number::<8>()?;
                let key = std::str::from_utf8(self.take(key_bytes)?);
                let key = key.map_err(|_| self.broken("its key is not text"))?;
                let value = self.take(value_bytes)?;
                self.entries += 1;
                let ttl = (ttl != FOR_EVER).then(|| Duration::from_millis(ttl));
                Ok(Some(Entry { key, value, ttl }))
            }
            [END] => {
                let entries = self.number::<8>()?;
                if entries != self.entries {
                    return Err(self.broken("their number is another"));
                }
                if !self.left.is_empty() {
                    return Err(self.broken("something comes after the end"));
                }
                Ok(None)
            }
            _ => Err(self.broken("it is neither an entry nor the end")),
        }
    }

    fn number<const BYTES: usize>(&mut self) -> Result<u64, NotAState> {
        let mut bytes = [0; 8];
        bytes[..BYTES].copy_from_slice(self.take(BYTES as u64)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], NotAState> {
        let taken = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| self.left.split_at_checked(bytes));
        let Some((taken, left)) = taken else {
            return Err(self.broken("it ends early"));
        };
        self.left = left;
        Ok(taken)
    }

    const fn broken(&self, why: &'static str) -> NotAState {
        NotAState {
            entries: self.entries,
            why,
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, NotAState>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read();
        self.is_over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// A state that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAState {
    entries: u64,
    why: &'static str,
}

impl fmt::Display for NotAState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a state of a cache: after {} entries, {}",
            self.entries, self.why
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, Vec<u8>, Option<u64>);

    fn written(entries: &[Owned]) -> Bytes {
        let mut state = StateWriter::new(u64::MAX);
        let mut writer = Writer::new(&mut state);
        for (key, value, ttl) in entries {
            let ttl = ttl.map(Duration::from_millis);
            writer.put(&Entry { key, value, ttl }).unwrap();
        }
        writer.end().unwrap();
        state.finish(FORMAT).unwrap().bytes().clone()
    }

    fn read(state: &Bytes) -> Result<Vec<Owned>, NotAState> {
        Reader::new(state)
            .map(|entry| {
                let Entry { key, value, ttl } = entry?;
                let ttl = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap());
                Ok((key.to_owned(), value.to_vec(), ttl))
            })
            .collect()
    }

    fn entries() -> impl Strategy<Value = Vec<Owned>> {
        let ttl = prop::option::of(0..u64::MAX);
        prop::collection::vec(
            (".{0,12}", prop::collection::vec(any::<u8>(), 0..40), ttl),
            0..12,
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in entries()) {
            prop_assert_eq!(read(&written(&entries)), Ok(entries));
        }

        #[test]
        fn a_state_that_ends_early_is_never_taken_for_a_shorter_one(
            entries in entries(), cut in any::<prop::sample::Index>(),
        ) {
            let whole = written(&entries);
            let cut = whole.slice(..cut.index(whole.len()));
            prop_assert!(read(&cut).is_err());
        }

        #[test]
        fn whatever_the_bytes_are_they_are_read_or_refused(
            entries in entries(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            tail in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut bytes = written(&entries).to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend(tail);
            if let Ok(read) = read(&bytes.clone().into()) {
                prop_assert_eq!(written(&read), bytes);
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_state_is_said() {
        let check = |bytes: &'static [u8], why: &str| {
            let error = read(&Bytes::from_static(bytes)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("not a state of a cache: after 0 entries, {why}")
            );
        };
        check(b"", "it ends early");
        check(b"\x02", "it is neither an entry nor the end");
        check(b"\0\x01\0\0\0\0\0\0\0", "their number is another");
        check(b"\0\0\0\0\0\0\0\0\0\0", "something comes after the end");
        check(
            b"\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "it ends early",
        );
        check(
            b"\x01\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xff",
            "its key is not text",
        );
    }

    #[test]
    fn a_time_to_live_is_rounded_up_and_never_becomes_for_ever() {
        for (ttl, ms) in [
            (Duration::from_nanos(1_000_001), 1),
            (Duration::from_micros(1_001), 2),
            (Duration::ZERO, 0),
            (Duration::MAX, u64::MAX - 1),
        ] {
            assert_eq!(ms_rounded_up(ttl), ms, "{ttl:?}");
        }
    }
}
