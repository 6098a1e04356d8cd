//! How things are said in several commands: durations, moments, failures.

use std::fmt;

use oneiric_runtime::api::slot::Failure;

/// A duration in microseconds as people say it: three digits at most, one unit.
pub(crate) struct Micros(pub(crate) u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros @ 0..1_000 => write!(f, "{micros} us"),
            micros @ 1_000..1_000_000 => write!(f, "{} ms", micros / 1_000),
            micros => Millis(micros / 1_000).fmt(f),
        }
    }
}

/// A duration in milliseconds, from seconds to days.
pub(crate) struct Millis(pub(crate) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000;
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// From `then` to `now`; clocks that went backwards say `0 s`.
pub(crate) const fn since(then_unix_ms: u64, now_unix_ms: u64) -> Millis {
    Millis(now_unix_ms.saturating_sub(then_unix_ms))
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
            ["0 us", "999 us", "1 ms", "12 ms", "999 ms", "1 s", "2 min"]
        );
        let millis = [119_999, 7_199_000, 7_200_000, 172_800_000].map(|ms| Millis(ms).to_string());
        assert_eq!(millis, ["119 s", "119 min", "2 h", "2 days"]);
        assert_eq!(since(2_000, 1_000).to_string(), "0 s");
    }
}
