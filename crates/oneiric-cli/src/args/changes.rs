//! `plan`, `apply` and `undo`: changes of several slots as one.

use clap::Args;

use super::Assent;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric plan adapter/cache=file                     what that would come to
  oneiric plan adapter/cache=file service/clock=      `SLOT=` takes the selection back
  oneiric plan changes.toml                           from a file
  oneiric plan adapter/cache=file --json > plan.json  for `oneiric apply plan.json`

Nothing is changed. A file (TOML, YAML or JSON) has one table, [selections], of providers by slot; an empty one
takes the selection back. The exit code is 0 when there is nothing to do, 1 when there is, above that
when there is no such plan.")]
pub(crate) struct Plan {
    /// SLOT=PROVIDER, or SLOT= for whoever ranks best; or one file
    #[arg(required = true, value_name = "CHANGE")]
    pub(crate) changes: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric apply adapter/cache=file service/clock=utc --reason 'ticket 4711'
  oneiric apply changes.toml --yes
  oneiric apply plan.json                     what `oneiric plan --json` wrote

All new instances are built and healthy before any of them serves; if one is not, nothing changes and the exit
code is 7. A plan is carried out on the revision that it was made on: if something was selected
since, it is refused with what that was (7 too). What is not a plan yet is planned and shown first.")]
pub(crate) struct Apply {
    /// SLOT=PROVIDER, or SLOT= for whoever ranks best; or one file, of changes or a plan
    #[arg(required = true, value_name = "CHANGE")]
    pub(crate) changes: Vec<String>,
    #[command(flatten)]
    pub(crate) assent: Assent,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric undo                    the last change of selections
  oneiric undo --to 3             all after revision 3
  oneiric undo --dry-run          what that would come to; exit code as of `plan`
  oneiric undo --reason 'worse' --yes

What was selected then is selected again, and serves; `oneiric history` has the numbers. It is
planned, shown and carried out like any plan, and is a revision itself: `undo` takes it back too.")]
pub(crate) struct Undo {
    /// Takes back all revisions after this one [default: the last one alone]
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<u64>,
    /// Says what would happen and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) assent: Assent,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
