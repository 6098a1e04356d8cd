//! Slots that look after themselves: what is asked when, what is done about an instance that fails, and when a better
//! one serves again.

mod better;
mod endings;
mod monitor;
mod stale;
mod trouble;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oneiric_lifecycle::{
    Decision, DecisionKind, Happening, Health, LifecycleBuilder, PolicyScope, SlotPolicies,
    SlotStatus, Supervise, Supervision, SwapEvent,
};
use oneiric_resilience::SeededJitter;
use serde_json::Value;

use crate::support::{Act, CACHE, Lab, Script, slot};

/// What the observers were told of decisions and probes.
#[derive(Clone, Default)]
pub(crate) struct Told {
    decisions: Arc<Mutex<Vec<Decision>>>,
    probes: Arc<Mutex<Vec<u64>>>,
}

impl Told {
    fn note(&self, event: &SwapEvent) {
        match &event.what {
            Happening::Decided { decision } => {
                self.decisions
                    .lock()
                    .unwrap()
                    .push(Decision::clone(decision));
            }
            Happening::Probed { instance, .. } => self.probes.lock().unwrap().push(*instance),
            _ => {}
        }
    }
}

/// A lab whose slots are looked after, and a switch for the health of each provider's instances.
pub(crate) struct Ward {
    pub(crate) lab: Lab,
    pub(crate) told: Told,
    health: BTreeMap<String, Arc<Mutex<Health>>>,
}

pub(crate) fn bad() -> Health {
    Health::critical("gone")
}

impl Ward {
    /// Providers `a`, `b` and `c` for one slot, in the order of their rank, all of them well. No jitter.
    pub(crate) fn new(policy: Value) -> Self {
        Self::with(policy, |builder| builder)
    }

    pub(crate) fn with(
        mut policy: Value,
        adjust: impl FnOnce(LifecycleBuilder) -> LifecycleBuilder,
    ) -> Self {
        policy["health_jitter_percent"] = 0.into();
        let told = Told::default();
        let noting = told.clone();
        let candidates: [(&str, &str, i64, &[&str]); 3] = [
            (CACHE, "a", 3, &[]),
            (CACHE, "b", 2, &[]),
            (CACHE, "c", 1, &[]),
        ];
        let lab = Lab::with(&candidates, |builder| {
            adjust(builder)
                .slot_policies(policies(policy))
                .observer(move |event: &SwapEvent| noting.note(event))
        });
        let mut ward = Self {
            lab,
            told,
            health: BTreeMap::new(),
        };
        for name in ["a", "b", "c"] {
            let health = Arc::new(Mutex::new(Health::Ok));
            ward.health.insert(name.to_owned(), Arc::clone(&health));
            let probe = Act::SayAs(health);
            let script = Script {
                probe,
                ..Script::default()
            };
            ward.lab.book.script(name, script);
        }
        ward
    }

    /// The same, with `a` serving, and looked after.
    pub(crate) async fn begun(policy: Value) -> (Self, Supervision) {
        let ward = Self::new(policy);
        assert_eq!(ward.lab.who(CACHE).await, "a");
        let supervision = ward.supervise();
        (ward, supervision)
    }

    pub(crate) fn supervise(&self) -> Supervision {
        let how = Supervise::new().jitter(SeededJitter::new(7));
        self.lab.lifecycle.supervise(how)
    }

    pub(crate) fn set(&self, name: &str, health: Health) {
        *self.health[name].lock().unwrap() = health;
    }

    pub(crate) fn status(&self) -> SlotStatus {
        self.lab.lifecycle.status(&slot(CACHE)).unwrap()
    }

    pub(crate) fn serves(&self) -> String {
        self.status().active.unwrap().provider.to_string()
    }

    pub(crate) fn decisions(&self) -> Vec<Decision> {
        self.told.decisions.lock().unwrap().clone()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let decisions = self.decisions();
        decisions
            .into_iter()
            .map(|decision| decision.text)
            .collect()
    }

    pub(crate) fn count(&self, kind: DecisionKind) -> usize {
        let decisions = self.decisions();
        decisions.iter().filter(|one| one.kind == kind).count()
    }

    pub(crate) fn probes(&self) -> usize {
        self.told.probes.lock().unwrap().len()
    }

    /// Builds that were begun so far, of all providers.
    pub(crate) fn builds(&self) -> u64 {
        self.lab
            .book
            .builds_begun
            .load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Waits, in paused time, until there were so many decisions of a kind.
    pub(crate) async fn decided(&self, kind: DecisionKind, times: usize) {
        wait_until(
            || self.count(kind) >= times,
            || format!("{:#?}", self.texts()),
        )
        .await;
    }

    /// A call that fails, whatever the instance is up to.
    pub(crate) async fn failed_call(&self) {
        let lease = self.lab.lifecycle.lease(&slot(CACHE)).await.unwrap();
        lease.record(oneiric_lifecycle::CallOutcome::Failed);
    }

    /// Every instance that was built is retired once, or serves; and none was called afterwards.
    pub(crate) fn nothing_is_left_over(&self, alive: usize) {
        let all = self.lab.book.all();
        let retired: Vec<u32> = all
            .iter()
            .map(|record| record.retired.load(std::sync::atomic::Ordering::SeqCst))
            .collect();
        assert!(retired.iter().all(|times| *times <= 1), "{retired:?}");
        let left = retired.iter().filter(|times| **times == 0).count();
        assert_eq!(left, alive, "{retired:?}");
        let called = |record: &Arc<crate::support::Record>| {
            record
                .called_after_retirement
                .load(std::sync::atomic::Ordering::SeqCst)
        };
        assert!(!all.iter().any(called));
    }
}

pub(crate) fn policies(policy: Value) -> SlotPolicies {
    let entry = serde_json::from_value(policy).unwrap();
    SlotPolicies::new().with(PolicyScope::All, entry)
}

/// Waits, in paused time as a rule; a day of it at most.
pub(crate) async fn wait_until(condition: impl Fn() -> bool, told: impl Fn() -> String) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let outer = Duration::from_secs(86_400);
    assert!(
        tokio::time::timeout(outer, waiting).await.is_ok(),
        "{}",
        told()
    );
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
