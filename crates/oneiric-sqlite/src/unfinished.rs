//! What a file is called until it is whole: its own name, `.unfinished-` and the id of the process that writes it.
//!
//! Whoever is stopped in good order removes its own. Who is killed cannot, so the next one that writes a file of the
//! same name removes what processes left that are gone. Only plain files of exactly such a name are touched, and
//! nothing of a process that lives.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::open;

const MARK: &str = ".unfinished-";

/// Returns what `to` is called while this process writes it.
#[must_use]
pub fn unfinished_name(to: &Path) -> PathBuf {
    open::with_ending(to, &format!("{MARK}{}", std::process::id()))
}

/// Removes what processes that are gone left of their attempts to write `to`. What cannot be removed stays. Blocks.
pub fn sweep_unfinished(to: &Path) {
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (Some(name), Ok(entries)) = (to.file_name(), fs::read_dir(folder)) else {
        return;
    };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process = found
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(MARK.as_bytes()))
            .and_then(process);
        let is_left = process.is_some_and(is_gone)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && open::remove_unfinished(&entry.path()).is_ok();
        if is_left {
            tracing::info!(file = %entry.path().display(), "removed what a process left that is gone");
        }
    }
}

/// The process id that `digits` are, written as we write it.
fn process(digits: &[u8]) -> Option<Pid> {
    let digits = std::str::from_utf8(digits).ok()?;
    let number: i32 = digits.parse().ok()?;
    // Not `+7` or `007`, which others may have called a file.
    let is_ours = number > 0 && number.to_string() == digits;
    is_ours.then(|| Pid::from_raw(number))?
}

fn is_gone(process: Pid) -> bool {
    test_kill_process(process) == Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a process that was waited for.
    fn of_a_process_that_is_gone() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn only_plain_files_of_processes_that_are_gone_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let gone = of_a_process_that_is_gone();
        let to = dir.path().join("one.db");
        let own = unfinished_name(&to);
        let stays = [
            own.file_name().unwrap().to_str().unwrap().to_owned(),
            "one.db".to_owned(),
            "one.db.unfinished-".to_owned(),
            "one.db.unfinished-0".to_owned(),
            "one.db.unfinished-1".to_owned(),
            format!("one.db.unfinished-+{gone}"),
            format!("one.db.unfinished-0{gone}"),
            format!("one.db.unfinished--{gone}"),
            format!("one.db.unfinished-{gone}.txt"),
            format!("two.db.unfinished-{gone}"),
        ];
        for name in &stays {
            fs::File::create(dir.path().join(name)).unwrap();
        }
        let left = dir.path().join(format!("one.db.unfinished-{gone}"));
        for file in open::beside(&left).iter().chain([&left]) {
            fs::File::create(file).unwrap();
        }
        sweep_unfinished(&to);
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut stays = stays.to_vec();
        stays.sort();
        assert_eq!(names, stays);
    }

    #[test]
    fn what_is_no_plain_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let gone = of_a_process_that_is_gone();
        let to = dir.path().join("one.db");
        let left = dir.path().join(format!("one.db.unfinished-{gone}"));
        std::os::unix::fs::symlink("elsewhere", &left).unwrap();
        sweep_unfinished(&to);
        assert!(left.is_symlink());
        fs::remove_file(&left).unwrap();
        fs::create_dir(&left).unwrap();
        sweep_unfinished(&to);
        assert!(left.is_dir());
    }
}
