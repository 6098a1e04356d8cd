//! What is remembered of paused and draining scopes across restarts.
//!
//! The lifecycle acts by the rules and forgets them with the process. A store keeps them; what a store
//! is made of is not known here. Calls may block: callers make them where blocking is allowed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneiric_lifecycle::{Activity, ActivityRule, InvalidScope, StoreError};
use serde::{Deserialize, Serialize};

/// One scope that does not run, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRecord {
    /// The scope, as [`ActivityScope`](oneiric_lifecycle::ActivityScope) writes it.
    pub scope: String,
    /// Whether work is taken. A record that says *running* stands for none.
    pub activity: Activity,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// When it was said, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// When it ends by itself, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_ms: Option<u64>,
}

/// Keeps what is paused and draining.
pub trait ActivityStore: Send + Sync {
    /// Everything that is kept, in any order.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn load(&self) -> Result<Vec<ActivityRecord>, StoreError>;

    /// Keeps `record` in place of the one for the same scope; one that says *running* only takes that
    /// away. When this returns, the change survives the death of the process.
    ///
    /// # Errors
    /// Why it was not kept. What was kept before still is then.
    fn set(&self, record: &ActivityRecord) -> Result<(), StoreError>;
}

fn _activity_store_is_dyn_safe(_: &dyn ActivityStore) {}

impl From<&ActivityRule> for ActivityRecord {
    fn from(rule: &ActivityRule) -> Self {
        Self {
            scope: rule.scope.to_string(),
            activity: rule.activity,
            note: rule.note.clone(),
            who: rule.who.clone(),
            since_unix_ms: rule.since.map_or(0, unix_ms),
            until_unix_ms: rule.until.map(unix_ms),
        }
    }
}

impl TryFrom<ActivityRecord> for ActivityRule {
    type Error = InvalidScope;

    fn try_from(record: ActivityRecord) -> Result<Self, InvalidScope> {
        let scope: oneiric_lifecycle::ActivityScope = record.scope.parse()?;
        let mut rule = Self::new(scope, record.activity).since(time(record.since_unix_ms));
        rule.note = record.note;
        rule.who = record.who;
        rule.until = record.until_unix_ms.map(time);
        Ok(rule)
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time so many milliseconds after 1970; one that the system cannot express is the last it can.
fn time(unix_ms: u64) -> SystemTime {
    const LAST: u64 = 253_402_300_799_999; // the year 9999, which every text form can write
    UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_being_kept() {
        let at = UNIX_EPOCH + Duration::from_millis(1_763_815_118_042);
        let rule = ActivityRule::drain(
            "adapter/*"
                .parse::<oneiric_lifecycle::ActivityScope>()
                .unwrap(),
        )
        .note("moving")
        .who("uid:1")
        .since(at)
        .until(at + Duration::from_secs(60));
        let record = ActivityRecord::from(&rule);
        assert_eq!(record.scope, "adapter/*");
        assert_eq!(record.until_unix_ms, Some(1_763_815_178_042));
        assert_eq!(ActivityRule::try_from(record).unwrap(), rule);
    }

    #[test]
    fn what_is_kept_may_be_anything() {
        let record = ActivityRecord {
            scope: "adapter/cache".into(),
            activity: Activity::Paused,
            note: None,
            who: None,
            since_unix_ms: u64::MAX,
            until_unix_ms: Some(u64::MAX),
        };
        assert!(ActivityRule::try_from(record.clone()).is_ok());
        let record = ActivityRecord {
            scope: "cache".into(),
            ..record
        };
        assert!(ActivityRule::try_from(record).is_err());
    }
}
