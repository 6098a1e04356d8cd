//! `init`: a settings file to begin with. It is whole or not there, and a file that is there is nobody's to replace but
//! the person's who says so.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use oneiric_core::ErrorKind;
use oneiric_runtime::settings_sample;
use serde_json::json;

use crate::args::Init;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::harmless;

pub(super) fn run(args: &Init) -> Result<Output, Failure> {
    let file = &args.file;
    if file.extension().is_none_or(|ending| ending != "toml") {
        let message = format!(
            "{} does not end in .toml, and TOML is what is written",
            file.display()
        );
        return Err(Failure::new("cli.init_refused", ErrorKind::Usage, message));
    }
    match write(file, &settings_sample(), args.force) {
        Ok(()) => {
            let shown = file.display().to_string();
            let text = format!(
                "wrote {shown}: every key is in it as a comment\n  `oneiric run --config {shown}` starts with it\n",
                shown = harmless(&shown)
            );
            let document =
                json!({"schema": "oneiric.init/1", "file": shown, "replaced": args.force});
            Ok(Output::new(text, document))
        }
        Err(error) if error.kind() == IoKind::AlreadyExists => {
            let message = format!("{} is there already and was not touched", file.display());
            let failure = Failure::new("cli.init_refused", ErrorKind::Config, message);
            Err(failure.hint("--force replaces it; or name another file"))
        }
        Err(error) => {
            let message = format!("cannot write {}: {error}", file.display());
            Err(Failure::new(
                "cli.init_failed",
                ErrorKind::Unavailable,
                message,
            ))
        }
    }
}

/// Writes a whole file under another name and then gives it its own: nobody sees half of it, and without `force` the
/// system itself refuses a name that is taken.
fn write(file: &Path, text: &str, force: bool) -> io::Result<()> {
    let unfinished = beside(file);
    let written = write_new(&unfinished, text).and_then(|()| {
        if force {
            fs::rename(&unfinished, file)
        } else {
            fs::hard_link(&unfinished, file)
        }
    });
    // After a rename it is gone already; otherwise it is of no use to anybody.
    drop(fs::remove_file(&unfinished));
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A name beside the file that no other process uses.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(file: &Path, force: bool) -> Result<Output, Failure> {
        let file = file.to_owned();
        run(&Init { file, force })
    }

    #[test]
    fn a_file_that_is_there_is_not_touched_without_force() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("oneiric.toml");
        init(&file, false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), settings_sample());
        File::create(&file).unwrap().write_all(b"mine").unwrap();
        assert_eq!(init(&file, false).unwrap_err().code, "cli.init_refused");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        init(&file, true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), settings_sample());
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "no unfinished file stays");
    }

    #[test]
    fn a_link_to_nowhere_is_a_name_that_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("oneiric.toml");
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert_eq!(init(&file, false).unwrap_err().code, "cli.init_refused");
    }

    #[test]
    fn what_cannot_be_written_is_said_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let failure = init(&dir.path().join("no/oneiric.toml"), false).unwrap_err();
        assert_eq!(failure.code, "cli.init_failed");
        let failure = init(&dir.path().join("oneiric.yaml"), false).unwrap_err();
        assert_eq!(failure.code, "cli.init_refused");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
