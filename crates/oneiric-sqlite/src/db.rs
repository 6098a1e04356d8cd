//! The handle to an open database, and what there is to know about one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use oneiric_core::WallClock;
use rusqlite::{Connection, OptionalExtension};

use crate::{error::StateError, open, worker::Worker};

/// The name of the database in a state directory.
pub const FILE_NAME: &str = "state.db";

/// The longest text that an operator or a component can leave in the state.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

const LAST_BACKUP: &str = "last_backup_unix_ms";

/// An open database. Cheap to clone; all clones are the same, and the last one to go closes it.
///
/// Every method blocks: use the pool for blocking work. What a write has answered is on the disk.
#[derive(Clone)]
pub struct StateDb {
    pub(crate) worker: Arc<Worker>,
    pub(crate) clock: Arc<dyn WallClock>,
    /// The number of this run of the program.
    run: u64,
}

/// What is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// Its size, without its log, in bytes.
    pub bytes: u64,
    /// The version of its schema.
    pub schema: u32,
    /// The number of the last run that wrote to it; 0 when none did.
    pub run: u64,
    /// The number of the last revision.
    pub last_revision: u64,
    /// Selections in force.
    pub selections: u64,
    /// Scopes that do not run.
    pub activity: u64,
    /// Slots with a history.
    pub slots: u64,
    /// Entries of all histories.
    pub history: u64,
    /// Keys with a value.
    pub keys: u64,
    /// When it was backed up last, in milliseconds since 1970.
    pub last_backup_unix_ms: Option<u64>,
}

impl StateDb {
    /// Opens the database at `path` for this process alone; makes it (mode 0600) if there is none.
    ///
    /// What is not ours, newer than this program, damaged, or no plain file is refused and left as it is.
    ///
    /// What a restore that was killed left beside it is removed.
    ///
    /// # Errors
    /// `sqlite.corrupt`, `sqlite.foreign`, `sqlite.newer`, `sqlite.locked`, `sqlite.unsafe_file`,
    /// `sqlite.unreadable`, `sqlite.unwritable`, `sqlite.disk_full`.
    pub fn open(path: &Path, clock: Arc<dyn WallClock>) -> Result<Self, StateError> {
        let (connection, path) = open::open(path)?;
        open::sweep(&path);
        let of = |error: rusqlite::Error| StateError::of(&path, &error);
        let run = number(&connection, "SELECT max(run) FROM runs").map_err(of)? + 1;
        let worker = Arc::new(Worker::start(connection, &path)?);
        Ok(Self { worker, clock, run })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.worker.path()
    }

    /// The number of this run of the program: one more than that of the last one that wrote.
    #[must_use]
    pub const fn run(&self) -> u64 {
        self.run
    }

    /// Says what is in it.
    ///
    /// # Errors
    /// `sqlite.corrupt` and what else reading comes to.
    pub fn summary(&self) -> Result<Summary, StateError> {
        let path = self.path().to_owned();
        self.worker
            .call(move |connection| Summary::of(connection, &path))
    }

    /// Copies it into the new file `to` (mode 0600), as it is when the copy is done. Others read and write meanwhile.
    ///
    /// # Errors
    /// `sqlite.exists`, `sqlite.unwritable`, `sqlite.disk_full`; then there is no file, unless one was there.
    pub fn backup(&self, to: &Path) -> Result<(), StateError> {
        let to = open::in_its_folder(to)?;
        let unfinished = open::with_ending(&to, ".unfinished");
        open::make_file(&unfinished)?;
        let made = self
            .worker
            .backup(unfinished.clone())
            .and_then(|()| open::put_in_place(&unfinished, &to));
        if made.is_err() {
            // Half a copy is of no use, and the reason is what the caller wants.
            let _unfinished = open::remove_unfinished(&unfinished);
        }
        made?;
        let now = i64::try_from(unix_ms(self.clock.now())).unwrap_or(i64::MAX);
        let noted = self.worker.query(move |connection| {
            let mut note = connection.prepare_cached(
                "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
            )?;
            note.execute((LAST_BACKUP, now))
        });
        if let Err(error) = noted {
            // The copy is whole all the same.
            tracing::warn!(
                reason = error.to_string(),
                "the time of the backup was not noted"
            );
        }
        Ok(())
    }

    /// Notes that this run ends in good order, and closes the file. What is asked for afterwards is refused.
    pub fn close(&self) {
        let (run, now) = (self.run, unix_ms(self.clock.now()));
        let noted = self.worker.query(move |connection| {
            let mut note =
                connection.prepare_cached("UPDATE runs SET ended_unix_ms = ?2 WHERE run = ?1")?;
            note.execute((stored(run)?, stored(now)?))
        });
        if let Err(error) = noted {
            tracing::warn!(
                reason = error.to_string(),
                "the end of the run was not noted"
            );
        }
        self.worker.close();
    }
}

impl std::fmt::Debug for StateDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDb")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl Summary {
    pub(crate) fn of(connection: &Connection, path: &Path) -> Result<Self, StateError> {
        let bytes = std::fs::metadata(path).map_err(|error| StateError::io_read(path, &error))?;
        let counted =
            |sql: &str| number(connection, sql).map_err(|error| StateError::of(path, &error));
        let last_backup: Option<i64> = connection
            .query_row(
                "SELECT value FROM facts WHERE name = ?1",
                [LAST_BACKUP],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| StateError::of(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            bytes: bytes.len(),
            schema: u32::try_from(counted("PRAGMA user_version")?).unwrap_or(u32::MAX),
            run: counted("SELECT max(run) FROM runs")?,
            last_revision: counted("SELECT max(revision) FROM revisions")?,
            selections: counted("SELECT count(*) FROM selections")?,
            activity: counted("SELECT count(*) FROM activity")?,
            slots: counted("SELECT count(*) FROM history_counts")?,
            history: counted("SELECT count(*) FROM history")?,
            keys: counted("SELECT count(*) FROM key_value")?,
            last_backup_unix_ms: last_backup.and_then(|value| u64::try_from(value).ok()),
        })
    }
}

/// One number; 0 where there is none.
fn number(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let value: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    loaded(value.unwrap_or(0))
}

/// SQLite's numbers are signed.
pub(crate) fn stored(value: u64) -> rusqlite::Result<i64> {
    i64::try_from(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(crate) fn loaded(value: i64) -> rusqlite::Result<u64> {
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, value))
}

/// A name or number in the file that cannot be one.
pub(crate) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

pub(crate) fn must_be_short(what: &'static str, text: &str) -> Result<(), StateError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(StateError::TooLarge {
        what,
        bytes: text.len(),
        most: MAX_TEXT_BYTES,
    })
}

pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
