//! The files of a cache's directory, one at a time.
//!
//! Whoever may write to the directory can put a pipe, a device or a link in an entry's place, and a
//! file that was listed a moment ago may be gone: another instance uses the directory too. So nothing
//! here waits for the other end of a pipe, follows a link out of the directory, or takes the absence of
//! a file for an error.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::entry::{EntryName, HEADER_BYTES, Header};
use super::unfinished;
use crate::bounded::Bounds;

/// An unfinished file that was last written so long ago has nobody who will finish it.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// What a start makes of a file that it found listed.
#[derive(Debug, PartialEq)]
pub(super) enum Listed {
    Entry(Stock),
    /// Nobody can use it any more.
    Remove,
    /// Not ours, or gone.
    Leave,
}

/// A file that begins like an entry and has the size of one.
#[derive(Debug, PartialEq)]
pub(super) struct Stock {
    /// Since 1970.
    pub(super) written: Duration,
    pub(super) name: EntryName,
    pub(super) bytes: u64,
    pub(super) expires: Option<Duration>,
}

pub(super) fn inspect(listed: &DirEntry, now: Duration) -> io::Result<Listed> {
    let name = listed.file_name();
    if let Some(name) = EntryName::parse(&name) {
        return inspect_entry(&listed.path(), name);
    }
    if !unfinished::is_name(&name) {
        return Ok(Listed::Leave);
    }
    match listed.metadata() {
        Ok(found) if found.is_file() && written(&found)? + ABANDONED_AFTER <= now => {
            Ok(Listed::Remove)
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(Listed::Leave),
    }
}

fn inspect_entry(path: &Path, name: EntryName) -> io::Result<Listed> {
    let Some((mut file, metadata)) = open(path)? else {
        return Ok(Listed::Leave);
    };
    let bytes = metadata.len();
    let Some((_, header)) = read_header(&mut file, bytes)? else {
        return Ok(Listed::Remove);
    };
    Ok(Listed::Entry(Stock {
        written: written(&metadata)?,
        name,
        bytes,
        expires: header.expires,
    }))
}

/// Reads an entry's file; `None` when no regular file is in its place. What has not the size that its
/// header says, or one larger than the whole cache may be, is not ours to read: it comes back empty,
/// which no entry is.
pub(super) fn read(path: &Path, bounds: Bounds) -> io::Result<Option<Vec<u8>>> {
    let Some((mut file, metadata)) = open(path)? else {
        return Ok(None);
    };
    let bytes = metadata.len();
    let mut content = Vec::new();
    if let Some((header, _)) = read_header(&mut file, bytes)?
        && bounds.fit(bytes)
    {
        // A header can lie: too little memory for what it claims must not end the process.
        content.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        content.extend_from_slice(&header);
        let rest = bytes.saturating_sub(HEADER_BYTES as u64);
        file.take(rest).read_to_end(&mut content)?;
    }
    Ok(Some(content))
}

/// Opens a regular file to be read; `None` if there is none at `path`, or something else is.
pub(super) fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // A pipe is opened without a writer at its other end, and a link is not followed.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    match options.open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(metadata.is_file().then_some((file, metadata)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // Links, sockets and some devices cannot be opened like this, nor do they hold an entry.
        Err(error) => match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Ok(None),
            _ => Err(error),
        },
    }
}

/// Removes a file; one that is gone already is removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner can enter; one that is there is left as it is.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// The first bytes of a file of `file_bytes`, and what they say; `None` if they are not those of a
/// whole entry.
fn read_header(
    file: &mut File,
    file_bytes: u64,
) -> io::Result<Option<([u8; HEADER_BYTES], Header)>> {
    let mut first = [0; HEADER_BYTES];
    match file.read_exact(&mut first) {
        Ok(()) => Ok(Header::parse(&first, file_bytes).map(|header| (first, header))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn written(metadata: &Metadata) -> io::Result<Duration> {
    Ok(metadata
        .modified()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::entry;
    use super::*;

    const AT: Duration = Duration::from_secs(u64::MAX);

    #[test]
    fn what_vanishes_after_it_was_listed_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let entry = entry::encode("a", b"1", None).unwrap();
        for (name, content) in [
            (EntryName::of("a").to_string(), &*entry),
            (EntryName::of("b").to_string(), b"damaged"),
            ("unfinished-0-0".to_owned(), b"half an ent"),
        ] {
            let mut file = File::create(directory.path().join(name)).unwrap();
            file.write_all(content).unwrap();
        }
        let listed = fs::read_dir(directory.path()).unwrap();
        let listed: Vec<_> = listed.map(Result::unwrap).collect();
        assert_eq!(listed.len(), 3);
        for file in &listed {
            assert_ne!(inspect(file, AT).unwrap(), Listed::Leave, "{file:?}");
            fs::remove_file(file.path()).unwrap();
            assert_eq!(inspect(file, AT).unwrap(), Listed::Leave, "{file:?}");
        }
    }
}
