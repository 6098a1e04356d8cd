//! Lifts what was paused or drained for a time.
//!
//! The time is over when the wall clock says so, or when as much time has passed as was left when the rule was set or
//! read. The wall clock alone could be set back and keep a slot paused for a day longer; the passing time alone knows
//! nothing of a machine that was asleep. So both are looked at, every few seconds while there is something to lift.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use oneiric_core::Coded;
use oneiric_lifecycle::{ActivityRule, ActivityScope};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::Runtime;

/// Who lifts what has ended, in records and events.
pub(crate) const WHO: &str = "timer";

/// The wall clock is looked at no less often than this.
const LOOK: Duration = Duration::from_secs(5);

/// What is to be lifted: the rule, and when enough time has passed.
type Ends = BTreeMap<ActivityScope, (ActivityRule, Instant)>;

/// The task that does it, until this is dropped.
pub(crate) struct Timer(AbortOnDropHandle<()>);

impl Timer {
    /// Ends it: from here on nothing is lifted by itself. What it has begun goes on; see
    /// [`Activities::settled`](super::Activities::settled).
    pub(crate) async fn stop(self) {
        self.0.abort();
        if let Err(error) = self.0.await
            && error.is_panic()
        {
            tracing::error!(%error, "the timer of activity panicked");
        }
    }
}

impl Runtime {
    pub(crate) fn spawn_activity_timer(&self) -> Timer {
        let runtime = self.clone();
        Timer(AbortOnDropHandle::new(tokio::spawn(async move {
            runtime.time_activity().await;
        })))
    }

    async fn time_activity(&self) {
        let mut ends = Ends::new();
        loop {
            // Before the rules are read: what changes after that wakes the wait below.
            let changed = self.inner.activity.changed.notified();
            let (now, clock) = (Instant::now(), self.inner.clock.now());
            note(&mut ends, self.lifecycle().activity_rules(), now, clock);
            let over = ends.values().filter(|(rule, end)| {
                *end <= now || rule.until.is_some_and(|until| until <= clock)
            });
            let over: Vec<ActivityRule> = over.map(|(rule, _)| rule.clone()).collect();
            for rule in over {
                self.lift(rule).await;
            }
            let forgets = self.forget_what_ended().await;
            let rules = self.lifecycle().activity_rules();
            note(&mut ends, rules, Instant::now(), self.inner.clock.now());
            let next = ends.values().map(|(_, end)| *end).min();
            if next.is_none() && forgets {
                changed.await;
                continue;
            }
            // One whose time is up was refused by the store; it is tried again as often.
            let left = next.map_or(LOOK, |next| next.saturating_duration_since(Instant::now()));
            let wait = if left.is_zero() { LOOK } else { left.min(LOOK) };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tries again to have the store forget what ended while nothing ran. Says whether nothing is left of it.
    async fn forget_what_ended(&self) -> bool {
        if self.inner.activity.ended().is_empty() {
            return true;
        }
        let _mine = self.inner.activity.hold_still().await;
        // Why it refuses was logged at the start.
        let forgotten = self.forget_ended().await.is_ok();
        if forgotten {
            tracing::info!("what ended while nothing ran is forgotten");
        }
        forgotten
    }

    /// Lifts a rule, unless somebody changed it meanwhile.
    async fn lift(&self, rule: ActivityRule) {
        let resume = ActivityRule::resume(&rule.scope)
            .who(WHO)
            .since(self.inner.clock.now());
        if let Err(error) = self.change_activity(resume, Some(rule.clone())).await {
            tracing::error!(
                scope = %rule.scope,
                code = error.code(),
                reason = error.to_string(),
                "its time is up, and it could not be resumed"
            );
        }
    }
}

/// Takes up rules that are new and forgets those that are gone.
fn note(ends: &mut Ends, rules: Vec<ActivityRule>, now: Instant, clock: SystemTime) {
    let mut noted = Ends::new();
    for rule in rules {
        let Some(until) = rule.until else {
            continue;
        };
        let end = match ends.remove(&rule.scope) {
            Some((known, end)) if known == rule => end,
            _ => now + until.duration_since(clock).unwrap_or_default(),
        };
        noted.insert(rule.scope.clone(), (rule, end));
    }
    *ends = noted;
}
