//! What operators and embedders ask about activity, and what they are refused.

use std::time::{Duration, UNIX_EPOCH};

use oneiric_core::{Domain, Query};
use oneiric_lifecycle::{Activity, ActivityRule, ActivityScope};

use super::unix_ms;
use crate::{
    api::{ActivityChangeDoc, ActivityDoc, ActivityRequest, ScopeDoc, schema},
    error::RuntimeError,
    runtime::Runtime,
    settings::nearest,
};

/// The longest note. Each refused call repeats it.
const MAX_NOTE_BYTES: usize = 1 << 10;
/// The shortest and the longest time that can be asked for.
const MIN_TIME: Duration = Duration::from_secs(1);
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Runtime {
    /// Tells what is paused or draining; with `scope`, how that one is, whether it runs or not.
    ///
    /// # Errors
    /// `runtime.scope_unknown`, `runtime.provider_unknown` when there is no such scope.
    pub fn activity(&self, scope: Option<&ActivityScope>) -> Result<ActivityDoc, RuntimeError> {
        let scopes = match scope {
            Some(scope) => {
                self.must_know_scope(scope)?;
                vec![self.scope_doc(scope)]
            }
            None => {
                let rules = self.lifecycle().activity_rules();
                let mut scopes: Vec<_> = rules
                    .iter()
                    .map(|rule| self.scope_doc(&rule.scope))
                    .collect();
                scopes.sort_by_cached_key(|doc| doc.scope.to_string());
                scopes
            }
        };
        Ok(ActivityDoc {
            schema: schema::ACTIVITY.into(),
            scopes,
        })
    }

    /// Pauses, drains or resumes a scope. `who` is written down with it. Whoever asks for a lease after this returned
    /// meets it, and it survives a restart if the runtime has a store.
    ///
    /// Cancel-safe: a change that was begun goes on.
    ///
    /// # Errors
    /// `runtime.scope_unknown`, `runtime.provider_unknown`, `runtime.request_invalid`; the store's own when the change
    /// cannot be kept, and then nothing was changed.
    pub async fn set_activity(
        &self,
        request: ActivityRequest,
        who: &str,
    ) -> Result<ActivityChangeDoc, RuntimeError> {
        check(&request)?;
        self.must_know_scope(&request.scope)?;
        // Kept by the millisecond, so that it is the same after a restart.
        let now = UNIX_EPOCH + Duration::from_millis(unix_ms(self.inner.clock.now()));
        let mut rule = ActivityRule::new(&request.scope, request.activity)
            .who(who)
            .since(now);
        rule.note = request.note;
        rule.until = request.for_ms.map(|ms| now + Duration::from_millis(ms));
        if let Some(held) = self.lifecycle().activity_rule(&request.scope)
            && held.activity == rule.activity
            && rule.note.is_none()
        {
            // Whoever says it again without a word takes nothing back of what was said before.
            rule.note.clone_from(&held.note);
            if rule.until.is_none() && held.until.is_none() {
                rule = held;
            }
        }
        let before = self.change_activity(rule, None).await?;
        // So that the answer says how it is, and whoever resumes a slot can call it then. No longer than one telling.
        let limit = self.lifecycle().limits().hook;
        let told = self.lifecycle().told(&request.scope);
        drop(tokio::time::timeout(limit, told).await);
        Ok(ActivityChangeDoc {
            schema: schema::ACTIVITY_CHANGE.into(),
            now: self.scope_doc(&request.scope),
            before: before.map_or(Activity::Running, |rule| rule.activity),
        })
    }

    fn scope_doc(&self, scope: &ActivityScope) -> ScopeDoc {
        let lifecycle = self.lifecycle();
        let rule = lifecycle.activity_rule(scope);
        let rule = rule.unwrap_or_else(|| ActivityRule::resume(scope));
        let in_flight = lifecycle.in_flight(scope);
        let oldest_ms = self.oldest(scope, &rule, in_flight);
        ScopeDoc {
            activity: rule.activity,
            note: rule.note,
            who: rule.who,
            since_unix_ms: rule.since.map(unix_ms),
            until_unix_ms: rule.until.map(unix_ms),
            slots: lifecycle.slots_in(scope),
            oldest_ms,
            in_flight,
            drained: lifecycle.is_drained(scope),
            held_by: lifecycle
                .activity_of(scope)
                .scope
                .filter(|held| held != scope),
            scope: rule.scope,
        }
    }

    /// For how long the oldest work in `scope` runs, as far as that is known: of calls by name and of
    /// what the program says of its leases exactly; of others that the program itself holds only that none is younger than the rule that lets no more in.
    fn oldest(&self, scope: &ActivityScope, rule: &ActivityRule, in_flight: u64) -> Option<u64> {
        if in_flight == 0 {
            return None;
        }
        let closed = rule.since.filter(|_| rule.activity != Activity::Running);
        let closed = closed.and_then(|since| self.inner.clock.now().duration_since(since).ok());
        let known = self.lifecycle().oldest_work(scope);
        let oldest = known.max(closed)?;
        Some(u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX))
    }

    /// Refuses what is not there, with what may have been meant. What has a rule can always be asked for and lifted,
    /// and so can the known domains: whatever appears in them later is meant too.
    fn must_know_scope(&self, scope: &ActivityScope) -> Result<(), RuntimeError> {
        if self.lifecycle().activity_rule(scope).is_some() {
            return Ok(());
        }
        let snapshot = self.registry().snapshot();
        let suggestion = match scope {
            ActivityScope::Domain(domain) => {
                let mut domains: Vec<&Domain> =
                    snapshot.slots().map(|slot| slot.domain()).collect();
                domains.extend(&Domain::KNOWN);
                if domains.contains(&domain) {
                    return Ok(());
                }
                let names = domains.iter().map(|domain| format!("{domain}/*"));
                let names: Vec<String> = names.collect();
                nearest(&scope.to_string(), names.iter().map(String::as_str))
            }
            ActivityScope::Slot(slot) | ActivityScope::Provider(slot, _)
                if self.statuses(Some(slot)).is_err() =>
            {
                nearest(slot.as_str(), snapshot.slots().map(|slot| slot.as_str()))
            }
            ActivityScope::Provider(slot, provider) => {
                let candidates = snapshot.resolve_all(&Query::new(slot.clone()));
                let status = self.lifecycle().status(slot);
                let serves = status
                    .and_then(|status| status.active)
                    .is_some_and(|active| active.provider == *provider);
                if serves || candidates.iter().any(|held| held.provider() == provider) {
                    return Ok(());
                }
                let mut known: Vec<_> = candidates
                    .iter()
                    .map(|held| held.provider().clone())
                    .collect();
                known.sort();
                known.dedup();
                return Err(RuntimeError::ProviderUnknown {
                    slot: slot.clone(),
                    provider: provider.clone(),
                    known,
                });
            }
            _ => return Ok(()),
        };
        Err(RuntimeError::ScopeUnknown {
            scope: scope.clone(),
            suggestion,
        })
    }
}

fn check(request: &ActivityRequest) -> Result<(), RuntimeError> {
    let invalid = |message: String| Err(RuntimeError::RequestInvalid { message });
    let length = request.note.as_ref().map_or(0, String::len);
    if length > MAX_NOTE_BYTES {
        return invalid(format!(
            "`note` is {length} bytes long, at most {MAX_NOTE_BYTES} are taken"
        ));
    }
    let Some(ms) = request.for_ms else {
        return Ok(());
    };
    if request.activity == Activity::Running {
        return invalid(
            "what is resumed runs until somebody pauses it; `for_ms` does not go with that"
                .to_owned(),
        );
    }
    if !(MIN_TIME..=MAX_TIME).contains(&Duration::from_millis(ms)) {
        return invalid("`for_ms` is from 1000 (1 s) to 2592000000 (30 days)".to_owned());
    }
    Ok(())
}
