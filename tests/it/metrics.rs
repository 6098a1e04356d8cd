//! The metrics of a real process: each that is documented is there, and a scraper can read them.

use std::collections::BTreeMap;

use oneiric_tests::settings::CACHES;
use oneiric_tests::{Place, Process, eventually};

/// Metrics by name: the type, and the samples as labels and value. Fails on anything that is not the text form.
fn parse(text: &str) -> BTreeMap<String, (String, Vec<(String, f64)>)> {
    let mut metrics: BTreeMap<String, (String, Vec<(String, f64)>)> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.unwrap(), rest.unwrap_or_default());
            match what {
                Some("HELP") => assert!(!rest.is_empty(), "{line}"),
                Some("TYPE") => {
                    assert!(["counter", "gauge"].contains(&rest), "{line}");
                    let held = metrics.insert(name.to_owned(), (rest.to_owned(), Vec::new()));
                    assert!(held.is_none(), "{name} has two types");
                }
                other => panic!("{other:?}: {line}"),
            }
            continue;
        }
        let (left, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value
            .parse()
            .unwrap_or_else(|error| panic!("{error}: {line}"));
        let (name, labels) = left.split_once('{').unwrap_or((left, ""));
        let (_, samples) = metrics
            .get_mut(name)
            .unwrap_or_else(|| panic!("no type before {line}"));
        samples.push((labels.trim_end_matches('}').to_owned(), value));
    }
    metrics
}

#[test]
fn every_metric_that_is_documented_is_there_and_can_be_read() {
    let process = Process::start(CACHES);
    process.oneiric(&["swap", "adapter/cache", "file"]).ok();
    process.oneiric(&["call", "service/clock", "now"]).ok();
    process
        .oneiric(&["call", "service/clock", "nothing"])
        .failed(4);
    let page = Place::new().oneiric(&["metrics", "--reference"]).ok();
    let documented: Vec<Vec<String>> = page
        .lines()
        .filter(|line| line.starts_with("| `oneiric_"))
        .map(|line| {
            line.split('|')
                .map(|cell| cell.trim().replace('`', ""))
                .collect()
        })
        .collect();
    process.signal("HUP");
    eventually("the settings were read again", || {
        let text = process.oneiric(&["metrics"]).ok();
        text.contains("oneiric_settings_reloads_total{")
    });
    let text = process.oneiric(&["metrics"]).ok();
    let metrics = parse(&text);
    for row in &documented {
        let (name, kind, labels) = (&row[1], &row[2], &row[4]);
        let (found, samples) = metrics
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!(found, kind, "{name}");
        assert!(!samples.is_empty(), "{name}");
        for (has, _) in samples {
            for label in labels.split(", ").filter(|label| !label.is_empty()) {
                assert!(has.contains(&format!("{label}=\"")), "{name}: {has}");
            }
        }
    }
    for name in metrics.keys() {
        assert!(
            documented.iter().any(|row| row[1] == *name),
            "{name} is on no page"
        );
    }
    let value = |name: &str, labels: &str| {
        let samples = &metrics[name].1;
        let found = samples
            .iter()
            .find(|(has, _)| labels.split(',').all(|one| has.contains(one)));
        found
            .unwrap_or_else(|| panic!("{name} {labels}: {samples:?}"))
            .1
    };
    let cache = "slot=\"adapter/cache\"";
    assert_eq!(
        value(
            "oneiric_swaps_total",
            &format!("{cache},outcome=\"swapped\"")
        )
        .to_bits(),
        1_f64.to_bits()
    );
    assert_eq!(
        value("oneiric_slot_active", cache).to_bits(),
        1_f64.to_bits()
    );
    assert!(
        value(
            "oneiric_swap_duration_seconds",
            &format!("{cache},quantile=\"0.5\"")
        ) > 0.0
    );
    assert!(value("oneiric_start_time_seconds", "") > 1e9);
}

/// The value of the one sample of `name` that has all of `labels`.
#[track_caller]
fn sample(text: &str, name: &str, labels: &[&str]) -> f64 {
    let metrics = parse(text);
    let (_, samples) = &metrics[name];
    let mut fitting = samples
        .iter()
        .filter(|(has, _)| labels.iter().all(|label| has.contains(label)));
    let found = fitting
        .next()
        .unwrap_or_else(|| panic!("{name} {labels:?}: {samples:?}"));
    assert!(fitting.next().is_none(), "{name} {labels:?}: {samples:?}");
    found.1
}

#[test]
fn counters_are_there_from_the_start_and_probes_and_secrets_are_counted() {
    let with_secret = "probe = \"critical\"\ntoken = \"secret://env/TOKEN\"";
    let place = Place::with(&CACHES.replace("probe = \"critical\"", with_secret));
    let process = Process::start_with(place, &["run"], &[("TOKEN", "correct horse battery")]);
    let first = process.oneiric(&["metrics"]).ok();
    let zero = |name: &str, labels: &[&str]| {
        let value = sample(&first, name, labels);
        assert!(value.abs() < f64::EPSILON, "{name} {labels:?}: {value}");
    };
    for outcome in [
        "applied",
        "unchanged",
        "refused",
        "restored",
        "broken",
        "invalid",
    ] {
        zero(
            "oneiric_settings_reloads_total",
            &[&format!("outcome=\"{outcome}\"")],
        );
    }
    for result in ["changed", "unchanged", "failed"] {
        zero(
            "oneiric_secret_rotations_total",
            &[&format!("result=\"{result}\"")],
        );
    }
    for result in ["fetched", "unavailable", "refused"] {
        zero(
            "oneiric_secret_fetches_total",
            &[&format!("result=\"{result}\"")],
        );
    }
    for reason in [
        "other_user",
        "handshake_failed",
        "handshake_late",
        "header_late",
        "place_taken",
    ] {
        zero(
            "oneiric_admin_refusals_total",
            &[&format!("reason=\"{reason}\"")],
        );
    }
    for result in ["warn", "temporarily_unavailable", "critical", "probe_error"] {
        let result = format!("result=\"{result}\"");
        zero("oneiric_probes_total", &["slot=\"adapter/cache\"", &result]);
    }

    process.oneiric(&["health", "--probe"]).ok();
    process
        .oneiric(&["swap", "adapter/cache", "flaky"])
        .failed(7);
    process.oneiric(&["secrets", "rotate"]).ok();
    let now = process.oneiric(&["metrics"]).ok();
    let grew =
        |name: &str, labels: &[&str]| sample(&now, name, labels) - sample(&first, name, labels);
    let one_more = |name: &str, labels: &[&str]| {
        let more = grew(name, labels);
        assert!(
            (more - 1.0).abs() < f64::EPSILON,
            "{name} {labels:?}: {more} more"
        );
    };
    let cache = "slot=\"adapter/cache\"";
    one_more("oneiric_probes_total", &[cache, "result=\"ok\""]);
    one_more("oneiric_probes_total", &[cache, "result=\"critical\""]);
    assert!(sample(&now, "oneiric_probe_duration_seconds", &[cache]) > 0.0);
    one_more("oneiric_secret_rotations_total", &["result=\"unchanged\""]);
    // Once to build the one that failed, and once more to rotate it.
    let fetched = grew("oneiric_secret_fetches_total", &["result=\"fetched\""]);
    assert!((fetched - 2.0).abs() < f64::EPSILON, "{fetched}");
}
