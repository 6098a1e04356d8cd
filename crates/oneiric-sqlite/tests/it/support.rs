//! A state directory, a clock that stands still, and short ways to say things.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use oneiric_core::{Coded, WallClock};
use oneiric_domains::Revision;
use oneiric_sqlite::{FILE_NAME, StateDb, StateError};
use tempfile::TempDir;

/// A clock that a test sets.
#[derive(Debug, Default)]
pub(crate) struct Hand(pub(crate) AtomicU64);

impl WallClock for Hand {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A directory with a database in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) hand: Arc<Hand>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            hand: Arc::default(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(FILE_NAME)
    }

    pub(crate) fn try_open(&self) -> Result<StateDb, StateError> {
        self.try_open_at(&self.path())
    }

    pub(crate) fn try_open_at(&self, path: &Path) -> Result<StateDb, StateError> {
        StateDb::open(path, Arc::clone(&self.hand) as Arc<dyn WallClock>)
    }

    pub(crate) fn open(&self) -> StateDb {
        self.try_open().unwrap()
    }
}

pub(crate) fn revision(number: u64, slot: &str, provider: Option<&str>) -> Revision {
    Revision {
        revision: number,
        slot: slot.parse().unwrap(),
        provider: provider.map(|name| name.parse().unwrap()),
        before: None,
        who: "uid:1".into(),
        reason: None,
        at_unix_ms: number,
        undoes: None,
    }
}

pub(crate) fn code<T: std::fmt::Debug>(
    result: Result<T, impl Coded + std::fmt::Debug>,
) -> &'static str {
    result.unwrap_err().code()
}
