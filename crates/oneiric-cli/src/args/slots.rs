//! `list`, `explain`, `status`, `call`, `swap` and `health`: what there is to see and to do about slots.

use std::time::Duration;

use clap::Args;

use super::{Assent, Waiting};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric list                      who wins, everywhere
  oneiric list adapter --shadowed   all adapters, those that lose too
  oneiric list --offline            as a process started now would have them
  oneiric list --json | jq -r '.slots[].slot'")]
pub(crate) struct List {
    /// Only this domain, such as `adapter`
    pub(crate) domain: Option<String>,
    /// Those that lose as well
    #[arg(long)]
    pub(crate) shadowed: bool,
    /// Reads the settings here and now, in place of asking the process; the state directory is left alone
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric explain adapter/cache
  oneiric explain adapter/cache --what-if down=memory        who takes over?
  oneiric explain adapter/cache --what-if unselect=operator  who wins after `swap --clear`?
  oneiric explain adapter/cache --what-if select=file --what-if priority:flaky=99
  oneiric explain adapter/cache --provider file              only this provider's candidates

A --what-if is assumed, never done: select=PROVIDER, priority:PROVIDER=N, without=PROVIDER,
down=PROVIDER, unselect=operator or settings; several are assumed together.")]
pub(crate) struct Explain {
    /// The slot, such as `adapter/cache`
    pub(crate) slot: String,
    /// Only candidates with this capability; several: with all of them
    #[arg(long = "capability", value_name = "CAPABILITY")]
    pub(crate) capabilities: Vec<String>,
    /// Any one of the capabilities is enough; more of them rank higher
    #[arg(long, requires = "capabilities")]
    pub(crate) any: bool,
    /// Only candidates of this provider
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<String>,
    /// Reads the settings here and now, in place of asking the process; the state directory is left alone
    #[arg(long)]
    pub(crate) offline: bool,
    /// Assumes a change
    #[arg(long = "what-if", value_name = "CHANGE")]
    pub(crate) what_if: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric status                  one line a slot
  oneiric status adapter/cache    everything about one
  oneiric status --history adapter/cache
  oneiric status --json | jq '.slots[] | select(.last_error)'")]
pub(crate) struct Status {
    /// Everything about this slot
    pub(crate) slot: Option<String>,
    /// What became of the slot and who selected what, as `oneiric history SLOT` says
    #[arg(long, requires = "slot")]
    pub(crate) history: bool,
    /// There is none without a process; answered with what there is
    #[arg(long, hide = true)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric call adapter/cache put key=greeting value=hello
  oneiric call adapter/cache put key=greeting value=hello ttl_ms:=60000
  oneiric call adapter/cache get '\"greeting\"'
  oneiric call adapter/cache put '{\"key\": \"greeting\", \"value\": \"hello\"}'
  echo '\"greeting\"' | oneiric call adapter/cache get -
  oneiric call service/clock now

Words of the form NAME=TEXT and NAME:=JSON make an object. The answer is printed as JSON.

Whoever stops waiting, by --timeout or Ctrl-C, does not stop the call: it goes on in the process until the
component answers, for admin.request_timeout_ms at most. A swap of the slot ends it lifecycle.drain_ms later.")]
pub(crate) struct Call {
    /// The slot, such as `adapter/cache`
    pub(crate) slot: String,
    /// The operation; an unknown one is answered with those there are
    pub(crate) operation: String,
    /// JSON, `-` for JSON on stdin, or NAME=TEXT and NAME:=JSON words; nothing is `null`
    #[arg(value_name = "INPUT", allow_negative_numbers = true)]
    pub(crate) input: Vec<String>,
    /// Waits no longer than this for the answer, such as 30s; the call goes on [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric swap adapter/cache file --reason 'memory is full'
  oneiric swap adapter/cache file --dry-run    what would happen
  oneiric swap adapter/cache file --bake 30s   on trial: back to the old one if it does worse
  oneiric swap adapter/cache                   to whoever ranks best now
  oneiric swap adapter/cache --clear           takes the selection back
  oneiric swap adapter/cache flaky --force --yes    even if its probe says no

The new instance is built and probed while the old one serves. If that fails nothing changes and the
exit code is 7; so it is when a trial goes wrong. Naming a PROVIDER selects it: who ranks best follows
the operator.")]
pub(crate) struct Swap {
    /// The slot, such as `adapter/cache`
    pub(crate) slot: String,
    /// Who is to serve; without it whoever ranks best
    #[arg(conflicts_with = "clear")]
    pub(crate) provider: Option<String>,
    /// Says what would happen and changes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Puts the new one in service even if its probe says no; status says that it was forced
    #[arg(long)]
    pub(crate) force: bool,
    /// Keeps the old instance warm for so long, and swings back to it if the new one does worse; 0s: not at
    /// all [default: as the slot's policy says]
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    pub(crate) bake: Option<Duration>,
    #[command(flatten)]
    pub(crate) assent: Assent,
    /// Takes the operator's selection back and swaps to whoever ranks best without it
    #[arg(long)]
    pub(crate) clear: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric health                          what they last said
  oneiric health --probe                  asks them now
  oneiric health adapter/cache --probe && echo well
  oneiric health --wait --timeout 30s     until all is well, from before the process starts

The exit code is 1 when something is not well.")]
pub(crate) struct Health {
    /// Only this slot
    pub(crate) slot: Option<String>,
    /// Asks now, in place of showing the last answer
    #[arg(long)]
    pub(crate) probe: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}
