//! What is stated about slots, scope by scope, and what one slot goes by in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use oneiric_core::{Domain, Slot};
use serde::{Deserialize, Serialize};

use super::{HandoverMode, OnDependencyChange, OnFailure, Rebind, SlotPolicy};
use crate::activity::{ActivityScope, InvalidScope};

/// What a policy is stated for: `*`, `adapter/*` or `adapter/cache`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum PolicyScope {
    /// Every slot.
    All,
    /// Every slot of a domain.
    Domain(Domain),
    /// One slot.
    Slot(Slot),
}

impl fmt::Display for PolicyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("*"),
            Self::Domain(domain) => f.pad(&format!("{domain}/*")),
            Self::Slot(slot) => f.pad(slot.as_str()),
        }
    }
}

impl FromStr for PolicyScope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text == "*" {
            return Ok(Self::All);
        }
        match text.parse()? {
            ActivityScope::Domain(domain) => Ok(Self::Domain(domain)),
            ActivityScope::Slot(slot) => Ok(Self::Slot(slot)),
            ActivityScope::Provider(..) => Err(InvalidScope::new(
                text,
                &"expected a slot such as 'adapter/cache', a domain such as 'adapter/*', or '*'",
            )),
        }
    }
}

impl TryFrom<String> for PolicyScope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

impl From<PolicyScope> for String {
    fn from(scope: PolicyScope) -> Self {
        scope.to_string()
    }
}

/// What is stated for one scope; whatever is absent follows from wider ones.
///
/// Read by serde it has the names and units of the settings: durations are whole milliseconds under a name that ends
/// in `_ms`. What is absent is not written either.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PolicyEntry {
    /// [`HealthPolicy::interval`](super::HealthPolicy::interval).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_interval_ms: Option<u64>,
    /// [`HealthPolicy::jitter_percent`](super::HealthPolicy::jitter_percent); more than 100 counts as 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_jitter_percent: Option<u8>,
    /// [`HealthPolicy::bad`](super::HealthPolicy::bad).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_bad: Option<NonZeroU32>,
    /// [`HealthPolicy::good`](super::HealthPolicy::good).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_good: Option<NonZeroU32>,
    /// [`HealthPolicy::grace`](super::HealthPolicy::grace).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_grace_ms: Option<u64>,
    /// [`FailurePolicy::action`](super::FailurePolicy::action).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// [`FailurePolicy::restarts`](super::FailurePolicy::restarts).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<NonZeroU32>,
    /// [`FailurePolicy::within`](super::FailurePolicy::within).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts_within_ms: Option<u64>,
    /// [`FailurePolicy::backoff`](super::FailurePolicy::backoff).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_backoff_ms: Option<u64>,
    /// [`FailurePolicy::backoff_max`](super::FailurePolicy::backoff_max).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_backoff_max_ms: Option<u64>,
    /// Whether it fails back by itself: `false` takes back what a wider scope says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_back: Option<bool>,
    /// [`FailurePolicy::fail_back_after`](super::FailurePolicy::fail_back_after) (30 s), where it fails back by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_back_after_ms: Option<u64>,
    /// [`BakePolicy::time`](super::BakePolicy::time).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_ms: Option<u64>,
    /// [`BakePolicy::min_calls`](super::BakePolicy::min_calls).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_min_calls: Option<NonZeroU32>,
    /// [`BakePolicy::error_percent`](super::BakePolicy::error_percent); more than 100 counts as 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_error_percent: Option<u8>,
    /// [`BakePolicy::panic_percent`](super::BakePolicy::panic_percent); more than 100 counts as 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_panic_percent: Option<u8>,
    /// [`RebindPolicy::when`](super::RebindPolicy::when).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebind: Option<Rebind>,
    /// [`RebindPolicy::settle`](super::RebindPolicy::settle).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebind_settle_ms: Option<u64>,
    /// [`HandoverPolicy::mode`](super::HandoverPolicy::mode).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverMode>,
    /// [`HandoverPolicy::block`](super::HandoverPolicy::block).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover_block_ms: Option<u64>,
    /// [`HandoverPolicy::max_bytes`](super::HandoverPolicy::max_bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover_max_bytes: Option<u64>,
    /// [`SlotPolicy::on_dependency_change`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_dependency_change: Option<OnDependencyChange>,
}

/// How long a better candidate must have been healthy where nothing else is stated.
const FAIL_BACK_AFTER: Duration = Duration::from_secs(30);

impl PolicyEntry {
    /// Puts what is stated here in the place of what `policy` says.
    fn apply(&self, policy: &mut SlotPolicy) {
        let health = &mut policy.health;
        put_ms(&mut health.interval, self.health_interval_ms);
        put_percent(&mut health.jitter_percent, self.health_jitter_percent);
        put(&mut health.bad, self.health_bad);
        put(&mut health.good, self.health_good);
        put_ms(&mut health.grace, self.health_grace_ms);
        let failure = &mut policy.failure;
        put(&mut failure.action, self.on_failure);
        put(&mut failure.restarts, self.restarts);
        put_ms(&mut failure.within, self.restarts_within_ms);
        put_ms(&mut failure.backoff, self.restart_backoff_ms);
        put_ms(&mut failure.backoff_max, self.restart_backoff_max_ms);
        let bake = &mut policy.bake;
        put_ms(&mut bake.time, self.bake_ms);
        put(&mut bake.min_calls, self.bake_min_calls);
        put_percent(&mut bake.error_percent, self.bake_error_percent);
        put_percent(&mut bake.panic_percent, self.bake_panic_percent);
        put(&mut policy.rebind.when, self.rebind);
        put_ms(&mut policy.rebind.settle, self.rebind_settle_ms);
        put(&mut policy.handover.mode, self.handover);
        put_ms(&mut policy.handover.block, self.handover_block_ms);
        put(&mut policy.handover.max_bytes, self.handover_max_bytes);
        put(&mut policy.on_dependency_change, self.on_dependency_change);
    }
}

impl From<&SlotPolicy> for PolicyEntry {
    /// An entry that states every key as `policy` has it. Durations are cut to whole milliseconds.
    fn from(policy: &SlotPolicy) -> Self {
        let SlotPolicy {
            health,
            failure,
            bake,
            rebind,
            handover,
            on_dependency_change,
        } = policy;
        let fail_back_after = failure.fail_back_after.unwrap_or(FAIL_BACK_AFTER);
        Self {
            health_interval_ms: in_ms(health.interval),
            health_jitter_percent: Some(health.jitter_percent),
            health_bad: Some(health.bad),
            health_good: Some(health.good),
            health_grace_ms: in_ms(health.grace),
            on_failure: Some(failure.action),
            restarts: Some(failure.restarts),
            restarts_within_ms: in_ms(failure.within),
            restart_backoff_ms: in_ms(failure.backoff),
            restart_backoff_max_ms: in_ms(failure.backoff_max),
            fail_back: Some(failure.fail_back_after.is_some()),
            fail_back_after_ms: in_ms(fail_back_after),
            bake_ms: in_ms(bake.time),
            bake_min_calls: Some(bake.min_calls),
            bake_error_percent: Some(bake.error_percent),
            bake_panic_percent: Some(bake.panic_percent),
            rebind: Some(rebind.when),
            rebind_settle_ms: in_ms(rebind.settle),
            handover: Some(handover.mode),
            handover_block_ms: in_ms(handover.block),
            handover_max_bytes: Some(handover.max_bytes),
            on_dependency_change: Some(*on_dependency_change),
        }
    }
}

fn in_ms(duration: Duration) -> Option<u64> {
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn put<T>(field: &mut T, stated: Option<T>) {
    if let Some(stated) = stated {
        *field = stated;
    }
}

fn put_ms(field: &mut Duration, stated: Option<u64>) {
    put(field, stated.map(Duration::from_millis));
}

fn put_percent(field: &mut u8, stated: Option<u8>) {
    put(field, stated.map(|percent| percent.min(100)));
}

/// The policies of a program, by scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotPolicies {
    entries: BTreeMap<PolicyScope, PolicyEntry>,
}

impl SlotPolicies {
    /// Policies that state nothing: every slot goes by the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// States `entry` for `scope`, in the place of what was stated for it.
    #[must_use]
    pub fn with(mut self, scope: PolicyScope, entry: PolicyEntry) -> Self {
        self.entries.insert(scope, entry);
        self
    }

    /// What is stated, by scope.
    pub fn entries(&self) -> impl Iterator<Item = (&PolicyScope, &PolicyEntry)> {
        self.entries.iter()
    }

    /// What `slot` goes by.
    pub fn of(&self, slot: &Slot) -> SlotPolicy {
        let mut policy = SlotPolicy::default();
        if self.entries.is_empty() {
            return policy;
        }
        let scopes = [
            PolicyScope::All,
            PolicyScope::Domain(slot.domain().clone()),
            PolicyScope::Slot(slot.clone()),
        ];
        let (mut fails_back, mut after) = (false, FAIL_BACK_AFTER);
        for entry in scopes.iter().filter_map(|scope| self.entries.get(scope)) {
            entry.apply(&mut policy);
            put(&mut fails_back, entry.fail_back);
            put_ms(&mut after, entry.fail_back_after_ms);
        }
        policy.failure.fail_back_after = fails_back.then_some(after);
        policy
    }
}

impl FromIterator<(PolicyScope, PolicyEntry)> for SlotPolicies {
    fn from_iter<I: IntoIterator<Item = (PolicyScope, PolicyEntry)>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::HandoverPolicy;
    use super::*;

    fn policies(entries: &[(&str, serde_json::Value)]) -> SlotPolicies {
        entries
            .iter()
            .map(|(scope, entry)| {
                (
                    scope.parse().unwrap(),
                    serde_json::from_value(entry.clone()).unwrap(),
                )
            })
            .collect()
    }

    fn slot(text: &str) -> Slot {
        text.parse().unwrap()
    }

    #[test]
    fn the_narrowest_scope_that_states_a_key_holds_key_by_key() {
        let policies = policies(&[
            (
                "*",
                json!({"health_bad": 5, "bake_ms": 1000, "on_failure": "restart"}),
            ),
            (
                "adapter/*",
                json!({"on_failure": "fail_over", "health_bad": 4}),
            ),
            ("adapter/cache", json!({"health_bad": 2})),
        ]);
        let cache = policies.of(&slot("adapter/cache"));
        assert_eq!(cache.health.bad.get(), 2);
        assert_eq!(cache.failure.action, OnFailure::FailOver);
        assert_eq!(cache.bake.time, Duration::from_secs(1));
        let other = policies.of(&slot("adapter/store"));
        assert_eq!(other.health.bad.get(), 4);
        let elsewhere = policies.of(&slot("service/web"));
        assert_eq!(elsewhere.failure.action, OnFailure::Restart);
        assert_eq!(elsewhere.handover, HandoverPolicy::default());
    }

    #[test]
    fn failing_back_is_asked_for_and_can_be_taken_back() {
        let policies = policies(&[
            ("*", json!({"fail_back": true})),
            ("adapter/*", json!({"fail_back_after_ms": 5})),
            ("adapter/cache", json!({"fail_back": false})),
        ]);
        let after = |name| policies.of(&slot(name)).failure.fail_back_after;
        assert_eq!(after("service/web"), Some(FAIL_BACK_AFTER));
        assert_eq!(after("adapter/store"), Some(Duration::from_millis(5)));
        assert_eq!(after("adapter/cache"), None);
        assert_eq!(SlotPolicy::default().failure.fail_back_after, None);
    }

    #[test]
    fn a_scope_is_read_as_it_is_written_and_a_provider_is_none() {
        for text in ["*", "adapter/*", "adapter/cache"] {
            assert_eq!(text.parse::<PolicyScope>().unwrap().to_string(), text);
        }
        for text in ["", "adapter", "adapter/cache:redis", "*/*"] {
            let error = text.parse::<PolicyScope>().unwrap_err();
            assert!(error.to_string().contains("invalid scope"), "{error}");
        }
    }

    #[test]
    fn an_entry_of_a_policy_states_all_of_it() {
        let mut policy = SlotPolicy::default();
        let mut stated = PolicyEntry::from(&policy);
        let keys = serde_json::to_value(&stated).unwrap();
        assert_eq!(keys.as_object().unwrap().len(), 22, "{keys}");
        assert_eq!(keys["fail_back"], json!(false));
        assert_eq!(keys["fail_back_after_ms"], json!(30_000));
        let of = |entry: PolicyEntry| {
            let policies = SlotPolicies::new().with(PolicyScope::All, entry);
            policies.of(&slot("adapter/cache"))
        };
        assert_eq!(of(stated), policy);
        policy.failure.fail_back_after = Some(Duration::from_millis(7));
        policy.health.grace = Duration::from_secs(3);
        policy.handover.mode = HandoverMode::Abort;
        stated = PolicyEntry::from(&policy);
        assert_eq!(of(stated), policy);
        let nothing = serde_json::to_value(PolicyEntry::default()).unwrap();
        assert_eq!(nothing, json!({}));
    }

    #[test]
    fn an_entry_refuses_what_it_does_not_know_and_counts_of_none() {
        for entry in [
            json!({"helth_bad": 1}),
            json!({"health_bad": 0}),
            json!({"rebind": "x"}),
        ] {
            assert!(serde_json::from_value::<PolicyEntry>(entry).is_err());
        }
    }
}
