//! `config` and `init`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric config show --origin                       every setting, and who set it
  oneiric config explain run.grace_ms                what it means, and every layer that set it
  oneiric config explain selections.adapter/cache    also what an operator selected above it
  oneiric config check oneiric.toml && echo well     all faults at once, exit code 3
  oneiric config schema > settings.schema.json       for editors")]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows every setting of the running process; secrets are not shown
    Show(ConfigShow),
    /// Says what a setting means, what may stand there, and every layer that set it
    Explain(ConfigExplain),
    /// Checks settings and the factories they name, and does nothing else
    Check(ConfigCheck),
    /// Prints a JSON Schema of settings files
    Schema(ConfigSchema),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric config show                     as the running process has them
  oneiric config show --offline --origin  as a process started now would have them, and who set each
  oneiric config show --json | jq '.keys[] | select(.set_by.layer == \"variable\")'")]
pub(crate) struct ConfigShow {
    /// Reads files, variables and options in place of asking the running process
    #[arg(long)]
    pub(crate) offline: bool,
    /// Says who set each value: file, line and column, variable, or option
    #[arg(long)]
    pub(crate) origin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric config explain run.grace_ms
  oneiric config explain selections.adapter/cache
  oneiric config explain 'candidates[0].priority' --offline")]
pub(crate) struct ConfigExplain {
    /// The key; `config show` lists those that are set
    pub(crate) key: String,
    /// Reads files, variables and options in place of asking the running process
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric config check                  what `oneiric run` would read here
  oneiric config check deploy/prod.yaml that file alone
  oneiric config check --json 2>&1 | jq '.details.faults[]?'

Exit code 3 when something is wrong, with all faults at once.")]
pub(crate) struct ConfigCheck {
    /// This file alone, without variables and options [default: everything that `run` would read]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric config schema > settings.schema.json
  oneiric config schema --reference    the reference of all keys, in Markdown

Editors that know TOML take it from a first line `#:schema ./settings.schema.json`, those that know
JSON from a key `$schema`.")]
pub(crate) struct ConfigSchema {
    /// Prints the reference page of all keys in place of the schema
    #[arg(long)]
    pub(crate) reference: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric init                        writes ./oneiric.toml
  oneiric init /etc/oneiric/config.toml
  oneiric init --force                in place of the file that is there

Every key is in it as a comment with its default, so that it changes nothing until a comment is taken
away. A file that is there already is never touched without --force.")]
pub(crate) struct Init {
    /// Where to write it
    #[arg(default_value = "oneiric.toml")]
    pub(crate) file: PathBuf,
    /// Replaces the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}
