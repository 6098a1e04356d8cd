//! What was paused and drained, kept across restarts and lifted when its time is up.
//!
//! A change is kept first and put in force then, one after the other for the whole runtime: what was acknowledged is
//! there after a crash, a store that refuses leaves everything as it was, and no two changes overtake each other
//! between the store and the lifecycle.

mod timer;

use std::sync::Arc;

use oneiric_domains::ActivityRecord;
use oneiric_lifecycle::{Activity, ActivityRule};
use tokio::sync::Notify;

use crate::{error::RuntimeError, runtime::Runtime};

/// One change after the other, and the timer that is told of each.
#[derive(Default)]
pub(crate) struct Activities {
    /// Held while a change is kept and put in force.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Tells the timer that there is something new.
    changed: Notify,
}

impl Runtime {
    /// Puts in force what was kept, except what has ended meanwhile.
    pub(crate) async fn restore_activity(
        &self,
        kept: Vec<ActivityRecord>,
    ) -> Result<(), RuntimeError> {
        let now = self.inner.clock.now();
        let (mut ended, mut rules) = (Vec::new(), Vec::new());
        for record in kept {
            let scope = format!("{:?}", record.scope);
            let rule = ActivityRule::try_from(record)
                .map_err(|source| RuntimeError::ActivityUnreadable { scope, source })?;
            match rule.until {
                Some(until) if until <= now => ended.push(rule),
                _ => rules.push(rule),
            }
        }
        for rule in &rules {
            tracing::info!(
                scope = %rule.scope,
                activity = rule.activity.name(),
                who = rule.who.as_deref().unwrap_or(""),
                "still not running"
            );
        }
        self.lifecycle().restore_activity(rules);
        for rule in ended {
            tracing::info!(scope = %rule.scope, "its time was up while nothing ran");
            let lifted = ActivityRule::resume(&rule.scope).who(timer::WHO).since(now);
            self.keep(&lifted).await?;
        }
        Ok(())
    }

    /// Keeps a rule and puts it in force; gives the one it replaces. With `expected`, only if that is still the one
    /// that holds. Goes on when its caller leaves.
    pub(crate) async fn change_activity(
        &self,
        rule: ActivityRule,
        expected: Option<ActivityRule>,
    ) -> Result<Option<ActivityRule>, RuntimeError> {
        let mine = Arc::clone(&self.inner.activity.turn).lock_owned().await;
        let runtime = self.clone();
        let change = tokio::spawn(async move {
            let _mine = mine;
            let before = runtime.lifecycle().activity_rule(&rule.scope);
            let nothing = before.is_none() && rule.activity == Activity::Running;
            if nothing || expected.is_some_and(|expected| before.as_ref() != Some(&expected)) {
                return Ok(before);
            }
            runtime.keep(&rule).await?;
            tracing::info!(
                scope = %rule.scope,
                activity = rule.activity.name(),
                who = rule.who.as_deref().unwrap_or(""),
                note = rule.note.as_deref().unwrap_or(""),
                "activity"
            );
            // It was looked for by whoever asked; what is gone since must not keep a change from being undone.
            runtime.lifecycle().restore_activity([rule]);
            runtime.inner.activity.changed.notify_one();
            Ok(before)
        });
        change.await.unwrap_or_else(|error| {
            Err(RuntimeError::Internal {
                message: error.to_string(),
            })
        })
    }

    async fn keep(&self, rule: &ActivityRule) -> Result<(), RuntimeError> {
        let store = self.stores().activity;
        let record = ActivityRecord::from(rule);
        let keeping = tokio::task::spawn_blocking(move || store.set(&record)).await;
        let kept = keeping.map_err(|error| RuntimeError::Internal {
            message: error.to_string(),
        })?;
        kept.map_err(RuntimeError::State)
    }
}
