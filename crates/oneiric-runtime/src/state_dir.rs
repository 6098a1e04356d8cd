//! The state directory: private to its user (0700), and locked by one process at a time.
//!
//! The lock is the operating system's on an open file, so that it is gone with the process however that ends; the
//! file's content (a process id) is only for the message that the second process prints.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::error::RuntimeError;

/// The name of the admin socket in a state directory.
pub const SOCKET_NAME: &str = "admin.sock";
const LOCK_NAME: &str = "lock";

/// Returns the path of the admin socket in a state directory.
#[must_use]
pub fn socket_in(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET_NAME)
}

/// What a socket address holds, without the zero at its end.
#[cfg(any(feature = "admin", feature = "client"))]
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Tells whether a path fits into a socket address; if not, gives its length and the longest that does.
#[cfg(any(feature = "admin", feature = "client"))]
pub(crate) fn fits_address(path: &Path) -> Result<(), (usize, usize)> {
    use std::os::unix::ffi::OsStrExt;

    let length = path.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH {
        Err((length, MAX_SOCKET_PATH))
    } else {
        Ok(())
    }
}

/// A state directory that this process has to itself, until dropped.
#[derive(Debug)]
pub(crate) struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the directory (0700) if need be, and locks it. Blocks, briefly.
    pub(crate) fn enter(path: &Path) -> Result<Self, RuntimeError> {
        let unusable = |doing, path: &Path, source| {
            let path = path.to_owned();
            RuntimeError::StateDir {
                doing,
                path,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| unusable("making it", path, error))?;
        let mode = path
            .metadata()
            .map_err(|error| unusable("looking at it", path, error))?
            .mode();
        // Whoever may write there could put another socket in place of ours; whoever may read there could see what is
        // kept. It is the user's directory, so the user closes it, not we.
        if mode & 0o077 != 0 {
            return Err(RuntimeError::StateDirOpen {
                path: path.to_owned(),
                mode: mode & 0o7777,
            });
        }
        let lock_path = path.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut lock = options
            .open(&lock_path)
            .map_err(|error| unusable("opening the lock", path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = lock.take(20).read_to_string(&mut holder);
                let holder = read.ok().and_then(|_| holder.trim().parse().ok());
                return Err(RuntimeError::AlreadyRunning {
                    state_dir: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable("locking it", path, error)),
        }
        let noted = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(|error| unusable("writing the lock", path, error))?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use oneiric_core::Coded;

    use super::*;

    #[test]
    fn p21_a_second_lock_on_a_state_directory_is_refused_and_names_the_holder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let held = StateDir::enter(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        let refused = StateDir::enter(&path).unwrap_err();
        assert_eq!(refused.code(), "runtime.already_running");
        assert!(
            refused
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        StateDir::enter(&path).unwrap();
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused_with_its_mode_and_the_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        for mode in [0o777, 0o755, 0o750, 0o710, 0o701, 0o1770] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            let refused = StateDir::enter(path).unwrap_err();
            assert_eq!(refused.code(), "runtime.state_dir_unusable", "{mode:o}");
            let text = refused.to_string();
            assert!(text.ends_with(&format!("(mode {mode:o})")), "{text}");
            let remedy = format!("chmod 700 {}", path.display());
            assert!(refused.hint().unwrap().ends_with(&remedy));
            assert_eq!(path.read_dir().unwrap().count(), 0, "nothing was written");
        }
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        StateDir::enter(path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        File::create(&path).unwrap();
        assert_eq!(
            StateDir::enter(&path).unwrap_err().code(),
            "runtime.state_dir_unusable"
        );
    }
}
