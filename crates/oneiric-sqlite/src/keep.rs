//! What was there before a restore: kept beside under another name, with its log, and given back if the restore fails.
//!
//! The order is what makes it safe. First the database gets its second name, then its log is moved, then the new one
//! takes the first name. A log must never lie beside another database than its own, which would take it for its own;
//! and where a power cut leaves the database with two names and its log beside the second, the next one who opens it
//! puts that right.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{disk, error::StateError, open};

/// What a database is called, with a number, when another has taken its place.
pub(crate) const BEFORE: &str = ".before-restore-";

/// A database that is about to be replaced, and where it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    kept: PathBuf,
    /// Whether there was a database, and not only a log of one.
    pub(crate) is_there: bool,
    moved: Vec<Move>,
}

#[derive(Debug)]
struct Move {
    from: PathBuf,
    to: PathBuf,
}

/// Keeps the database at `path`. If anything fails, it is as it was.
///
/// # Errors
/// Whatever keeps it from being opened for a reason outside of it, such as a full disk: it may be sound, and what is in
/// its log could not be folded in.
pub(crate) fn keep(path: &Path) -> Result<Kept, StateError> {
    let is_there = match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(StateError::io_read(path, &error)),
    };
    if is_there {
        match open::open(path) {
            // Folds the log into the file, which then is all there is.
            Ok((connection, _)) => connection
                .close()
                .map_err(|(_, error)| StateError::of(path, &error))?,
            // It is being replaced because it cannot be used; its log goes with it.
            Err(
                StateError::Corrupt { .. } | StateError::Foreign { .. } | StateError::Newer { .. },
            ) => {}
            Err(error) => return Err(error),
        }
    }
    let mut kept = Kept {
        path: path.to_owned(),
        kept: free_name(path)?,
        is_there,
        moved: Vec::new(),
    };
    match kept.take() {
        Ok(()) => Ok(kept),
        Err(error) => {
            kept.give_back(false);
            Err(error)
        }
    }
}

impl Kept {
    /// The name under which it is kept.
    pub(crate) fn into_name(self) -> Option<PathBuf> {
        self.is_there.then_some(self.kept)
    }

    fn take(&mut self) -> Result<(), StateError> {
        if self.is_there {
            disk::link(&self.path, &self.kept)
                .or_else(|_| copy(&self.path, &self.kept))
                .map_err(|error| StateError::io_write(&self.kept, &error))?;
        }
        for (from, to) in open::beside(&self.path)
            .into_iter()
            .zip(open::beside(&self.kept))
        {
            match disk::rename(&from, &to) {
                Ok(()) => self.moved.push(Move { from, to }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StateError::io_write(&from, &error)),
            }
        }
        Ok(())
    }

    /// Makes everything as it was; `exchanged` says whether another has taken its place. What cannot be is logged.
    pub(crate) fn give_back(self, exchanged: bool) {
        let back = (|| {
            match (self.is_there, exchanged) {
                (true, true) => disk::rename(&self.kept, &self.path)?,
                (false, true) => disk::remove(&self.path)?,
                // It may not have come so far.
                (true, false) => match disk::remove(&self.kept) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
                (false, false) => {}
            }
            for Move { from, to } in &self.moved {
                disk::rename(to, from)?;
            }
            disk::sync_folder(&self.path)
        })();
        if let Err(error) = back {
            tracing::error!(
                reason = error.to_string(),
                kept = %self.kept.display(),
                "what was there before the restore could not be given its name back"
            );
        }
    }
}

/// Takes away the name under which `path` was to be kept, and gives it back its log: a power cut came before another
/// could take its place.
pub(crate) fn undo(path: &Path, kept: &Path) -> io::Result<()> {
    for (from, to) in open::beside(kept).into_iter().zip(open::beside(path)) {
        match disk::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk::remove(kept)?;
    disk::sync_folder(path)
}

/// For a file system without links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut new = disk::create(to)?;
    io::copy(&mut fs::File::open(from)?, &mut new)?;
    disk::sync(to)
}

/// A name that nobody has, nor a log of one of that name.
fn free_name(path: &Path) -> Result<PathBuf, StateError> {
    let is_free = |name: &PathBuf| {
        let logs = open::beside(name);
        let mut all = logs.iter().chain([name]);
        all.all(|file| fs::symlink_metadata(file).is_err())
    };
    let mut names =
        (1..=9_999_u32).map(|number| open::with_ending(path, &format!("{BEFORE}{number}")));
    names.find(is_free).ok_or_else(|| StateError::Exists {
        path: open::with_ending(path, ".before-restore-9999"),
    })
}
