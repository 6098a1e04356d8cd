//! Copies of the database: taken while it runs, looked at, and put in its place when nothing runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use crate::{
    activity,
    db::Summary,
    disk,
    error::StateError,
    keep,
    open::{self, Look},
    selections, status,
    unfinished::{sweep_unfinished, unfinished_name},
};

/// Pages of 4 KiB copied at a time: a writer waits for one such step at the most.
const PAGES: std::ffi::c_int = 64;

/// Copies what `from` holds into the file `to`, which is there and empty; `between` is called after every step, and
/// says whether to go on.
pub(crate) fn copy(
    from: &Connection,
    path: &Path,
    to: &Path,
    mut between: impl FnMut() -> bool,
) -> Result<(), StateError> {
    let target = |error: rusqlite::Error| StateError::of(to, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(to, flags).map_err(target)?;
    copy.pragma_update(None, "locking_mode", "EXCLUSIVE")
        .map_err(target)?;
    // It is synced once, as a whole, when it is done.
    copy.pragma_update(None, "synchronous", "OFF")
        .map_err(target)?;
    let backup = Backup::new(from, &mut copy).map_err(target)?;
    loop {
        match backup.step(PAGES) {
            Ok(StepResult::Done) => break,
            Ok(StepResult::More) if between() => {}
            Ok(StepResult::More) => return Err(StateError::interrupted(path)),
            Ok(_) => {
                return Err(StateError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(target(error)),
        }
    }
    drop(backup);
    // A copy is one file: without a log beside it that could be forgotten.
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(target)?;
    copy.close().map_err(|(_, error)| target(error))?;
    open::sync(to)
}

/// Says what is in a database file that nobody has open, or what is wrong with it. Changes nothing. Blocks.
///
/// # Errors
/// `sqlite.unreadable`, `sqlite.corrupt`, `sqlite.foreign`, `sqlite.newer`, `sqlite.locked`.
pub fn check(path: &Path) -> Result<Summary, StateError> {
    let path = path
        .canonicalize()
        .map_err(|error| StateError::io_read(path, &error))?;
    let connection = open::inspect(&path, Look::Whole)?;
    let of = |error: rusqlite::Error| StateError::of(&path, &error);
    selections::load(&connection).map_err(of)?;
    status::load(&connection, None).map_err(of)?;
    activity::load(&connection).map_err(of)?;
    Summary::of(&connection, &path)
}

/// Where a restored database is, and where the one before it went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What is in place now.
    pub summary: Summary,
    /// The database that was there, if there was one.
    pub kept: Option<PathBuf>,
}

/// Puts a copy of `backup` in the place of the database at `path`, and keeps that beside it as
/// `state.db.before-restore-N`. At no moment is there no database, or half of one. Blocks.
///
/// Only for whoever holds the lock of the state directory. `go_on` is asked between steps; once it says no, what was
/// done is undone. It is not asked any more when the exchange itself begins.
///
/// # Errors
/// What [`check`] says about `backup`; `sqlite.interrupted`, `sqlite.locked`, `sqlite.unwritable` and
/// `sqlite.disk_full` about `path`, which is then as it was.
pub fn restore(
    backup: &Path,
    path: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<Restored, StateError> {
    let path = &open::in_its_folder(path)?;
    let backup = backup
        .canonicalize()
        .map_err(|error| StateError::io_read(backup, &error))?;
    check(&backup)?;
    let new = open::with_ending(path, open::RESTORED);
    open::remove_unfinished(&new)?;
    let placed = copy_file(&backup, &new, go_on).and_then(|()| {
        let summary = check(&new)?;
        if !go_on() {
            return Err(StateError::interrupted(path));
        }
        let kept = keep::keep(path)?;
        if let Err(error) = disk::rename(&new, path) {
            kept.give_back(false);
            return Err(StateError::io_write(path, &error));
        }
        if let Err(error) = open::sync_folder(path) {
            kept.give_back(true);
            return Err(error);
        }
        let kept = kept.into_name();
        let summary = Summary {
            path: path.clone(),
            ..summary
        };
        Ok(Restored { summary, kept })
    });
    if placed.is_err() {
        let _unfinished = open::remove_unfinished(&new);
    }
    placed
}

fn copy_file(from: &Path, to: &Path, go_on: &dyn Fn() -> bool) -> Result<(), StateError> {
    open::make_file(to)?;
    let connection = open::inspect(from, Look::Whole)?;
    copy(&connection, from, to, go_on)
}

/// A database that is received piece by piece, such as a backup from a running process. It gets its name when it is
/// whole and was looked at; until then it lies beside, and goes when this is dropped.
#[derive(Debug)]
pub struct Incoming {
    to: PathBuf,
    unfinished: PathBuf,
    file: fs::File,
    replace: bool,
    failed: Option<StateError>,
}

impl Incoming {
    /// Begins to write what is to become `to`. What killed processes left of earlier attempts is removed.
    ///
    /// # Errors
    /// `sqlite.exists` if there is such a file and it is not to be replaced; `sqlite.unwritable`, `sqlite.unreadable`.
    pub fn begin(to: &Path, replace: bool) -> Result<Self, StateError> {
        let to = open::in_its_folder(to)?;
        match fs::symlink_metadata(&to) {
            Ok(_) if !replace => return Err(StateError::Exists { path: to }),
            Ok(found) if !found.is_file() => {
                return Err(StateError::UnsafeFile {
                    path: to,
                    what: "it is no file".to_owned(),
                });
            }
            _ => {}
        }
        sweep_unfinished(&to);
        let unfinished = unfinished_name(&to);
        open::remove_unfinished(&unfinished)?;
        let file = open::make_file(&unfinished)?;
        Ok(Self {
            to,
            unfinished,
            file,
            replace,
            failed: None,
        })
    }

    /// Why a piece could not be written, if one could not.
    #[must_use]
    pub fn failed(&self) -> Option<StateError> {
        self.failed.clone()
    }

    /// Looks at what was written, makes it durable and gives it its name.
    ///
    /// # Errors
    /// What [`check`] says about it; `sqlite.exists`, `sqlite.unwritable`, `sqlite.disk_full`. Then nothing has changed.
    pub fn finish(self) -> Result<Summary, StateError> {
        let summary = check(&self.unfinished)?;
        if self.replace {
            open::sync(&self.unfinished)?;
            disk::rename(&self.unfinished, &self.to)
                .map_err(|error| StateError::io_write(&self.to, &error))?;
            open::sync_folder(&self.to)?;
        } else {
            open::put_in_place(&self.unfinished, &self.to)?;
        }
        Ok(Summary {
            path: self.to.clone(),
            ..summary
        })
    }
}

impl io::Write for Incoming {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.file.write(piece);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.failed = Some(StateError::io_write(&self.to, error));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already when it was finished.
        let _unfinished = open::remove_unfinished(&self.unfinished);
    }
}
