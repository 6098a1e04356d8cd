//! `watch`.

use std::time::Duration;

use clap::Args;

use crate::duration;

/// The events that this version knows; a process of another one may have more.
pub(crate) const EVENTS: [&str; 32] = [
    "activation_failed",
    "activity_changed",
    "building",
    "change_applied",
    "change_dropped",
    "change_failed",
    "change_held",
    "decided",
    "drain_abandoned",
    "drained",
    "draining",
    "handed_over",
    "instance_paused",
    "instance_resumed",
    "probed",
    "published",
    "reconfigured",
    "retired",
    "rolled_back",
    "secret_changed",
    "secret_failed",
    "secret_recovered",
    "secret_told",
    "secrets_rotated",
    "selection_changed",
    "settings_applied",
    "settings_broken",
    "settings_invalid",
    "settings_refused",
    "settings_restored",
    "settings_unchanged",
    "warned",
];

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oneiric watch                                   everything, until Ctrl-C
  oneiric watch adapter/cache
  oneiric watch adapter/cache --until published   ends when somebody was put in service
  oneiric watch --until rolled_back --timeout 10m
  oneiric watch --until settings_applied          after `oneiric reload`, or a changed file
  oneiric watch --json | jq -c 'select(.event == \"retired\")'

Events of slots: building, probed, published, reconfigured, retired, rolled_back, activation_failed,
decided, handed_over, draining, drain_abandoned, warned, activity_changed, drained, instance_paused,
instance_resumed, selection_changed, change_held, change_applied, change_failed, change_dropped,
secret_told. Of the process: settings_applied, settings_unchanged, settings_invalid,
settings_refused, settings_restored, settings_broken, secrets_rotated,
secret_changed, secret_failed, secret_recovered. Whoever cannot follow is told how many events were
missed; when the process goes away it is waited for.")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_and_the_specification_name_each_event() {
        let page = include_str!("../../../../docs/spec/admin-api.md");
        let command = Watch::augment_args(clap::Command::new("watch"));
        let help = command.get_after_help().unwrap().to_string();
        let (_, listed) = help.split_once("Events of slots: ").unwrap();
        let listed: Vec<&str> = listed.split([' ', '\n', ',', '.']).collect();
        for event in EVENTS {
            assert!(listed.contains(&event), "{event}");
            assert!(page.contains(&format!("| `{event}` | ")), "{event}");
        }
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains("` | "));
        let events = rows.filter(|line| line.matches(" | ").count() == 2);
        assert_eq!(events.count(), EVENTS.len());
    }
}
