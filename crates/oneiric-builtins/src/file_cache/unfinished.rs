//! Files that are written beside their place and renamed into it once they are whole.
//!
//! What a killed process left behind keeps its name for a while, for somebody might still be at it. A
//! process id does not tell one process from the next: in a container it is the same at every start. So
//! names carry a random number, drawn anew by each instance.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How files begin that were not yet renamed to what they are to be.
const UNFINISHED: &str = "unfinished-";

/// How many names may be taken in a row before we no longer believe it.
const TRIES: usize = 16;

pub(super) fn is_name(file_name: &OsStr) -> bool {
    let name = file_name.to_str();
    name.is_some_and(|name| name.starts_with(UNFINISHED))
}

/// Names in a directory that nobody uses, in this process or another.
#[derive(Debug)]
pub(super) struct Names {
    instance: u64,
    count: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            // Each state is keyed at random by std: the one source of chance that needs no crate.
            instance: RandomState::new().hash_one(std::process::id()),
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self, prefix: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{:016x}-{count}", self.instance)
    }

    pub(super) fn unfinished(&self) -> String {
        self.next(UNFINISHED)
    }
}

/// A file that is removed again unless it is renamed to what it is to be.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Makes a file of its own, for its owner only.
    pub(super) fn create(directory: &Path, names: &Names) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut tries = 0;
        loop {
            let path = directory.join(names.unfinished());
            tries += 1;
            match options.open(&path) {
                Ok(file) => return Ok((Self { path }, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to what it is to be; after an error it is as unfinished as before.
    pub(super) fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.path.clear();
        Ok(())
    }

    /// Renames it to another name that nobody uses, where it is still removed in the end.
    pub(super) fn rename_unfinished(&mut self, directory: &Path, names: &Names) -> io::Result<()> {
        let to = directory.join(names.unfinished());
        fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    pub(super) fn remove(mut self) -> io::Result<()> {
        fs::remove_file(std::mem::take(&mut self.path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // The error that brought us here is the one to report; the file is swept at a start.
            let _reported_already = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instances_of_one_process_id_use_the_same_name() {
        let (killed, next) = (Names::new(), Names::new());
        assert_ne!(killed.unfinished(), next.unfinished());
    }

    #[test]
    fn names_that_are_taken_are_passed_over_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names::new();
        let take = |counts: std::ops::Range<usize>| {
            for count in counts {
                let name = format!("{UNFINISHED}{:016x}-{count}", names.instance);
                File::create(directory.path().join(name)).unwrap();
            }
        };
        take(0..3);
        let (made, _file) = Unfinished::create(directory.path(), &names).unwrap();
        assert!(made.path().exists());

        take(4..4 + TRIES);
        let error = Unfinished::create(directory.path(), &names).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
}
