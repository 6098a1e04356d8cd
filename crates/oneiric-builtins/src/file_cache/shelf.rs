//! The directory of a file cache and its index. Everything here blocks.
//!
//! One lock covers each step that changes the directory together with the index. Entries are read and
//! new ones written out before it is taken: a rename is whole or not at all, so a reader needs no lock
//! to see one version or the other.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::entry::{self, Entry, EntryName, HEADER_BYTES, Header};
use crate::bounded::{Bounded, Bounds};

/// How files begin that were not yet renamed to what they are to be.
const UNFINISHED: &str = "unfinished-";

/// An unfinished file that was last written so long ago has nobody who will finish it.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

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
        make_private(directory)?;
        let index = Index {
            kept: Bounded::new(bounds),
            closed: false,
        };
        let shelf = Self {
            directory: directory.to_owned(),
            bounds,
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
        let unfinished = self.write_unfinished(|new| new.write_all(&file))?;
        let name = EntryName::of(key);

        let mut index = self.index();
        if index.closed {
            return Ok(Put::Closed);
        }
        unfinished.rename(&self.path(name))?;
        index.kept.insert(name, (), bytes, expires);
        self.trim(&mut index, now);
        Ok(Put::Done)
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
        const TEXT: &[u8] = b"probe";
        // Forced to the disk, or a full one would not be noticed before the file is gone again.
        let begun =
            self.write_unfinished(|new| new.write_all(TEXT).and_then(|()| new.sync_all()))?;
        let written = Unfinished {
            path: self.unfinished_path(),
        };
        begun.rename(&written.path)?;
        if fs::read(&written.path)? != TEXT {
            return Err(io::Error::other(
                "a file read back differs from what was written",
            ));
        }
        written.remove()
    }

    /// Refuses every put and delete from now on; the one in progress is done when this returns.
    pub(super) fn close(&self) {
        self.index().closed = true;
    }

    /// Reads an entry's file; `None` when there is none, or something that is no file. One larger than the whole cache may be
    /// is not ours to read: it comes back empty, which no entry is.
    fn read(&self, name: EntryName) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let bytes = metadata.len();
        if !self.bounds.fit(bytes) {
            return Ok(Some(Vec::new()));
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.take(bytes).read_to_end(&mut content)?;
        Ok(Some(content))
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

    fn take_stock(&self, now: Duration) -> io::Result<()> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            if !file.file_type()?.is_file() {
                continue;
            }
            let name = file.file_name();
            let written = |file: &fs::DirEntry| -> io::Result<Duration> {
                let modified = file.metadata()?.modified()?;
                Ok(modified
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default())
            };
            if let Some(name) = EntryName::parse(&name) {
                match peek(&file.path())? {
                    Some((header, bytes)) => found.push((written(&file)?, name, header, bytes)),
                    None => remove(&file.path())?,
                }
            } else if name
                .to_str()
                .is_some_and(|name| name.starts_with(UNFINISHED))
                && written(&file)? + ABANDONED_AFTER <= now
            {
                remove(&file.path())?;
            }
        }
        found.sort_unstable_by_key(|(written, name, ..)| (*written, *name));
        let mut index = self.index();
        for (_, name, header, bytes) in found {
            index.kept.insert(name, (), bytes, header.expires);
        }
        self.trim(&mut index, now);
        Ok(())
    }

    fn write_unfinished(
        &self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<Unfinished> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = self.unfinished_path();
        let mut file = options.open(&path)?;
        let unfinished = Unfinished { path };
        write(&mut file)?;
        Ok(unfinished)
    }

    /// A name that nobody uses, in this process or another.
    fn unfinished_path(&self) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        self.directory
            .join(format!("{UNFINISHED}{process}-{count}"))
    }

    fn path(&self, name: EntryName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // The directory is the truth: an index that a panic left behind is at worst inexact.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is removed again unless it is renamed to what it is to be.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.path.clear();
        Ok(())
    }

    fn remove(mut self) -> io::Result<()> {
        fs::remove_file(std::mem::take(&mut self.path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // The error that brought us here is the one to report; the file is swept at a start.
            let _reported_already = fs::remove_file(&self.path);
        }
    }
}

/// The header of an entry's file and its size; `None` if it is no whole entry.
fn peek(path: &Path) -> io::Result<Option<(Header, u64)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Another instance removed it since the directory was listed.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => Ok(Header::parse(&header, bytes).map(|header| (header, bytes))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; one that is gone already is removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner can enter; one that is there is left as it is.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
