//! The state directory: private to its user (0700), and locked by one process at a time.
//!
//! Whoever only looks at what is in it locks it too, but shares the lock with others who look. A process that is to run
//! tells the two apart, and waits a while for the second kind to be done: a look must not keep a service down.
//!
//! The lock is the operating system's on an open file, so that it is gone with the process however that ends; the
//! file's content (a process id) is only for the message that the second process prints.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{fs::OFlags, process::geteuid};

use crate::error::RuntimeError;

/// The name of the admin socket in a state directory.
pub const SOCKET_NAME: &str = "admin.sock";
const LOCK_NAME: &str = "lock";

/// How often, and with what pause, a process asks whether those who look are done: for half a minute.
const ASKS: u32 = 1_500;
const PAUSE: Duration = Duration::from_millis(20);

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

/// The directory in which a socket lies.
#[cfg(any(feature = "admin", feature = "client"))]
pub(crate) fn folder_of(socket: &Path) -> &Path {
    socket
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A state directory that this process has to itself, until dropped.
///
/// [`Runtime::run`](crate::Runtime::run) takes it; whoever changes what is in it while nothing runs does the same.
#[derive(Debug)]
pub struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the directory (0700) if need be, and locks it. Blocks, up to half a minute while somebody only
    /// [looks](StateDir::look) at what is in it.
    ///
    /// # Errors
    /// `runtime.already_running`, `runtime.state_dir_looked_at`, `runtime.state_dir_unusable`.
    pub fn enter(path: &Path) -> Result<Self, RuntimeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| unusable("making it", path, error))?;
        let directory = path
            .metadata()
            .map_err(|error| unusable("looking at it", path, error))?;
        // The owner may open it to anybody at any time, and put what they like into it.
        if !trusted(directory.uid(), geteuid().as_raw()) {
            let owner = format!("it belongs to user {}", directory.uid());
            let error = io::Error::new(io::ErrorKind::PermissionDenied, owner);
            return Err(unusable("it is another user's", path, error));
        }
        // Whoever may write there could put another socket in place of ours; whoever may read there could see what is
        // kept. It is the user's directory, so the user closes it, not we.
        let mode = directory.mode();
        if mode & 0o077 != 0 {
            return Err(RuntimeError::StateDirOpen {
                path: path.to_owned(),
                mode: mode & 0o7777,
            });
        }
        let mut lock = open_lock(&path.join(LOCK_NAME))
            .map_err(|error| unusable("opening the lock", path, error))?;
        take(&lock, path, ASKS)?;
        let noted = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(|error| unusable("writing the lock", path, error))?;
        Ok(Self { _lock: lock })
    }

    /// Keeps processes from beginning to run in the directory for as long as what is returned is held: they wait for
    /// it, for a while. Others may look at the same time. Makes and changes nothing; `None` for a directory in which
    /// nothing ever ran. Blocks, briefly.
    ///
    /// # Errors
    /// `runtime.already_running`, `runtime.state_dir_unusable`.
    pub fn look(path: &Path) -> Result<Option<Self>, RuntimeError> {
        let lock = OpenOptions::new()
            .read(true)
            .custom_flags(lock_flags())
            .open(path.join(LOCK_NAME));
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable("opening the lock", path, error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Some(Self { _lock: lock })),
            Err(TryLockError::WouldBlock) => Err(already_running(&lock, path)),
            Err(TryLockError::Error(error)) => Err(unusable("locking it", path, error)),
        }
    }
}

/// Locks it for this process alone. Those who only look are asked so often whether they are done.
fn take(lock: &File, path: &Path, asks: u32) -> Result<(), RuntimeError> {
    for ask in 0..asks {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(unusable("locking it", path, error)),
        }
        match lock.try_lock_shared() {
            // Whoever it is shares it.
            Ok(()) => lock
                .unlock()
                .map_err(|error| unusable("locking it", path, error))?,
            Err(TryLockError::WouldBlock) => return Err(already_running(lock, path)),
            Err(TryLockError::Error(error)) => return Err(unusable("locking it", path, error)),
        }
        if ask == 0 {
            tracing::info!(state_dir = %path.display(), "waiting for somebody who looks at the state");
        }
        std::thread::sleep(PAUSE);
    }
    Err(RuntimeError::StateDirLookedAt {
        path: path.to_owned(),
    })
}

fn already_running(lock: &File, path: &Path) -> RuntimeError {
    let mut holder = String::new();
    let read = lock.take(20).read_to_string(&mut holder);
    RuntimeError::AlreadyRunning {
        state_dir: path.to_owned(),
        holder: read.ok().and_then(|_| holder.trim().parse().ok()),
    }
}

fn unusable(doing: &'static str, path: &Path, source: io::Error) -> RuntimeError {
    RuntimeError::StateDir {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Neither waiting for the other end of a pipe nor following a link.
const fn lock_flags() -> i32 {
    OFlags::NOFOLLOW
        .union(OFlags::NONBLOCK)
        .bits()
        .cast_signed()
}

/// Opens the lock, which must be a file of its own: through a link the process id would be written over whatever it
/// points to. Nothing of it is changed before the lock is held.
fn open_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(lock_flags())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let other = "something that is no file is in its place";
        Err(io::Error::new(io::ErrorKind::AlreadyExists, other))
    }
}

/// Only this user's directory will do, even for root: its owner decides what lies in it.
const fn trusted(owner: u32, user: u32) -> bool {
    owner == user
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use oneiric_core::{Coded, ErrorKind};

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
    fn whoever_looks_holds_up_a_process_and_no_one_else_and_is_refused_while_one_runs() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        assert!(StateDir::look(&path).unwrap().is_none());
        assert!(!path.exists(), "nothing was made");
        let runs = StateDir::enter(&path).unwrap();
        let refused = StateDir::look(&path).unwrap_err();
        assert_eq!(refused.code(), "runtime.already_running");
        let said = format!("process {}", std::process::id());
        assert!(refused.to_string().contains(&said), "{refused}");
        drop(runs);
        let looks = StateDir::look(&path).unwrap().unwrap();
        let also = StateDir::look(&path).unwrap().unwrap();
        std::thread::scope(|scope| {
            let enters = scope.spawn(|| StateDir::enter(&path));
            drop(also);
            // Refused at once, if it were to be.
            std::thread::sleep(PAUSE * 3);
            assert!(!enters.is_finished());
            drop(looks);
            enters.join().unwrap().unwrap();
        });
        let _looks = StateDir::look(&path).unwrap().unwrap();
        let lock = open_lock(&path.join(LOCK_NAME)).unwrap();
        let refused = take(&lock, &path, 2).unwrap_err();
        let expected = ("runtime.state_dir_looked_at", ErrorKind::Unavailable);
        assert_eq!((refused.code(), refused.kind()), expected);
        assert!(refused.hint().is_some());
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

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_what_it_points_to_is_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("precious");
        File::create(&elsewhere)
            .unwrap()
            .write_all(b"kept")
            .unwrap();
        let state = dir.path().join("state");
        DirBuilder::new().mode(0o700).create(&state).unwrap();
        std::os::unix::fs::symlink(&elsewhere, state.join(LOCK_NAME)).unwrap();
        let refused = StateDir::enter(&state).unwrap_err();
        assert_eq!(refused.code(), "runtime.state_dir_unusable");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "kept");
    }

    #[test]
    fn a_lock_that_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join(LOCK_NAME);
        let _socket = std::os::unix::net::UnixListener::bind(&lock).unwrap();
        let refused = StateDir::enter(dir.path()).unwrap_err();
        assert_eq!(refused.code(), "runtime.state_dir_unusable");
        std::fs::remove_file(&lock).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &lock, mode).unwrap();
        let refused = StateDir::enter(dir.path()).unwrap_err();
        assert_eq!(refused.code(), "runtime.state_dir_unusable");
    }

    #[cfg(any(feature = "admin", feature = "client"))]
    #[test]
    fn a_socket_without_a_directory_lies_in_this_one() {
        assert_eq!(folder_of(Path::new("s")), Path::new("."));
        assert_eq!(folder_of(Path::new("/run/s")), Path::new("/run"));
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        assert!(trusted(1000, 1000) && !trusted(1001, 1000) && !trusted(0, 1000));
        assert!(!trusted(1000, 0));
        let dir = tempfile::tempdir().unwrap();
        // Only root can give a directory away.
        if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_ok() {
            let refused = StateDir::enter(dir.path()).unwrap_err();
            assert_eq!(refused.code(), "runtime.state_dir_unusable");
            assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        }
    }
}
