//! Every metric of a runtime, and the recorder they live in.
//!
//! The recorder is the runtime's own and never the process' global one, so two runtimes in one program do not mix.
//! Whatever the lifecycle counts already is copied when somebody scrapes instead of being counted twice; labels are
//! slots, outcomes, routes and statuses, all of them bounded.

mod probes;
mod sorted;
mod table;

use std::fmt;

use metrics::{KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use oneiric_lifecycle::{Activity, Health, Judged, SlotStatus};

pub(crate) use self::probes::Probes;
pub use self::table::metrics_reference;
use self::table::{Kind, Metric};
use crate::{
    api::SecretDoc,
    runtime::Runtime,
    service::{serves, unix_ms},
};

/// How reloads end.
const RELOADS: [&str; 6] = [
    "applied",
    "unchanged",
    "refused",
    "restored",
    "broken",
    "invalid",
];

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// The runtime's recorder.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    probes: Probes,
}

/// What ends a connection before it asks anything, as reasons of refusals.
#[cfg(feature = "admin")]
const ENDED_EARLY: [&str; 5] = [
    "other_user",
    "handshake_failed",
    "handshake_late",
    "header_late",
    "place_taken",
];

impl Metrics {
    pub(crate) fn new(probes: Probes) -> Self {
        let metrics = Self {
            recorder: described(),
            probes,
        };
        // A counter that appears with its first event looks to a scraper as if that had never happened.
        #[cfg(feature = "admin")]
        for reason in ENDED_EARLY {
            let labels = vec![Label::from_static_parts("reason", reason)];
            metrics.counter(Metric::AdminRefusalsTotal, labels, 0);
        }
        metrics
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
        let ended = state.ended();
        let never = RELOADS.into_iter().filter(|one| !ended.contains_key(one));
        for (outcome, count) in never.map(|one| (one, 0)).chain(ended.clone()) {
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
        for (result, count) in self.probes.of(&status.slot) {
            let labels = vec![slot(), Label::from_static_parts("result", result)];
            self.counter(Metric::ProbesTotal, labels, count);
        }
        for judged in Judged::ALL {
            let labels = vec![slot(), Label::from_static_parts("judged", judged.name())];
            let holds = status.active.is_some() && status.judgement.judged == judged;
            self.gauge(Metric::SlotJudged, labels, flag(holds));
        }
        for ((kind, outcome), count) in self.probes.decisions(&status.slot) {
            let labels = vec![
                slot(),
                Label::from_static_parts("kind", kind.name()),
                Label::from_static_parts("outcome", outcome),
            ];
            self.counter(Metric::DecisionsTotal, labels, count);
        }
        let report = status.health.as_ref();
        let took = report.map_or(0.0, |report| report.took.as_secs_f64());
        self.gauge(Metric::ProbeDuration, vec![slot()], took);
        let bad = report.and_then(|report| report.health.as_ref());
        let bad =
            bad.is_some_and(|health| !health.may_serve() && !matches!(health, Health::NotAsked(_)));
        self.gauge(Metric::SlotUnhealthy, vec![slot()], flag(bad));
        let draining = u64::try_from(status.draining.len()).unwrap_or(u64::MAX);
        self.gauge(Metric::SlotDraining, vec![slot()], approximate(draining));
        let keyed = status.keyed.as_ref().map_or(0, |keyed| keyed.instances);
        self.gauge(Metric::SlotKeyed, vec![slot()], approximate(keyed));
        let took = status.swap_duration.as_ref();
        for (quantile, took) in [
            ("0.5", took.map(|took| took.p50)),
            ("0.9", took.map(|took| took.p90)),
            ("0.99", took.map(|took| took.p99)),
        ] {
            let labels = vec![slot(), Label::from_static_parts("quantile", quantile)];
            let took = took.unwrap_or_default().as_secs_f64();
            self.gauge(Metric::SwapDuration, labels, took);
        }
    }

    fn closed(&self, runtime: &Runtime) {
        let rules = runtime.lifecycle().activity_rules();
        for (name, activity) in [
            ("paused", Activity::Paused),
            ("draining", Activity::Draining),
        ] {
            let count = rules
                .iter()
                .filter(|rule| rule.activity == activity)
                .count();
            let labels = vec![Label::from_static_parts("activity", name)];
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.gauge(Metric::ScopesClosed, labels, approximate(count));
        }
    }

    fn secrets(&self, runtime: &Runtime) {
        let secrets = runtime.secrets().secrets;
        let count = |is_meant: fn(&SecretDoc) -> bool| {
            let count = secrets.iter().filter(|secret| is_meant(secret)).count();
            approximate(u64::try_from(count).unwrap_or(u64::MAX))
        };
        self.gauge(Metric::SecretsUsed, Vec::new(), count(|_| true));
        self.gauge(
            Metric::SecretsStale,
            Vec::new(),
            count(|secret| secret.stale),
        );
        let failing = count(|secret| secret.error.is_some());
        self.gauge(Metric::SecretsFailing, Vec::new(), failing);
        let results = |metric, counts: [(&'static str, u64); 3]| {
            for (result, count) in counts {
                let labels = vec![Label::from_static_parts("result", result)];
                self.counter(metric, labels, count);
            }
        };
        let secrets = &runtime.inner.secrets;
        results(Metric::SecretFetchesTotal, secrets.fetches());
        results(Metric::SecretRotationsTotal, secrets.rotations());
    }

    fn state(&self, runtime: &Runtime) {
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        let persists = runtime.inner.state.kept().persists();
        self.gauge(Metric::StatePersists, Vec::new(), flag(persists));
        let backlog = runtime.inner.history.backlog();
        let waiting = u64::try_from(backlog.entries).unwrap_or(u64::MAX);
        self.gauge(Metric::HistoryWaiting, Vec::new(), approximate(waiting));
        self.gauge(
            Metric::HistoryRefused,
            Vec::new(),
            flag(backlog.refused.is_some()),
        );
        self.counter(Metric::HistoryLeftOutTotal, Vec::new(), backlog.left_out);
    }
}

/// A recorder that knows what each metric is.
fn described() -> PrometheusRecorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    for metric in Metric::ALL {
        let about = metric.about();
        let name = KeyName::from_const_str(about.name);
        let (unit, says) = (Some(about.unit), SharedString::const_str(about.says));
        match about.kind {
            Kind::Counter => recorder.describe_counter(name, unit, says),
            Kind::Gauge => recorder.describe_gauge(name, unit, says),
        }
    }
    recorder
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
        for load in self.lifecycle().steps() {
            let gauge = |metric, count| {
                let labels = vec![Label::from_static_parts("kind", load.kind.name())];
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                metrics.gauge(metric, labels, approximate(count));
            };
            gauge(Metric::StepsAtWork, load.at_work);
            gauge(Metric::StepsWaiting, load.waiting);
        }
        metrics.gauge(
            Metric::StartTime,
            Vec::new(),
            approximate(unix_ms(self.inner.since)) / 1_000.0,
        );
        let dropped = self.inner.log.as_ref().map_or(0, |log| log.dropped());
        metrics.counter(Metric::LogLinesDroppedTotal, Vec::new(), dropped);
        let up = self.inner.clock.now().duration_since(self.inner.since);
        metrics.gauge(
            Metric::Uptime,
            Vec::new(),
            up.unwrap_or_default().as_secs_f64(),
        );
        metrics.reloads(self);
        metrics.closed(self);
        metrics.secrets(self);
        metrics.state(self);
        // Slots come and go. A recorder never forgets, and monitoring would be told of one that is gone for ever.
        let slots = Metrics {
            recorder: described(),
            probes: metrics.probes.clone(),
        };
        for status in self.lifecycle().statuses() {
            slots.slot(&status);
        }
        let mut text = metrics.recorder.handle().render();
        text.push_str(&slots.recorder.handle().render());
        sorted::sorted(&text)
    }

    /// Returns the recorder behind [`Runtime::metrics`], for programs that want to install it or add to it. What is said
    /// of each slot is gathered at each scrape and is not in it.
    #[must_use]
    pub fn recorder(&self) -> &PrometheusRecorder {
        &self.inner.metrics.recorder
    }
}
