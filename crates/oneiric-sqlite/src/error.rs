//! Why the state of a state directory cannot be opened, read or written. Whatever it is, the file stays as it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use oneiric_core::{Coded, ErrorKind};
use oneiric_domains::StoreError;
use rusqlite::ErrorCode;

/// Why state cannot be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file, or the directory it lies in, takes no writes.
    #[error("{} cannot be written: {message}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file system is full.
    #[error("there is no space left for {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is damaged, or no database at all.
    #[error("{} is damaged: {message}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// In which way.
        message: String,
    },
    /// The file is a database of another program.
    #[error(
        "{} is a database of another program (application id {found:#010x}, expected {expected:#010x})", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "{} was written by a newer version of Oneiric (schema {found}, this one knows up to {expected})", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that this program knows.
        expected: u32,
    },
    /// Somebody else has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Something that is no plain file of one name is in its place.
    #[error("{} is not used: {what}", path.display())]
    UnsafeFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A file that is to be written is there already.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Whoever asked for it does not want it any more.
    #[error("interrupted; {} is as it was", path.display())]
    Interrupted {
        /// The file that was to be replaced.
        path: PathBuf,
    },
    /// A text is too long to be kept.
    #[error("{what} is {bytes} bytes long, at most {most} are kept")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        most: usize,
    },
    /// What another layer's rule says no to.
    #[error("{0}")]
    Rule(StoreError),
    /// A defect of ours.
    #[error("internal error: {message}")]
    Internal {
        /// What is known about it.
        message: String,
    },
}

impl StateError {
    /// What SQLite says about `path`, in our words.
    pub(crate) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        let path = path.to_owned();
        let message = error.to_string();
        let Some(code) = error.sqlite_error_code() else {
            return match error {
                Sql::FromSqlConversionFailure(..)
                | Sql::IntegralValueOutOfRange(..)
                | Sql::InvalidColumnType(..)
                | Sql::Utf8Error(..)
                | Sql::QueryReturnedNoRows => Self::Corrupt { path, message },
                _ => Self::Internal { message },
            };
        };
        // A page that should be there and is not: the file was cut off.
        let short_read = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ);
        match code {
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Self::Corrupt { path, message },
            ErrorCode::SystemIoFailure if short_read => Self::Corrupt { path, message },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { path },
            ErrorCode::DiskFull => Self::DiskFull { path },
            ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure => Self::Unwritable { path, message },
            // Tables that are missing or different: somebody else was at it.
            ErrorCode::Unknown | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
                Self::Corrupt { path, message }
            }
            _ => Self::Internal { message },
        }
    }

    pub(crate) fn io_write(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Unwritable {
                path,
                message: error.to_string(),
            },
        }
    }

    pub(crate) fn io_read(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            message: error.to_string(),
        }
    }

    pub(crate) fn interrupted(path: &Path) -> Self {
        Self::Interrupted {
            path: path.to_owned(),
        }
    }

    pub(crate) fn corrupt(path: &Path, message: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Returns a next step for the person who reads it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unwritable { path, .. } => format!(
                "let this user write to {}, or choose another state directory",
                folder(path).display()
            ),
            Self::DiskFull { path } => format!(
                "free some space where {} lies; what serves goes on serving",
                folder(path).display()
            ),
            Self::Unreadable { .. } => "check that the file is there and that this user may read it".to_owned(),
            Self::Corrupt { .. } => "nothing was changed; `oneiric state restore FILE` puts a backup in its place and keeps this one, or move it away to start anew".to_owned(),
            Self::Foreign { .. } => "nothing was changed; choose another state directory, or move the file away if it does not belong here".to_owned(),
            Self::Newer { .. } => "use the version of Oneiric that wrote it or a newer one, or restore a backup made before the upgrade; nothing was changed".to_owned(),
            Self::Locked { .. } => "stop the process that uses it; for a look while it runs, `oneiric state show` and `oneiric state backup FILE`".to_owned(),
            Self::UnsafeFile { .. } => "put the file itself there; if it has two names, copy it and remove one of them".to_owned(),
            Self::Exists { .. } => "name another file, or remove it first".to_owned(),
            Self::Interrupted { .. } => "nothing was changed; say it again when you want it".to_owned(),
            Self::TooLarge { .. } => "say it in fewer words".to_owned(),
            Self::Rule(error) => return error.hint().map(str::to_owned),
            Self::Internal { .. } => return None,
        })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

impl Coded for StateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => "sqlite.unwritable",
            Self::DiskFull { .. } => "sqlite.disk_full",
            Self::Unreadable { .. } => "sqlite.unreadable",
            Self::Corrupt { .. } => "sqlite.corrupt",
            Self::Foreign { .. } => "sqlite.foreign",
            Self::Newer { .. } => "sqlite.newer",
            Self::Locked { .. } => "sqlite.locked",
            Self::UnsafeFile { .. } => "sqlite.unsafe_file",
            Self::Exists { .. } => "sqlite.exists",
            Self::Interrupted { .. } => "sqlite.interrupted",
            Self::TooLarge { .. } => "sqlite.too_large",
            Self::Rule(error) => error.code(),
            Self::Internal { .. } => "sqlite.internal",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unwritable { .. } | Self::DiskFull { .. } | Self::Interrupted { .. } => {
                ErrorKind::Unavailable
            }
            Self::Unreadable { .. }
            | Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::UnsafeFile { .. } => ErrorKind::Config,
            Self::Locked { .. } => ErrorKind::Busy,
            Self::Exists { .. } | Self::TooLarge { .. } => ErrorKind::Usage,
            Self::Rule(error) => error.kind(),
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}

impl From<StateError> for StoreError {
    fn from(error: StateError) -> Self {
        if let StateError::Rule(error) = error {
            return error;
        }
        let hint = error.hint();
        let converted = Self::new(error.code(), error.kind(), &error);
        match hint {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}
