//! Secrets in private files: `secret://file/NAME` is the file NAME in one directory.
//!
//! A file is taken only if nobody but this user and root can have read or written it: a secret that
//! others could read is none, and one that they could write is theirs. Everything is looked at on the
//! file that was opened, never on its name, so that nothing can be exchanged in between; links are
//! not followed, so that a name cannot lead out of the directory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oneiric_core::{BoxFuture, Key};
use oneiric_domains::{MAX_SECRET_BYTES, Secret, SecretError, SecretProvider};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

// Messages leave the directory out: they go to clients as well, and operators have the settings.

/// Bits of a file's mode that let others than its owner do anything.
const OTHERS: u32 = 0o077;
/// Bits of the directory's mode that let others put files into it.
const OTHERS_WRITE: u32 = 0o022;

/// Keeps the files of a directory as secrets, under the provider name `file`.
///
/// A name follows the rule for keys (letters, digits, `_`, `.`, `-`; no `..`). The file is a regular
/// one of at most 64 KiB of UTF-8 text, owned by this user or root, and nobody else has any right to
/// it (mode 0600 or 0400). The directory is owned likewise and nobody else may write to it. One line
/// end at the end of the file is not part of the secret.
pub struct FileSecrets {
    directory: PathBuf,
}

impl FileSecrets {
    /// The files of `directory`, which need not exist before the first secret is asked for.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

impl SecretProvider for FileSecrets {
    fn name(&self) -> &str {
        "file"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        Box::pin(async move {
            let (directory, file) = (self.directory.clone(), name.to_owned());
            let reading = tokio::task::spawn_blocking(move || read(&directory, &file));
            reading.await.unwrap_or_else(|_ending| {
                Err(SecretError::Unavailable {
                    name: name.to_owned(),
                    message: "the process is ending".to_owned(),
                })
            })
        })
    }
}

impl fmt::Debug for FileSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSecrets")
            .field("directory", &self.directory)
            .finish()
    }
}

fn read(directory: &Path, name: &str) -> Result<Secret, SecretError> {
    let found = Found { directory, name };
    if let Err(error) = name.parse::<Key>() {
        return Err(found.unusable(format!("this is no name of a file: {}", error.fault())));
    }
    let file = found.open()?;
    let about = file.metadata().map_err(|error| found.unavailable(&error))?;
    if !about.is_file() {
        return Err(found.not_safe("it is no regular file"));
    }
    found.check_owner(about.uid(), "it")?;
    if about.mode() & OTHERS != 0 {
        let mode = about.mode() & 0o7777;
        return Err(found.not_safe(format!(
            "others than its owner have rights to it (mode {mode:04o}): chmod 600"
        )));
    }
    found.text(file)
}

/// A name in a directory, and what is said about it.
struct Found<'a> {
    directory: &'a Path,
    name: &'a str,
}

impl Found<'_> {
    fn open(&self) -> Result<File, SecretError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.directory, flags | OFlags::DIRECTORY, Mode::empty());
        let directory = File::from(directory.map_err(|error| self.not_opened(error))?);
        let about = directory.metadata();
        let about = about.map_err(|error| self.unavailable(&error))?;
        self.check_owner(about.uid(), "its directory")?;
        if about.mode() & OTHERS_WRITE != 0 {
            return Err(self.not_safe(format!(
                "others than its owner may write to its directory (mode {:04o}): chmod 700",
                about.mode() & 0o7777
            )));
        }
        // A pipe is opened without a writer at its other end, and refused as no regular file.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::openat(&directory, self.name, flags, Mode::empty()) {
            Ok(file) => Ok(File::from(file)),
            Err(Errno::LOOP) => Err(self.not_safe("it is a symbolic link")),
            Err(error) => Err(self.not_opened(error)),
        }
    }

    fn check_owner(&self, owner: u32, what: &str) -> Result<(), SecretError> {
        if owner == 0 || owner == geteuid().as_raw() {
            return Ok(());
        }
        Err(self.not_safe(format!(
            "{what} belongs to another user (uid {owner}), not to this one or root"
        )))
    }

    fn text(&self, file: File) -> Result<Secret, SecretError> {
        // With room for all of it, so that no copy is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 2));
        file.take(MAX_SECRET_BYTES as u64 + 2)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unavailable(&error))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| self.unusable("it is not UTF-8 text".to_owned()))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(self.unusable("the file is empty".to_owned()));
        }
        if text.len() > MAX_SECRET_BYTES {
            let message = format!("the file is longer than {MAX_SECRET_BYTES} bytes");
            return Err(self.unusable(message));
        }
        Ok(Secret::new(text.to_owned()))
    }

    fn not_opened(&self, error: Errno) -> SecretError {
        match error {
            Errno::NOENT => SecretError::NotFound {
                name: self.name.to_owned(),
                message: "there is no such file in the directory of secrets".to_owned(),
            },
            Errno::NOTDIR => self.unusable("the directory of secrets is none".to_owned()),
            // A socket, or a device that nobody serves.
            Errno::NXIO => self.not_safe("it is no regular file"),
            error => self.unavailable(&error.into()),
        }
    }

    fn not_safe(&self, message: impl Into<String>) -> SecretError {
        SecretError::Unsafe {
            name: self.name.to_owned(),
            message: message.into(),
        }
    }

    fn unusable(&self, message: String) -> SecretError {
        SecretError::Unusable {
            name: self.name.to_owned(),
            message,
        }
    }

    fn unavailable(&self, error: &io::Error) -> SecretError {
        SecretError::Unavailable {
            name: self.name.to_owned(),
            message: format!("the file cannot be read: {error}"),
        }
    }
}
