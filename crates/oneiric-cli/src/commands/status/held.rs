//! What keeps work out of a slot, in words: each rule that applies to it, for lifting one of two opens nothing.

use oneiric_lifecycle::ActivityScope;
use oneiric_runtime::api::ScopeDoc;
use oneiric_runtime::api::slot::SlotStatus;

use crate::words::{Millis, since};

/// A rule about a slot, its provider or its domain.
pub(super) struct Rule<'a> {
    /// The scope, where it is not the slot itself.
    scope: Option<String>,
    pub(super) activity: &'a str,
    who: Option<&'a str>,
    note: Option<&'a str>,
    since: Option<u64>,
    until: Option<u64>,
}

impl<'a> Rule<'a> {
    /// The rules that apply to `slot`, of those in force; where those are not known, the one that holds.
    pub(super) fn of(slot: &'a SlotStatus, rules: &'a [ScopeDoc]) -> Vec<Self> {
        if slot.activity.activity == "running" {
            return Vec::new();
        }
        let other = |scope: &str| (scope != slot.slot.as_str()).then(|| scope.to_owned());
        let known = rules.iter().filter(|rule| applies(rule, slot));
        let known: Vec<_> = known
            .map(|rule| Self {
                scope: other(&rule.scope.to_string()),
                activity: rule.activity.name(),
                who: rule.who.as_deref(),
                note: rule.note.as_deref(),
                since: rule.since_unix_ms,
                until: rule.until_unix_ms,
            })
            .collect();
        if !known.is_empty() {
            return known;
        }
        let said = &slot.activity;
        vec![Self {
            scope: said.scope.as_deref().and_then(other),
            activity: &said.activity,
            who: said.who.as_deref(),
            note: said.note.as_deref(),
            since: said.since_unix_ms,
            until: said.until_unix_ms,
        }]
    }

    /// `adapter/* is paused by ann 5 s ago; resumes in 10 min: repairs`. The note comes last, for it may be long.
    pub(super) fn said(&self, now: u64) -> String {
        let what = match &self.scope {
            Some(scope) => format!("{scope} is {}", self.activity),
            None => self.activity.to_owned(),
        };
        format!("{what}{}", self.why(now))
    }

    /// Of what it is, besides the activity: `by ann`, the scope in parentheses, and the rest as in [`Rule::said`].
    pub(super) fn fact(&self, now: u64) -> String {
        let scope = self.scope.as_ref().map(|scope| format!(" ({scope})"));
        let text = format!("{}{}", scope.unwrap_or_default(), self.why(now));
        text.trim_start().to_owned()
    }

    fn why(&self, now: u64) -> String {
        let who = self.who.map(|who| format!(" by {who}"));
        let when = self.since.map(|then| format!(" {} ago", since(then, now)));
        let left = self.until.map(|until| Millis(until.saturating_sub(now)));
        let until = left.map(|left| format!("; resumes in {left}"));
        let note = self.note.map(|note| format!(": {note}"));
        [who, when, until, note]
            .map(Option::unwrap_or_default)
            .concat()
    }
}

/// Whether a rule keeps work out of this slot while it is served as it is.
fn applies(rule: &ScopeDoc, slot: &SlotStatus) -> bool {
    let serves = slot.active.as_ref().map(|active| &active.provider);
    match &rule.scope {
        ActivityScope::Provider(of, provider) => *of == slot.slot && serves == Some(provider),
        _ => rule.slots.contains(&slot.slot),
    }
}
