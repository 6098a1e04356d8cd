//! The one seam through which this crate makes, names, moves and syncs files around SQLite, which has its own.
//!
//! A power cut takes what was not synced: bytes of a file, and names in a folder. No test that kills a process shows
//! that, because the system still has them. So each step is noted here in tests, and `crash.rs` builds what a disk may
//! hold after each prefix of the steps and looks whether it can be gone on with.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What was done, for tests.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Create(std::path::PathBuf),
    Link(std::path::PathBuf, std::path::PathBuf),
    Rename(std::path::PathBuf, std::path::PathBuf),
    Remove(std::path::PathBuf),
    /// What the file holds is on the disk.
    Sync(std::path::PathBuf, Vec<u8>),
    /// So are the names in the folder of this file.
    SyncFolder(std::path::PathBuf),
}

#[cfg(test)]
std::thread_local! {
    /// The steps of this thread since they were last taken.
    pub(crate) static STEPS: std::cell::RefCell<Vec<Step>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// In tests, notes a step that was done.
macro_rules! note {
    ($step:expr) => {
        #[cfg(test)]
        STEPS.with_borrow_mut(|steps| steps.push($step));
    };
}

/// Makes an empty file that only this user may read; never over another.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    note!(Step::Create(path.to_owned()));
    Ok(file)
}

/// Gives a file a second name; never over another.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    note!(Step::Link(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Moves a name, over the one that is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    note!(Step::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Takes a name away.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    note!(Step::Remove(path.to_owned()));
    Ok(())
}

/// Makes durable what a file holds.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.sync_all()?;
    #[cfg(test)]
    let bytes = fs::read(path)?;
    note!(Step::Sync(path.to_owned(), bytes));
    Ok(())
}

/// Makes durable which names there are beside `path`.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()?;
    note!(Step::SyncFolder(path.to_owned()));
    Ok(())
}
