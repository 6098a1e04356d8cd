//! How things are said in several commands: durations, moments, failures.

use std::fmt;
use std::time::Duration;

use oneiric_runtime::api::slot::{Bake, Calls, Failure};

/// A duration in microseconds as people say it: three digits at most, one unit.
pub(crate) struct Micros(pub(crate) u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros @ 0..1_000 => write!(f, "{micros} us"),
            micros @ 1_000..999_500 => write!(f, "{} ms", rounded(micros, 1_000)),
            micros => Millis(micros / 1_000).fmt(f),
        }
    }
}

/// A duration in milliseconds, from seconds to days.
pub(crate) struct Millis(pub(crate) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            millis @ 0..119_500 => write!(f, "{} s", rounded(millis, 1_000)),
            millis @ 119_500..7_170_000 => write!(f, "{} min", rounded(millis, 60_000)),
            millis @ 7_170_000..171_000_000 => write!(f, "{} h", rounded(millis, 3_600_000)),
            millis => write!(f, "{} days", rounded(millis, 86_400_000)),
        }
    }
}

/// To the nearest whole: of half an hour that has just begun 30 minutes are left and not 29.
const fn rounded(length: u64, unit: u64) -> u64 {
    length.saturating_add(unit / 2) / unit
}

/// From `then` to `now`; clocks that went backwards say `0 s`.
pub(crate) const fn since(then_unix_ms: u64, now_unix_ms: u64) -> Millis {
    Millis(now_unix_ms.saturating_sub(then_unix_ms))
}

/// `340 calls, 1 failed`, with those that panicked if any did.
pub(crate) fn calls(calls: Calls) -> String {
    let ended = calls.succeeded + calls.failed;
    let calls_ended = if ended == 1 { "call" } else { "calls" };
    let panicked = match calls.panicked {
        0 => String::new(),
        some => format!(" ({some} panicked)"),
    };
    format!("{ended} {calls_ended}, {} failed{panicked}", calls.failed)
}

/// `b (instance 2) on trial, a kept warm, 12 s left: 340 calls, 1 failed`.
pub(crate) fn baked(bake: &Bake, now_unix_ms: u64) -> String {
    let (provider, instance, warm) = (&bake.provider, bake.instance, &bake.warm);
    let how = match (bake.ended.as_deref(), bake.until_unix_ms) {
        (None, None) => format!("on trial, {warm} kept warm"),
        (None, Some(until)) => {
            let left = since(now_unix_ms, until);
            format!("on trial, {warm} kept warm, {left} left")
        }
        (Some("swung_back"), _) => format!("was swung back to {warm}"),
        (Some(end), _) => format!("trial {end}"),
    };
    format!(
        "{provider} (instance {instance}) {how}: {}",
        calls(bake.calls)
    )
}

/// A duration in whole milliseconds, as documents have it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A step that failed: `probe: critical: no disk (lifecycle.probe_failed)`.
pub(crate) fn failed(failure: &Failure) -> String {
    format!("{}: {} ({})", failure.stage, failure.message, failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        let micros: Vec<String> = [0, 999, 1_000, 12_345, 999_999, 1_000_000, 150_000_000]
            .map(|micros| Micros(micros).to_string())
            .into();
        assert_eq!(
            micros,
            ["0 us", "999 us", "1 ms", "12 ms", "1 s", "1 s", "3 min"]
        );
        let millis = [
            1_500,
            119_499,
            119_999,
            1_799_998,
            7_199_000,
            7_200_000,
            172_800_000,
        ];
        let millis = millis.map(|ms| Millis(ms).to_string());
        let said = ["2 s", "119 s", "2 min", "30 min", "2 h", "2 h", "2 days"];
        assert_eq!(millis, said);
        assert_eq!(since(2_000, 1_000).to_string(), "0 s");
    }
}
