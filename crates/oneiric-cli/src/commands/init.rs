//! `init`: a settings file to begin with. It is whole or not there, and a file that is there is nobody's to replace but
//! the person's who says so.

use std::io::ErrorKind as IoKind;

use oneiric_core::ErrorKind;
use oneiric_runtime::settings_sample;
use serde_json::json;

use crate::args::Init;
use crate::failure::{Failure, NO_TARGET};
use crate::output::Output;
use crate::paint::harmless;
use crate::whole_file::{Taken, write};

pub(super) fn run(args: &Init) -> Result<Output, Failure> {
    let file = &args.file;
    if file.extension().is_none_or(|ending| ending != "toml") {
        let message = format!(
            "{} does not end in .toml, and TOML is what is written",
            file.display()
        );
        return Err(Failure::new("cli.init_refused", ErrorKind::Usage, message));
    }
    let taken = if args.force {
        Taken::Replace
    } else {
        Taken::Refuse
    };
    match write(file, settings_sample().as_bytes(), taken) {
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
            // As a backup whose name is taken.
            let failure = Failure::new("cli.init_refused", ErrorKind::Usage, message);
            Err(failure.hint("--force replaces it; or name another file"))
        }
        Err(error) => {
            let message = format!("cannot write {}: {error}", file.display());
            let failure = Failure::new("cli.init_failed", ErrorKind::Unavailable, message);
            Err(failure.hint(NO_TARGET))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;

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
