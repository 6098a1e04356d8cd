//! `completions`, what a shell asks for with them, and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(oneiric completions bash)            in ~/.bashrc
  source <(oneiric completions zsh)             in ~/.zshrc, after compinit
  oneiric completions fish | source             in ~/.config/fish/config.fish

Slots and providers are those of the running process, asked for half a second at most.")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric man | man -l -                 reads the first one
  oneiric man /usr/local/share/man/man1  writes them all")]
pub(crate) struct Man {
    /// Where to write them: one file per command, `oneiric.1`, `oneiric-swap.1` and so on
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// The line so far, in the form that the shell has it.
#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The line as it was typed, up to the cursor
    #[arg(long)]
    pub(crate) line: Option<String>,
    /// What the shell takes for the last word
    #[arg(long, requires = "line", allow_hyphen_values = true)]
    pub(crate) tail: Option<String>,
    /// The words after the program's name, the unfinished one last
    #[arg(last = true)]
    pub(crate) words: Vec<String>,
}
