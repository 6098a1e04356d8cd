//! `watch`.

use std::time::Duration;

use clap::Args;

use crate::duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric watch                                   everything, until Ctrl-C
  oneiric watch adapter/cache
  oneiric watch adapter/cache --until published   ends when somebody was put in service
  oneiric watch --until rolled_back --timeout 10m
  oneiric watch --json | jq -c 'select(.event == \"retired\")'

Events: building, probed, published, retired, rolled_back, activation_failed, drain_abandoned,
warned, activity_changed, drained. Whoever cannot follow is told how many events were missed; when the
process goes away it is waited for.")]
pub(crate) struct Watch {
    /// Only what happens to this slot, such as `adapter/cache`
    pub(crate) slot: Option<String>,
    /// Ends after the first event of this name
    #[arg(long, value_name = "EVENT")]
    pub(crate) until: Option<String>,
    /// Ends after this time, such as 30s or 5m; with --until that is exit code 8
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
}
