//! Recorded sequences of calls, each with the state and the result that must follow. The folder is named by
//! `ONEIRIC_VECTORS_DIR`, as for the other families; a relative path starts at the workspace's root.

use std::path::Path;
use std::time::Duration;

use oneiric_resilience::{
    BackoffConfig, Breaker, BreakerConfig, BreakerWindow, Error, ManualClock,
};
use serde_json::{Value, json};

use super::with_clock;

#[test]
fn the_recorded_sequences_come_out_as_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("ONEIRIC_VECTORS_DIR").unwrap_or_else(|| "tests/vectors".into());
    let file = root.join(folder).join("breaker.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let family: Value = serde_json::from_str(&text).unwrap();
    let sequences = family["sequences"].as_array().unwrap();
    assert!(
        !sequences.is_empty(),
        "nothing to replay in {}",
        file.display()
    );
    for sequence in sequences {
        replay(sequence);
    }
    println!("conformance breaker: {} sequences", sequences.len());
}

#[track_caller]
fn replay(sequence: &Value) {
    let (breaker, clock) = with_clock(config(sequence));
    let expected = sequence.get("ours").unwrap_or(&sequence["expect"]);
    for (at, operation) in sequence["ops"].as_array().unwrap().iter().enumerate() {
        let actual = step(&breaker, &clock, operation);
        if expected != "any" && expected[at] != "any" {
            assert_eq!(actual, expected[at], "step {at} of {sequence}");
        }
    }
}

fn config(sequence: &Value) -> BreakerConfig {
    let threshold = sequence["failure_threshold"].as_u64().unwrap();
    BreakerConfig {
        window: BreakerWindow::Consecutive(u32::try_from(threshold.max(1)).unwrap()),
        open: BackoffConfig::constant(seconds(&sequence["recovery_time"])),
        probes: 1,
        ..BreakerConfig::default()
    }
}

/// The vectors' times have six decimals at most.
fn seconds(value: &Value) -> Duration {
    let seconds = Duration::from_secs_f64(value.as_f64().unwrap());
    Duration::from_micros(u64::try_from((seconds.as_nanos() + 500) / 1_000).unwrap())
}

fn step(breaker: &Breaker<ManualClock>, clock: &ManualClock, operation: &Value) -> Value {
    if operation["op"] == "advance" {
        clock.advance(seconds(&operation["seconds"]));
        return json!({ "state": breaker.state().as_str() });
    }
    let fails = operation["outcome"] == "fail";
    let mut called = false;
    let result = breaker.call(|| {
        called = true;
        if fails { Err(()) } else { Ok(()) }
    });
    let result = match result {
        Ok(()) => "ok",
        Err(Error::Inner(())) => "error",
        Err(_) => "rejected",
    };
    json!({ "result": result, "called": called, "state": breaker.state().as_str() })
}
