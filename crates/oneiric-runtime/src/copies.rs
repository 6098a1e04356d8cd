//! Copies of the state for whoever asks over the admin API. One lies in the state directory while it is made, because
//! SQLite writes by name; as soon as it is whole it loses that name, and what is sent has none. So nothing is left of
//! it, whoever goes away meanwhile; only a process that is killed leaves one, and the next start removes it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use oneiric_sqlite::StateDb;

use crate::error::RuntimeError;

const NAME: &str = "backup";

/// Copies `db` into a file in `directory` that has no name, and gives it from its beginning. Blocks.
pub(crate) fn nameless(db: &StateDb, directory: &Path) -> Result<File, RuntimeError> {
    let path = next_name(directory);
    db.backup(&path)
        .map_err(|error| RuntimeError::State(error.into()))?;
    let file = File::open(&path);
    let removed = fs::remove_file(&path);
    file.and_then(|file| removed.map(|()| file))
        .map_err(|error| RuntimeError::Internal {
            message: format!("the copy is not there: {error}"),
        })
}

fn next_name(directory: &Path) -> PathBuf {
    static COPIES: AtomicU64 = AtomicU64::new(0);
    let number = COPIES.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{NAME}.{}.{number}", std::process::id()))
}

/// Removes the copies of processes that were killed. Only for whoever holds the lock of the directory. Blocks.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(is_copy)
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        match if ours {
            fs::remove_file(entry.path())
        } else {
            continue;
        } {
            Ok(()) => tracing::info!(
                file = %entry.path().display(),
                "removed a copy that a killed process left"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                file = %entry.path().display(),
                reason = error.to_string(),
                "a copy that a killed process left cannot be removed"
            ),
        }
    }
}

/// Whether a copy is called so: `backup.7.0`, while it is made `backup.7.0.unfinished`, and what SQLite keeps beside.
fn is_copy(name: &str) -> bool {
    let mut parts = name.splitn(4, '.');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    parts.next() == Some(NAME)
        && is_number(parts.next())
        && is_number(parts.next())
        && parts.next().is_none_or(|rest| {
            [
                "unfinished",
                "unfinished-journal",
                "unfinished-wal",
                "unfinished-shm",
            ]
            .contains(&rest)
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oneiric_lifecycle::SystemWallClock;

    use super::*;

    #[test]
    fn a_copy_is_whole_and_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let db = StateDb::open(
            &dir.path().join("state.db"),
            Arc::new(SystemWallClock::new()),
        );
        let db = db.unwrap();
        let before = fs::read_dir(dir.path()).unwrap().count();
        let mut copy = nameless(&db, dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
        let whole = dir.path().join("whole.db");
        io::copy(&mut copy, &mut File::create(&whole).unwrap()).unwrap();
        oneiric_sqlite::check(&whole).unwrap();
    }

    #[test]
    fn only_plain_files_that_carry_our_names_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let stays = [
            "backup",
            "backup.1",
            "backup.1.",
            "backup.1.x",
            "backup.1.0.db",
            "backup..0",
            "my.backup.1.0",
        ];
        let goes = [
            "backup.1.0",
            "backup.12.34.unfinished",
            "backup.1.2.unfinished-journal",
        ];
        for name in stays.iter().chain(&goes) {
            File::create(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("elsewhere", dir.path().join("backup.2.0")).unwrap();
        fs::create_dir(dir.path().join("backup.3.0")).unwrap();
        sweep(dir.path());
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected: Vec<&str> = stays
            .into_iter()
            .chain(["backup.2.0", "backup.3.0"])
            .collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
