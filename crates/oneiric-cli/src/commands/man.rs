//! `man`: the manual, made from the same definitions that parse the command line.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use oneiric_core::ErrorKind;
use serde_json::json;

use crate::args::{Cli, Man};
use crate::failure::Failure;
use crate::output::Output;
use crate::whole_file::{self, Taken};

pub(super) fn run(args: &Man) -> Result<Output, Failure> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let Some(directory) = &args.directory else {
        let page = page(&cli).map_err(|error| unwritten(&error, Path::new("the page")))?;
        let text = String::from_utf8_lossy(&page).into_owned();
        let document = json!({"schema": SCHEMA, "page": text});
        return Ok(Output::new(text, document));
    };
    std::fs::create_dir_all(directory).map_err(|error| unwritten(&error, directory))?;
    let mut files = Vec::new();
    write(&cli, directory, &mut files)?;
    let text: String = files.iter().map(|file| format!("{file}\n")).collect();
    Ok(Output::new(text, json!({"schema": SCHEMA, "files": files})))
}

const SCHEMA: &str = "oneiric.man/1";

/// Writes the page of a command and of each command below it.
fn write(command: &Command, directory: &Path, files: &mut Vec<String>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = directory.join(format!("{name}.1"));
    let page = page(command).map_err(|error| unwritten(&error, &path))?;
    whole_file::write(&path, &page, Taken::Replace).map_err(|error| unwritten(&error, &path))?;
    files.push(path.display().to_string());
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        write(below, directory, files)?;
    }
    Ok(())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let name = command.get_display_name().unwrap_or(command.get_name());
    let title = name.to_uppercase();
    Page::new(command.clone()).title(title).render(&mut page)?;
    Ok(page)
}

fn unwritten(error: &io::Error, path: &Path) -> Failure {
    let message = format!("{} cannot be written: {error}", path.display());
    Failure::new("cli.output_failed", ErrorKind::Config, message)
        .hint("name a directory that you may write to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let directory = std::env::temp_dir().join(format!("oneiric-man-{}", std::process::id()));
        let args = Man {
            directory: Some(directory.clone()),
        };
        let files = run(&args).unwrap().shown(false);
        let page = std::fs::read_to_string(directory.join("oneiric-swap.1")).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let commands = Cli::command();
        let shown = commands
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        for command in shown {
            let file = format!("oneiric-{}.1", command.get_name());
            assert!(files.contains(&file), "{file}: {files}");
        }
        assert!(!files.contains("complete.1"), "{files}");
        assert!(page.contains("swap adapter/cache file"), "{page}");
    }

    #[test]
    fn a_directory_that_cannot_be_is_an_error() {
        let args = Man {
            directory: Some("/dev/null/x".into()),
        };
        let failure = run(&args).unwrap_err();
        assert_eq!(failure.code, "cli.output_failed");
        assert!(failure.message.contains("/dev/null/x"), "{failure:?}");
    }
}
