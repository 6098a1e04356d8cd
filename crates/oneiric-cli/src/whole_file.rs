//! Writes small files whole or not at all: under a name beside their own, from where they are moved when they are on the
//! disk. Signals wait until that is done; what a killed process left is removed by the next one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use oneiric_sqlite::{sweep_unfinished, unfinished_name};

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stays, and that is an error ([`io::ErrorKind::AlreadyExists`]): the system itself sees to it.
    Refuse,
    /// It is replaced in one step.
    Replace,
}

/// Writes `bytes` to `file`. Blocks.
pub(crate) fn write(file: &Path, bytes: &[u8], taken: Taken) -> io::Result<()> {
    sweep_unfinished(file);
    let unfinished = unfinished_name(file);
    let written = write_new(&unfinished, bytes).and_then(|()| match taken {
        Taken::Replace => fs::rename(&unfinished, file),
        Taken::Refuse => fs::hard_link(&unfinished, file),
    });
    // After a rename it is gone already; otherwise it is of no use to anybody.
    drop(fs::remove_file(&unfinished));
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let left = format!("a.toml.unfinished-{}", child.id());
        File::create(dir.path().join(left)).unwrap();
        write(&file, b"mine", Taken::Refuse).unwrap();
        let taken = write(&file, b"other", Taken::Refuse).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        write(&file, b"other", Taken::Replace).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
