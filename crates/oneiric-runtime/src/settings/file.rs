//! Settings files on the disk: which are there, whether they can be trusted, and what is in them.

use std::{
    fs::{File, Metadata, OpenOptions},
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};

use super::format::Format;

/// The longest settings file: 1 MiB.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// What is in a file that could be opened.
pub(super) enum Contents {
    Text(String),
    /// It cannot be used: where, and why.
    Wrong(Option<(usize, usize)>, String),
}

/// What a file held, to tell whether it holds something else now. Equal for equal bytes in this process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(hasher.finish())
    }
}

/// What there is at a place where settings may be.
pub(super) struct Found {
    pub(super) first: Option<(PathBuf, Contents)>,
    /// Another one, in another format.
    pub(super) second: Option<PathBuf>,
    /// The first that may be there or not: nobody lets us look.
    pub(super) unseen: Option<PathBuf>,
}

/// The files that a path without an ending may stand for.
pub(super) fn names(stem: &Path) -> Vec<PathBuf> {
    Format::ENDINGS
        .map(|(ending, _)| stem.with_added_extension(ending))
        .to_vec()
}

/// Looks for a file in any of the formats.
pub(super) fn found(stem: &Path) -> Result<Found, (PathBuf, io::Error)> {
    let mut found = Found {
        first: None,
        second: None,
        unseen: None,
    };
    for path in names(stem) {
        match read_found(&path) {
            Ok(contents) if found.first.is_none() => found.first = Some((path, contents)),
            Ok(_) => {
                found.second.get_or_insert(path);
            }
            Err(error) if is_absent(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_known(&path) => {
                found.unseen.get_or_insert(path);
            }
            Err(error) => return Err((path, error)),
        }
    }
    Ok(found)
}

/// Whether nothing is there. A file in the place of a directory on the way means the same.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether it is known that settings are meant to be read there: the file can be seen, or the directory of ours that
/// it lies in. A home that is closed to this user says nothing about either; a directory of ours that is closed does.
fn is_known(path: &Path) -> bool {
    let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
    path.symlink_metadata().is_ok()
        || directory.is_some_and(|above| above.symlink_metadata().is_ok())
}

/// Reads a file that somebody named. A directory or a device that never ends is no danger; a pipe is waited for, as
/// whoever names one wants.
pub(super) fn read(path: &Path) -> io::Result<Contents> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    match open_to_all(&about) {
        Some(message) => Ok(Contents::Wrong(None, message)),
        None => contents(file),
    }
}

/// Reads a file that nobody named, where there is one. It could be anybody's: the place may be the working directory,
/// and that a directory of all.
fn read_found(path: &Path) -> io::Result<Contents> {
    // Without waiting for the other end of a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let about = file.metadata()?;
    let kind = about.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let message = "it is a pipe and no file; --config reads one";
        return Ok(Contents::Wrong(None, message.to_owned()));
    }
    let wrong = foreign(&about, geteuid().as_raw()).or_else(|| open_to_all(&about));
    match wrong {
        Some(message) => Ok(Contents::Wrong(None, message)),
        None => contents(file),
    }
}

/// Whoever can write this file decides which code runs here. Devices such as /dev/null are everybody's.
fn open_to_all(about: &Metadata) -> Option<String> {
    let mode = about.mode();
    (about.is_file() && mode & 0o002 != 0).then(|| {
        format!(
            "every user of this machine can change the file (mode {:o}); chmod o-w closes it",
            mode & 0o777
        )
    })
}

/// Nor may it be another user's, who can write it whatever its mode says. Root could change it anyway.
fn foreign(about: &Metadata, user: u32) -> Option<String> {
    let owner = about.uid();
    (owner != user && owner != 0).then(|| {
        format!(
            "the file belongs to user {owner} and not to this one ({user}); chown it, or name it with --config if \
             what that user writes may run here"
        )
    })
}

fn contents(file: File) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_BYTES) {
        let message = format!("the file is longer than {MAX_BYTES} bytes");
        return Ok(Contents::Wrong(None, message));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Contents::Text(text),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            let before = String::from_utf8_lossy(before);
            let line = before.split('\n').count();
            let column = before
                .split('\n')
                .next_back()
                .map_or(0, |line| line.chars().count());
            let message = format!("the file is not UTF-8 text (byte {valid})");
            Contents::Wrong(Some((line, column + 1)), message)
        }
    })
}
