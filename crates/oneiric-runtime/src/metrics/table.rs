//! The table of metrics: each is named, described and documented here and nowhere else.
//! `docs/reference/metrics.md` is made from it.
//!
//! The rule for names: `oneiric_<noun>_<unit>[_total]`; a count has no unit, a counter ends in `_total`, times are in
//! seconds. Labels are slots, and words of which there are few: nothing that a client chooses.

use metrics::{Key, Label, Unit};

/// Every metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    SelectionsUnknown,
    SlotActive,
    SlotDiffers,
    SlotPaused,
    SlotInFlight,
    SlotUnhealthy,
    SlotJudged,
    DecisionsTotal,
    ProbesTotal,
    ProbeDuration,
    SlotDraining,
    SlotKeyed,
    SwapsTotal,
    SwapDuration,
    InstancesRetiredTotal,
    CallsTotal,
    AdminRequestsTotal,
    AdminRefusalsTotal,
    AdminInUse,
    SettingsReloadsTotal,
    SettingsRefused,
    SettingsGoodSince,
    SlotsHeld,
    StepsAtWork,
    StepsWaiting,
    StartTime,
    LogLinesDroppedTotal,
    ScopesClosed,
    SecretsUsed,
    SecretsStale,
    SecretsFailing,
    SecretFetchesTotal,
    SecretRotationsTotal,
    StatePersists,
    HistoryWaiting,
    HistoryRefused,
    HistoryLeftOutTotal,
    Uptime,
}

/// What a metric can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grow.
    Counter,
    /// Grow and shrink.
    Gauge,
}

/// What is known about a metric before it has a value.
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) labels: &'static [&'static str],
    pub(super) says: &'static str,
}

impl Metric {
    pub(super) const ALL: [Self; 38] = [
        Self::SelectionsUnknown,
        Self::SlotActive,
        Self::SlotDiffers,
        Self::SlotPaused,
        Self::SlotInFlight,
        Self::SlotUnhealthy,
        Self::SlotJudged,
        Self::DecisionsTotal,
        Self::ProbesTotal,
        Self::ProbeDuration,
        Self::SlotDraining,
        Self::SlotKeyed,
        Self::SwapsTotal,
        Self::SwapDuration,
        Self::InstancesRetiredTotal,
        Self::CallsTotal,
        Self::AdminRequestsTotal,
        Self::AdminRefusalsTotal,
        Self::AdminInUse,
        Self::SettingsReloadsTotal,
        Self::SettingsRefused,
        Self::SettingsGoodSince,
        Self::SlotsHeld,
        Self::StepsAtWork,
        Self::StepsWaiting,
        Self::StartTime,
        Self::LogLinesDroppedTotal,
        Self::ScopesClosed,
        Self::SecretsUsed,
        Self::SecretsStale,
        Self::SecretsFailing,
        Self::SecretFetchesTotal,
        Self::SecretRotationsTotal,
        Self::StatePersists,
        Self::HistoryWaiting,
        Self::HistoryRefused,
        Self::HistoryLeftOutTotal,
        Self::Uptime,
    ];

    pub(super) const fn about(self) -> About {
        use Kind::{Counter, Gauge};
        let (name, kind, unit, labels, says): (_, _, _, &'static [&'static str], _) = match self {
            Self::SelectionsUnknown => (
                "oneiric_selections_unknown",
                Gauge,
                Unit::Count,
                &[],
                "Selections that name a provider nobody registered, so that they choose nobody.",
            ),
            Self::SlotActive => (
                "oneiric_slot_active",
                Gauge,
                Unit::Count,
                &["slot"],
                "1 when an instance serves the slot.",
            ),
            Self::SlotDiffers => (
                "oneiric_slot_differs",
                Gauge,
                Unit::Count,
                &["slot"],
                "1 when what serves the slot is not what ranks best.",
            ),
            Self::SlotPaused => (
                "oneiric_slot_paused",
                Gauge,
                Unit::Count,
                &["slot"],
                "1 when the slot refuses work: paused or draining.",
            ),
            Self::SlotInFlight => (
                "oneiric_slot_in_flight",
                Gauge,
                Unit::Count,
                &["slot"],
                "Leases that are out on the slot.",
            ),
            Self::SlotUnhealthy => (
                "oneiric_slot_unhealthy",
                Gauge,
                Unit::Count,
                &["slot"],
                "1 when the last probe of what serves the slot was bad, 0 when it was good or nobody asked.",
            ),
            Self::SlotJudged => (
                "oneiric_slot_judged",
                Gauge,
                Unit::Count,
                &["slot", "judged"],
                "1 for what is thought of what serves the slot after all its answers, 0 for the others: unknown, healthy, unhealthy.",
            ),
            Self::DecisionsTotal => (
                "oneiric_decisions_total",
                Counter,
                Unit::Count,
                &["slot", "kind", "outcome"],
                "What was decided without anybody asking for it, by kind (restart, fail_over, ...) and outcome: done, failed.",
            ),
            Self::ProbesTotal => (
                "oneiric_probes_total",
                Counter,
                Unit::Count,
                &["slot", "result"],
                "Answers of probes in the slot, by result: ok, warn, temporarily_unavailable, critical, probe_error (it failed, or was late), not_asked (there was no thread for it).",
            ),
            Self::ProbeDuration => (
                "oneiric_probe_duration_seconds",
                Gauge,
                Unit::Seconds,
                &["slot"],
                "How long the last probe of what serves the slot took; 0 before the first.",
            ),
            Self::SlotDraining => (
                "oneiric_slot_draining",
                Gauge,
                Unit::Count,
                &["slot"],
                "Instances that were replaced and finish the work they had.",
            ),
            Self::SlotKeyed => (
                "oneiric_slot_keyed_instances",
                Gauge,
                Unit::Count,
                &["slot"],
                "Instances by key, those that are being built or retired among them.",
            ),
            Self::SwapsTotal => (
                "oneiric_swaps_total",
                Counter,
                Unit::Count,
                &["slot", "outcome"],
                "Transitions by outcome: activated, swapped, forced (counted among these two), rolled_back, failed.",
            ),
            Self::SwapDuration => (
                "oneiric_swap_duration_seconds",
                Gauge,
                Unit::Seconds,
                &["slot", "quantile"],
                "How long the last swaps of the slot took, by quantile; 0 before the first.",
            ),
            Self::InstancesRetiredTotal => (
                "oneiric_instances_retired_total",
                Counter,
                Unit::Count,
                &["slot"],
                "Instances retired.",
            ),
            Self::CallsTotal => (
                "oneiric_calls_total",
                Counter,
                Unit::Count,
                &["slot", "outcome"],
                "Calls by outcome: succeeded, failed (the component's fault, not the caller's).",
            ),
            Self::AdminRequestsTotal => (
                "oneiric_admin_requests_total",
                Counter,
                Unit::Count,
                &["route", "status"],
                "Requests to the admin API by route and status.",
            ),
            Self::AdminRefusalsTotal => (
                "oneiric_admin_refusals_total",
                Counter,
                Unit::Count,
                &["reason"],
                "What the admin API did not take, by reason: an error code, or what ended a connection before it asked.",
            ),
            Self::AdminInUse => (
                "oneiric_admin_in_use",
                Gauge,
                Unit::Count,
                &["what"],
                "Connections, calls, changes, streams, long answers, copies and refusals that wait, at this moment, by what.",
            ),
            Self::SettingsReloadsTotal => (
                "oneiric_settings_reloads_total",
                Counter,
                Unit::Count,
                &["outcome"],
                "Times the settings were read again, by outcome: applied, unchanged, refused, restored, broken, invalid.",
            ),
            Self::SettingsRefused => (
                "oneiric_settings_refused",
                Gauge,
                Unit::Count,
                &[],
                "1 when the settings files say something that is not in force.",
            ),
            Self::SettingsGoodSince => (
                "oneiric_settings_good_since_seconds",
                Gauge,
                Unit::Seconds,
                &[],
                "Since when the settings in force are, in seconds since 1970.",
            ),
            Self::SlotsHeld => (
                "oneiric_slots_held",
                Gauge,
                Unit::Count,
                &[],
                "Slots whose change of settings waits until they are resumed.",
            ),
            Self::StepsAtWork => (
                "oneiric_steps_at_work",
                Gauge,
                Unit::Count,
                &["kind"],
                "Steps of other people's code that have a thread, by kind: build, probe, retire, hook, hand_over. One that was given up counts for as long as it blocks its thread.",
            ),
            Self::StepsWaiting => (
                "oneiric_steps_waiting",
                Gauge,
                Unit::Count,
                &["kind"],
                "Steps that have no thread yet, by kind. More than a few for longer than a moment: threads are held up.",
            ),
            Self::StartTime => (
                "oneiric_start_time_seconds",
                Gauge,
                Unit::Seconds,
                &[],
                "When the runtime was put together, in seconds since 1970.",
            ),
            Self::LogLinesDroppedTotal => (
                "oneiric_log_lines_dropped_total",
                Counter,
                Unit::Count,
                &[],
                "Lines of the log that were lost because nobody read them.",
            ),
            Self::ScopesClosed => (
                "oneiric_scopes_closed",
                Gauge,
                Unit::Count,
                &["activity"],
                "Scopes (slots, providers, domains) that operators paused or are draining.",
            ),
            Self::SecretsUsed => (
                "oneiric_secrets_used",
                Gauge,
                Unit::Count,
                &[],
                "Secrets that the settings name.",
            ),
            Self::SecretsStale => (
                "oneiric_secrets_stale",
                Gauge,
                Unit::Count,
                &[],
                "Secrets that are served on although their last fetch failed.",
            ),
            Self::SecretsFailing => (
                "oneiric_secrets_failing",
                Gauge,
                Unit::Count,
                &[],
                "Secrets whose last fetch failed, the stale ones among them.",
            ),
            Self::SecretFetchesTotal => (
                "oneiric_secret_fetches_total",
                Counter,
                Unit::Count,
                &["result"],
                "Times a secret was fetched, by result: fetched, unavailable (whoever keeps it does not answer), refused (it is gone, or may not be used).",
            ),
            Self::SecretRotationsTotal => (
                "oneiric_secret_rotations_total",
                Counter,
                Unit::Count,
                &["result"],
                "Secrets that somebody had fetched anew, by result: changed, unchanged, failed.",
            ),
            Self::StatePersists => (
                "oneiric_state_persists",
                Gauge,
                Unit::Count,
                &[],
                "1 when selections, activity and history outlive the process.",
            ),
            Self::HistoryWaiting => (
                "oneiric_history_waiting",
                Gauge,
                Unit::Count,
                &[],
                "Entries of the history that wait to be written.",
            ),
            Self::HistoryRefused => (
                "oneiric_history_refused",
                Gauge,
                Unit::Count,
                &[],
                "1 when the store does not take the history: the disk is full, or it may not be written to.",
            ),
            Self::HistoryLeftOutTotal => (
                "oneiric_history_left_out_total",
                Counter,
                Unit::Count,
                &[],
                "Entries of the history that were left out because too many waited.",
            ),
            Self::Uptime => (
                "oneiric_uptime_seconds",
                Gauge,
                Unit::Seconds,
                &[],
                "How long ago the runtime was put together.",
            ),
        };
        About {
            name,
            kind,
            unit,
            labels,
            says,
        }
    }

    pub(super) fn key(self, labels: Vec<Label>) -> Key {
        Key::from_parts(self.about().name, labels)
    }
}

/// Returns the page `docs/reference/metrics.md`.
#[must_use]
pub fn metrics_reference() -> String {
    let mut page = String::from(HEAD);
    for metric in Metric::ALL {
        let about = metric.about();
        let kind = match about.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let unit = match about.unit {
            Unit::Seconds => "seconds",
            _ => "",
        };
        let labels: Vec<String> = about
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        page.push_str(&format!(
            "| `{}` | {kind} | {unit} | {} | {} |\n",
            about.name,
            labels.join(", "),
            about.says
        ));
    }
    page
}

const HEAD: &str = "\
# Metrics

<!-- Generated by `cargo xtask docs` from the table of the runtime. Do not edit. -->

What `GET /metrics` of the admin API answers, in Prometheus' text form; `oneiric metrics` shows it. Names are
`oneiric_<noun>_<unit>[_total]`, times are in seconds, and no label holds anything that a client chooses.
What programs get that use `oneiric-resilience` by themselves is in
[resilience-metrics.md](resilience-metrics.md).

| name | kind | unit | labels | what it says |
|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_are_given_once() {
        let mut names: Vec<&str> = Vec::new();
        for metric in Metric::ALL {
            let About {
                name,
                kind,
                unit,
                says,
                ..
            } = metric.about();
            let words = name.strip_prefix("oneiric_").unwrap();
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            assert!(words.chars().all(plain) && !words.contains("__"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let timed = name.trim_end_matches("_total").ends_with("_seconds");
            assert_eq!(timed, unit == Unit::Seconds, "{name}");
            assert!(says.ends_with('.') && !says.contains('|'), "{name}: {says}");
            names.push(name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    #[test]
    fn the_page_has_a_row_for_each() {
        let page = metrics_reference();
        for metric in Metric::ALL {
            let row = format!("| `{}` |", metric.about().name);
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }
}
