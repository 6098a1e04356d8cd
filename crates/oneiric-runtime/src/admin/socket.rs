//! The socket's file: opened where nobody serves any more, and removed at the end only if it is still ours.
//!
//! A socket outlives a process that is killed, so one that is found may be dead; but it is replaced only when the
//! system says that nobody listens. Any other answer, such as one of a process whose queue is full, is no licence
//! to take the place of somebody who serves.
//!
//! Its directory must be out of others' hands. Between making the socket and closing it to others there is a moment
//! in which whoever may write there could put a link in its place, and later a socket of their own.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use tokio::net::UnixListener;

use crate::{error::RuntimeError, state_dir};

/// A socket file that this process made.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// The user who may use it besides root.
    pub(super) owner: u32,
}

impl SocketFile {
    /// Opens the socket. Replaces one that nobody serves any more.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, Self), RuntimeError> {
        state_dir::fits_address(path).map_err(|(length, limit)| {
            let path = path.to_owned();
            RuntimeError::SocketPathTooLong {
                path,
                length,
                limit,
            }
        })?;
        let unusable = |source| {
            let path = path.to_owned();
            RuntimeError::Socket { path, source }
        };
        let owner = geteuid().as_raw();
        private(state_dir::folder_of(path), owner).map_err(unusable)?;
        // The lock on the state directory says nothing about a socket that is set to lie elsewhere.
        match found(path).map_err(unusable)? {
            Found::Nothing => {}
            Found::Served => {
                let path = path.to_owned();
                return Err(RuntimeError::SocketInUse { path });
            }
            Found::Dead => fs::remove_file(path).map_err(unusable)?,
        }
        let listener = UnixListener::bind(path).map_err(unusable)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(unusable)?;
        let ours = fs::symlink_metadata(path).map_err(unusable)?;
        let file = Self {
            path: path.to_owned(),
            identity: identity(&ours),
            owner,
        };
        Ok((listener, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, unless somebody put something else in its place.
    pub(super) fn remove(&self) {
        match fs::symlink_metadata(&self.path) {
            Ok(there) if identity(&there) == self.identity => {
                // Whoever removed it just now did what was to be done.
                drop(fs::remove_file(&self.path));
            }
            Ok(_) => tracing::warn!("the admin socket was replaced by something else, which stays"),
            Err(_) => {}
        }
    }
}

/// Refuses a directory in which others could replace what `user` puts there. Where it is sticky they cannot.
fn private(directory: &Path, user: u32) -> io::Result<()> {
    let about = fs::metadata(directory)?;
    let (owner, mode) = (about.uid(), about.mode());
    let refused = |message| Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    if owner != user && owner != 0 {
        return refused(format!(
            "its directory belongs to user {owner}, who could put another socket there"
        ));
    }
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return refused(format!(
            "others may write to its directory (mode {:o}) and put another socket there; chmod go-w {} closes it",
            mode & 0o7777,
            directory.display()
        ));
    }
    Ok(())
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

enum Found {
    Nothing,
    Dead,
    Served,
}

fn found(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else is in its place",
            ));
        }
        Ok(_) => {}
    }
    // Without waiting: a process that is stopped, with its queue full, would hold us up for ever.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    answer(connect(&probe, &SocketAddrUnix::new(path)?))
}

/// What a socket is, by what connecting to it gave.
fn answer(connected: Result<(), Errno>) -> io::Result<Found> {
    match connected {
        Ok(()) | Err(Errno::AGAIN) => Ok(Found::Served),
        Err(Errno::CONNREFUSED) => Ok(Found::Dead),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdUnixListener;

    use oneiric_core::Coded;

    use super::*;

    fn bind(path: &Path) -> Result<SocketFile, RuntimeError> {
        SocketFile::bind(path).map(|(_, file)| file)
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_one_that_is_served_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let served = StdUnixListener::bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err().code(), "runtime.socket_in_use");
        drop(served);
        bind(&path).unwrap();
    }

    #[test]
    fn only_a_refused_connection_says_that_a_socket_is_dead() {
        assert!(matches!(answer(Err(Errno::CONNREFUSED)), Ok(Found::Dead)));
        assert!(matches!(answer(Err(Errno::NOENT)), Ok(Found::Nothing)));
        assert!(matches!(answer(Err(Errno::AGAIN)), Ok(Found::Served)));
        for error in [Errno::MFILE, Errno::ACCESS, Errno::PROTOTYPE] {
            assert!(answer(Err(error)).is_err(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_directory_in_which_others_may_put_things_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for mode in [0o777, 0o770, 0o702] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let refused = bind(&path).unwrap_err();
            assert_eq!(refused.code(), "runtime.socket_unusable", "{mode:o}");
            let text = std::error::Error::source(&refused).unwrap().to_string();
            assert!(text.contains(&format!("mode {mode:o}")), "{text}");
            assert!(!path.exists());
        }
        for mode in [0o755, 0o1777, 0o700] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            bind(&path).unwrap().remove();
        }
        // Only root can give a directory away.
        if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_ok() {
            assert_eq!(bind(&path).unwrap_err().code(), "runtime.socket_unusable");
        }
    }

    #[tokio::test]
    async fn what_replaced_our_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, ours) = SocketFile::bind(&path).unwrap();
        // Moved, not removed: the inode must not be given out again.
        fs::rename(&path, dir.path().join("old")).unwrap();
        let _theirs = StdUnixListener::bind(&path).unwrap();
        ours.remove();
        assert!(path.exists());
        fs::rename(dir.path().join("old"), &path).unwrap();
        ours.remove();
        assert!(!path.exists());
    }
}
