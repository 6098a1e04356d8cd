//! What a bulkhead may be told, and what of it cannot work.

use super::aimd::AimdConfig;
use super::permits::MOST;
use crate::invalid::{Checks, InvalidConfig};

/// How many calls run at once, and how many callers may wait for a turn.
///
/// The limit worth starting with is Little's law: calls a second times seconds a call, when the
/// called one is well; and some room above that.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BulkheadConfig {
    /// Calls at once; where the limit adapts, those it starts with. 1 to 1,000,000.
    pub limit: u32,
    /// Callers that may wait for their turn; none is none. Up to 1,000,000.
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
        checks.within("limit", self.limit, 1..=MOST, LIMITS).within(
            "max_waiters",
            self.max_waiters,
            ..=MOST,
            "0 to 1,000,000",
        );
        if let Some(adaptive) = &self.adaptive {
            checks.part("adaptive", adaptive.checked());
            if adaptive.checked().is_ok() {
                let AimdConfig { min, max, .. } = *adaptive;
                let holds = (min..=max).contains(&self.limit);
                let allowed = format!("{min} to {max}, where `adaptive` has its bounds");
                checks.that(holds, "limit", self.limit, allowed);
            }
        }
        checks.done()
    }
}

/// What a limit may be.
const LIMITS: &str = "1 to 1,000,000";

/// The same for a limit that comes later.
pub(super) fn checked_limit(limit: u32) -> Result<(), InvalidConfig> {
    Checks::of("bulkhead")
        .within("limit", limit, 1..=MOST, LIMITS)
        .done()
}
