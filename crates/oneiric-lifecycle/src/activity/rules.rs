//! The rules in force, and what follows from them for one slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use oneiric_core::{Provider, Slot};

use super::{Activity, ActivityRule, ActivityScope, ActivityState};
use crate::drain_watch::DrainWatch;

/// The rules in force; a scope without one runs.
#[derive(Debug, Default)]
pub(crate) struct Rules(BTreeMap<ActivityScope, Ruled>);

/// A rule, and who notices when a draining scope is empty.
#[derive(Debug)]
struct Ruled {
    rule: ActivityRule,
    watch: Option<Arc<DrainWatch>>,
}

/// What follows from all rules for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    /// The rule that holds.
    pub(crate) state: ActivityState,
    /// When the last of those that apply is going to be lifted, if that is known of each.
    pub(crate) opens: Option<SystemTime>,
}

impl Effective {
    pub(crate) const fn running() -> Self {
        Self {
            state: ActivityState::running(),
            opens: None,
        }
    }

    /// No rule keeps `slot` from taking work any more, and its instance is being told so.
    pub(crate) fn resuming(slot: &Slot) -> Self {
        Self {
            state: ActivityState {
                activity: Activity::Paused,
                scope: Some(ActivityScope::Slot(slot.clone())),
                note: Some("the instance is being told to go on".to_owned()),
                ..ActivityState::running()
            },
            opens: None,
        }
    }
}

impl Rules {
    /// Puts `rule` in force; gives the one it replaces. `watch` is for one that drains.
    pub(crate) fn set(
        &mut self,
        rule: ActivityRule,
        watch: Option<Arc<DrainWatch>>,
    ) -> Option<ActivityRule> {
        let before = match rule.activity {
            Activity::Running => self.0.remove(&rule.scope),
            _ => self.0.insert(rule.scope.clone(), Ruled { rule, watch }),
        }?;
        if let Some(watch) = before.watch {
            watch.end();
        }
        Some(before.rule)
    }

    /// Who notices when `scope`, which is draining, is empty.
    pub(crate) fn watch(&self, scope: &ActivityScope) -> Option<Arc<DrainWatch>> {
        self.0.get(scope)?.watch.clone()
    }

    pub(crate) fn of(&self, scope: &ActivityScope) -> Option<ActivityRule> {
        Some(self.0.get(scope)?.rule.clone())
    }

    pub(crate) fn has(&self, scope: &ActivityScope) -> bool {
        self.0.contains_key(scope)
    }

    pub(crate) fn all(&self) -> Vec<ActivityRule> {
        self.0.values().map(|ruled| ruled.rule.clone()).collect()
    }

    /// What holds for `slot` while `provider` serves it.
    ///
    /// The most restrictive rule; of several such the one that lasts longest, then the widest.
    pub(crate) fn effective(&self, slot: &Slot, provider: Option<&Provider>) -> Effective {
        if self.0.is_empty() {
            return Effective::running();
        }
        let scopes = [
            Some(ActivityScope::Domain(slot.domain().clone())),
            Some(ActivityScope::Slot(slot.clone())),
            provider.map(|provider| ActivityScope::Provider(slot.clone(), provider.clone())),
        ];
        let rules: Vec<&ActivityRule> = scopes
            .iter()
            .flatten()
            .filter_map(|scope| Some(&self.0.get(scope)?.rule))
            .collect();
        let lasts = |rule: &ActivityRule| (rule.until.is_none(), rule.until);
        // Of equals `max_by_key` takes the last, which read backwards is the widest.
        let holds = rules
            .iter()
            .rev()
            .max_by_key(|rule| (rule.activity, lasts(rule)));
        let Some(holds) = holds else {
            return Effective::running();
        };
        let lifted: Option<Vec<SystemTime>> = rules.iter().map(|rule| rule.until).collect();
        Effective {
            state: ActivityState::from(*holds),
            opens: lifted.and_then(|lifted| lifted.into_iter().max()),
        }
    }
}
