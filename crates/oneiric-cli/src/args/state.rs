//! `state`: what a process remembers, and copies of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Assent;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric state show
  oneiric state backup before-upgrade.db
  oneiric state check before-upgrade.db
  oneiric state restore before-upgrade.db --yes

What an operator selected and paused, and what became of swaps, is in state.db in the state
directory. It belongs to one process: never copy it while that runs, `state backup` does it right.")]
pub(crate) struct State {
    #[command(subcommand)]
    pub(crate) action: StateAction,
}

/// What can be done with state.
#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Shows where the running process keeps its state, and what is in it
    #[command(after_help = "\
Examples:
  oneiric state show
  oneiric state show --json | jq .database.last_backup_unix_ms")]
    Show,
    /// Copies the state of the running process into a file, while everybody goes on
    Backup(Backup),
    /// Looks whether a database is whole; of a state directory, while nothing runs in it
    Check(Check),
    /// Puts a backup in the place of the state, while nothing runs; what was there is kept beside it
    Restore(Restore),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric state backup before-upgrade.db
  oneiric state backup /var/backups/oneiric.db --force

The copy is checked before it gets its name, so a file that is there is a whole one.")]
pub(crate) struct Backup {
    /// The file to write
    pub(crate) file: PathBuf,
    /// Puts it in the place of a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric state check                        the state directory's own
  oneiric state check before-upgrade.db      a backup

Nothing is changed, whatever is found. The exit code is 3 for a file that cannot be used.")]
pub(crate) struct Check {
    /// A backup [default: state.db in the state directory]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric state restore before-upgrade.db
  oneiric state restore before-upgrade.db --state-dir /var/lib/oneiric --yes

The backup is checked first. The state that was there becomes state.db.before-restore-1, or the next
number that is free.")]
pub(crate) struct Restore {
    /// The backup
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) assent: Assent,
}
