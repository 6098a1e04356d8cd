//! How long each step of a transition may take.

use std::time::Duration;

use serde::Deserialize;

/// How long calls on an instance that was judged unhealthy, or cannot be used, may still take once another one serves.
pub(crate) const DRAIN_UNHEALTHY: Duration = Duration::from_secs(2);

/// Time limits of a slot's steps. `Default` gives the values named at each field.
///
/// In settings each is a number of milliseconds under its name with `_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "LimitsMs")]
#[non_exhaustive]
pub struct Limits {
    /// For a factory to build (30 s).
    pub activation: Duration,
    /// For a probe to answer (5 s).
    pub probe: Duration,
    /// For one hook (5 s).
    pub hook: Duration,
    /// For the leases of the old instance to come back; then it is retired all the same (30 s).
    pub drain: Duration,
    /// For an instance to clean up (10 s).
    pub retire: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        LimitsMs::default().into()
    }
}

/// The settings' form of [`Limits`].
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsMs {
    activation_ms: u64,
    probe_ms: u64,
    hook_ms: u64,
    drain_ms: u64,
    retire_ms: u64,
}

impl Default for LimitsMs {
    fn default() -> Self {
        Self {
            activation_ms: 30_000,
            probe_ms: 5_000,
            hook_ms: 5_000,
            drain_ms: 30_000,
            retire_ms: 10_000,
        }
    }
}

impl From<LimitsMs> for Limits {
    fn from(limits: LimitsMs) -> Self {
        Self {
            activation: Duration::from_millis(limits.activation_ms),
            probe: Duration::from_millis(limits.probe_ms),
            hook: Duration::from_millis(limits.hook_ms),
            drain: Duration::from_millis(limits.drain_ms),
            retire: Duration::from_millis(limits.retire_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_milliseconds_and_refuse_what_they_do_not_know() {
        let limits: Limits = serde_json::from_value(serde_json::json!({"probe_ms": 250})).unwrap();
        assert_eq!(limits.probe, Duration::from_millis(250));
        assert_eq!(limits.drain, Limits::default().drain);
        let error = serde_json::from_value::<Limits>(serde_json::json!({"prob_ms": 1}));
        assert!(error.unwrap_err().to_string().contains("prob_ms"));
    }
}
