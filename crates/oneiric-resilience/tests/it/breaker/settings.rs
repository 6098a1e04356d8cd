//! Settings that cannot work are refused with all that is wrong.

use std::time::Duration;

use oneiric_resilience::{Breaker, BreakerConfig, BreakerWindow, InvalidConfig};

use super::SECOND;

#[track_caller]
fn refused(config: BreakerConfig) -> InvalidConfig {
    let refused = Breaker::new(config).unwrap_err();
    assert_eq!(refused.code(), "resilience.invalid_config");
    refused
}

fn fields(config: BreakerConfig) -> Vec<String> {
    let refused = refused(config);
    refused
        .faults()
        .iter()
        .map(|fault| fault.field.to_string())
        .collect()
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let config = BreakerConfig {
        window: BreakerWindow::Time {
            length: Duration::ZERO,
            buckets: 0,
        },
        failure_percent: f64::NAN,
        min_calls: 0,
        slow_call: Some(Duration::ZERO),
        slow_percent: 100.1,
        open: oneiric_resilience::BackoffConfig {
            min: 48 * 3_600 * SECOND,
            ..Default::default()
        },
        probes: 0,
        half_open_max: Duration::ZERO,
        max_retry_after: Duration::MAX,
    };
    let message = refused(config).to_string();
    assert_eq!(
        message,
        "these breaker settings cannot work: `window.time.length_ms` is 0, allowed is 100 ms to 1 h; \
         `window.time.buckets` is 0, allowed is 1 to 100; \
         `failure_percent` is NaN, allowed is 1 to 100 percent: a share of 0.5 is written 50; \
         `min_calls` is 0, allowed is 1 to 1000000; \
         `slow_percent` is 100.1, allowed is 1 to 100 percent: a share of 0.5 is written 50; \
         `slow_call_ms` is 0, allowed is 1 ms to 24 h; \
         `open.min_ms` is 48 h, allowed is 0 to 24 h; \
         `probes` is 0, allowed is 1 to 1000; \
         `half_open_max_ms` is 0, allowed is 1 ms to 24 h; \
         `max_retry_after_ms` is 18446744073709551615.999999999s, allowed is 0 to 24 h"
    );
}

#[test]
fn shares_are_percent_and_no_parts_of_one() {
    for rate in [
        0.0,
        -0.0,
        -1.0,
        0.5,
        0.999,
        100.000_001,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ] {
        let config = BreakerConfig {
            failure_percent: rate,
            slow_percent: rate,
            ..BreakerConfig::default()
        };
        assert_eq!(
            fields(config),
            ["failure_percent", "slow_percent"],
            "{rate}"
        );
    }
    let config = BreakerConfig {
        failure_percent: 0.5,
        ..BreakerConfig::default()
    };
    assert_eq!(
        refused(config).to_string(),
        "these breaker settings cannot work: `failure_percent` is 0.5, \
         allowed is 1 to 100 percent: a share of 0.5 is written 50"
    );
    for rate in [1.0, 100.0] {
        let config = BreakerConfig {
            failure_percent: rate,
            slow_call: Some(SECOND),
            slow_percent: rate,
            ..BreakerConfig::default()
        };
        assert!(Breaker::new(config).is_ok(), "{rate}");
    }
}

#[test]
fn a_window_that_can_never_hold_enough_is_refused() {
    let config = |window, min_calls| BreakerConfig {
        window,
        min_calls,
        ..BreakerConfig::default()
    };
    assert_eq!(fields(config(BreakerWindow::Calls(10), 11)), ["min_calls"]);
    assert!(Breaker::new(config(BreakerWindow::Calls(10), 10)).is_ok());
    assert_eq!(fields(config(BreakerWindow::Calls(0), 1)), ["window.calls"]);
    assert_eq!(
        fields(config(BreakerWindow::Calls(0), 0)),
        ["window.calls", "min_calls"]
    );
    assert_eq!(
        fields(config(BreakerWindow::Consecutive(0), 0)),
        ["window.consecutive"]
    );
    let too_long = BreakerWindow::Time {
        length: 3_601 * SECOND,
        buckets: 101,
    };
    let both = ["window.time.length_ms", "window.time.buckets"];
    assert_eq!(fields(config(too_long, 1)), both);
}

#[test]
fn slow_calls_cannot_be_counted_in_a_row() {
    let config = BreakerConfig {
        window: BreakerWindow::Consecutive(5),
        slow_call: Some(SECOND),
        ..BreakerConfig::default()
    };
    assert_eq!(
        refused(config).to_string(),
        "these breaker settings cannot work: `slow_call_ms` is 1 s, allowed is none in the consecutive mode"
    );
}

#[test]
fn a_share_of_slow_calls_is_not_taken_where_none_is_slow() {
    let mut config = BreakerConfig {
        slow_percent: 50.0,
        ..BreakerConfig::default()
    };
    assert_eq!(
        refused(config).to_string(),
        "these breaker settings cannot work: `slow_percent` is 50, \
         allowed is 100 without `slow_call_ms`: remove it, or add `slow_call_ms`"
    );
    config.window = BreakerWindow::Consecutive(5);
    assert_eq!(
        refused(config).to_string(),
        "these breaker settings cannot work: `slow_percent` is 50, \
         allowed is 100 in the consecutive mode: remove it"
    );
    config.slow_call = Some(SECOND);
    assert_eq!(fields(config), ["slow_call_ms"]);
}

#[cfg(feature = "serde")]
mod from_a_file {
    use oneiric_resilience::{BackoffConfig, BreakerMode, BreakerState};

    use super::*;

    fn read(text: &str) -> Result<BreakerConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn what_is_left_out_is_as_by_default() {
        assert_eq!(read("").unwrap(), BreakerConfig::default());
        let config = read("window = { time = { length_ms = 30000 } }").unwrap();
        let window = BreakerWindow::Time {
            length: 30 * SECOND,
            buckets: 10,
        };
        assert_eq!(
            config,
            BreakerConfig {
                window,
                ..BreakerConfig::default()
            }
        );
    }

    #[test]
    fn every_setting_has_its_unit_in_its_name() {
        let config = read(
            "window = { calls = 50 }\nfailure_percent = 40.0\nmin_calls = 5\nslow_call_ms = 1500\n\
             slow_percent = 80.0\nopen = { strategy = \"constant\", min_ms = 2000 }\nprobes = 2\n\
             half_open_max_ms = 4000\nmax_retry_after_ms = 8000\n",
        );
        let expected = BreakerConfig {
            window: BreakerWindow::Calls(50),
            failure_percent: 40.0,
            min_calls: 5,
            slow_call: Some(SECOND * 3 / 2),
            slow_percent: 80.0,
            open: BackoffConfig {
                strategy: oneiric_resilience::BackoffStrategy::Constant,
                min: 2 * SECOND,
                ..BreakerConfig::default().open
            },
            probes: 2,
            half_open_max: 4 * SECOND,
            max_retry_after: 8 * SECOND,
        };
        assert_eq!(config.unwrap(), expected);
        let consecutive = read("window = { consecutive = 5 }").unwrap();
        assert_eq!(consecutive.window, BreakerWindow::Consecutive(5));
    }

    /// Not those of a backoff, which are others.
    #[test]
    fn one_setting_of_the_open_time_leaves_the_others_as_they_are_by_default() {
        let written = serde_json::to_value(BreakerConfig::default().open).unwrap();
        for (key, value) in written.as_object().unwrap() {
            let one = serde_json::json!({ "open": { key: value } });
            let config: BreakerConfig = serde_json::from_value(one).unwrap();
            assert_eq!(config, BreakerConfig::default(), "{key}");
        }
        let config = read("open = { max_ms = 120000 }").unwrap();
        let open = BackoffConfig {
            max: 120 * SECOND,
            ..BreakerConfig::default().open
        };
        assert_eq!(config.open, open);
        assert_eq!(read("open = {}").unwrap(), BreakerConfig::default());
    }

    #[test]
    fn unknown_settings_are_refused() {
        for text in [
            "treshold = 5",
            "open = { maximum_ms = 5 }",
            "window = { call = 5 }",
            "window = { time = { length_ms = 500, bucket = 1 } }",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for config in [
            BreakerConfig::default(),
            BreakerConfig {
                slow_call: Some(SECOND),
                window: BreakerWindow::Calls(7),
                ..BreakerConfig::default()
            },
        ] {
            let written = serde_json::to_value(config).unwrap();
            let read: BreakerConfig = serde_json::from_value(written).unwrap();
            assert_eq!(read, config);
        }
    }

    #[test]
    fn a_mode_is_called_the_same_everywhere() {
        for (mode, name) in [
            (BreakerMode::Released, "released"),
            (BreakerMode::Disabled, "disabled"),
            (BreakerMode::ForcedOpen, "forced_open"),
            (BreakerMode::MetricsOnly, "metrics_only"),
        ] {
            assert_eq!((mode.as_str(), &*mode.to_string()), (name, name));
            assert_eq!(serde_json::json!(mode), serde_json::json!(name));
        }
    }

    #[test]
    fn a_snapshot_can_be_shown() {
        let (breaker, clock) =
            crate::breaker::with_clock(crate::breaker::after_failures_in_a_row(1));
        clock.advance(SECOND);
        crate::breaker::call(&breaker, oneiric_resilience::Outcome::Failure);
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, BreakerState::Open);
        assert_eq!(
            serde_json::to_value(snapshot).unwrap(),
            serde_json::json!({
                "state": "open", "since_ns": 1_000_000_000, "open_until_ns": 2_000_000_000,
                "calls": 0, "failures": 0, "slow": 0, "failure_percent": null, "slow_percent": null,
                "rejected": 0, "opened": 1, "generation": 1, "untold": 0,
            })
        );
    }
}
