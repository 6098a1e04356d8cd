//! Reading and writing the repository's files with errors that name the file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Failure;

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}

/// Replaces a file in one step, so that an interrupted task never leaves half of one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let temporary = path.with_extension("xtask-new");
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create(&temporary)?.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// Every file below a folder, sorted; none if the folder does not exist.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(|error| {
                Failure::failed(format!("cannot list {}: {error}", folder.display()))
            })?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The first line in which two texts differ, for a person who wonders why a check says no.
pub(crate) fn first_difference(old: &str, new: &str) -> Option<String> {
    let mut old_lines = old.lines();
    let mut new_lines = new.lines();
    for number in 1.. {
        match (old_lines.next(), new_lines.next()) {
            (None, None) => break,
            (was, is) if was == is => {}
            (was, is) => {
                let show = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
                return Some(format!(
                    "line {number}\n  - {}\n  + {}",
                    show(was),
                    show(is)
                ));
            }
        }
    }
    (old != new).then(|| "the end of the last line".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_names_the_line_and_both_texts() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            first_difference("a\nb\n", "a\nc\n").as_deref(),
            Some("line 2\n  - b\n  + c")
        );
        assert_eq!(
            first_difference("a\n", "a\nb\n").as_deref(),
            Some("line 2\n  - (end of file)\n  + b")
        );
        assert!(first_difference("a", "a\n").is_some());
    }

    #[test]
    fn replacing_a_file_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/file.md");
        replace(&path, "one").expect("writes into a new folder");
        replace(&path, "two").expect("writes over the old file");
        assert_eq!(read(&path).expect("reads back"), "two");
        assert_eq!(below(folder.path()).expect("lists"), [path]);
    }
}
