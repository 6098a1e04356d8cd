//! Opens the file, or makes it, and looks at it before anything is written to it.
//!
//! A file that is not ours, newer, damaged or not a plain file is left exactly as it was found: even closing it must
//! not fold its log into it. A new one is made under another name and put in place when it is whole, so that an empty
//! file is never taken for a new one: it is what a crash of the disk, or of an editor, leaves of a database.
//!
//! The connection holds SQLite's exclusive lock for as long as it lives, on the file itself and not on its name: what
//! the lock of the state directory cannot see, a second name of the file, is refused by it.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use rustix::process::geteuid;

use crate::{
    disk,
    error::StateError,
    keep,
    migrations::{self, APPLICATION_ID, schema_version},
};

/// For somebody who looks at the file just now to be done.
const BUSY_LIMIT: Duration = Duration::from_millis(500);

/// What a file is called while it is made.
const NEW: &str = ".new";

/// What a copy is called until it takes the place of the database.
pub(crate) const RESTORED: &str = ".restored";

/// The smallest page that a database can have.
const SMALLEST: u64 = 512;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// That it is sound enough to work with, before every start.
    Quick,
    /// Everything, for a check that somebody asked for.
    Whole,
}

/// Opens the database at `path` for this process alone; makes it if there is none.
pub(crate) fn open(path: &Path) -> Result<(Connection, PathBuf), StateError> {
    let path = &in_its_folder(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) => must_be_plain(path, &without_second_name(path, found)?)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(error) => return Err(StateError::io_read(path, &error)),
    }
    let connection = inspect(path, Look::Quick)?;
    let of = |error: rusqlite::Error| StateError::of(path, &error);
    let version = pragma(&connection, "user_version").map_err(of)?;
    let mode = settle(&connection).map_err(of)?;
    if mode != "wal" {
        return Err(StateError::Unwritable {
            path: path.clone(),
            message: format!("its journal mode is {mode} and cannot be made wal"),
        });
    }
    migrations::run(&connection, version, migrations::STEPS).map_err(of)?;
    Ok((connection, path.clone()))
}

/// Opens a database that is there to read it, and says what is wrong with it. Whatever it is, nothing is written.
pub(crate) fn inspect(path: &Path, look: Look) -> Result<Connection, StateError> {
    let found = fs::metadata(path).map_err(|error| StateError::io_read(path, &error))?;
    // SQLite takes what is shorter than its head for a database without anything in it.
    if found.len() < SMALLEST {
        let message = format!("it is only {} bytes long", found.len());
        return Err(StateError::corrupt(path, message));
    }
    let of = |error: rusqlite::Error| StateError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    // A copy is one file. What somebody puts beside it later, a journal of their own, is then not even looked at. One that
    // has a second name may be in use under that, which only the lock tells.
    let alone = look == Look::Whole && logs_of_ours(path)? == 0 && found.nlink() == 1;
    let mut connection = if alone {
        as_it_lies(path, look)?
    } else {
        Connection::open_with_flags(path, flags).map_err(of)?
    };
    let read_only = alone || connection.is_readonly("main").map_err(of)?;
    if read_only && !alone {
        connection = as_it_lies(path, look)?;
    }
    (|| {
        connection.busy_timeout(BUSY_LIMIT)?;
        // Until it is known to be ours, not even its log is folded in.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        if read_only {
            return Ok(());
        }
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")
    })()
    .map_err(of)?;
    let application = pragma(&connection, "application_id").map_err(of)?;
    let version = pragma(&connection, "user_version").map_err(of)?;
    if application != APPLICATION_ID {
        return Err(StateError::Foreign {
            path: path.to_owned(),
            found: application,
            expected: APPLICATION_ID,
        });
    }
    if version > schema_version() {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found: version,
            expected: schema_version(),
        });
    }
    if version == 0 {
        return Err(StateError::corrupt(path, "it has no schema version"));
    }
    // What is still in the log makes up for what the file lacks; without one, a missing end would read as zeros.
    let [log, ..] = beside(path);
    if fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        let pages = pragma(&connection, "page_count").map_err(of)?;
        let page = pragma(&connection, "page_size").map_err(of)?;
        let whole = u64::from(pages) * u64::from(page);
        if found.len() < whole {
            let message = format!("it was cut off: {} bytes of {whole} are left", found.len());
            return Err(StateError::corrupt(path, message));
        }
    }
    let check = match look {
        Look::Quick => "quick_check",
        Look::Whole => "integrity_check",
    };
    let said: String = connection
        .pragma_query_value(None, check, |row| row.get(0))
        .map_err(of)?;
    if said != "ok" {
        return Err(StateError::corrupt(path, said));
    }
    Ok(connection)
}

/// How many logs lie beside it. One of another user is refused: `SQLite` would write what it says over the file.
fn logs_of_ours(path: &Path) -> Result<usize, StateError> {
    let user = geteuid().as_raw();
    let mut logs = 0;
    for log in beside(path) {
        match fs::symlink_metadata(&log) {
            Ok(found) if ![user, 0].contains(&found.uid()) => {
                return Err(StateError::UnsafeFile {
                    path: log,
                    what: format!(
                        "it belongs to user {} and not to this one ({user})",
                        found.uid()
                    ),
                });
            }
            Ok(_) => logs += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StateError::io_read(&log, &error)),
        }
    }
    Ok(logs)
}

/// Opens a file that takes no writes, not even of a lock: for a look at a backup, and for nothing else.
fn as_it_lies(path: &Path, look: Look) -> Result<Connection, StateError> {
    let [log, ..] = beside(path);
    let has_log = fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    if look == Look::Quick || has_log {
        return Err(StateError::Unwritable {
            path: path.to_owned(),
            message: "it is read-only".to_owned(),
        });
    }
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    Connection::open_with_flags(uri, flags).map_err(|error| StateError::of(path, &error))
}

/// From here on it is ours to write. Every write that is acknowledged was synced to the disk. Gives the journal mode.
fn settle(connection: &Connection) -> rusqlite::Result<String> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "wal_autocheckpoint", 256)?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    Ok(mode)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u32> {
    let value: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
    // Both are 32 bits in the file and come as signed numbers.
    Ok(u32::try_from(value & 0xffff_ffff).unwrap_or_default())
}

/// The path with its folder's links resolved, so that only the file itself may be none.
pub(crate) fn in_its_folder(path: &Path) -> Result<PathBuf, StateError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| StateError::UnsafeFile {
        path: path.to_owned(),
        what: "the path names no file".to_owned(),
    })?;
    let folder = folder
        .canonicalize()
        .map_err(|error| StateError::io_read(folder, &error))?;
    Ok(folder.join(name))
}

/// Takes away the second name that a crash left to the file: its first one, right after it was given its own; or the
/// one under which it was to be kept, right before another took its place.
fn without_second_name(path: &Path, found: Metadata) -> Result<Metadata, StateError> {
    let same = |other: &PathBuf| {
        fs::symlink_metadata(other)
            .is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
    };
    if found.nlink() != 2 {
        return Ok(found);
    }
    let new = with_ending(path, NEW);
    if same(&new) {
        disk::remove(&new).map_err(|error| StateError::io_write(&new, &error))?;
    } else if let Some(kept) = kept_names(path).into_iter().find(same) {
        keep::undo(path, &kept).map_err(|error| StateError::io_write(&kept, &error))?;
    } else {
        return Ok(found);
    }
    fs::symlink_metadata(path).map_err(|error| StateError::io_read(path, &error))
}

/// The names beside it under which databases are kept that were replaced.
fn kept_names(path: &Path) -> Vec<PathBuf> {
    let kept = with_ending(path, keep::BEFORE);
    let kept = kept.file_name().unwrap_or_default().as_encoded_bytes();
    let is_kept = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let number = name.as_encoded_bytes().strip_prefix(kept);
        number.is_some_and(|number| {
            !number.is_empty() && number.iter().all(|byte| byte.is_ascii_digit())
        })
    };
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().flatten().filter(is_kept);
    entries.map(|entry| entry.path()).collect()
}

/// Removes what processes left that were killed while they made the database, or another that was to take its place.
/// Whoever calls it has the database for itself, so nobody is at it now.
pub(crate) fn sweep(path: &Path) {
    for ending in [NEW, RESTORED] {
        let left = with_ending(path, ending);
        let is_left = fs::symlink_metadata(&left).is_ok_and(|found| found.is_file());
        if is_left && let Err(error) = remove_unfinished(&left) {
            tracing::warn!(
                reason = error.to_string(),
                "what a process left that was killed could not be removed"
            );
        }
    }
}

fn must_be_plain(path: &Path, found: &Metadata) -> Result<(), StateError> {
    let what = if found.is_symlink() {
        "it is a symbolic link".to_owned()
    } else if !found.is_file() {
        "it is no file".to_owned()
    } else if found.nlink() > 1 {
        // Under another name its log would not be found, and what is in the log would be lost.
        format!("the file has {} names (hard links)", found.nlink())
    } else {
        return Ok(());
    };
    Err(StateError::UnsafeFile {
        path: path.to_owned(),
        what,
    })
}

/// The names of the files that SQLite keeps beside a database.
pub(crate) fn beside(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|ending| with_ending(path, ending))
}

pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn create(path: &Path) -> Result<(), StateError> {
    for log in beside(path) {
        if fs::symlink_metadata(&log).is_ok() {
            let message = format!("it is missing, but its log {} is there", log.display());
            return Err(StateError::corrupt(path, message));
        }
    }
    let new = with_ending(path, NEW);
    remove_unfinished(&new)?;
    make_file(&new)?;
    let made = Connection::open(&new).and_then(|connection| {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrations::run(&connection, 0, migrations::STEPS)?;
        connection.close().map_err(|(_, error)| error)
    });
    let placed = made
        .map_err(|error| StateError::of(path, &error))
        .and_then(|()| put_in_place(&new, path));
    if placed.is_err() {
        // What is left of it is of no use to anybody, and the next attempt removes it too.
        let _unfinished = remove_unfinished(&new);
    }
    placed
}

/// Makes an empty file that only this user may read.
pub(crate) fn make_file(path: &Path) -> Result<File, StateError> {
    disk::create(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StateError::Exists {
            path: path.to_owned(),
        },
        _ => StateError::io_write(path, &error),
    })
}

pub(crate) fn remove_unfinished(path: &Path) -> Result<(), StateError> {
    for file in beside(path).into_iter().chain([path.to_owned()]) {
        match disk::remove(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::io_write(&file, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives a finished file its name, unless somebody has it already, and makes that durable.
pub(crate) fn put_in_place(new: &Path, path: &Path) -> Result<(), StateError> {
    let write = |error: io::Error| StateError::io_write(path, &error);
    sync(new)?;
    match disk::link(new, path) {
        Ok(()) => disk::remove(new).map_err(write)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(StateError::Exists {
                path: path.to_owned(),
            });
        }
        // A file system without links.
        Err(_) => disk::rename(new, path).map_err(write)?,
    }
    sync_folder(path)
}

pub(crate) fn sync(path: &Path) -> Result<(), StateError> {
    disk::sync(path).map_err(|error| StateError::io_write(path, &error))
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), StateError> {
    disk::sync_folder(path).map_err(|error| StateError::io_write(path, &error))
}
