//! What a bulkhead may be told, and what of it cannot work.

use super::aimd::AimdConfig;
use super::permits::MOST;
use crate::invalid::{Checks, InvalidConfig, or_default};

/// How many calls run at once, and how many callers may wait for a turn.
///
/// The limit worth starting with is Little's law: calls a second times seconds a call, when the
/// called one is well; and some room above that.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        default,
        deny_unknown_fields,
        expecting = "a table, such as `{ limit = 20 }`"
    )
)]
pub struct BulkheadConfig {
    /// Calls at once; where the limit adapts, those it starts with. 1 to 1,000,000.
    pub limit: u32,
    /// Callers that may wait for their turn, 0 to 1,000,000. They are served in order, which is fair and
    /// means that under a lasting overload everybody waits for the whole queue: one that takes longer
    /// to get through than callers have time only makes their calls late. Keep it short, or set `shed`.
    /// Does not matter to who never waits, as in a policy without `bulkhead_wait`.
    pub max_waiters: u32,
    /// Finds the limit by itself, between bounds.
    pub adaptive: Option<AimdConfig>,
    /// Keeps an average of how long calls hold their permit, and refuses at once who would have to
    /// wait longer than their time. Reads the clock twice a call.
    pub shed: bool,
}

impl Default for BulkheadConfig {
    /// 25 calls, 100 waiters; neither adapts nor sheds.
    fn default() -> Self {
        Self {
            limit: 25,
            max_waiters: 100,
            adaptive: None,
            shed: false,
        }
    }
}

impl BulkheadConfig {
    pub(crate) fn checked(&self) -> Result<(), InvalidConfig> {
        let mut checks = Checks::of("bulkhead");
        let adaptive = self.adaptive.as_ref().map(AimdConfig::checked);
        match self.adaptive {
            Some(AimdConfig { min, max, .. }) if adaptive == Some(Ok(())) => {
                let holds = (min..=max).contains(&self.limit);
                let allowed = format!("{min} to {max}, where `adaptive` has its bounds");
                let told = or_default(&self.limit, &Self::default().limit);
                checks.that(holds, "limit", told, allowed);
            }
            _ => {
                checks.within("limit", self.limit, 1..=MOST);
            }
        }
        checks
            .within("max_waiters", self.max_waiters, 0..=MOST)
            .part("adaptive", adaptive.unwrap_or(Ok(())))
            .done()
    }
}

/// The same for a limit that comes later.
pub(super) fn checked_limit(limit: u32) -> Result<(), InvalidConfig> {
    Checks::of("bulkhead")
        .within("limit", limit, 1..=MOST)
        .done()
}

#[cfg(all(test, not(oneiric_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn faults(config: &BulkheadConfig) -> Vec<String> {
        match config.checked() {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.faults().iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_there_by_itself_works() {
        assert_eq!(faults(&BulkheadConfig::default()), [""; 0]);
        let adaptive = Some(AimdConfig::default());
        let config = BulkheadConfig {
            adaptive,
            ..BulkheadConfig::default()
        };
        assert_eq!(faults(&config), [""; 0]);
    }

    #[test]
    fn every_bound_that_is_broken_is_told_at_once() {
        let config = BulkheadConfig {
            limit: 0,
            max_waiters: 1_000_001,
            adaptive: Some(AimdConfig {
                min: 0,
                max: 1_000_001,
                increase: f64::NAN,
                decrease_percent: 100.0,
                latency_above: Some(Duration::ZERO),
            }),
            shed: false,
        };
        assert_eq!(
            faults(&config),
            [
                "`limit` is 0, allowed is 1 to 1000000",
                "`max_waiters` is 1000001, allowed is 0 to 1000000",
                "`adaptive.min` is 0, allowed is 1 to 1000000",
                "`adaptive.max` is 1000001, allowed is `min` to 1000000",
                "`adaptive.increase` is NaN, allowed is 0.001 to 1000",
                "`adaptive.decrease_percent` is 100, allowed is 1 to 99 percent: a share of 0.5 is written 50",
                "`adaptive.latency_above_ms` is 0, allowed is 1 ms to 24 h",
            ]
        );
    }

    #[test]
    fn a_limit_that_adapts_starts_within_its_bounds() {
        let config = BulkheadConfig {
            limit: 9,
            adaptive: Some(AimdConfig {
                min: 10,
                max: 20,
                ..AimdConfig::default()
            }),
            ..BulkheadConfig::default()
        };
        let said = "`limit` is 9, allowed is 10 to 20, where `adaptive` has its bounds";
        assert_eq!(faults(&config), [said]);
    }

    #[test]
    fn steps_that_are_no_numbers_are_no_steps() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e9] {
            let adaptive = AimdConfig {
                increase: wrong,
                decrease_percent: wrong,
                ..AimdConfig::default()
            };
            assert_eq!(adaptive.checked().unwrap_err().faults().len(), 2, "{wrong}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn it_is_read_from_settings_and_unknown_keys_are_refused() {
        let text = "limit = 3\nshed = true\nadaptive = { max = 10, latency_above_ms = 250 }";
        let config: BulkheadConfig = toml::from_str(text).unwrap();
        let expected = BulkheadConfig {
            limit: 3,
            shed: true,
            adaptive: Some(AimdConfig {
                max: 10,
                latency_above: Some(Duration::from_millis(250)),
                ..AimdConfig::default()
            }),
            ..BulkheadConfig::default()
        };
        assert_eq!(config, expected);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<BulkheadConfig>(&json).unwrap(),
            expected
        );
        assert!(toml::from_str::<BulkheadConfig>("limits = 3").is_err());
        assert!(toml::from_str::<BulkheadConfig>("limit = -3").is_err());
        assert!(toml::from_str::<BulkheadConfig>("adaptive = { maximum = 3 }").is_err());
    }
}
