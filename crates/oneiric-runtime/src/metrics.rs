//! Every metric of a runtime, and the recorder they live in.
//!
//! The recorder is the runtime's own and never the process' global one, so two runtimes in one program do not mix.
//! Whatever the lifecycle counts already is copied when somebody scrapes instead of being counted twice; labels are
//! slots, outcomes, routes and statuses, all of them bounded.

use std::fmt;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use oneiric_lifecycle::{Activity, SlotStatus};

use crate::{
    runtime::Runtime,
    service::{serves, unix_ms},
};

/// Every metric: name, unit, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    SelectionsUnknown,
    SlotActive,
    SlotDiffers,
    SlotPaused,
    SlotInFlight,
    SwapsTotal,
    InstancesRetiredTotal,
    CallsTotal,
    AdminRequestsTotal,
    AdminRefusalsTotal,
    AdminInUse,
    SettingsReloadsTotal,
    SettingsRefused,
    SettingsGoodSince,
    SlotsHeld,
    StartTime,
    LogLinesDroppedTotal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

impl Metric {
    const ALL: [Self; 17] = [
        Self::SelectionsUnknown,
        Self::SlotActive,
        Self::SlotDiffers,
        Self::SlotPaused,
        Self::SlotInFlight,
        Self::SwapsTotal,
        Self::InstancesRetiredTotal,
        Self::CallsTotal,
        Self::AdminRequestsTotal,
        Self::AdminRefusalsTotal,
        Self::AdminInUse,
        Self::SettingsReloadsTotal,
        Self::SettingsRefused,
        Self::SettingsGoodSince,
        Self::SlotsHeld,
        Self::StartTime,
        Self::LogLinesDroppedTotal,
    ];

    const fn about(self) -> (&'static str, Kind, Unit, &'static str) {
        use Kind::{Counter, Gauge};
        match self {
            Self::SelectionsUnknown => (
                "oneiric_selections_unknown",
                Gauge,
                Unit::Count,
                "Selections that name a provider nobody registered, so that they choose nobody.",
            ),
            Self::SlotActive => (
                "oneiric_slot_active",
                Gauge,
                Unit::Count,
                "1 when an instance serves the slot.",
            ),
            Self::SlotDiffers => (
                "oneiric_slot_differs",
                Gauge,
                Unit::Count,
                "1 when what serves the slot is not what ranks best.",
            ),
            Self::SlotPaused => (
                "oneiric_slot_paused",
                Gauge,
                Unit::Count,
                "1 when the slot refuses work: paused or draining.",
            ),
            Self::SlotInFlight => (
                "oneiric_slot_in_flight",
                Gauge,
                Unit::Count,
                "Leases that are out on the slot.",
            ),
            Self::SwapsTotal => (
                "oneiric_swaps_total",
                Counter,
                Unit::Count,
                "Transitions by outcome: activated, swapped, forced (counted among these two), rolled_back, failed.",
            ),
            Self::InstancesRetiredTotal => (
                "oneiric_instances_retired_total",
                Counter,
                Unit::Count,
                "Instances retired.",
            ),
            Self::CallsTotal => (
                "oneiric_calls_total",
                Counter,
                Unit::Count,
                "Calls by outcome: succeeded, failed (the component's fault, not the caller's).",
            ),
            Self::AdminRequestsTotal => (
                "oneiric_admin_requests_total",
                Counter,
                Unit::Count,
                "Requests to the admin API by route and status.",
            ),
            Self::AdminRefusalsTotal => (
                "oneiric_admin_refusals_total",
                Counter,
                Unit::Count,
                "What the admin API did not take, by reason: an error code, or what ended a connection before it asked.",
            ),
            Self::AdminInUse => (
                "oneiric_admin_in_use",
                Gauge,
                Unit::Count,
                "Connections, calls, changes and streams of the admin API at this moment, by what.",
            ),
            Self::SettingsReloadsTotal => (
                "oneiric_settings_reloads_total",
                Counter,
                Unit::Count,
                "Times the settings were read again, by outcome: applied, unchanged, refused, restored, broken, invalid.",
            ),
            Self::SettingsRefused => (
                "oneiric_settings_refused",
                Gauge,
                Unit::Count,
                "1 when the settings files say something that is not in force.",
            ),
            Self::SettingsGoodSince => (
                "oneiric_settings_good_since_seconds",
                Gauge,
                Unit::Seconds,
                "Since when the settings in force are, in seconds since 1970.",
            ),
            Self::SlotsHeld => (
                "oneiric_slots_held",
                Gauge,
                Unit::Count,
                "Slots whose change of settings waits until they are resumed.",
            ),
            Self::StartTime => (
                "oneiric_start_time_seconds",
                Gauge,
                Unit::Seconds,
                "When the runtime was put together, in seconds since 1970.",
            ),
            Self::LogLinesDroppedTotal => (
                "oneiric_log_lines_dropped_total",
                Counter,
                Unit::Count,
                "Lines of the log that were lost because nobody read them.",
            ),
        }
    }

    const fn name(self) -> &'static str {
        self.about().0
    }

    fn key(self, labels: Vec<Label>) -> Key {
        Key::from_parts(self.name(), labels)
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The runtime's recorder.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in Metric::ALL {
            let (name, kind, unit, about) = metric.about();
            let (name, about) = (
                KeyName::from_const_str(name),
                SharedString::const_str(about),
            );
            match kind {
                Kind::Counter => recorder.describe_counter(name, Some(unit), about),
                Kind::Gauge => recorder.describe_gauge(name, Some(unit), about),
            }
        }
        Self { recorder }
    }

    /// Counts a request to the admin API.
    #[cfg(feature = "admin")]
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        let labels = vec![
            Label::from_static_parts("route", route),
            Label::new("status", status.to_string()),
        ];
        let key = Metric::AdminRequestsTotal.key(labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Counts what the admin API did not take.
    #[cfg(feature = "admin")]
    pub(crate) fn refused(&self, reason: &'static str) {
        let labels = vec![Label::from_static_parts("reason", reason)];
        let key = Metric::AdminRefusalsTotal.key(labels);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Says what of the admin API is in use.
    #[cfg(feature = "admin")]
    pub(crate) fn in_use(&self, what: impl IntoIterator<Item = (&'static str, usize)>) {
        for (name, count) in what {
            let labels = vec![Label::from_static_parts("what", name)];
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.gauge(Metric::AdminInUse, labels, approximate(count));
        }
    }

    fn gauge(&self, metric: Metric, labels: Vec<Label>, value: f64) {
        self.recorder
            .register_gauge(&metric.key(labels), &METADATA)
            .set(value);
    }

    fn counter(&self, metric: Metric, labels: Vec<Label>, value: u64) {
        self.recorder
            .register_counter(&metric.key(labels), &METADATA)
            .absolute(value);
    }

    fn reloads(&self, runtime: &Runtime) {
        let state = &runtime.inner.reload.state;
        for (outcome, count) in state.ended() {
            let labels = vec![Label::from_static_parts("outcome", outcome)];
            self.counter(Metric::SettingsReloadsTotal, labels, count);
        }
        let (good_since, refused) = state.standing();
        let refused = if refused { 1.0 } else { 0.0 };
        self.gauge(Metric::SettingsRefused, Vec::new(), refused);
        let good_since = approximate(unix_ms(good_since)) / 1_000.0;
        self.gauge(Metric::SettingsGoodSince, Vec::new(), good_since);
        let held = u64::try_from(runtime.inner.reload.held.len()).unwrap_or(u64::MAX);
        self.gauge(Metric::SlotsHeld, Vec::new(), approximate(held));
    }

    fn slot(&self, status: &SlotStatus) {
        let slot = || Label::new("slot", status.slot.to_string());
        let outcome = |name: &'static str| vec![slot(), Label::from_static_parts("outcome", name)];
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        self.gauge(Metric::SlotActive, vec![slot()], flag(serves(status.state)));
        self.gauge(
            Metric::SlotDiffers,
            vec![slot()],
            flag(status.differs.is_some()),
        );
        self.gauge(
            Metric::SlotPaused,
            vec![slot()],
            flag(status.activity.activity != Activity::Running),
        );
        self.gauge(
            Metric::SlotInFlight,
            vec![slot()],
            approximate(status.in_flight),
        );
        let swaps = &status.swaps;
        let outcomes = [
            ("activated", swaps.activated),
            ("swapped", swaps.swapped),
            ("forced", swaps.forced),
            ("rolled_back", swaps.rolled_back),
            ("failed", swaps.failed),
        ];
        for (name, count) in outcomes {
            self.counter(Metric::SwapsTotal, outcome(name), count);
        }
        self.counter(Metric::InstancesRetiredTotal, vec![slot()], swaps.retired);
        self.counter(
            Metric::CallsTotal,
            outcome("succeeded"),
            status.calls.succeeded,
        );
        self.counter(Metric::CallsTotal, outcome("failed"), status.calls.failed);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; beyond 2^53 leases nobody counts"
)]
const fn approximate(value: u64) -> f64 {
    value as f64
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Runtime {
    /// Returns all metrics in Prometheus' text form.
    #[must_use]
    pub fn metrics(&self) -> String {
        let metrics = &self.inner.metrics;
        let unknown = self.registry().snapshot().unknown_selections().len();
        metrics.gauge(
            Metric::SelectionsUnknown,
            Vec::new(),
            approximate(u64::try_from(unknown).unwrap_or(u64::MAX)),
        );
        metrics.gauge(
            Metric::StartTime,
            Vec::new(),
            approximate(unix_ms(self.inner.since)) / 1_000.0,
        );
        let dropped = self.inner.log.as_ref().map_or(0, |log| log.dropped());
        metrics.counter(Metric::LogLinesDroppedTotal, Vec::new(), dropped);
        metrics.reloads(self);
        for status in self.lifecycle().statuses() {
            metrics.slot(&status);
        }
        metrics.recorder.handle().render()
    }

    /// Returns the recorder behind [`Runtime::metrics`], for programs that want to install it or add to it.
    #[must_use]
    pub fn recorder(&self) -> &PrometheusRecorder {
        &self.inner.metrics.recorder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_are_given_once() {
        let mut names: Vec<&str> = Metric::ALL.map(Metric::name).to_vec();
        for metric in Metric::ALL {
            let (name, kind, ..) = metric.about();
            assert!(name.starts_with("oneiric_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }
}
