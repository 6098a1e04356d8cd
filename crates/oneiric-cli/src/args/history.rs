//! `history`.

use std::num::NonZeroUsize;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric history                         what happened last, the newest at the end
  oneiric history adapter/cache --limit 5
  oneiric history --json | jq '.slots[].entries[] | select(.failure)'

Of each slot the last 100 activations, swaps, failures and retirements are remembered, also of runs
before this one, and the last 1,000 revisions of selections with who made them, why, and what became
of them. `oneiric undo --to REVISION` goes back to one.")]
pub(crate) struct History {
    /// Only this slot, such as `adapter/cache`
    pub(crate) slot: Option<String>,
    /// Only the last so many [default: 50; with --json all]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<NonZeroUsize>,
}
