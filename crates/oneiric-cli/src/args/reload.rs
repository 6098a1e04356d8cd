//! `reload`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric reload --dry-run         what would change, and which slots would be exchanged
  oneiric reload                   exit code 7 when it failed and everything is as it was before
  oneiric config check && oneiric reload

The process also does it by itself when its files change (`reload.watch`), and on SIGHUP. Settings
that change something only a new process can take are refused by name, exit code 3.")]
pub(crate) struct Reload {
    /// Says what would be done, and does nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
