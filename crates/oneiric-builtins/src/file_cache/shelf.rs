//! The directory of a file cache and its index. Everything here blocks.
//!
//! One lock covers each step that changes the directory together with the index. Entries are read and
//! new ones written out before it is taken: a rename is whole or not at all, so a reader needs no lock
//! to see one version or the other.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::entry::{self, Entry, EntryName, HEADER_BYTES};
use super::file::{self, Listed, remove};
use super::unfinished::{Names, Unfinished};
use crate::bounded::{Bounded, Bounds};

/// How directories begin that stood where an entry was to go.
const SET_ASIDE: &str = "set-aside-";

/// What a probe writes.
const REHEARSAL: &[u8] = b"probe";

/// What became of a put.
#[derive(Debug, PartialEq)]
pub(super) enum Put {
    Done,
    Closed,
    TooLarge { bytes: u64 },
}

#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
    bounds: Bounds,
    names: Names,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Index {
    kept: Bounded<EntryName, ()>,
    closed: bool,
}

impl Shelf {
    /// Makes the directory if need be, clears what crashes left behind and takes stock of the rest.
    pub(super) fn open(directory: &Path, bounds: Bounds, now: Duration) -> io::Result<Self> {
        file::make_private(directory)?;
        let index = Index {
            kept: Bounded::new(bounds),
            closed: false,
        };
        let shelf = Self {
            directory: directory.to_owned(),
            bounds,
            names: Names::new(),
            index: Mutex::new(index),
        };
        shelf.take_stock(now)?;
        Ok(shelf)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn get(&self, key: &str, now: Duration) -> io::Result<Option<Bytes>> {
        let name = EntryName::of(key);
        let Some(file) = self.read(name)? else {
            self.settle(name, now)?;
            return Ok(None);
        };
        match Entry::decode(&file) {
            Some(entry) if entry.is_expired(now) => {}
            // Another key with the same hash holds the place.
            Some(entry) if entry.key != key => return Ok(None),
            Some(entry) => {
                self.note_use(name, file.len() as u64, entry.expires, now);
                let value = entry.value;
                return Ok(Some(Bytes::from(file).slice(value)));
            }
            None => {}
        }
        self.settle(name, now)?;
        Ok(None)
    }

    pub(super) fn put(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
        now: Duration,
    ) -> io::Result<Put> {
        // A time to live that ends beyond the end of time never ends.
        let expires = entry::round_up(ttl.and_then(|ttl| now.checked_add(ttl)));
        let bytes = (HEADER_BYTES + key.len() + value.len()) as u64;
        if !self.bounds.fit(bytes) {
            return Ok(Put::TooLarge { bytes });
        }
        let file = entry::encode(key, value, expires).ok_or(ErrorKind::InvalidInput)?;
        let (unfinished, mut new) = Unfinished::create(&self.directory, &self.names)?;
        new.write_all(&file)?;
        let name = EntryName::of(key);

        let mut index = self.index();
        if index.closed {
            return Ok(Put::Closed);
        }
        self.put_in_place(unfinished, &self.path(name))?;
        index.kept.insert(name, (), bytes, expires);
        self.trim(&mut index, now);
        Ok(Put::Done)
    }

    /// The names of what is kept, from the use that is longest ago to the latest.
    pub(super) fn names(&self) -> Vec<EntryName> {
        let index = self.index();
        index.kept.by_use().map(|(name, ..)| *name).collect()
    }

    /// The file of an entry, unless it is gone. Is no use of it.
    pub(super) fn peek(&self, name: EntryName) -> io::Result<Option<Vec<u8>>> {
        self.read(name)
    }

    /// Removes every entry that is not in `names`.
    pub(super) fn keep_only(&self, names: &HashSet<EntryName>, now: Duration) -> io::Result<()> {
        let mut index = self.index();
        if index.closed {
            return Ok(());
        }
        let kept = index.kept.by_use().map(|(name, ..)| *name);
        let others: Vec<EntryName> = kept.filter(|name| !names.contains(name)).collect();
        for name in others {
            remove(&self.path(name))?;
            index.kept.take(&name, now);
        }
        Ok(())
    }

    /// Whether there was an entry to get; `None` after [`Shelf::close`].
    pub(super) fn delete(&self, key: &str, now: Duration) -> io::Result<Option<bool>> {
        let name = EntryName::of(key);
        let mut index = self.index();
        if index.closed {
            return Ok(None);
        }
        let found = match self.read(name)? {
            None => false,
            Some(file) => match Entry::decode(&file) {
                Some(entry) if entry.key != key => return Ok(Some(false)),
                entry => {
                    remove(&self.path(name))?;
                    entry.is_some_and(|entry| !entry.is_expired(now))
                }
            },
        };
        index.kept.take(&name, now);
        Ok(Some(found))
    }

    /// Does all that a put, a get and a delete need of the directory, on a file of its own.
    pub(super) fn rehearse(&self) -> io::Result<()> {
        read_back(self.write_rehearsal()?)
    }

    fn write_rehearsal(&self) -> io::Result<Unfinished> {
        let (mut unfinished, mut new) = Unfinished::create(&self.directory, &self.names)?;
        new.write_all(REHEARSAL)?;
        // Forced to the disk, or a full one would not be noticed before the file is gone again.
        new.sync_all()?;
        unfinished.rename_unfinished(&self.directory, &self.names)?;
        Ok(unfinished)
    }

    /// Refuses every put and delete from now on; the one in progress is done when this returns.
    pub(super) fn close(&self) {
        self.index().closed = true;
    }

    fn read(&self, name: EntryName) -> io::Result<Option<Vec<u8>>> {
        file::read(&self.path(name), self.bounds)
    }

    /// Makes index and directory agree on an entry that was missing, damaged or expired when it was
    /// read. Looks again, under the lock: somebody may have put a good one since.
    fn settle(&self, name: EntryName, now: Duration) -> io::Result<()> {
        let mut index = self.index();
        if let Some(file) = self.read(name)? {
            if Entry::decode(&file).is_some_and(|entry| !entry.is_expired(now)) {
                return Ok(());
            }
            if !index.closed {
                remove(&self.path(name))?;
            }
        }
        index.kept.take(&name, now);
        Ok(())
    }

    /// Notes that an entry was used; one that the index does not know is another instance's work and
    /// counted from now on.
    fn note_use(&self, name: EntryName, bytes: u64, expires: Option<Duration>, now: Duration) {
        let mut index = self.index();
        if index.kept.get(&name, now).is_none() && !index.closed && self.path(name).exists() {
            index.kept.insert(name, (), bytes, expires);
            self.trim(&mut index, now);
        }
    }

    /// Removes the files of what the bounds push out.
    fn trim(&self, index: &mut Index, now: Duration) {
        for name in index.kept.trim(now) {
            // What stays behind is counted again at the next start; the put itself went well.
            if let Err(error) = remove(&self.path(name)) {
                tracing::warn!(file = %name, %error, "cannot remove an entry that was pushed out");
            }
        }
    }

    /// Makes the index know what is in the directory.
    pub(super) fn take_stock(&self, now: Duration) -> io::Result<()> {
        let mut found = Vec::new();
        for listed in fs::read_dir(&self.directory)? {
            let listed = listed?;
            match file::inspect(&listed, now)? {
                Listed::Entry(stock) => found.push(stock),
                Listed::Remove => remove(&listed.path())?,
                Listed::Leave => {}
            }
        }
        found.sort_unstable_by_key(|stock| (stock.written, stock.name));
        let mut index = self.index();
        for stock in found {
            let kept = &mut index.kept;
            kept.insert(stock.name, (), stock.bytes, stock.expires);
        }
        self.trim(&mut index, now);
        Ok(())
    }

    /// Renames a file to the entry that it is to be. A file in the way is replaced, whatever its kind;
    /// a directory cannot be, and would refuse this key for ever if it stayed.
    fn put_in_place(&self, mut unfinished: Unfinished, place: &Path) -> io::Result<()> {
        match unfinished.rename(place) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                let aside = self.directory.join(self.names.next(SET_ASIDE));
                fs::rename(place, &aside)?;
                let (from, to) = (place.display(), aside.display());
                tracing::warn!(%from, %to, "a directory stood in an entry's place and was renamed");
                unfinished.rename(place)
            }
            renamed => renamed,
        }
    }

    fn path(&self, name: EntryName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // The directory is the truth: an index that a panic left behind is at worst inexact.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The second half of [`Shelf::rehearse`].
fn read_back(written: Unfinished) -> io::Result<()> {
    let mut content = Vec::new();
    if let Some((file, _)) = file::open(written.path())? {
        file.take(REHEARSAL.len() as u64 + 1)
            .read_to_end(&mut content)?;
    }
    if content != REHEARSAL {
        let message = "a file read back differs from what was written";
        return Err(io::Error::other(message));
    }
    written.remove()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_348_800);

    fn open(directory: &Path) -> Shelf {
        let bounds = Bounds {
            entries: std::num::NonZeroUsize::MAX,
            bytes: std::num::NonZeroU64::MAX,
        };
        Shelf::open(directory, bounds, NOW).unwrap()
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let killed = open(directory.path());
        for _ in 0..20 {
            std::mem::forget(Unfinished::create(&killed.directory, &killed.names).unwrap());
        }
        // The same process id, and a count that begins anew.
        let next = open(directory.path());
        next.rehearse().unwrap();
        assert_eq!(next.put("a", b"1", None, NOW).unwrap(), Put::Done);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 21);
    }

    #[test]
    fn a_probe_says_no_when_what_it_reads_is_not_what_it_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = open(directory.path());
        let damages: [fn(&Path); 4] = [
            |file| File::create(file).unwrap().write_all(b"prone").unwrap(),
            |file| File::create(file).unwrap().set_len(3).unwrap(),
            |file| {
                File::options()
                    .append(true)
                    .open(file)
                    .unwrap()
                    .write_all(b"s")
                    .unwrap()
            },
            |file| fs::remove_file(file).unwrap(),
        ];
        for damage in damages {
            let written = shelf.write_rehearsal().unwrap();
            damage(written.path());
            let error = read_back(written).unwrap_err();
            assert!(error.to_string().contains("differs"), "{error}");
        }
        shelf.rehearse().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
